"""Aruna delivers an object again: nothing is done twice, and after each delivery comes a callback.

Every delivery sets the hook's status to RUNNING and puts the labels back to what they were when
it was triggered; the same hook id and object id can stand for other content.
"""

from __future__ import annotations

import json

import pytest
from aruna.api.storage.models.v2 import models_pb2

from pipeline.journal import Job, State
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import DONE, wait_for_the_end
from tests.whole import Whole

OTHER = SAMPLE.replace(b"Alpine transect", b"Arctic transect")


@pytest.fixture
def whole(sandbox: Sandbox, start_impatient: Starter) -> Whole:
    """A project whose hook calls a service."""
    return Whole.of(sandbox, start_impatient())


def jobs_of(whole: Whole) -> list[Job]:
    """All jobs, the oldest first."""
    with whole.service.journal() as journal:
        return journal.jobs()[::-1]


def answers(whole: Whole) -> list[str]:
    """What the service has answered to the deliveries so far."""
    return [json.loads(delivered.answer)["status"] for delivered in whole.sandbox.deliveries]


def assert_finished(whole: Whole, source: str, *, callbacks: int) -> None:
    """Aruna was told after the last delivery, and the label stands there once."""
    statuses = whole.sandbox.hook_status(source, whole.hook_id)
    assert {json.loads(entry.value)["status"] for entry in statuses} == {"FINISHED"}
    assert whole.labels(source) == DONE
    assert whole.effective_callbacks(source) == callbacks


def put_twice(whole: Whole) -> str:
    """A source in two places of the project, which is therefore delivered twice."""
    dataset = whole.sandbox.create_dataset("specimens", whole.project)
    return whole.upload("plants.xml", SAMPLE, second_parent=dataset)


def test_an_object_in_two_places_is_delivered_twice_and_done_once(whole: Whole) -> None:
    held = Arrest(whole.sandbox, "gfbio.result")
    source = put_twice(whole)
    held.wait()
    whole.sandbox.wait_for(lambda: not whole.sandbox.delivering)
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert answers(whole) == ["accepted", "duplicate"]
    assert_finished(whole, source, callbacks=1)
    assert len(whole.results_of(source)) == len(jobs_of(whole)) == 1


def test_a_delivery_while_the_callback_is_on_its_way_gets_one_of_its_own(whole: Whole) -> None:
    told = Arrest(whole.sandbox, "grpc.HookCallback", after=True)
    second = Arrest(whole.sandbox, "hook", concerns=lambda _: len(whole.sandbox.deliveries) == 1)
    source = put_twice(whole)
    told.wait()
    second.wait()
    assert whole.status(source) == "FINISHED"
    whole.sandbox.overwrite(source, SAMPLE)
    second.let_go(effect=True)
    whole.sandbox.wait_for(lambda: not whole.sandbox.delivering)
    assert whole.status(source) == "RUNNING"
    told.let_go()
    wait_for_the_end(whole, source)
    assert set(answers(whole)[1:]) == {"duplicate"}
    assert_finished(whole, source, callbacks=2)
    assert whole.result(source).name == "plants.json"


def test_a_duplicates_token_and_keys_replace_the_jobs(whole: Whole) -> None:
    held = Arrest(whole.sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    whole.sandbox.wait_for(lambda: whole.sandbox.deliveries)
    sent = json.loads(whole.sandbox.deliveries[0].body)
    fresher = {"token": sent["token"] + "x", "access_key": "FRESHER", "secret_key": "fresher"}
    answer = whole.service.post(json.dumps({**sent, **fresher}).encode())
    assert answer.status_code == 202
    (job,) = jobs_of(whole)
    assert answer.json() == {
        "status": "duplicate",
        "message": "Processing already",
        "job_id": job.id,
    }
    assert job.credentials is not None
    lent = job.credentials
    assert (lent.token, lent.access_key, lent.secret_key) == tuple(fresher.values())
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert len(whole.results_of(source)) == 1


def test_a_delivery_after_success_is_answered_with_a_callback_alone(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)
    first = whole.result(source)
    whole.sandbox.overwrite(source, SAMPLE)
    wait_for_the_end(whole, source)
    assert answers(whole) == ["accepted", "accepted"]
    assert_finished(whole, source, callbacks=2)
    assert whole.result(source) == first
    assert len(whole.sandbox.requests("gfbio.transform")) == 1


def test_a_callback_alone_that_a_crash_stopped_is_made_after_it(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)
    held = Arrest(whole.sandbox, "grpc.HookCallback")
    whole.sandbox.overwrite(source, SAMPLE)
    held.wait()
    whole.service.kill()
    held.let_go()
    assert whole.status(source) == "RUNNING"
    whole.service.start()
    wait_for_the_end(whole, source)
    assert_finished(whole, source, callbacks=2)


def test_a_result_that_its_owner_has_deleted_is_made_again(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)
    first = whole.result(source)
    whole.sandbox.delete(first.id)
    whole.sandbox.overwrite(source, SAMPLE)
    wait_for_the_end(whole, source)
    (again,) = available(whole, source)
    assert (again.name, again.id == first.id) == ("plants.json", False)
    assert_finished(whole, source, callbacks=2)


def test_a_source_overwritten_after_success_gets_a_result_under_the_next_name(
    whole: Whole,
) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)
    first = whole.result(source)
    whole.sandbox.overwrite(source, OTHER)
    wait_for_the_end(whole, source)
    old, new = sorted(available(whole, source), key=lambda found: len(found.name))
    assert (old.id, old.name) == (first.id, "plants.json")
    assert new.name == f"plants.{source[-8:]}.json"
    assert b"Arctic" in whole.sandbox.content(new.id)
    assert b"Alpine" in whole.sandbox.content(old.id)
    assert_finished(whole, source, callbacks=2)


def test_a_source_overwritten_while_its_job_runs_is_answered_by_the_job_of_its_new_content(
    whole: Whole,
) -> None:
    held = Arrest(whole.sandbox, "s3.head", concerns=lambda _: _has_created(whole.sandbox))
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    whole.sandbox.overwrite(source, OTHER)
    whole.sandbox.wait_for(lambda: not whole.sandbox.delivering)
    assert answers(whole) == ["accepted", "accepted"]
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    superseded, done = jobs_of(whole)
    assert (superseded.state, done.state) == (State.FAILED, State.SUCCEEDED)
    assert superseded.outcome is not None
    assert superseded.outcome.code == "superseded"
    (result,) = available(whole, source)
    assert b"Arctic" in whole.sandbox.content(result.id)
    assert result.id == done.result_id
    assert_finished(whole, source, callbacks=1)


def test_two_hooks_on_one_source_make_one_result(whole: Whole) -> None:
    other = Whole(whole.sandbox, whole.service, whole.project, "")
    other.hook_id = whole.sandbox.register_hook(
        url=f"{whole.service.url}/webhook",
        projects=[whole.project],
        token="webhook-token-of-the-tests",
        name="other",
    )
    source = whole.upload("plants.xml", SAMPLE)
    whole.sandbox.wait_for(lambda: other.is_called_back(source))
    wait_for_the_end(other, source)
    assert len(whole.results_of(source)) == 1
    assert len(whole.sandbox.requests("grpc.CreateObject")) == 1
    assert whole.labels(source) == DONE
    assert {job.state for job in jobs_of(whole)} == {State.SUCCEEDED, State.FAILED}


def available(whole: Whole, source: str) -> list[models_pb2.Object]:
    """The results that are there for their readers."""
    there = models_pb2.STATUS_AVAILABLE
    return [found for found in whole.results_of(source) if found.status == there]


def _has_created(sandbox: Sandbox) -> bool:
    return bool(sandbox.requests("grpc.CreateObject"))
