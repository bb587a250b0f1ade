"""What comes after a failed attempt, computed from the failure and the job alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.errors import (
    Code,
    Interrupted,
    JobError,
    JobFailed,
    LeaseLost,
    NotYet,
    Stopping,
)
from pipeline.jobs.decision import (
    BACKOFF_BASE,
    BACKOFF_MAX,
    CALLBACK_BACKOFF_MAX,
    CALLBACK_PATIENCE,
    EXPENSIVE,
    MAX_ATTEMPTS,
    OUTAGE_BACKOFF_MAX,
    Decision,
    End,
    GiveUp,
    Release,
    Retry,
    Wait,
    backoff,
    callback_is_hopeless,
    decide,
)
from pipeline.journal import Job, Outcome, Progress, Relay, State, Step

NOW = 1_900_000_000.0
HOUR = 3600.0

BUSY = JobFailed(Code.TIMEOUT, "busy", again=True)
AWAY = JobFailed(Code.GFBIO_UNAVAILABLE, "away", patience=HOUR)
FINAL = JobFailed(Code.INVALID_INPUT, "not ABCD")
FALSE = JobFailed(Code.INVALID_SECRET, "not Aruna's")
DEFECT = JobFailed(Code.INTERNAL_ERROR, "a mistake", again=True)
UNTOLD = JobFailed(Code.CALLBACK_FAILED, "no answer", again=True)
REFUSED = JobFailed(Code.CALLBACK_FAILED, "refused")
SOON = NotYet("no hashes yet", after=7.0)


class Most(random.Random):
    """Chance that always draws the most."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the signature is random's
        return b


def a_job(step: Step = Step.WORK, **changes: Any) -> Job:
    """A job whose first attempt has just ended."""
    calling_back = step is Step.CALLBACK
    columns: dict[str, Any] = {
        "id": "1",
        "hook_id": "HOOK",
        "object_id": "OBJECT",
        "content": "",
        "source_sha256": None,
        "name": "plants.xml",
        "object": b"",
        "credentials": None,
        "credentials_gone": None,
        "token_expires": None,
        "answer_only": False,
        "deliveries": 1,
        "state": State.RUNNING,
        "step": step,
        "attempt": 1 if calling_back else 0,
        "failures": 0,
        "lost": 0,
        "callback_attempt": 0,
        "created_at": NOW - 60,
        "started_at": NOW - 1,
        "ended_at": None,
        "next_at": None,
        "waiting_since": None,
        "outage_since": None,
        "lease": "lease",
        "lease_until": NOW + 30,
        "holder": "host",
        "outcome": Outcome(None) if calling_back else None,
        "told": None,
        "last_error": None,
        "result_id": None,
        "result_name": None,
        "upload_begun": False,
        "callback_since": NOW - 1 if calling_back else None,
        "callback_sent_at": None,
        "progress": Progress(""),
        "relay": Relay(0, passed=False, error=None),
    }
    return Job(**{**columns, **changes})


def after(
    failure: JobError,
    job: Job,
    *,
    elapsed: float = 1.0,
    max_attempts: int | None = None,
    stopping: bool = False,
) -> Decision:
    """What is decided when chance draws the longest pause."""
    return decide(
        failure,
        job,
        now=NOW,
        elapsed=elapsed,
        max_attempts=max_attempts,
        stopping=stopping,
        chance=Most(),
    )


TIMED_OUT, GONE = Outcome("timeout", "busy"), Outcome("gfbio_unavailable", "away")


# What is transient


@pytest.mark.parametrize(
    ("job", "max_attempts", "decision"),
    [
        # Unset: failures count, to five of them.
        (a_job(), None, Retry(10.0, TIMED_OUT)),
        (a_job(attempt=1, failures=1), None, Retry(20.0, TIMED_OUT)),
        (a_job(attempt=3, failures=3), None, Retry(80.0, TIMED_OUT)),
        (a_job(attempt=4, failures=4), None, GiveUp(TIMED_OUT)),
        (a_job(attempt=9, failures=9), None, GiveUp(TIMED_OUT)),
        # Lost attempts and those of an outage count for nothing.
        (a_job(attempt=9, lost=9), None, Retry(10.0, TIMED_OUT)),
        (a_job(attempt=40, failures=1, lost=2), None, Retry(20.0, TIMED_OUT)),
        # An operator's number bounds attempts, lost ones apart.
        (a_job(), 1, GiveUp(TIMED_OUT)),
        (a_job(), 2, Retry(10.0, TIMED_OUT)),
        (a_job(attempt=1, failures=1), 2, GiveUp(TIMED_OUT)),
        (a_job(attempt=1), 2, GiveUp(TIMED_OUT)),
        (a_job(attempt=9, lost=9), 2, Retry(10.0, TIMED_OUT)),
        (a_job(attempt=10, failures=1, lost=9), 2, GiveUp(TIMED_OUT)),
        (a_job(attempt=8, failures=8), 10, Retry(BACKOFF_MAX, TIMED_OUT)),
    ],
)
def test_work_that_failed_is_tried_again_as_often_as_is_set(
    job: Job, max_attempts: int | None, decision: Decision
) -> None:
    assert after(BUSY, job, max_attempts=max_attempts) == decision


def test_five_failures_are_the_end_unless_an_operator_says_otherwise() -> None:
    assert MAX_ATTEMPTS == 5
    decisions = [after(BUSY, a_job(attempt=n, failures=n)) for n in range(5)]
    assert [type(decision) for decision in decisions] == [Retry] * 4 + [GiveUp]


@pytest.mark.parametrize("failure", [DEFECT, BUSY, AWAY])
def test_lost_attempts_do_not_raise_the_pause(failure: JobFailed) -> None:
    assert after(failure, a_job(attempt=9, lost=9)) == after(failure, a_job())


# A peer that is away


@pytest.mark.parametrize(
    ("away_for", "most"),
    [(0.0, BACKOFF_BASE), (3.0, BACKOFF_BASE), (20.0, 20.0), (600.0, OUTAGE_BACKOFF_MAX)],
)
def test_a_peer_that_is_away_costs_no_failure_and_is_asked_at_least_every_minute(
    away_for: float, most: float
) -> None:
    job = a_job(attempt=30, failures=4, outage_since=NOW - away_for if away_for else None)

    assert after(AWAY, job) == Retry(most, GONE, outage=True)


@pytest.mark.parametrize("patience", [900.0, HOUR])
def test_a_peer_is_waited_for_as_long_as_its_failure_says(patience: float) -> None:
    failure = JobFailed(Code.GFBIO_UNAVAILABLE, "away", patience=patience)
    waited = [
        after(failure, a_job(attempt=30, outage_since=NOW - seconds))
        for seconds in (patience - 1, patience, patience + 1)
    ]

    assert waited == [Retry(OUTAGE_BACKOFF_MAX, GONE, outage=True), GiveUp(GONE), GiveUp(GONE)]


@pytest.mark.parametrize(
    ("job", "decision"),
    [
        (a_job(outage_since=NOW - 5), Retry(10.0, GONE)),
        (a_job(attempt=20, failures=3, outage_since=NOW - 5), Retry(80.0, GONE)),
        (a_job(attempt=20, failures=4, outage_since=NOW - 5), GiveUp(GONE)),
    ],
)
def test_an_expensive_attempt_counts_though_a_peer_is_away(job: Job, decision: Decision) -> None:
    assert after(AWAY, job, elapsed=EXPENSIVE) == decision
    free = after(AWAY, job, elapsed=EXPENSIVE - 1)
    assert isinstance(free, Retry)
    assert free.outage


@pytest.mark.parametrize(
    ("attempt", "decision"),
    [(0, Retry(10.0, GONE)), (1, Retry(20.0, GONE)), (2, GiveUp(GONE)), (7, GiveUp(GONE))],
)
def test_an_operators_number_bounds_outages_too(attempt: int, decision: Decision) -> None:
    job = a_job(attempt=attempt, outage_since=NOW - 5)

    assert after(AWAY, job, max_attempts=3) == decision


# What is final


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("max_attempts", [None, 1, 9])
@pytest.mark.parametrize("code", sorted(set(Code) - {Code.INVALID_SECRET, Code.CALLBACK_FAILED}))
def test_work_that_failed_for_good_goes_to_its_callback(
    code: Code, max_attempts: int | None, stopping: bool
) -> None:
    decision = after(JobFailed(code, "no"), a_job(), max_attempts=max_attempts, stopping=stopping)

    assert decision == GiveUp(Outcome(code, "no"))


@pytest.mark.parametrize("step", Step)
def test_a_false_secret_ends_the_job_without_a_callback_and_its_credentials(step: Step) -> None:
    assert after(FALSE, a_job(step)) == End(Outcome("invalid_secret", "not Aruna's"), scrub=True)


def test_a_job_whose_credentials_are_gone_ends_without_a_callback() -> None:
    gone = JobFailed(Code.CALLBACK_FAILED, "no key in JOURNAL_KEY opens the credentials")

    assert after(gone, a_job()) == End(Outcome("callback_failed", gone.message))


# The callback


@pytest.mark.parametrize("failure", [BUSY, AWAY, DEFECT, UNTOLD, FINAL])
@pytest.mark.parametrize("max_attempts", [None, 1])
@pytest.mark.parametrize(
    ("callback_attempt", "seconds"), [(0, 10.0), (3, 80.0), (9, 900.0), (5000, 900.0)]
)
def test_work_that_is_done_stays_done_whatever_its_callback_meets(
    failure: JobFailed, max_attempts: int | None, callback_attempt: int, seconds: float
) -> None:
    job = a_job(Step.CALLBACK, attempt=9, failures=9, callback_attempt=callback_attempt)

    decision = after(failure, job, max_attempts=max_attempts, elapsed=EXPENSIVE)

    assert decision == Retry(seconds, Outcome("callback_failed", failure.message))


def test_a_callback_that_aruna_will_never_take_ends_the_job() -> None:
    assert after(REFUSED, a_job(Step.CALLBACK)) == End(Outcome("callback_failed", "refused"))


@pytest.mark.parametrize(
    ("waited", "is_hopeless"), [(1.0, False), (CALLBACK_PATIENCE, False), (8 * 24 * HOUR, True)]
)
@pytest.mark.parametrize("failure", [BUSY, UNTOLD, DEFECT, SOON])
def test_a_callback_is_tried_for_seven_days(
    failure: JobFailed | NotYet, waited: float, is_hopeless: bool
) -> None:
    job = a_job(Step.CALLBACK, callback_since=NOW - waited)

    assert callback_is_hopeless(job, NOW) is is_hopeless
    decision = after(failure, job)
    assert isinstance(decision, End) is is_hopeless
    if is_hopeless:
        assert decision == End(Outcome("callback_failed", failure.message))


def test_work_is_never_hopeless() -> None:
    assert not callback_is_hopeless(a_job(created_at=0.0), NOW)


# What counts nothing


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("max_attempts", [None, 1])
def test_what_is_not_yet_true_is_waited_for(step: Step, max_attempts: int | None) -> None:
    for stopping in (False, True):
        decision = after(SOON, a_job(step), max_attempts=max_attempts, stopping=stopping)
        assert decision == Wait(7.0, "no hashes yet")


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("failure", [Stopping("stopping"), LeaseLost("lost")])
def test_a_process_that_must_let_go_counts_nothing(failure: Interrupted, step: Step) -> None:
    hopeless = a_job(step, attempt=9, failures=9, callback_attempt=99)

    assert after(failure, hopeless, max_attempts=1) == Release()


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("failure", [BUSY, AWAY, DEFECT, UNTOLD])
def test_what_fails_while_the_process_stops_is_not_held_against_the_job(
    failure: JobFailed, step: Step
) -> None:
    job = a_job(step, attempt=9, failures=9)

    assert after(failure, job, max_attempts=1, stopping=True) == Release()


def test_what_says_nothing_of_the_future_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="JobError does not say"):
        after(JobError("?"), a_job())


# Chance


@pytest.mark.parametrize("attempts", [1, 2, 5, 10, 1000])
@pytest.mark.parametrize("most", [BACKOFF_MAX, CALLBACK_BACKOFF_MAX])
def test_the_backoff_grows_with_full_jitter_up_to_its_most(attempts: int, most: float) -> None:
    chance = random.Random(1)
    seconds = [backoff(attempts, most, chance) for _ in range(200)]

    limit = min(most, 5.0 * 2 ** min(attempts, 30))
    assert 0 <= min(seconds) < limit / 10
    assert limit * 0.9 < max(seconds) <= limit


def test_the_same_chance_leads_to_the_same_decision() -> None:
    def drawn(seed: int) -> Decision:
        return decide(
            BUSY,
            a_job(),
            now=NOW,
            elapsed=1.0,
            max_attempts=None,
            stopping=False,
            chance=random.Random(seed),
        )

    assert drawn(1) == drawn(1) != drawn(2)
