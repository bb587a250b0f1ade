"""Deliveries whose secret is still to be checked: kept apart until they are admitted or refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.aruna.objects import fingerprint
from pipeline.journal import (
    IGNORED,
    HeldJob,
    Job,
    Journal,
    Outcome,
    Receipt,
    State,
    Step,
    UnknownJob,
)
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import EXPIRES, NOW, Clock, claimed, delivery, fail, succeed

NOT_GENUINE = Outcome("invalid_secret", "not made by this Aruna")


def late(journal: Journal, clock: Clock, **changes: object) -> Receipt:
    """A delivery that waits for its secret to be checked while others come."""
    receipt = journal.enqueue_unverified(delivery(**changes))  # type: ignore[arg-type]
    clock.now += 1
    return receipt


def test_a_delivery_that_waits_is_kept_and_nobody_works_on_it(
    journal: Journal, open_journal: OpenJournal
) -> None:
    receipt = journal.enqueue_unverified(delivery())
    assert not receipt.duplicate
    [waiting] = open_journal().unverified()
    assert (waiting.id, waiting.hook, waiting.token_expires) == (
        receipt.job_id,
        delivery(),
        EXPIRES,
    )
    assert journal.claim("host", 5, 60) == []
    assert journal.next_due() is None


def test_a_delivery_that_waits_changes_nothing_of_any_job(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    before = journal.job(held.job.id)
    for content_len in (100, 7):
        journal.enqueue_unverified(delivery(content_len=content_len, access_key="FALSE"))
    assert journal.job(held.job.id) == before
    held.confirm()
    assert succeed(held)


def test_all_that_waits_is_listed_and_counted_among_the_queued(
    journal: Journal, clock: Clock
) -> None:
    first = late(journal, clock, number=0).job_id
    second = journal.enqueue(delivery(1)).job_id
    clock.now += 1
    third = late(journal, clock, number=2).job_id
    assert [job.id for job in journal.jobs()] == [third, second, first]
    assert [job.id for job in journal.jobs(State.QUEUED, limit=2)] == [third, second]
    assert [job.id for job in journal.jobs(State.FAILED)] == []
    assert [job.id for job in journal.unverified()] == [first, third]
    assert [job.id for job in journal.unverified(limit=1)] == [first]
    assert journal.counts() == {State.QUEUED: 3, State.RUNNING: 0, State.FAILED: 0}
    assert journal.oldest_queued_seconds() == clock.now - NOW
    shown = journal.job(first[:12])
    assert (shown.state, shown.step, shown.created_at, shown.name) == (
        State.QUEUED,
        Step.WORK,
        NOW,
        "plants0.xml",
    )
    assert shown.last_error == Outcome(None, "waits for Aruna's public key")


def test_each_of_many_that_wait_is_found_by_its_id(journal: Journal, clock: Clock) -> None:
    ids = [late(journal, clock, number=number).job_id for number in range(120)]
    assert [journal.job(one).id for one in (ids[0], ids[-1])] == [ids[0], ids[-1]]
    common = next(n for n in range(16) if len({one[:n] for one in ids}) > 1) - 1
    with pytest.raises(UnknownJob, match="several jobs start with"):
        journal.job(ids[0][:common])


def test_an_admitted_delivery_becomes_the_job_it_would_have_been(
    journal: Journal, clock: Clock
) -> None:
    receipt = late(journal, clock)
    assert journal.admit(receipt.job_id) == receipt
    [job] = journal.jobs()
    assert (job.id, job.state, job.step, job.deliveries) == (
        receipt.job_id,
        State.QUEUED,
        Step.WORK,
        1,
    )
    assert (job.hook, job.content, job.created_at, job.token_expires) == (
        delivery(),
        fingerprint(delivery().object),
        NOW,
        EXPIRES,
    )
    assert (journal.unverified(), job.last_error) == ([], None)
    assert succeed(claimed(journal))


def test_an_admitted_delivery_that_needs_an_answer_alone_starts_with_its_callback(
    journal: Journal,
) -> None:
    ignored = Outcome(IGNORED, "the object is a result")
    receipt = journal.enqueue_unverified(delivery(), outcome=ignored)
    journal.admit(receipt.job_id)
    job = claimed(journal).job
    assert (job.step, job.outcome, job.callback_since) == (Step.CALLBACK, ignored, NOW)


def test_an_admitted_delivery_joins_the_active_job_of_its_content(
    journal: Journal, clock: Clock
) -> None:
    first = journal.enqueue(delivery(access_key="FIRST"))
    clock.now += 1
    second = late(journal, clock, access_key="SECOND")
    assert journal.admit(second.job_id) == Receipt(first.job_id, duplicate=True)
    [job] = journal.jobs()
    assert (job.id, job.deliveries) == (first.job_id, 2)
    assert job.credentials is not None
    assert job.credentials.access_key == "SECOND"


def test_an_admitted_delivery_supersedes_the_older_job_of_an_older_content(
    journal: Journal, clock: Clock
) -> None:
    old = journal.enqueue(delivery(content_len=1))
    clock.now += 1
    new = late(journal, clock, content_len=2)
    assert journal.admit(new.job_id) == new
    assert journal.job(old.job_id).state == State.FAILED
    assert claimed(journal).job.id == new.job_id


def goes_on(held: HeldJob) -> bool:
    """It stays as it is."""
    held.confirm()
    return True


@pytest.mark.parametrize("content_len", [1, 2])
@pytest.mark.parametrize("newer", [goes_on, succeed, fail])
def test_an_admitted_delivery_never_takes_the_place_of_a_newer_job(
    journal: Journal, clock: Clock, newer: Callable[[HeldJob], bool], content_len: int
) -> None:
    old = late(journal, clock, content_len=content_len, access_key="OLD")
    new = journal.enqueue(delivery(content_len=2, access_key="NEW"))
    held = claimed(journal)
    assert newer(held)
    before = journal.job(new.job_id)

    assert journal.admit(old.job_id) == Receipt(new.job_id, duplicate=True)

    assert journal.job(new.job_id) == before
    ended = journal.job(old.job_id)
    assert (ended.state, ended.credentials, ended.ended_at) == (State.FAILED, None, clock.now)
    assert ended.outcome == Outcome("superseded", f"job {new.job_id} is newer")
    assert journal.claim("host", 5, 60) == []


def test_newer_jobs_of_other_hooks_and_objects_do_not_answer_for_an_admitted_delivery(
    journal: Journal, clock: Clock
) -> None:
    old = late(journal, clock)
    journal.enqueue(delivery(1))
    journal.enqueue(delivery(hook_id="OTHER"))
    assert journal.admit(old.job_id) == old
    assert journal.job(old.job_id).hook == delivery()


def test_a_refused_delivery_is_a_failed_job_without_credentials(
    journal: Journal, clock: Clock
) -> None:
    receipt = late(journal, clock)
    assert journal.refuse(receipt.job_id, NOT_GENUINE)
    [job] = journal.jobs(State.FAILED)
    assert (job.id, job.credentials, job.outcome) == (receipt.job_id, None, NOT_GENUINE)
    assert (job.created_at, job.ended_at, job.callback_since) == (NOW, clock.now, None)
    assert (journal.unverified(), journal.claim("host", 5, 60)) == ([], [])
    assert journal.put_back() == []
    assert journal.put_back([job.id]) == [(job.id, "its credentials are gone")]


def test_a_refused_delivery_changes_nothing_of_the_job_it_claimed_to_be_for(
    journal: Journal, clock: Clock
) -> None:
    genuine = journal.enqueue(delivery())
    before = journal.job(genuine.job_id)
    clock.now += 1
    false = late(journal, clock, access_key="FALSE")
    assert journal.refuse(false.job_id, NOT_GENUINE)
    assert journal.job(genuine.job_id) == before


def test_a_delivery_is_judged_once_whoever_is_faster(
    journal: Journal, open_journal: OpenJournal
) -> None:
    receipt = journal.enqueue_unverified(delivery())
    journals = [journal, open_journal()]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda n: journals[n % 2].admit(receipt.job_id), range(6)))
    assert sorted(answers, key=bool) == [None] * 5 + [receipt]
    assert not journal.refuse(receipt.job_id, NOT_GENUINE)
    assert [job.deliveries for job in journal.jobs()] == [1]


def test_what_waits_is_encrypted_as_all_credentials_are(
    open_journal: OpenJournal,
) -> None:
    key = "A" * 43 + "="
    receipt = open_journal(keys=[key]).enqueue_unverified(delivery())
    without_key = open_journal()

    def read(job: Job) -> tuple[object, str | None]:
        return job.credentials, job.credentials_gone

    reason = "the credentials are encrypted and JOURNAL_KEY is not set"
    assert [read(job) for job in without_key.unverified()] == [(None, reason)]
    assert without_key.admit(receipt.job_id) == receipt
    assert claimed(open_journal(keys=[key])).job.hook == delivery()
