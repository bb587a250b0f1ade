"""Tells the other processes of an installation that something has become due.

PostgreSQL: LISTEN and NOTIFY, on a connection of its own. SQLite: a datagram socket for each
process, beside the journal's file. Both are hints: whoever misses one finds the job by itself, at
its next look.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
import structlog

_CHANNEL = "abcd2bioschema_due"
_RECONNECT_PAUSES = (1.0, 30.0)  # seconds
_STOP_POLL = 1.0  # seconds until a listening thread sees that it is to end

log = structlog.get_logger(__name__)


class Wakeup(Protocol):
    """One way to tell others, and to be told."""

    is_listening: bool

    def listen(self, due: Callable[[], None]) -> None:
        """Begin to listen in a thread, which calls ``due``."""

    def tell(self) -> None:
        """Something is due that this process can't begin now."""

    def stop(self) -> None:
        """Listen no more."""


class NotifyWakeup:
    """LISTEN and NOTIFY; ``connect`` opens a connection in autocommit mode."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self.is_listening = False
        self._connect = connect
        self._stopping = threading.Event()
        self._telling = threading.Lock()
        self._teller: psycopg.Connection[Any] | None = None
        self._thread: threading.Thread | None = None

    def listen(self, due: Callable[[], None]) -> None:
        """Begin to listen in a thread, which calls ``due``."""
        self._thread = threading.Thread(
            target=self._listen, args=(due,), name="listen", daemon=True
        )
        self._thread.start()

    def tell(self) -> None:
        """Something is due that this process can't begin now."""
        with self._telling:
            try:
                self._teller = self._teller or self._connect()
                self._teller.execute(f"NOTIFY {_CHANNEL}")
            except psycopg.Error as error:
                log.debug("wakeup.not_told", why=type(error).__name__)
                self._teller = None

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._teller is not None:
            self._teller.close()

    def _listen(self, due: Callable[[], None]) -> None:
        pause, longest = _RECONNECT_PAUSES
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self.is_listening = True
                    pause = _RECONNECT_PAUSES[0]
                    due()  # what was told while nobody listened
                    self._hear(connection, due)
            except psycopg.Error as error:
                log.warning("wakeup.lost", why=type(error).__name__, seconds=pause)
            except Exception:
                # The boundary: others' jobs would be noticed late for as long as this runs.
                log.exception("wakeup.defect")
            self.is_listening = False
            self._stopping.wait(pause)
            pause = min(2 * pause, longest)

    def _hear(self, connection: psycopg.Connection[Any], due: Callable[[], None]) -> None:
        own = connection.info.backend_pid
        while not self._stopping.is_set():
            for heard in connection.notifies(timeout=_STOP_POLL):
                if heard.pid != own:
                    due()


class SocketWakeup:
    """A datagram socket in ``directory`` for each process."""

    def __init__(self, directory: Path) -> None:
        self.is_listening = False
        self._directory = directory
        self._name = f"wake-{os.getpid()}.sock"
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def listen(self, due: Callable[[], None]) -> None:
        """Begin to listen in a thread, which calls ``due``."""
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            (self._directory / self._name).unlink(missing_ok=True)
            self._with_short_path(self._name, own.bind)
            (self._directory / self._name).chmod(0o600)
        except OSError as error:
            own.close()
            log.warning("wakeup.not_heard", why=error.strerror)
            return
        self._socket = own
        self.is_listening = True
        self._thread = threading.Thread(
            target=self._hear, args=(own, due), name="listen", daemon=True
        )
        self._thread.start()

    def tell(self) -> None:
        """Something is due that this process can't begin now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.setblocking(False)
            for other in self._directory.glob("wake-*.sock"):
                if other.name != self._name:
                    self._tell_one(teller, other)

    def stop(self) -> None:
        """Listen no more."""
        if self._socket is None or self._thread is None:
            return
        self.is_listening = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()
        with suppress(OSError):
            (self._directory / self._name).unlink(missing_ok=True)

    def _tell_one(self, teller: socket.socket, other: Path) -> None:
        try:
            self._with_short_path(other.name, lambda path: teller.sendto(b"\0", path))
        except ConnectionRefusedError:
            other.unlink(missing_ok=True)  # its process is gone
        except OSError as error:
            log.debug("wakeup.not_told", why=error.strerror)

    def _hear(self, own: socket.socket, due: Callable[[], None]) -> None:
        while own.recv(1):
            due()

    def _with_short_path(self, name: str, use: Callable[[str], object]) -> None:
        """A socket's path has at most some hundred characters, whatever the directory's has."""
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            use(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.close(directory)
