"""Questions to the journal, one statement each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, func, select

from pipeline.journal.claims import claimable
from pipeline.journal.records import Agenda, State
from pipeline.journal.schema import (
    AnyRow,
    attempts,
    calling_back,
    due_some_time,
    jobs,
    leased,
    notes,
    retriable,
)
from pipeline.journal.schema import unverified as unverified_deliveries

_ID_LENGTH = 16


def listed(connection: Connection, state: State | None, limit: int) -> Sequence[AnyRow]:
    """The newest jobs first."""
    newest = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if state is not None:
        chosen = jobs.c.state == state
        newest = select(jobs).where(chosen).order_by(jobs.c.created_at.desc()).limit(limit)
    return connection.execute(newest).all()


def starting_with(connection: Connection, prefix: str, table: Table = jobs) -> Sequence[AnyRow]:
    """At most two jobs, or rows of another table, whose id starts so."""
    last = prefix.ljust(_ID_LENGTH, "z")
    found = select(table).where(table.c.id.between(prefix, last)).limit(2)
    return connection.execute(found).all()


def exists(connection: Connection, job_id: str) -> bool:
    """Whether there is such a job, or a delivery of that id whose secret is still to be checked."""
    tables = (jobs, unverified_deliveries)
    return any(
        connection.scalar(select(table.c.id).where(table.c.id == job_id)) for table in tables
    )


def unverified(connection: Connection, limit: int) -> Sequence[AnyRow]:
    """Deliveries whose secret is still to be checked, oldest first."""
    waiting = select(unverified_deliveries).order_by(unverified_deliveries.c.id).limit(limit)
    return connection.execute(waiting).all()


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
    found = {**dict.fromkeys(wanted, 0), **{State(state): number for state, number in rows}}
    waiting = connection.scalar(select(func.count()).select_from(unverified_deliveries))
    return {**found, State.QUEUED: found[State.QUEUED] + (waiting or 0)}


def oldest_queued(connection: Connection) -> float | None:
    """When the oldest queued job was created, or delivery came whose secret is not checked yet."""
    waiting = jobs.c.state == State.QUEUED.value
    questions = (
        select(func.min(jobs.c.created_at)).where(waiting),
        select(func.min(unverified_deliveries.c.created_at)),
    )
    oldest = [connection.scalar(question) for question in questions]
    return min((time for time in oldest if time is not None), default=None)


def callback_backlog(connection: Connection) -> int:
    """Jobs of which only the callback is missing."""
    return connection.scalar(select(func.count()).where(calling_back())) or 0


def agenda(connection: Connection) -> Agenda:
    """When the next queued job is due (its object may be busy), and the next lease ends."""
    first = select(func.min(jobs.c.next_at)).where(due_some_time()).scalar_subquery()
    over = select(func.min(jobs.c.lease_until)).where(leased()).scalar_subquery()
    return Agenda(*connection.execute(select(first, over)).one())


def next_expiry(connection: Connection) -> float | None:
    """When the token of a failed job next expires that keeps its credentials."""
    expiry = select(func.min(jobs.c.token_expires)).where(retriable())
    soonest: float | None = connection.scalar(expiry)
    return soonest


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
