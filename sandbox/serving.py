"""A thread that serves a socket server until it is told to end, without polling."""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import TCPServer


class Serving:
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
