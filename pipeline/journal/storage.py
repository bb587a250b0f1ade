"""One database as one process uses it: a writing thread, reading connections, its time and keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pipeline.journal import rows
from pipeline.journal.database import Database
from pipeline.journal.records import Job
from pipeline.journal.schema import AnyRow, SchemaTooNew
from pipeline.journal.sealing import Seal
from pipeline.journal.writer import (
    JournalUnavailable,
    SharedWrite,
    Writer,
    is_disconnect,
    is_outage,
    unavailable,
)

A = TypeVar("A")
T = TypeVar("T")


class Storage:
    """What the journal and the jobs held from it read and write through.

    Every method but ``close`` and ``now`` raises ``JournalUnavailable``.
    """

    def __init__(self, url: str, *, keys: Sequence[str], clock: Callable[[], float] | None) -> None:
        self.seal = Seal(keys)
        self._database = Database(url)
        self._writer = Writer(self._database)
        self.wakeup = self._database.wakeup()
        self._clock = clock

    def open(self) -> None:
        """Create or upgrade the database and start writing; once in each process, after a fork.

        A database that is down is no reason not to start: it is prepared as soon as it is there.
        """
        try:
            self._database.prepare()
        except (OSError, SchemaTooNew) as error:
            self._database.close()
            raise JournalUnavailable(f"the journal cannot be opened: {error}") from error
        except SQLAlchemyError as error:
            if not is_outage(error):
                self._database.close()
                raise unavailable(error) from None
        self._writer.start()

    def close(self) -> None:
        """Finish what is being written, end the threads and the connections."""
        self.wakeup.stop()
        self._writer.stop()
        self._database.close()

    @property
    def is_alive(self) -> bool:
        """Whether the writing thread runs."""
        return self._writer.is_alive

    def now(self) -> float:
        """Seconds since the epoch: the database's own time on PostgreSQL, so that leases mean the
        same on every host; this machine's with SQLite."""
        if self._clock is not None:
            return self._clock()
        return self._database.now() or time.time()

    def write(self, write: Callable[[Connection], T]) -> T:
        """The value of ``write``, run in a transaction that is committed when this returns."""
        return self._writer.run(write)

    def write_shared(self, write: SharedWrite[A, T], argument: A) -> T:
        """As ``write``; all arguments that wait for the same ``write`` share a transaction."""
        return self._writer.run_shared(write, argument)

    def read(self, question: Callable[[Connection], T]) -> T:
        """The answer to ``question``, as of the last commit."""
        try:
            return self._ask(question)
        except SQLAlchemyError as error:
            if not is_disconnect(error):
                raise unavailable(error) from None
        try:
            return self._ask(question)
        except SQLAlchemyError as error:
            raise unavailable(error) from None

    def job(self, row: AnyRow) -> Job:
        """A row of ``jobs`` as a value."""
        return rows.job(row, self.seal)

    def _ask(self, question: Callable[[Connection], T]) -> T:
        with self._database.connect_to_read() as connection:
            return question(connection)
