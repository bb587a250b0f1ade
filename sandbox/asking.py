"""What users of Aruna ask for, as the messages of its API."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2

from sandbox.things import COLLECTION, DATASET, Resource

#: Seconds.
YEAR = 365 * 24 * 3600

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


def within(parent: Resource) -> dict[str, str]:
    """The member of a Create… request that names a parent."""
    return {_PARENTS.get(parent.variant, "project_id"): parent.id}


def for_project(name: str) -> projects_pb2.CreateProjectRequest:
    """A public project under an open licence."""
    return projects_pb2.CreateProjectRequest(
        name=name,
        data_class=models.DATA_CLASS_PUBLIC,
        metadata_license_tag=_LICENCE,
        default_data_license_tag=_LICENCE,
    )


def for_object(
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
    return objects_pb2.CreateObjectRequest(**{**members, **within(parent), **metadata})


def for_hook(
    *,
    url: str,
    projects: Iterable[str],
    token: str | None,
    trigger: str,
    key: str,
    value: str,
    name: str,
    method: str,
    timeout: float | None,
    template: str | None,
) -> hooks_pb2.CreateHookRequest:
    """A hook on objects with a label; ``timeout`` in seconds since the epoch, or in a year."""
    external = hooks_pb2.ExternalHook(
        url=url, method=hooks_pb2.Method.Value(f"METHOD_{method}"), custom_template=template
    )
    if token is not None:
        external.credentials.token = token
    expires = time.time() + YEAR if timeout is None else timeout
    return hooks_pb2.CreateHookRequest(
        name=name,
        description="registered in the sandbox",
        project_ids=list(projects),
        timeout=int(expires * 1000),
        trigger=hooks_pb2.Trigger(
            trigger_type=hooks_pb2.TriggerType.Value(f"TRIGGER_TYPE_{trigger}"),
            filters=[hooks_pb2.Filter(key_value=label(key, value))],
        ),
        hook=hooks_pb2.Hook(external_hook=external),
    )
