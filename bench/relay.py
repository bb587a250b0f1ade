"""How fast the relay passes a download on, beside nginx doing the same between the same sockets.

256 MB are fetched through each in turn, from an origin that costs next to nothing; ``origin`` is
the fetch without anything between. The service checks length and SHA-256 of what it passes on,
nginx nothing.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from bench.report import Line, Report, ratio
from bench.surroundings import serving, wait_for_port
from pipeline.transform.recognise import Kind
from pipeline.web.payload import parse_hook
from tests.payloads import as_bytes, payload, source
from tests.running import free_port, running

LENGTH = 256 * 2**20
BLOCK = bytes(range(256)) * 4096
ROUNDS = 7
YARDSTICK = "nginx"
#: Seconds the one job is held, so that its relay stays open.
_HELD = 3600.0

NGINX = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


def serve_origin() -> None:
    """Answer every request with the same 256 MB; print the port first, end with standard input."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        sys.stdin.read()


def _accept(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_answer, args=(sock,), daemon=True).start()


def _answer(sock: socket.socket) -> None:
    with sock:
        while b"\r\n\r\n" not in sock.recv(1 << 14):
            pass
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        for _ in range(LENGTH // len(BLOCK)):
            sock.sendall(BLOCK)


@contextmanager
def nginx(directory: Path, origin_port: int) -> Iterator[str]:
    """The URL of an nginx in front of the origin."""
    port = free_port()
    path = directory / "nginx.conf"
    path.write_text(NGINX.format(directory=directory, port=port, origin=origin_port))
    with subprocess.Popen(["nginx", "-c", str(path), "-e", "stderr"]) as process:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}/plants.xml"
        process.terminate()


@contextmanager
def service(directory: Path, origin_port: int) -> Iterator[Callable[[], str]]:
    """What makes a relay URL of a running service, each of which is good for some fetches."""
    digest = sha256(BLOCK * (LENGTH // len(BLOCK))).hexdigest()
    delivery = payload(
        object={
            "Object": source(content_len=LENGTH, hashes=[{"alg": 2, "hash": digest}]),
        },
        download=f"http://127.0.0.1:{origin_port}/bucket/plants.xml",
    )
    settings = {"LOG_LEVEL": "warning", "WORKER_THREADS": "1", "MAX_INPUT_BYTES": str(LENGTH)}
    (directory / "state").mkdir(parents=True, mode=0o700)
    with running(directory, settings, start=False) as it, it.journal() as journal:
        journal.enqueue(parse_hook(as_bytes(delivery)))
        job = journal.claim("bench", 1, _HELD)[0]
        lease = job.lease or ""
        it.start()

        def url() -> str:
            return f"{it.url}/relay/{journal.open_relay(job.id, lease, Kind.XML)}/plants.xml"

        yield url


def fetch(url: str) -> float:
    """Seconds that a whole fetch takes; what comes is counted and dropped."""
    parts = urlsplit(url)
    began = time.perf_counter()
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = sock.recv(1 << 14, socket.MSG_PEEK)
        size = head.index(b"\r\n\r\n") + 4
        buffer = bytearray(1 << 20)
        total = 0
        while got := sock.recv_into(buffer, len(buffer), 0 if total < size else socket.MSG_TRUNC):
            total += got
    if total - size != LENGTH:
        raise ValueError(f"{total - size} bytes came of {LENGTH}: {head[:200]!r}")
    return time.perf_counter() - began


def measure() -> Report:
    """Each way several times, in turn."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(serving("bench.relay"))
        ways: dict[str, Callable[[], str]] = {
            "origin": lambda: f"http://127.0.0.1:{port}/",
            "this service's relay": stack.enter_context(service(directory / "service", port)),
        }
        if shutil.which("nginx"):
            proxy = stack.enter_context(nginx(directory, port))
            ways[YARDSTICK] = lambda: proxy
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, url in ways.items():
                rates[way].append(LENGTH / fetch(url()) / 1e6)
    return Report("relay", YARDSTICK, [line(way, rates) for way in ways])


def line(way: str, rates: dict[str, list[float]]) -> Line:
    """What a way did, beside nginx if that is installed."""
    beside = ratio(rates[way], rates[YARDSTICK]) if YARDSTICK in rates else None
    return Line("256 MB", way, "MB/s", rates[way], beside)


if __name__ == "__main__":
    serve_origin()
