"""The command ``show``: all that is known of one job, and what to do about it."""

from __future__ import annotations

import argparse
import sys
import time

from pipeline.journal import Job, PastAttempt, State
from pipeline.operators import units
from pipeline.operators.advice import advice_for
from pipeline.operators.environment import journal_of_service
from pipeline.operators.records import attempt_number, attempt_record, job_record, print_json
from pipeline.operators.table import print_facts, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline show``."""
    parser.add_argument("job", metavar="JOB", help="a job's id, or its beginning")
    parser.add_argument("--json", action="store_true", help="a JSON object, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Shows one job with its attempts."""
    with journal_of_service() as journal:
        job = journal.job(arguments.job)
        attempts = journal.attempts(job.id)
    now = time.time()
    if arguments.json:
        record = job_record(job, now)
        print_json(record | {"attempts_made": [attempt_record(one) for one in attempts]})
        return 0
    print_facts(_facts(job, now))
    if attempts:
        sys.stdout.write("\n")
        print_table(
            ("STEP", "NO.", "STARTED", "TOOK", "CODE", "MESSAGE"),
            [_attempt(one, now) for one in attempts],
            elastic="MESSAGE",
        )
    return 0


def _facts(job: Job, now: float) -> list[tuple[str, str]]:
    facts = [
        ("job", job.id),
        ("state", _state(job, now)),
        *_reason(job, now),
        ("source", f"{job.name} ({units.size(job.source.content_len)})"),
        ("object", job.object_id),
        ("hook", f"{job.hook_id}, delivered {_times(job.deliveries)}"),
        ("arrived", _when(job.created_at, now)),
        ("started", _when(job.started_at, now)),
        ("ended", _when(job.ended_at, now)),
        ("attempts", f"{job.attempt} of the work, {job.callback_attempt} of the callback"),
        ("read, written", _progress(job)),
        ("result", f"{job.result_name} ({job.result_id})" if job.result_id else ""),
        ("token", _token(job, now)),
    ]
    return [(name, value) for name, value in facts if value]


def _state(job: Job, now: float) -> str:
    if job.state is State.RUNNING:
        return f"running, {job.progress.stage or 'starting'}, attempt {attempt_number(job)}"
    if job.state is State.QUEUED:
        due = job.next_at or now
        when = f"in {units.duration(int(due - now))}" if due > now else "now"
        return f"queued, attempt {attempt_number(job)} of the {job.step.value} is due {when}"
    return str(job.state)


def _reason(job: Job, now: float) -> list[tuple[str, str]]:
    """Why it failed and what to do, or why it waits."""
    if job.state is State.FAILED and job.outcome:
        advice = advice_for(job, now)
        return [("why", f"{job.outcome.code}: {job.outcome.message}"), ("what to do", advice)]
    if job.state is not State.SUCCEEDED and job.last_error:
        code = f"{job.last_error.code}: " if job.last_error.code else ""
        return [("last error", f"{code}{job.last_error.message}")]
    return []


def _when(seconds: float | None, now: float) -> str:
    return "" if seconds is None else f"{units.moment(seconds)}, {units.ago(seconds, now)}"


def _progress(job: Job) -> str:
    progress = job.progress
    if not progress.bytes_in and not progress.bytes_out:
        return ""
    return f"{units.size(progress.bytes_in)}, {units.size(progress.bytes_out)}"


def _token(job: Job, now: float) -> str:
    if job.credentials is None:
        return f"gone: {job.credentials_gone or 'deleted once it was not needed any more'}"
    if job.token_expires is None:
        return "does not say when it expires"
    return f"{units.left(job.token_expires, now)}, {units.moment(job.token_expires)}"


def _attempt(attempt: PastAttempt, now: float) -> tuple[str, ...]:
    began = attempt.started_at
    took = "–" if began is None else units.duration(attempt.ended_at - began)
    return (
        attempt.step.value,
        str(attempt.number),
        units.ago(began, now),
        took,
        attempt.code or "ok",
        attempt.message,
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
