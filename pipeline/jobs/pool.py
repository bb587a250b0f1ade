"""The pool: the threads of one process that run jobs, and what keeps their leases.

``dispatch`` claims what is due whenever a thread is free, ``keep`` renews the leases. Both go on
until the process ends; what it leaves behind is taken up by others once the leases are over.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from pipeline.attempt import Attempt, Watch
from pipeline.errors import LeaseLost, Stopping
from pipeline.jobs.context import Dependencies
from pipeline.jobs.runner import run_attempt
from pipeline.journal import HeldJob, JournalUnavailable
from pipeline.journal.process import is_gone, own_name

#: Seconds a lease lasts; it is renewed three times as often.
LEASE = 30.0
#: Seconds until other processes' hooks and retries are noticed.
POLL = 1.0
#: Seconds between two cleanings of the journal.
HOUSEKEEPING = 20.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Running:
    """A job that one of the threads runs, and the attempt by which it can be stopped."""

    held: HeldJob
    attempt: Attempt


class Pool:
    """``threads`` threads that run jobs, started by ``start`` after the fork."""

    def __init__(
        self,
        deps: Dependencies,
        watch: Watch,
        *,
        threads: int,
        lease: float = LEASE,
        chance: random.Random | None = None,
    ) -> None:
        self._deps = deps
        self._watch = watch
        self._threads = threads
        self._lease = lease
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._holder = own_name()
        self._running: dict[str, _Running] = {}
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
        if len(self._running) < self._threads:
            self._changed.set()

    def stop_claiming(self) -> None:
        """Claim nothing more; what runs goes on. Safe in a signal handler."""
        self._stopping.set()
        self._changed.set()

    def finish(self, grace: float) -> None:
        """Give running jobs ``grace`` seconds, then put back into the queue what is left."""
        self.stop_claiming()
        with self._idle:
            self._idle.wait_for(lambda: not self._running, timeout=grace)
            left = list(self._running.values())
        for running in left:
            running.attempt.cut(Stopping("the service is stopping"))
        with self._idle:
            self._idle.wait_for(lambda: not self._running, timeout=POLL)
            stuck = list(self._running.values())
        for running in stuck:
            self._put_back(running.held)

    def stop(self) -> None:
        """End all threads; ``finish`` has been called before."""
        self._ended.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for loop in self._loops:
            if loop.is_alive():
                loop.join()

    @property
    def is_alive(self) -> bool:
        """Whether both threads run."""
        return all(loop.is_alive() for loop in self._loops)

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
        for holder in self._deps.journal.holders():
            if holder != self._holder and is_gone(holder):
                log.warning("holder.gone", holder=holder)
                self._deps.journal.expire(holder)

    def _claim_what_is_due(self) -> float:
        """Start as many jobs as threads are free; seconds until it is worth to look again."""
        free = self._threads - len(self._running)
        if free <= 0:
            return POLL
        jobs = self._deps.journal.claim(self._holder, free, self._lease)
        for held in jobs:
            self._start(held)
        return 0.0 if len(jobs) == free else self._until_next_due()

    def _until_next_due(self) -> float:
        due = self._deps.journal.next_due()
        return POLL if due is None else min(POLL, max(0.0, due - self._deps.journal.now()))

    def _start(self, held: HeldJob) -> None:
        running = _Running(held, Attempt(self._deps.settings.processing_timeout))
        with self._lock:
            self._running[held.job.id] = running
        self._executor.submit(self._run, running)

    def _run(self, running: _Running) -> None:
        try:
            with self._watch.over(running.attempt):
                run_attempt(
                    running.held,
                    running.attempt,
                    self._deps,
                    chance=self._chance,
                    stopping=self._stopping.is_set,
                )
        finally:
            with self._idle:
                # It may be claimed anew already, from the queue into which this attempt put it.
                if self._running.get(running.held.job.id) is running:
                    del self._running[running.held.job.id]
                self._idle.notify_all()
            self._changed.set()

    def _put_back(self, held: HeldJob) -> None:
        try:
            held.release()
        except JournalUnavailable as error:
            log.warning("job.not_released", job_id=held.job.id, why=str(error))

    def _keep(self) -> None:
        """Renew the leases until the pool has ended, and clean the journal now and then."""
        cleaned = time.monotonic()
        while not self._ended.wait(self._lease / 3):
            try:
                self._renew()
                if time.monotonic() - cleaned >= HOUSEKEEPING:
                    cleaned = time.monotonic()
                    self._deps.journal.housekeeping()
            except JournalUnavailable:
                log.error("journal.unavailable")
            except Exception:
                # The boundary: without this thread no lease would ever be renewed again.
                log.exception("keep.defect")

    def _renew(self) -> None:
        with self._lock:
            running = dict(self._running)
        still_held = self._deps.journal.renew([one.held for one in running.values()], self._lease)
        for key in running.keys() - still_held:
            running[key].attempt.cut(LeaseLost("another process holds the job now"))
