"""The pool: the threads of one process that run jobs, and what keeps their leases.

``dispatch`` claims what is due whenever a thread is free, ``keep`` renews the leases. Both end with
the process; what it leaves behind is taken up by others once the leases are over.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from pipeline.attempt import Attempt, Watch
from pipeline.errors import Code, LeaseLost, Stopping
from pipeline.jobs import runner as ending
from pipeline.jobs.claim import Claim, Peers
from pipeline.journal import Job, JournalUnavailable, Outcome, State
from pipeline.journal.process import is_gone, own_name
from pipeline.telemetry.logs import job_context

#: Seconds a lease lasts; it is renewed three times as often.
LEASE = 30.0
#: Seconds until other processes' hooks and retries are noticed.
POLL = 1.0
#: Seconds between two cleanings of the journal.
HOUSEKEEPING = 20.0

log = structlog.get_logger(__name__)


class Pool:
    """``threads`` threads that run jobs, started by ``start`` after the fork."""

    def __init__(
        self,
        peers: Peers,
        watch: Watch,
        *,
        threads: int,
        lease: float = LEASE,
        chance: random.Random | None = None,
    ) -> None:
        self._peers = peers
        self._watch = watch
        self._threads = threads
        self._lease = lease
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._holder = own_name()
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._idle = threading.Condition(self._lock)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="job")
        self._loops = [
            threading.Thread(target=self._dispatch, name="dispatch", daemon=True),
            threading.Thread(target=self._keep, name="keep", daemon=True),
        ]

    def start(self) -> None:
        """Begin to claim and run jobs."""
        for loop in self._loops:
            loop.start()

    def wake(self) -> None:
        """Something new may be due; while all threads are busy the next one to end looks."""
        if len(self._claims) < self._threads:
            self._changed.set()

    def stop_claiming(self) -> None:
        """Claim nothing more; what runs goes on. Safe in a signal handler."""
        self._stopping.set()
        self._changed.set()

    def finish(self, grace: float) -> None:
        """Give running jobs ``grace`` seconds, then put back into the queue what is left."""
        self.stop_claiming()
        with self._idle:
            self._idle.wait_for(lambda: not self._claims, timeout=grace)
            left = list(self._claims.values())
        for claim in left:
            claim.attempt.cut(Stopping("the service is stopping"))
        with self._idle:
            self._idle.wait_for(lambda: not self._claims, timeout=POLL)
            stuck = list(self._claims.values())
        for claim in stuck:
            self._put_back(claim)

    def stop(self) -> None:
        """End all threads; ``finish`` has been called before."""
        self._ended.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for loop in self._loops:
            if loop.is_alive():
                loop.join()

    def _dispatch(self) -> None:
        look_at = 0.0
        while not self._stopping.is_set():
            pause = POLL
            try:
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + POLL
                    self._take_over_from_the_dead()
                pause = self._claim_what_is_due()
            except JournalUnavailable:
                log.error("journal.unavailable")
            except Exception:
                # The boundary: without this thread no job would ever be begun again.
                log.exception("dispatch.defect")
            self._changed.wait(pause)
            self._changed.clear()

    def _take_over_from_the_dead(self) -> None:
        for holder in self._peers.journal.holders():
            if holder != self._holder and is_gone(holder):
                log.warning("holder.gone", holder=holder)
                self._peers.journal.expire(holder)

    def _claim_what_is_due(self) -> float:
        """Start as many jobs as threads are free; seconds until it is worth to look again."""
        free = self._threads - len(self._claims)
        if free <= 0:
            return POLL
        jobs = self._peers.journal.claim(self._holder, free, self._lease)
        for job in jobs:
            self._start(job)
        return 0.0 if len(jobs) == free else self._until_next_due()

    def _until_next_due(self) -> float:
        due = self._peers.journal.next_due()
        return POLL if due is None else min(POLL, max(0.0, due - self._peers.clock()))

    def _start(self, job: Job) -> None:
        if job.hook is None:
            self._peers.journal.ended(
                job.id,
                job.lease or "",
                state=State.FAILED,
                outcome=Outcome(Code.CALLBACK_FAILED, job.credentials_gone or "no credentials"),
                deliveries=job.deliveries,
            )
            return
        attempt = Attempt(self._peers.settings.processing_timeout)
        claim = Claim(job, job.hook, attempt, self._peers)
        with self._lock:
            self._claims[job.id] = claim
        self._executor.submit(self._run, claim)

    def _run(self, claim: Claim) -> None:
        job = claim.job
        context = job_context(claim.hook, job_id=job.id, attempt=job.attempt + 1)
        with self._held(claim), self._watch.over(claim.attempt), context:
            ending.attempt(claim, self._chance, self._stopping.is_set)

    @contextmanager
    def _held(self, claim: Claim) -> Iterator[None]:
        try:
            yield
        finally:
            with self._idle:
                # It may be claimed anew already, from the queue into which this attempt put it.
                if self._claims.get(claim.job.id) is claim:
                    del self._claims[claim.job.id]
                self._idle.notify_all()
            self._changed.set()

    def _put_back(self, claim: Claim) -> None:
        try:
            self._peers.journal.release(claim.job.id, claim.lease)
        except (JournalUnavailable, LeaseLost) as error:
            log.warning("job.not_released", job_id=claim.job.id, why=str(error))

    def _keep(self) -> None:
        """Renew the leases until the pool has ended, and clean the journal now and then."""
        cleaned = time.monotonic()
        while not self._ended.wait(self._lease / 3):
            try:
                self._renew()
                if time.monotonic() - cleaned >= HOUSEKEEPING:
                    cleaned = time.monotonic()
                    self._peers.journal.housekeeping()
            except JournalUnavailable:
                log.error("journal.unavailable")
            except Exception:
                # The boundary: without this thread no lease would ever be renewed again.
                log.exception("keep.defect")

    def _renew(self) -> None:
        with self._lock:
            claims = dict(self._claims)
        held = self._peers.journal.renew(
            {key: (claim.lease, claim.meter.progress()) for key, claim in claims.items()},
            self._lease,
        )
        for key in claims.keys() - held:
            claims[key].attempt.cut(LeaseLost("another process holds the job now"))
