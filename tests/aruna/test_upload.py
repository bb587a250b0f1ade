"""A whole result becomes the object it was made for, and nothing else ever does."""

from __future__ import annotations

import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pipeline.aruna import read_back
from pipeline.aruna import s3 as s3_module
from pipeline.aruna import s3_client as s3_client_module
from pipeline.aruna import upload as upload_module
from pipeline.aruna.s3 import S3, Place, place_of, s3_client
from pipeline.aruna.upload import upload
from pipeline.attempt import Attempt
from pipeline.errors import OUTAGE, Code, Interrupted, JobFailed, LeaseLost, Stopping
from pipeline.net.addresses import Addresses
from tests.aruna.storage import (
    OBJECT_ID,
    Fault,
    Request,
    Storage,
    cutting,
    hanging,
    refusing,
    storing,
)
from tests.network import Lookups

PART = 100_000
RESULT = bytes(range(250)) * 1800  # four and a half parts

Fence = Callable[[], None]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (s3_module, upload_module):
        monkeypatch.setattr(module, "PAUSES", (0.01,) * 5)
    monkeypatch.setattr(read_back, "LOOK_PAUSES", (0.01,) * 3)


@pytest.fixture
def storage() -> Iterator[Storage]:
    with storing() as storage:
        yield storage


@pytest.fixture
def place(storage: Storage) -> Place:
    return Place(f"http://127.0.0.1:{storage.port}", "project", "a b/r(1).json", "R", True)


@pytest.fixture
def s3(place: Place) -> Iterator[S3]:
    with s3_client(place, "access", "marked-secret", Addresses(insecure=True)) as s3:
        yield s3


def no_fence() -> None:
    """The lease holds."""


def blocks(content: bytes, size: int = 30_000) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def put_up(
    result: Iterator[bytes], s3: S3, place: Place, attempt: Attempt, fence: Fence = no_fence
) -> int:
    return upload(
        result,
        s3,
        place,
        OBJECT_ID,
        attempt,
        part_size=PART,
        concurrency=2,
        before_write=fence,
    )


def failure_of(result: Iterator[bytes], s3: S3, place: Place, attempt: Attempt) -> JobFailed:
    with pytest.raises(JobFailed) as failure:
        put_up(result, s3, place, attempt)
    assert "127.0.0.1" not in failure.value.message
    assert "marked-secret" not in failure.value.message
    return failure.value


@pytest.mark.parametrize("length", [1, PART - 1, PART])
def test_a_result_of_one_part_is_put(
    length: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    assert put_up(blocks(RESULT[:length]), s3, place, attempt) == length
    assert storage.content == RESULT[:length]
    assert storage.log == ["PUT", "HEAD"]


@pytest.mark.parametrize("length", [PART + 1, 2 * PART, 2 * PART + 1, len(RESULT)])
@pytest.mark.parametrize("size", [997, PART, len(RESULT)])
def test_a_longer_result_goes_in_parts(
    length: int, size: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    assert put_up(blocks(RESULT[:length], size), s3, place, attempt) == length
    assert storage.content == RESULT[:length]
    parts = -(-length // PART)
    assert sorted(storage.log) == sorted(
        ["CREATE", *(f"PART {number + 1}" for number in range(parts)), "COMPLETE", "HEAD"]
    )


def test_the_first_part_is_sent_before_the_result_is_complete(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    arrived = threading.Event()

    def noting(_: Request) -> bool:
        arrived.set()
        return True

    storage.faults["PART"].append(noting)

    def result() -> Iterator[bytes]:
        yield RESULT[: PART + 1]
        assert arrived.wait(5)
        yield RESULT[PART + 1 :]

    put_up(result(), s3, place, attempt)
    assert storage.content == RESULT


def test_as_many_parts_as_agreed_are_in_flight_while_the_result_is_read(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    both = threading.Barrier(2)

    def together(_: Request) -> bool:
        both.wait(5)
        return True

    storage.faults["PART"] += [together] * 4
    put_up(blocks(RESULT), s3, place, attempt)
    assert storage.content == RESULT
    assert storage.most_in_flight == 2


def forgetting(request: Request) -> bool:
    """The parts that came before are dropped, so that only the upload's own memory is left."""
    request.storage.parts.clear()
    return True


def test_memory_does_not_grow_with_the_result(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    part_size, concurrency = 1 << 20, 2
    storage.faults["PART"] += [forgetting] * 40
    block = bytes(1 << 16)
    tracemalloc.start(1)
    with pytest.raises(JobFailed):
        upload(
            iter([block] * 40 * 16),
            s3,
            place,
            OBJECT_ID,
            attempt,
            part_size=part_size,
            concurrency=concurrency,
            before_write=no_fence,
        )
    ours = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, upload_module.__file__)]
    )
    tracemalloc.stop()
    assert storage.asked("PART") == 40
    assert sum(trace.size for trace in ours.traces) <= (concurrency + 1) * part_size


def test_an_empty_result_writes_nothing(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    failure = failure_of(iter([b"", b""]), s3, place, attempt)
    assert failure.code is Code.UPLOAD_FAILED
    assert storage.log == []


@pytest.mark.parametrize("length", [10, PART, 3 * PART])
def test_a_truncated_result_is_never_completed(
    length: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["ABORT"].append(refusing(403, "AccessDenied"))

    def result() -> Iterator[bytes]:
        yield from blocks(RESULT[:length])
        raise JobFailed(Code.TRANSFORMATION_FAILED, "not complete JSON")

    failure = failure_of(result(), s3, place, attempt)
    assert failure.code is Code.TRANSFORMATION_FAILED
    assert storage.content == b""
    assert storage.asked("PUT") == storage.asked("COMPLETE") == 0
    assert storage.asked("ABORT") == storage.asked("CREATE")


@pytest.mark.parametrize(
    "fault",
    [
        refusing(500, "InternalError"),
        refusing(503, "SlowDown"),
        refusing(403, "InvalidObjectState"),
        refusing(400, "RequestTimeout"),
        cutting,
    ],
)
@pytest.mark.parametrize("operation", ["PUT", "CREATE", "PART", "COMPLETE"])
def test_what_may_pass_is_tried_again(
    operation: str,
    fault: Callable[[Request], bool],
    storage: Storage,
    s3: S3,
    place: Place,
    attempt: Attempt,
) -> None:
    storage.faults[operation] += [fault, fault]
    result = RESULT[:PART] if operation == "PUT" else RESULT
    put_up(blocks(result), s3, place, attempt)
    assert storage.content == result


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch"])
@pytest.mark.parametrize("operation", ["PUT", "CREATE", "PART", "COMPLETE"])
def test_a_refusal_is_final(
    operation: str, code: str, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults[operation] += [refusing(403, code)] * 9
    result = RESULT[:PART] if operation == "PUT" else RESULT
    failure = failure_of(blocks(result), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, False)
    assert code in failure.message
    assert storage.asked(operation) <= 3
    assert storage.content == b""


@pytest.mark.parametrize("fault", [refusing(500, "InternalError"), cutting])
def test_a_storage_that_stays_broken_is_a_reason_for_another_attempt(
    fault: Callable[[Request], bool], storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["PART"] += [fault] * 99
    failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, True)
    assert storage.log[-1] == "ABORT"
    assert storage.content == b""


def test_too_many_parts_are_an_error_before_they_are_sent(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    monkeypatch.setattr(upload_module, "MAX_PARTS", 3)
    failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, False)
    assert "PART_SIZE" in failure.message
    assert storage.asked("PART") <= 3
    assert storage.content == b""


def test_a_completion_may_take_its_time(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.spaces = 5000
    put_up(blocks(RESULT), s3, place, attempt)
    assert storage.content == RESULT


def worked_then(fault: Fault, breaks_off_after: int | None = None) -> Fault:
    """The write has its effect, perhaps in part, but its answer does not say so."""

    def both(request: Request) -> bool:
        storage = request.storage
        parts = [part for _, part in sorted(storage.parts.items())]
        storage.content = b"".join(parts) or request.body
        storage.parts.clear()
        storage.breaks_off_after = breaks_off_after
        return fault(request)

    return both


UNHEARD = [cutting, refusing(200, "InternalError"), refusing(500, "InternalError")]


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_completion_that_worked_unheard_is_read_back(
    fault: Fault, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["COMPLETE"].append(worked_then(fault))
    put_up(blocks(RESULT), s3, place, attempt)
    assert storage.log[-4:] == ["COMPLETE", "HEAD", "GET", "HEAD"]


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_completion_that_broke_off_is_no_success_and_is_repaired_by_the_next_attempt(
    fault: Fault, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["COMPLETE"].append(worked_then(fault, breaks_off_after=PART))
    failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again, failure.patience) == (Code.UPLOAD_FAILED, True, 0.0)
    assert storage.asked("COMPLETE") == 1
    assert storage.asked("ABORT") == 0


def test_a_completion_that_goes_on_unheard_is_waited_for(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    def finishing(request: Request) -> bool:
        request.storage.breaks_off_after = None
        return True

    storage.faults["COMPLETE"].append(worked_then(cutting, breaks_off_after=PART))
    storage.faults["GET"] += [lambda _: True, lambda _: True, finishing]
    put_up(blocks(RESULT), s3, place, attempt)
    assert (storage.asked("COMPLETE"), storage.asked("GET")) == (1, 3)


def test_a_put_that_worked_unheard_is_not_sent_again(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["PUT"].append(worked_then(cutting))
    put_up(blocks(RESULT[:PART]), s3, place, attempt)
    assert storage.log == ["PUT", "HEAD", "GET", "HEAD"]


@pytest.mark.parametrize("breaks_off_after", [0, PART // 2])
def test_a_put_whose_content_is_broken_is_sent_again(
    breaks_off_after: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["PUT"].append(worked_then(cutting, breaks_off_after))
    put_up(blocks(RESULT[:PART]), s3, place, attempt)
    assert storage.log == ["PUT", "HEAD", "GET", "PUT", "HEAD"]
    assert (storage.content, storage.breaks_off_after) == (RESULT[:PART], None)


@pytest.mark.parametrize("length", [PART, len(RESULT)])
def test_a_write_whose_effect_cannot_be_read_back_is_no_success(
    length: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    operation = "PUT" if length == PART else "COMPLETE"
    storage.faults[operation].append(worked_then(cutting))
    storage.faults["GET"] += [refusing(503, "SlowDown")] * 9
    failure = failure_of(blocks(RESULT[:length]), s3, place, attempt)
    assert (failure.code, failure.patience) == (Code.UPLOAD_FAILED, OUTAGE)


@contextmanager
def completing_slowly(storage: Storage) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The completion has begun; it goes on, with spaces in between, until it is let go."""
    begun, let_go = threading.Event(), threading.Event()

    def slow(_: Request) -> bool:
        begun.set()
        let_go.wait(10)
        return not storage.ending.is_set()

    storage.faults["COMPLETE"].append(slow)
    try:
        yield begun, let_go
    finally:
        let_go.set()


@pytest.mark.parametrize("reason", [Stopping("shutdown"), LeaseLost("paused")])
def test_a_completion_is_over_before_the_attempt_ends(
    reason: Interrupted, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    with completing_slowly(storage) as (begun, let_go), ThreadPoolExecutor(1) as thread:
        uploaded = thread.submit(put_up, blocks(RESULT), s3, place, attempt)
        assert begun.wait(10)
        attempt.cut(reason)
        let_go.set()
        assert uploaded.result(10) == len(RESULT)
    assert storage.content == RESULT
    assert storage.log[-1] == "HEAD"
    with pytest.raises(type(reason)):
        attempt.check()


def test_a_completion_has_more_time_than_the_attempt(
    storage: Storage, s3: S3, place: Place
) -> None:
    now = [0.0]
    attempt = Attempt(10, clock=lambda: now[0])
    with completing_slowly(storage) as (begun, let_go), ThreadPoolExecutor(1) as thread:
        uploaded = thread.submit(put_up, blocks(RESULT), s3, place, attempt)
        assert begun.wait(10)
        now[0] = 300.0
        attempt.cut_if_due()
        let_go.set()
        assert uploaded.result(10) == len(RESULT)


def test_a_completion_without_end_is_given_up(storage: Storage, s3: S3, place: Place) -> None:
    now = [0.0]
    attempt = Attempt(10, clock=lambda: now[0])
    with completing_slowly(storage) as (begun, _), ThreadPoolExecutor(1) as thread:
        uploaded = thread.submit(put_up, blocks(RESULT), s3, place, attempt)
        assert begun.wait(10)
        now[0] = upload_module.COMPLETE_SECONDS + 11
        attempt.cut_if_due()
        with pytest.raises(JobFailed) as failure:
            uploaded.result(10)
    assert (failure.value.code, failure.value.again) == (Code.TIMEOUT, True)


def test_a_completion_that_did_not_work_is_not_taken_for_one(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["COMPLETE"] += [refusing(200, "InternalError")]
    storage.faults["COMPLETE"] += [refusing(400, "InvalidPart")] * 9
    failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, True)


@pytest.mark.parametrize("length", [PART, len(RESULT)])
def test_another_objects_id_in_the_etag_is_final(
    length: int, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.object_id = "01JANOTHER"
    failure = failure_of(blocks(RESULT[:length]), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, False)


def test_an_object_of_another_length_is_not_a_success(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    def losing(request: Request) -> bool:
        request.storage.content = b"short"
        return True

    storage.faults["HEAD"].append(losing)
    failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.UPLOAD_FAILED, True)


@pytest.mark.parametrize(
    ("length", "log"),
    [
        (PART, []),
        (2 * PART, []),
        (2 * PART, ["CREATE"]),
        (2 * PART, ["CREATE", "PART 1", "PART 2"]),
    ],
)
def test_a_lost_lease_ends_the_upload_before_the_next_write(
    length: int, log: list[str], storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    writes = 0

    def fence() -> None:
        nonlocal writes
        writes += 1
        if writes > len(log):
            raise LeaseLost("paused for too long")

    with pytest.raises(LeaseLost):
        put_up(blocks(RESULT[:length]), s3, place, attempt, fence)
    assert sorted(storage.log) == log
    assert storage.content == b""


@pytest.mark.parametrize("operation", ["PUT", "CREATE", "PART", "HEAD"])
def test_an_upload_that_blocks_ends_when_the_attempt_is_cut(
    operation: str, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults[operation] += [hanging] * 9
    result = RESULT[:PART] if operation in ("PUT", "HEAD") else RESULT
    cutter = threading.Timer(0.2, attempt.cut, [Stopping("shutdown")])
    cutter.start()
    began = time.monotonic()
    with pytest.raises(Stopping):
        put_up(blocks(result), s3, place, attempt)
    assert time.monotonic() - began < 5
    cutter.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("part")]


def test_uploads_of_several_jobs_do_not_mix(attempt: Attempt) -> None:
    def job(number: int) -> bool:
        content = bytes([number]) * (3 * PART + number)
        with storing() as storage:
            place = Place(f"http://127.0.0.1:{storage.port}", "project", "r.json", "R", True)
            with s3_client(place, "access", "secret", Addresses(insecure=True)) as s3:
                put_up(blocks(content), s3, place, attempt)
            return storage.content == content

    with ThreadPoolExecutor(8) as jobs:
        assert all(jobs.map(job, range(8)))


def test_payloads_are_signed_over_http_alone(
    storage: Storage, s3: S3, place: Place, attempt: Attempt, lookups: Lookups, tls: ssl.SSLContext
) -> None:
    put_up(blocks(RESULT), s3, place, attempt)
    assert all(len(sent["X-Amz-Content-SHA256"]) == 64 for sent in storage.headers)
    lookups["source.example"] = [["127.0.0.1"]]
    with storing(tls) as secure:
        over_tls = Place(f"https://source.example:{secure.port}", "project", "r.json", "R", True)
        with s3_client(over_tls, "access", "secret", Addresses(("source.example",))) as s3:
            put_up(blocks(RESULT), s3, over_tls, attempt)
    parts = [
        sent
        for entry, sent in zip(secure.log, secure.headers, strict=True)
        if entry.startswith("PART")
    ]
    assert {sent["X-Amz-Content-SHA256"] for sent in parts} == {"UNSIGNED-PAYLOAD"}
    assert secure.content == RESULT


def test_the_keys_of_the_hook_and_the_urls_region_sign(
    storage: Storage, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = (
        f"http://127.0.0.1:{storage.port}/project/a%20b/c%281%29.xml"
        "?X-Amz-Credential=K%2F20260101%2FRegionOne%2Fs3%2Faws4_request"
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-the-host",
        "AWS_SECRET_ACCESS_KEY": "of-the-host",
        "AWS_SESSION_TOKEN": "of-the-host",
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": "/missing",
        "AWS_CA_BUNDLE": "/missing",
        "AWS_DATA_PATH": "/missing",
        "AWS_DEFAULT_REGION": "eu-west-9",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9/",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9/",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "HTTP_PROXY": "http://127.0.0.1:9/",
        "ALL_PROXY": "http://127.0.0.1:9/",
    }.items():
        monkeypatch.setenv(name, value)
    s3_client_module._session.cache_clear()
    place = place_of(url)
    with s3_client(place, "of-the-hook", "secret", Addresses(insecure=True)) as s3:
        put_up(blocks(RESULT[:PART]), s3, place, attempt)
    sent = {name.lower(): value for name, value in storage.headers[0].items()}
    assert "Credential=of-the-hook/" in sent["authorization"]
    assert "/RegionOne/s3/aws4_request" in sent["authorization"]
    assert "x-amz-security-token" not in sent
    assert not [name for name in sent if "checksum" in name or name.startswith("x-amz-meta")]


def test_an_endpoint_that_is_not_allowed_is_not_spoken_to(
    storage: Storage, place: Place, attempt: Attempt
) -> None:
    with s3_client(place, "access", "secret", Addresses(("elsewhere.example",))) as s3:
        failure = failure_of(blocks(RESULT), s3, place, attempt)
    assert (failure.code, failure.again) == (Code.DOWNLOAD_FAILED, False)
    assert storage.log == []
