"""Trouble with the database itself: an error of its own kind, and recovery without a restart."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from pipeline.journal import Journal, JournalUnavailable, State
from tests.journal.deliveries import Clock, delivery


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_deliveries_until_there_is_room(
    sqlite_url: str, tmp_path: Path
) -> None:
    journal = Journal(sqlite_url)
    journal.open()
    with closing(journal):
        journal.enqueue(delivery(0))
        with full_disk((tmp_path / "journal.db-wal").stat().st_size):
            with pytest.raises(JournalUnavailable):
                journal.enqueue(delivery(1))
            with pytest.raises(JournalUnavailable):
                journal.probe()
            assert journal.counts()[State.QUEUED] == 1
        assert not journal.enqueue(delivery(1)).duplicate
        assert {job.object_id for job in journal.jobs()} == {"OBJECT0", "OBJECT1"}


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"cannot be opened: .*No such file"):
        Journal(f"sqlite:///{tmp_path}/missing/journal.db").open()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(JournalUnavailable, match="SQLITE_NOTADB"):
        Journal(f"sqlite:///{tmp_path}/journal.db").open()


class Line:
    """The way to a server, on a port of its own, which can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
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


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(postgresql_url: str) -> Iterator[Line]:
    """The way to PostgreSQL."""
    url = make_url(postgresql_url)
    line = Line(url.host or "127.0.0.1", url.port or 5432)
    with closing(line):
        yield line


def test_a_journal_recovers_when_postgresql_comes_back(
    postgresql_url: str, line: Line, clock: Clock
) -> None:
    url = make_url(postgresql_url).set(host="127.0.0.1", port=line.port)
    journal = Journal(url.render_as_string(hide_password=False), clock=clock)
    journal.open()
    with closing(journal):
        journal.enqueue(delivery(0))
        line.cut()
        for ask in (journal.probe, journal.counts, lambda: journal.enqueue(delivery(1))):
            with pytest.raises(JournalUnavailable):
                ask()
        line.mend()
        assert journal.enqueue(delivery(0)).duplicate
        journal.enqueue(delivery(1))
        assert len(journal.claim("host", 5, 60)) == 2


def test_a_journal_that_starts_without_postgresql_begins_when_it_comes(
    postgresql_url: str, line: Line, clock: Clock
) -> None:
    url = make_url(postgresql_url).set(host="127.0.0.1", port=line.port)
    line.cut()
    journal = Journal(url.render_as_string(hide_password=False), clock=clock)
    journal.open()
    with closing(journal):
        for ask in (journal.probe, journal.counts):
            with pytest.raises(JournalUnavailable, match="OperationalError") as raised:
                ask()
            assert str(line.port) not in str(raised.value)
        line.mend()
        assert journal.counts()[State.QUEUED] == 0
        assert not journal.enqueue(delivery(0)).duplicate
