"""Trouble with the database itself: an error of its own kind, and recovery without a restart."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.journal import Journal, JournalUnavailable, State
from tests.journal.deliveries import Clock, delivery
from tests.journal.line import Line


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_deliveries_until_there_is_room(
    sqlite_url: str, tmp_path: Path
) -> None:
    journal = Journal(sqlite_url)
    journal.open()
    with closing(journal):
        journal.enqueue(delivery(0))
        with full_disk((tmp_path / "journal.db-wal").stat().st_size):
            with pytest.raises(JournalUnavailable):
                journal.enqueue(delivery(1))
            with pytest.raises(JournalUnavailable):
                journal.probe()
            assert journal.counts()[State.QUEUED] == 1
        assert not journal.enqueue(delivery(1)).duplicate
        assert {job.object_id for job in journal.jobs()} == {"OBJECT0", "OBJECT1"}


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"cannot be opened: .*No such file"):
        Journal(f"sqlite:///{tmp_path}/missing/journal.db").open()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(JournalUnavailable, match="SQLITE_NOTADB"):
        Journal(f"sqlite:///{tmp_path}/journal.db").open()


def test_a_journal_recovers_when_postgresql_comes_back(line: Line, clock: Clock) -> None:
    journal = Journal(line.url, clock=clock)
    journal.open()
    with closing(journal):
        journal.enqueue(delivery(0))
        line.cut()
        for ask in (journal.probe, journal.counts, lambda: journal.enqueue(delivery(1))):
            with pytest.raises(JournalUnavailable):
                ask()
        line.mend()
        assert journal.enqueue(delivery(0)).duplicate
        journal.enqueue(delivery(1))
        assert len(journal.claim("host", 5, 60)) == 2


def test_a_journal_that_starts_without_postgresql_begins_when_it_comes(
    line: Line, clock: Clock
) -> None:
    line.cut()
    journal = Journal(line.url, clock=clock)
    journal.open()
    with closing(journal):
        for ask in (journal.probe, journal.counts):
            with pytest.raises(JournalUnavailable, match="OperationalError") as raised:
                ask()
            assert str(line.port) not in str(raised.value)
        line.mend()
        assert journal.counts()[State.QUEUED] == 0
        assert not journal.enqueue(delivery(0)).duplicate
