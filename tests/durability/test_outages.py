"""A peer that is away costs no job: it is waited for, and what was made already is not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import pytest

from pipeline.jobs.decision import MAX_ATTEMPTS
from sandbox import Answered, Call, Dropped, Refused, Sandbox
from tests.conftest import SAMPLE
from tests.durability.conftest import Starter
from tests.durability.kept import assert_done_once, wait_for_the_end
from tests.running import Running
from tests.whole import Whole

#: More failures than a job may have.
MANY = 2 * MAX_ATTEMPTS


def away(sandbox: Sandbox, operation: str, failure: Exception, times: int = MANY) -> None:
    """The next ``times`` calls of that operation by the service fail so."""
    left = [times]
    lock = threading.Lock()

    def fail(call: Call) -> None:
        with lock:
            if left[0] and call.details.get("by") != "user":
                left[0] -= 1
                raise failure

    sandbox.at(operation, fail, times=None)


UNAVAILABLE = Refused(grpc.StatusCode.UNAVAILABLE, "away")


@pytest.mark.parametrize("operation", ["grpc.GetObject", "grpc.GetDataset"])
def test_an_aruna_that_is_away_at_a_look_up_is_waited_for(
    sandbox: Sandbox, start_impatient: Starter, operation: str
) -> None:
    whole = Whole.of(sandbox, start_impatient(TRANSFORMER="embedded"))
    dataset = sandbox.create_dataset("ds", whole.project)
    away(sandbox, operation, UNAVAILABLE, times=6)
    source = whole.upload("plants.xml", SAMPLE, parent=dataset, second_parent=whole.project)

    wait_for_the_end(whole, source)

    assert_done_once(whole, source)
    with whole.service.journal() as journal:
        assert {job.attempt for job in journal.jobs()} == {1}


def test_a_result_waits_for_an_aruna_that_is_away_at_its_creation(
    sandbox: Sandbox, start_service: Callable[..., Running]
) -> None:
    whole = Whole.of(sandbox, start_service())
    away(sandbox, "grpc.CreateObject", UNAVAILABLE, times=6)
    source = whole.upload("plants.xml", SAMPLE)

    wait_for_the_end(whole, source)

    assert_done_once(whole, source)
    assert len(sandbox.requests("gfbio.transform")) == 1
    with whole.service.journal() as journal:
        (job,) = journal.jobs()
        assert (job.attempt, journal.attempts(job.id)[0].code) == (1, None)


@pytest.mark.parametrize(
    ("operation", "failure"),
    [
        ("gfbio.transform", Answered(503, b"")),
        ("gfbio.transform", Dropped()),
        ("s3.get", Answered(503, b"")),
        ("s3.head", Answered(500, b"")),
    ],
    ids=["GFBio 503", "GFBio drops", "storage 503", "storage 500"],
)
def test_a_peer_that_is_away_costs_no_attempt_and_no_job(
    sandbox: Sandbox, start_impatient: Starter, operation: str, failure: Exception
) -> None:
    whole = Whole.of(sandbox, start_impatient(GFBIO_TRANSPORT="direct"))
    away(sandbox, operation, failure)
    source = whole.upload("plants.xml", SAMPLE)

    wait_for_the_end(whole, source)

    assert_done_once(whole, source)
    with whole.service.journal() as journal:
        (job,) = journal.jobs()
        assert job.failures == 0


def test_an_operators_own_number_bounds_outages_too(
    sandbox: Sandbox, start_impatient: Starter
) -> None:
    whole = Whole.of(sandbox, start_impatient(GFBIO_TRANSPORT="direct", MAX_ATTEMPTS="2"))
    away(sandbox, "gfbio.transform", Answered(503, b""))
    source = whole.upload("plants.xml", SAMPLE)

    wait_for_the_end(whole, source)

    assert whole.error(source).startswith("gfbio_unavailable: ")
    assert len(sandbox.requests("gfbio.transform")) == 2
