"""How a database is brought to the newest version."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, inspect, make_url, select, text

from pipeline.journal import Journal, JournalUnavailable, Outcome, State, schema
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import Clock, claimed, delivery, fail, succeed

#: What version 1 did not have.
_NOT_IN_1 = (
    "failures",
    "lost",
    "outage_since",
    "told_code",
    "told_message",
    "upload_begun",
    "source_sha256",
    "relay_bytes",
)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction of somebody who knows nothing of this program."""
    postgresql = make_url(url).get_backend_name() == "postgresql"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:") if postgresql else url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def make_it_version_1(url: str) -> None:
    """The database as version 1 has left it."""
    with connected(url) as connection:
        for column in _NOT_IN_1:
            connection.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
        connection.execute(text("DROP TABLE unverified_deliveries"))
        connection.execute(text("UPDATE schema_version SET version = 1"))


def shape(url: str) -> dict[str, Any]:
    """All tables: their columns by name, with type, default and whether they may be NULL."""
    with connected(url) as connection:
        found = inspect(connection)
        return {
            table: {
                column["name"]: (repr(column["type"]), column["default"], column["nullable"])
                for column in found.get_columns(table)
            }
            for table in found.get_table_names()
        }


def test_a_database_of_version_1_becomes_what_a_new_one_is(
    open_journal: OpenJournal, url: str
) -> None:
    open_journal().close()
    new = shape(url)
    make_it_version_1(url)
    assert shape(url) != new
    open_journal()
    assert shape(url) == new


def test_the_jobs_of_version_1_go_on_as_they_were(
    open_journal: OpenJournal, clock: Clock, url: str
) -> None:
    journal = open_journal()
    for number in range(4):
        clock.now += 1
        journal.enqueue(delivery(number))
    tried, told, untold, waiting = journal.claim("host", 4, 60)
    for _ in range(2):
        tried.retry(seconds=0, error=Outcome("timeout", "too long"))
        tried = claimed(journal)
    tried.release()
    told.worked(Outcome("invalid_input", "it is no ABCD"))
    told.callback_sending()
    assert fail(told, "invalid_input")
    assert fail(untold, "invalid_secret")
    waiting.release()
    journal.close()
    make_it_version_1(url)

    journal = open_journal()
    job = journal.job(tried.job.id)
    assert (job.attempt, job.failures, job.lost, job.outage_since) == (2, 2, 0, None)
    assert (job.upload_begun, job.source_sha256) == (False, None)
    assert journal.job(told.job.id).told == Outcome("invalid_input", "it is no ABCD")
    assert journal.job(untold.job.id).told is None
    assert journal.put_back([told.job.id]) == [(told.job.id, None)]
    again = journal.claim("host", 4, 60)
    assert {held.job.id for held in again} == {tried.job.id, told.job.id, waiting.job.id}
    assert [held.job.hook for held in again if held.job.id == waiting.job.id] == [delivery(3)]
    assert all(succeed(held) for held in again)


def test_a_process_of_version_1_goes_on_beside_this_one(journal: Journal, url: str) -> None:
    """It names the columns it knows, so all others must have defaults."""
    receipt = journal.enqueue(delivery())
    of_version_1 = [column for column in schema.jobs.c if column.name not in _NOT_IN_1]
    with connected(url) as connection:
        row = connection.execute(select(*of_version_1)).one()
        connection.execute(delete(schema.jobs))
        connection.execute(insert(schema.jobs).values(row._asdict()))
    assert succeed(claimed(journal))
    assert journal.job(receipt.job_id).state == State.SUCCEEDED


def test_processes_that_start_at_once_upgrade_one_after_the_other(
    open_journal: OpenJournal, url: str
) -> None:
    open_journal().enqueue(delivery())
    make_it_version_1(url)
    with ThreadPoolExecutor(4) as threads:
        journals = list(threads.map(lambda _: open_journal(), range(4)))
    assert [journal.counts()[State.QUEUED] for journal in journals] == [1, 1, 1, 1]


def test_an_older_database_is_upgraded_once_and_keeps_its_jobs(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_journal().enqueue(delivery())

    def add_a_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE jobs ADD COLUMN colour TEXT"))

    monkeypatch.setattr(schema, "UPGRADES", (*schema.UPGRADES, add_a_column))
    open_journal()
    assert claimed(open_journal()).job.hook == delivery()


def test_a_database_of_a_newer_program_is_left_alone(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    newest = 1 + len(schema.UPGRADES)
    monkeypatch.setattr(schema, "UPGRADES", (*schema.UPGRADES, lambda _: None))
    open_journal()
    monkeypatch.undo()
    known = f"its schema is version {newest + 1}, this program knows {newest}"
    with pytest.raises(JournalUnavailable, match=known):
        Journal(url).open()
