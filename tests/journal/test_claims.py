"""Claims and leases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from pipeline.errors import LeaseLost
from pipeline.journal import Journal, JournalUnavailable, Progress, State, Step
from pipeline.journal.schema import jobs
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import DONE, LEASE, NOW, Clock, claimed, delivery, succeed


def test_what_waits_longest_is_claimed_first(journal: Journal, clock: Clock) -> None:
    receipts = []
    for number in (2, 0, 1):
        receipts.append(journal.enqueue(delivery(number)))
        clock.now += 1
    first_two = journal.claim("host", 2, LEASE)
    claimed_jobs = first_two + journal.claim("host", 2, LEASE)
    assert [held.job.id for held in claimed_jobs] == [receipt.job_id for receipt in receipts]
    assert all(held.job.state == State.RUNNING for held in claimed_jobs)
    assert {held.job.holder for held in claimed_jobs} == {"host"}


def test_nothing_is_claimed_before_it_is_due(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.wait(seconds=5, message="no hashes yet")
    clock.now += 4.9
    assert journal.claim("host", 1, LEASE) == []
    clock.now += 0.1
    assert claimed(journal).job.id == held.job.id


def test_two_jobs_of_one_source_do_not_run_at_once(journal: Journal) -> None:
    journal.enqueue(delivery())
    journal.enqueue(delivery(hook_id="OTHER"))
    first = claimed(journal)
    assert journal.claim("other host", 10, LEASE) == []
    assert succeed(first)
    assert {first.job.hook_id, claimed(journal).job.hook_id} == {"HOOK", "OTHER"}


def test_the_database_itself_refuses_a_second_lease_on_an_object(journal: Journal) -> None:
    journal.enqueue(delivery())
    journal.enqueue(delivery(hook_id="OTHER"))
    claimed(journal)
    lease = {"state": State.RUNNING, "lease": "another", "next_at": None}
    with pytest.raises(JournalUnavailable, match=r"UNIQUE|UniqueViolation"):
        journal._storage.write(lambda c: c.execute(update(jobs).values(lease)))


def test_what_waits_for_its_object_does_not_hold_up_the_others(journal: Journal) -> None:
    for number in range(50):
        journal.enqueue(delivery(hook_id=f"HOOK{number}"))
    journal.claim("host", 1, LEASE)
    receipt = journal.enqueue(delivery(1))
    assert claimed(journal).job.id == receipt.job_id


def test_a_lost_job_is_taken_over_with_its_attempt_counted(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    lost = claimed(journal)
    clock.now += LEASE
    again = claimed(journal, "other host").job
    assert (again.id, again.attempt, again.holder) == (lost.job.id, 1, "other host")
    assert (again.lost, again.failures) == (1, 0)
    assert [(past.number, past.code) for past in journal.attempts(again.id)] == [(1, "lost")]
    with pytest.raises(LeaseLost):
        lost.confirm()


def test_a_lost_callback_counts_as_an_attempt_of_the_callback(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    clock.now += 1
    held.worked(DONE)
    held.callback_sending()
    clock.now += LEASE
    again = claimed(journal).job
    assert (again.step, again.outcome) == (Step.CALLBACK, DONE)
    assert (again.attempt, again.callback_attempt, again.lost) == (1, 1, 0)
    assert again.callback_sent_at == NOW + 1


def test_a_renewed_lease_is_kept_and_shows_the_progress(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.meter.stage, held.meter.bytes_in, held.meter.bytes_out = "upload", 5, 3
    clock.now += LEASE - 1
    assert journal.renew([held], LEASE) == {held.job.id}
    clock.now += LEASE - 1
    assert journal.claim("other host", 1, LEASE) == []
    held.confirm()
    assert journal.job(held.job.id).progress == Progress("upload", 5, 3)


def test_renewing_tells_which_jobs_are_lost(journal: Journal) -> None:
    for number in range(3):
        journal.enqueue(delivery(number))
    lost = journal.claim("host", 3, LEASE)
    journal.expire("host")
    [taken] = journal.claim("other host", 1, LEASE)
    assert journal.renew(lost, LEASE) == set()
    assert journal.renew([*lost, taken], LEASE) == {taken.job.id}
    taken.confirm()


def test_a_lease_that_is_over_confirms_nothing(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    clock.now += LEASE
    with pytest.raises(LeaseLost):
        held.confirm()


def test_the_jobs_of_a_holder_known_to_be_dead_are_due_at_once(journal: Journal) -> None:
    journal.enqueue(delivery(0))
    journal.enqueue(delivery(1))
    dead = journal.claim("dead", 1, LEASE)
    alive = journal.claim("alive", 1, LEASE)
    assert sorted(journal.holders()) == ["alive", "dead"]
    journal.expire("dead")
    [taken_over] = journal.claim("alive", 2, LEASE)
    assert [taken_over.job.id] == [held.job.id for held in dead]
    alive[0].confirm()


def test_a_dispatcher_knows_when_to_look_again(journal: Journal) -> None:
    assert journal.next_due() is None
    journal.enqueue(delivery())
    assert journal.next_due() == NOW
    held = claimed(journal)
    assert journal.next_due() == NOW + LEASE
    journal.enqueue(delivery(hook_id="OTHER"))
    assert journal.next_due() == NOW + LEASE
    held.wait(seconds=300, message="no hashes yet")
    assert journal.next_due() == NOW


def test_threads_of_two_processes_never_share_a_job_or_an_object(
    journal: Journal, open_journal: OpenJournal
) -> None:
    journals = [journal, open_journal()]
    for number in range(20):
        journal.enqueue(delivery(number))
        journal.enqueue(delivery(number, hook_id="OTHER"))
    at_work: set[str] = set()
    done: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        mine = journals[number % 2]
        while len(done) < 40:
            for held in mine.claim(f"host{number}", 3, LEASE):
                with lock:
                    assert held.job.object_id not in at_work
                    at_work.add(held.job.object_id)
                held.confirm()
                with lock:
                    at_work.remove(held.job.object_id)
                    done.append(held.job.id)
                assert succeed(held)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(set(done)) == len(done) == 40
