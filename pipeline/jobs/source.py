"""The source: whether the hook is genuine, the token still good, and the content complete."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.download import Source, download
from pipeline.aruna.hook import secret_is_genuine
from pipeline.aruna.objects import sha256_of
from pipeline.errors import Code, JobFailed, NotYet
from pipeline.jobs.context import JobContext
from pipeline.journal import Step
from pipeline.net.connections import session

#: Seconds to wait for the hashes of a multipart upload before the download itself is tried.
HASH_PATIENCE = 30.0
#: Seconds after which a download that breaks off is believed to be broken for good.
READY_PATIENCE = 3600.0
#: Seconds until Aruna is asked again: a quarter of what was waited so far, within these.
PAUSES = (1.0, 30.0)


def verify(context: JobContext) -> None:
    """Check the hook's secret against Aruna's public key, before anything else happens.

    Raises ``JobFailed`` (``invalid_secret``), or ``NotYet`` while Aruna can't be reached.
    """
    try:
        public_key = context.deps.aruna.public_key(context.hook.credentials.pubkey_serial)
    except ArunaRefused as refusal:
        raise unreachable(context) from refusal
    if public_key is None or not secret_is_genuine(context.hook, public_key):
        raise JobFailed(Code.INVALID_SECRET, "the hook's secret was not made by this Aruna")


def check_token(context: JobContext) -> None:
    """Raise ``JobFailed`` (``token_expired``) if the hook's token can do nothing any more."""
    ends = context.job.token_expires
    if ends is not None and ends <= context.deps.journal.now():
        day = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise JobFailed(
            Code.TOKEN_EXPIRED,
            f"the hook's registration ended on {day}; it must be registered anew",
        )


def ready(context: JobContext) -> models_pb2.Object:
    """The source with the SHA-256 of its content, once that is whole; raises ``NotYet`` until then.

    Aruna 2.0.4: the hook of a multipart upload comes while the data proxy still re-encodes, and
    the download breaks off until that is done. GetObject shows the hashes then, but they live in a
    cache and may be gone for good. So after ``HASH_PATIENCE`` the content is read once to learn
    its SHA-256; a download that breaks off is waited for, up to ``READY_PATIENCE``.
    """
    source = context.hook.object
    if source.hashes:
        return source
    sha256 = context.job.source_sha256
    if sha256 is None:
        sha256 = _shown_by_aruna(context) or _read_to_the_end(context)
        context.held.note_source(sha256)
    complete = models_pb2.Object()
    complete.CopyFrom(source)
    complete.hashes.add(alg=models_pb2.HASHALGORITHM_SHA256, hash=sha256)
    return complete


def _shown_by_aruna(context: JobContext) -> str | None:
    token, object_id = context.hook.credentials.token, context.hook.object.id
    try:
        return sha256_of(context.deps.aruna.get_object(token, object_id, context.attempt))
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise unreachable(context) from refusal
        return None


def _read_to_the_end(context: JobContext) -> str:
    """The SHA-256 of a download that is whole; raises ``NotYet`` if it breaks off."""
    if _waited(context) < HASH_PATIENCE:
        raise _not_yet(context, "Aruna does not show the hashes of the source yet")
    source = context.hook.object
    wanted = Source(context.download_url, source.content_len, None)
    limit = context.deps.settings.max_input_bytes
    digest = hashlib.sha256()
    try:
        with (
            session(context.deps.addresses) as http,
            download(wanted, context.attempt, session=http, max_bytes=limit) as blocks,
        ):
            for block in blocks:
                digest.update(block)
    except JobFailed as failure:
        broken_off = failure.code is Code.DOWNLOAD_FAILED and failure.again
        if broken_off and _waited(context) < READY_PATIENCE:
            raise _not_yet(context, "the source is not complete at Aruna yet") from failure
        raise
    return digest.hexdigest()


def unreachable(context: JobContext) -> NotYet:
    """Nothing was written yet: Aruna is waited for as long as the token can do something."""
    if context.job.step is Step.WORK:
        check_token(context)
    return _not_yet(context, "Aruna can't be reached")


def _not_yet(context: JobContext, message: str) -> NotYet:
    least, most = PAUSES
    return NotYet(message, after=min(most, max(least, _waited(context) / 4)))


def _waited(context: JobContext) -> float:
    """Seconds this job has waited for Aruna so far."""
    since = context.job.waiting_since
    return 0.0 if since is None else context.deps.journal.now() - since
