"""Why GFBio made nothing of a source: the document is read once more, by the child process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.aruna.download import Source, download
from pipeline.aruna.objects import sha256_of
from pipeline.errors import Code, JobFailed
from pipeline.jobs.context import JobContext
from pipeline.net.connections import session
from pipeline.settings import Transformer
from pipeline.transform.embedded import transform_in_child
from pipeline.transform.gfbio import CRASHED, NO_RESULT
from pipeline.transform.shell import NO_DATA_SET


@contextmanager
def diagnosing(context: JobContext) -> Iterator[None]:
    """A failure of GFBio's that leaves this block says what is wrong with the document.

    That takes no more than is left of the attempt. What goes wrong with it is not told: the failure
    then stays as it was.
    """
    try:
        yield
    except JobFailed as failure:
        if context.deps.settings.transformer is not Transformer.GFBIO or not _is_suspect(failure):
            raise
        found = _diagnosis(context, failure)
        if found is None:
            raise
        raise JobFailed(Code.TRANSFORMATION_FAILED, found) from failure


def _is_suspect(failure: JobFailed) -> bool:
    """Whether the document may be the reason."""
    if failure.code is Code.GFBIO_UNAVAILABLE:
        return failure.message == CRASHED
    return failure.code is Code.TRANSFORMATION_FAILED and not failure.again


def _diagnosis(context: JobContext, failure: JobFailed) -> str | None:
    """The whole sentence, ``None`` if there is nothing to add to the failure."""
    said = failure.message
    try:
        with context.stage("diagnose"):
            lacks = _lacks(context)
    except JobFailed as found:
        if found.code is not Code.INVALID_INPUT:
            return None
        is_silent = failure.again or said in (NO_RESULT, NO_DATA_SET)
        return found.message if is_silent else f"{found.message}; {said}"
    except OSError:
        return None
    if failure.again:
        return None
    wanting = f"; of what Bioschemas requires it lacks {', '.join(lacks)}" if lacks else ""
    return (
        f"{said}; the document is good: wait for GFBio and retry the job, or set "
        f"TRANSFORMER=embedded{wanting}"
    )


def _lacks(context: JobContext) -> list[str]:
    """What a good document lacks of what Bioschemas requires; raises ``invalid_input`` for a bad
    one."""
    source = context.hook.object
    sha256 = sha256_of(source) or context.job.source_sha256
    wanted = Source(context.download_url, source.content_len, sha256)
    limit = context.deps.settings.max_input_bytes
    with (
        session(context.deps.addresses) as http,
        download(wanted, context.attempt, session=http, max_bytes=limit) as blocks,
    ):
        found = b"".join(transform_in_child(blocks, context.attempt, "--diagnose"))
    return found.decode().splitlines()
