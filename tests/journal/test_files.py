"""What lies on the disk under SQLite."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.journal import Journal, Outcome, State
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import DONE, EXPIRES, LEASE, Clock, claimed, delivery, fail, succeed
from tests.payloads import MARKED, QUERY, token

MARKS = [*MARKED.values(), QUERY, token(EXPIRES)]
_PATIENCE = 10.0


@pytest.fixture
def url(sqlite_url: str) -> str:
    """These promises are about files."""
    return sqlite_url


@pytest.fixture
def lax_umask() -> Iterator[None]:
    """A process whose new files are everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)


def marks_in(directory: Path) -> set[str]:
    """Which of the marked credentials stand in any file there."""
    held = b"".join(file.read_bytes() for file in directory.iterdir())
    return {mark for mark in MARKS if mark.encode() in held}


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what the writing thread does by itself after a commit."""
    end = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.usefixtures("lax_umask")
def test_the_files_are_their_owners_alone(open_journal: OpenJournal, tmp_path: Path) -> None:
    open_journal().enqueue(delivery())
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert files == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm"], 0o600)


def test_a_file_that_others_could_read_is_closed_to_them(
    open_journal: OpenJournal, tmp_path: Path
) -> None:
    file = tmp_path / "journal.db"
    file.touch(mode=0o644)
    open_journal()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_commit_is_on_the_disk_and_deleted_bytes_are_overwritten(journal: Journal) -> None:
    database = journal._storage._database
    for engine in (database.reading, database.writing):
        with engine.connect() as connection:
            settings = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "secure_delete", "temp_store")
            }
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "secure_delete": 1,
            "temp_store": 2,
        }


def test_the_files_of_a_job_that_succeeded_hold_no_credentials(
    journal: Journal, tmp_path: Path
) -> None:
    for number in range(40):
        journal.enqueue(delivery(number))
    assert marks_in(tmp_path) == set(MARKS)
    for held in journal.claim("host", 40, LEASE):
        journal.renew([held], LEASE)
        assert succeed(held)
    wait_until(lambda: not marks_in(tmp_path))
    assert len(journal.jobs()) == 40


def test_credentials_are_gone_from_the_files_while_deliveries_go_on(
    journal: Journal, tmp_path: Path
) -> None:
    journal.enqueue(delivery(secret="MARKED-AND-GONE-AFTER-A-WHILE="))
    assert succeed(claimed(journal))
    number = 0

    def gone() -> bool:
        nonlocal number
        number += 1
        journal.enqueue(delivery(number))
        return not any(
            b"MARKED-AND-GONE-AFTER-A-WHILE" in file.read_bytes() for file in tmp_path.iterdir()
        )

    wait_until(gone)


def test_a_reader_in_the_way_delays_the_scrubbing_and_does_not_prevent_it(
    journal: Journal, tmp_path: Path
) -> None:
    journal.enqueue(delivery())
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchall()
        assert succeed(claimed(journal))
        journal.probe()
        assert marks_in(tmp_path) == set(MARKS)
        reader.execute("COMMIT")
    wait_until(lambda: not marks_in(tmp_path))


def test_the_files_forget_a_failed_job_once_its_token_expired(
    journal: Journal, clock: Clock, tmp_path: Path
) -> None:
    journal.enqueue(delivery())
    assert fail(claimed(journal))
    clock.now = EXPIRES
    journal.scrub()
    wait_until(lambda: not marks_in(tmp_path))


def test_the_files_forget_a_delivery_that_was_refused_or_came_too_late(
    journal: Journal, clock: Clock, tmp_path: Path
) -> None:
    refused = journal.enqueue_unverified(delivery(0))
    late = journal.enqueue_unverified(delivery(1))
    assert marks_in(tmp_path) == set(MARKS)
    assert journal.refuse(refused.job_id, Outcome("invalid_secret"))
    clock.now += 1
    journal.enqueue(delivery(1))
    assert succeed(claimed(journal))
    journal.admit(late.job_id)
    wait_until(lambda: not marks_in(tmp_path))


def test_the_files_forget_what_a_killed_process_had_no_time_to_clean(
    journal: Journal, open_journal: OpenJournal, tmp_path: Path
) -> None:
    journal.enqueue(delivery())
    claimed(journal).worked(DONE)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as killed:
        killed.execute("PRAGMA secure_delete = ON")
        killed.execute(
            "UPDATE jobs SET credentials = NULL, state = ?, lease = NULL, ended_at = 1",
            [State.SUCCEEDED],
        )
        killed.commit()
        assert marks_in(tmp_path) == set(MARKS)
        open_journal()
        wait_until(lambda: not marks_in(tmp_path))
