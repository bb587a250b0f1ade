"""How fast the relay passes a download on, beside nginx doing the same between the same sockets.

``python -m bench.relay`` starts the service and, if it is installed, nginx, both in front of an
origin that costs next to nothing, and fetches 256 MB through each in turn. The service checks
length and SHA-256 of what it passes on, nginx nothing. It writes ``bench/out/relay.json`` and
prints the same as a table; ``origin`` is the fetch without anything between.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.bioschemas import Kind
from pipeline.hook import parse_hook
from tests.payloads import as_bytes, payload, source
from tests.running import free_port, running

LENGTH = 256 * 2**20
BLOCK = bytes(range(256)) * 4096
ROUNDS = 7
OUT = Path(__file__).parent / "out"
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
def origin() -> Iterator[int]:
    """The port of an origin in a process of its own."""
    command = [sys.executable, "-m", "bench.relay", "--origin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        yield int(it.stdout.readline())
        assert it.stdin is not None
        it.stdin.close()


@contextmanager
def nginx(directory: Path, origin_port: int) -> Iterator[str]:
    """The URL of an nginx in front of the origin."""
    port = free_port()
    path = directory / "nginx.conf"
    path.write_text(NGINX.format(directory=directory, port=port, origin=origin_port))
    with subprocess.Popen(["nginx", "-c", str(path), "-e", "stderr"]) as process:
        _wait_for(port)
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


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("nginx does not answer")


def measure() -> dict[str, list[float]]:
    """Seconds of each way, several times, in turn."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(origin())
        relay = stack.enter_context(service(directory / "service", port))
        ways: dict[str, Callable[[], str]] = {
            "origin": lambda: f"http://127.0.0.1:{port}/",
            "this service's relay": relay,
        }
        if shutil.which("nginx"):
            proxy = stack.enter_context(nginx(directory, port))
            ways["nginx"] = lambda: proxy
        runs: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, url in ways.items():
                runs[way].append(fetch(url()))
    return runs


def summary(runs: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A line for each way: medians, their spread, and the ratio to nginx."""
    nginx_seconds = statistics.median(runs["nginx"]) if "nginx" in runs else None
    return [
        {
            "way": way,
            "mb_per_second": LENGTH / statistics.median(seconds) / 1e6,
            "slowest": LENGTH / max(seconds) / 1e6,
            "fastest": LENGTH / min(seconds) / 1e6,
            "ratio": nginx_seconds and nginx_seconds / statistics.median(seconds),
        }
        for way, seconds in runs.items()
    ]


def table(lines: list[dict[str, Any]]) -> str:
    """The summary in Markdown."""
    rows = ["| way | MB/s (slowest to fastest) | ratio to nginx |", "| --- | --- | --- |"]
    rows += [
        f"| {line['way']} | {line['mb_per_second']:.0f} "
        f"({line['slowest']:.0f} to {line['fastest']:.0f}) "
        f"| {'' if line['ratio'] is None else format(line['ratio'], '.2f')} |"
        for line in lines
    ]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--origin", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().origin:
        serve_origin()
        return
    lines = summary(measure())
    OUT.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    (OUT / "relay.json").write_text(json.dumps({"machine": machine, "lines": lines}, indent=1))
    print(table(lines))


if __name__ == "__main__":
    main()
