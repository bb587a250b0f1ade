"""The requests of Aruna's users, as messages of its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2

from sandbox.aruna.model import COLLECTION, DATASET, Resource

_LICENCE = "CC-BY-4.0"
_PARENTS = {COLLECTION: "collection_id", DATASET: "dataset_id"}
_AUTHOR = models.Author(
    first_name="Ada",
    last_name="Lovelace",
    email="ada@example.org",
    orcid="0000-0002-1825-0097",
)


def label(key: str, value: str) -> models.KeyValue:
    """A label."""
    return models.KeyValue(key=key, value=value, variant=models.KEY_VALUE_VARIANT_LABEL)


def parent_member(parent: Resource) -> dict[str, str]:
    """The member of a Create… request that names a parent."""
    return {_PARENTS.get(parent.variant, "project_id"): parent.id}


def project_request(name: str) -> projects_pb2.CreateProjectRequest:
    """A public project under an open licence."""
    return projects_pb2.CreateProjectRequest(
        name=name,
        data_class=models.DATA_CLASS_PUBLIC,
        metadata_license_tag=_LICENCE,
        default_data_license_tag=_LICENCE,
    )


def object_request(
    name: str, parent: Resource, labels: Mapping[str, str], metadata: Mapping[str, Any]
) -> objects_pb2.CreateObjectRequest:
    """An object with all that people fill in; ``metadata`` are members to replace."""
    members = {
        "name": name,
        "title": f"Title of {name}",
        "description": f"Description of {name}",
        "key_values": [label(key, value) for key, value in labels.items()],
        "data_class": models.DATA_CLASS_PUBLIC,
        "authors": [_AUTHOR],
        "metadata_license_tag": _LICENCE,
        "data_license_tag": _LICENCE,
    }
    return objects_pb2.CreateObjectRequest(**{**members, **parent_member(parent), **metadata})


def external_hook(
    url: str, method: str, token: str | None, template: str | None
) -> hooks_pb2.ExternalHook:
    """A receiver; ``method`` is POST or PUT."""
    external = hooks_pb2.ExternalHook(
        url=url, method=hooks_pb2.Method.Value(f"METHOD_{method}"), custom_template=template
    )
    if token is not None:
        external.credentials.token = token
    return external


def label_trigger(trigger: str, key: str, value: str) -> hooks_pb2.Trigger:
    """A trigger for objects with a label; ``key`` and ``value`` are regular expressions."""
    return hooks_pb2.Trigger(
        trigger_type=hooks_pb2.TriggerType.Value(f"TRIGGER_TYPE_{trigger}"),
        filters=[hooks_pb2.Filter(key_value=label(key, value))],
    )
