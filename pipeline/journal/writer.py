"""Group commit: one thread in each process writes for all others.

It gathers what waits, runs it in one transaction, commits, and only then answers. SQLite's writers
with a connection each would starve one another and wait for the disk one by one; for PostgreSQL
each commit is a way to the disk as well.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline.journal.database import Database

log = structlog.get_logger(__name__)

A = TypeVar("A")
T = TypeVar("T")

#: A write that serves all callers at once: one argument and one answer for each.
SharedWrite = Callable[[Connection, Sequence[A]], Sequence[T]]

_PATIENCE = 10.0  # seconds a caller waits for its commit
_BATCH = 512  # writes in one transaction at most: the first of them waits for the last
_CROWD = 3  # more writes than these in one transaction: the next one waits a moment for its own
_GATHERING = 0.002  # seconds of that moment: fewer commits leave more time to answer
_IDLE = 1.0  # seconds after which the connection is looked at before it is used again
_CHECKPOINT_PAUSE = 1.0  # seconds between two checkpoints: each is three ways to the disk
_TRIES = 5  # of a write that met other processes on the same rows
_RACES = {"23505", "40001", "40P01"}  # SQLSTATE: unique violation, serialisation, deadlock


class JournalUnavailable(Exception):
    """The journal cannot be read or written now (disk full, read-only, database gone).

    The message names the kind of trouble and holds no SQL, URL or value. ``in_doubt``: the write
    may have been committed all the same, or ``pending`` may still commit it.
    """

    def __init__(
        self, message: str, *, in_doubt: bool = False, pending: Future[Any] | None = None
    ) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt
        self.pending = pending
        self.job_id = ""


def unavailable(error: Exception, *, in_doubt: bool = False) -> JournalUnavailable:
    """The error for callers, to be raised ``from None``: a driver's text can quote a whole row."""
    cause = getattr(error, "orig", None) or error
    kind = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
    return JournalUnavailable(f"the journal is unavailable ({kind})", in_doubt=in_doubt)


def mark_scrubbed(connection: Connection) -> None:
    """Say that this transaction removes credentials, of which no file may keep a copy."""
    connection.info["scrubbed"] = True


@dataclass(frozen=True)
class _Waiting:
    """A write that waits for its turn, and where its answer goes."""

    write: SharedWrite[Any, Any]
    argument: Any
    answer: Future[Any] = field(default_factory=Future)


class Writer:
    """The writing thread of a process.

    At its start and after transactions that removed credentials it empties SQLite's write-ahead
    log.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._used_at = 0.0
        self._checkpoint_at: float | None = time.monotonic()
        self._checkpointed_at = 0.0
        self._inbox: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._gathered: list[_Waiting] = []
        self._crowded = False
        self._committing = False
        self._in_doubt = False
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="journal-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits already, then end the thread and its connection."""
        self._inbox.put(None)
        self._thread.join()

    def run(self, write: Callable[[Connection], T]) -> T:
        """Run ``write`` in a transaction and return its value once that is committed.

        ``write`` may be run again in another transaction if the first was rolled back. Raises
        ``JournalUnavailable``.
        """
        return self.run_shared(lambda connection, _: [write(connection)], None)

    def run_shared(self, write: SharedWrite[A, T], argument: A) -> T:
        """As ``run``, but all arguments that wait for the same ``write`` are handed to it at once.

        Raises ``JournalUnavailable``.
        """
        if not self._thread.is_alive():
            raise JournalUnavailable("the journal is unavailable (closed)")
        waiting = _Waiting(write, argument)
        self._inbox.put(waiting)
        try:
            answer: T = waiting.answer.result(timeout=_PATIENCE)
        except TimeoutError:
            pending = None if waiting.answer.cancel() else waiting.answer
            raise JournalUnavailable(
                "the journal is unavailable (no answer in time)", pending=pending
            ) from None
        return answer

    def _serve(self) -> None:
        while not self._stopping:
            self._gathered = []
            try:
                self._serve_those_who_wait()
                self._checkpoint_if_due()
            except Exception as error:
                # The boundary: without this thread no hook would ever be taken again.
                log.exception("journal.writer_failed")
                _refuse([item for item in self._gathered if not item.answer.done()], error)
        self._let_go()

    def _serve_those_who_wait(self) -> None:
        """Write what waits, after waiting for a first one (or for the time of a checkpoint).

        Whoever comes while another process has its turn joins the batch. In a crowd more are on
        their way, and are waited for.
        """
        try:
            first = self._next(timeout=self._until_checkpoint())
        except queue.Empty:
            return
        if self._crowded:
            time.sleep(_GATHERING)
        self._gathered.append(first)
        with self._database.turn():
            self._gathered += self._others()
            batch = [item for item in self._gathered if _is_awaited(item)]
            self._crowded = len(batch) > _CROWD
            if batch:
                self._in_doubt = False
                self._write(batch)

    def _others(self) -> Iterator[_Waiting]:
        with suppress(queue.Empty):
            for _ in range(_BATCH - 1):
                yield self._next(timeout=0)

    def _next(self, timeout: float | None) -> _Waiting:
        item = self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        if item is None:
            self._stopping = True
            raise queue.Empty
        return item

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _write(self, batch: Sequence[_Waiting]) -> Exception | None:
        """Commit ``batch``, or, if one of it cannot be, each on its own: only that one fails."""
        error = self._commit(batch)
        if error is None:
            return None
        if len(batch) == 1 or is_outage(error):
            _refuse(batch, error, in_doubt=self._in_doubt)
            return error
        for index, item in enumerate(batch):
            error = self._write([item])
            if error is not None and is_outage(error):
                _refuse(batch[index + 1 :], error, in_doubt=self._in_doubt)
                return error
        return None

    def _commit(self, batch: Sequence[_Waiting]) -> Exception | None:
        """Run and commit ``batch``, then answer; or roll back and return what was wrong.

        A connection that has died (PostgreSQL was restarted, a session ended) is replaced once. If
        it died while it committed, the batch is in doubt until a later try succeeds.
        """
        reconnected = False
        for _ in range(_TRIES):
            try:
                answers = self._transact(batch)
            except Exception as error:  # noqa: BLE001 - whoever asked for the write gets it
                failure = error
                self._in_doubt |= self._committing and is_disconnect(failure)
                self._let_go()
            else:
                for item, answer in answers:
                    item.answer.set_result(answer)
                return None
            if is_disconnect(failure) and not reconnected:
                reconnected = True
            elif len(batch) > 1 or not _is_race(failure):
                break
        return failure

    def _transact(self, batch: Sequence[_Waiting]) -> list[tuple[_Waiting, Any]]:
        answers: list[tuple[_Waiting, Any]] = []
        self._committing = False
        connection = self._connected()
        connection.info.pop("scrubbed", None)
        with connection.begin():
            for write, items in _by_write(batch).items():
                values = write(connection, [item.argument for item in items])
                answers.extend(zip(items, values, strict=True))
            self._committing = True
        self._used_at = time.monotonic()
        if connection.info.pop("scrubbed", False) and self._checkpoint_at is None:
            self._checkpoint_at = max(self._used_at, self._checkpointed_at + _CHECKPOINT_PAUSE)
        return answers

    def _connected(self) -> Connection:
        """The connection; after a pause it comes from the pool anew, which looks at it first."""
        if time.monotonic() - self._used_at > _IDLE:
            self._let_go()
        if self._connection is None:
            self._connection = self._database.connect_to_write()
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _until_checkpoint(self) -> float | None:
        if self._checkpoint_at is None:
            return None
        return max(self._checkpoint_at - time.monotonic(), 0.0)

    def _checkpoint_if_due(self) -> None:
        if self._until_checkpoint() != 0.0:
            return
        try:
            with self._database.turn():
                done = self._database.empty_log()
        except (SQLAlchemyError, OSError):
            done = False
        self._checkpointed_at = time.monotonic()
        self._checkpoint_at = None if done else self._checkpointed_at + _CHECKPOINT_PAUSE


def _is_awaited(item: _Waiting) -> bool:
    return item.answer.set_running_or_notify_cancel()


def _by_write(
    batch: Sequence[_Waiting],
) -> dict[SharedWrite[Any, Any], list[_Waiting]]:
    groups: dict[SharedWrite[Any, Any], list[_Waiting]] = {}
    for item in batch:
        groups.setdefault(item.write, []).append(item)
    return groups


def _refuse(batch: Sequence[_Waiting], error: Exception, *, in_doubt: bool = False) -> None:
    """Each waits in a thread of its own and gets an exception of its own."""
    for item in batch:
        if isinstance(error, SQLAlchemyError | OSError):
            item.answer.set_exception(unavailable(error, in_doubt=in_doubt))
        else:
            item.answer.set_exception(error)


def _is_race(error: Exception) -> bool:
    """Whether another process was faster on the same rows, so that a second try can succeed."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _RACES


def is_disconnect(error: Exception) -> bool:
    """Whether the connection has died, so that a new one may do."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_outage(error: Exception) -> bool:
    """Whether no other write would fare better now."""
    outage = (OperationalError, InterfaceError, PoolTimeout)
    return isinstance(error, outage) and not _is_race(error)
