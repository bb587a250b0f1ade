"""What a hook's request carries: the JSON that Aruna's serde makes, or a filled-in template."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aruna.api.storage.models.v2 import models_pb2 as models
from google.protobuf.timestamp_pb2 import Timestamp

_PUBKEY_SERIAL = 1


@dataclass(frozen=True)
class Access:
    """What Aruna lends a hook's receiver to work with."""

    secret: str = field(repr=False)
    download: str | None = field(repr=False)
    token: str = field(repr=False)
    access_key: str
    secret_key: str = field(repr=False)


def basic(hook_id: str, source: models.Object, access: Access) -> bytes:
    """The payload of a hook without a template."""
    return _compact(
        {
            "hook_id": hook_id,
            "object": {"Object": _object(source)},
            "secret": access.secret,
            "download": access.download,
            "pubkey_serial": _PUBKEY_SERIAL,
            "token": access.token,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
        }
    ).encode()


def custom(template: str, hook_id: str, source: models.Object, access: Access) -> bytes:
    """A template with its placeholders replaced, each once, without any escaping."""
    status = models.Status.Name(source.status).removeprefix("STATUS_")
    data_class = models.DataClass.Name(source.data_class).removeprefix("DATA_CLASS_")
    for name, value in {
        "secret": access.secret,
        "object_id": source.id,
        "hook_id": hook_id,
        "pubkey_serial": str(_PUBKEY_SERIAL),
        "name": source.name,
        "description": source.description,
        "size": str(source.content_len),
        "key_values": _compact([_named_key_value(kv) for kv in source.key_values]),
        "status": status,
        "class": data_class,
        "download_url": access.download or "",
        "token": access.token,
        "access_key": access.access_key,
        "secret_key": access.secret_key,
    }.items():
        template = template.replace(f"{{{{{name}}}}}", value, 1)
    return template.encode()


def _object(source: models.Object) -> dict[str, Any]:
    return {
        "id": source.id,
        "name": source.name,
        "title": source.title,
        "description": source.description,
        "key_values": [
            {"key": kv.key, "value": kv.value, "variant": kv.variant} for kv in source.key_values
        ],
        "relations": [_relation(relation) for relation in source.relations],
        "content_len": source.content_len,
        "data_class": source.data_class,
        "created_at": _rfc3339(source.created_at),
        "created_by": source.created_by,
        "authors": [_author(author) for author in source.authors],
        "status": source.status,
        "dynamic": source.dynamic,
        "endpoints": [
            {"id": endpoint.id, "status": endpoint.status, "variant": {"FullSync": {}}}
            for endpoint in source.endpoints
        ],
        "hashes": [{"alg": entry.alg, "hash": entry.hash} for entry in source.hashes],
        "metadata_license_tag": source.metadata_license_tag,
        "data_license_tag": source.data_license_tag,
        "rule_bindings": [],
    }


def _relation(relation: models.Relation) -> dict[str, Any]:
    if relation.HasField("external"):
        external = relation.external
        return {
            "relation": {
                "External": {
                    "identifier": external.identifier,
                    "defined_variant": external.defined_variant,
                    "custom_variant": _optional(external, "custom_variant"),
                }
            }
        }
    internal = relation.internal
    return {
        "relation": {
            "Internal": {
                "resource_id": internal.resource_id,
                "resource_variant": internal.resource_variant,
                "defined_variant": internal.defined_variant,
                "custom_variant": _optional(internal, "custom_variant"),
                "direction": internal.direction,
            }
        }
    }


def _author(author: models.Author) -> dict[str, Any]:
    return {
        "first_name": author.first_name,
        "last_name": author.last_name,
        **{name: _optional(author, name) for name in ("email", "orcid", "id")},
    }


def _named_key_value(kv: models.KeyValue) -> dict[str, str]:
    variant = models.KeyValueVariant.Name(kv.variant).removeprefix("KEY_VALUE_VARIANT_")
    return {"key": kv.key, "value": kv.value, "variant": variant}


def _optional(message: Any, name: str) -> str | None:
    return getattr(message, name) if message.HasField(name) else None


def _rfc3339(moment: Timestamp) -> str:
    return str(moment.ToJsonString())


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
