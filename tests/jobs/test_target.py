"""What stands under a result's name: only what is whole counts as finished, and only what is our
own and not whole is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna import read_back
from pipeline.aruna.s3 import S3, Head, S3Error, ask, place_of, s3_client, wait_until_known
from pipeline.errors import FORGOTTEN_RIGHTS, Code, JobFailed, LeaseLost
from pipeline.jobs import job, target
from pipeline.jobs.context import JobContext
from pipeline.jobs.parent import parent_of
from pipeline.jobs.target import Holder, Target, Targets
from pipeline.journal import Outcome, State
from pipeline.transform.recognise import Kind
from sandbox import Answered, Call, Dropped, Sandbox, forbidden
from tests.conftest import SAMPLE
from tests.jobs.held import Jobs, jobs_of

PART_SIZE = 5 * 1024 * 1024
SMALL = b'{"@type": "Dataset"}'
LARGE = b'{"@type": "Dataset", "name": "' + b"x" * PART_SIZE + b'"}'


class Work:
    """The steps of one attempt from the look for a finished result on."""

    def __init__(self, context: JobContext, s3: S3) -> None:
        self.context, self.s3 = context, s3
        self.place = place_of(context.download_url)
        self.source = context.hook.object
        self.targets = Targets(context, self.source, Kind.XML, self.place, s3)

    def take(self) -> Target:
        return self.targets.take(parent_of(self.context, self.source, self.place))

    def upload(self, content: bytes) -> Target:
        taken = self.take()
        job._upload(self.context, self.s3, taken, iter([content]))
        return taken


Begin = Callable[[JobContext], Work]


@pytest.fixture
def jobs(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    for module in (target, read_back):
        monkeypatch.setattr(module, "LOOK_PAUSES", (0.05, 0.1, 0.2))
    with jobs_of(sandbox, tmp_path, PART_SIZE=str(PART_SIZE)) as made:
        yield made


@pytest.fixture
def begin(jobs: Jobs) -> Iterator[Begin]:
    with ExitStack() as clients:

        def begin(context: JobContext) -> Work:
            keys = context.hook.credentials
            place = place_of(context.download_url)
            client = s3_client(place, keys.access_key, keys.secret_key, jobs.deps.addresses)
            return Work(context, clients.enter_context(client))

        yield begin


def drop(_: Call) -> None:
    raise Dropped


def refuse(_: Call) -> None:
    raise Answered(403, b"<Error><Code>AccessDenied</Code></Error>")


def cut_off(jobs: Jobs, begun: Work, content: bytes = LARGE) -> Target:
    """The job's object, AVAILABLE and broken: its upload was cut off near the end."""
    taken = begun.take()
    if len(content) > PART_SIZE:
        jobs.sandbox.at("s3.reencode", drop)
        with pytest.raises(JobFailed):
            job._upload(begun.context, begun.s3, taken, iter([content]))
    else:
        wait_until_known(begun.s3, taken.place, taken.stored, begun.context.attempt)
        jobs.sandbox.at("s3.put_end", drop)
        with pytest.raises(S3Error):
            ask(begun.s3.client.put_object, taken.place, None, {"Body": content})
        begun.context.held.note_upload()
    assert status_of(jobs, taken) == models_pb2.STATUS_AVAILABLE
    return taken


def status_of(jobs: Jobs, taken: Target) -> int:
    return int(jobs.sandbox.object(taken.stored.object_id).status)


def readable(jobs: Jobs) -> bytes:
    """What a user can download of the result."""
    return requests.get(f"{jobs.sandbox.s3_url}/garden/plants.json", timeout=10).content


def reads(jobs: Jobs) -> int:
    """How often an object's content was asked for so far."""
    return len(jobs.sandbox.requests("s3.get"))


def test_a_result_whose_upload_was_seen_to_end_well_is_finished(jobs: Jobs, begin: Begin) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    taken = begin(context).upload(SMALL)
    context.held.release()

    found = begin(jobs.claimed(source)).targets.finished()

    assert found is not None
    assert (found.holder, found.name) == (Holder.OWN_FINISHED, "plants.json")
    assert found.stored == Head(taken.stored.object_id, len(SMALL))
    assert reads(jobs) == 1


def test_a_result_that_nobody_has_begun_to_upload_is_looked_at_by_head_alone(
    jobs: Jobs, begin: Begin
) -> None:
    begun = begin(jobs.claimed(jobs.upload()))
    taken = begun.take()
    jobs.sandbox.fill(taken.stored.object_id, SMALL)

    found = begun.targets.finished()

    assert found is not None
    assert not begun.context.job.upload_begun
    assert reads(jobs) == 0


def test_a_result_of_another_job_is_read_back(jobs: Jobs, begin: Begin) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    begin(context).upload(SMALL)
    context.held.worked(Outcome(None))
    context.held.end(State.SUCCEEDED, Outcome(None))
    before = reads(jobs)

    again = begin(jobs.claimed(source))

    assert again.context.job.result_id is None
    assert again.targets.finished() is not None
    assert reads(jobs) == before + 1


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["PutObject", "Complete"])
@pytest.mark.parametrize("own", [True, False], ids=["this job", "another job"])
def test_a_result_that_was_cut_off_is_uploaded_again_over_its_key(
    jobs: Jobs, begin: Begin, content: bytes, own: bool
) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    broken = cut_off(jobs, begin(context), content)
    if own:
        context.held.release()
    else:
        context.held.worked(Outcome(None))
        context.held.end(State.SUCCEEDED, Outcome(None))

    begun = begin(jobs.claimed(source))
    assert begun.targets.finished() is None
    mended = begun.upload(content)

    assert mended.holder is Holder.OWN_BROKEN
    assert mended.stored.object_id == broken.stored.object_id
    assert readable(jobs) == content
    again = begun.targets.finished()
    assert again is not None
    assert again.stored == Head(broken.stored.object_id, len(content))


def test_a_repair_that_was_cut_off_itself_is_repaired(jobs: Jobs, begin: Begin) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    broken = cut_off(jobs, begin(context))
    context.held.release()
    jobs.sandbox.at("s3.part", refuse)
    context = jobs.claimed(source)
    with pytest.raises(JobFailed):
        begin(context).upload(LARGE)
    context.held.release()

    mended = begin(jobs.claimed(source)).upload(LARGE)

    assert mended.stored == Head(broken.stored.object_id, 0)
    assert readable(jobs) == LARGE


def test_a_result_that_is_still_being_finished_is_not_taken_for_broken(
    jobs: Jobs, begin: Begin
) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    begun = begin(context)
    taken = begun.take()
    jobs.sandbox.aruna.finalise_seconds = None
    with ThreadPoolExecutor(1) as thread:
        uploaded = thread.submit(begun_upload, begun, taken)
        jobs.sandbox.wait_for(lambda: jobs.sandbox.requests("s3.reencode"))
        context.held.note_upload()
        jobs.sandbox.at("s3.get", lambda _: None)
        jobs.sandbox.at("s3.get", lambda _: jobs.sandbox.release(), after=True)
        found = begin(context).targets.finished()
        uploaded.result()
    assert found is not None
    assert found.stored == Head(taken.stored.object_id, len(LARGE))
    assert reads(jobs) >= 2


def begun_upload(begun: Work, taken: Target) -> None:
    job._upload(begun.context, begun.s3, taken, iter([LARGE]))


def test_a_cache_that_lags_makes_no_result_unfinished(jobs: Jobs, begin: Begin) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    jobs.sandbox.aruna.cache_lag = 0.15
    begin(context).upload(SMALL)
    context.held.release()

    assert begin(jobs.claimed(source)).targets.finished() is not None


def test_what_is_broken_and_not_our_own_is_left_alone(jobs: Jobs, begin: Begin) -> None:
    jobs.sandbox.at("s3.put_end", drop)
    mine = jobs.sandbox.create_object("plants.json", parent=jobs.project)
    with pytest.raises(Exception, match="closed"):
        jobs.sandbox.fill(mine, b"of a user")
    source = jobs.upload()

    begun = begin(jobs.claimed(source))
    assert begun.targets.finished() is None
    taken = begun.take()

    assert (taken.holder, taken.name) == (
        Holder.OWN_UNFINISHED,
        f"plants.{source[-8:]}.json",
    )
    assert reads(jobs) == 0


def test_a_result_of_an_earlier_content_is_left_alone_however_broken_it_is(
    jobs: Jobs, begin: Begin
) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    broken = cut_off(jobs, begin(context))
    context.held.worked(Outcome(None))
    context.held.end(State.SUCCEEDED, Outcome(None))
    jobs.sandbox.overwrite(source, SAMPLE + b"\n")

    taken = begin(jobs.claimed(source)).take()

    assert taken.stored.object_id != broken.stored.object_id
    assert taken.name == f"plants.{source[-8:]}.json"


def test_only_the_holder_of_the_lease_repairs(jobs: Jobs, begin: Begin) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    broken = cut_off(jobs, begin(context))
    context.held.release()
    late = jobs.claimed(source)
    begun = begin(late)
    taken = begun.take()
    late.held.release()
    jobs.claimed(source)

    with pytest.raises(LeaseLost):
        job._upload(late, begun.s3, taken, iter([SMALL]))

    assert broken.stored.object_id == taken.stored.object_id
    assert not jobs.sandbox.requests("s3.put")[1:]


def test_an_object_of_our_own_that_aruna_does_not_show_is_waited_for(
    jobs: Jobs, begin: Begin
) -> None:
    begun = begin(jobs.claimed(jobs.upload()))
    begun.take()

    def hidden(_: Call) -> None:
        raise forbidden("Invalid permissions")

    jobs.sandbox.at("grpc.GetObject", hidden, times=9)
    with pytest.raises(JobFailed) as failure:
        begun.take()
    assert failure.value.code is Code.CREATE_FAILED
    assert failure.value.patience == FORGOTTEN_RIGHTS


def test_the_journal_says_which_object_is_the_result_whoever_made_it(
    jobs: Jobs, begin: Begin
) -> None:
    source = jobs.upload()
    context = jobs.claimed(source)
    taken = begin(context).upload(SMALL)
    context.held.worked(Outcome(None))
    context.held.end(State.SUCCEEDED, Outcome(None))

    again = jobs.claimed(source)
    job.work(again)

    assert again.job.result_id == taken.stored.object_id
    assert again.job.result_name == "plants.json"
