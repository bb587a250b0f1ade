"""One attempt of a job, from the claim to the callback: the list, from top to bottom.

A step that fails raises ``JobFailed``, one that must wait ``NotYet``; ``pipeline.jobs.runner``
catches them and decides what comes next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

import structlog
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.download import Source, download
from pipeline.aruna.objects import sha256_of
from pipeline.aruna.s3 import S3, place_of, s3_client, wait_until_known
from pipeline.aruna.upload import upload
from pipeline.errors import Code, JobFailed
from pipeline.jobs import callback, source
from pipeline.jobs.context import JobContext
from pipeline.jobs.diagnosis import diagnosing
from pipeline.jobs.parent import parent_of
from pipeline.jobs.target import Holder, Target, Targets
from pipeline.jobs.transformers import transformed
from pipeline.journal import Outcome, Step
from pipeline.net.connections import session
from pipeline.transform.recognise import Kind, recognise

log = structlog.get_logger(__name__)


def run(context: JobContext) -> None:
    """Do what is left of a job: the work, if it is not done yet, and the callback."""
    source.verify(context)
    if context.job.step is Step.WORK:
        with diagnosing(context):
            work(context)
        context.held.worked(Outcome(None))
    callback.call_back(context)


def work(context: JobContext) -> None:
    """Make the result and put it into Aruna, unless it is there already."""
    source.check_token(context)
    with context.stage("ready"):
        ready = source.ready(context)
    place = place_of(context.download_url)
    parent = parent_of(context, ready, place)
    with ExitStack() as resources:
        with context.stage("download"):
            kind, document = _opened(context, ready, resources)
        s3 = resources.enter_context(
            s3_client(
                place,
                context.hook.credentials.access_key,
                context.hook.credentials.secret_key,
                context.deps.addresses,
            )
        )
        targets = Targets(context, ready, kind, place, s3)
        finished = targets.finished()
        if finished is not None:
            _note_result(context, finished)
            return
        with context.stage("transform"):
            result = _started(transformed(context, document, kind, resources))
        with context.stage("create"):
            target = targets.take(parent)
        if target.holder is not Holder.OWN_FINISHED:
            with context.stage("upload"):
                _upload(context, s3, target, result)
        _note_result(context, target)


def _opened(
    context: JobContext, ready: models_pb2.Object, resources: ExitStack
) -> tuple[Kind, Iterator[bytes]]:
    """The download, known to be ABCD by its head."""
    wanted = Source(context.download_url, ready.content_len, sha256_of(ready))
    blocks = resources.enter_context(
        download(
            wanted,
            context.attempt,
            session=resources.enter_context(session(context.deps.addresses)),
            max_bytes=context.deps.settings.max_input_bytes,
        )
    )
    return recognise(context.counting_in(blocks))


def _started(result: Iterator[bytes]) -> Iterator[bytes]:
    """The same result once its first bytes are there, so that a bad one makes no object."""
    first = next(result, b"")
    if not first:
        raise JobFailed(Code.TRANSFORMATION_FAILED, "the transformation's result is empty")
    return chain([first], result)


def _note_result(context: JobContext, whole: Target) -> None:
    """Note which object is the result, if it was not made by this job."""
    if whole.stored.object_id != context.job.result_id:
        context.held.note_result(whole.stored.object_id, whole.name)


def _upload(context: JobContext, s3: S3, target: Target, result: Iterator[bytes]) -> None:
    """Stream the result into its object, once the data proxy knows it."""
    settings = context.deps.settings
    wait_until_known(s3, target.place, target.stored, context.attempt)
    if target.holder is Holder.OWN_BROKEN:
        log.warning("result.broken", result_id=target.stored.object_id, result_name=target.name)
    context.held.note_upload()
    upload(
        context.counting_out(result),
        s3,
        target.place,
        target.stored.object_id,
        context.attempt,
        part_size=settings.part_size,
        concurrency=settings.upload_concurrency,
        before_write=context.fence,
        sending=context.deps.metrics.parts_in_flight.track_inprogress,
    )
