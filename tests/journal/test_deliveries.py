"""What a delivery becomes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.aruna.objects import fingerprint
from pipeline.errors import LeaseLost
from pipeline.journal import IGNORED, Journal, Outcome, State, Step
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import EXPIRES, LEASE, NOW, Clock, claimed, delivery, fail, succeed


def test_a_delivery_is_kept_as_it_came(journal: Journal) -> None:
    hook = delivery()
    receipt = journal.enqueue(hook)
    job = journal.job(receipt.job_id)
    assert not receipt.duplicate
    assert job.hook == hook
    assert (job.state, job.step, job.deliveries) == (State.QUEUED, Step.WORK, 1)
    assert (job.content, job.name, job.token_expires) == (
        fingerprint(hook.object),
        "plants0.xml",
        EXPIRES,
    )
    assert (job.created_at, job.next_at) == (NOW, NOW)


def test_a_kept_delivery_is_there_after_the_process_ended(
    journal: Journal, open_journal: OpenJournal
) -> None:
    receipt = journal.enqueue(delivery())
    assert open_journal().job(receipt.job_id).hook == delivery()


def test_the_same_delivery_again_is_no_second_job(journal: Journal) -> None:
    first = journal.enqueue(delivery(access_key="FIRST"))
    second = journal.enqueue(delivery(access_key="SECOND"))
    [job] = journal.jobs()
    assert (second.job_id, second.duplicate) == (first.job_id, True)
    assert job.deliveries == 2
    assert job.credentials is not None
    assert job.credentials.access_key == "SECOND"


def test_a_duplicate_does_not_disturb_the_job_that_runs(journal: Journal) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.enqueue(delivery())
    assert journal.confirm(job.id, lease) == 2
    assert journal.claim("other host", 1, LEASE) == []


def test_a_duplicate_does_not_shorten_the_pause_of_work_that_failed(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.retry(job.id, lease, at=clock.now + 30, code="gfbio_unavailable", message="busy")
    journal.enqueue(delivery())
    assert journal.job(job.id).next_at == clock.now + 30


def test_a_duplicate_makes_a_callback_that_waits_due_and_forgets_that_it_was_sent(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.worked(job.id, lease, Outcome(None))
    journal.callback_sending(job.id, lease)
    journal.retry(job.id, lease, at=clock.now + 600, code="callback_failed", message="no answer")
    clock.now += 10
    journal.enqueue(delivery())
    again, _ = claimed(journal)
    assert (again.id, again.deliveries, again.callback_sent_at) == (job.id, 2, None)


def test_copies_that_arrive_at_once_are_one_job(journal: Journal) -> None:
    hooks = [delivery(number % 3) for number in range(60)]
    with ThreadPoolExecutor(12) as threads:
        receipts = list(threads.map(journal.enqueue, hooks))
    assert len({receipt.job_id for receipt in receipts}) == 3
    assert sum(not receipt.duplicate for receipt in receipts) == 3
    assert [job.deliveries for job in journal.jobs()] == [20, 20, 20]


def test_two_hooks_and_two_sources_are_jobs_of_their_own(journal: Journal) -> None:
    hooks = [delivery(0), delivery(1), delivery(0, hook_id="OTHER")]
    assert len({journal.enqueue(hook).job_id for hook in hooks}) == 3


def test_a_delivery_after_the_end_is_a_new_job(journal: Journal) -> None:
    first = journal.enqueue(delivery())
    assert succeed(journal, claimed(journal)[0])
    second = journal.enqueue(delivery())
    assert not second.duplicate
    assert fail(journal, claimed(journal)[0])
    third = journal.enqueue(delivery())
    assert len({first.job_id, second.job_id, third.job_id}) == 3


def test_an_overwritten_source_ends_the_job_of_its_old_content(journal: Journal) -> None:
    old = journal.enqueue(delivery(content_len=1))
    new = journal.enqueue(delivery(content_len=2))
    superseded = journal.job(old.job_id)
    assert not new.duplicate
    assert superseded.state == State.FAILED
    assert superseded.outcome is not None
    assert superseded.outcome.code == "superseded"
    assert superseded.credentials is None
    assert claimed(journal)[0].id == new.job_id


def test_contents_that_arrive_at_once_leave_one_job_to_do(journal: Journal) -> None:
    hooks = [delivery(content_len=number + 1) for number in range(20)]
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(journal.enqueue, hooks))
    assert journal.counts() == {State.QUEUED: 1, State.RUNNING: 0, State.FAILED: 19}


def test_the_holder_of_a_superseded_job_is_told_before_it_writes(journal: Journal) -> None:
    journal.enqueue(delivery(content_len=1))
    job, lease = claimed(journal)
    journal.enqueue(delivery(content_len=2))
    with pytest.raises(LeaseLost):
        journal.confirm(job.id, lease)


def test_the_object_is_not_given_away_before_the_old_holder_let_go(journal: Journal) -> None:
    journal.enqueue(delivery(content_len=1))
    job, lease = claimed(journal)
    new = journal.enqueue(delivery(content_len=2))
    assert journal.claim("other host", 1, LEASE) == []
    journal.release(job.id, lease)
    assert claimed(journal)[0].id == new.job_id
    assert journal.job(job.id).state == State.FAILED


def test_the_object_is_given_away_once_the_lease_of_the_old_holder_is_over(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery(content_len=1))
    old, _ = claimed(journal)
    new = journal.enqueue(delivery(content_len=2))
    clock.now += LEASE
    assert claimed(journal)[0].id == new.job_id
    assert journal.attempts(old.id) == []


def test_a_delivery_that_needs_an_answer_alone_starts_with_its_callback(journal: Journal) -> None:
    journal.enqueue(delivery(), outcome=Outcome(IGNORED, "the object is a result"))
    job, _ = claimed(journal)
    assert (job.step, job.outcome) == (Step.CALLBACK, Outcome(IGNORED, "the object is a result"))
    assert job.callback_since == NOW


def test_work_answers_for_a_delivery_that_needs_an_answer_alone(journal: Journal) -> None:
    work = journal.enqueue(delivery(content_len=1))
    refused = journal.enqueue(
        delivery(content_len=2, access_key="OTHER"), outcome=Outcome("invalid_hook", "no name")
    )
    job = journal.job(work.job_id)
    assert refused.job_id == work.job_id
    assert (job.deliveries, job.step, job.outcome) == (2, Step.WORK, None)
    assert job.hook == delivery(content_len=1)


def test_work_takes_the_place_of_an_answer(journal: Journal) -> None:
    answer = journal.enqueue(delivery(), outcome=Outcome(IGNORED, "no content yet"))
    work = journal.enqueue(delivery())
    assert not work.duplicate
    assert journal.job(answer.job_id).state == State.FAILED
    assert claimed(journal)[0].step == Step.WORK


def test_of_two_answers_the_newer_one_is_given(journal: Journal) -> None:
    journal.enqueue(delivery(), outcome=Outcome(IGNORED, "no content yet"))
    second = journal.enqueue(delivery(), outcome=Outcome("invalid_hook", "no name"))
    assert second.duplicate
    assert claimed(journal)[0].outcome == Outcome("invalid_hook", "no name")
