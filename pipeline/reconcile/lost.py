"""Whether an object's hook was lost, and the delivery that makes up for it.

A HOOK_STATUS holds no time. The object's creation is the only one there is: a hook may be younger,
if a label was added later. That does no harm, since a delivery that comes after all meets the
queued or running job of the same hook, object and content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from aruna.api.hooks.services.v2 import hooks_service_pb2
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import S3Credentials
from pipeline.aruna.hook import Credentials, Hook, secret_for
from pipeline.aruna.objects import (
    PROCESSED_LABEL,
    fingerprint,
    has_label,
    hook_statuses,
    may_be_same_content,
)
from pipeline.errors import Code
from pipeline.journal import Job

#: Aruna 2.0.4 (source): how reqwest begins when the receiver was not reached; other errors are
#: those of a receiver's own callback or of Aruna's rules.
_NOT_REACHED = "error sending request"


class Why(StrEnum):
    """What is left of the hook: sent or not, nobody called back; the service was not reached; or
    no trace at all."""

    RUNNING = "RUNNING"
    ERROR = "ERROR"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Criteria:
    """What is older than ``before`` (seconds since the epoch) counts, and with ``unseen`` objects
    too that match a hook's filters and have no status of it."""

    before: float
    unseen: bool = False


@dataclass(frozen=True)
class Lost:
    """An object that a hook of this service should have brought, and where it lies."""

    hook: hooks_service_pb2.HookInfo
    object: models_pb2.Object
    project_id: str
    path: str
    why: Why


def made_at(source: models_pb2.Object) -> float:
    """When the object was made, in seconds since the epoch."""
    return float(source.created_at.seconds + source.created_at.nanos / 1e9)


def why_lost(
    source: models_pb2.Object, hook: hooks_service_pb2.HookInfo, criteria: Criteria
) -> Why | None:
    """Why that hook counts as lost for the object, by what Aruna says of it; or ``None``."""
    if source.status != models_pb2.STATUS_AVAILABLE or has_label(source, PROCESSED_LABEL):
        return None
    if made_at(source) > criteria.before:
        return None
    statuses = hook_statuses(source, hook.hook_id)
    if statuses:
        return _by_status(statuses[-1])
    return Why.UNSEEN if criteria.unseen and _fires_for(hook.trigger.filters, source) else None


def is_dealt_with(lost: Lost, newest: Job, before: float) -> bool:
    """Whether the newest job of that hook and object is the reason not to do anything.

    What Aruna says now counts more than a job that ended once: the result may be gone, or a later
    hook be lost. But Aruna's cache can lag, so what has changed since ``before`` is left to the
    next run. An unseen object has no status for a callback to change: its job always ends as
    ``callback_failed``, with the result in place.
    """
    if (newest.ended_at or newest.created_at) > before:
        return True
    if not may_be_same_content(newest.content, fingerprint(lost.object)):
        return False
    if newest.ended_at is None:
        return True
    code = newest.outcome.code if newest.outcome else None
    return lost.why is Why.UNSEEN and code in (None, Code.CALLBACK_FAILED)


def delivery(
    lost: Lost, *, token: str, s3: S3Credentials, download: str, key: models_pb2.Pubkey
) -> Hook:
    """The hook as Aruna should have sent it.

    Its token and S3 credentials are the operator's, with more rights than a hook's.
    """
    lent = Credentials(
        secret=secret_for(lost.hook.hook_id, lost.object.id, key.key),
        pubkey_serial=key.id,
        download=download,
        token=token,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    return Hook(lost.hook.hook_id, lost.object, lent)


def _by_status(status: object) -> Why | None:
    """Aruna 2.0.4: a status is a word, or ``{"ERROR": text}``; the last of a hook is the newest."""
    if status == "RUNNING":
        return Why.RUNNING
    error = status.get("ERROR") if isinstance(status, dict) else None
    return Why.ERROR if isinstance(error, str) and error.startswith(_NOT_REACHED) else None


def _fires_for(filters: list[hooks_service_pb2.Filter], source: models_pb2.Object) -> bool:
    """Aruna 2.0.4: filters are ORed, their expressions unanchored, broken ones never match."""
    return any(
        _found(one.name, source.name)
        if one.WhichOneof("filter_variant") == "name"
        else any(_is_meant(one.key_value, kv) for kv in source.key_values)
        for one in filters
    )


def _is_meant(wanted: models_pb2.KeyValue, kv: models_pb2.KeyValue) -> bool:
    same = kv.variant == wanted.variant
    return same and _found(wanted.key, kv.key) and _found(wanted.value, kv.value)


def _found(expression: str, text: str) -> bool:
    try:
        return re.search(expression, text) is not None
    except re.error:
        return False
