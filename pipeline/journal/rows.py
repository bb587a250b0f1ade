"""From the rows of the tables to the values of ``records``."""

from __future__ import annotations

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.hook import Credentials
from pipeline.aruna.objects import sha256_of
from pipeline.journal.records import (
    Job,
    Known,
    Outcome,
    PastAttempt,
    Progress,
    Relay,
    RelayGrant,
    State,
    Step,
)
from pipeline.journal.schema import AnyRow
from pipeline.journal.sealing import Seal, Unreadable


def job(row: AnyRow, seal: Seal) -> Job:
    """A row of ``jobs``."""
    credentials, gone = _credentials(row.credentials, seal)
    decided = row.step == Step.CALLBACK or row.ended_at is not None
    return Job(
        id=row.id,
        hook_id=row.hook_id,
        object_id=row.object_id,
        content=row.content,
        name=row.name,
        object=row.object,
        credentials=credentials,
        credentials_gone=gone,
        token_expires=row.token_expires,
        answer_only=row.answer_only,
        deliveries=row.deliveries,
        state=State(row.state),
        step=Step(row.step),
        attempt=row.attempt,
        callback_attempt=row.callback_attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        next_at=row.next_at,
        waiting_since=row.waiting_since,
        lease=row.lease,
        lease_until=row.lease_until,
        holder=row.holder,
        outcome=Outcome(row.code, row.message) if decided else None,
        last_error=Outcome(row.last_code, row.last_message) if row.last_message else None,
        result_id=row.result_id,
        result_name=row.result_name,
        callback_since=row.callback_since,
        callback_sent_at=row.callback_sent_at,
        progress=Progress(row.stage, row.bytes_in, row.bytes_out),
        relay=Relay(row.relay_fetches, row.relay_passed, row.relay_error),
    )


def relay_grant(row: AnyRow, seal: Seal) -> RelayGrant | None:
    """A job whose relay was asked for; ``None`` without a URL to relay."""
    credentials, _ = _credentials(row.credentials, seal)
    if credentials is None or credentials.download is None:
        return None
    source = models_pb2.Object.FromString(row.object)
    return RelayGrant(
        job_id=row.id,
        name=row.name,
        kind=row.relay_kind,
        download=credentials.download,
        content_len=source.content_len,
        sha256=sha256_of(source),
    )


def past_attempt(row: AnyRow) -> PastAttempt:
    """A row of ``attempts``."""
    return PastAttempt(
        number=row.number,
        step=Step(row.step),
        started_at=row.started_at,
        ended_at=row.ended_at,
        code=row.code,
        message=row.message,
        next_at=row.next_at,
    )


def known(row: AnyRow) -> Known:
    """What of a row of ``jobs`` says whether its content was dealt with."""
    return Known(row.id, row.hook_id, row.content, State(row.state), row.code)


def _credentials(stored: bytes | None, seal: Seal) -> tuple[Credentials | None, str | None]:
    """The credentials, or why there are none."""
    if stored is None:
        return None, "the credentials are not kept any more"
    try:
        return seal.unseal(bytes(stored)), None
    except Unreadable as error:
        return None, str(error)
