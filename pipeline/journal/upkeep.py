"""What is done beside the jobs' own way: cleaning up, putting back, and notes for all hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aruna.api.storage.models.v2 import models_pb2
from sqlalchemy import Connection, Table, case, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.errors import Code
from pipeline.jobs.result_object import error_label
from pipeline.journal.claims import LET_GO, LONGEST_LEASE, LONGEST_WAIT
from pipeline.journal.records import State, Step
from pipeline.journal.schema import (
    AnyRow,
    attempts,
    due_some_time,
    ended,
    jobs,
    leased,
    leases,
    notes,
    retriable,
)
from pipeline.journal.writer import mark_scrubbed

_BATCH = 500  # rows of one transaction: deliveries wait meanwhile

_INSERT: dict[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def purge(connection: Connection, before: float) -> bool:
    """Delete some jobs that ended ``before``; whether there may be more."""
    old = connection.scalars(
        select(jobs.c.id)
        .where(ended(), jobs.c.ended_at < before, ~leased())
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    connection.execute(delete(attempts).where(attempts.c.job_id.in_(old)))
    connection.execute(delete(jobs).where(jobs.c.id.in_(old)))
    return len(old) == _BATCH


def scrub(connection: Connection, now: float) -> None:
    """Drop the credentials of failed jobs whose token has expired."""
    expired = retriable() & (jobs.c.token_expires <= now)
    if connection.execute(update(jobs).where(expired).values(credentials=None)).rowcount:
        mark_scrubbed(connection)


def mend_times(connection: Connection, now: float) -> None:
    """Make due what was put off to a time that only a wrong clock can have given."""
    too_long = leased() & (jobs.c.lease_until > now + LONGEST_LEASE)
    connection.execute(update(jobs).where(too_long).values(lease_until=now))
    far = due_some_time() & (jobs.c.next_at > now + LONGEST_WAIT)
    connection.execute(update(jobs).where(far).values(next_at=now))
    from_the_future = (jobs.c.state == State.QUEUED.value) & (jobs.c.created_at > now)
    earlier = case((jobs.c.next_at < now, jobs.c.next_at), else_=now)
    connection.execute(update(jobs).where(from_the_future).values(next_at=earlier))


def put_back(connection: Connection, job_id: str, now: float) -> str | None:
    """Queue a failed job anew; why not, if it cannot be."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).first()
    reason = "there is no such job" if row is None else _why_not(connection, row, now)
    if row is not None and reason is None:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                **LET_GO,
                state=State.QUEUED,
                step=Step.WORK,
                attempt=0,
                callback_attempt=0,
                next_at=now,
                ended_at=None,
                waiting_since=None,
                callback_since=None,
                callback_sent_at=None,
                code=None,
                message="",
                object=_with_what_was_told(row),
            )
        )
    return reason


def _with_what_was_told(row: AnyRow) -> bytes:
    """The source as its newest delivery had it, and the error label that we have added since."""
    if row.step != Step.CALLBACK or row.callback_sent_at is None:
        return bytes(row.object)
    if row.code in (None, Code.CALLBACK_FAILED):
        return bytes(row.object)
    source = models_pb2.Object.FromString(row.object)
    source.key_values.append(error_label(row.code, row.message))
    return bytes(source.SerializeToString())


def _why_not(connection: Connection, row: AnyRow, now: float) -> str | None:
    if row.state != State.FAILED:
        return f"it is {row.state}"
    if row.token_expires is not None and row.token_expires <= now:
        return "its token has expired"
    if row.credentials is None:
        return "its credentials are gone"
    newer = select(jobs.c.id).where(
        ~ended(), jobs.c.object_id == row.object_id, jobs.c.hook_id == row.hook_id
    )
    other = connection.scalar(newer)
    return other and f"a newer job of the same object, {other}, has not ended"


def named_lease(connection: Connection, name: str, holder: str, now: float, until: float) -> bool:
    """Take or prolong a lease of the whole installation; whether ``holder`` has it now."""
    statement = _INSERT[connection.dialect.name](leases)
    absurd = leases.c.until > until + (until - now)  # written while a clock was wrong
    free = or_(leases.c.until <= now, absurd, leases.c.holder == holder)
    taken = statement.values(name=name, holder=holder, until=until).on_conflict_do_update(
        index_elements=[leases.c.name], set_={"holder": holder, "until": until}, where=free
    )
    return connection.execute(taken.returning(leases.c.name)).first() is not None


def note(connection: Connection, name: str, value: str) -> None:
    """Keep a value under a name."""
    statement = _INSERT[connection.dialect.name](notes).values(name=name, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[notes.c.name], set_={"value": value})
    )
