"""Deliveries become jobs: a new one, a duplicate of an active one, or its successor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, literal_column, null, or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from pipeline.aruna.hook import Hook, token_expiry
from pipeline.aruna.objects import fingerprint
from pipeline.errors import Code
from pipeline.journal.records import Outcome, Receipt, State, Step
from pipeline.journal.schema import calling_back, due_some_time, ended, jobs
from pipeline.journal.sealing import Seal
from pipeline.journal.writer import mark_scrubbed

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 16  # characters of 5 bits: 9 of time in milliseconds, 7 of chance
_CHANCE_BITS = 35

Row = dict[str, Any]


def new_id(now: float) -> str:
    """An id that sorts by time."""
    chance = random.getrandbits(_CHANCE_BITS)  # not a secret, and no system call
    number = int(now * 1000) << _CHANCE_BITS | chance
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_ID_LENGTH)))


def arrival(hook: Hook, outcome: Outcome | None, seal: Seal, now: float) -> Row:
    """The row for a delivery; with an ``outcome`` only the callback is to be made."""
    return {
        "id": new_id(now),
        "hook_id": hook.hook_id,
        "object_id": hook.object.id,
        "content": fingerprint(hook.object),
        "name": hook.object.name,
        "object": hook.object.SerializeToString(),
        "credentials": seal.seal(hook.credentials),
        "token_expires": token_expiry(hook.credentials.token),
        "answer_only": outcome is not None,
        "state": State.QUEUED.value,
        "step": (Step.WORK if outcome is None else Step.CALLBACK).value,
        "code": outcome and outcome.code,
        "message": outcome.message if outcome else "",
        "callback_since": now if outcome else None,
        "created_at": now,
        "next_at": now,
    }


def enqueue(connection: Connection, arrivals: Sequence[Row]) -> list[Receipt]:
    """Write the rows of many deliveries at once; of equal ones the first makes the job."""
    receipts: dict[str, Receipt] = {}
    left = sorted(arrivals, key=_key)  # all processes lock in one order
    while left:
        first_of_key = {_key(row): row for row in reversed(left)}
        receipts.update(_upsert(connection, first_of_key))
        left = [row for row in left if row["id"] not in receipts]
        for row in left:
            if first_of_key[_key(row)] is row:
                _supersede(connection, row)
    return [receipts[row["id"]] for row in arrivals]


def _key(row: Row) -> tuple[str, str]:
    return row["object_id"], row["hook_id"]


def _upsert(connection: Connection, rows: dict[tuple[str, str], Row]) -> dict[str, Receipt]:
    """Receipts by the arrival's id; none for one that finds an active job of other content."""
    stored = connection.execute(_UPSERT[connection.dialect.name], list(rows.values()))
    receipts = {}
    for job_id, object_id, hook_id in stored:
        arrived = rows[object_id, hook_id]["id"]
        receipts[arrived] = Receipt(job_id, duplicate=job_id != arrived)
    return receipts


def _supersede(connection: Connection, row: Row) -> None:
    """End the active job whose content the source had before ``row``.

    Its lease stays: nobody may write to the object until its holder has let go.
    """
    connection.execute(
        update(jobs)
        .where(~ended(), jobs.c.object_id == row["object_id"], jobs.c.hook_id == row["hook_id"])
        .values(
            state=State.FAILED,
            next_at=None,
            code=Code.SUPERSEDED,
            message="the source was overwritten; the job of its new content answers for it",
            credentials=None,
            relay_token_hash=None,
            ended_at=row["created_at"],
        )
    )
    mark_scrubbed(connection)


def _upsert_statement(
    insert: type[sqlite.Insert] | type[postgresql.Insert],
) -> ReturningInsert[Any]:
    """One active job for each hook and object.

    A delivery that needs only an answer gets it from whatever job is active; it has nothing to
    lend to one that works. A callback that was sent before this delivery has been wiped by it.
    """
    statement = insert(jobs)
    new = statement.excluded
    lends = or_(jobs.c.answer_only, ~new.answer_only)
    replaced = ("content", "name", "object", "credentials", "token_expires")
    calls_back = due_some_time() & calling_back()
    return statement.on_conflict_do_update(
        index_elements=[jobs.c.object_id, jobs.c.hook_id],
        index_where=~ended(),
        set_={
            **{name: case((lends, new[name]), else_=jobs.c[name]) for name in replaced},
            "code": case((jobs.c.answer_only, new.code), else_=jobs.c.code),
            "message": case((jobs.c.answer_only, new.message), else_=jobs.c.message),
            "deliveries": jobs.c.deliveries + literal_column("1"),
            "callback_sent_at": null(),
            "next_at": case((calls_back, new.next_at), else_=jobs.c.next_at),
        },
        where=or_(new.answer_only, ~jobs.c.answer_only & (jobs.c.content == new.content)),
    ).returning(jobs.c.id, jobs.c.object_id, jobs.c.hook_id)


_UPSERT = {
    "sqlite": _upsert_statement(sqlite.Insert),
    "postgresql": _upsert_statement(postgresql.Insert),
}
