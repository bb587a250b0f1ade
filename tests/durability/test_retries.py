"""Failures that pass: jobs wait, succeed, and say afterwards what they went through."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from pipeline.jobs.decision import MAX_LOST
from pipeline.journal import State
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import assert_done_once, eventually, wait_for_the_end
from tests.running import ROOT, Running
from tests.whole import Whole


def show(service: Running, *options: str) -> str:
    """What the command prints of the one job, in an environment as the service's own."""
    with service.journal() as journal:
        (job,) = journal.jobs()
    command = [sys.executable, "-m", "pipeline", "show", job.id, *options]
    return subprocess.run(
        command, cwd=ROOT, env=service.environment, capture_output=True, text=True, check=True
    ).stdout


def attempts(service: Running) -> list[tuple[Any, ...]]:
    """Step, number and code of each attempt of the one job."""
    with service.journal() as journal:
        (job,) = journal.jobs()
        return [(past.step, past.number, past.code) for past in journal.attempts(job.id)]


def test_jobs_wait_for_a_gfbio_that_fails_for_a_while(
    sandbox: Sandbox, start_impatient: Starter, journal_url: str
) -> None:
    sandbox.gfbio.failures = 2
    whole = Whole.of(sandbox, start_impatient(JOURNAL_URL=journal_url))
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    shown = json.loads(show(whole.service, "--json"))
    made = [past for past in shown["attempts_made"] if past["step"] == "work"]
    tries = [(past["number"], past["code"]) for past in made]
    assert tries == [(1, "gfbio_unavailable"), (2, "gfbio_unavailable"), (3, None)]
    assert all(past["started_at"] <= past["ended_at"] for past in made)
    assert show(whole.service).count("gfbio_unavailable") == 2


def test_the_time_of_the_next_attempt_survives_a_crash(
    sandbox: Sandbox, start_service: Starter
) -> None:
    sandbox.gfbio.down = True
    whole = Whole.of(sandbox, start_service())
    whole.upload("plants.xml", SAMPLE)
    eventually(lambda: _planned(whole.service))
    planned = _planned(whole.service)
    whole.service.kill()
    assert _planned(whole.service) == planned


def test_a_callback_that_aruna_does_not_take_is_made_again_without_the_work(
    sandbox: Sandbox, start_impatient: Starter
) -> None:
    whole = Whole.of(sandbox, start_impatient())
    held = Arrest(sandbox, "grpc.HookCallback")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    held.let_go()
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert attempts(whole.service) == [
        ("work", 1, None),
        ("callback", 1, "callback_failed"),
        ("callback", 2, None),
    ]
    assert len(sandbox.requests("gfbio.transform")) == 1


def test_a_job_that_kills_its_process_again_and_again_ends_with_an_error_label(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service(MAX_ATTEMPTS="1"))
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    whole.service.kill()
    with whole.service.journal() as journal:
        for holder in journal.holders():
            journal.expire(holder)
        for _ in range(MAX_LOST):
            journal.claim("a process that dies at once", 1, 0.0)
    held.let_go()
    whole.service.start()
    whole.wait_for_callback(source)
    assert whole.error(source).startswith(
        f"internal_error: the service has died in {MAX_LOST + 1} attempts"
    )
    assert whole.effective_callbacks(source) == 1


def _planned(service: Running) -> float | None:
    """When the one job is tried again, if it has failed once."""
    with service.journal() as journal:
        jobs = journal.jobs(State.QUEUED)
    return jobs[0].next_at if jobs and jobs[0].attempt == 1 else None
