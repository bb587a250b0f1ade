"""The command ``jobs``: what is in the journal, newest first."""

from __future__ import annotations

import argparse
import sys
import time

from pipeline.journal import Job, State
from pipeline.operators import units
from pipeline.operators.environment import journal_of_service
from pipeline.operators.records import job_record, print_json
from pipeline.operators.table import print_table

_COLUMNS = ("JOB", "SOURCE", "STATE", "AGE", "TOKEN")
_STYLES = {State.FAILED: "red", State.RUNNING: "green", State.QUEUED: "", State.SUCCEEDED: "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline jobs``."""
    parser.add_argument(
        "--state", choices=[state.value for state in State], help="only jobs in this state"
    )
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="the newest N (default: 50)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON array, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Lists jobs; TOKEN is the time left in which a job could be retried."""
    state = State(arguments.state) if arguments.state else None
    with journal_of_service() as journal:
        jobs = journal.jobs(state, limit=max(arguments.limit, 1))
        counts = journal.counts()
    now = time.time()
    if arguments.json:
        print_json([job_record(job, now) for job in jobs])
    elif not jobs:
        sys.stderr.write(f"No {state or ''} jobs.\n".replace("  ", " "))
    else:
        rows = [_row(job, now) for job in jobs]
        print_table(_COLUMNS, rows, elastic="SOURCE", styles=[_STYLES[job.state] for job in jobs])
        if sys.stdout.isatty():
            shown = f"{len(jobs)} shown; in total " + ", ".join(
                f"{number} {name}" for name, number in counts.items()
            )
            sys.stdout.write(shown + ".\n")
    return 0


def _row(job: Job, now: float) -> tuple[str, ...]:
    age = units.duration(int(now - job.created_at))
    token = "–" if job.state is State.SUCCEEDED else units.left(job.token_expires, now)
    return (job.id, job.name, _state(job, now), age, token)


def _state(job: Job, now: float) -> str:
    """The state in a few words: why it failed, what it is at, when it goes on."""
    due = job.next_at or now
    if job.state is State.FAILED:
        return f"✗ {job.outcome.code if job.outcome else 'failed'}"
    if job.state is State.RUNNING:
        return f"▶ {job.progress.stage or 'starting'}"
    if job.state is State.QUEUED and due > now:
        return f"· queued, in {units.duration(int(due - now))}"
    return "· queued" if job.state is State.QUEUED else "✓ succeeded"
