"""A job as scripts read it: one flat JSON object without a secret.

Messages are masked before they are kept; those of version 1.0.0 were not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.journal import Job, PastAttempt, Step
from pipeline.operators.advice import can_retry
from pipeline.operators.units import rfc3339, seconds_left
from pipeline.telemetry.redaction import redact


def job_record(job: Job, now: float) -> dict[str, Any]:
    """What there is to know of a job; times as RFC 3339, ``now`` in seconds since the epoch.

    ``attempts`` are the counted attempts of the work, those that were lost with their process
    included; ``callback_attempts`` those of the callback.
    """
    reason = job.outcome or job.last_error
    return {
        "id": job.id,
        "state": job.state.value,
        "step": job.step.value,
        "name": job.name,
        "object_id": job.object_id,
        "hook_id": job.hook_id,
        "stage": job.progress.stage or None,
        "bytes": job.source.content_len,
        "bytes_in": job.progress.bytes_in,
        "bytes_out": job.progress.bytes_out,
        "attempts": job.attempt,
        "callback_attempts": job.callback_attempt,
        "deliveries": job.deliveries,
        "code": reason.code if reason else None,
        "message": redact(reason.message) if reason else None,
        "result_id": job.result_id,
        "result_name": job.result_name,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "ended_at": rfc3339(job.ended_at),
        "next_at": rfc3339(job.next_at),
        "token_expires": rfc3339(job.token_expires),
        "token_seconds_left": seconds_left(job.token_expires, now),
        "can_retry": can_retry(job, now),
    }


def attempt_record(attempt: PastAttempt) -> dict[str, Any]:
    """One attempt of a job's step."""
    return {
        "number": attempt.number,
        "step": attempt.step.value,
        "started_at": rfc3339(attempt.started_at),
        "ended_at": rfc3339(attempt.ended_at),
        "code": attempt.code,
        "message": redact(attempt.message),
        "next_at": rfc3339(attempt.next_at),
    }


def attempt_number(job: Job) -> int:
    """The number of the attempt of the present step that is under way, or comes next."""
    return 1 + (job.attempt if job.step is Step.WORK else job.callback_attempt)


def print_json(value: object) -> None:
    """For scripts: indented, so that people can read it too."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
