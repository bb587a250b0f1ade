"""The journal: the durable list of jobs, shared by all threads, processes and hosts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pipeline.aruna.hook import Hook
from pipeline.errors import LeaseLost
from pipeline.journal import claims, deliveries, held, queries, relay_tokens, rows, upkeep
from pipeline.journal.database import Database
from pipeline.journal.records import (
    Job,
    Known,
    Outcome,
    PastAttempt,
    Progress,
    Receipt,
    Relay,
    RelayGrant,
    State,
)
from pipeline.journal.schema import AnyRow, SchemaTooNew
from pipeline.journal.sealing import Seal
from pipeline.journal.writer import JournalUnavailable, Writer, is_outage, unavailable

T = TypeVar("T")

_DAY = 86400.0
_MESSAGE_LIMIT = 1000  # characters of a message that are kept


class UnknownJob(Exception):
    """No job, or more than one, has the id that was asked for; the message says which."""


class Journal:
    """The jobs in the database at ``url``.

    ``keys`` are Fernet keys, newest first; ``retention`` is how long ended jobs stay, in days;
    ``clock`` gives seconds since the epoch. Nothing is opened before ``open``. Every method but
    ``close`` raises ``JournalUnavailable``; those that take a lease raise ``LeaseLost`` once
    another process may hold the job.
    """

    def __init__(
        self,
        url: str,
        *,
        keys: Sequence[str] = (),
        retention: float = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._seal = Seal(keys)
        self._retention = retention * _DAY
        self._clock = clock

    def open(self) -> None:
        """Create or upgrade the database and start writing; once in each process, after a fork.

        A database that is down is no reason not to start: it is prepared as soon as it is there,
        and until then every method raises ``JournalUnavailable``.
        """
        self._database = Database(self._url)
        try:
            self._database.prepare()
        except (OSError, SchemaTooNew) as error:
            self._database.close()
            raise JournalUnavailable(f"the journal cannot be opened: {error}") from error
        except SQLAlchemyError as error:
            if not is_outage(error):
                self._database.close()
                raise unavailable(error) from None
        self._writer = Writer(self._database)
        self._writer.start()

    def close(self) -> None:
        """Finish what is being written, end the thread and the connections."""
        self._writer.stop()
        self._database.close()

    # Deliveries

    def enqueue(self, hook: Hook, *, outcome: Outcome | None = None) -> Receipt:
        """Keep a delivery; when this returns it is on disk.

        With an ``outcome`` there is nothing to work on: the job is the callback alone.
        """
        arrival = deliveries.arrival(hook, outcome, self._seal, self._clock())
        return self._writer.run_shared(deliveries.enqueue, arrival)

    # Claims and leases

    def claim(self, holder: str, limit: int, lease_seconds: float) -> list[Job]:
        """Up to ``limit`` jobs that are due, for ``holder`` to work on while it renews them.

        A job whose lease is over counts as due, with the attempt that was lost counted.
        """
        now = self._clock()
        lease = secrets.token_urlsafe(16)
        claimed = partial(
            claims.claim,
            now=now,
            holder=holder,
            lease=lease,
            until=now + lease_seconds,
            limit=limit,
        )
        return [self._job(row) for row in self._writer.run(claimed)]

    def renew(self, leases: Mapping[str, tuple[str, Progress]], lease_seconds: float) -> set[str]:
        """Prolong leases (by job id) and note how far the jobs are; the ids that are still held."""
        if not leases:
            return set()
        progress_of = {(job_id, lease): at for job_id, (lease, at) in leases.items()}
        until = self._clock() + lease_seconds
        return self._writer.run(partial(claims.renew, progress_of=progress_of, until=until))

    def holders(self) -> Sequence[str]:
        """Who holds leases at the moment."""
        return self._read(queries.holders)

    def expire(self, holder: str) -> None:
        """End the leases of a holder that is known to be dead; its jobs are due at once."""
        self._writer.run(lambda c: claims.expire(c, holder))

    def confirm(self, job_id: str, lease: str) -> int:
        """Make sure that nobody else holds the job, before a write to Aruna.

        Returns the number of deliveries so far.
        """
        now = self._clock()
        deliveries = self._read(lambda c: held.confirmed(c, job_id, lease, now))
        return _held(deliveries)

    def release(self, job_id: str, lease: str) -> None:
        """Let go of a job at once, no attempt counted; nothing if the lease is lost.

        Of a superseded job this frees the object for its successor.
        """
        now = self._clock()
        self._writer.run(lambda c: held.release(c, job_id, lease, now))

    # The life of a job

    def note_result(self, job_id: str, lease: str, result_id: str, result_name: str) -> None:
        """Note the object that was created in Aruna."""
        result = {"result_id": result_id, "result_name": result_name}
        _held(self._writer.run(lambda c: held.change(c, job_id, lease, result)))

    def wait(self, job_id: str, lease: str, *, at: float, message: str) -> None:
        """Queue the job until ``at``, no attempt counted; it waits since the first such time."""
        now = self._clock()
        said = message[:_MESSAGE_LIMIT]
        _held(self._writer.run(lambda c: held.wait(c, job_id, lease, at, said, now)))

    def retry(self, job_id: str, lease: str, *, at: float, code: str, message: str) -> None:
        """Queue the job until ``at``, this attempt of its step counted as failed."""
        now = self._clock()
        error = Outcome(code, message[:_MESSAGE_LIMIT])
        _held(self._writer.run(lambda c: held.retry(c, job_id, lease, at, error, now)))

    def worked(self, job_id: str, lease: str, outcome: Outcome) -> Job:
        """The work is done, well or not, and is not done again; what is left is the callback.

        Returns the job with the newest delivery.
        """
        now = self._clock()
        cut = Outcome(outcome.code, outcome.message[:_MESSAGE_LIMIT])
        return self._job(_held(self._writer.run(lambda c: held.worked(c, job_id, lease, cut, now))))

    def callback_sending(self, job_id: str, lease: str) -> Job:
        """Note that a callback may reach Aruna from now on; the job with the newest delivery."""
        sent = {"callback_sent_at": self._clock()}
        return self._job(_held(self._writer.run(lambda c: held.change(c, job_id, lease, sent))))

    def ended(
        self,
        job_id: str,
        lease: str,
        *,
        state: State,
        outcome: Outcome,
        deliveries: int,
        scrub: bool = False,
    ) -> bool:
        """End the job, unless a delivery came after the last of ``deliveries``.

        Then the answer is ``False``: Aruna has wiped the callback, another one is needed, and the
        job is still held. A job that succeeded keeps no credentials, nor does one that cannot be
        tried again, nor with ``scrub``.
        """
        end = partial(
            held.ended,
            job_id=job_id,
            lease=lease,
            state=state,
            outcome=Outcome(outcome.code, outcome.message[:_MESSAGE_LIMIT]),
            deliveries=deliveries,
            scrub=scrub or state == State.SUCCEEDED,
            now=self._clock(),
        )
        return _held(self._writer.run(end))

    # The relay

    def open_relay(self, job_id: str, lease: str, kind: str) -> str:
        """A new token under which any process passes on the job's download, as ``kind``
        (``xml`` or ``zip``); an earlier token of the job is void."""
        token = secrets.token_urlsafe(32)
        _held(self._writer.run(lambda c: relay_tokens.opened(c, job_id, lease, token, kind)))
        return token

    def close_relay(self, job_id: str, lease: str) -> None:
        """Void the job's token; what became of it can still be asked."""
        _held(self._writer.run(lambda c: held.change(c, job_id, lease, {"relay_token_hash": None})))

    def relay_fetch(self, token: str, limit: int) -> RelayGrant | None:
        """Count a fetch and say what to pass on; ``None`` for a token that is unknown or void, or
        was used ``limit`` times."""
        row = self._writer.run(lambda c: relay_tokens.fetched(c, token, limit))
        return None if row is None else rows.relay_grant(row, self._seal)

    def relay_passed(self, token: str, *, error: str | None = None) -> None:
        """Note that the whole download was passed on, or the ``error`` that cut it short."""
        said = error and error[:_MESSAGE_LIMIT]
        self._writer.run(lambda c: relay_tokens.passed(c, token, said))

    def relay_outcome(self, job_id: str, lease: str) -> Relay:
        """What became of the job's relay so far."""
        row = _held(self._read(lambda c: relay_tokens.outcome(c, job_id, lease)))
        return Relay(row.relay_fetches, row.relay_passed, row.relay_error)

    # Upkeep, and what all hosts share

    def housekeeping(self) -> None:
        """Forget what is past its time: credentials whose token has expired, and old jobs."""
        now = self._clock()
        self._writer.run(lambda c: upkeep.scrub(c, now))
        self._writer.run(lambda c: upkeep.mend_times(c, now))
        while self._writer.run(lambda c: upkeep.purge(c, now - self._retention)):
            pass

    def put_back(self, job_ids: Iterable[str] | None = None) -> list[tuple[str, str | None]]:
        """Queue failed jobs anew (all of them without ``job_ids``); each id with why not, or
        ``None``."""
        now = self._clock()
        chosen = self._read(queries.to_put_back) if job_ids is None else list(job_ids)
        return [
            (job_id, self._writer.run(partial(upkeep.put_back, job_id=job_id, now=now)))
            for job_id in chosen
        ]

    def named_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease of the whole installation; whether ``holder`` has it now."""
        now = self._clock()
        return self._writer.run(lambda c: upkeep.named_lease(c, name, holder, now, now + seconds))

    def note(self, name: str, value: str) -> None:
        """Keep a value under a name, for all processes and hosts."""
        self._writer.run(lambda c: upkeep.note(c, name, value))

    def probe(self) -> None:
        """Write something: whether the journal would take a delivery now."""
        self.note("probe", str(self._clock()))

    # Questions

    def noted(self, name: str) -> str | None:
        """The value kept under ``name``."""
        return self._read(lambda c: queries.noted(c, name))

    def jobs(self, state: State | None = None, *, limit: int = 1000) -> list[Job]:
        """The newest jobs first, of one state or of all."""
        return [self._job(row) for row in self._read(lambda c: queries.listed(c, state, limit))]

    def job(self, id_or_prefix: str) -> Job:
        """The one job whose id is or starts with that; raises ``UnknownJob``."""
        prefix = id_or_prefix.lower()
        found = self._read(lambda c: queries.starting_with(c, prefix))
        if len(found) != 1:
            raise UnknownJob(f"{'several jobs start' if found else 'no job starts'} with {prefix}")
        return self._job(found[0])

    def attempts(self, job_id: str) -> list[PastAttempt]:
        """The newest counted attempts of a job, in their order."""
        return [rows.past_attempt(row) for row in self._read(lambda c: queries.history(c, job_id))]

    def counts(self) -> dict[State, int]:
        """How many jobs are queued, running and failed."""
        return self._read(queries.counts)

    def oldest_queued_seconds(self) -> float:
        """How long ago the oldest of the queued jobs arrived; 0 without one."""
        created = self._read(queries.oldest_queued)
        return 0.0 if created is None else max(self._clock() - created, 0.0)

    def callback_backlog(self) -> int:
        """How many jobs lack nothing but their callback."""
        return self._read(queries.callback_backlog)

    def next_due(self) -> float | None:
        """When there is next something to claim (seconds since the epoch), now or later."""
        return self._read(queries.next_due)

    def known(self, object_ids: Sequence[str]) -> dict[str, list[Known]]:
        """What the journal has of each of these objects, oldest first."""
        found: dict[str, list[Known]] = {object_id: [] for object_id in object_ids}
        for row in self._read(lambda c: queries.known(c, object_ids)):
            found[row.object_id].append(rows.known(row))
        return found

    def _read(self, question: Callable[[Connection], T]) -> T:
        try:
            with self._database.connect_to_read() as connection:
                return question(connection)
        except SQLAlchemyError as error:
            raise unavailable(error) from None

    def _job(self, row: AnyRow) -> Job:
        return rows.job(row, self._seal)


def _held(answer: T | None) -> T:
    if answer is None:
        raise LeaseLost("the job is not held by this lease any more")
    return answer
