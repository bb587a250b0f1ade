"""The journal: the durable list of jobs, shared by all threads, processes and hosts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pipeline.aruna.hook import Hook
from pipeline.journal import claims, deliveries, queries, relay_tokens, rows, upkeep
from pipeline.journal.held import HeldJob
from pipeline.journal.records import (
    Agenda,
    Job,
    Known,
    Outcome,
    PastAttempt,
    Receipt,
    RelayGrant,
    State,
    kept,
)
from pipeline.journal.schema import unverified
from pipeline.journal.storage import Storage
from pipeline.journal.writer import JournalUnavailable, SharedWrite

_DAY = 86400.0
_ASK_AGAIN = 1.0  # seconds


class UnknownJob(Exception):
    """No job, or more than one, has the id that was asked for; the message says which."""


class Journal:
    """The jobs in the database at ``url``.

    ``keys`` are Fernet keys, newest first; ``retention`` is how long ended jobs stay, in days;
    ``clock`` gives seconds since the epoch (unset: the time of PostgreSQL's server, or with SQLite
    of this machine). Nothing is opened before ``open``. Every method but ``close`` and ``now``
    raises ``JournalUnavailable``.
    """

    def __init__(
        self,
        url: str,
        *,
        keys: Sequence[str] = (),
        retention: float = 30,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._storage = Storage(url, keys=keys, clock=clock)
        self._retention = retention * _DAY
        self._due: Callable[[], None] = _nobody_listens

    def open(self) -> None:
        """Create or upgrade the database and start writing; once in each process, after a fork."""
        self._storage.open()

    def close(self) -> None:
        """Finish what is being written, end the thread and the connections."""
        self._storage.close()

    @property
    def is_alive(self) -> bool:
        """Whether the writing thread runs."""
        return self._storage.is_alive

    def now(self) -> float:
        """The journal's time, by which leases end and jobs become due: seconds since the epoch."""
        return self._storage.now()

    # Deliveries

    def enqueue(self, hook: Hook, *, outcome: Outcome | None = None) -> Receipt:
        """Keep a delivery whose secret is genuine; when this returns it is on disk.

        With an ``outcome`` there is nothing to work on: the job is the callback alone. The error
        knows by ``job_id`` which delivery it is about: see ``was_stored``.
        """
        return self._keep(deliveries.enqueue, hook, outcome)

    def enqueue_unverified(self, hook: Hook, *, outcome: Outcome | None = None) -> Receipt:
        """Keep a delivery whose secret can't be checked yet; it changes nothing of any job."""
        return self._keep(deliveries.keep_unverified, hook, outcome)

    def was_stored(self, error: JournalUnavailable, pause: Callable[[float], object]) -> bool:
        """Whether a delivery that was not acknowledged is in the journal all the same.

        Waits until that is certain; ``pause`` waits for some seconds, and may raise to give up.
        """
        if error.pending is not None:
            while not error.pending.done():
                pause(_ASK_AGAIN)
            failure = error.pending.exception()
            if failure is None:
                return True
            if isinstance(failure, JournalUnavailable):
                error.in_doubt = failure.in_doubt
        while error.in_doubt:
            try:
                return self._storage.read(lambda c: queries.exists(c, error.job_id))
            except JournalUnavailable:
                pause(_ASK_AGAIN)
        return False

    def unverified(self, limit: int = 100) -> list[Job]:
        """Deliveries whose secret is still to be checked, oldest first."""
        found = self._storage.read(lambda c: queries.unverified(c, limit))
        return [rows.unverified(row, self._storage.seal) for row in found]

    def admit(self, delivery_id: str) -> Receipt | None:
        """The secret of a delivery is genuine: it becomes a job, or joins one; ``None`` if another
        process was faster."""
        now = self._storage.now()
        return self._storage.write(lambda c: deliveries.admit(c, delivery_id, now))

    def refuse(self, delivery_id: str, outcome: Outcome) -> bool:
        """A delivery is not genuine: it ends as a failed job without credentials; ``False`` if
        another process was faster."""
        now = self._storage.now()
        return self._storage.write(lambda c: deliveries.refuse(c, delivery_id, outcome.kept(), now))

    # Claims and leases

    def claim(self, holder: str, limit: int, lease_seconds: float) -> list[HeldJob]:
        """Up to ``limit`` jobs that are due, for ``holder`` to work on while it renews them.

        A job whose lease is over counts as due, with the attempt that was lost counted.
        """
        now = self._storage.now()
        claimed = partial(
            claims.claim,
            now=now,
            holder=holder,
            lease=secrets.token_urlsafe(16),
            until=now + lease_seconds,
            limit=limit,
        )
        return [
            HeldJob(self._storage.job(row), self._storage) for row in self._storage.write(claimed)
        ]

    def renew(self, jobs: Iterable[HeldJob], lease_seconds: float) -> set[str]:
        """Prolong leases and note how far the jobs are; the ids of those that are still held."""
        meters = {(held.job.id, held.lease): held.meter for held in jobs}
        if not meters:
            return set()
        until = self._storage.now() + lease_seconds
        return self._storage.write(partial(claims.renew, meters=meters, until=until))

    def holders(self) -> Sequence[str]:
        """Who holds leases at the moment."""
        return self._storage.read(queries.holders)

    def expire(self, holder: str) -> None:
        """End the leases of a holder that is known to be dead; its jobs are due at once."""
        self._storage.write(lambda c: claims.expire(c, holder))

    # The relay

    def relay_fetch(self, token: str, limit: int) -> RelayGrant | None:
        """Count a fetch and say what to pass on; ``None`` for a token that is unknown or void, or
        was used ``limit`` times."""
        row = self._storage.write(lambda c: relay_tokens.fetched(c, token, limit))
        return None if row is None else rows.relay_grant(row, self._storage.seal)

    def relay_moved(self, token: str, count: int) -> None:
        """Note that one fetch has passed on ``count`` bytes so far."""
        self._storage.write(lambda c: relay_tokens.moved(c, token, count))

    def relay_ended(self, token: str, number: int, *, error: str | None = None) -> None:
        """Note that a fetch passed the whole download on, or the ``error`` that cut it short."""
        said = None if error is None else kept(error)
        self._storage.write(lambda c: relay_tokens.ended(c, token, number, said))

    # Upkeep, and what all hosts share

    def listen(self, due: Callable[[], None]) -> None:
        """Call ``due``, in some thread, whenever a process says that something is due."""
        self._due = due
        self._storage.wakeup.listen(due)

    @property
    def is_listening(self) -> bool:
        """Whether other processes can be heard now."""
        return self._storage.wakeup.is_listening

    def tell_others(self) -> None:
        """Something is due that this process can't begin now."""
        self._storage.wakeup.tell()

    def announce(self) -> None:
        """Something is due: whoever listens looks, in this process and the others."""
        self._due()
        self.tell_others()

    def scrub(self) -> None:
        """Forget the credentials of failed jobs whose token has expired."""
        now = self._storage.now()
        expires = self._storage.read(queries.next_expiry)
        if expires is not None and expires <= now:
            self._storage.write(lambda c: upkeep.scrub(c, now))

    def housekeeping(self) -> None:
        """Forget old jobs, and mend times that only a wrong clock can have given."""
        now = self._storage.now()
        self._storage.write(lambda c: upkeep.mend_times(c, now))
        self._storage.write(lambda c: upkeep.forget_leases(c, now))
        while self._storage.write(lambda c: upkeep.purge(c, now - self._retention)):
            pass

    def put_back(self, job_ids: Iterable[str] | None = None) -> list[tuple[str, str | None]]:
        """Queue failed jobs anew (all of them without ``job_ids``); each id with why not, or
        ``None``."""
        now = self._storage.now()
        chosen = self._storage.read(queries.to_put_back) if job_ids is None else list(job_ids)
        answers = [
            (job_id, self._storage.write(partial(upkeep.put_back, job_id=job_id, now=now)))
            for job_id in chosen
        ]
        self.announce()
        return answers

    def named_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease of the whole installation; whether ``holder`` has it now."""
        now = self._storage.now()
        return self._storage.write(
            lambda c: upkeep.named_lease(c, name, holder, now, now + seconds)
        )

    def end_lease(self, name: str, holder: str) -> None:
        """End a lease of the whole installation, if ``holder`` still has it."""
        now = self._storage.now()
        self._storage.write(lambda c: upkeep.end_lease(c, name, holder, now))

    def note(self, name: str, value: str) -> None:
        """Keep a value under a name, for all processes and hosts."""
        self._storage.write(lambda c: upkeep.note(c, name, value))

    def probe(self) -> None:
        """Write something: whether the journal would take a delivery now."""
        self.note("probe", str(self._storage.now()))

    # Questions

    def noted(self, name: str) -> str | None:
        """The value kept under ``name``."""
        return self._storage.read(lambda c: queries.noted(c, name))

    def jobs(self, state: State | None = None, *, limit: int = 1000) -> list[Job]:
        """The newest jobs first, of one state or of all."""
        found = self._storage.read(lambda c: queries.listed(c, state, limit))
        listed = [self._storage.job(row) for row in found]
        if state not in (None, State.QUEUED):
            return listed
        return sorted([*listed, *self.unverified(limit)], key=_age, reverse=True)[:limit]

    def job(self, id_or_prefix: str) -> Job:
        """The one job whose id is or starts with that; raises ``UnknownJob``."""
        prefix = id_or_prefix.lower()
        found = self._storage.read(lambda c: queries.starting_with(c, prefix))
        matching = [self._storage.job(row) for row in found]
        waiting = self._storage.read(lambda c: queries.starting_with(c, prefix, unverified))
        matching += [rows.unverified(row, self._storage.seal) for row in waiting]
        if len(matching) != 1:
            number = "several jobs start" if matching else "no job starts"
            raise UnknownJob(f"{number} with {prefix}")
        return matching[0]

    def attempts(self, job_id: str) -> list[PastAttempt]:
        """The newest counted attempts of a job, in their order."""
        found = self._storage.read(lambda c: queries.history(c, job_id))
        return [rows.past_attempt(row) for row in found]

    def counts(self) -> dict[State, int]:
        """How many jobs are queued, running and failed."""
        return self._storage.read(queries.counts)

    def oldest_queued_seconds(self) -> float:
        """How long ago the oldest of the queued jobs arrived; 0 without one."""
        created = self._storage.read(queries.oldest_queued)
        return 0.0 if created is None else max(self._storage.now() - created, 0.0)

    def callback_backlog(self) -> int:
        """How many jobs lack nothing but their callback."""
        return self._storage.read(queries.callback_backlog)

    def agenda(self) -> Agenda:
        """When the next queued job is due and the next lease ends: one quick look."""
        return self._storage.read(queries.agenda)

    def next_due(self) -> float | None:
        """When there is next something to claim (seconds since the epoch), now or later."""
        return self._storage.read(queries.next_due)

    def known(self, object_ids: Sequence[str]) -> dict[str, list[Known]]:
        """What the journal has of each of these objects, oldest first."""
        found: dict[str, list[Known]] = {object_id: [] for object_id in object_ids}
        for row in self._storage.read(lambda c: queries.known(c, object_ids)):
            found[row.object_id].append(rows.known(row))
        return found

    def _keep(
        self,
        write: SharedWrite[deliveries.Row, Receipt],
        hook: Hook,
        outcome: Outcome | None,
    ) -> Receipt:
        said = None if outcome is None else outcome.kept()
        arrival = deliveries.arrival(hook, said, self._storage.seal, self._storage.now())
        try:
            return self._storage.write_shared(write, arrival)
        except JournalUnavailable as error:
            error.job_id = arrival["id"]
            raise


def _nobody_listens() -> None:
    pass


def _age(job: Job) -> str:
    return job.id
