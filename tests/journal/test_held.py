"""What the holder of a job says about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.errors import LeaseLost
from pipeline.journal import Journal, Outcome, State, Step
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import (
    DAY,
    DONE,
    EXPIRES,
    LEASE,
    NOW,
    Clock,
    claimed,
    delivery,
    fail,
    succeed,
)


def test_a_job_that_succeeded_keeps_its_story_and_no_credentials(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.note_result(job.id, lease, "RESULT", "plants.json")
    clock.now += 5
    assert journal.worked(job.id, lease, DONE).step == Step.CALLBACK
    clock.now += 5
    assert succeed(journal, journal.job(job.id))
    ended = journal.job(job.id)
    assert (ended.state, ended.outcome, ended.ended_at) == (State.SUCCEEDED, DONE, NOW + 10)
    assert (ended.result_id, ended.result_name) == ("RESULT", "plants.json")
    assert (ended.credentials, ended.lease, ended.holder) == (None, None, None)
    assert ended.credentials_gone == "the credentials are not kept any more"
    assert [
        (past.step, past.number, past.started_at, past.ended_at, past.code)
        for past in journal.attempts(job.id)
    ] == [(Step.WORK, 1, NOW, NOW + 5, None), (Step.CALLBACK, 1, NOW + 5, NOW + 10, None)]


def test_waiting_counts_no_attempt_and_remembers_since_when(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    for _ in range(3):
        job, lease = claimed(journal)
        journal.wait(job.id, lease, at=clock.now + 10, message="no hashes yet")
        clock.now += 10
    job, _ = claimed(journal)
    assert (job.attempt, job.waiting_since, journal.attempts(job.id)) == (0, NOW, [])
    assert job.last_error == Outcome(None, "no hashes yet")


def test_a_failed_attempt_is_counted_and_kept_with_the_time_of_the_next(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    clock.now += 3
    journal.retry(job.id, lease, at=NOW + 30, code="gfbio_unavailable", message="503")
    waiting = journal.job(job.id)
    assert (waiting.state, waiting.attempt, waiting.next_at) == (State.QUEUED, 1, NOW + 30)
    assert waiting.last_error == Outcome("gfbio_unavailable", "503")
    [past] = journal.attempts(job.id)
    assert (past.started_at, past.ended_at, past.next_at) == (NOW, NOW + 3, NOW + 30)


def test_the_pause_before_the_next_attempt_survives_a_restart(
    journal: Journal, open_journal: OpenJournal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.retry(job.id, lease, at=NOW + 30, code="timeout", message="too long")
    journal.close()
    restarted = open_journal()
    assert restarted.claim("host", 1, LEASE) == []
    clock.now += 30
    assert claimed(restarted)[0].attempt == 1


def test_a_job_that_is_released_is_due_again_with_nothing_counted(journal: Journal) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.release(job.id, lease)
    again, _ = claimed(journal)
    assert (again.id, again.attempt, again.waiting_since) == (job.id, 0, None)


def test_work_that_is_done_stays_done_while_the_callback_is_retried(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    journal.worked(job.id, lease, Outcome("invalid_input", "it is no ABCD"))
    journal.retry(job.id, lease, at=NOW + 5, code="callback_failed", message="unavailable")
    clock.now += 5
    again, _ = claimed(journal)
    assert (again.step, again.attempt, again.callback_attempt) == (Step.CALLBACK, 1, 1)
    assert again.outcome == Outcome("invalid_input", "it is no ABCD")
    assert again.callback_since == NOW


def test_a_delivery_after_the_callback_asks_for_another_one(journal: Journal) -> None:
    journal.enqueue(delivery(access_key="FIRST"))
    job, lease = claimed(journal)
    journal.worked(job.id, lease, DONE)
    sent = journal.callback_sending(job.id, lease)
    journal.enqueue(delivery(access_key="SECOND"))
    end = {"state": State.SUCCEEDED, "outcome": DONE}
    assert not journal.ended(job.id, lease, deliveries=sent.deliveries, **end)  # type: ignore[arg-type]
    assert journal.job(job.id).callback_sent_at is None
    newest = journal.callback_sending(job.id, lease)
    assert newest.credentials is not None
    assert newest.credentials.access_key == "SECOND"
    assert journal.ended(job.id, lease, deliveries=newest.deliveries, **end)  # type: ignore[arg-type]


def test_a_failed_job_keeps_its_credentials_until_its_token_expires(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    job, _ = claimed(journal)
    assert fail(journal, job)
    clock.now = EXPIRES - 1
    journal.housekeeping()
    assert journal.job(job.id).hook == delivery()
    clock.now = EXPIRES
    journal.housekeeping()
    assert journal.job(job.id).credentials is None


def test_a_job_that_fails_after_its_token_expired_keeps_nothing(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    clock.now += 3 * DAY
    job, _ = claimed(journal)
    assert fail(journal, job, "token_expired")
    assert journal.job(job.id).credentials is None


def test_a_job_that_is_not_genuine_keeps_nothing(journal: Journal) -> None:
    journal.enqueue(delivery())
    job, _ = claimed(journal)
    assert fail(journal, job, "invalid_secret", scrub=True)
    assert journal.job(job.id).credentials is None


HOLDERS_WORD: list[Callable[[Journal, str, str], object]] = [
    lambda journal, job, lease: journal.confirm(job, lease),
    lambda journal, job, lease: journal.note_result(job, lease, "RESULT", "plants.json"),
    lambda journal, job, lease: journal.worked(job, lease, DONE),
    lambda journal, job, lease: journal.callback_sending(job, lease),
    lambda journal, job, lease: journal.ended(
        job, lease, state=State.SUCCEEDED, outcome=DONE, deliveries=1
    ),
    lambda journal, job, lease: journal.wait(job, lease, at=NOW, message="not yet"),
    lambda journal, job, lease: journal.retry(job, lease, at=NOW, code="timeout", message=""),
    lambda journal, job, lease: journal.open_relay(job, lease, "xml"),
    lambda journal, job, lease: journal.close_relay(job, lease),
    lambda journal, job, lease: journal.relay_outcome(job, lease),
]


@pytest.mark.parametrize("say", HOLDERS_WORD)
def test_whoever_lost_the_lease_changes_nothing(
    journal: Journal, clock: Clock, say: Callable[[Journal, str, str], object]
) -> None:
    journal.enqueue(delivery())
    job, lost = claimed(journal)
    clock.now += LEASE
    claimed(journal, "other host")
    before = journal.job(job.id)
    with pytest.raises(LeaseLost):
        say(journal, job.id, lost)
    journal.release(job.id, lost)
    assert journal.job(job.id) == before
