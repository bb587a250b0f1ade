"""A claimed job: its journal entry, its hook, the attempt under way and whom it talks to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from pipeline.aruna.client import Aruna
from pipeline.aruna.hook import Hook
from pipeline.attempt import Attempt
from pipeline.journal import Job, Journal, Progress
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Peers:
    """What every job of a process shares: its settings and whom it talks to.

    ``clock`` gives seconds since the epoch. ``later`` does a small thing in the background that
    nobody waits for and that may be lost.
    """

    settings: Settings
    journal: Journal
    aruna: Aruna
    addresses: Addresses
    metrics: Metrics
    later: Callable[[Callable[[], None]], None]
    clock: Callable[[], float] = time.time


@dataclass
class Meter:
    """How far an attempt is: the job's thread writes, the keeper of the leases reads."""

    stage: str = ""
    bytes_in: int = 0
    bytes_out: int = 0

    def progress(self) -> Progress:
        """What the journal shows of it."""
        return Progress(stage=self.stage, bytes_in=self.bytes_in, bytes_out=self.bytes_out)


@dataclass(frozen=True)
class Claim:
    """One attempt's hold on a job. ``hook`` is the newest delivery when it was claimed."""

    job: Job
    hook: Hook
    attempt: Attempt
    peers: Peers
    meter: Meter = field(default_factory=Meter)

    @property
    def lease(self) -> str:
        """The fencing token of this hold."""
        return self.job.lease or ""

    @property
    def download_url(self) -> str:
        """The presigned URL of the source; a job that has work to do has one."""
        return self.hook.credentials.download or ""

    def fence(self) -> None:
        """Called before each write to Aruna: raises if the attempt is over or the lease lost."""
        self.attempt.check()
        self.peers.journal.confirm(self.job.id, self.lease)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block is that stage of the job, for the status page and the metrics."""
        self.meter.stage = name
        begun = time.monotonic()
        try:
            yield
        finally:
            duration = time.monotonic() - begun
            self.peers.metrics.stage_seconds.labels(name).observe(duration)
            log.debug("stage.ended", stage=name, duration=round(duration, 3))

    def counting_in(self, document: Iterable[bytes]) -> Iterator[bytes]:
        """The document, its bytes counted."""
        for block in document:
            self.meter.bytes_in += len(block)
            self.peers.metrics.bytes.labels("in").inc(len(block))
            yield block

    def counting_out(self, result: Iterable[bytes]) -> Iterator[bytes]:
        """The result, its bytes counted."""
        for block in result:
            self.meter.bytes_out += len(block)
            self.peers.metrics.bytes.labels("out").inc(len(block))
            yield block
