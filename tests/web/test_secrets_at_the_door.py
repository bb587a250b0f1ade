"""A hook's secret is checked before the acknowledgement, or changes nothing until it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from pipeline.journal import State
from sandbox import Call, Refused, Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.kept import DONE, assert_done_once, wait_for_the_end
from tests.payloads import as_bytes
from tests.running import Running
from tests.whole import Whole


@pytest.fixture
def keys_known(sandbox: Sandbox) -> Iterator[threading.Event]:
    """Aruna tells its public keys only once this is set."""
    known = threading.Event()

    def refuse(_: Call) -> None:
        if not known.is_set():
            raise Refused(grpc.StatusCode.UNAVAILABLE, "not yet")

    sandbox.at("grpc.GetPubkeys", refuse, times=None)
    yield known
    known.set()


def forged(whole: Whole, **changes: Any) -> bytes:
    """The last delivery again, with a secret that Aruna did not make."""
    body = json.loads(whole.sandbox.deliveries[-1].body)
    return as_bytes({**body, "secret": "Z2FyYmFnZQ==", **changes})


def test_a_false_secret_is_refused_at_the_door_and_leaves_nothing(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    wait_for_the_end(whole, source)

    answer = whole.service.post(forged(whole))

    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_secret")
    with whole.service.journal() as journal:
        assert len(journal.jobs()) == 1
    assert whole.effective_callbacks(source) == 1


@pytest.mark.parametrize("content_len", [None, 7], ids=["same content", "other content"])
def test_a_forged_delivery_changes_nothing_of_a_genuine_job(
    whole: Whole, content_len: int | None
) -> None:
    looking = Arrest(whole.sandbox, "s3.head")
    source = whole.upload("plants.xml", SAMPLE)
    looking.wait()
    body = json.loads(whole.sandbox.deliveries[-1].body)
    if content_len is not None:
        body["object"]["Object"]["content_len"] = content_len

    answer = whole.service.post(forged(whole, object=body["object"]))
    looking.let_go(effect=True)

    assert answer.status_code == 403
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)


def test_before_the_keys_are_known_each_delivery_is_judged_by_itself(
    sandbox: Sandbox, start_service: Callable[..., Running], keys_known: threading.Event
) -> None:
    whole = Whole.of(sandbox, start_service(TRANSFORMER="embedded"))
    source = whole.upload("plants.xml", SAMPLE)
    sandbox.wait_for(lambda: not sandbox.delivering)
    genuine = sandbox.deliveries[-1].body

    answers = [whole.service.post(body) for body in (forged(whole), genuine)]
    with whole.service.journal() as journal:
        waiting = journal.counts()[State.QUEUED]
        assert [job.state for job in journal.jobs()] == [State.QUEUED] * 3
    keys_known.set()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert waiting == 3
    wait_for_the_end(whole, source)
    with whole.service.journal() as journal:
        ends = sorted((job.state.value, job.outcome and job.outcome.code) for job in journal.jobs())
        assert not any(job.credentials for job in journal.jobs())
    assert ends == [("failed", "invalid_secret"), ("succeeded", None)]
    assert whole.labels(source) == DONE
    assert whole.result_json(source)["@type"] == "Dataset"


def test_a_delivery_from_before_a_kill_is_admitted_by_the_next_process(
    sandbox: Sandbox, start_service: Callable[..., Running], keys_known: threading.Event
) -> None:
    whole = Whole.of(sandbox, start_service(TRANSFORMER="embedded"))
    source = whole.upload("plants.xml", SAMPLE)
    sandbox.wait_for(lambda: not sandbox.delivering)
    whole.service.kill()
    keys_known.set()

    whole.service.start()

    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
