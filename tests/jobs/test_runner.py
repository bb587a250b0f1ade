"""What comes after an attempt, on a real journal: retries, the end, and what is never undone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.aruna.client import Aruna
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed, NotYet, Stopping
from pipeline.jobs import job
from pipeline.jobs import runner as ending
from pipeline.jobs.claim import Claim, Peers
from pipeline.journal import Job, Journal, Outcome, State, Step
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.web.payload import parse_hook
from tests.payloads import as_bytes, payload

HOOK = parse_hook(as_bytes(payload()))


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    """A real journal and nobody else to talk to."""
    settings = Settings.from_environment(
        {
            "ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1",
            "ALLOW_INSECURE": "true",
            "MAX_ATTEMPTS": "2",
            "STATE_DIR": str(tmp_path),
        }
    )
    journal = Journal(settings.journal_url)
    journal.open()
    with closing(journal), closing(Aruna(settings.aruna_server_address)) as aruna:
        yield Peers(settings, journal, aruna, Addresses(), Metrics(), later=lambda _: None)


def claimed(peers: Peers) -> Claim:
    """The one job of the journal, held."""
    (row,) = peers.journal.claim("the test", 1, 60)
    assert row.hook is not None
    return Claim(row, row.hook, Attempt(60), peers)


def attempt(claim: Claim, run: Callable[[Claim], Job], monkeypatch: pytest.MonkeyPatch) -> Job:
    """The job after an attempt that does ``run``."""
    monkeypatch.setattr(job, "run", run)
    ending.attempt(claim, random.Random(1), lambda: False)
    return claim.peers.journal.job(claim.job.id)


def failing(failure: Exception) -> Callable[[Claim], Job]:
    """An attempt that ends with ``failure``."""

    def run(_: Claim) -> Job:
        raise failure

    return run


def failing_in_the_callback(failure: Exception) -> Callable[[Claim], Job]:
    """An attempt whose work is done and whose callback ends with ``failure``."""

    def run(claim: Claim) -> Job:
        claim.peers.journal.worked(claim.job.id, claim.lease, Outcome(None))
        with claim.stage("callback"):
            raise failure

    return run


@pytest.mark.parametrize(
    "failure",
    [
        JobFailed(Code.TIMEOUT, "too long", again=True),
        JobFailed(Code.CALLBACK_FAILED, "no answer", again=True),
        RuntimeError("a defect"),
    ],
)
def test_work_that_is_done_stays_done_whatever_the_callback_meets(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    peers.journal.enqueue(HOOK)

    after = attempt(claimed(peers), failing_in_the_callback(failure), monkeypatch)

    assert (after.state, after.step) == (State.QUEUED, Step.CALLBACK)
    assert after.outcome == Outcome(None)
    assert (after.next_at or 0) > after.created_at


def test_a_failure_that_passes_is_tried_again_as_often_as_is_set(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.journal.enqueue(HOOK)
    monkeypatch.setattr(ending, "BACKOFF_BASE", 0.0)
    busy = failing(JobFailed(Code.GFBIO_UNAVAILABLE, "busy", again=True))

    first = attempt(claimed(peers), busy, monkeypatch)
    second = attempt(claimed(peers), busy, monkeypatch)

    assert (first.state, first.step, first.attempt) == (State.QUEUED, Step.WORK, 1)
    assert (second.state, second.step) == (State.QUEUED, Step.CALLBACK)
    assert second.outcome == Outcome(Code.GFBIO_UNAVAILABLE, "busy")


def test_a_failure_that_is_final_goes_to_its_callback_at_once(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.journal.enqueue(HOOK)

    after = attempt(claimed(peers), failing(JobFailed(Code.INVALID_INPUT, "not ABCD")), monkeypatch)

    assert (after.step, after.outcome) == (Step.CALLBACK, Outcome("invalid_input", "not ABCD"))
    assert after.next_at is not None
    assert after.next_at <= peers.clock()


def test_waiting_and_stopping_count_no_attempt(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.journal.enqueue(HOOK)

    stopped = attempt(claimed(peers), failing(Stopping("stopping")), monkeypatch)
    waiting = attempt(claimed(peers), failing(NotYet("soon", after=30)), monkeypatch)

    assert (stopped.state, stopped.attempt) == (State.QUEUED, 0)
    assert (waiting.state, waiting.attempt) == (State.QUEUED, 0)
    assert waiting.waiting_since is not None
    assert (waiting.next_at or 0) > peers.clock() + 20


def test_a_genuine_delivery_after_a_false_one_is_not_lost_with_it(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.journal.enqueue(replace(HOOK, credentials=replace(HOOK.credentials, secret="false")))
    claim = claimed(peers)
    peers.journal.enqueue(HOOK)

    after = attempt(claim, failing(JobFailed(Code.INVALID_SECRET, "not Aruna's")), monkeypatch)

    assert after.state is State.QUEUED
    assert after.hook is not None
    assert after.hook.credentials.secret == HOOK.credentials.secret


def test_a_false_delivery_keeps_no_credentials(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.journal.enqueue(HOOK)

    after = attempt(
        claimed(peers), failing(JobFailed(Code.INVALID_SECRET, "not Aruna's")), monkeypatch
    )

    assert (after.state, after.credentials) == (State.FAILED, None)
