"""A data proxy's S3 as far as an upload sees it, with the failures a test writes down for it.

It holds one object, whose id is in every ETag. Signatures are not looked at.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

OBJECT_ID = "01JOBJECT0000000000000000A"

#: Takes the place of an answer; gives True if the request is to be worked on as well.
Fault = Callable[["Request"], bool]


class Storage:
    """What the proxy knows, and what it was asked: an operation a line, in order."""

    def __init__(self) -> None:
        self.object_id: str = OBJECT_ID
        self.content: bytes | None = b""
        #: Bytes after which a GET breaks off, as long as this is set; with 0 the answer is 404.
        self.breaks_off_after: int | None = None
        self.parts: dict[int, bytes] = {}
        self.log: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.spaces = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.port = 0

    def asked(self, operation: str) -> int:
        """How often an operation was asked for; ``PART`` counts the parts."""
        return sum(entry.split()[0] == operation for entry in self.log)


class Request(BaseHTTPRequestHandler):
    """One request, named by its S3 operation."""

    protocol_version = "HTTP/1.1"
    storage: Storage

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._work("HEAD", self._head)

    def do_GET(self) -> None:
        self._work("GET", self._get)

    def do_PUT(self) -> None:
        number = self._query().get("partNumber")
        if number is None:
            self._work("PUT", self._put)
        else:
            self._work(f"PART {number[0]}", self._part)

    def do_POST(self) -> None:
        is_complete = "uploadId" in self._query()
        self._work(*(("COMPLETE", self._complete) if is_complete else ("CREATE", self._create)))

    def do_DELETE(self) -> None:
        self._work("ABORT", lambda _: self.answer(204))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def _work(self, operation: str, work: Callable[[bytes], None]) -> None:
        storage = self.storage
        with storage.lock:
            storage.log.append(operation)
            storage.headers.append(dict(self.headers))
            storage.paths.append(self.path)
            storage.in_flight += operation.startswith("PART")
            storage.most_in_flight = max(storage.most_in_flight, storage.in_flight)
            faults = storage.faults[operation.split()[0]]
            fault = faults.pop(0) if faults else None
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is None or fault(self):
            work(self.body)
        with storage.lock:
            storage.in_flight -= operation.startswith("PART")

    def _head(self, _body: bytes) -> None:
        if self.storage.content is None:
            self.answer(404)
            return
        length = str(len(self.storage.content))
        self.send_response(200)
        self.send_header("ETag", f'"{self.storage.object_id}"')
        self.send_header("Content-Length", length)
        self.end_headers()

    def _get(self, _body: bytes) -> None:
        storage = self.storage
        if not storage.content or storage.breaks_off_after == 0:
            self.answer(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(storage.content)))
        self.end_headers()
        self.wfile.write(storage.content[: storage.breaks_off_after])
        self.close_connection = True

    def _put(self, body: bytes) -> None:
        self.storage.content = body
        self.storage.breaks_off_after = None
        self.answer(200, ETag=f'"-{self.storage.object_id}"')

    def _create(self, _body: bytes) -> None:
        self.answer(200, b"<R><UploadId>upload-1</UploadId></R>")

    def _part(self, body: bytes) -> None:
        number = int(self._query()["partNumber"][0])
        self.storage.parts[number] = body
        self.answer(200, ETag=f'"-part{number}"')

    def _complete(self, body: bytes) -> None:
        storage = self.storage
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        if not set(numbers) <= set(storage.parts):
            self.refuse(400, "InvalidPart")
            return
        storage.content = b"".join(storage.parts.pop(number) for number in numbers)
        etag = f"<R><ETag>&quot;-{storage.object_id}&quot;</ETag></R>"
        head = '<?xml version="1.0" encoding="UTF-8"?>' + " " * storage.spaces
        self.answer(200, (head + etag).encode())

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)


def refusing(status: int, code: str) -> Fault:
    def fault(request: Request) -> bool:
        request.refuse(status, code)
        return False

    return fault


def cutting(request: Request) -> bool:
    """The connection ends without an answer."""
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)
    return False


def hanging(request: Request) -> bool:
    """No answer comes, ever."""
    request.storage.ending.wait()
    request.close_connection = True
    return False


@contextmanager
def storing(tls: ssl.SSLContext | None = None) -> Iterator[Storage]:
    """A storage that listens on 127.0.0.1; its object is known and empty at the beginning."""
    storage = Storage()
    handler = type("Handler", (Request,), {"storage": storage})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        storage.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield storage
        finally:
            storage.ending.set()
            server.shutdown()
            thread.join()
