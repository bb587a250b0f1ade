"""Each test of the journal runs on SQLite and on PostgreSQL, in a database of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from pipeline.journal import Journal
from tests.journal.deliveries import Clock

POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")

OpenJournal = Callable[..., Journal]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """The URL of an empty schema in the PostgreSQL of ``TEST_POSTGRESQL_URL``."""
    schema = f"journal_{secrets.token_hex(6)}"
    with closing(_postgresql()) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        separator = "&" if "?" in POSTGRESQL_URL else "?"
        yield f"{POSTGRESQL_URL}{separator}options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def _postgresql() -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(POSTGRESQL_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL answers at TEST_POSTGRESQL_URL")


@pytest.fixture
def clock() -> Clock:
    """The time of all journals of a test."""
    return Clock()


@pytest.fixture
def open_journal(url: str, clock: Clock) -> Iterator[OpenJournal]:
    """Opens journals on the same database, as processes of an installation do."""
    opened: list[Journal] = []

    def open_one(**settings: object) -> Journal:
        journal = Journal(url, **{"clock": clock, **settings})  # type: ignore[arg-type]
        journal.open()
        opened.append(journal)
        return journal

    yield open_one
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal: OpenJournal) -> Journal:
    """An empty journal."""
    return open_journal()
