"""A job under its lease: what its holder may say about it.

The lease is a fencing token. Whoever lost it (its process was paused for longer than the lease)
changes nothing: each write is conditional on the lease and raises ``LeaseLost``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update

from pipeline.errors import LeaseLost
from pipeline.journal import relay_tokens
from pipeline.journal.claims import COUNTED, LET_GO, note_attempt
from pipeline.journal.records import Job, Meter, Outcome, Relay, State, Step, kept
from pipeline.journal.schema import AnyRow, jobs, leased, running
from pipeline.journal.storage import Storage
from pipeline.journal.writer import mark_scrubbed

T = TypeVar("T")


class HeldJob:
    """A claimed job and the lease it was claimed with.

    ``job`` is the row as this holder claimed it or last wrote it. ``meter`` is how far the attempt
    is: the holder counts, every write and renewal stores it. Every method raises
    ``JournalUnavailable``, and all but ``release`` raise ``LeaseLost``.
    """

    def __init__(self, job: Job, storage: Storage) -> None:
        self.job = job
        self.lease = job.lease or ""
        self.meter = Meter("", job.progress.bytes_in, job.progress.bytes_out)
        self._storage = storage

    def confirm(self) -> None:
        """Make sure that nobody else holds the job, before a write to Aruna."""
        now = self._storage.now()
        valid = select(jobs.c.id).where(self._mine(), jobs.c.lease_until > now)
        _held(self._storage.read(lambda connection: connection.scalar(valid)))

    def release(self) -> None:
        """Let go of the job at once, no attempt counted; nothing if the lease is lost.

        Of a superseded job this frees the object for its successor.
        """
        requeued = {**LET_GO, "state": State.QUEUED, "next_at": self._storage.now()}
        mine = leased() & (jobs.c.id == self.job.id) & (jobs.c.lease == self.lease)

        def write(connection: Connection) -> None:
            if self._update(connection, requeued) is None:
                connection.execute(update(jobs).where(mine).values(LET_GO))

        self._storage.write(write)

    def wait(self, *, seconds: float, message: str) -> None:
        """Queue the job for later, no attempt counted; it waits since the first such time."""
        now = self._storage.now()
        self._change(
            {
                **LET_GO,
                "state": State.QUEUED,
                "next_at": now + seconds,
                "waiting_since": func.coalesce(jobs.c.waiting_since, now),
                "last_code": None,
                "last_message": kept(message),
            }
        )

    def retry(self, *, seconds: float, error: Outcome, outage: bool = False) -> None:
        """Queue the job for later, this attempt of its step noted.

        It counts as a failure, unless a peer is away (``outage``), which is then remembered since
        the first such attempt in a row.
        """
        now, error = self._storage.now(), error.kept()
        counted: dict[str, Any] = {"failures": jobs.c.failures + 1, "outage_since": None}
        away = {"outage_since": func.coalesce(jobs.c.outage_since, now)}
        values = {
            **LET_GO,
            **COUNTED,
            **(away if outage else counted),
            "state": State.QUEUED,
            "next_at": now + seconds,
            "waiting_since": None,
            "last_code": error.code,
            "last_message": error.message,
        }

        def write(connection: Connection) -> AnyRow | None:
            row = self._update(connection, values)
            if row is not None:
                note_attempt(connection, row, now, error, next_at=now + seconds)
            return row

        self._take(self._storage.write(write))

    def note_source(self, sha256: str) -> None:
        """Note the SHA-256 (hex) of the source's content, which the delivery did not say."""
        self._change({"source_sha256": sha256})

    def note_result(self, result_id: str, result_name: str) -> None:
        """Note the object that was created in Aruna."""
        self._change({"result_id": result_id, "result_name": result_name})

    def note_upload(self) -> None:
        """Note that an upload begins: should its end not be seen, its content is not believed."""
        self._change({"upload_begun": True})

    def worked(self, outcome: Outcome) -> None:
        """The work is done, well or not, and is not done again; what is left is the callback."""
        now, outcome = self._storage.now(), outcome.kept()
        callback_next = {
            "step": Step.CALLBACK,
            "code": outcome.code,
            "message": outcome.message,
            "callback_since": now,
            "waiting_since": None,
            "outage_since": None,
            "relay_token_hash": None,
        }

        def write(connection: Connection) -> AnyRow | None:
            counted = self._update(connection, COUNTED)
            if counted is None:
                return None
            note_attempt(connection, counted, now, outcome)
            return self._update(connection, callback_next)

        self._take(self._storage.write(write))

    def callback_sending(self) -> None:
        """Note that a callback may reach Aruna from now on; ``job`` is then the newest delivery."""
        self._change({"callback_sent_at": self._storage.now()})

    def end(self, state: State, outcome: Outcome, *, scrub: bool = False) -> bool:
        """End the job, unless a delivery came after the last one that ``job`` has.

        Then the answer is ``False``: Aruna has wiped the callback, another one is needed, and the
        job is still held. A job that succeeded keeps no credentials, nor does one that cannot be
        tried again, nor with ``scrub``.
        """
        write = partial(
            self._end,
            state=state,
            outcome=outcome.kept(),
            scrub=scrub or state == State.SUCCEEDED,
            now=self._storage.now(),
        )
        return _held(self._storage.write(write))

    def open_relay(self, kind: str) -> str:
        """A new token under which any process passes on the job's download, as ``kind`` (``xml``
        or ``zip``); an earlier token of the job is void."""
        token = secrets.token_urlsafe(32)
        self._change(relay_tokens.opened(token, kind))
        return token

    def close_relay(self) -> None:
        """Void the job's token; what became of it can still be asked."""
        self._change({"relay_token_hash": None})

    def relay_outcome(self) -> Relay:
        """What became of the job's relay so far."""
        columns = (jobs.c.relay_fetches, jobs.c.relay_passed, jobs.c.relay_error)
        outcome = select(*columns).where(self._mine())
        row = _held(self._storage.read(lambda connection: connection.execute(outcome).first()))
        return Relay(row.relay_fetches, row.relay_passed, row.relay_error)

    def _mine(self) -> ColumnElement[bool]:
        return running() & (jobs.c.id == self.job.id) & (jobs.c.lease == self.lease)

    def _update(self, connection: Connection, values: Mapping[str, Any]) -> AnyRow | None:
        progress = self.meter.columns()
        changed = update(jobs).where(self._mine()).values({**progress, **values})
        return connection.execute(changed.returning(jobs)).first()

    def _change(self, values: Mapping[str, Any]) -> None:
        self._take(self._storage.write(lambda connection: self._update(connection, values)))

    def _take(self, row: AnyRow | None) -> None:
        self.job = self._storage.job(_held(row))

    def _end(
        self, connection: Connection, *, state: State, outcome: Outcome, scrub: bool, now: float
    ) -> bool | None:
        useless = or_(jobs.c.answer_only, jobs.c.token_expires <= now)
        kept = None if scrub else case((useless, None), else_=jobs.c.credentials)
        told = {"told_code": jobs.c.code, "told_message": jobs.c.message}
        values = {
            **LET_GO,
            **COUNTED,
            **(told if self.job.callback_sent_at is not None else {}),
            "state": state,
            "code": outcome.code,
            "message": outcome.message,
            "credentials": kept,
            "ended_at": now,
        }
        unchanged = self._mine() & (jobs.c.deliveries == self.job.deliveries)
        ended = update(jobs).where(unchanged).values({**self.meter.columns(), **values})
        row = connection.execute(ended.returning(jobs)).first()
        if row is None:
            wiped = self._update(connection, {"callback_sent_at": None})
            return None if wiped is None else False
        note_attempt(connection, row, now, outcome)
        if row.credentials is None:
            mark_scrubbed(connection)
        return True


def _held(answer: T | None) -> T:
    if answer is None:
        raise LeaseLost("the job is not held by this lease any more")
    return answer
