"""A label, or none, that makes a hook's filters match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aruna.api.hooks.services.v2 import hooks_service_pb2
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.objects import PROCESSED_LABEL, label

_LABEL = models_pb2.KEY_VALUE_VARIANT_LABEL
_STATIC = models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL
_FINISHED = hooks_service_pb2.TRIGGER_TYPE_OBJECT_FINISHED
#: The variants of a label that can pull a trigger. Aruna 2.0.4: an upload's end looks at all labels
#: of the object, an added label at those that were added with it.
VARIANTS = {
    _FINISHED: (_LABEL, _STATIC),
    hooks_service_pb2.TRIGGER_TYPE_LABEL_ADDED: (_LABEL,),
    hooks_service_pb2.TRIGGER_TYPE_STATIC_LABEL_ADDED: (_STATIC,),
}

#: What is left of an expression once each of these is replaced, in this order: a text that it
#: probably matches.
_SIMPLER = (
    (re.compile(r"\(\?[a-zA-Z]*[:)]|\(\?P?<\w+>"), ""),  # flags, names of groups
    (re.compile(r"(?<!\\)[()^$]|\\[AzZbB]"), ""),
    (re.compile(r"\\d"), "1"),
    (re.compile(r"\\w"), "a"),
    (re.compile(r"\\s"), " "),
    (re.compile(r"\[([^\]^\\])[^\]]*\]"), r"\1"),  # a class: its first member
    (re.compile(r"(?<!\\)\.(?=[*?])"), ""),
    (re.compile(r"(?<!\\)\."), "x"),
    (re.compile(r"(?<!\\)[*+?]|(?<!\\)\{\d+(,\d*)?\}"), ""),
    (re.compile(r"\\(.)"), r"\1"),
)


@dataclass(frozen=True)
class Match:
    """What makes a filter match: a label, or ``None`` if the object's name does by itself."""

    label: models_pb2.KeyValue | None


def match_for(trigger: hooks_service_pb2.Trigger, name: str) -> Match | None:
    """What makes a hook fire for an object of that name; ``None`` if nothing that was tried does.

    Aruna 2.0.4: one matching filter is enough, and a hook without any never fires.
    """
    variants = VARIANTS[trigger.trigger_type]
    for chosen in trigger.filters:
        if chosen.WhichOneof("filter_variant") == "name":
            if _found(chosen.name, name):
                # A label's trigger needs some label to be added.
                added = None if trigger.trigger_type == _FINISHED else _labelled(variants[0])
                return Match(added)
        elif chosen.key_value.variant in variants:
            key = text_for(chosen.key_value.key, "ABCD")
            value = text_for(chosen.key_value.value, "true")
            if key is not None and value is not None and key != PROCESSED_LABEL:
                return Match(_labelled(chosen.key_value.variant, key, value))
    return None


def text_for(expression: str, preferred: str) -> str | None:
    """A text in which the expression is found: ``preferred`` if it is, ``None`` if none was found.

    Aruna 2.0.4: Rust's expressions, which match anywhere in a text; Python's are nearly the same.
    """
    candidates = (preferred, *_simplified(expression))
    return next((text for text in candidates if text and _found(expression, text)), None)


def described(trigger: hooks_service_pb2.Trigger) -> str:
    """The filters of a trigger in a few words."""
    return " or ".join(map(_described, trigger.filters)) or "none"


def _described(chosen: hooks_service_pb2.Filter) -> str:
    if chosen.WhichOneof("filter_variant") == "name":
        return f"name {chosen.name}"
    wanted = chosen.key_value
    kind = {_LABEL: "label", _STATIC: "static label"}.get(wanted.variant, "key-value")
    return f"{kind} {wanted.key}={wanted.value}"


def _simplified(expression: str) -> Iterator[str]:
    for branch in expression.split("|"):
        for pattern, replacement in _SIMPLER:
            branch = pattern.sub(replacement, branch)
        yield branch


def _found(expression: str, text: str) -> bool:
    try:
        return re.search(expression, text) is not None
    except re.error:
        return False


def _labelled(variant: int, key: str = "ABCD", value: str = "true") -> models_pb2.KeyValue:
    made = label(key, value)
    made.variant = variant
    return made
