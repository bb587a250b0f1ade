"""Who makes JSON-LD of a document: GFBio over one of three transports, or a child process.

Each is given the download, its head read already, and gives the result as a stream of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pipeline.errors import Code, JobFailed
from pipeline.jobs.context import JobContext
from pipeline.jobs.result_object import relay_name
from pipeline.net.connections import Session
from pipeline.settings import Settings, Transformer, Transport
from pipeline.transform import gfbio
from pipeline.transform.checks import checked_json, checked_zip
from pipeline.transform.embedded import transform_in_child
from pipeline.transform.recognise import Kind
from pipeline.transform.shell import refusing_empty


def transformed(
    context: JobContext, document: Iterator[bytes], kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    """The result; its last block comes only when the whole of it is known to be good.

    ``resources`` outlive the stream. Raises ``JobFailed`` as the transformer does.
    """
    settings = context.deps.settings
    if settings.transformer is Transformer.EMBEDDED:
        return transform_in_child(document, attempt=context.attempt)
    session = resources.enter_context(gfbio.session_for(settings.gfbio_base_url))
    service = _gfbio(settings, session)
    if settings.gfbio_transport is Transport.RELAY:
        return _relayed(context, service, kind, resources)
    if settings.gfbio_transport is Transport.UPLOAD:
        made = gfbio.transform_body(service, document, kind, context.attempt)
    else:
        made = gfbio.transform_url(service, context.download_url, kind, context.attempt)
    return _checked(context, made, kind, resources)


def _relayed(
    context: JobContext, service: gfbio.GFBio, kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    """GFBio fetches from this service's relay, which answers only while it is at it."""
    token = context.held.open_relay(kind)
    name = relay_name(context.hook.object, kind)
    try:
        made = gfbio.transform_url(
            service,
            f"{context.deps.settings.public_url}/relay/{token}/{name}",
            kind,
            context.attempt,
        )
    except JobFailed as failure:
        raise _blamed(context, failure) from failure
    finally:
        context.held.close_relay()
    return _blaming(context, _checked(context, made, kind, resources))


def _checked(
    context: JobContext, made: gfbio.Transformed, kind: Kind, resources: ExitStack
) -> Iterator[bytes]:
    if made.job_id is not None:
        resources.callback(_delete_later, context, made.job_id)
    if kind is Kind.ZIP:
        return checked_zip(made.result)
    return checked_json(refusing_empty(made.result))


def _blaming(context: JobContext, result: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from result
    except JobFailed as failure:
        raise _blamed(context, failure) from failure


def _blamed(context: JobContext, failure: JobFailed) -> JobFailed:
    """The failure, or the download's if GFBio never had the whole of it."""
    if failure.code is not Code.TRANSFORMATION_FAILED:
        return failure
    relay = context.held.relay_outcome()
    if relay.passed:
        return failure
    reason = relay.error or f"GFBio did not get the whole file; {failure.message}"
    return JobFailed(Code.DOWNLOAD_FAILED, reason, again=True)


def _delete_later(context: JobContext, job_id: str) -> None:
    settings = context.deps.settings

    def delete() -> None:
        with gfbio.session_for(settings.gfbio_base_url) as session:
            gfbio.delete_job(_gfbio(settings, session), job_id)

    context.deps.later(delete)


def _gfbio(settings: Settings, session: Session) -> gfbio.GFBio:
    return gfbio.GFBio(
        settings.gfbio_base_url,
        settings.transformation_id,
        settings.transformation_version,
        session,
    )
