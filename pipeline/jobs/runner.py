"""Runs one attempt of a held job and does what the decision about its failure says.

This is the one place that catches what a job raises: nothing a job's thread does is outside of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import structlog

from pipeline.attempt import Attempt
from pipeline.errors import Code, JobError, JobFailed, LeaseLost, Stopping
from pipeline.jobs import job
from pipeline.jobs.context import Dependencies, JobContext
from pipeline.jobs.decision import (
    MAX_LOST,
    Decision,
    End,
    GiveUp,
    Release,
    Retry,
    Wait,
    callback_is_hopeless,
    decide,
)
from pipeline.journal import IGNORED, HeldJob, JournalUnavailable, Outcome, State, Step
from pipeline.telemetry.logs import job_context, job_ended

_CAUSE_LIMIT = 300  # characters of a library's own words in a log line

log = structlog.get_logger(__name__)


def run_attempt(
    held: HeldJob,
    attempt: Attempt,
    deps: Dependencies,
    *,
    chance: random.Random,
    stopping: Callable[[], bool],
) -> None:
    """Run one attempt of a job and write down in the journal what came of it.

    ``stopping`` says whether this process is about to end. Never raises.
    """
    with job_context(held.job):
        try:
            failure = _failure(held, attempt, deps)
            if failure is None:
                _say_the_end(held, deps, held.job.outcome or Outcome(None))
                return
            decision = decide(
                failure,
                held.job,
                now=deps.journal.now(),
                elapsed=attempt.elapsed(),
                max_attempts=deps.settings.max_attempts,
                stopping=stopping(),
                chance=chance,
            )
            _carry_out(decision, failure, held, deps)
        except JournalUnavailable:
            deps.metrics.journal_errors.inc()
            log.error("attempt.abandoned", why="the journal can't be written; the lease will end")
        except Exception:
            # The boundary: the lease ends, and the attempt counts as lost.
            log.exception("attempt.defect")


def _failure(held: HeldJob, attempt: Attempt, deps: Dependencies) -> JobError | None:
    """What an attempt failed with, ``None`` if the job has ended and Aruna knows it."""
    try:
        _check_whether_to_begin(held, deps)
        hook = held.job.hook
        if hook is None:
            reason = held.job.credentials_gone or "its credentials are gone"
            raise JobFailed(Code.CALLBACK_FAILED, reason)
        job.run(JobContext(held, hook, attempt, deps))
    except JobError as failure:
        if attempt.is_cut_by(Stopping):
            return Stopping("the service is stopping")
        return failure
    except JournalUnavailable:
        raise
    except Exception as defect:
        # The boundary: a defect must stop neither the pool nor the job.
        log.exception("attempt.defect")
        failed = JobFailed(Code.INTERNAL_ERROR, "the service made a mistake", again=True)
        failed.__cause__ = defect
        return failed
    return None


def _check_whether_to_begin(held: HeldJob, deps: Dependencies) -> None:
    """Give up a job that may be what kills the processes that run it, and a hopeless callback."""
    if held.job.step is Step.WORK and held.job.lost >= MAX_LOST:
        message = f"the service has died in {held.job.lost} attempts, of this job or beside it"
        raise JobFailed(Code.INTERNAL_ERROR, message)
    if callback_is_hopeless(held.job, deps.journal.now()):
        raise JobFailed(Code.CALLBACK_FAILED, "Aruna has not taken the callback for 7 days")


def _carry_out(decision: Decision, failure: JobError, held: HeldJob, deps: Dependencies) -> None:
    try:
        _write(decision, failure, held, deps)
    except LeaseLost as lost:
        # Another process has the job, or a newer one took its place: free the object for that.
        log.warning("attempt.abandoned", why=str(lost))
        held.release()


def _write(decision: Decision, failure: JobError, held: HeldJob, deps: Dependencies) -> None:
    match decision:
        case Release():
            if isinstance(failure, LeaseLost):
                log.warning("attempt.abandoned", why=str(failure))
            else:
                log.info("job.released", why=str(failure))
            held.release()
        case Wait(seconds, message):
            held.wait(seconds=seconds, message=message)
            log.info("job.waiting", why=message, seconds=round(seconds, 1))
        case Retry(seconds, error, outage):
            held.retry(seconds=seconds, error=error, outage=outage)
            deps.metrics.retries.labels(error.code).inc()
            log.warning("job.retry", **_said(error, failure), seconds=round(seconds, 1))
        case GiveUp(outcome):
            held.worked(outcome)
            held.release()
            log.debug("work.failed", **_said(outcome, failure))
        case End(outcome, scrub):
            if held.end(State.FAILED, outcome, scrub=scrub):
                _say_the_end(held, deps, outcome)
            else:
                # A delivery came meanwhile, and may be better than the one that failed.
                held.release()


def _said(outcome: Outcome, failure: JobError) -> dict[str, object]:
    """A failure as fields of one log line; only a defect has a traceback."""
    said: dict[str, object] = {"code": outcome.code, "message": outcome.message}
    if failure.__cause__ is not None:
        said["cause"] = f"{type(failure.__cause__).__name__}: {failure.__cause__}"[:_CAUSE_LIMIT]
    return said


def _say_the_end(held: HeldJob, deps: Dependencies, outcome: Outcome) -> None:
    state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
    deps.metrics.jobs_ended.labels(state, outcome.code or "").inc()
    job_ended(
        log,
        state,
        code=outcome.code,
        message=outcome.message,
        name=held.job.name,
        seconds=round(deps.journal.now() - held.job.created_at, 3),
        attempts=held.job.attempt,
        deliveries=held.job.deliveries,
        bytes_in=max(held.meter.bytes_in, held.job.progress.bytes_in),
        bytes_out=held.meter.bytes_out,
        result_id=held.job.result_id,
        result_name=held.job.result_name,
    )
