"""Reconcile by the service itself: in its turn, at the pool's pace, and gone when it is stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.aruna.client import Aruna
from pipeline.journal import Journal, Outcome, State, reconcile_runs
from pipeline.reconcile import periodic
from pipeline.reconcile.periodic import Reconciler
from pipeline.reconcile.run import RunLease
from pipeline.settings import Settings
from sandbox import forbidden
from tests.reconcile.conftest import Office, eventually
from tests.reconcile.test_found import delivery

Start = Callable[..., Reconciler]


@pytest.fixture
def journal(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """The service's journal."""
    monkeypatch.setattr(periodic, "_POLL", 0.05)
    monkeypatch.setattr(periodic, "_ROOM_POLL", 0.05)
    with office.journal() as opened:
        yield opened


@pytest.fixture
def start(office: Office, journal: Journal) -> Iterator[Start]:
    """Starts a reconciler of a service with these settings; it ends with the test."""
    with ExitStack() as started:

        def begin(every: float = 3600, **environment: str) -> Reconciler:
            settings = Settings.from_environment({**os.environ, **environment})
            aruna = Aruna(settings.aruna_server_address)
            started.callback(aruna.close)
            made = Reconciler(
                settings,
                journal,
                aruna,
                token=office.sandbox.owner_token,
                every=every,
                older_than=0,
            )
            made.start()
            started.callback(made.stop)
            return made

        yield begin


def run_has_ended(journal: Journal) -> bool:
    """Whether there was a run."""
    return reconcile_runs.read(journal).last_run > 0


def test_a_run_finds_what_was_lost_and_is_noted(
    office: Office, journal: Journal, start: Start
) -> None:
    source = office.lose("plants.xml")
    start()
    eventually(lambda: run_has_ended(journal))
    assert [job.object_id for job in journal.jobs()] == [source]
    assert reconcile_runs.read(journal).found == 1


def test_no_more_jobs_are_queued_than_the_pool_takes(
    office: Office, journal: Journal, start: Start
) -> None:
    sources = {office.lose(f"{number}.xml") for number in range(7)}

    def queued() -> int:
        number = journal.counts()[State.QUEUED]
        assert number <= 2
        return number

    start(WORKER_THREADS="2")
    done: set[str] = set()
    while done != sources:
        eventually(lambda: queued() == min(2, len(sources - done)))
        (job,) = journal.claim("host", 1, 60)
        journal.ended(
            job.id, job.lease or "", state=State.SUCCEEDED, outcome=Outcome(None), deliveries=1
        )
        done.add(job.object_id)
    eventually(lambda: run_has_ended(journal))
    assert reconcile_runs.read(journal).found == 7


def test_one_instance_of_them_all_runs_at_a_time(
    office: Office, journal: Journal, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.lose("plants.xml")
    answers: list[bool] = []
    take = RunLease.take

    def observed(lease: RunLease) -> bool:
        answers.append(take(lease))
        return answers[-1]

    monkeypatch.setattr(RunLease, "take", observed)
    journal.named_lease("reconcile", "another process", 60)
    start()
    eventually(lambda: answers == [False, False])
    assert office.sandbox.requests("grpc.ListOwnedHooks") == []
    journal.named_lease("reconcile", "another process", 0)
    eventually(lambda: run_has_ended(journal))
    assert len(journal.jobs()) == 1


def test_it_is_not_due_again_before_its_time(
    office: Office, journal: Journal, start: Start
) -> None:
    reconcile_runs.add(journal, found=0, unknown=0, now=time.time())
    first = start(every=3600)
    second = start(every=0.01)
    eventually(lambda: len(office.sandbox.requests("grpc.ListOwnedHooks")) > 2)
    first.stop()
    second.stop()
    calls = len(office.sandbox.requests("grpc.ListOwnedHooks"))
    start(every=3600).stop()
    assert len(office.sandbox.requests("grpc.ListOwnedHooks")) == calls


def test_what_could_not_be_looked_at_is_counted(
    office: Office, journal: Journal, start: Start
) -> None:
    office.lose("plants.xml")

    def refused(_: Any) -> None:
        raise forbidden()

    office.sandbox.at("grpc.GetDownloadURL", refused, times=None)
    start()
    eventually(lambda: run_has_ended(journal))
    noted = reconcile_runs.read(journal)
    assert (noted.found, noted.unknown, journal.jobs()) == (0, 1, [])


def test_an_aruna_that_does_not_answer_is_no_run(journal: Journal, start: Start) -> None:
    with capture_logs() as logged:
        start(ARUNA_SERVER_ADDRESS="http://127.0.0.1:9")
        eventually(lambda: [entry["event"] for entry in logged] == ["reconcile.failed"])
    assert logged[0]["why"].startswith("Aruna: it does not answer")
    assert not run_has_ended(journal)


def test_a_stop_lets_the_next_one_begin_at_once(
    office: Office, journal: Journal, start: Start
) -> None:
    for number in range(3):
        office.lose(f"{number}.xml")
    waiting = start(WORKER_THREADS="1")
    eventually(lambda: journal.counts()[State.QUEUED] == 1)
    waiting.stop()
    assert not run_has_ended(journal)
    assert journal.named_lease("reconcile", "another process", 60)


def test_jobs_that_are_put_off_to_later_hold_up_no_run(
    office: Office, journal: Journal, start: Start
) -> None:
    waiting = office.lose("waiting.xml")
    journal.enqueue(delivery(office, waiting))
    (job,) = journal.claim("host", 1, 60)
    journal.retry(
        job.id, job.lease or "", at=time.time() + 3600, code="callback_failed", message=""
    )
    source = office.lose("plants.xml")
    start(WORKER_THREADS="1")
    eventually(lambda: run_has_ended(journal))
    assert {one.object_id for one in journal.jobs()} == {waiting, source}


def test_a_run_that_waits_for_room_lets_another_one_begin(
    office: Office, journal: Journal, start: Start
) -> None:
    for number in range(3):
        office.lose(f"{number}.xml")
    with capture_logs() as logged:
        start(WORKER_THREADS="1")
        eventually(lambda: journal.counts()[State.QUEUED] == 1)
        eventually(lambda: journal.named_lease("reconcile", "another process", 60))
        journal.claim("host", 1, 60)
        eventually(lambda: "reconcile.interrupted" in [entry["event"] for entry in logged])
    assert journal.counts()[State.QUEUED] == 0


def test_a_defect_ends_a_run_and_not_the_thread(
    office: Office, journal: Journal, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic, "_AFTER_FAILURE", 0.05)
    office.lose("plants.xml")
    journal.note("reconcile", "no JSON")
    with capture_logs() as logged:
        start()
        eventually(lambda: "reconcile.defect" in [entry["event"] for entry in logged])
        journal.note("reconcile", '{"last_run": 0, "found": 0, "unknown": 0}')
        eventually(lambda: run_has_ended(journal))
