"""A small HTTP/1.1 server of threads that leaves control of the bytes to its handler."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import cast

from sandbox.errors import Answered, Dropped

_BLOCK = 1024 * 1024
_DRAINED = 64 * 1024 * 1024


class ServerThread:
    """Serves ``server`` in a thread of its own, from now on."""

    def __init__(self, server: TCPServer, name: str) -> None:
        self._server = server
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name)
        self._thread.start()

    def end(self) -> None:
        """Accept no more connections; the server itself is still to be closed."""
        self._ending.set()
        # A connection wakes the thread that waits for one.
        with contextlib.suppress(OSError), socket.create_connection(self._address()):
            pass
        self._thread.join()

    def _serve(self) -> None:
        while not self._ending.is_set():
            self._server.handle_request()

    def _address(self) -> tuple[str, int]:
        host, port = self._server.socket.getsockname()[:2]
        return host, port


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer; ``path`` is the raw target as it was sent."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def body(self) -> Iterator[bytes]:
        """The request's body in blocks of at most 1 MiB; ends early if the client does."""
        return self._body

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        """A complete answer; with a HEAD request the body is only measured."""
        self.start(status, {**headers, "content-length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers; without content-length and chunks the close ends the body."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not {"content-length", "transfer-encoding"} & set(headers) and status != 204:
            self.send_header("connection", "close")
        self.send_header("date", formatdate(usegmt=True))
        self.end_headers()

    def chunk(self, content: bytes) -> None:
        """A piece of a chunked answer's body; an empty one ends it."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))

    def client_is_gone(self) -> bool:
        """Whether the client has closed its end of the connection."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def respond(self) -> None:
        """Hand the request to the server's handler and leave the connection usable or closed."""
        self._body = self._blocks()
        with contextlib.suppress(ConnectionError):
            try:
                self.server.respond(self)
                self._drain()
            except Answered as answered:
                self.answer(answered.status, answered.body, answered.headers)
                self._drain()
            except Dropped:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

    def handle_one_request(self) -> None:
        """As the base class, but a client that goes away is no error."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the sandbox keeps its own journal."""

    def _blocks(self) -> Iterator[bytes]:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            yield from self._exactly(int(self.headers.get("content-length") or 0))
            return
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            yield from self._exactly(size)
            self.rfile.readline()
        self.rfile.readline()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            block = self.rfile.read(min(size, _BLOCK))
            if not block:
                self.close_connection = True
                return
            size -= len(block)
            yield block

    def _drain(self) -> None:
        drained = 0
        for block in self._body:
            drained += len(block)
            if drained > _DRAINED:
                self.close_connection = True
                return


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], respond: Callable[[Exchange], None]) -> None:
        super().__init__(address, Exchange)
        self.respond = respond
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()

    def process_request(self, request: object, client_address: object) -> None:
        with self._connections_lock:
            self._connections.add(cast(socket.socket, request))
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        with self._connections_lock:
            self._connections.discard(cast(socket.socket, request))
        super().shutdown_request(request)  # type: ignore[arg-type]

    def cut_connections(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class WebServer:
    """``respond`` is called for every request, each connection in a thread of its own."""

    def __init__(self, respond: Callable[[Exchange], None], *, host: str, port: int) -> None:
        self._server = _Server((host, port), respond)
        self.port: int = self._server.server_address[1]
        self._server_thread = ServerThread(self._server, "sandbox-http")

    def close(self) -> None:
        """Refuse new connections, cut the open ones, wait for their threads."""
        self._server_thread.end()
        self._server.cut_connections()
        self._server.server_close()
