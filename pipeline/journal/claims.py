"""Who works on what: claims, their leases, and what a lost lease leaves.

The lease is the lock on the object: of all jobs of one object (two hooks can share a source) at
most one has a lease, and the database sees to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    insert,
    select,
    tuple_,
    update,
)

from pipeline.journal.records import Meter, Outcome, State, Step
from pipeline.journal.schema import (
    AnyRow,
    attempts,
    due_some_time,
    jobs,
    leased,
    leases,
    running,
)

#: Seconds. A lease or a wait that ends later than this was written while a clock was wrong.
LONGEST_LEASE = 3600.0
LONGEST_WAIT = 86400.0

#: The code of an attempt of which nobody said how it ended.
LOST = "lost"

#: What a job looks like that nobody holds.
LET_GO: dict[str, Any] = {
    "stage": "",
    "lease": None,
    "lease_until": None,
    "holder": None,
    "relay_token_hash": None,
}

#: 1 if the attempt that ends was one of the work.
COUNTED_WORK = case((jobs.c.step == Step.WORK.value, 1), else_=0)
#: One more attempt of the present step.
COUNTED: dict[str, Any] = {
    "attempt": jobs.c.attempt + COUNTED_WORK,
    "callback_attempt": jobs.c.callback_attempt
    + case((jobs.c.step == Step.CALLBACK.value, 1), else_=0),
}

_PAGE = 20  # queued jobs looked at in one query; more only if the object of each is busy
_NEXT_PAGE = 500
_HISTORY = 50  # attempts of each step that are kept
_LOST = Outcome(LOST, "lost: its process died or was paused for too long")


def claimable(
    connection: Connection, *, until: float | None = None, lock: bool = False
) -> Iterator[AnyRow]:
    """Queued jobs (due ``until`` then) whose object is free, those that wait longest first.

    Page by page, each query with a limit and the order of an index: PostgreSQL without fresh
    statistics would read the whole queue for a condition that spares few of its jobs.
    """
    line = (jobs.c.next_at, jobs.c.id)
    queue = select(*line, jobs.c.object_id).where(due_some_time()).order_by(*line)
    if until is not None:
        queue = queue.where(jobs.c.next_at <= until)
    if lock:
        queue = queue.with_for_update(skip_locked=True)
    page = connection.execute(queue.limit(_PAGE)).all()
    while page:
        of_page = jobs.c.object_id.in_([row.object_id for row in page])
        busy = set(connection.scalars(select(jobs.c.object_id).where(leased(), of_page)))
        yield from (row for row in page if row.object_id not in busy)
        last = page[-1]
        behind = tuple_(*line) > tuple_(last.next_at, last.id)
        page = connection.execute(queue.where(behind).limit(_NEXT_PAGE)).all()


def claim(
    connection: Connection, now: float, holder: str, lease: str, until: float, limit: int
) -> Sequence[AnyRow]:
    """Give ``holder`` up to ``limit`` due jobs, one of each object."""
    _take_back(connection, now)
    chosen: dict[str, str] = {}
    for row in claimable(connection, until=now, lock=True):
        chosen.setdefault(row.object_id, row.id)
        if len(chosen) == limit:
            break
    if not chosen:
        return []
    working = jobs.c.step == Step.WORK.value
    claimed = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(chosen.values()))
        .values(
            state=State.RUNNING,
            next_at=None,
            lease=lease,
            lease_until=until,
            holder=holder,
            started_at=now,
            stage="",
            bytes_in=case((working, 0), else_=jobs.c.bytes_in),
            bytes_out=case((working, 0), else_=jobs.c.bytes_out),
            relay_bytes=case((working, 0), else_=jobs.c.relay_bytes),
        )
        .returning(jobs)
    )
    row_of = {row.id: row for row in claimed}
    return [row_of[job_id] for job_id in chosen.values()]


def expire(connection: Connection, holder: str) -> None:
    """All leases of ``holder`` are over."""
    connection.execute(update(leases).where(leases.c.holder == holder).values(until=0.0))
    connection.execute(
        update(jobs).where(leased(), jobs.c.holder == holder).values(lease_until=0.0)
    )


def renew(
    connection: Connection, meters: Mapping[tuple[str, str], Meter], until: float
) -> set[str]:
    """Prolong these leases (job id, lease) and note the progress; the ids still held."""
    connection.execute(
        update(jobs)
        .where(running(), jobs.c.id == bindparam("_id"), jobs.c.lease == bindparam("_lease"))
        .values(lease_until=until),
        [
            {"_id": job_id, "_lease": lease, **meter.columns()}
            for (job_id, lease), meter in sorted(meters.items(), key=_of_lease)
        ],
    )
    renewed = select(jobs.c.id, jobs.c.lease).where(
        running(), jobs.c.id.in_([job_id for job_id, _ in meters])
    )
    return {row.id for row in connection.execute(renewed) if (row.id, row.lease) in meters}


def _of_lease(entry: tuple[tuple[str, str], Meter]) -> tuple[str, str]:
    """All processes lock rows in one order."""
    return entry[0]


def note_attempt(
    connection: Connection,
    row: AnyRow,
    now: float,
    outcome: Outcome,
    next_at: float | None = None,
) -> None:
    """Write down the attempt that ended with ``row`` as it is now, and forget very old ones."""
    calling_back = row.step == Step.CALLBACK
    number = row.callback_attempt if calling_back else row.attempt
    started = [row.started_at, row.callback_since if calling_back else None]
    connection.execute(
        insert(attempts).values(
            job_id=row.id,
            number=number,
            step=row.step,
            started_at=max((at for at in started if at is not None), default=None),
            ended_at=now,
            code=outcome.code,
            message=outcome.message,
            next_at=next_at,
        )
    )
    if number > _HISTORY:
        old = attempts.c.number <= number - _HISTORY
        connection.execute(
            delete(attempts).where(attempts.c.job_id == row.id, attempts.c.step == row.step, old)
        )


def _take_back(connection: Connection, now: float) -> None:
    """Queue the jobs whose lease is over, each with the attempt that was lost counted."""
    over = select(jobs.c.id).where(leased(), jobs.c.lease_until <= now)
    some = over.order_by(jobs.c.lease_until).limit(_PAGE).with_for_update(skip_locked=True)
    lost = connection.scalars(some).all()
    if not lost:
        return
    requeued = connection.execute(
        update(jobs)
        .where(running(), jobs.c.id.in_(lost))
        .values(
            {
                **LET_GO,
                **COUNTED,
                "state": State.QUEUED,
                "next_at": now,
                "lost": jobs.c.lost + COUNTED_WORK,
                "last_code": _LOST.code,
                "last_message": _LOST.message,
            }
        )
        .returning(jobs)
    ).all()
    connection.execute(update(jobs).where(leased(), jobs.c.id.in_(lost)).values(LET_GO))
    for row in requeued:
        note_attempt(connection, row, now, _LOST, next_at=now)
