"""What a researcher and an operator read when GFBio makes nothing of a document."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.operators.selftest.source import document
from sandbox import Call, Dropped, Sandbox
from tests.conftest import SAMPLE
from tests.running import Running
from tests.transform.bioschemas.test_archive import packed
from tests.whole import Whole

GOOD = document("diagnosis.xml")
BROKEN = GOOD.replace(b"1</UnitID>", b"1</UnitId>")
NEWLINE = b"\n"
NO_RESULT = "transformation_failed: GFBio made no result of this document"


@pytest.fixture
def gfbio(sandbox: Sandbox, start_service: Callable[..., Running]) -> Callable[..., Whole]:
    """A service that has GFBio transform by relay; settings as keywords."""

    def made(**settings: Any) -> Whole:
        return Whole.of(sandbox, start_service(TRANSFORMER="gfbio", **settings))

    return made


def upload(whole: Whole, name: str, content: bytes, **more: Any) -> str:
    """A source, and what the service says of it."""
    source = whole.upload(name, content, **more)
    whole.wait_for_callback(source)
    return source


def test_the_label_says_what_is_wrong_and_where(
    sandbox: Sandbox, gfbio: Callable[..., Whole]
) -> None:
    whole = gfbio()
    broken = upload(whole, "broken.xml", BROKEN)
    newer = upload(whole, "newer.xml", SAMPLE.replace(b"abcd/2.06", b"abcd/2.1"))
    archive = upload(whole, "two.zip", packed(("a.xml", GOOD), ("b.xml", BROKEN)))
    before = BROKEN[: BROKEN.index(b"UnitId>")]
    place = f"line {before.count(NEWLINE) + 1}, column {len(before) - before.rindex(NEWLINE)}"
    mismatch = f"not well-formed: mismatched tag, </UnitID> expected ({place})"
    assert whole.error(broken) == f"transformation_failed: {mismatch}"
    assert whole.error(archive) == f"transformation_failed: in b.xml: {mismatch}"
    assert whole.error(newer).startswith(
        "transformation_failed: not ABCD 2.06: the document is ABCD 2.1 (line "
    )
    assert [len(whole.results_of(source)) for source in (broken, newer, archive)] == [0, 0, 0]
    assert len(sandbox.requests("gfbio.transform")) == 3


def test_a_good_document_costs_no_more_and_a_failure_on_one_says_what_to_try(
    sandbox: Sandbox, gfbio: Callable[..., Whole]
) -> None:
    whole = gfbio()
    upload(whole, "good.xml", GOOD)
    fetched = len(sandbox.requests("s3.get"))
    sandbox.gfbio.result = "missing"
    lacking = GOOD.replace(b"<Title>", b"<Title/><Text>").replace(b"</Title>", b"</Text>", 1)
    failed = upload(whole, "failed.xml", lacking)
    assert len(sandbox.requests("s3.get")) == 2 * fetched + 1
    label = whole.error(failed)
    assert label.startswith(
        f"{NO_RESULT}; the document is good: wait for GFBio and retry the job, or set "
        "TRANSFORMER=embedded"
    )
    with whole.service.journal() as journal:
        (job,) = [job for job in journal.jobs() if job.object_id == failed]
    assert job.outcome is not None
    assert job.outcome.message.endswith(
        "; of what Bioschemas requires it lacks name (Metadata/Description/Representation/Title)"
    )


def test_a_document_at_which_gfbio_breaks_down_is_not_tried_again(
    sandbox: Sandbox, gfbio: Callable[..., Whole]
) -> None:
    whole = gfbio()
    sandbox.gfbio.failures = 1
    broken = upload(whole, "broken.xml", BROKEN)
    assert whole.error(broken).startswith("transformation_failed: not well-formed: mismatched tag")
    assert sandbox.requests("gfbio.transform") == []
    sandbox.gfbio.failures = 1
    good = upload(whole, "good.xml", GOOD)
    assert whole.labels(good) == [("PROCESSING_STATUS", "success")]


@pytest.mark.parametrize("slow", [False, True])
def test_what_goes_wrong_with_the_diagnosis_never_hides_the_failure(
    sandbox: Sandbox, gfbio: Callable[..., Whole], slow: bool
) -> None:
    whole = gfbio(PROCESSING_TIMEOUT="3")
    over = threading.Event()

    def spoil(_call: Call) -> None:
        if sandbox.requests("gfbio.result"):
            if slow:
                over.wait(30)
            raise Dropped

    sandbox.at("s3.get", spoil, times=None)
    try:
        source = upload(whole, "broken.xml", BROKEN)
    finally:
        over.set()
    assert whole.error(source) == NO_RESULT
