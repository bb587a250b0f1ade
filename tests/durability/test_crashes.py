"""Everything is killed at once while each job is at another stage, and started again.

One kill of one service finds a job at every stage: each is led to its own and held there, with the
request under way before or after its effect in Aruna.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import Answered, Call, Sandbox
from tests.conftest import SAMPLE
from tests.databases import DATABASES, database
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import (
    LARGE,
    PART_SIZE,
    assert_done_once,
    assert_nothing_is_held,
    wait_for_the_end,
)
from tests.running import TOKEN, running
from tests.whole import Whole

_NAME = "plants-"


@dataclass(frozen=True)
class Stage:
    """Where a job is: at a call of ``operation``, the first after one of ``once``."""

    operation: str
    after: bool = False
    once: str | None = None
    large: bool = False

    def __str__(self) -> str:
        words = [self.operation, "after its effect" if self.after else "before its effect"]
        return " ".join([*words, f"once {self.once} was called"] if self.once else words)


# CreateObject comes last: a process makes two at a time, so two that are held stop all others. Each
# has a parent of its own, as there is one at a time in each.
STAGES = [
    Stage("grpc.GetObject"),
    Stage("s3.get"),
    Stage("s3.head"),
    Stage("gfbio.transform"),
    Stage("s3.get", once="gfbio.transform"),
    Stage("gfbio.transform", after=True),
    Stage("gfbio.job"),
    Stage("gfbio.result"),
    Stage("s3.head", once="grpc.CreateObject"),
    Stage("s3.put"),
    Stage("s3.put", after=True),
    Stage("s3.head", once="s3.put"),
    Stage("grpc.HookCallback"),
    Stage("grpc.HookCallback", after=True),
    Stage("s3.create_multipart", large=True),
    Stage("s3.create_multipart", after=True, large=True),
    Stage("s3.part", large=True),
    Stage("s3.part", after=True, large=True),
    Stage("s3.complete", large=True),
    Stage("s3.complete", after=True, large=True),
    Stage("grpc.CreateObject"),
    Stage("grpc.CreateObject", after=True),
]


@dataclass(frozen=True)
class Aftermath:
    """What there is when all has ended: the source of each stage."""

    whole: Whole
    sources: dict[Stage, str]


@pytest.fixture(scope="module", params=DATABASES)
def aftermath(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aftermath]:
    """A service killed while it has a job at each stage, started again, and at rest."""
    directory = tmp_path_factory.mktemp(request.param)
    with Sandbox() as sandbox, database(request.param, directory) as url:
        yield from _killed(sandbox, directory, url)


def _killed(sandbox: Sandbox, directory: Path, url: str) -> Iterator[Aftermath]:
    settings = {
        **sandbox.environment(),
        "WEBHOOK_TOKEN": TOKEN,
        "JOURNAL_URL": url,
        "WORKER_THREADS": str(len(STAGES) + 1),
        "PART_SIZE": PART_SIZE,
    }
    with running(directory, settings) as service:
        whole = Whole.of(sandbox, service)
        sources = {}
        arrests = []
        for number, stage in enumerate(STAGES):
            sandbox.gfbio.big = LARGE if stage.large else None
            stem = f"{_NAME}{number}"
            arrests.append(_arrest(sandbox, stage, stem))
            sources[stage] = _source(whole, stage, f"{stem}.xml")
            arrests[-1].wait()
        service.kill()
        for arrest in arrests:
            arrest.let_go()
        sandbox.release()
        service.start()
        wait_for_the_end(whole, *sources.values())
        yield Aftermath(whole, sources)


def _arrest(sandbox: Sandbox, stage: Stage, stem: str) -> Arrest:
    before = len(sandbox.requests(stage.once)) if stage.once else 0

    def concerns(call: Call) -> bool:
        has_begun = stage.once is None or len(sandbox.requests(stage.once)) > before
        names = [value for value in call.details.values() if _NAME in value]
        is_its_own = all(f"{stem}." in name for name in names)
        return has_begun and is_its_own and call.details.get("by") != "user"

    return Arrest(sandbox, stage.operation, after=stage.after, concerns=concerns)


def _source(whole: Whole, stage: Stage, name: str) -> str:
    """GetObject is asked for only while a multipart upload is re-encoded."""
    unfinished = stage.operation == "grpc.GetObject"
    whole.sandbox.aruna.finalise_seconds = None if unfinished else 0.0
    creating = stage.operation == "grpc.CreateObject"
    parent = whole.sandbox.create_dataset(f"for-{name}", whole.project) if creating else None
    return whole.upload(name, SAMPLE, multipart=unfinished, parent=parent)


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_a_job_killed_at(aftermath: Aftermath, stage: Stage) -> None:
    """ends in one whole result and one callback."""
    assert_done_once(aftermath.whole, aftermath.sources[stage])


def test_nobody_holds_a_job_after_a_crash(aftermath: Aftermath) -> None:
    assert_nothing_is_held(aftermath.whole)


def test_a_crash_leaves_no_second_object(aftermath: Aftermath) -> None:
    sandbox, project = aftermath.whole.sandbox, aftermath.whole.project
    assert len(sandbox.objects_in(project)) == 2 * len(STAGES)


def test_an_object_that_the_data_proxy_has_not_heard_of_is_continued_after_a_crash(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service())
    created = Arrest(sandbox, "grpc.CreateObject", after=True)

    def has_not_heard(call: Call) -> None:
        if "plants.json" in call.details["key"] and len(sandbox.requests("grpc.CreateObject")) < 2:
            raise Answered(404, b"")

    sandbox.at("s3.head", has_not_heard, times=None)
    source = whole.upload("plants.xml", SAMPLE)
    created.wait()
    whole.service.kill()
    created.let_go()
    whole.service.start()
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert len(sandbox.requests("grpc.CreateObject")) == 2
