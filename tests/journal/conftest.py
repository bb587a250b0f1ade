"""Each test of the journal runs on SQLite and on PostgreSQL, in a database of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from pipeline.journal import Journal
from tests.databases import DATABASES, database
from tests.journal.deliveries import Clock
from tests.journal.line import Line

OpenJournal = Callable[..., Journal]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an SQLite file that does not exist yet."""
    with database("sqlite", tmp_path) as url:
        yield url


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


@pytest.fixture
def line(postgresql_url: str) -> Iterator[Line]:
    """The way to PostgreSQL."""
    line = Line(postgresql_url)
    with closing(line):
        yield line


@pytest.fixture
def held_up(journal: Journal) -> Iterator[threading.Event]:
    """The writing thread is busy until the event is set."""
    go_on, busy = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        busy.set()
        go_on.wait(10)

    thread = threading.Thread(target=journal._storage.write, args=(wait,))
    thread.start()
    busy.wait(10)
    yield go_on
    go_on.set()
    thread.join()
