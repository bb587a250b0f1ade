"""What the holder of a job says about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.errors import LeaseLost
from pipeline.journal import HeldJob, Journal, Outcome, Progress, State, Step
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
    held = claimed(journal)
    held.note_result("RESULT", "plants.json")
    clock.now += 5
    held.worked(DONE)
    assert held.job.step == Step.CALLBACK
    clock.now += 5
    assert succeed(held)
    ended = journal.job(held.job.id)
    assert (ended.state, ended.outcome, ended.ended_at) == (State.SUCCEEDED, DONE, NOW + 10)
    assert (ended.result_id, ended.result_name) == ("RESULT", "plants.json")
    assert (ended.credentials, ended.lease, ended.holder) == (None, None, None)
    assert ended.credentials_gone == "the credentials are not kept any more"
    assert [
        (past.step, past.number, past.started_at, past.ended_at, past.code)
        for past in journal.attempts(ended.id)
    ] == [(Step.WORK, 1, NOW, NOW + 5, None), (Step.CALLBACK, 1, NOW + 5, NOW + 10, None)]


def test_waiting_counts_no_attempt_and_remembers_since_when(journal: Journal, clock: Clock) -> None:
    journal.enqueue(delivery())
    for _ in range(3):
        claimed(journal).wait(seconds=10, message="no hashes yet")
        clock.now += 10
    job = claimed(journal).job
    assert (job.attempt, job.waiting_since, journal.attempts(job.id)) == (0, NOW, [])
    assert job.last_error == Outcome(None, "no hashes yet")


def test_a_failed_attempt_is_counted_and_kept_with_the_time_of_the_next(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    clock.now += 3
    held.retry(seconds=27, error=Outcome("gfbio_unavailable", "503"))
    waiting = journal.job(held.job.id)
    assert (waiting.state, waiting.attempt, waiting.next_at) == (State.QUEUED, 1, NOW + 30)
    assert (waiting.failures, waiting.outage_since) == (1, None)
    assert waiting.last_error == Outcome("gfbio_unavailable", "503")
    [past] = journal.attempts(waiting.id)
    assert (past.started_at, past.ended_at, past.next_at) == (NOW, NOW + 3, NOW + 30)


def test_the_pause_before_the_next_attempt_survives_a_restart(
    journal: Journal, open_journal: OpenJournal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    claimed(journal).retry(seconds=30, error=Outcome("timeout", "too long"))
    journal.close()
    restarted = open_journal()
    assert restarted.claim("host", 1, LEASE) == []
    clock.now += 30
    assert claimed(restarted).job.attempt == 1


def test_a_job_that_is_released_is_due_again_with_nothing_counted(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.release()
    again = claimed(journal).job
    assert (again.id, again.attempt, again.waiting_since) == (held.job.id, 0, None)


def test_work_that_is_done_stays_done_while_the_callback_is_retried(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.worked(Outcome("invalid_input", "it is no ABCD"))
    held.retry(seconds=5, error=Outcome("callback_failed", "unavailable"))
    clock.now += 5
    again = claimed(journal).job
    assert (again.step, again.attempt, again.callback_attempt) == (Step.CALLBACK, 1, 1)
    assert again.outcome == Outcome("invalid_input", "it is no ABCD")
    assert again.callback_since == NOW


def test_a_delivery_after_the_callback_asks_for_another_one(journal: Journal) -> None:
    journal.enqueue(delivery(access_key="FIRST"))
    held = claimed(journal)
    held.worked(DONE)
    held.callback_sending()
    journal.enqueue(delivery(access_key="SECOND"))
    assert not held.end(State.SUCCEEDED, DONE)
    assert journal.job(held.job.id).callback_sent_at is None
    held.callback_sending()
    assert held.job.credentials is not None
    assert held.job.credentials.access_key == "SECOND"
    assert held.end(State.SUCCEEDED, DONE)


def test_a_failed_job_keeps_its_credentials_until_its_token_expires(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    assert fail(held)
    clock.now = EXPIRES - 1
    journal.scrub()
    assert journal.job(held.job.id).hook == delivery()
    clock.now = EXPIRES
    journal.scrub()
    assert journal.job(held.job.id).credentials is None


def test_a_job_that_fails_after_its_token_expired_keeps_nothing(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    clock.now += 3 * DAY
    held = claimed(journal)
    assert fail(held, "token_expired")
    assert journal.job(held.job.id).credentials is None


def test_a_job_that_is_not_genuine_keeps_nothing(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    assert fail(held, "invalid_secret", scrub=True)
    assert journal.job(held.job.id).credentials is None


HOLDERS_WORD: list[Callable[[HeldJob], object]] = [
    lambda held: held.confirm(),
    lambda held: held.note_source("ab" * 32),
    lambda held: held.note_result("RESULT", "plants.json"),
    lambda held: held.note_upload(),
    lambda held: held.worked(DONE),
    lambda held: held.callback_sending(),
    lambda held: held.end(State.SUCCEEDED, DONE),
    lambda held: held.wait(seconds=0, message="not yet"),
    lambda held: held.retry(seconds=0, error=Outcome("timeout")),
    lambda held: held.open_relay("xml"),
    lambda held: held.close_relay(),
    lambda held: held.relay_outcome(),
]


@pytest.mark.parametrize("say", HOLDERS_WORD)
def test_whoever_lost_the_lease_changes_nothing(
    journal: Journal, clock: Clock, say: Callable[[HeldJob], object]
) -> None:
    journal.enqueue(delivery())
    lost = claimed(journal)
    clock.now += LEASE
    claimed(journal, "other host")
    before = journal.job(lost.job.id)
    with pytest.raises(LeaseLost):
        say(lost)
    lost.release()
    assert journal.job(lost.job.id) == before


STORING_WORD: list[Callable[[HeldJob], object]] = [
    lambda held: held.note_source("ab" * 32),
    lambda held: held.note_result("RESULT", "plants.json"),
    lambda held: held.note_upload(),
    lambda held: held.worked(DONE),
    lambda held: held.callback_sending(),
    lambda held: held.open_relay("xml"),
    lambda held: held.close_relay(),
]


def test_every_word_of_the_holder_stores_how_far_it_is(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    for number, say in enumerate(STORING_WORD, 1):
        held.meter.stage = f"stage {number}"
        held.meter.bytes_in, held.meter.bytes_out = 5 * number, 3 * number
        say(held)
        stored = Progress(f"stage {number}", 5 * number, 3 * number)
        assert held.job.progress == stored
        assert journal.job(held.job.id).progress == stored


LAST_WORD: list[Callable[[HeldJob], object]] = [
    lambda held: held.release(),
    lambda held: held.wait(seconds=0, message="not yet"),
    lambda held: held.retry(seconds=0, error=Outcome("timeout")),
    lambda held: held.end(State.FAILED, Outcome("timeout")),
]


def test_a_job_that_nobody_holds_is_at_no_stage_and_keeps_what_was_counted(
    journal: Journal,
) -> None:
    for number, say in enumerate(LAST_WORD):
        receipt = journal.enqueue(delivery(number))
        [held] = [one for one in journal.claim("host", 10, LEASE) if one.job.id == receipt.job_id]
        held.meter.stage, held.meter.bytes_in, held.meter.bytes_out = "upload", 5, 3
        say(held)
        assert journal.job(receipt.job_id).progress == Progress("", 5, 3)


def test_the_bytes_of_the_work_are_counted_anew_in_each_attempt_and_kept_for_the_callback(
    journal: Journal,
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.meter.bytes_in, held.meter.bytes_out = 5, 3
    journal.relay_moved(held.open_relay("xml"), 100)
    held.retry(seconds=0, error=Outcome("timeout"))
    again = claimed(journal)
    assert again.job.progress == Progress("", 0, 0)
    again.meter.bytes_in, again.meter.bytes_out = 7, 4
    again.worked(DONE)
    again.release()
    calling_back = claimed(journal)
    assert calling_back.job.progress == Progress("", 7, 4)
    assert succeed(calling_back)
    assert journal.job(held.job.id).progress == Progress("", 7, 4)


def test_an_outage_counts_no_failure_and_is_remembered_since_its_first_attempt(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    for _ in range(3):
        claimed(journal).retry(seconds=10, error=Outcome("gfbio_unavailable"), outage=True)
        clock.now += 10
    held = claimed(journal)
    assert (held.job.attempt, held.job.failures, held.job.outage_since) == (3, 0, NOW)
    held.retry(seconds=0, error=Outcome("timeout"))
    after = journal.job(held.job.id)
    assert (after.attempt, after.failures, after.outage_since) == (4, 1, None)


def test_what_a_holder_learns_of_source_and_upload_is_there_for_the_next(
    journal: Journal, clock: Clock
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.note_source("ab" * 32)
    held.note_upload()
    clock.now += LEASE
    again = claimed(journal, "other host").job
    assert (again.source_sha256, again.upload_begun) == ("ab" * 32, True)


def test_each_delivery_forgets_the_hash_that_was_learnt_before_it(journal: Journal) -> None:
    journal.enqueue(delivery())
    claimed(journal).note_source("ab" * 32)
    journal.enqueue(delivery())
    assert [job.source_sha256 for job in journal.jobs()] == [None]


def test_what_aruna_was_told_before_a_later_delivery_is_known_for_the_next_callback(
    journal: Journal,
) -> None:
    outcome = Outcome("callback_failed", "the process was stopped")
    journal.enqueue(delivery())
    held = claimed(journal)
    held.worked(Outcome("invalid_input", "it is no ABCD"))
    held.callback_sending()
    assert held.end(State.FAILED, outcome)
    assert journal.job(held.job.id).told == Outcome("invalid_input", "it is no ABCD")
    assert journal.put_back([held.job.id]) == [(held.job.id, None)]
    assert claimed(journal).job.told == Outcome("invalid_input", "it is no ABCD")


def test_no_secret_reaches_a_message_that_is_kept(journal: Journal) -> None:
    leaky = "see https://x.s3.example.org/a?X-Amz-Signature=0123456789abcdef&X-Amz-Date=1"
    journal.enqueue(delivery())
    held = claimed(journal)
    held.wait(seconds=0, message=leaky)
    held = claimed(journal)
    held.retry(seconds=0, error=Outcome("timeout", leaky))
    held = claimed(journal)
    held.worked(Outcome("timeout", leaky))
    assert held.end(State.FAILED, Outcome("timeout", leaky))
    said = repr([journal.job(held.job.id), journal.attempts(held.job.id)])
    assert "see https://x.s3.example.org/a" in said
    assert "0123456789abcdef" not in said
