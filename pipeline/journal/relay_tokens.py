"""The relay of a running job: any process of the installation may be asked for it.

Only the hash of a token is stored; the token of an earlier attempt opens nothing.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, case, update

from pipeline.journal.schema import AnyRow, jobs


def opened(token: str, kind: str) -> dict[str, Any]:
    """The columns of a job whose relay opens under a new token."""
    return {
        "relay_token_hash": _hashed(token),
        "relay_kind": kind,
        "relay_fetches": 0,
        "relay_passed": False,
        "relay_error": None,
        "relay_bytes": 0,
    }


def fetched(connection: Connection, token: str, limit: int) -> AnyRow | None:
    """Count a fetch; the job, or ``None`` if the token opens nothing (any more)."""
    return connection.execute(
        update(jobs)
        .where(jobs.c.relay_token_hash == _hashed(token), jobs.c.relay_fetches < limit)
        .values(relay_fetches=jobs.c.relay_fetches + 1)
        .returning(jobs)
    ).first()


def moved(connection: Connection, token: str, count: int) -> None:
    """Note how many bytes one fetch has passed on so far."""
    of_token = jobs.c.relay_token_hash == _hashed(token)
    more = case((jobs.c.relay_bytes < count, count), else_=jobs.c.relay_bytes)
    connection.execute(update(jobs).where(of_token).values(relay_bytes=more))


def ended(connection: Connection, token: str, number: int, error: str | None) -> None:
    """Note how a fetch ended: with the whole download passed on, or with ``error``.

    GFBio: the first fetch carries the content, the second is for the headers alone.
    """
    values: dict[str, Any] = {"relay_error": error} if error else {}
    if number == 1 and error is None:
        values = {"relay_passed": True}
    if values:
        of_token = jobs.c.relay_token_hash == _hashed(token)
        connection.execute(update(jobs).where(of_token).values(values))


def _hashed(token: str) -> str:
    return sha256(token.encode()).hexdigest()
