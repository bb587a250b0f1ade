"""The relay of a running job: any process of the installation may be asked for it.

Only the hash of a token is stored; the token of an earlier attempt opens nothing.
"""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, select, update

from pipeline.journal.held import change, held
from pipeline.journal.schema import AnyRow, jobs


def hashed(token: str) -> str:
    """What is stored of a token."""
    return sha256(token.encode()).hexdigest()


def opened(connection: Connection, job_id: str, lease: str, token: str, kind: str) -> AnyRow | None:
    """Open the job's relay under a new token; ``None`` if the lease is lost."""
    fresh = {"relay_fetches": 0, "relay_passed": False, "relay_error": None}
    values = {"relay_token_hash": hashed(token), "relay_kind": kind, **fresh}
    return change(connection, job_id, lease, values)


def fetched(connection: Connection, token: str, limit: int) -> AnyRow | None:
    """Count a fetch; the job, or ``None`` if the token opens nothing (any more)."""
    return connection.execute(
        update(jobs)
        .where(jobs.c.relay_token_hash == hashed(token), jobs.c.relay_fetches < limit)
        .values(relay_fetches=jobs.c.relay_fetches + 1)
        .returning(jobs.c.id, jobs.c.name, jobs.c.relay_kind, jobs.c.object, jobs.c.credentials)
    ).first()


def passed(connection: Connection, token: str, error: str | None) -> None:
    """Note how a fetch ended: with the whole download passed on, or with ``error``."""
    values = {"relay_error": error} if error else {"relay_error": None, "relay_passed": True}
    connection.execute(update(jobs).where(jobs.c.relay_token_hash == hashed(token)).values(values))


def outcome(connection: Connection, job_id: str, lease: str) -> AnyRow | None:
    """What became of the job's relay; ``None`` if the lease is lost."""
    columns = (jobs.c.relay_fetches, jobs.c.relay_passed, jobs.c.relay_error)
    return connection.execute(select(*columns).where(held(job_id, lease))).first()
