"""SQLite and PostgreSQL: how their connections are made and their files kept."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline.journal import schema
from pipeline.journal.wakeup import NotifyWakeup, SocketWakeup, Wakeup

_BUSY = 10_000  # milliseconds SQLite waits for another process's transaction
_CHECKPOINT_BUSY = 100  # milliseconds a checkpoint waits for readers; writers wait meanwhile
_CHECKPOINT_PAGES = 4000  # of the log before SQLite moves them by itself: 16 MB
_CONNECT_TIMEOUT = 5  # seconds
#: Milliseconds. Less than a caller waits for its commit, so that the fate of a write is known then.
_STATEMENT_TIMEOUT = 5_000
_RECYCLE = 600  # seconds after which a connection is made anew, and the server's time told again
_READERS = 4  # connections kept open for reading; as many again under load

# A host that was cut off says nothing any more: its transactions must end, and ours on it.
_POSTGRESQL = f"""
SET statement_timeout = {_STATEMENT_TIMEOUT};
SET idle_in_transaction_session_timeout = {_STATEMENT_TIMEOUT}
"""


class DatabaseClock:
    """The time of a database server, which is told with each new connection.

    In between it goes on by a clock of this machine that nobody sets.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None

    def tell(self, seconds: float) -> None:
        """The server's time now, in seconds since the epoch."""
        self._ahead = seconds - _uptime()

    def now(self) -> float | None:
        """Seconds since the epoch; ``None`` before the first connection."""
        return None if self._ahead is None else self._ahead + _uptime()


class Database:
    """Two ways to one database: ``writing`` for the writer's transactions, ``reading`` for single
    statements of any thread, which see what was committed last."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._file = _sqlite_file(parsed)
        if self._file is None:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._url = parsed
        self._clock = DatabaseClock()
        self.writing = self._engine(parsed, size=1, spare=0)
        self.reading = self._engine(
            parsed, size=_READERS, spare=_READERS, isolation_level="AUTOCOMMIT"
        )
        self._directory: int | None = None
        self._preparing = threading.Lock()
        self._prepared = False
        if self._file is not None:
            event.listen(self.writing, "begin", _begin_immediate)

    def prepare(self) -> None:
        """Create or upgrade the database, once; safe if several processes do it at once.

        Raises ``OSError``, ``SchemaTooNew``, and SQLAlchemy's errors; then it is tried anew when
        it is called again.
        """
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                self._prepare()
                self._prepared = True

    def wakeup(self) -> Wakeup:
        """How the processes on this database tell each other that something is due."""
        if self._file is not None:
            return SocketWakeup(self._file.parent)
        return NotifyWakeup(self._connect_alone)

    def now(self) -> float | None:
        """The server's time in seconds since the epoch; ``None`` with SQLite, or before the first
        connection."""
        return self._clock.now()

    def connect_to_write(self) -> Connection:
        """A connection of the writer's, to a database that is prepared."""
        self.prepare()
        return self.writing.connect()

    def connect_to_read(self) -> Connection:
        """A connection for single statements, to a database that is prepared."""
        self.prepare()
        return self.reading.connect()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """With SQLite, wait until no other process writes and keep them waiting meanwhile.

        SQLite itself would look again after pauses that grow to 100 ms, and whoever comes in
        between is first.
        """
        if self._directory is None:
            yield
            return
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def empty_log(self) -> bool:
        """Move SQLite's write-ahead log into the file and truncate it, so that what was
        overwritten is in neither; ``False`` if a reader is in the way just now."""
        if self._file is None:
            return True
        with self.reading.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_CHECKPOINT_BUSY}")
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY}")
        return bool(busy == 0)

    def close(self) -> None:
        """Close all connections."""
        self.writing.dispose()
        self.reading.dispose()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _connect_alone(self) -> psycopg.Connection[Any]:
        """A connection in autocommit mode that belongs to no pool."""
        _, arguments = self.reading.dialect.create_connect_args(self._url)
        return psycopg.connect(autocommit=True, **{**arguments, **_postgresql_arguments()})

    def _prepare(self) -> None:
        if self._file is not None and self._directory is None:
            self._directory = os.open(self._file.parent, os.O_RDONLY)
        with self.turn():
            if self._file is not None:
                self._create_file(self._file)
            self._create_version_table()
            self._upgrade()

    def _create_file(self, file: Path) -> None:
        _create_private(file)
        with self.reading.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        self.reading.dispose()  # this connection would be in the way of the first checkpoint

    def _create_version_table(self) -> None:
        try:
            with self.writing.begin() as connection:
                schema.create_version_table(connection)
        except (IntegrityError, ProgrammingError):
            # PostgreSQL: another process has just created the same table or row
            with self.writing.begin() as connection:
                schema.create_version_table(connection)

    def _upgrade(self) -> None:
        with self.writing.begin() as connection:
            schema.upgrade(connection)

    def _engine(self, url: URL, *, size: int, spare: int, **options: Any) -> Engine:
        sqlite = url.get_backend_name() == "sqlite"
        engine = create_engine(
            url,
            connect_args={"timeout": _BUSY / 1000} if sqlite else _postgresql_arguments(),
            hide_parameters=True,
            max_overflow=spare,
            pool_recycle=-1 if sqlite else _RECYCLE,
            pool_size=size,
            pool_timeout=_CONNECT_TIMEOUT,
            **options,
        )
        event.listen(engine, "connect", _set_up_sqlite if sqlite else self._set_up_postgresql)
        return engine

    def _set_up_postgresql(self, connection: Any, _entry: ConnectionPoolEntry) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL)
            [(now,)] = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        self._clock.tell(now)
        connection.commit()


def _postgresql_arguments() -> dict[str, int | str]:
    return {
        "connect_timeout": _CONNECT_TIMEOUT,
        "application_name": "webhook-journal",
        "keepalives_idle": _CONNECT_TIMEOUT,
        "tcp_user_timeout": _STATEMENT_TIMEOUT,
    }


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and then writes could not wait for another writer.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _uptime() -> float:
    """Seconds since the machine started, sleep included where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    return Path(url.database or "journal.db").absolute()


def _create_private(file: Path) -> None:
    """Create ``file`` for its owner alone; SQLite gives its log the same mode.

    An existing file is not opened: closing it would drop the locks that this process may hold.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        file.chmod(0o600)
