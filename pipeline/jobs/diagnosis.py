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
from pipeline.transform.gfbio import NO_RESULT


@contextmanager
def diagnosing(context: JobContext) -> Iterator[None]:
    """A ``transformation_failed`` of GFBio's that leaves this block says what is wrong.

    It takes no more than is left of the attempt. What goes wrong with it is not told: the failure
    then stays as it was.
    """
    try:
        yield
    except JobFailed as failure:
        is_gfbios = context.deps.settings.transformer is Transformer.GFBIO
        if failure.code is not Code.TRANSFORMATION_FAILED or failure.again or not is_gfbios:
            raise
        raise JobFailed(failure.code, _said(context, failure.message)) from failure


def _said(context: JobContext, gfbios: str) -> str:
    """The whole sentence; ``gfbios`` is what is said without a diagnosis."""
    try:
        with context.stage("diagnose"):
            lacks = _diagnosed(context)
    except JobFailed as found:
        if found.code is not Code.INVALID_INPUT:
            return gfbios
        return found.message if gfbios == NO_RESULT else f"{found.message}; {gfbios}"
    except OSError:
        return gfbios
    wanting = f"; of what Bioschemas requires it lacks {', '.join(lacks)}" if lacks else ""
    return (
        f"{gfbios}, though it is well-formed ABCD 2.06: wait for GFBio and retry the job, or set "
        f"TRANSFORMER=embedded{wanting}"
    )


def _diagnosed(context: JobContext) -> list[str]:
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
