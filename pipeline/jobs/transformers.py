"""Who makes JSON-LD of a document: GFBio over one of three transports, or a child process.

Each is given the download, its head read already, and gives the result as a stream of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pipeline.errors import Code, JobFailed
from pipeline.jobs.claim import Claim
from pipeline.jobs.result_object import relay_name
from pipeline.net.connections import Session
from pipeline.settings import Settings, Transformer, Transport
from pipeline.transform import gfbio
from pipeline.transform.checks import checked_json, checked_zip
from pipeline.transform.embedded import transform_in_child
from pipeline.transform.recognise import Kind


def transformed(
    claim: Claim, document: Iterator[bytes], kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    """The result; its last block comes only when the whole of it is known to be good.

    ``resources`` outlive the stream. Raises ``JobFailed`` as the transformer does.
    """
    settings = claim.peers.settings
    if settings.transformer is Transformer.EMBEDDED:
        return transform_in_child(document, attempt=claim.attempt)
    session = resources.enter_context(gfbio.session_for(settings.gfbio_base_url))
    service = _gfbio(settings, session)
    if settings.gfbio_transport is Transport.RELAY:
        return _relayed(claim, service, kind, resources)
    if settings.gfbio_transport is Transport.UPLOAD:
        made = gfbio.transform_body(service, document, kind, claim.attempt)
    else:
        made = gfbio.transform_url(service, claim.download_url, kind, claim.attempt)
    return _checked(claim, made, kind, resources)


def _relayed(
    claim: Claim, service: gfbio.GFBio, kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    """GFBio fetches from this service's relay, which answers only while it is at it."""
    journal, job = claim.peers.journal, claim.job
    token = journal.open_relay(job.id, claim.lease, kind)
    name = relay_name(claim.hook.object, kind)
    try:
        made = gfbio.transform_url(
            service,
            f"{claim.peers.settings.public_url}/relay/{token}/{name}",
            kind,
            claim.attempt,
        )
    except JobFailed as failure:
        raise _blamed(claim, failure) from failure
    finally:
        journal.close_relay(job.id, claim.lease)
    return _blaming(claim, _checked(claim, made, kind, resources))


def _checked(
    claim: Claim, made: gfbio.Transformed, kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    if made.job_id is not None:
        resources.callback(_delete_later, claim, made.job_id)
    return checked_zip(made.result) if kind is Kind.ZIP else checked_json(made.result)


def _blaming(claim: Claim, result: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from result
    except JobFailed as failure:
        raise _blamed(claim, failure) from failure


def _blamed(claim: Claim, failure: JobFailed) -> JobFailed:
    """The failure, or the download's if GFBio never had the whole of it."""
    if failure.code is not Code.TRANSFORMATION_FAILED:
        return failure
    relay = claim.peers.journal.relay_outcome(claim.job.id, claim.lease)
    if relay.passed:
        return failure
    reason = relay.error or f"GFBio did not get the whole file; {failure.message}"
    return JobFailed(Code.DOWNLOAD_FAILED, reason, again=True)


def _delete_later(claim: Claim, job_id: str) -> None:
    settings = claim.peers.settings

    def delete() -> None:
        with gfbio.session_for(settings.gfbio_base_url) as session:
            gfbio.delete_job(_gfbio(settings, session), job_id)

    claim.peers.later(delete)


def _gfbio(settings: Settings, session: Session) -> gfbio.GFBio:
    return gfbio.GFBio(
        settings.gfbio_base_url,
        settings.transformation_id,
        settings.transformation_version,
        session,
    )
