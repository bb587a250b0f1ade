"""The source: whether the hook is genuine, the token still good, and the content complete."""

from __future__ import annotations

from datetime import UTC, datetime

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.hook import secret_is_genuine
from pipeline.errors import Code, JobFailed, NotYet
from pipeline.jobs.claim import Claim
from pipeline.journal import Step

#: Seconds to wait for the hashes of a multipart upload that Aruna is re-encoding.
READY_PATIENCE = 3600.0
#: Seconds until Aruna is asked again: a quarter of what was waited so far, within these.
PAUSES = (1.0, 30.0)


def verify(claim: Claim) -> None:
    """Check the hook's secret against Aruna's public key, before anything else happens.

    Raises ``JobFailed`` (``invalid_secret``), or ``NotYet`` while Aruna can't be reached.
    """
    try:
        public_key = claim.peers.aruna.public_key(claim.hook.credentials.pubkey_serial)
    except ArunaRefused as refusal:
        raise _unreachable(claim) from refusal
    if public_key is None or not secret_is_genuine(claim.hook, public_key):
        raise JobFailed(Code.INVALID_SECRET, "the hook's secret was not made by this Aruna")


def check_token(claim: Claim) -> None:
    """Raise ``JobFailed`` (``token_expired``) if the hook's token can do nothing any more."""
    ends = claim.job.token_expires
    if ends is not None and ends <= claim.peers.clock():
        day = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise JobFailed(
            Code.TOKEN_EXPIRED,
            f"the hook's registration ended on {day}; it must be registered anew",
        )


def ready(claim: Claim) -> models_pb2.Object:
    """The source once its content is complete; raises ``NotYet`` until then, for an hour at most.

    Aruna 2.0.4: a hook of a multipart upload is out while the data proxy still re-encodes; the
    download breaks off until GetObject shows the hashes.
    """
    source = claim.hook.object
    if source.hashes:
        return source
    try:
        now = claim.peers.aruna.get_object(claim.hook.credentials.token, source.id, claim.attempt)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise _unreachable(claim) from refusal
        now = source
    if not now.hashes and _waited(claim) < READY_PATIENCE:
        raise _not_yet(claim, "the source's content is not complete at Aruna yet")
    complete = models_pb2.Object()
    complete.CopyFrom(source)
    complete.hashes.extend(now.hashes)
    return complete


def _unreachable(claim: Claim) -> NotYet:
    """Nothing was written yet: Aruna is waited for as long as the token can do something."""
    if claim.job.step is Step.WORK:
        check_token(claim)
    return _not_yet(claim, "Aruna can't be reached")


def _not_yet(claim: Claim, message: str) -> NotYet:
    least, most = PAUSES
    return NotYet(message, after=min(most, max(least, _waited(claim) / 4)))


def _waited(claim: Claim) -> float:
    """Seconds this job has waited for Aruna so far."""
    since = claim.job.waiting_since
    return 0.0 if since is None else claim.peers.clock() - since
