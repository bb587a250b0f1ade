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
from pipeline.journal import Agenda, HeldJob, JournalUnavailable
from pipeline.journal.process import is_gone, own_name

#: Seconds a lease lasts; it is renewed three times as often.
LEASE = 30.0
#: Seconds until the journal is looked at though nobody said that something is due; and while
#: nobody could say so.
POLL = 30.0
POLL_ALONE = 1.0
#: Seconds between two looks for credentials that are past their time, and for old jobs.
SCRUB = 45.0
HOUSEKEEPING = 600.0

#: Seconds for threads that were told to stop to let go of their jobs.
_LET_GO = 1.0

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
        self._telling = threading.Event()
        self._look_for_dead_at = 0.0
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
        self._deps.journal.listen(self.wake)
        for loop in self._loops:
            loop.start()

    def wake(self) -> None:
        """Something new may be due; while all threads are busy other processes may begin it."""
        if len(self._running) < self._threads:
            self._changed.set()
        else:
            self._tell_others()

    def stop_claiming(self) -> None:
        """Claim nothing more; what runs goes on. Safe in a signal handler."""
        self._stopping.set()
        self._changed.set()

    def finish(self, grace: float, drain: float = 0.0) -> None:
        """Give running jobs ``grace`` seconds, then put back into the queue what is left.

        What does harm if it is cut short (``Attempt.shielded``) has ``drain`` seconds more.
        """
        self.stop_claiming()
        for running in self._left_after(grace):
            running.attempt.cut(Stopping("the service is stopping"))
        for running in self._left_after(_LET_GO):
            if not running.attempt.is_shielded:
                self._put_back(running.held)
        for running in self._left_after(drain):
            self._put_back(running.held)
        self._deps.journal.tell_others()

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

    def _left_after(self, seconds: float) -> list[_Running]:
        """What still runs then; sooner if nothing does."""
        with self._idle:
            self._idle.wait_for(lambda: not self._running, timeout=seconds)
            return list(self._running.values())

    def _dispatch(self) -> None:
        self._changed.set()
        while not self._stopping.is_set():
            pause = POLL_ALONE
            try:
                pause = self._look()
            except JournalUnavailable:
                log.error("journal.unavailable")
            except Exception:
                # The boundary: without this thread no job would ever be begun again.
                log.exception("dispatch.defect")
            self._changed.wait(pause)

    def _look(self) -> float:
        """Start as many jobs as threads are free; seconds until it is worth to look again."""
        woken = self._changed.is_set()
        self._changed.clear()
        agenda = Agenda(None, None) if woken else self._deps.journal.agenda()
        if woken or agenda.lease_end is not None:
            self._take_over_from_the_dead()
        free = self._threads - len(self._running)
        if free <= 0:
            return self._poll()
        if not woken and (pause := self._until(agenda.soonest())) > 0:
            return pause
        jobs = self._deps.journal.claim(self._holder, free, self._lease)
        for held in jobs:
            self._start(held)
        if len(jobs) < free:
            return self._until(self._deps.journal.next_due())
        self._tell_others()
        return 0.0

    def _until(self, time: float | None) -> float:
        """Seconds until then, or until it is time to look again anyway."""
        poll = self._poll()
        return poll if time is None else min(poll, max(0.0, time - self._deps.journal.now()))

    def _poll(self) -> float:
        return POLL if self._deps.journal.is_listening else POLL_ALONE

    def _take_over_from_the_dead(self) -> None:
        if time.monotonic() < self._look_for_dead_at:
            return
        self._look_for_dead_at = time.monotonic() + POLL
        for holder in self._deps.journal.holders():
            if holder != self._holder and is_gone(holder):
                log.warning("holder.gone", holder=holder)
                self._deps.journal.expire(holder)
                self._changed.set()

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

    def _tell_others(self) -> None:
        """At most one such message is under way; it speaks for all that came meanwhile."""
        if not self._telling.is_set() and self._deps.later(self._tell):
            self._telling.set()

    def _tell(self) -> None:
        self._telling.clear()
        self._deps.journal.tell_others()

    def _put_back(self, held: HeldJob) -> None:
        try:
            held.release()
        except JournalUnavailable as error:
            log.warning("job.not_released", job_id=held.job.id, why=str(error))

    def _keep(self) -> None:
        """Renew the leases until the pool has ended, and clean the journal now and then."""
        scrubbed = cleaned = -HOUSEKEEPING
        while not self._ended.wait(self._lease / 3):
            try:
                self._renew()
                now = time.monotonic()
                if now - scrubbed >= SCRUB:
                    scrubbed = now
                    self._deps.journal.scrub()
                if now - cleaned >= HOUSEKEEPING:
                    cleaned = now
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
