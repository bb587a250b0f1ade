"""Group commit."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from pipeline.journal import Journal, JournalUnavailable, State
from pipeline.journal import writer as writer_module
from tests.durability.kept import eventually
from tests.journal.deliveries import delivery


@pytest.fixture
def commits(journal: Journal) -> list[int]:
    """One entry for each commit of the journal."""
    seen: list[int] = []

    def note(_: Connection) -> None:
        seen.append(1)

    event.listen(journal._storage._database.writing, "commit", note)
    return seen


def _all_waiting(journal: Journal, number: int) -> bool:
    return journal._storage._writer._inbox.qsize() == number


def test_what_gathers_while_one_commits_is_committed_at_once(
    journal: Journal, held_up: threading.Event, commits: list[int]
) -> None:
    with ThreadPoolExecutor(20) as threads:
        futures = [threads.submit(journal.enqueue, delivery(number)) for number in range(20)]
        while not _all_waiting(journal, 20):
            pass
        held_up.set()
        assert len({future.result().job_id for future in futures}) == 20
    assert len(commits) == 2


def test_in_a_crowd_a_commit_waits_for_more(
    journal: Journal,
    held_up: threading.Event,
    commits: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "_GATHERING", 1.0)
    with ThreadPoolExecutor(20) as threads:
        crowd = [threads.submit(journal.enqueue, delivery(number)) for number in range(20)]
        while not _all_waiting(journal, 20):
            pass
        held_up.set()
        for future in crowd:
            future.result()
        first = threads.submit(journal.enqueue, delivery(20))
        while not first.running() or not _all_waiting(journal, 0):
            pass
        assert not first.done()
        second = threads.submit(journal.enqueue, delivery(21))
        assert first.result().job_id != second.result().job_id
    assert len(commits) == 3


def test_who_comes_alone_is_not_kept_waiting(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_GATHERING", 60.0)
    for number in range(5):
        journal.enqueue(delivery(number))
    assert journal.counts()[State.QUEUED] == 5


def test_what_comes_while_another_process_has_its_turn_joins_the_batch(sqlite_url: str) -> None:
    journal, other = Journal(sqlite_url), Journal(sqlite_url)
    with ExitStack() as opened, ThreadPoolExecutor(8) as threads:
        for one in (journal, other):
            one.open()
            opened.callback(one.close)
        journal.probe()
        commits: list[Connection] = []
        event.listen(journal._storage._database.writing, "commit", commits.append)
        # The first checkpoint would wait for its turn, and no delivery be taken.
        eventually(lambda: journal._storage._writer._until_checkpoint() is None)
        with other._storage._database.turn():
            futures = [threads.submit(journal.enqueue, delivery(number)) for number in range(8)]
            eventually(lambda: _all_waiting(journal, 7))
        assert len({future.result().job_id for future in futures}) == 8
    assert len(commits) == 1


def test_nothing_is_acknowledged_before_it_is_committed(
    journal: Journal, held_up: threading.Event
) -> None:
    order: list[str] = []
    event.listen(journal._storage._database.writing, "commit", lambda _: order.append("committing"))
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(journal.enqueue, delivery())
        future.add_done_callback(lambda _: order.append("acknowledged"))
        held_up.set()
        future.result()
    assert order[-2:] == ["committing", "acknowledged"]


def test_of_a_batch_only_the_write_that_is_wrong_fails(
    journal: Journal, held_up: threading.Event
) -> None:
    def wrong(connection: Connection) -> None:
        connection.execute(text("INSERT INTO notes VALUES ('wrong', NULL)"))

    with ThreadPoolExecutor(3) as threads:
        before = threads.submit(journal.enqueue, delivery(0))
        culprit = threads.submit(journal._storage.write, wrong)
        after = threads.submit(journal.note, "right", "1")
        while not _all_waiting(journal, 3):
            pass
        held_up.set()
        assert isinstance(culprit.exception(), JournalUnavailable)
        before.result()
        after.result()
    assert journal.counts()[State.QUEUED] == 1
    assert (journal.noted("right"), journal.noted("wrong")) == ("1", None)


def test_each_who_is_refused_gets_an_exception_of_its_own(
    journal: Journal, held_up: threading.Event
) -> None:
    commits: list[Connection] = []

    def away_after_the_first(connection: Connection) -> None:
        commits.append(connection)
        if len(commits) > 1:
            raise OperationalError("COMMIT", None, Exception("away"))

    writing = journal._storage._database.writing
    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(journal.enqueue, delivery(number)) for number in range(3)]
        while not _all_waiting(journal, 3):
            pass
        event.listen(writing, "commit", away_after_the_first)
        held_up.set()
        errors = [future.exception() for future in futures]
        event.remove(writing, "commit", away_after_the_first)
    assert [type(error) for error in errors] == [JournalUnavailable] * 3
    assert len({id(error) for error in errors}) == 3
    ids = {error.job_id for error in errors if isinstance(error, JournalUnavailable)}
    assert len(ids) == 3
    assert "" not in ids


def test_a_mistake_of_ours_is_told_to_its_maker_and_stops_nobody_else(journal: Journal) -> None:
    def mistaken(_: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        journal._storage.write(mistaken)
    journal.probe()


def test_a_file_system_that_gives_no_locks_refuses_writes_and_stops_nobody_for_good(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    journal = Journal(sqlite_url)
    journal.open()
    with closing(journal):
        journal.probe()
        monkeypatch.setattr(fcntl, "flock", no_locks)
        for _ in range(3):
            with pytest.raises(JournalUnavailable, match="OSError"):
                journal.enqueue(delivery())
        assert journal.is_alive
        monkeypatch.undo()
        assert not journal.enqueue(delivery()).duplicate


def test_a_file_system_that_gives_no_locks_is_asked_for_a_checkpoint_now_and_then_only(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    enough = threading.Event()

    def no_locks_for_the_writer(*_: int) -> None:
        if threading.current_thread().name != "journal-writer":
            return
        asked.append(time.monotonic())
        if len(asked) == 3:
            enough.set()
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(writer_module, "_CHECKPOINT_PAUSE", 0.3)
    monkeypatch.setattr(fcntl, "flock", no_locks_for_the_writer)
    journal = Journal(sqlite_url)
    journal.open()
    with closing(journal):
        assert enough.wait(10)
    assert asked[2] - asked[0] >= 0.6


def test_nobody_waits_for_ever(
    journal: Journal, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_PATIENCE", 0.05)
    with pytest.raises(JournalUnavailable, match="no answer in time"):
        journal.enqueue(delivery())
    monkeypatch.undo()
    held_up.set()
    journal.probe()
    assert journal.counts()[State.QUEUED] == 0


def test_a_closed_journal_says_so_at_once(journal: Journal) -> None:
    journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.enqueue(delivery())


def test_an_error_quotes_nothing_of_what_was_written(journal: Journal) -> None:
    def refused(connection: Connection) -> Any:
        values = {"name": "MARKED", "value": None}
        return connection.execute(text("INSERT INTO notes VALUES (:name, :value)"), values)

    with pytest.raises(JournalUnavailable) as raised:
        journal._storage.write(refused)
    error: BaseException | None = raised.value
    assert "MARKED" not in str(error)
    assert "INSERT" not in str(error)
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
