"""Trouble with the database itself: an error of its own kind, and recovery without a restart."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from pipeline.journal import Journal, JournalUnavailable, State
from tests.journal.deliveries import DAY, LEASE, NOW, Clock, delivery
from tests.journal.line import Line, terminate


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


def sessions(journal: Journal) -> list[int]:
    """The writer's session of PostgreSQL, and one that is read by."""
    question = select(func.pg_backend_pid())
    return [
        journal._storage.write(lambda connection: connection.execute(question).scalar_one()),
        journal._storage.read(lambda connection: connection.execute(question).scalar_one()),
    ]


def test_sessions_that_postgresql_has_ended_are_replaced_before_anybody_is_refused(
    postgresql_url: str, clock: Clock
) -> None:
    journal = Journal(postgresql_url, clock=clock)
    journal.open()
    with closing(journal):
        ended = sessions(journal)
        terminate(postgresql_url, *ended)
        journal.enqueue(delivery(0))
        assert journal.counts()[State.QUEUED] == 1
        assert not set(ended) & set(sessions(journal))


def test_a_session_that_ends_amid_a_batch_refuses_nobody_in_it(
    postgresql_url: str, clock: Clock
) -> None:
    journal = Journal(postgresql_url, clock=clock)
    journal.open()
    first_try = [True]

    def dies_once(connection: Connection) -> None:
        if first_try:
            first_try.clear()
            terminate(postgresql_url, connection.scalar(select(func.pg_backend_pid())) or 0)

    with closing(journal), ThreadPoolExecutor(9) as threads:
        dying = threads.submit(journal._storage.write, dies_once)
        futures = [threads.submit(journal.enqueue, delivery(number)) for number in range(8)]
        assert dying.exception() is None
        assert len({future.result().job_id for future in futures}) == 8
        assert journal.counts()[State.QUEUED] == 8
    assert first_try == []


def test_no_clock_of_a_host_breaks_a_lease_on_postgresql(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as opened:

        def host() -> Journal:
            journal = Journal(postgresql_url)
            journal.open()
            opened.callback(journal.close)
            return journal

        right, early_bird = host(), host()
        right.enqueue(delivery(content_len=1))
        right.enqueue(delivery(1))
        held, waiting = right.claim("right", 2, LEASE)
        waiting.wait(seconds=600, message="no hashes yet")
        assert right.named_lease("reconcile", "right", LEASE)
        monkeypatch.setattr(time, "time", lambda: NOW + 10 * DAY)
        for wrong in (early_bird, host()):
            assert abs(wrong.now() - right.now()) < 60
            assert wrong.claim("wrong", 5, LEASE) == []
            assert not wrong.named_lease("reconcile", "wrong", LEASE)
            wrong.scrub()
            wrong.housekeeping()
        held.confirm()
        assert (right.job(waiting.job.id).next_at or 0) > right.now() + 300
