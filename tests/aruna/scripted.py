"""A server on loopback that says, byte for byte, what a test wrote down for it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: Reads what it wants of a request and answers it; the connection is closed after.
Script = Callable[["Connection"], None]


@dataclass
class Connection:
    """One connection to a scripted server: the socket, its number, what was asked."""

    sock: socket.socket
    number: int
    ending: threading.Event
    asked: bytes = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_request(self) -> bytes:
        """The head of the next request, without its body; empty at the end."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                return b""
            head += byte
        self.asked = head
        return head


@dataclass
class Scripted:
    """A running server: where it is, and how many connections it has seen."""

    address: str
    port: int
    connections: list[Connection] = field(default_factory=list)


@contextmanager
def serving(
    script: Script,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Scripted]:
    """A server that runs ``script`` for each connection, in threads of its own."""
    ending = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server((address, port)) as listener:
        server = Scripted(address, listener.getsockname()[1])

        def accept() -> None:
            while not ending.is_set():
                with suppress(OSError):
                    sock, _ = listener.accept()
                    connection = Connection(sock, len(server.connections), ending)
                    server.connections.append(connection)
                    thread = threading.Thread(target=talk, args=(connection,))
                    threads.append(thread)
                    thread.start()

        def talk(connection: Connection) -> None:
            with connection.sock, suppress(OSError):
                if tls is not None:
                    connection.sock = tls.wrap_socket(connection.sock, server_side=True)
                with connection.sock:
                    script(connection)
                    connection.sock.shutdown(socket.SHUT_WR)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield server
        finally:
            ending.set()
            listener.shutdown(socket.SHUT_RDWR)
            for connection in server.connections:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def answering(answer: bytes) -> Script:
    """Each connection gets one request answered with these bytes."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(answer)

    return script


def ok(body: bytes, *headers: str) -> bytes:
    """A 200 with its Content-Length."""
    return response("200 OK", body, f"Content-Length: {len(body)}", *headers)


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
