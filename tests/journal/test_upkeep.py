"""Cleaning up, putting back, and what all hosts share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.journal import HeldJob, Journal, Outcome, State, Step, UnknownJob
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import (
    DAY,
    EXPIRES,
    LEASE,
    NOW,
    Clock,
    claimed,
    delivery,
    fail,
    succeed,
)


def test_ended_jobs_are_forgotten_after_their_time(open_journal: OpenJournal, clock: Clock) -> None:
    journal = open_journal(retention=10)
    old = journal.enqueue(delivery())
    assert succeed(claimed(journal))
    clock.now += 9 * DAY
    young = journal.enqueue(delivery())
    assert fail(claimed(journal))
    waiting = journal.enqueue(delivery(1))
    clock.now = NOW + 11 * DAY
    journal.housekeeping()
    assert {job.id for job in journal.jobs()} == {young.job_id, waiting.job_id}
    assert journal.attempts(old.job_id) == []


def test_a_failed_job_is_put_back_from_its_beginning(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.note_result("RESULT", "plants.json")
    held.worked(Outcome("upload_failed", "refused"))
    assert fail(held, "upload_failed")
    clock.now += 60
    assert journal.put_back([held.job.id]) == [(held.job.id, None)]
    again = claimed(journal).job
    assert (again.step, again.attempt, again.callback_attempt) == (Step.WORK, 0, 0)
    assert (again.failures, again.lost, again.outage_since) == (0, 0, None)
    assert (again.outcome, again.callback_since, again.ended_at) == (None, None, None)
    assert (again.result_id, again.hook) == ("RESULT", delivery())


def test_all_failed_jobs_are_put_back(journal: Journal) -> None:
    for number in range(3):
        journal.enqueue(delivery(number))
    succeeded, *failed = journal.claim("host", 3, LEASE)
    assert succeed(succeeded)
    assert all(fail(held) for held in failed)
    assert journal.put_back() == [(held.job.id, None) for held in failed]


def test_what_cannot_be_put_back_says_why(journal: Journal, clock: Clock) -> None:
    ids = []
    for number in range(4):
        clock.now += 1
        ids.append(journal.enqueue(delivery(number)).job_id)
    succeeded, failed, scrubbed, running = journal.claim("host", 4, LEASE)
    assert succeed(succeeded)
    assert fail(failed)
    assert fail(scrubbed, "invalid_secret", scrub=True)
    newer = journal.enqueue(delivery(1))
    assert journal.put_back([*ids, "0"]) == [
        (succeeded.job.id, "it is succeeded"),
        (failed.job.id, f"job {newer.job_id} of the same object is newer; it is queued"),
        (scrubbed.job.id, "its credentials are gone"),
        (running.job.id, "it is running"),
        ("0", "there is no such job"),
    ]
    clock.now = EXPIRES
    assert journal.put_back([failed.job.id]) == [(failed.job.id, "its token has expired")]


@pytest.mark.parametrize("how", [succeed, fail])
def test_a_job_is_not_put_back_behind_a_newer_one_that_has_ended(
    journal: Journal, clock: Clock, how: Callable[[HeldJob], bool]
) -> None:
    old = journal.enqueue(delivery())
    assert fail(claimed(journal))
    clock.now += 1
    newer = journal.enqueue(delivery())
    assert how(claimed(journal))
    assert journal.put_back([old.job_id])[0][1] == (
        f"job {newer.job_id} of the same object is newer; it is {journal.job(newer.job_id).state}"
    )
    assert journal.job(old.job_id).state == State.FAILED


def test_a_job_is_not_put_back_beside_a_newer_one_though_the_clock_went_back(
    journal: Journal, clock: Clock
) -> None:
    old = journal.enqueue(delivery())
    assert fail(claimed(journal))
    clock.now -= 600
    newer = journal.enqueue(delivery())
    assert newer.job_id < old.job_id
    why = f"job {newer.job_id} of the same object is newer; it is queued"
    assert journal.put_back() == [(old.job_id, why)]


def test_newer_jobs_of_other_hooks_and_objects_do_not_keep_one_from_being_put_back(
    journal: Journal, clock: Clock
) -> None:
    old = journal.enqueue(delivery())
    assert fail(claimed(journal))
    clock.now += 1
    journal.enqueue(delivery(hook_id="OTHER"))
    journal.enqueue(delivery(1))
    assert journal.put_back([old.job_id]) == [(old.job_id, None)]


@pytest.mark.parametrize("jump", [-3600.0, -40 * DAY])
def test_a_clock_that_was_wrong_leaves_nothing_stuck(
    journal: Journal, clock: Clock, jump: float
) -> None:
    journal.enqueue(delivery(0))
    journal.enqueue(delivery(1))
    [lost] = journal.claim("dead", 1, LEASE)
    clock.now += jump
    journal.housekeeping()
    clock.now += LEASE
    jobs = [held.job for held in journal.claim("host", 5, LEASE)]
    if jump < -DAY:
        assert lost.job.id in {job.id for job in jobs}
    assert "OBJECT1" in {job.object_id for job in jobs}


def test_a_wait_of_years_is_the_work_of_a_wrong_clock(journal: Journal, clock: Clock) -> None:
    clock.now -= 5 * DAY
    journal.enqueue(delivery())
    held = claimed(journal)
    held.wait(seconds=4000 * DAY, message="not yet")
    clock.now = NOW
    journal.housekeeping()
    assert claimed(journal).job.id == held.job.id


def test_one_host_at_a_time_has_a_named_lease(
    journal: Journal, open_journal: OpenJournal, clock: Clock
) -> None:
    other = open_journal()
    assert journal.named_lease("reconcile", "host", 60)
    assert not other.named_lease("reconcile", "other host", 60)
    clock.now += 30
    assert journal.named_lease("reconcile", "host", 60)
    clock.now += 59
    assert not other.named_lease("reconcile", "other host", 60)
    clock.now += 1
    assert other.named_lease("reconcile", "other host", 60)
    clock.now -= 30 * DAY
    assert journal.named_lease("reconcile", "host", 60)


def test_a_named_lease_of_a_holder_known_to_be_dead_is_free_at_once(journal: Journal) -> None:
    assert journal.named_lease("reconcile", "dead", 60)
    assert journal.named_lease("create PARENT", "alive", 60)
    journal.expire("dead")
    assert journal.named_lease("reconcile", "alive", 60)
    assert not journal.named_lease("create PARENT", "another", 60)


def test_who_lost_a_named_lease_does_not_give_back_that_of_its_successor(
    journal: Journal, clock: Clock
) -> None:
    assert journal.named_lease("create PARENT", "slow", 60)
    clock.now += 60
    assert journal.named_lease("create PARENT", "successor", 60)
    journal.named_lease("create PARENT", "slow", 0)
    assert not journal.named_lease("create PARENT", "third", 60)
    journal.named_lease("create PARENT", "successor", 0)
    assert journal.named_lease("create PARENT", "third", 60)


def test_notes_are_shared_and_replaced(journal: Journal, open_journal: OpenJournal) -> None:
    assert journal.noted("reconciled") is None
    journal.note("reconciled", "1")
    journal.note("reconciled", "2")
    assert open_journal().noted("reconciled") == "2"


def test_jobs_are_listed_newest_first(journal: Journal, clock: Clock) -> None:
    ids: list[str] = []
    for number in range(4):
        clock.now += 1
        ids.insert(0, journal.enqueue(delivery(number)).job_id)
    oldest, _ = journal.claim("host", 2, LEASE)
    assert fail(oldest)
    assert [job.id for job in journal.jobs()] == ids
    assert [job.id for job in journal.jobs(State.QUEUED, limit=1)] == ids[:1]
    assert [job.id for job in journal.jobs(State.FAILED)] == [oldest.job.id]


def test_a_job_is_found_by_the_start_of_its_id(journal: Journal) -> None:
    first = journal.enqueue(delivery(0)).job_id
    second = journal.enqueue(delivery(1)).job_id
    common = next(n for n in range(16) if first[n] != second[n])
    assert journal.job(first[: common + 1].upper()).id == first
    with pytest.raises(UnknownJob, match="several jobs start with"):
        journal.job(first[:common])
    with pytest.raises(UnknownJob, match="no job starts with y"):
        journal.job("y")


def test_the_figures_are_right(journal: Journal, clock: Clock) -> None:
    assert journal.oldest_queued_seconds() == 0.0
    for number in range(4):
        journal.enqueue(delivery(number))
    first, second = journal.claim("host", 2, LEASE)
    first.worked(Outcome(None))
    assert fail(second)
    clock.now += 7
    assert journal.counts() == {State.QUEUED: 2, State.RUNNING: 1, State.FAILED: 1}
    assert journal.callback_backlog() == 1
    assert journal.oldest_queued_seconds() == 7.0


def test_what_is_known_of_an_object_is_all_its_jobs(journal: Journal) -> None:
    journal.enqueue(delivery(content_len=1))
    journal.enqueue(delivery(content_len=2))
    journal.enqueue(delivery(1))
    known = journal.known(["OBJECT0", "OBJECT9"])
    assert known["OBJECT9"] == []
    assert sorted((job.state, job.code) for job in known["OBJECT0"]) == [
        (State.FAILED, "superseded"),
        (State.QUEUED, None),
    ]
    assert {job.content.split(":")[0] for job in known["OBJECT0"]} == {"1", "2"}


def test_the_history_of_a_job_is_bounded(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.worked(Outcome(None))
    for _ in range(60):
        held.retry(seconds=0, error=Outcome("callback_failed", "busy"))
        held = claimed(journal)
    attempts = journal.attempts(held.job.id)
    assert (attempts[0].step, attempts[0].number) == (Step.WORK, 1)
    assert [past.number for past in attempts[1:]] == list(range(11, 61))


def test_a_probe_writes(journal: Journal, clock: Clock) -> None:
    journal.probe()
    assert journal.noted("probe") == str(clock.now)
