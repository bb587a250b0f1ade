"""The promise, as a test finds it kept in Aruna and in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.journal import State
from tests.running import Running
from tests.whole import Whole

DONE = [("PROCESSING_STATUS", "success")]
#: The smallest PART_SIZE, and the bytes of a result of two such parts.
PART_SIZE = str(5 * 1024 * 1024)
LARGE = 6 * 1024 * 1024
_PAUSE = 0.02


def eventually(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait for what no event tells of, the state of another process; ``AssertionError`` if it
    does not come true."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"not so within {timeout:g} seconds"
        time.sleep(_PAUSE)


def wait_for_the_end(whole: Whole, *sources: str, timeout: float = 30.0) -> None:
    """Wait until Aruna has been told of all sources and the journal has nothing left to do."""
    whole.wait_for_callback(*sources, timeout=timeout)
    eventually(lambda: is_idle(whole.service), timeout)


def is_idle(service: Running) -> bool:
    """Whether no job is queued or running."""
    jobs = service.session.get(f"{service.url}/health", timeout=10).json().get("jobs")
    return jobs is not None and jobs["queued"] == jobs["running"] == 0


def assert_done_once(whole: Whole, source: str) -> None:
    """One result, whole; one callback that Aruna has taken; one label."""
    assert whole.status(source) == "FINISHED"
    assert whole.labels(source) == DONE
    assert whole.result_json(source)["@type"] == "Dataset"
    assert whole.effective_callbacks(source) == 1


def assert_nothing_is_held(whole: Whole) -> None:
    """All jobs have succeeded, nobody holds a lease, no credential is kept."""
    with whole.service.journal() as journal:
        assert list(journal.holders()) == []
        for job in journal.jobs():
            assert (job.state, job.lease, job.credentials) == (State.SUCCEEDED, None, None), job
