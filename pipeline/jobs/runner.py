"""What comes after an attempt: the one place that catches what a job raises.

The decision is a value of what failed and how often, made apart from the loop that runs jobs.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import structlog

from pipeline.errors import Code, Interrupted, JobFailed, NotYet, Stopping
from pipeline.jobs import job
from pipeline.jobs.callback import CALLBACK_PATIENCE
from pipeline.jobs.claim import Claim
from pipeline.journal import IGNORED, Job, JournalUnavailable, Outcome, State, Step
from pipeline.telemetry.logs import job_ended

#: Seconds: the first retry comes within twice of this, each next one within twice as long.
BACKOFF_BASE = 5.0
#: Seconds between two attempts of the work, and of a callback, at the most.
BACKOFF_MOST = 300.0
CALLBACK_BACKOFF_MOST = 900.0

log = structlog.get_logger(__name__)


def backoff(attempts: int, most: float, chance: random.Random) -> float:
    """Seconds until the next attempt after ``attempts`` failed ones: exponential, full jitter."""
    return chance.uniform(0, min(most, BACKOFF_BASE * 2 ** min(attempts, 30)))


def attempt(claim: Claim, chance: random.Random, stopping: Callable[[], bool]) -> None:
    """Run one attempt of a job and write down in the journal what came of it.

    ``stopping`` says whether this process is about to end.
    """
    try:
        _until_interrupted(claim, chance, stopping)
    except JournalUnavailable:
        claim.peers.metrics.journal_errors.inc()
        log.error("attempt.abandoned", why="the journal can't be written; the lease will end")


def _until_interrupted(claim: Claim, chance: random.Random, stopping: Callable[[], bool]) -> None:
    try:
        _attempt(claim, chance, stopping)
    except Interrupted as interrupted:
        log.warning("attempt.abandoned", why=str(interrupted))
        claim.peers.journal.release(claim.job.id, claim.lease)


def _attempt(claim: Claim, chance: random.Random, stopping: Callable[[], bool]) -> None:
    try:
        _told(claim, job.run(claim))
    except Stopping:
        _release(claim)
    except NotYet as condition:
        _wait(claim, condition)
    except JobFailed as failure:
        _failed(claim, failure, chance, stopping=stopping())
    except (Interrupted, JournalUnavailable):
        raise
    except Exception as error:
        # The boundary: a defect must stop neither the pool nor the job.
        log.exception("attempt.defect")
        defect = JobFailed(Code.INTERNAL_ERROR, "the service made a mistake", again=True)
        defect.__cause__ = error
        _failed(claim, defect, chance, stopping=stopping())


def _told(claim: Claim, told: Job) -> None:
    """The job has ended and Aruna knows it."""
    outcome = told.outcome or Outcome(None)
    state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
    _say_the_end(claim, state, outcome, result_id=told.result_id, result_name=told.result_name)


def _say_the_end(claim: Claim, state: State, outcome: Outcome, **facts: object) -> None:
    claim.peers.metrics.jobs_ended.labels(state, outcome.code or "").inc()
    job_ended(
        log,
        state,
        code=outcome.code,
        message=outcome.message,
        name=claim.job.name,
        seconds=round(claim.peers.clock() - claim.job.created_at, 3),
        attempts=claim.job.attempt + 1,
        deliveries=claim.job.deliveries,
        bytes_in=claim.meter.bytes_in,
        bytes_out=claim.meter.bytes_out,
        **facts,
    )


def _release(claim: Claim) -> None:
    """Back to the queue, no attempt counted: this process is stopping."""
    claim.peers.journal.release(claim.job.id, claim.lease)
    log.info("job.released")


def _wait(claim: Claim, condition: NotYet) -> None:
    now = claim.peers.clock()
    if _callback_is_hopeless(claim):
        _end(claim, JobFailed(Code.CALLBACK_FAILED, condition.message))
        return
    claim.peers.journal.wait(
        claim.job.id, claim.lease, at=now + condition.after, message=condition.message
    )
    log.info("job.waiting", why=condition.message, seconds=round(condition.after, 1))


def _failed(claim: Claim, failure: JobFailed, chance: random.Random, *, stopping: bool) -> None:
    if claim.attempt.is_cut_by(Stopping) or (stopping and failure.again):
        # A stopping process answers no relay, so what fails now says nothing about the source.
        _release(claim)
        return
    if _is_calling_back(claim) and failure.code is not Code.INVALID_SECRET:
        failure = _of_the_callback(failure)
    if failure.code in (Code.INVALID_SECRET, Code.CALLBACK_FAILED) and not failure.again:
        _end(claim, failure)
    elif failure.code is Code.CALLBACK_FAILED:
        _callback_again(claim, failure, chance)
    elif failure.again and claim.job.attempt + 1 < claim.peers.settings.max_attempts:
        _again(claim, failure, chance)
    else:
        _give_up(claim, failure)


def _is_calling_back(claim: Claim) -> bool:
    return claim.job.step is Step.CALLBACK or claim.meter.stage == "callback"


def _of_the_callback(failure: JobFailed) -> JobFailed:
    """The work is done, and stays done whatever goes wrong in telling Aruna."""
    if failure.code is Code.CALLBACK_FAILED:
        return failure
    told = JobFailed(Code.CALLBACK_FAILED, failure.message, again=True)
    told.__cause__ = failure
    return told


def _again(claim: Claim, failure: JobFailed, chance: random.Random) -> None:
    seconds = backoff(claim.job.attempt + 1, BACKOFF_MOST, chance)
    _retry(claim, failure, seconds)


def _callback_again(claim: Claim, failure: JobFailed, chance: random.Random) -> None:
    if _callback_is_hopeless(claim):
        _end(claim, failure)
        return
    _retry(claim, failure, backoff(claim.job.callback_attempt + 1, CALLBACK_BACKOFF_MOST, chance))


def _retry(claim: Claim, failure: JobFailed, seconds: float) -> None:
    claim.peers.journal.retry(
        claim.job.id,
        claim.lease,
        at=claim.peers.clock() + seconds,
        code=failure.code,
        message=failure.message,
    )
    claim.peers.metrics.retries.labels(failure.code).inc()
    log.warning(
        "job.retry",
        code=failure.code,
        message=failure.message,
        seconds=round(seconds, 1),
        exc_info=failure.__cause__,
    )


def _callback_is_hopeless(claim: Claim) -> bool:
    """Whether a callback has been tried for so long that nobody waits for it any more."""
    since = claim.job.callback_since
    if claim.job.step is not Step.CALLBACK or since is None:
        return False
    return claim.peers.clock() - since > CALLBACK_PATIENCE


def _give_up(claim: Claim, failure: JobFailed) -> None:
    """The work has failed for good; telling the researcher is a step and an attempt of its own."""
    journal = claim.peers.journal
    journal.worked(claim.job.id, claim.lease, Outcome(failure.code, failure.message))
    journal.release(claim.job.id, claim.lease)
    log.error("work.failed", code=failure.code, message=failure.message, exc_info=failure.__cause__)


def _end(claim: Claim, failure: JobFailed) -> None:
    """The job has failed for good and Aruna can't be told; a delivery since then may be better."""
    ended = claim.peers.journal.ended(
        claim.job.id,
        claim.lease,
        state=State.FAILED,
        outcome=Outcome(failure.code, failure.message),
        deliveries=claim.job.deliveries,
        scrub=failure.code is Code.INVALID_SECRET,
    )
    if ended:
        _say_the_end(claim, State.FAILED, Outcome(failure.code, failure.message))
    else:
        claim.peers.journal.release(claim.job.id, claim.lease)
