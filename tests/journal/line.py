"""The way to PostgreSQL, which the tests can cut, and sessions of it, which they can end."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import psycopg
from sqlalchemy import make_url


class Line:
    """The way to the server at ``url``, on a port of its own, which can be cut and mended.

    ``url`` is then the one that leads through here.
    """

    def __init__(self, url: str) -> None:
        direct = make_url(url)
        self._server = (direct.host or "127.0.0.1", direct.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        through = direct.set(host="127.0.0.1", port=self.port)
        self.url = through.render_as_string(hide_password=False)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._serve()

    def cut(self) -> None:
        """Nobody gets through, nor is connected any more."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def close(self) -> None:
        """As ``cut``, if it is not cut already."""
        if self._threads:
            self.cut()

    def mend(self) -> None:
        """All is as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()

    def _serve(self) -> None:
        listener = self._listener

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(self._server)
                    self._open += [client, server]
                    self._start(_pump, client, server)
                    self._start(_pump, server, client)

        self._start(accept)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def terminate(url: str, *sessions: int) -> None:
    """End these sessions of PostgreSQL, as a restart or an administrator does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for session in sessions:
            connection.execute("SELECT pg_terminate_backend(%s, 10000)", [session])


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
