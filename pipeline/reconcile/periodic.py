"""Reconcile by the service itself, every ``RECONCILE_EVERY`` seconds: one instance of them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from pipeline.aruna.client import ArunaRefused
from pipeline.errors import Interrupted, Stopping
from pipeline.journal import Journal, JournalUnavailable, State, reconcile_runs
from pipeline.reconcile.account import Account
from pipeline.reconcile.course import Course, why_refused
from pipeline.reconcile.coverage import Ours
from pipeline.reconcile.finding import OLDER_THAN, Search
from pipeline.reconcile.judging import Criteria
from pipeline.reconcile.turn import Turn
from pipeline.settings import Settings

#: Seconds until it is looked again whether a run is due, and whether there is room for a job.
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
    come into the journal one by one, only while fewer are queued than the pools of this instance
    can run at once.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        token: str,
        every: float,
        older_than: float = OLDER_THAN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._token = token
        self._every = every
        self._older_than = older_than
        self._clock = clock
        self._places = settings.web_concurrency * settings.worker_threads
        self._turn = Turn(journal)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reconcile", daemon=True)

    def start(self) -> None:
        """Begin; the first run comes at once, unless one has ended lately."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is not looked at yet is left to the next run."""
        self._stopping.set()
        self._thread.join(_STOP_PATIENCE)

    def _loop(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = min(_POLL, self._every)
            try:
                if self._is_due() and self._turn.take():
                    self._take_turn()
            except JournalUnavailable:
                log.error("journal.unavailable")
            except ArunaRefused as refusal:
                log.error("reconcile.failed", why=f"Aruna: {why_refused(refusal)}")
                pause = min(_AFTER_FAILURE, self._every)
            except Interrupted as interruption:
                log.warning("reconcile.interrupted", why=str(interruption))

    def _is_due(self) -> bool:
        return self._clock() - reconcile_runs.read(self._journal).last_run >= self._every

    def _take_turn(self) -> None:
        account = Account(self._settings.aruna_server_address, self._token, stopping=self._stopping)
        try:
            if self._is_due():  # the one before may have ended a moment ago
                self._run(account)
        finally:
            account.close()
            self._turn.end()

    def _run(self, account: Account) -> None:
        course = Course(say=_say)
        course.watched_by(self._go_on)
        criteria = Criteria(before=self._clock() - self._older_than)
        search = Search(account, self._journal, Ours.of(self._settings), criteria, course)
        found = 0
        for forgotten in search.find():
            self._wait_for_room()
            job_id = search.take_up(forgotten)
            if job_id is not None:
                found += 1
                log.info("reconcile.found", job_id=job_id, object_id=forgotten.object.id)
        reconcile_runs.add(self._journal, found=found, unknown=course.troubles, now=self._clock())
        log.info("reconcile.ended", found=found, looked_at=course.looked_at)

    def _wait_for_room(self) -> None:
        self._go_on()
        while self._journal.counts()[State.QUEUED] >= self._places:
            self._stopping.wait(_ROOM_POLL)
            self._go_on()

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise Stopping("the service is stopping")
        self._turn.keep()


def _say(line: str) -> None:
    log.warning("reconcile.trouble", what=line)
