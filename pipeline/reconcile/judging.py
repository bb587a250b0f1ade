"""Whether an object was forgotten, by what Aruna says of a hook on it.

A HOOK_STATUS holds no time. The object's creation is the only one there is: a hook may be younger,
if a label was added later. That does no harm, since a delivery that comes after all meets the
queued or running job of the same hook, object and content.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum

from aruna.api.hooks.services.v2 import hooks_service_pb2
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.objects import PROCESSED_LABEL, fingerprint, has_label
from pipeline.errors import Code
from pipeline.journal import Known, State

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
    """Objects made before ``before`` (seconds since the epoch) count, and with ``unseen`` those
    too that match a hook's filters and have no status of it."""

    before: float
    unseen: bool = False


@dataclass(frozen=True)
class Forgotten:
    """An object that a hook of this service should have brought, and where it lies."""

    hook: hooks_service_pb2.HookInfo
    object: models_pb2.Object
    project_id: str
    path: str
    why: Why

    @property
    def since(self) -> float:
        """When the object was made, in seconds since the epoch."""
        return made_at(self.object)


def made_at(source: models_pb2.Object) -> float:
    """When the object was made, in seconds since the epoch."""
    return float(source.created_at.seconds + source.created_at.nanos / 1e9)


def why_forgotten(
    source: models_pb2.Object, hook: hooks_service_pb2.HookInfo, criteria: Criteria
) -> Why | None:
    """Why the object counts as forgotten by that hook, or ``None``."""
    if source.status != models_pb2.STATUS_AVAILABLE or has_label(source, PROCESSED_LABEL):
        return None
    if made_at(source) > criteria.before:
        return None
    statuses = [
        kv.value
        for kv in source.key_values
        if kv.key == hook.hook_id and kv.variant == models_pb2.KEY_VALUE_VARIANT_HOOK_STATUS
    ]
    if statuses:
        return _by_status(statuses[-1])
    return Why.UNSEEN if criteria.unseen and _fires_for(hook.trigger.filters, source) else None


def is_known(forgotten: Forgotten, job: Known) -> bool:
    """Whether that job is the reason not to do anything.

    A queued or running one may have been delivered before Aruna knew the hashes, so its content is
    not compared. An unseen object has no status for a callback to change: its job always ends as
    ``callback_failed``, with the result in place.
    """
    if job.state in (State.QUEUED, State.RUNNING):
        return True
    content = fingerprint(forgotten.object)
    length = str(forgotten.object.content_len)
    if job.content not in (content, length):
        return False
    unanswerable = forgotten.why is Why.UNSEEN and job.code == Code.CALLBACK_FAILED
    return unanswerable or (job.state is State.SUCCEEDED and job.code is None)


def _by_status(text: str) -> Why | None:
    """Aruna 2.0.4: the member ``status`` is a word, or ``{"ERROR": text}``; the last entry of a
    hook is the newest."""
    try:
        status = json.loads(text)["status"]
    except (ValueError, KeyError, TypeError):
        return None
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
