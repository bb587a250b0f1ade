"""Reconcile by the service itself, every ``RECONCILE_EVERY`` seconds: one process of them all."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress

import structlog

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import LeaseLost, Stopping
from pipeline.journal import Journal, JournalUnavailable, State, reconcile_runs
from pipeline.reconcile.hooks import OwnHooks
from pipeline.reconcile.lost import Criteria
from pipeline.reconcile.run import Run, RunLease, why_refused
from pipeline.reconcile.search import OLDER_THAN, Search
from pipeline.settings import Settings

#: Seconds until it is looked again whether a run is due, and whether there is room in the queue.
_POLL = 5.0
_ROOM_POLL = 1.0
#: Seconds, at most, until an Aruna that did not answer is asked again.
_AFTER_FAILURE = 60.0
#: Seconds to wait at the stop for a call to Aruna that is under way.
_STOP_PATIENCE = 3.0

log = structlog.get_logger(__name__)


class Reconciler:
    """A thread that runs reconcile when it is due and no other process does.

    ``token`` is the operator's, ``every`` the seconds from the end of one run to the next. Jobs
    come into the journal one by one, only while there is room in the queue.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        aruna: Aruna,
        *,
        token: str,
        every: float,
        older_than: float = OLDER_THAN,
    ) -> None:
        self._own = OwnHooks.of(settings)
        self._threads = settings.web_concurrency * settings.worker_threads
        self._journal = journal
        self._aruna = aruna
        self._token = token
        self._every = every
        self._older_than = older_than
        self._lease = RunLease(journal)
        self._attempt = Attempt(math.inf)
        self._thread = threading.Thread(target=self._loop, name="reconcile", daemon=True)

    def start(self) -> None:
        """Begin; the first run comes at once, unless one has ended lately."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is not looked at yet is left to the next run."""
        self._attempt.cut(Stopping("the service is stopping"))
        self._thread.join(_STOP_PATIENCE)

    def _loop(self) -> None:
        with suppress(Stopping):
            while True:
                self._attempt.wait(min(self._run_if_due(), self._every))

    def _run_if_due(self) -> float:
        """Run if it is time to; seconds until it is looked again."""
        try:
            if self._is_due() and self._has_room() and self._lease.take():
                self._run_alone()
        except JournalUnavailable:
            log.error("journal.unavailable")
        except ArunaRefused as refusal:
            log.error("reconcile.failed", why=f"Aruna: {why_refused(refusal)}")
            return _AFTER_FAILURE
        except LeaseLost as lost:
            log.warning("reconcile.interrupted", why=str(lost))
        except Stopping:
            raise
        except Exception:
            # The boundary: without this thread nobody would look for lost hooks any more.
            log.exception("reconcile.defect")
            return _AFTER_FAILURE
        return _POLL

    def _is_due(self) -> bool:
        return time.time() - reconcile_runs.read(self._journal).last_run >= self._every

    def _has_room(self) -> bool:
        """Whether fewer jobs are queued than the pools of this instance run at once, or all of them
        are put off to later."""
        if self._journal.counts()[State.QUEUED] < self._threads:
            return True
        due = self._journal.next_due()
        return due is None or due > time.time()

    def _run_alone(self) -> None:
        try:
            if self._is_due():  # another run may have ended just before the lease was taken
                self._run()
        finally:
            self._lease.give_up()

    def _run(self) -> None:
        run = Run(self._aruna, self._token, self._attempt, _say, watchers=[self._lease.keep])
        criteria = Criteria(before=time.time() - self._older_than)
        for lost, job_id in Search(run, self._journal, self._own, criteria).queue(
            self._wait_for_room
        ):
            if job_id is not None:
                log.info("reconcile.found", job_id=job_id, object_id=lost.object.id)
        log.info("reconcile.ended", found=run.queued, looked_at=run.looked_at)

    def _wait_for_room(self) -> None:
        """Meanwhile another process may run; if one does, this run is over."""
        if self._has_room():
            return
        self._lease.give_up()
        while not self._has_room():
            self._attempt.wait(_ROOM_POLL)
        if not self._lease.take():
            raise LeaseLost("another reconcile is running")


def _say(line: str) -> None:
    log.warning("reconcile.notice", message=line)
