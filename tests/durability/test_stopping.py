"""SIGTERM: what is nearly done is finished, what is not goes back to the queue uncounted."""

from __future__ import annotations

import signal
import socket
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from pipeline.journal import State
from sandbox import Sandbox, generated_result
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import LARGE, PART_SIZE, assert_done_once, eventually, wait_for_the_end
from tests.running import Running
from tests.whole import Whole


def assert_queued_and_uncounted(service: Running) -> None:
    """The one job is as if it had not been begun."""
    with service.journal() as journal:
        (job,) = journal.jobs()
        assert (job.state, job.attempt, job.lease) == (State.QUEUED, 0, None)
        assert journal.attempts(job.id) == []


@pytest.mark.parametrize("operation", ["gfbio.transform", "s3.part"])
def test_a_restart_in_the_middle_of_a_job_ends_in_one_whole_object(
    sandbox: Sandbox, start_impatient: Starter, operation: str
) -> None:
    sandbox.gfbio.big = LARGE
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    held = Arrest(sandbox, operation)
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    assert whole.service.stop() == 0
    assert_queued_and_uncounted(whole.service)
    held.let_go()
    whole.service.start()
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    content = sandbox.content(whole.result(source).id)
    assert sha256(content).digest() == sha256(b"".join(generated_result(LARGE))).digest()


def test_a_job_that_can_end_in_time_is_waited_for(sandbox: Sandbox, start_service: Starter) -> None:
    whole = Whole.of(sandbox, start_service())
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    terminate(whole.service)
    held.let_go(effect=True)
    whole.wait_for_callback(source)
    assert_done_once(whole, source)
    assert whole.service.stop() == 0


def test_what_gfbio_misses_at_the_relay_of_a_stopping_service_counts_no_attempt(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service())
    held = Arrest(sandbox, "gfbio.transform")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    terminate(whole.service)
    held.let_go(effect=True)
    assert whole.service.stop() == 0
    assert_queued_and_uncounted(whole.service)
    whole.service.start()
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)


def terminate(service: Running) -> None:
    """SIGTERM to the master, and wait until nobody is connected any more."""
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: not _listens(service.url))


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True
