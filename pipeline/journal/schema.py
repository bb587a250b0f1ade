"""The tables of the journal, and how a database is brought to the newest version of them.

All times are seconds since the epoch. The SQL stays within what SQLite, PostgreSQL and YugabyteDB
have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn

from pipeline.journal.records import State

#: A row of whichever columns.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("hook_id", String, nullable=False),
    Column("object_id", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("source_sha256", String),
    Column("name", Text, nullable=False),
    Column("answer_only", Boolean, nullable=False),
    Column("deliveries", Integer, nullable=False, server_default=text("1")),
    Column("state", String, nullable=False),
    Column("step", String, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("lost", Integer, nullable=False, server_default=text("0")),
    Column("callback_attempt", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("next_at", Double),
    Column("waiting_since", Double),
    Column("outage_since", Double),
    Column("lease", String),
    Column("lease_until", Double),
    Column("holder", Text),
    Column("code", String),
    Column("message", Text, nullable=False, server_default=text("''")),
    Column("told_code", String),
    Column("told_message", Text),
    Column("last_code", String),
    Column("last_message", Text, nullable=False, server_default=text("''")),
    Column("result_id", String),
    Column("result_name", Text),
    Column("upload_begun", Boolean, nullable=False, server_default=text("false")),
    Column("callback_since", Double),
    Column("callback_sent_at", Double),
    Column("stage", Text, nullable=False, server_default=text("''")),
    Column("bytes_in", BigInteger, nullable=False, server_default=text("0")),
    Column("bytes_out", BigInteger, nullable=False, server_default=text("0")),
    Column("relay_token_hash", String),
    Column("relay_kind", String),
    Column("relay_fetches", Integer, nullable=False, server_default=text("0")),
    Column("relay_passed", Boolean, nullable=False, server_default=text("false")),
    Column("relay_error", Text),
    Column("relay_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("token_expires", Double),
    Column("credentials", LargeBinary),
    Column("object", LargeBinary, nullable=False),
    CheckConstraint("(state = 'queued') = (next_at IS NOT NULL)", name="queued_jobs_have_a_time"),
    CheckConstraint("state <> 'running' OR lease IS NOT NULL", name="running_jobs_have_a_lease"),
    CheckConstraint("(step = 'callback') = (callback_since IS NOT NULL)", name="callback_since"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job_id", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("step", String, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double, nullable=False),
    Column("code", String),
    Column("message", Text, nullable=False),
    Column("next_at", Double),
    Index("attempts_of_job", "job_id", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Double, nullable=False),
)

#: Deliveries whose secret could not be checked yet: Aruna's public key was not at hand.
unverified = Table(
    "unverified_deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("hook_id", String, nullable=False),
    Column("object_id", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("answer_only", Boolean, nullable=False),
    Column("code", String),
    Column("message", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("token_expires", Double),
    Column("credentials", LargeBinary, nullable=False),
    Column("object", LargeBinary, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

_versions = Table(
    "schema_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)


# Planners choose by statistics that are stale after a burst. The columns that claims go by are
# therefore set in the jobs concerned alone, so that each question has one index that fits.


def due_some_time(table: FromClause = jobs) -> ColumnElement[bool]:
    """Queued jobs, the only ones with a time from which they may be claimed."""
    return table.c.next_at.is_not(None)


def leased(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs whose holder may still write to the object: running ones, and superseded ones until
    their holder has let go or its lease is over."""
    return table.c.lease.is_not(None)


def running() -> ColumnElement[bool]:
    """Jobs that somebody works on."""
    return jobs.c.state == State.RUNNING.value


def ended() -> ColumnElement[bool]:
    """Jobs that succeeded or failed."""
    return jobs.c.ended_at.is_not(None)


def calling_back() -> ColumnElement[bool]:
    """Jobs of which only the callback is missing."""
    return jobs.c.callback_since.is_not(None) & jobs.c.ended_at.is_(None)


def retriable() -> ColumnElement[bool]:
    """Failed jobs that keep their credentials."""
    return (jobs.c.state == literal_column("'failed'")) & jobs.c.credentials.is_not(None)


def _index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_index("job_active", jobs.c.object_id, jobs.c.hook_id, where=~ended(), unique=True)
_index("job_of_object_leased", jobs.c.object_id, where=leased(), unique=True)
_index("job_lease_end", jobs.c.lease_until, where=leased(), unique=False)
_index("job_due", jobs.c.next_at, jobs.c.id, where=due_some_time(), unique=False)
_index("job_calling_back", jobs.c.callback_since, where=calling_back(), unique=False)
_index(
    "job_relayed", jobs.c.relay_token_hash, where=jobs.c.relay_token_hash.is_not(None), unique=True
)
_index("job_ended", jobs.c.ended_at, where=ended(), unique=False)
_index("job_token_expiry", jobs.c.token_expires, where=retriable(), unique=False)
Index("job_state", jobs.c.state, jobs.c.created_at)
Index("job_object", jobs.c.object_id)

_ADDED_IN_2 = (
    jobs.c.failures,
    jobs.c.lost,
    jobs.c.outage_since,
    jobs.c.told_code,
    jobs.c.told_message,
    jobs.c.upload_begun,
    jobs.c.source_sha256,
    jobs.c.relay_bytes,
)


def _to_2(connection: Connection) -> None:
    """New columns all have a default: processes of version 1 go on beside this one."""
    for column in _ADDED_IN_2:
        described = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE jobs ADD COLUMN {described}"))
    connection.execute(update(jobs).values(failures=jobs.c.attempt))
    told = jobs.c.callback_sent_at.is_not(None) & ended()
    connection.execute(
        update(jobs).where(told).values(told_code=jobs.c.code, told_message=jobs.c.message)
    )
    unverified.create(connection)


#: What leads from one version of the schema to the next: the first entry from 1 to 2, and so on.
#: ``metadata`` above is always the newest version.
UPGRADES: tuple[Callable[[Connection], None], ...] = (_to_2,)


class SchemaTooNew(Exception):
    """The database was made by a newer version of this program."""


def create_version_table(connection: Connection) -> None:
    """Make the row that everybody who upgrades the schema locks; nothing if it is there."""
    _versions.create(connection, checkfirst=True)
    if connection.scalar(select(_versions.c.version)) is None:
        connection.execute(_versions.insert().values(id=1, version=0))


def upgrade(connection: Connection) -> None:
    """Create or upgrade the tables, one process at a time; raises ``SchemaTooNew``."""
    newest = 1 + len(UPGRADES)
    version = connection.scalars(select(_versions.c.version).with_for_update()).one()
    if version > newest:
        raise SchemaTooNew(f"its schema is version {version}, this program knows {newest}")
    if version == 0:
        metadata.create_all(connection)
    for step in UPGRADES[version - 1 :] if version else ():
        step(connection)
    if version < newest:
        connection.execute(update(_versions).values(version=newest))
