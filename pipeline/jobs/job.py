"""One attempt of a job, from the claim to the callback: the list, from top to bottom.

A step that fails raises ``JobFailed``, one that must wait ``NotYet``; ``pipeline.jobs.runner``
catches them and decides what comes next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.download import Source, download
from pipeline.aruna.objects import sha256_of
from pipeline.aruna.s3 import S3, place_of, s3_client, wait_until_known
from pipeline.aruna.upload import upload
from pipeline.errors import Code, JobFailed
from pipeline.jobs import callback, source
from pipeline.jobs.claim import Claim
from pipeline.jobs.parent import parent_of
from pipeline.jobs.target import Shelf, Standing, Target
from pipeline.jobs.transformers import transformed
from pipeline.journal import Job, Outcome, Step
from pipeline.net.connections import session
from pipeline.transform.recognise import Kind, recognise

#: Attempts a job may lose with the process that ran it, beyond those that it may fail.
MOST_LOST = 5


def run(claim: Claim) -> Job:
    """Do what is left of a job: the work, if it is not done yet, and the callback.

    Gives the job as Aruna was told of it.
    """
    source.verify(claim)
    if claim.job.step is Step.WORK:
        work(claim)
        claim.peers.journal.worked(claim.job.id, claim.lease, Outcome(None))
    return callback.call_back(claim)


def work(claim: Claim) -> None:
    """Make the result and put it into Aruna, unless it is there already."""
    source.check_token(claim)
    _check_attempts(claim)
    with claim.stage("ready"):
        ready = source.ready(claim)
    place = place_of(claim.download_url)
    parent = parent_of(claim, ready, place)
    with ExitStack() as resources:
        with claim.stage("download"):
            kind, document = _opened(claim, ready, resources)
        s3 = resources.enter_context(
            s3_client(
                place,
                claim.hook.credentials.access_key,
                claim.hook.credentials.secret_key,
                claim.peers.addresses,
            )
        )
        shelf = Shelf(claim, ready, kind, place, s3)
        if shelf.finished() is not None:
            return
        with claim.stage("transform"):
            result = _started(transformed(claim, document, kind, resources))
        with claim.stage("create"):
            target = shelf.take(parent)
        if target.standing is not Standing.FINISHED:
            with claim.stage("upload"):
                _upload(claim, s3, target, result)


def _check_attempts(claim: Claim) -> None:
    """Give up a job that may be what kills the processes that run it."""
    begun = claim.job.attempt
    if begun >= claim.peers.settings.max_attempts + MOST_LOST:
        message = f"the service has died in {begun} attempts, of this job or beside it"
        raise JobFailed(Code.INTERNAL_ERROR, message)


def _opened(
    claim: Claim, ready: models_pb2.Object, resources: ExitStack
) -> tuple[Kind, Iterator[bytes]]:
    """The download, known to be ABCD by its head."""
    wanted = Source(claim.download_url, ready.content_len, sha256_of(ready), ready.name)
    blocks = resources.enter_context(
        download(
            wanted,
            claim.attempt,
            session=resources.enter_context(session(claim.peers.addresses)),
            max_bytes=claim.peers.settings.max_input_bytes,
        )
    )
    return recognise(claim.counting_in(blocks))


def _started(result: Iterator[bytes]) -> Iterator[bytes]:
    """The same result once its first bytes are there, so that a bad one makes no object."""
    first = next(result, b"")
    if not first:
        raise JobFailed(Code.TRANSFORMATION_FAILED, "the transformation's result is empty")
    return chain([first], result)


def _upload(claim: Claim, s3: S3, target: Target, result: Iterator[bytes]) -> None:
    """Stream the result into its object, once the data proxy knows it."""
    settings = claim.peers.settings
    wait_until_known(s3, target.place, target.object_id, claim.attempt)
    upload(
        claim.counting_out(result),
        s3,
        target.place,
        target.object_id,
        claim.attempt,
        part_size=settings.part_size,
        concurrency=settings.upload_concurrency,
        before_write=claim.fence,
        sending=claim.peers.metrics.parts_in_flight.track_inprogress,
    )
