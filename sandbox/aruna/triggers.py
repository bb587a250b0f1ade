"""Which hooks fire: Aruna's triggers and filters, and the status they leave on an object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.aruna.model import Hook
from sandbox.aruna.state import State

HOOK_ADDED = hooks_pb2.TRIGGER_TYPE_HOOK_ADDED
HOOK_STATUS_CHANGED = hooks_pb2.TRIGGER_TYPE_HOOK_STATUS_CHANGED
LABEL_ADDED = hooks_pb2.TRIGGER_TYPE_LABEL_ADDED
OBJECT_FINISHED = hooks_pb2.TRIGGER_TYPE_OBJECT_FINISHED
RESOURCE_CREATED = hooks_pb2.TRIGGER_TYPE_RESOURCE_CREATED
STATIC_LABEL_ADDED = hooks_pb2.TRIGGER_TYPE_STATIC_LABEL_ADDED

_ADDED = {
    models.KEY_VALUE_VARIANT_HOOK: HOOK_ADDED,
    models.KEY_VALUE_VARIANT_LABEL: LABEL_ADDED,
    models.KEY_VALUE_VARIANT_STATIC_LABEL: STATIC_LABEL_ADDED,
}


@dataclass(frozen=True)
class Firing:
    """A hook that fired for an object, as it was then, on behalf of a project."""

    hook: Hook
    project_id: str
    object: models.Object


def triggers_of(key_values: Iterable[models.KeyValue]) -> set[int]:
    """The triggers that adding such key-values pulls."""
    return {_ADDED[kv.variant] for kv in key_values if kv.variant in _ADDED}


def firings(
    state: State,
    snapshot: models.Object,
    triggers: set[int],
    labels: Iterable[models.KeyValue] | None = None,
) -> Iterator[Firing]:
    """The hooks that fire for an object, once for each way from a project of theirs to it.

    Aruna 2.0.4: filters are ORed (none: the hook never fires), their expressions match anywhere,
    broken ones are skipped, ``labels`` (default: all of the object's) are looked at.
    """
    labels = list(snapshot.key_values if labels is None else labels)
    projects = [path[0] for path in state.paths(snapshot.id)]
    for hook in list(state.hooks.values()):
        trigger = hook.request.trigger
        if trigger.trigger_type not in triggers:
            continue
        if any(_matches(chosen, snapshot.name, labels) for chosen in trigger.filters):
            for project_id in projects:
                for _ in range(hook.project_ids.count(project_id)):
                    yield Firing(hook, project_id, snapshot)


def hook_status(hook: Hook, status: str | dict[str, str]) -> models.KeyValue:
    """The HOOK_STATUS key-value of a hook: its key is the hook's id, its value a JSON text."""
    trigger = hook.request.trigger
    kind = hooks_pb2.TriggerType.Name(trigger.trigger_type).removeprefix("TRIGGER_TYPE_")
    value = {
        "name": hook.request.name,
        "status": status,
        "trigger": {"variant": kind, "filter": [_filter_json(f) for f in trigger.filters]},
    }
    return models.KeyValue(
        key=hook.id,
        value=_compact(value),
        variant=models.KEY_VALUE_VARIANT_HOOK_STATUS,
    )


def with_status(key_value: models.KeyValue, status: str | dict[str, str]) -> models.KeyValue:
    """A HOOK_STATUS key-value with another status and all else as it is."""
    value = {**json.loads(key_value.value), "status": status}
    return models.KeyValue(
        key=key_value.key, value=_compact(value), variant=models.KEY_VALUE_VARIANT_HOOK_STATUS
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _matches(chosen: hooks_pb2.Filter, name: str, labels: list[models.KeyValue]) -> bool:
    if chosen.WhichOneof("filter_variant") == "name":
        return _found(chosen.name, name)
    wanted = chosen.key_value
    return any(
        label.variant == wanted.variant
        and _found(wanted.key, label.key)
        and _found(wanted.value, label.value)
        for label in labels
    )


def _found(expression: str, text: str) -> bool:
    try:
        return re.search(expression, text) is not None
    except re.error:
        return False


def _filter_json(chosen: hooks_pb2.Filter) -> dict[str, Any]:
    if chosen.WhichOneof("filter_variant") == "name":
        return {"Name": chosen.name}
    variant = models.KeyValueVariant.Name(chosen.key_value.variant)
    return {
        "KeyValue": {
            "key": chosen.key_value.key,
            "value": chosen.key_value.value,
            "variant": variant.removeprefix("KEY_VALUE_VARIANT_"),
        }
    }
