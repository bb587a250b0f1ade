"""What comes after a failed attempt: a value, computed from the failure and the job alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.errors import Code, Interrupted, JobError, JobFailed, NotYet
from pipeline.journal import Job, Outcome, Step

#: Attempts whose failures count, unless the operator sets ``MAX_ATTEMPTS``.
MAX_ATTEMPTS = 5
#: Attempts of the work that may be lost with their processes.
MAX_LOST = 10
#: Seconds for which a callback is tried (HookCallback needs no valid token).
CALLBACK_PATIENCE = 7 * 24 * 3600.0
#: Seconds after which an attempt is too expensive to be repeated for as long as a peer is away.
EXPENSIVE = 120.0
#: Seconds: the first retry comes within twice of this, each next one within twice as long.
BACKOFF_BASE = 5.0
#: Seconds between two attempts, at most: of the work, while a peer is away, of a callback.
BACKOFF_MAX = 300.0
OUTAGE_BACKOFF_MAX = 60.0
CALLBACK_BACKOFF_MAX = 900.0


@dataclass(frozen=True)
class Retry:
    """Try again in ``seconds``; the attempt counts as failed unless a peer is away (``outage``)."""

    seconds: float
    error: Outcome
    outage: bool = False


@dataclass(frozen=True)
class Wait:
    """Look again in ``seconds``; no attempt is counted."""

    seconds: float
    message: str


@dataclass(frozen=True)
class Release:
    """Back into the queue at once; no attempt is counted."""


@dataclass(frozen=True)
class GiveUp:
    """The work has failed for good; telling the researcher is a step of its own."""

    outcome: Outcome


@dataclass(frozen=True)
class End:
    """The job has failed for good and Aruna can't be told."""

    outcome: Outcome
    scrub: bool = False


Decision: TypeAlias = Retry | Wait | Release | GiveUp | End


def decide(
    failure: JobError,
    job: Job,
    *,
    now: float,
    elapsed: float,
    max_attempts: int | None,
    stopping: bool,
    chance: random.Random,
) -> Decision:
    """What to do after ``failure`` ended an attempt of ``job``.

    ``now`` is the journal's time, ``elapsed`` how long the attempt took (seconds),
    ``max_attempts`` the operator's own limit, ``stopping`` whether this process is about to end.
    """
    if isinstance(failure, Interrupted):
        return Release()
    if isinstance(failure, NotYet):
        if callback_is_hopeless(job, now):
            return End(Outcome(Code.CALLBACK_FAILED, failure.message))
        return Wait(failure.after, failure.message)
    if not isinstance(failure, JobFailed):
        raise TypeError(f"{type(failure).__name__} does not say what comes next")
    if stopping and failure.again:
        # A stopping process answers no relay: what fails now says nothing about the source.
        return Release()
    if failure.code is Code.INVALID_SECRET:
        return End(_outcome(failure), scrub=True)
    if job.step is Step.CALLBACK:
        return _after_callback(failure, job, now, chance)
    if failure.code is Code.CALLBACK_FAILED:
        return End(_outcome(failure))
    return _after_work(failure, job, now, elapsed, max_attempts, chance)


def callback_is_hopeless(job: Job, now: float) -> bool:
    """Whether a callback has been tried for so long that nobody waits for it any more."""
    since = job.callback_since
    return since is not None and now - since > CALLBACK_PATIENCE


def _after_callback(failure: JobFailed, job: Job, now: float, chance: random.Random) -> Decision:
    """The work is done, and stays done whatever goes wrong in telling Aruna."""
    outcome = Outcome(Code.CALLBACK_FAILED, failure.message)
    final = failure.code is Code.CALLBACK_FAILED and not failure.again
    if final or callback_is_hopeless(job, now):
        return End(outcome)
    return Retry(backoff(job.callback_attempt + 1, CALLBACK_BACKOFF_MAX, chance), outcome)


def _after_work(
    failure: JobFailed,
    job: Job,
    now: float,
    elapsed: float,
    max_attempts: int | None,
    chance: random.Random,
) -> Decision:
    if not failure.again:
        return GiveUp(_outcome(failure))
    if max_attempts is None and failure.patience and elapsed < EXPENSIVE:
        away = now - (job.outage_since or now)
        if away >= failure.patience:
            return GiveUp(_outcome(failure))
        pause = chance.uniform(0, min(OUTAGE_BACKOFF_MAX, max(BACKOFF_BASE, away)))
        return Retry(pause, _outcome(failure), outage=True)
    failed = job.failures if max_attempts is None else job.attempt - job.lost
    if failed + 1 >= (max_attempts or MAX_ATTEMPTS):
        return GiveUp(_outcome(failure))
    return Retry(backoff(failed + 1, BACKOFF_MAX, chance), _outcome(failure))


def backoff(attempts: int, most: float, chance: random.Random) -> float:
    """Seconds until the next attempt after ``attempts`` failed ones: exponential, full jitter."""
    return chance.uniform(0, min(most, BACKOFF_BASE * 2 ** min(attempts, 30)))


def _outcome(failure: JobFailed) -> Outcome:
    return Outcome(failure.code, failure.message)
