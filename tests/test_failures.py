"""Each row of the table of failures: the label that a researcher sees on the source.

The services here make one attempt only, so that what is tried again elsewhere ends at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from aruna.api.storage.models.v2 import models_pb2

from pipeline.journal import Job, State
from sandbox import Answered, Call, Dropped, Refused, Sandbox
from tests.conftest import SAMPLE
from tests.running import TOKEN, Running, running
from tests.whole import Whole

MEBIBYTE = 1024 * 1024
WAYS: dict[str, dict[str, str]] = {
    "embedded": {"TRANSFORMER": "embedded", "MAX_INPUT_BYTES": str(MEBIBYTE)},
    "relay": {},
    "direct": {"GFBIO_TRANSPORT": "direct"},
    "elsewhere": {"TRANSFORMER": "embedded", "ALLOWED_HOSTS": "*.elsewhere.example.org"},
    "hasty": {"PROCESSING_TIMEOUT": "1"},
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """One sandbox and one service for each way, started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[str, tuple[Sandbox, Running]] = {}

        def pair(way: str) -> tuple[Sandbox, Running]:
            if way not in started:
                sandbox = stack.enter_context(Sandbox())
                settings = {"WEBHOOK_TOKEN": TOKEN, "MAX_ATTEMPTS": "1", **WAYS[way]}
                service = stack.enter_context(
                    running(tmp_path_factory.mktemp(way), {**sandbox.environment(), **settings})
                )
                started[way] = (sandbox, service)
            return started[way]

        yield pair


@pytest.fixture
def whole(services: Callable[[str], Any], request: pytest.FixtureRequest) -> Whole:
    """A project of the test's own at the service of the test's way."""
    sandbox, service = services(getattr(request, "param", "embedded"))
    return Whole.of(sandbox, service, name=f"p{abs(hash(request.node.nodeid)) % 10**12}")


def by(*ways: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("whole", ways, indirect=True)


def failing(action: Exception) -> Callable[[Call], object]:
    """What a failpoint of the sandbox does: it raises."""

    def fail(_: Call) -> object:
        raise action

    return fail


def fails_with(whole: Whole, code: str, *, data: bytes = SAMPLE, **upload: Any) -> str:
    """Upload a source, wait for its label, which must have that code: the label's message."""
    source = whole.upload(upload.pop("name", "plants.xml"), data, **upload)
    whole.wait_for_callback(source)
    label = whole.error(source)
    assert label.startswith(f"{code}: "), label
    assert len(label) <= 256
    finished = [o for o in whole.results_of(source) if o.status == models_pb2.STATUS_AVAILABLE]
    assert finished == []
    return label.partition(": ")[2]


@by("embedded", "relay", "direct")
@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_source_that_is_refused_or_gone(whole: Whole, status: int) -> None:
    whole.sandbox.at("s3.get", failing(Answered(status, b"<Error/>")))

    assert str(status) in fails_with(whole, "download_failed")


@by("elsewhere")
def test_a_host_that_is_not_allowed(whole: Whole) -> None:
    downloads = len(whole.sandbox.requests("s3.get"))

    assert "127.0.0.1" in fails_with(whole, "download_failed")
    assert len(whole.sandbox.requests("s3.get")) == downloads


@by("embedded", "relay")
@pytest.mark.parametrize("failure", [Answered(503, b"busy"), Dropped()], ids=["5xx", "dropped"])
def test_a_source_out_of_reach(whole: Whole, failure: Exception) -> None:
    whole.sandbox.at("s3.get", failing(failure))

    fails_with(whole, "download_failed")


@by("embedded", "relay")
def test_a_source_whose_content_is_not_the_announced_one(whole: Whole) -> None:
    source = whole.sandbox.create_object(
        "plants.xml", parent=whole.project, labels={"ABCD": "true"}
    )

    def overwrite_unheard(_: Call) -> None:
        whole.sandbox.aruna.loses = lambda *_: True
        whole.sandbox.overwrite(source, SAMPLE.replace(b"Alpine", b"Alpina"))

    whole.sandbox.at("s3.get", overwrite_unheard)
    try:
        whole.sandbox.fill(source, SAMPLE)
        whole.sandbox.wait_for(lambda: whole.labels(source))
    finally:
        whole.sandbox.aruna.loses = lambda *_: False

    assert whole.error(source).startswith("download_failed: ")


@by("relay")
def test_gfbio_without_the_whole_file_is_the_downloads_failure(whole: Whole) -> None:
    downloads = iter([None, Dropped(), Dropped()])

    def drop_after_the_first(_: Call) -> None:
        failure = next(downloads)
        if failure is not None:
            raise failure

    whole.sandbox.at("s3.get", drop_after_the_first, times=3)

    fails_with(whole, "download_failed")


def test_an_expired_registration_is_named_with_its_date(whole: Whole) -> None:
    project = whole.sandbox.create_project(f"expired-{time.time_ns()}")
    whole.sandbox.register_hook(
        url=f"{whole.service.url}/webhook", projects=[project], token=TOKEN, timeout=1700000000
    )
    source = whole.sandbox.upload("plants.xml", SAMPLE, parent=project, labels={"ABCD": "true"})
    whole.sandbox.wait_for(lambda: len(whole.labels(source)) == 1)

    assert whole.error(source).startswith("token_expired: ")
    assert "2023-11-14" in whole.error(source)
    assert "registered anew" in whole.error(source)


NOT_ABCD = {
    "another root": b'<?xml version="1.0"?><Plants/>',
    "another namespace": b'<DataSets xmlns="http://example.org/abcd"/>',
    "a DOCTYPE": b'<!DOCTYPE DataSets><DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06"/>',
    "no XML": b"ABCD: a, b, c, d",
    "JSON": b'{"DataSets": []}',
    "broken at the end": SAMPLE[:-30],
    "broken in the middle": SAMPLE.replace(b"</Unit>", b"</Unite>", 1),
    "too large": SAMPLE + b" " * MEBIBYTE,
}


@pytest.mark.parametrize("document", NOT_ABCD.values(), ids=NOT_ABCD.keys())
def test_what_is_not_abcd(whole: Whole, document: bytes) -> None:
    fails_with(whole, "invalid_input", data=document)


@by("relay", "direct")
@pytest.mark.parametrize("document", list(NOT_ABCD.values())[:5], ids=list(NOT_ABCD)[:5])
def test_what_is_not_abcd_never_reaches_gfbio(whole: Whole, document: bytes) -> None:
    asked = len(whole.sandbox.requests("gfbio.transform"))

    fails_with(whole, "invalid_input", data=document)

    assert len(whole.sandbox.requests("gfbio.transform")) == asked


def test_an_input_that_is_too_large_costs_no_download(whole: Whole) -> None:
    downloads = len(whole.sandbox.requests("s3.get"))

    assert str(MEBIBYTE) in fails_with(whole, "invalid_input", data=NOT_ABCD["too large"])
    assert len(whole.sandbox.requests("s3.get")) == downloads


@by("relay", "direct")
def test_a_gfbio_that_is_down_or_in_trouble(whole: Whole) -> None:
    whole.sandbox.gfbio.failures = 1
    fails_with(whole, "gfbio_unavailable")
    whole.sandbox.gfbio.down = True
    try:
        fails_with(whole, "gfbio_unavailable", name="again.xml")
    finally:
        whole.sandbox.gfbio.down = False


@by("relay", "direct")
@pytest.mark.parametrize("result", ["empty", "missing", "not_json", "cut"])
def test_a_result_that_is_none_never_completes_an_upload(whole: Whole, result: Any) -> None:
    whole.sandbox.gfbio.result = result
    try:
        fails_with(whole, "transformation_failed")
    finally:
        whole.sandbox.gfbio.result = "good"


@by("relay")
def test_a_large_result_that_breaks_off_never_completes_an_upload(whole: Whole) -> None:
    whole.sandbox.gfbio.big = 30 * MEBIBYTE
    whole.sandbox.gfbio.result = "cut"
    try:
        fails_with(whole, "transformation_failed")
    finally:
        whole.sandbox.gfbio.big, whole.sandbox.gfbio.result = None, "good"

    assert whole.sandbox.requests("s3.complete") == []


@by("relay")
def test_a_result_shorter_than_announced_is_gfbios_failure(whole: Whole) -> None:
    whole.sandbox.gfbio.result = "truncated"
    try:
        fails_with(whole, "gfbio_unavailable")
    finally:
        whole.sandbox.gfbio.result = "good"


@by("direct")
def test_what_gfbio_says_of_a_document_reaches_the_label(whole: Whole) -> None:
    broken = SAMPLE.replace(b"</Unit>", b"</Unite>", 1)

    assert "well-formed" in fails_with(whole, "transformation_failed", data=broken)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (grpc.StatusCode.INTERNAL, "Licenses invalid"),
        (grpc.StatusCode.INVALID_ARGUMENT, "Parent missing."),
    ],
)
def test_an_object_that_aruna_refuses(whole: Whole, status: grpc.StatusCode, said: str) -> None:
    whole.sandbox.at("grpc.CreateObject", failing(Refused(status, said)))

    assert said in fails_with(whole, "create_failed")


def test_a_url_that_does_not_lead_to_the_source(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    ended_job(whole, source)
    delivered = whole.sandbox.deliveries[-1].body

    whole.service.post(delivered.replace(b'"name":"plants.xml"', b'"name":"other.xml"'))
    whole.sandbox.wait_for(lambda: any(key == "ERROR" for key, _ in whole.labels(source)))

    (label,) = (value for key, value in whole.labels(source) if key == "ERROR")
    assert label.startswith("create_failed: ")


def test_all_names_taken(whole: Whole) -> None:
    source = whole.sandbox.create_object(
        "plants.xml", parent=whole.project, labels={"ABCD": "true"}
    )
    digest = sha256(SAMPLE).hexdigest()[:8]
    for name in (
        "plants.json",
        f"plants.{source[-8:]}.json",
        f"plants.{source[-8:]}.{digest}.json",
    ):
        whole.sandbox.upload(name, b"{}", parent=whole.project)
    whole.sandbox.fill(source, SAMPLE)
    whole.wait_for_callback(source)

    assert whole.error(source).startswith("create_failed: all names")


def test_an_upload_that_is_refused(whole: Whole) -> None:
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    source = whole.sandbox.create_object(
        "plants.xml", parent=whole.project, labels={"ABCD": "true"}
    )
    puts = iter([None])

    def deny_after_the_first(_: Call) -> None:
        if next(puts, ...) is ...:
            raise Answered(403, denied)

    whole.sandbox.at("s3.put", deny_after_the_first, times=2)
    whole.sandbox.fill(source, SAMPLE)
    whole.wait_for_callback(source)

    assert whole.error(source).startswith("upload_failed: ")
    assert "AccessDenied" in whole.error(source)


def test_a_transforming_process_that_is_killed(whole: Whole) -> None:
    whole.sandbox.aruna.bytes_per_second = 500_000
    try:
        source = whole.upload("plants.xml", SAMPLE + b" " * 800_000)
        os.kill(transforming_process(whole.service), signal.SIGKILL)
        whole.wait_for_callback(source)
    finally:
        whole.sandbox.aruna.bytes_per_second = None

    assert whole.error(source).startswith("transformation_failed: ")
    assert "SIGKILL" in whole.error(source)


def transforming_process(service: Running) -> int:
    """The id of the service's child that transforms a document at the moment."""
    assert service.process is not None
    (worker,) = children_of(service.process.pid)
    for _ in range(400):
        for child in children_of(worker):
            return child
        threading.Event().wait(0.02)
    raise AssertionError("no process transforms anything")


def children_of(parent: int) -> list[int]:
    """The processes that any thread of ``parent`` has started."""
    files = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@by("hasty")
def test_work_that_takes_too_long(whole: Whole) -> None:
    whole.sandbox.gfbio.seconds = 5
    try:
        assert "1 second" in fails_with(whole, "timeout")
    finally:
        whole.sandbox.gfbio.seconds = 0


@by("relay")
def test_a_job_that_is_put_back_and_succeeds_takes_its_error_label_away(whole: Whole) -> None:
    whole.sandbox.gfbio.failures = 1
    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)
    assert whole.error(source).startswith("gfbio_unavailable: ")
    job = ended_job(whole, source)

    with whole.service.journal() as journal:
        assert journal.put_back([job.id]) == [(job.id, None)]
    whole.sandbox.wait_for(lambda: ("PROCESSING_STATUS", "success") in whole.labels(source))

    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (Refused(grpc.StatusCode.CANCELLED, "RST_STREAM"), "secret"),
        (Refused(grpc.StatusCode.UNAUTHENTICATED, "No pubkey found"), "secret"),
        (
            Refused(grpc.StatusCode.INTERNAL, "HookCallback failed : Hook status not found"),
            "status away",
        ),
    ],
)
def test_a_callback_that_is_refused_for_good_is_in_the_journal_only(
    whole: Whole, refusal: Refused, why: str
) -> None:
    whole.sandbox.at("grpc.HookCallback", failing(refusal))

    source = whole.upload("plants.xml", SAMPLE)
    whole.sandbox.wait_for(lambda: whole.sandbox.requests("grpc.HookCallback"))

    job = ended_job(whole, source)
    assert job.outcome is not None
    assert (job.state, job.outcome.code) == (State.FAILED, "callback_failed")
    assert why in job.outcome.message
    assert whole.labels(source) == []
    assert whole.result(source).name == "plants.json"


def ended_job(whole: Whole, source: str) -> Job:
    """The job of that source once it has ended."""
    with whole.service.journal() as journal:
        for _ in range(200):
            for job in journal.jobs():
                if job.object_id == source and job.ended_at is not None:
                    return job
            threading.Event().wait(0.05)
    raise AssertionError(f"the job of {source} has not ended")


def test_a_hook_whose_secret_is_not_arunas_is_refused_without_a_callback(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)
    body = whole.sandbox.deliveries[-1].body
    other = whole.sandbox.upload("other.xml", SAMPLE, parent=whole.project)
    calls = len(whole.sandbox.callbacks)

    answer = whole.service.post(body.replace(source.encode(), other.encode()))

    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_secret")
    with whole.service.journal() as journal:
        assert journal.known([other]) == {other: []}
    assert len(whole.sandbox.callbacks) == calls
