"""The hook: Aruna's payload as one typed model.

Aruna 2.0.4 writes Rust enums as serde does: an object with one capitalised key, integers for
enums, nulls for what is absent, snake_case names. The public guide writes the keys in lower case.
Both are read here, member by member, into the generated protobuf message of an object.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aruna.api.storage.models.v2 import models_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pipeline.errors import Code

#: The label that the service gives to what it made; such objects are never transformed again.
PROCESSED_LABEL = "PROCESSED"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OTHER_RESOURCES = ("Project", "Collection", "Dataset")
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


@dataclass(frozen=True)
class Hook:
    """One delivery of a hook: the object that triggered it and what Aruna lends us to work on it.

    ``object`` is the source as Aruna wrote it at the trigger, ``download`` a presigned URL (none
    while the source has no content), ``token``, ``access_key`` and ``secret_key`` have the
    permission APPEND on the hook's project, ``secret`` is the HMAC that HookCallback asks for.
    """

    hook_id: str
    object: models_pb2.Object
    secret: str = field(repr=False)
    pubkey_serial: int
    download: str | None = field(repr=False)
    token: str = field(repr=False)
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    @property
    def content(self) -> str:
        """What content the source has: its length in bytes and its hashes, as one text."""
        hashes = sorted(f"{h.alg}={h.hash}" for h in self.object.hashes)
        return ":".join([str(self.object.content_len), *hashes])

    @property
    def why_ignored(self) -> str | None:
        """Why there is nothing to do for this object, or ``None``."""
        if has_label(self.object, PROCESSED_LABEL):
            return "the object is a result of this service"
        if self.object.status == models_pb2.STATUS_INITIALIZING and self.download is None:
            return "the object has no content yet"
        return None


def has_label(source: models_pb2.Object, key: str) -> bool:
    """Whether ``source`` carries a label (of any value) with that key."""
    label = models_pb2.KEY_VALUE_VARIANT_LABEL
    return any(kv.key == key and kv.variant == label for kv in source.key_values)


def sha256_of(source: models_pb2.Object) -> str | None:
    """The SHA-256 of the source's content in lower-case hex, if Aruna knows it already."""
    for entry in source.hashes:
        if entry.alg == models_pb2.HASHALGORITHM_SHA256 and entry.hash:
            return str(entry.hash).lower()
    return None


def secret_for(hook_id: str, object_id: str, public_key: str) -> str:
    """The ``secret`` Aruna computes for a hook and an object.

    Aruna 2.0.4: base64 of HMAC-SHA256, keyed with the text of the server's public key (base64
    without PEM lines), over the object's id followed by the hook's id.
    """
    digest = hmac.new(public_key.encode(), f"{object_id}{hook_id}".encode(), sha256).digest()
    return base64.b64encode(digest).decode()


def secret_is_genuine(hook: Hook, public_key: str) -> bool:
    """Whether the hook's ``secret`` was made with that public key, compared in constant time."""
    expected = secret_for(hook.hook_id, hook.object.id, public_key)
    return hmac.compare_digest(expected.encode(), hook.secret.encode())


def token_expiry(token: str) -> float | None:
    """When an Aruna token ends, in seconds since the epoch; ``None`` if it does not say.

    Read for planning only: the signature is Aruna's to check.
    """
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, binascii.Error):
        return None


def parse_hook(body: bytes) -> Hook:
    """Read a payload of either spelling; raises ``HookRefused`` with the member that is wrong.

    Unknown members are ignored. ``unsupported_resource`` for a project, collection or dataset,
    ``missing_download_url`` for an object that has content and no URL.
    """
    payload = _members(parse_json(body), "the payload")
    try:
        hook = _hook(payload)
    except HookRefused as refusal:
        answerable = _answerable(payload)
        raise HookRefused(refusal.code, refusal.message, hook=answerable) from refusal
    if hook.why_ignored is None and not hook.download:
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


def _hook(payload: dict[str, Any]) -> Hook:
    source = models_pb2.Object()
    _fill(source, _object(payload), "object")
    _identifier(source.id, "object.id")
    _required(source.name, "object.name")
    return Hook(
        hook_id=_identifier(_text(_member(payload, "hook_id"), "hook_id"), "hook_id"),
        object=source,
        secret=_required(_text(_member(payload, "secret"), "secret"), "secret"),
        pubkey_serial=_integer(_member(payload, "pubkey_serial"), "pubkey_serial", 31),
        download=_download(payload.get("download")),
        token=_required(_text(_member(payload, "token"), "token"), "token"),
        access_key=_required(_text(_member(payload, "access_key"), "access_key"), "access_key"),
        secret_key=_required(_text(_member(payload, "secret_key"), "secret_key"), "secret_key"),
    )


def _answerable(payload: dict[str, Any]) -> Hook | None:
    """As much of a refused hook as a callback needs, or ``None``."""
    try:
        return Hook(
            hook_id=_identifier(_text(_member(payload, "hook_id"), "hook_id"), "hook_id"),
            object=models_pb2.Object(id=_object_id(payload)),
            secret=_required(_text(_member(payload, "secret"), "secret"), "secret"),
            pubkey_serial=_integer(_member(payload, "pubkey_serial"), "pubkey_serial", 31),
            download=None,
            token="",
            access_key="",
            secret_key="",
        )
    except HookRefused:
        return None


def _object_id(payload: dict[str, Any]) -> str:
    wrapped = _members(_member(payload, "object"), "object")
    inner = _members(next(iter(wrapped.values()), None), "object")
    return _identifier(_text(inner.get("id"), "object.id"), "object.id")


def _object(payload: dict[str, Any]) -> dict[str, Any]:
    wrapped = _members(_member(payload, "object"), "object")
    for name in _OTHER_RESOURCES:
        if name in wrapped or name.lower() in wrapped:
            raise HookRefused(
                Code.UNSUPPORTED_RESOURCE, f"object: {name} where only Object is supported"
            )
    for spelling in ("Object", "object"):
        if spelling in wrapped:
            return _members(wrapped[spelling], f"object.{spelling}")
    raise _wrong("object", "needs the member Object")


def _download(value: object) -> str | None:
    return None if value is None else _required(_text(value, "download"), "download")


@dataclass(frozen=True)
class _Field:
    """What is asked of a field again and again: descriptors are slow to answer.

    ``read`` makes its value of a member and the member's path; ``None`` for a message's field.
    """

    name: str
    repeated: bool
    read: Callable[[object, str], str | int] | None


@functools.cache
def _fields_of(message: Descriptor) -> tuple[dict[str, _Field], dict[str, dict[str, _Field]]]:
    """The fields of a message by name, and by the name of their oneof those that are in one."""
    fields = {one.name: _Field(one.name, one.is_repeated, _reader(one)) for one in message.fields}
    oneofs = {
        oneof.name: {one.name: fields[one.name] for one in oneof.fields} for oneof in message.oneofs
    }
    return fields, oneofs


def _reader(field: FieldDescriptor) -> Callable[[object, str], str | int] | None:
    if field.message_type is not None:
        return None
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


def _fill(message: Message, members: dict[str, Any], path: str) -> None:
    """Set the fields of ``message`` from the members that serde wrote."""
    for known, value in _present_fields(message, members, path):
        where = f"{path}.{known.name}"
        if known.repeated:
            for index, item in enumerate(_items(value, where)):
                _append(getattr(message, known.name), known, item, f"{where}[{index}]")
        elif known.read is None:
            _fill_message(getattr(message, known.name), value, where)
        else:
            setattr(message, known.name, known.read(value, where))


def _present_fields(
    message: Message, members: dict[str, Any], path: str
) -> Iterator[tuple[_Field, object]]:
    """The fields that have a value, those of a oneof unwrapped from their one-key object."""
    fields, oneofs = _fields_of(message.DESCRIPTOR)
    for name, value in members.items():
        if value is None:
            continue
        if name in fields:
            yield fields[name], value
        if name in oneofs:
            for wrapped, inner in _members(value, f"{path}.{name}").items():
                spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", wrapped).lower()
                if spelled in oneofs[name]:
                    yield oneofs[name][spelled], inner


def _append(repeated: Any, known: _Field, item: object, path: str) -> None:
    if known.read is None:
        _fill_message(repeated.add(), item, path)
    else:
        repeated.append(known.read(item, path))


def _fill_message(message: Message, value: object, path: str) -> None:
    if isinstance(message, Timestamp):
        try:
            message.FromJsonString(_text(value, path))
        except ValueError as error:
            raise _wrong(path, "must be a time as in RFC 3339") from error
        return
    message.SetInParent()
    _fill(message, _members(value, path), path)


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "must be true or false")
    return value


def _enum(enum: str, numbers: dict[str, int], value: object, path: str) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    number = _integer(value, path, 31)
    if number not in numbers.values():
        raise _wrong(path, f"{number} is no {enum}")
    return number


def _member(payload: dict[str, Any], name: str) -> object:
    if payload.get(name) is None:
        raise _wrong(name, "is missing")
    return payload[name]


def _members(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(path, "must be an object")
    return value


def _items(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise _wrong(path, "must be a list")
    return value


def _text(value: object, path: str, limit: int = _TEXT_LIMIT) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "must be a text")
    if len(value) > limit:
        raise _wrong(path, f"is longer than {limit} characters")
    if _NO_TEXT.search(value):
        raise _wrong(path, "holds a character that no text may hold")
    return value


def _integer(value: object, path: str, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(path, "must be an integer")
    if not 0 <= value < 1 << bits:
        raise _wrong(path, "is out of range")
    return value


def _required(text: str, path: str) -> str:
    if not text:
        raise _wrong(path, "is missing")
    return text


def _identifier(text: str, path: str) -> str:
    if not _IDENTIFIER.fullmatch(_required(text, path)):
        raise _wrong(path, "is no identifier")
    return text


def _wrong(path: str, what: str) -> HookRefused:
    return HookRefused(Code.INVALID_HOOK, f"{path}: {what}")
