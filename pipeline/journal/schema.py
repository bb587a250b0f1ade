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

from pipeline.journal.records import State, Step

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
    Column("name", Text, nullable=False),
    Column("answer_only", Boolean, nullable=False),
    Column("deliveries", Integer, nullable=False, server_default=text("1")),
    Column("state", String, nullable=False),
    Column("step", String, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("callback_attempt", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("next_at", Double, nullable=False),
    Column("waiting_since", Double),
    Column("lease", String),
    Column("lease_until", Double),
    Column("holder", Text),
    Column("code", String),
    Column("message", Text, nullable=False, server_default=text("''")),
    Column("last_code", String),
    Column("last_message", Text, nullable=False, server_default=text("''")),
    Column("result_id", String),
    Column("result_name", Text),
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
    Column("token_expires", Double),
    Column("credentials", LargeBinary),
    Column("object", LargeBinary, nullable=False),
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


def literal(value: str) -> ColumnElement[str]:
    """A constant of ours as part of the SQL: a partial index is not found by a parameter."""
    return literal_column(f"'{value}'", String)


def queued(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs that wait for somebody to claim them."""
    return table.c.state == literal(State.QUEUED)


def running(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs that somebody works on."""
    return table.c.state == literal(State.RUNNING)


def failed(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs that ended without the result that was asked for."""
    return table.c.state == literal(State.FAILED)


def active(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs that have not ended."""
    return table.c.state.in_([literal(State.QUEUED), literal(State.RUNNING)])


def leased(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs whose holder may still write to the object: running ones, and superseded ones until
    their holder has let go or its lease is over."""
    return table.c.lease.is_not(None)


def calling_back(table: FromClause = jobs) -> ColumnElement[bool]:
    """Jobs of which only the callback is missing."""
    return active(table) & (table.c.step == literal(Step.CALLBACK))


def keeps_credentials(table: FromClause = jobs) -> ColumnElement[bool]:
    """Failed jobs that could be tried again."""
    return failed(table) & table.c.credentials.is_not(None)


def _index(
    name: str, *columns: Column[object], where: ColumnElement[bool], unique: bool = False
) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_index("job_active", jobs.c.object_id, jobs.c.hook_id, where=active(), unique=True)
_index("job_of_object_leased", jobs.c.object_id, where=leased(), unique=True)
_index("job_lease_end", jobs.c.lease_until, where=leased())
_index("job_due", jobs.c.next_at, jobs.c.id, where=queued())
_index("job_calling_back", jobs.c.id, where=calling_back())
_index("job_relayed", jobs.c.relay_token_hash, where=jobs.c.relay_token_hash.is_not(None))
_index("job_ended", jobs.c.ended_at, where=jobs.c.ended_at.is_not(None))
_index("job_token_expiry", jobs.c.token_expires, where=keeps_credentials())
Index("job_state", jobs.c.state, jobs.c.created_at)
Index("job_object", jobs.c.object_id)

#: What leads from one version of the schema to the next: the first entry from 1 to 2, and so on.
#: ``metadata`` above is always the newest version.
UPGRADES: tuple[Callable[[Connection], None], ...] = ()


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
