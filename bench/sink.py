"""An S3 that keeps nothing: it counts what it is sent, as fast as it comes or as slow as told.

``python -m bench.sink [--rate BYTES_PER_SECOND] [--delay SECONDS]`` prints its port and serves
until its standard input ends. The rate holds for each connection, the delay for each part.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

OBJECT_ID = "01JBENCH00000000000000000A"
#: Bytes taken from a connection at once.
_TAKEN = 1 << 20
#: Bytes a request's head may have.
_HEAD = 1 << 14


class Sink:
    """The bytes of one object, counted."""

    def __init__(self, rate: float | None, delay: float) -> None:
        self.rate = rate
        self.delay = delay
        self.length = 0
        self._lock = threading.Lock()

    def serve(self, sock: socket.socket) -> None:
        """Answer the requests of one connection."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock:
            while head := _head(sock):
                self._answer(sock, *head)

    def _answer(self, sock: socket.socket, line: str, headers: dict[str, str]) -> None:
        method, target, _ = line.split(" ", 2)
        if headers.get("expect") == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", 0))
        query = parse_qs(urlsplit(target).query, keep_blank_values=True)
        self._take(sock, length)
        body = ""
        if method == "PUT":
            time.sleep(self.delay)
            with self._lock:
                self.length += length
        elif "uploads" in query:
            with self._lock:
                self.length = 0
            body = "<R><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></R>"
        elif "uploadId" in query:
            body = f'<R><Bucket>b</Bucket><Key>k</Key><ETag>"-{OBJECT_ID}"</ETag></R>'
        shown = self.length if method == "HEAD" else len(body)
        dash = "" if method == "HEAD" else "-"
        sock.sendall(
            f'HTTP/1.1 200 OK\r\nETag: "{dash}{OBJECT_ID}"\r\n'
            f"Content-Length: {shown}\r\n\r\n{body}".encode()
        )

    def _take(self, sock: socket.socket, length: int) -> None:
        """Read ``length`` bytes and drop them, without a copy where Linux can."""
        buffer = bytearray(_TAKEN)
        began, taken = time.monotonic(), 0
        while taken < length:
            some = min(_TAKEN, length - taken)
            got = sock.recv_into(buffer, some, socket.MSG_TRUNC)
            if not got:
                raise ConnectionError("the client left")
            taken += got
            if self.rate:
                time.sleep(max(0.0, began + taken / self.rate - time.monotonic()))


def _head(sock: socket.socket) -> tuple[str, dict[str, str]] | None:
    """The first line and the headers of the next request, whose body is left in the socket."""
    end = -1
    while end < 0:
        seen = sock.recv(_HEAD, socket.MSG_PEEK)
        if not seen:
            return None
        end = seen.find(b"\r\n\r\n")
    line, *lines = sock.recv(end + 4, socket.MSG_WAITALL).decode().strip().split("\r\n")
    headers = (entry.partition(":") for entry in lines)
    return line, {name.lower(): value.strip() for name, _, value in headers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    sink = Sink(options.rate, options.delay)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener, sink), daemon=True).start()
        sys.stdin.read()


def _accept(listener: socket.socket, sink: Sink) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=sink.serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
