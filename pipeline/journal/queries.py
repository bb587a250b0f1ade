"""Questions to the journal, one statement each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from pipeline.journal.claims import claimable
from pipeline.journal.records import State
from pipeline.journal.schema import AnyRow, attempts, calling_back, jobs, leased, notes, retriable

_ID_LENGTH = 16


def listed(connection: Connection, state: State | None, limit: int) -> Sequence[AnyRow]:
    """The newest jobs first."""
    newest = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if state is not None:
        chosen = jobs.c.state == state
        newest = select(jobs).where(chosen).order_by(jobs.c.created_at.desc()).limit(limit)
    return connection.execute(newest).all()


def starting_with(connection: Connection, prefix: str) -> Sequence[AnyRow]:
    """At most two jobs whose id starts so."""
    last = prefix.ljust(_ID_LENGTH, "z")
    found = select(jobs).where(jobs.c.id.between(prefix, last)).limit(2)
    return connection.execute(found).all()


def to_put_back(connection: Connection) -> Sequence[str]:
    """The failed jobs that keep their credentials, oldest first."""
    found = select(jobs.c.id).where(retriable()).order_by(jobs.c.id)
    return connection.scalars(found).all()


def history(connection: Connection, job_id: str) -> Sequence[AnyRow]:
    """The attempts of a job, oldest first."""
    of_job = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.id)
    return connection.execute(of_job).all()


def counts(connection: Connection) -> dict[State, int]:
    """Jobs by state, but for those that succeeded: they are many and nobody waits for them."""
    wanted = (State.QUEUED, State.RUNNING, State.FAILED)
    of_interest = jobs.c.state.in_(wanted)
    rows = connection.execute(
        select(jobs.c.state, func.count()).where(of_interest).group_by(jobs.c.state)
    )
    return {**dict.fromkeys(wanted, 0), **{State(state): number for state, number in rows}}


def oldest_queued(connection: Connection) -> float | None:
    """When the oldest queued job was created."""
    waiting = jobs.c.state == State.QUEUED.value
    oldest: float | None = connection.scalar(select(func.min(jobs.c.created_at)).where(waiting))
    return oldest


def callback_backlog(connection: Connection) -> int:
    """Jobs of which only the callback is missing."""
    return connection.scalar(select(func.count()).where(calling_back())) or 0


def next_due(connection: Connection) -> float | None:
    """When there is next something to claim: a job becomes due or a lease is over."""
    first = next(claimable(connection), None)
    over = connection.scalar(select(func.min(jobs.c.lease_until)).where(leased()))
    times = (first.next_at if first else None, over)
    return min((time for time in times if time is not None), default=None)


def holders(connection: Connection) -> Sequence[str]:
    """Who holds leases."""
    return connection.scalars(select(jobs.c.holder).where(leased()).distinct()).all()


def known(connection: Connection, object_ids: Sequence[str]) -> Sequence[AnyRow]:
    """What there is of these objects."""
    columns = (
        jobs.c.id,
        jobs.c.object_id,
        jobs.c.hook_id,
        jobs.c.content,
        jobs.c.state,
        jobs.c.code,
    )
    of_objects = select(*columns).where(jobs.c.object_id.in_(object_ids)).order_by(jobs.c.id)
    return connection.execute(of_objects).all()


def noted(connection: Connection, name: str) -> str | None:
    """The value kept under a name."""
    return connection.scalar(select(notes.c.value).where(notes.c.name == name))
