"""Metrics for Prometheus: counted in each worker process, summed at the scrape.

With ``PROMETHEUS_MULTIPROC_DIR`` set before this module is imported, the values live in files of
that directory, one for each process, and any process answers for all. What the journal knows
(jobs by state, the oldest one queued) is read from it at the scrape instead of being counted, so
it is right after a crash and with several hosts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pipeline import __version__
from pipeline.errors import Code
from pipeline.journal import IGNORED, JournalUnavailable, State, reconcile_runs

if TYPE_CHECKING:
    from pipeline.journal import Journal

HOOK_ANSWERS = (
    "accepted",
    "duplicate",
    "ignored",
    "invalid_json",
    "invalid_hook",
    "missing_download_url",
    "unsupported_resource",
    "unauthorized",
    "invalid_secret",
    "payload_too_large",
    "journal_unavailable",
)
RELAY_ANSWERS = ("passed", "broken_off", "not_found")
STAGES = ("ready", "download", "transform", "create", "upload", "diagnose", "callback")
#: Seconds: from a small file on a fast day to ``PROCESSING_TIMEOUT`` and beyond.
_STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_PREFIX = "abcd2bioschema"

log = structlog.get_logger(__name__)


class Metrics:
    """What this process counts. Every series exists from the start, at 0."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.hooks = self._counter("hooks", "Hooks received, by answer.", "answer")
        self.jobs_ended = self._counter("jobs_ended", "Jobs that ended.", "state", "code")
        self.retries = self._counter("retries", "Attempts that will be repeated.", "code")
        self.bytes = self._counter("bytes", "Bytes downloaded and uploaded.", "direction")
        self.relay_fetches = self._counter("relay_fetches", "Requests to the relay.", "answer")
        self.journal_errors = self._counter("journal_errors", "Failures of the journal.")
        self.stage_seconds = Histogram(
            f"{_PREFIX}_stage_seconds",
            "Seconds a stage of an attempt took.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self._registry,
        )
        self.parts_in_flight = Gauge(
            f"{_PREFIX}_parts_in_flight",
            "Parts being uploaded at this moment.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._begin_at_zero()

    def exposition(self, journal: Journal) -> bytes:
        """All metrics as Prometheus reads them; without the journal's while that is down."""
        of_journal = CollectorRegistry(auto_describe=False)
        of_journal.register(_Described(lambda: self._read(journal)))
        text = generate_latest(of_journal)
        return text + generate_latest(self._summed())

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", meaning, labels, registry=self._registry)

    def _begin_at_zero(self) -> None:
        """A series that appears with its first event hides that event from ``increase()``."""
        for answer in HOOK_ANSWERS:
            self.hooks.labels(answer)
        for answer in RELAY_ANSWERS:
            self.relay_fetches.labels(answer)
        for direction in ("in", "out"):
            self.bytes.labels(direction)
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for code in Code:
            self.retries.labels(code)
            self.jobs_ended.labels(State.FAILED, code)
        self.jobs_ended.labels(State.SUCCEEDED, "")
        self.jobs_ended.labels(State.SUCCEEDED, IGNORED)

    def _summed(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _read(self, journal: Journal) -> Iterator[Metric]:
        yield _build_info()
        try:
            yield from _of_journal(journal)
        except JournalUnavailable as trouble:
            self.journal_errors.inc()
            log.warning("metrics.without_journal", why=str(trouble))


class _Described(Collector):
    """A collector of prometheus_client made of a function."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _build_info() -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}_build_info", "The version at work.", labels=["version"])
    family.add_metric([__version__], 1)
    return family


def _of_journal(journal: Journal) -> list[Metric]:
    jobs = GaugeMetricFamily(f"{_PREFIX}_jobs", "Jobs in the journal.", labels=["state"])
    for state, count in journal.counts().items():
        jobs.add_metric([state], count)
    return [
        jobs,
        _gauge(
            "oldest_queued_seconds",
            "How long ago the oldest queued job arrived; 0 without one.",
            journal.oldest_queued_seconds(),
        ),
        _gauge(
            "callback_backlog",
            "Jobs whose work is done and whose callback Aruna does not have yet.",
            journal.callback_backlog(),
        ),
        *_of_reconcile(reconcile_runs.read(journal)),
    ]


def _of_reconcile(runs: reconcile_runs.Reconciled) -> list[Metric]:
    return [
        _gauge(
            "reconcile_last_run_timestamp_seconds",
            "When reconcile last ended; 0 if it never ran.",
            runs.last_run,
        ),
        _gauge(
            "reconcile_unknown_objects",
            "Objects the last run of reconcile could not judge.",
            runs.unknown,
        ),
        CounterMetricFamily(
            f"{_PREFIX}_reconcile_found",
            "Forgotten sources that reconcile has found.",
            value=runs.found,
        ),
    ]


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, value=value)
