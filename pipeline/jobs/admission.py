"""Deliveries whose secret could not be checked when they came: checked as soon as it can be.

The webhook checks secrets itself once it knows Aruna's public keys. Before that (Aruna was down
when this service started, or has a new key) a delivery waits apart and changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.hook import secret_is_genuine
from pipeline.errors import Code
from pipeline.journal import Job, Journal, JournalUnavailable, Outcome, State
from pipeline.telemetry.logs import job_context, job_ended
from pipeline.telemetry.metrics import Metrics

#: Seconds until Aruna is asked again, the first time and at most.
_PAUSES = (1.0, 30.0)
#: Seconds after which this process looks for deliveries that another one has left behind.
_LOOK = 60.0

NOT_GENUINE = Outcome(Code.INVALID_SECRET, "the hook's secret was not made by this Aruna")

log = structlog.get_logger(__name__)


class Admission:
    """A thread that learns Aruna's keys and admits deliveries; ``admitted`` is told of new jobs."""

    def __init__(
        self, journal: Journal, aruna: Aruna, metrics: Metrics, admitted: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._aruna = aruna
        self._metrics = metrics
        self._admitted = admitted
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="admission", daemon=True)

    def start(self) -> None:
        """Begin: learn the keys, then look for deliveries that wait."""
        self._thread.start()

    def wake(self) -> None:
        """A delivery waits."""
        self._wanted.set()

    def stop(self) -> None:
        """End; does not wait for a call to Aruna that is under way."""
        self._stopping = True
        self._wanted.set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _loop(self) -> None:
        pause, longest = _PAUSES
        while not self._stopping:
            try:
                self._aruna.learn_keys()
                self._admit_all()
            except ArunaRefused as refusal:
                log.warning("admission.waits", why=str(refusal), seconds=pause)
                self._wanted.wait(pause)
                pause = min(2 * pause, longest)
                continue
            except JournalUnavailable:
                log.error("journal.unavailable")
            except Exception:
                # The boundary: without this thread such deliveries would wait for ever.
                log.exception("admission.defect")
            pause = _PAUSES[0]
            self._wanted.wait(_LOOK)
            self._wanted.clear()

    def _admit_all(self) -> None:
        while not self._stopping and (waiting := self._journal.unverified()):
            for job in waiting:
                self._admit(job)
            self._admitted()

    def _admit(self, job: Job) -> None:
        with job_context(job):
            hook = job.hook
            key = None if hook is None else self._aruna.public_key(hook.credentials.pubkey_serial)
            if hook is not None and key is not None and secret_is_genuine(hook, key):
                self._journal.admit(job.id)
            elif self._journal.refuse(job.id, NOT_GENUINE):
                self._metrics.jobs_ended.labels(State.FAILED, NOT_GENUINE.code).inc()
                facts = {"code": NOT_GENUINE.code, "message": NOT_GENUINE.message}
                job_ended(log, State.FAILED, **facts, name=job.name)
