"""A delivery that was not acknowledged: whether it is in the journal all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event

from pipeline.aruna.hook import Hook
from pipeline.journal import Journal, JournalUnavailable, Receipt
from pipeline.journal import writer as writer_module
from tests.journal.deliveries import Clock, delivery
from tests.journal.line import Line, terminate

Enqueue = Callable[[Journal, Hook], Receipt]

WAYS: list[Enqueue] = [Journal.enqueue, Journal.enqueue_unverified]


def nobody_waits(_: float) -> None:
    raise AssertionError("it is certain at once")


@contextmanager
def at_the_next_commit(journal: Journal, happens: Callable[[Any], None]) -> Iterator[None]:
    """``happens`` is given the driver's connection just before it is asked to commit."""
    engine = journal._storage._database.writing
    left = [happens]

    def committing(connection: Connection) -> None:
        if left:
            left.pop()(connection.connection.dbapi_connection)

    event.listen(engine, "commit", committing)
    try:
        yield
    finally:
        event.remove(engine, "commit", committing)
    assert left == []


@pytest.fixture
def remote(line: Line, clock: Clock) -> Iterator[Journal]:
    """A journal whose way to PostgreSQL can be cut."""
    journal = Journal(line.url, clock=clock)
    journal.open()
    with closing(journal):
        yield journal


def stored(journal: Journal) -> set[str]:
    """The ids of all deliveries that are there."""
    return {job.id for job in journal.jobs()}


@pytest.mark.parametrize("enqueue", WAYS)
def test_a_commit_whose_answer_was_lost_is_made_sure_of_before_it_is_acknowledged(
    remote: Journal, postgresql_url: str, enqueue: Enqueue
) -> None:
    def answer_is_lost(driver: psycopg.Connection[Any]) -> None:
        commit_unseen(driver)
        terminate(postgresql_url, driver.info.backend_pid)

    with at_the_next_commit(remote, answer_is_lost):
        receipt = enqueue(remote, delivery())
    assert stored(remote) == {receipt.job_id}


@pytest.mark.parametrize("enqueue", WAYS)
@pytest.mark.parametrize("arrives", [True, False])
def test_a_delivery_in_doubt_is_looked_for_once_the_database_answers(
    remote: Journal, line: Line, arrives: bool, enqueue: Enqueue
) -> None:
    def cut(driver: psycopg.Connection[Any]) -> None:
        if arrives:
            commit_unseen(driver)
        line.cut()

    with at_the_next_commit(remote, cut), pytest.raises(JournalUnavailable) as raised:
        enqueue(remote, delivery())
    assert raised.value.in_doubt
    pauses: list[float] = []

    def mend(seconds: float) -> None:
        pauses.append(seconds)
        line.mend()

    assert remote.was_stored(raised.value, mend) is arrives
    assert len(pauses) == 1
    assert stored(remote) == ({raised.value.job_id} if arrives else set())


def test_a_delivery_that_never_reached_the_database_is_not_in_doubt(
    remote: Journal, line: Line
) -> None:
    line.cut()
    with pytest.raises(JournalUnavailable) as raised:
        remote.enqueue(delivery())
    assert not raised.value.in_doubt
    assert not remote.was_stored(raised.value, nobody_waits)
    line.mend()
    assert stored(remote) == set()


@pytest.mark.parametrize("enqueue", WAYS)
@pytest.mark.parametrize("arrives", [True, False])
def test_a_delivery_that_is_still_being_written_is_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, arrives: bool, enqueue: Enqueue
) -> None:
    go_on = threading.Event()

    def slow(_: Any) -> None:
        go_on.wait(10)
        if not arrives:
            raise OSError("no room")

    monkeypatch.setattr(writer_module, "_PATIENCE", 0.1)
    with at_the_next_commit(journal, slow):
        with pytest.raises(JournalUnavailable, match="no answer in time") as raised:
            enqueue(journal, delivery())
        monkeypatch.undo()
        assert journal.was_stored(raised.value, lambda _: go_on.set()) is arrives
    assert stored(journal) == ({raised.value.job_id} if arrives else set())


def test_a_delivery_that_nobody_began_to_write_is_never_written(
    journal: Journal, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_PATIENCE", 0.1)
    with pytest.raises(JournalUnavailable, match="no answer in time") as raised:
        journal.enqueue(delivery())
    monkeypatch.undo()
    assert not journal.was_stored(raised.value, nobody_waits)
    held_up.set()
    journal.probe()
    assert stored(journal) == set()


def test_who_gives_up_waiting_says_so_by_an_exception_of_its_own(
    remote: Journal, line: Line
) -> None:
    with (
        at_the_next_commit(remote, lambda _: line.cut()),
        pytest.raises(JournalUnavailable) as raised,
    ):
        remote.enqueue(delivery())

    class StoppingNow(Exception):
        pass

    def stop(_: float) -> None:
        raise StoppingNow

    with pytest.raises(StoppingNow):
        remote.was_stored(raised.value, stop)


def commit_unseen(driver: psycopg.Connection[Any]) -> None:
    """What was written is committed, and a transaction open as if it were not."""
    driver.commit()
    driver.execute("SELECT 1")
