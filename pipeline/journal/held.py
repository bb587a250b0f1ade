"""What the holder of a lease says about its job; whoever lost the lease changes nothing.

Each write answers ``None`` if the job is not held by that lease any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update

from pipeline.journal.claims import COUNTED, LET_GO, note_attempt
from pipeline.journal.records import Outcome, State, Step
from pipeline.journal.schema import AnyRow, jobs, leased, running
from pipeline.journal.writer import mark_scrubbed


def held(job_id: str, lease: str) -> ColumnElement[bool]:
    """The job, if it is held by that lease."""
    return running() & (jobs.c.id == job_id) & (jobs.c.lease == lease)


def confirmed(connection: Connection, job_id: str, lease: str, now: float) -> int | None:
    """The number of deliveries so far, if the lease is not over either."""
    return connection.scalar(
        select(jobs.c.deliveries).where(held(job_id, lease), jobs.c.lease_until > now)
    )


def change(
    connection: Connection, job_id: str, lease: str, values: Mapping[str, Any]
) -> AnyRow | None:
    """Set columns of the job; the row as it is then."""
    return connection.execute(
        update(jobs).where(held(job_id, lease)).values(values).returning(jobs)
    ).first()


def worked(
    connection: Connection, job_id: str, lease: str, outcome: Outcome, now: float
) -> AnyRow | None:
    """The work is done, well or not: what is left is the callback."""
    counted = change(connection, job_id, lease, COUNTED)
    if counted is None:
        return None
    note_attempt(connection, counted, now, outcome.code, outcome.message)
    return change(
        connection,
        job_id,
        lease,
        {
            "step": Step.CALLBACK,
            "code": outcome.code,
            "message": outcome.message,
            "callback_since": now,
            "waiting_since": None,
            "relay_token_hash": None,
        },
    )


def ended(
    connection: Connection,
    job_id: str,
    lease: str,
    state: State,
    outcome: Outcome,
    deliveries: int,
    scrub: bool,
    now: float,
) -> bool | None:
    """End the job, unless there was a delivery after the last of ``deliveries``: then ``False``.

    The credentials of a job that can be tried again stay until the token expires.
    """
    useless = or_(jobs.c.answer_only, jobs.c.token_expires <= now)
    kept = None if scrub else case((useless, None), else_=jobs.c.credentials)
    values = {
        **LET_GO,
        **COUNTED,
        "state": state,
        "code": outcome.code,
        "message": outcome.message,
        "credentials": kept,
        "ended_at": now,
    }
    unchanged = held(job_id, lease) & (jobs.c.deliveries == deliveries)
    row = connection.execute(update(jobs).where(unchanged).values(values).returning(jobs)).first()
    if row is None:
        wiped = change(connection, job_id, lease, {"callback_sent_at": None})
        return None if wiped is None else False
    note_attempt(connection, row, now, outcome.code, outcome.message)
    if row.credentials is None:
        mark_scrubbed(connection)
    return True


def wait(
    connection: Connection, job_id: str, lease: str, at: float, message: str, now: float
) -> AnyRow | None:
    """Queue the job until ``at``, no attempt counted."""
    since = func.coalesce(jobs.c.waiting_since, now)
    values = {**LET_GO, "state": State.QUEUED, "next_at": at, "waiting_since": since}
    said = {"last_code": None, "last_message": message}
    return change(connection, job_id, lease, {**values, **said})


def retry(
    connection: Connection, job_id: str, lease: str, at: float, error: Outcome, now: float
) -> AnyRow | None:
    """Queue the job until ``at``, one attempt counted."""
    values = {**LET_GO, **COUNTED, "state": State.QUEUED, "next_at": at, "waiting_since": None}
    said = {"last_code": error.code, "last_message": error.message}
    row = change(connection, job_id, lease, {**values, **said})
    if row is not None:
        note_attempt(connection, row, now, error.code, error.message, next_at=at)
    return row


def release(connection: Connection, job_id: str, lease: str, now: float) -> None:
    """Queue the job at once, no attempt counted; of a superseded one only the object is freed."""
    if change(connection, job_id, lease, {**LET_GO, "state": State.QUEUED, "next_at": now}) is None:
        mine = leased() & (jobs.c.id == job_id) & (jobs.c.lease == lease)
        connection.execute(update(jobs).where(mine).values(LET_GO))
