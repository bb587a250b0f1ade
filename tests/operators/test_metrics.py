"""What Prometheus reads at /metrics."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pipeline import __version__
from pipeline.errors import Code
from pipeline.journal import Journal, reconcile_runs
from pipeline.telemetry.metrics import HOOK_ANSWERS, Metrics

from .deliveries import NOON, Clock, busy_day

ROOT = Path(__file__).parents[2]
NAMES = {
    "abcd2bioschema_hooks_total",
    "abcd2bioschema_jobs",
    "abcd2bioschema_jobs_ended_total",
    "abcd2bioschema_stage_seconds_bucket",
    "abcd2bioschema_bytes_total",
    "abcd2bioschema_oldest_queued_seconds",
    "abcd2bioschema_retries_total",
    "abcd2bioschema_parts_in_flight",
    "abcd2bioschema_callback_backlog",
    "abcd2bioschema_relay_fetches_total",
    "abcd2bioschema_reconcile_last_run_timestamp_seconds",
    "abcd2bioschema_reconcile_found_total",
    "abcd2bioschema_reconcile_unknown_objects",
    "abcd2bioschema_journal_errors_total",
    "abcd2bioschema_build_info",
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(exposition: bytes) -> Samples:
    """Each series of an exposition with its value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"abcd2bioschema_{name}", frozenset(labels.items())]


def test_every_series_is_there_before_anything_happens(journal: Journal) -> None:
    found = samples(Metrics().exposition(journal))
    assert {name for name, _ in found} >= NAMES
    assert all(value(found, "hooks_total", answer=answer) == 0 for answer in HOOK_ANSWERS)
    assert all(value(found, "retries_total", code=code) == 0 for code in Code)
    assert value(found, "jobs_ended_total", state="succeeded", code="") == 0
    assert value(found, "build_info", version=__version__) == 1


def test_jobs_are_read_from_the_journal(journal: Journal, clock: Clock) -> None:
    busy_day(journal, clock)
    found = samples(Metrics().exposition(journal))
    assert value(found, "jobs", state="queued") == 1
    assert value(found, "jobs", state="running") == 2
    assert value(found, "jobs", state="failed") == 3
    assert value(found, "oldest_queued_seconds") == 95
    assert value(found, "callback_backlog") == 0


def test_what_reconcile_found_adds_up_over_its_runs(journal: Journal) -> None:
    reconcile_runs.add(journal, found=2, unknown=5, now=NOON)
    reconcile_runs.add(journal, found=1, unknown=0, now=NOON + 60)
    found = samples(Metrics().exposition(journal))
    assert value(found, "reconcile_found_total") == 3
    assert value(found, "reconcile_unknown_objects") == 0
    assert value(found, "reconcile_last_run_timestamp_seconds") == NOON + 60


def test_the_scrape_survives_a_journal_that_is_down() -> None:
    down = Journal("postgresql://nobody@127.0.0.1:1/nowhere")
    down.open()
    metrics = Metrics()
    metrics.hooks.labels("accepted").inc()
    with closing(down):
        found = samples(metrics.exposition(down))
    assert value(found, "hooks_total", answer="accepted") == 1
    assert value(found, "journal_errors_total") == 1
    assert "abcd2bioschema_jobs" not in {name for name, _ in found}
    assert "abcd2bioschema_build_info" in {name for name, _ in found}


def test_one_process_answers_for_all_the_dead_ones_included(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    scrape = subprocess.run(
        [sys.executable, "-m", "tests.operators.counting", f"sqlite:///{tmp_path}/journal.db"],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        check=True,
    )
    found = samples(scrape.stdout)
    assert {name for name, _ in found} >= NAMES
    assert value(found, "hooks_total", answer="accepted") == 3
    assert value(found, "bytes_total", direction="out") == 3000
    assert value(found, "stage_seconds_count", stage="upload") == 3
    assert value(found, "parts_in_flight") == 3
    assert value(found, "jobs", state="queued") == 0


def test_no_label_has_a_value_that_strangers_choose(journal: Journal, clock: Clock) -> None:
    busy_day(journal, clock)
    before = len(samples(Metrics().exposition(journal)))
    metrics = Metrics()
    for code in Code:
        metrics.jobs_ended.labels("failed", code).inc()
    assert len(samples(metrics.exposition(journal))) == before
