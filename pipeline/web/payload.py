"""Aruna's hook payload, read strictly into a ``Hook``.

Aruna 2.0.4 writes Rust enums as serde does: an object with one capitalised key, integers for
enums, nulls for what is absent, snake_case names. The public guide writes the keys in lower case.
Both are read here, member by member, into the generated protobuf message of an object.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from aruna.api.storage.models.v2 import models_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from pipeline.aruna.hook import Credentials, Hook
from pipeline.errors import Code

T = TypeVar("T")

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OTHER_RESOURCES = ("Project", "Collection", "Dataset")
_A_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TEXT_LIMIT = 4096
_LONG_TEXT_LIMIT = 65536
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: 31,
    FieldDescriptor.TYPE_INT64: 63,
    FieldDescriptor.TYPE_UINT32: 32,
    FieldDescriptor.TYPE_UINT64: 64,
}


class HookRefused(Exception):
    """The payload is no hook this service can work on.

    ``code`` and ``message`` answer the sender; ``hook`` is there if the payload says enough to
    tell Aruna (whoever sent it waits for a callback for ever).
    """

    def __init__(self, code: str, message: str, *, hook: Hook | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hook = hook


def parse_hook(body: bytes) -> Hook:
    """Read a payload of either spelling; raises ``HookRefused`` with the member that is wrong.

    Unknown members are ignored. ``unsupported_resource`` for a project, collection or dataset,
    ``missing_download_url`` for an object that has content and no URL.
    """
    payload = parse_json(body)
    if not isinstance(payload, dict):
        raise HookRefused(Code.INVALID_HOOK, "the payload: must be an object")
    try:
        hook = _hook(payload)
    except _Wrong as wrong:
        raise HookRefused(wrong.code, str(wrong), hook=_answerable(payload)) from wrong
    if hook.why_ignored is None and not hook.credentials.download:
        raise HookRefused(
            Code.MISSING_DOWNLOAD_URL, "download: the object's URL is missing", hook=hook
        )
    return hook


def parse_json(body: bytes) -> object:
    """The JSON value in ``body``, strictly: UTF-8, no repeated keys, no NaN, no endless numbers.

    Raises ``HookRefused`` (``invalid_json``).
    """
    try:
        return _STRICT.decode(body.decode("utf-8"))
    except RecursionError as error:
        raise HookRefused("invalid_json", "the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        message = f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise HookRefused("invalid_json", message) from error
    except UnicodeDecodeError as error:
        raise HookRefused("invalid_json", "the body is not UTF-8") from error
    except ValueError as error:
        raise HookRefused("invalid_json", "the body holds an endless number") from error


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise HookRefused("invalid_json", "a member of an object stands there twice")
    return members


def _no_constant(name: str) -> float:
    raise HookRefused("invalid_json", f"{name} is no JSON number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unrepeated, parse_constant=_no_constant)


class _Wrong(Exception):
    """What is wrong with a member; whoever reads what it stands in adds its step to the path."""

    def __init__(self, what: str, code: str = Code.INVALID_HOOK) -> None:
        self.what = what
        self.code = code
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path.removeprefix('.')}: {self.what}"


def _at(step: str, read: Callable[[object], T], value: object) -> T:
    """``read(value)``; an error's path gets ``step`` before it."""
    try:
        return read(value)
    except _Wrong as wrong:
        wrong.path = f"{step}{wrong.path}"
        raise


def _of(members: dict[str, Any], name: str, read: Callable[[object], T]) -> T:
    """The member that must be there, as ``read`` makes it."""
    return _at(f".{name}", read, members.get(name))


def _hook(payload: dict[str, Any]) -> Hook:
    return Hook(
        object=_of(payload, "object", _object),
        hook_id=_of(payload, "hook_id", _identifier),
        credentials=Credentials(
            secret=_of(payload, "secret", _required),
            pubkey_serial=_of(payload, "pubkey_serial", _serial),
            download=(
                None if payload.get("download") is None else _of(payload, "download", _required)
            ),
            token=_of(payload, "token", _required),
            access_key=_of(payload, "access_key", _required),
            secret_key=_of(payload, "secret_key", _required),
        ),
    )


def _answerable(payload: dict[str, Any]) -> Hook | None:
    """As much of a refused hook as a callback needs, or ``None``."""
    try:
        return Hook(
            hook_id=_of(payload, "hook_id", _identifier),
            object=models_pb2.Object(id=_of(payload, "object", _object_id)),
            credentials=Credentials(
                secret=_of(payload, "secret", _required),
                pubkey_serial=_of(payload, "pubkey_serial", _serial),
                download=None,
                token="",
                access_key="",
                secret_key="",
            ),
        )
    except _Wrong:
        return None


def _object_id(value: object) -> str:
    inner = _members(next(iter(_members(value).values()), None))
    return _of(inner, "id", _identifier)


def _object(value: object) -> models_pb2.Object:
    wrapped = _members(value)
    for name in _OTHER_RESOURCES:
        if name in wrapped or name.lower() in wrapped:
            raise _Wrong(f"{name} where only Object is supported", Code.UNSUPPORTED_RESOURCE)
    for spelling in ("Object", "object"):
        if spelling in wrapped:
            inner = _of(wrapped, spelling, _members)
            fields = _reader_of(models_pb2.Object.DESCRIPTOR)(inner)
            _of(fields, "id", _identifier)
            _of(fields, "name", _required)
            return models_pb2.Object(**fields)
    raise _Wrong("needs the member Object")


@functools.cache
def _reader_of(message: Descriptor) -> Callable[[object], Any]:
    """What makes of members, as serde writes them, the arguments that build such a message.

    Made once: descriptors are slow to answer.
    """
    if message.full_name == Timestamp.DESCRIPTOR.full_name:
        return _time
    fields = {one.name: _field_reader(one) for one in message.fields}
    oneofs: dict[str, Callable[[object], dict[str, Any]]] = {
        oneof.name: functools.partial(
            _unwrapped, {one.name: fields[one.name] for one in oneof.fields}
        )
        for oneof in message.oneofs
    }
    return functools.partial(_fields, fields, oneofs)


def _field_reader(field: FieldDescriptor) -> Callable[[object], Any]:
    one = _value_reader(field)
    return functools.partial(_list, one) if field.is_repeated else one


def _value_reader(field: FieldDescriptor) -> Callable[[object], Any]:
    if field.message_type is not None:
        return _reader_of(field.message_type)
    if field.enum_type is not None:
        numbers = {
            name: int(value.number) for name, value in field.enum_type.values_by_name.items()
        }
        return functools.partial(_enum, field.enum_type.name, numbers)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _boolean
    if field.type in _INTEGERS:
        return functools.partial(_integer, bits=_INTEGERS[field.type])
    return functools.partial(_text, limit=_LONG_TEXT_LIMIT)


def _fields(
    fields: dict[str, Callable[[object], Any]],
    oneofs: dict[str, Callable[[object], dict[str, Any]]],
    value: object,
) -> dict[str, Any]:
    """The fields that have a value, those of a oneof unwrapped from their one-key object."""
    given = {}
    for name, member in _members(value).items():
        if member is None:
            continue
        if name in fields:
            given[name] = _at(f".{name}", fields[name], member)
        elif name in oneofs:
            given.update(_at(f".{name}", oneofs[name], member))
    return given


def _unwrapped(fields: dict[str, Callable[[object], Any]], value: object) -> dict[str, Any]:
    given = {}
    for variant, inner in _members(value).items():
        name = _A_WORD_BEGINS.sub("_", variant).lower()
        if name in fields:
            given[name] = _at(f".{variant}", fields[name], inner)
    return given


def _list(read: Callable[[object], Any], value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong("must be a list")
    return [_at(f"[{index}]", read, item) for index, item in enumerate(value)]


def _time(value: object) -> Timestamp:
    time = Timestamp()
    try:
        time.FromJsonString(_text(value))
    except ValueError as error:
        raise _Wrong("must be a time as in RFC 3339") from error
    return time


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _enum(enum: str, numbers: dict[str, int], value: object) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    number = _integer(value, 31)
    if number not in numbers.values():
        raise _Wrong(f"{number} is no {enum}")
    return number


def _members(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong("is missing" if value is None else "must be an object")
    return value


def _text(value: object, limit: int = _TEXT_LIMIT) -> str:
    if not isinstance(value, str):
        raise _Wrong("is missing" if value is None else "must be a text")
    if len(value) > limit:
        raise _Wrong(f"is longer than {limit} characters")
    # Looking at each character is slow, and most texts are ASCII.
    if ("\0" in value or not value.isascii()) and _NO_TEXT.search(value):
        raise _Wrong("holds a character that no text may hold")
    return value


def _integer(value: object, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong("is missing" if value is None else "must be an integer")
    if not 0 <= value < 1 << bits:
        raise _Wrong("is out of range")
    return value


def _serial(value: object) -> int:
    return _integer(value, 31)


def _required(value: object) -> str:
    text = _text(value)
    if not text:
        raise _Wrong("is missing")
    return text


def _identifier(value: object) -> str:
    text = _required(value)
    if not _IDENTIFIER.fullmatch(text):
        raise _Wrong("is no identifier")
    return text
