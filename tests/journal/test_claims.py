"""Claims and leases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from pipeline.errors import LeaseLost
from pipeline.journal import Job, Journal, JournalUnavailable, Progress, State, Step
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
    assert [job.id for job in claimed_jobs] == [receipt.job_id for receipt in receipts]
    assert all(job.state == State.RUNNING and job.holder == "host" for job in claimed_jobs)


def test_nothing_is_claimed_before_it_is_due(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.wait(job.id, lease, at=clock.now + 5, message="no hashes yet")
    clock.now += 4.9
    assert journal.claim("host", 1, LEASE) == []
    clock.now += 0.1
    assert claimed(journal)[0].id == job.id


def test_two_jobs_of_one_source_do_not_run_at_once(journal: Journal) -> None:
    journal.enqueue(delivery())
    journal.enqueue(delivery(hook_id="OTHER"))
    first, _ = claimed(journal)
    assert journal.claim("other host", 10, LEASE) == []
    assert succeed(journal, first)
    assert {first.hook_id, claimed(journal)[0].hook_id} == {"HOOK", "OTHER"}


def test_the_database_itself_refuses_a_second_lease_on_an_object(journal: Journal) -> None:
    journal.enqueue(delivery())
    journal.enqueue(delivery(hook_id="OTHER"))
    claimed(journal)
    lease = {"state": State.RUNNING, "lease": "another", "next_at": None}
    with pytest.raises(JournalUnavailable, match=r"UNIQUE|UniqueViolation"):
        journal._writer.run(lambda c: c.execute(update(jobs).values(lease)))


def test_what_waits_for_its_object_does_not_hold_up_the_others(journal: Journal) -> None:
    for number in range(50):
        journal.enqueue(delivery(hook_id=f"HOOK{number}"))
    journal.claim("host", 1, LEASE)
    receipt = journal.enqueue(delivery(1))
    assert claimed(journal)[0].id == receipt.job_id


def test_a_lost_job_is_taken_over_with_its_attempt_counted(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    lost, lease = claimed(journal)
    clock.now += LEASE
    again, _ = claimed(journal, "other host")
    assert (again.id, again.attempt, again.holder) == (lost.id, 1, "other host")
    assert [(past.number, past.code) for past in journal.attempts(lost.id)] == [(1, "lost")]
    with pytest.raises(LeaseLost):
        journal.confirm(lost.id, lease)


def test_a_lost_callback_counts_as_an_attempt_of_the_callback(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    clock.now += 1
    journal.worked(job.id, lease, DONE)
    journal.callback_sending(job.id, lease)
    clock.now += LEASE
    again, _ = claimed(journal)
    assert (again.step, again.outcome) == (Step.CALLBACK, DONE)
    assert (again.attempt, again.callback_attempt) == (1, 1)
    assert again.callback_sent_at == NOW + 1


def test_a_renewed_lease_is_kept_and_shows_the_progress(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    clock.now += LEASE - 1
    assert journal.renew({job.id: (lease, Progress("upload", 5, 3))}, LEASE) == {job.id}
    clock.now += LEASE - 1
    assert journal.claim("other host", 1, LEASE) == []
    assert journal.confirm(job.id, lease) == 1
    assert journal.job(job.id).progress == Progress("upload", 5, 3)


def test_renewing_tells_which_jobs_are_lost(journal: Journal) -> None:
    for number in range(3):
        journal.enqueue(delivery(number))
    jobs = journal.claim("host", 3, LEASE)
    leases = {job.id: (job.lease or "", Progress("download")) for job in jobs}
    journal.expire("host")
    [taken] = journal.claim("other host", 1, LEASE)
    assert journal.renew(leases, LEASE) == set()
    assert journal.confirm(taken.id, taken.lease or "") == 1


def test_a_lease_that_is_over_confirms_nothing(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    clock.now += LEASE
    with pytest.raises(LeaseLost):
        journal.confirm(job.id, lease)


def test_the_jobs_of_a_holder_known_to_be_dead_are_due_at_once(journal: Journal) -> None:
    journal.enqueue(delivery(0))
    journal.enqueue(delivery(1))
    dead = journal.claim("dead", 1, LEASE)
    alive = journal.claim("alive", 1, LEASE)
    assert sorted(journal.holders()) == ["alive", "dead"]
    journal.expire("dead")
    assert [job.id for job in journal.claim("alive", 2, LEASE)] == [job.id for job in dead]
    assert journal.confirm(alive[0].id, alive[0].lease or "") == 1


def test_a_dispatcher_knows_when_to_look_again(journal: Journal) -> None:
    assert journal.next_due() is None
    journal.enqueue(delivery())
    assert journal.next_due() == NOW
    job, lease = claimed(journal)
    assert journal.next_due() == NOW + LEASE
    journal.enqueue(delivery(hook_id="OTHER"))
    assert journal.next_due() == NOW + LEASE
    journal.wait(job.id, lease, at=NOW + 300, message="no hashes yet")
    assert journal.next_due() == NOW


def test_threads_of_two_processes_never_share_a_job_or_an_object(
    journal: Journal, open_journal: OpenJournal
) -> None:
    journals = [journal, open_journal()]
    for number in range(20):
        journal.enqueue(delivery(number))
        journal.enqueue(delivery(number, hook_id="OTHER"))
    at_work: set[str] = set()
    done: list[Job] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        mine = journals[number % 2]
        while len(done) < 40:
            for job in mine.claim(f"host{number}", 3, LEASE):
                with lock:
                    assert job.object_id not in at_work
                    at_work.add(job.object_id)
                mine.confirm(job.id, job.lease or "")
                with lock:
                    at_work.remove(job.object_id)
                    done.append(job)
                assert succeed(mine, job)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len({job.id for job in done}) == len(done) == 40
