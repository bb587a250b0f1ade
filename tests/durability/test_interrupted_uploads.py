"""A success label is true: whatever cut the upload off, the result is whole, byte for byte.

Aruna 2.0.4: the data proxy re-encodes while it answers CompleteMultipartUpload, and makes an object
AVAILABLE before a PutObject is over. What is cut off then is AVAILABLE, and broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256

import pytest
import requests

from pipeline.journal import State
from sandbox import Call, Dropped, Sandbox
from sandbox.gfbio.generated import generated_result
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import LARGE, PART_SIZE, assert_done_once, eventually, wait_for_the_end
from tests.running import Running
from tests.whole import Whole

SMALL = 100_000
#: Where the end of an upload is cut off: an operation, before or after its effect, and how often
#: the content is written in all.
PUT = [("s3.put", False, 2), ("s3.put_end", False, 2), ("s3.put", True, 1)]
COMPLETE = [("s3.complete", False, 2), ("s3.reencode", False, 2), ("s3.complete", True, 1)]


def concerns(stem: str) -> Callable[[Call], bool]:
    """The service's own requests for the result of that source."""
    key = f"{stem}.json"
    return lambda call: call.details.get("by") == "hook" and call.details.get("key") == key


def times(sandbox: Sandbox, operation: str, stem: str) -> int:
    """How often the service has asked that for that result."""
    return sum(concerns(stem)(call) for call in sandbox.requests(operation))


def assert_whole(whole: Whole, source: str, size: int) -> None:
    """One result that can be downloaded and is what GFBio made, and one callback."""
    assert_done_once(whole, source)
    url = f"{whole.sandbox.s3_url}/garden/{whole.result(source).name}"
    content = requests.get(url, timeout=30).content
    assert sha256(content).digest() == sha256(b"".join(generated_result(size))).digest()


@pytest.mark.parametrize(
    ("write", "size", "moments"),
    [("s3.put", SMALL, PUT), ("s3.complete", LARGE, COMPLETE)],
    ids=["PutObject", "CompleteMultipartUpload"],
)
def test_a_kill_at_the_end_of_an_upload_leaves_no_broken_result(
    sandbox: Sandbox,
    start_impatient: Starter,
    write: str,
    size: int,
    moments: list[tuple[str, bool, int]],
) -> None:
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    sandbox.gfbio.big = size
    stems = [f"plants-{number}" for number, _ in enumerate(moments)]
    sources = []
    held = []
    for stem, (operation, after, _) in zip(stems, moments, strict=True):
        held.append(Arrest(sandbox, operation, after=after, concerns=concerns(stem)))
        sources.append(whole.upload(f"{stem}.xml", SAMPLE))
        held[-1].wait()
    whole.service.kill()
    for arrest in held:
        arrest.let_go()
    whole.service.start()

    wait_for_the_end(whole, *sources)

    for source, stem, (_, _, writes) in zip(sources, stems, moments, strict=True):
        assert_whole(whole, source, size)
        assert times(sandbox, write, stem) == writes


def test_a_kill_while_results_are_re_encoded_leaves_none_of_them_broken(
    sandbox: Sandbox, start_impatient: Starter
) -> None:
    sandbox.gfbio.big = LARGE
    sandbox.aruna.finalise_seconds = 0.5
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    sources = [whole.upload(f"plants-{number}.xml", SAMPLE) for number in range(5)]
    sandbox.wait_for(lambda: len(sandbox.requests("s3.reencode")) == 3)
    whole.service.kill()
    whole.service.start()

    wait_for_the_end(whole, *sources)

    for source in sources:
        assert_whole(whole, source, LARGE)


def test_a_stop_waits_for_an_upload_that_is_being_completed(
    sandbox: Sandbox, start_impatient: Starter
) -> None:
    sandbox.gfbio.big = LARGE
    sandbox.aruna.finalise_seconds = None
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    source = whole.upload("plants.xml", SAMPLE)
    sandbox.wait_for(lambda: sandbox.requests("s3.reencode"))
    held = Arrest(sandbox, "gfbio.transform")
    other = whole.upload("other.xml", SAMPLE)
    held.wait()
    with ThreadPoolExecutor(1) as thread:
        stopped = thread.submit(whole.service.stop)
        eventually(lambda: is_queued(whole.service, other))
        sandbox.release()
        assert stopped.result() == 0
    held.let_go()
    whole.service.start()

    wait_for_the_end(whole, source, other)

    assert_whole(whole, source, LARGE)
    assert times(sandbox, "s3.complete", "plants") == 1
    assert times(sandbox, "s3.get", "plants") == 0


def is_queued(service: Running, source: str) -> bool:
    """Whether the job of that source is in the queue again."""
    with service.journal() as journal:
        return [job.state for job in journal.jobs() if job.object_id == source] == [State.QUEUED]


@pytest.mark.parametrize("operation", ["s3.reencode", "s3.put_end"])
def test_a_connection_that_ends_near_the_end_of_an_upload_leaves_no_broken_result(
    sandbox: Sandbox, start_impatient: Starter, operation: str
) -> None:
    def drop(call: Call) -> None:
        if call.details["by"] == "hook" and next(once, False):
            raise Dropped

    once = iter([True])
    size = LARGE if operation == "s3.reencode" else SMALL
    sandbox.gfbio.big = size
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    sandbox.at(operation, drop, times=None)
    source = whole.upload("plants.xml", SAMPLE)

    wait_for_the_end(whole, source)

    assert_whole(whole, source, size)


def test_an_error_inside_the_answer_to_a_completion_leaves_no_broken_result(
    sandbox: Sandbox, start_impatient: Starter
) -> None:
    sandbox.gfbio.big = LARGE
    whole = Whole.of(sandbox, start_impatient(PART_SIZE=PART_SIZE))
    sandbox.aruna.complete_error = "Internal error"
    sandbox.at("s3.create_multipart", partial(mend, sandbox, iter([False, True])), times=2)
    source = whole.upload("plants.xml", SAMPLE)

    wait_for_the_end(whole, source)

    assert_whole(whole, source, LARGE)
    assert len(sandbox.requests("s3.complete")) == 2


def mend(sandbox: Sandbox, now: Iterator[bool], _: Call) -> None:
    """The data proxy is well again from the second upload on."""
    if next(now):
        sandbox.aruna.complete_error = None
