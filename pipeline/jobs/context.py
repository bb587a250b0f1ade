"""What each step of a job is given: the held job, its hook, the attempt, and whom it talks to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from pipeline.aruna.client import Aruna
from pipeline.aruna.hook import Hook
from pipeline.attempt import Attempt
from pipeline.jobs.creations import Creations
from pipeline.journal import HeldJob, Job, Journal
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Dependencies:
    """What all jobs of a process share.

    ``later`` does a small thing in the background that nobody waits for; it says whether it will.
    """

    settings: Settings
    journal: Journal
    aruna: Aruna
    addresses: Addresses
    metrics: Metrics
    creations: Creations
    later: Callable[[Callable[[], None]], bool]


@dataclass(frozen=True)
class JobContext:
    """One attempt of a held job. ``hook`` is the newest delivery when the job was claimed."""

    held: HeldJob
    hook: Hook
    attempt: Attempt
    deps: Dependencies

    @property
    def job(self) -> Job:
        """The job as its holder last wrote it."""
        return self.held.job

    @property
    def download_url(self) -> str:
        """The presigned URL of the source; a job that has work to do has one."""
        return self.hook.credentials.download or ""

    def fence(self) -> None:
        """Called before each write to Aruna: raises if the attempt is over or the lease lost."""
        self.attempt.check()
        self.held.confirm()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block is that stage of the job, for the status page and the metrics."""
        self.held.meter.stage = name
        begun = time.monotonic()
        try:
            yield
        finally:
            duration = time.monotonic() - begun
            self.deps.metrics.stage_seconds.labels(name).observe(duration)
            log.debug("stage.ended", stage=name, duration=round(duration, 3))

    def counting_in(self, document: Iterable[bytes]) -> Iterator[bytes]:
        """The document, its bytes counted."""
        for block in document:
            self.held.meter.bytes_in += len(block)
            self.deps.metrics.bytes.labels("in").inc(len(block))
            yield block

    def counting_out(self, result: Iterable[bytes]) -> Iterator[bytes]:
        """The result, its bytes counted."""
        for block in result:
            self.held.meter.bytes_out += len(block)
            self.deps.metrics.bytes.labels("out").inc(len(block))
            yield block
