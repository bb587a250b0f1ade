"""What the result is called, where it lies, and what it says of itself."""

from __future__ import annotations

import re

from aruna.api.storage.models.v2 import models_pb2
from aruna.api.storage.services.v2 import object_service_pb2

from pipeline.aruna.objects import (
    PARENT_FIELDS,
    PROCESSED_LABEL,
    SOURCE_SHA256_LABEL,
    label,
    sha256_of,
)
from pipeline.telemetry.redaction import redact
from pipeline.transform.recognise import Kind

#: Aruna 2.0.4: columns of 511, 511 and 1023 characters, else «value too long».
NAME_LIMIT = 511
TITLE_LIMIT = 511
DESCRIPTION_LIMIT = 1023

ERROR_LABEL = "ERROR"
STATUS_LABEL = "PROCESSING_STATUS"
#: Characters of an error label.
ERROR_LIMIT = 256

_NOT_INHERITED = {"ABCD", ERROR_LABEL, STATUS_LABEL, SOURCE_SHA256_LABEL, PROCESSED_LABEL}
_INHERITED_VARIANTS = (
    models_pb2.KEY_VALUE_VARIANT_LABEL,
    models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL,
)
_ENDINGS = {Kind.XML: (".xml", ".json"), Kind.ZIP: (".zip", ".bioschemas.zip")}
_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")
_PLAIN_LIMIT = 64


def result_names(source: models_pb2.Object, kind: Kind) -> list[str]:
    """The names a result may take, in the order in which they are tried.

    A name may contain ``/``; the last two carry the end of the source's id, and of its SHA-256.
    """
    old, new = _ENDINGS[kind]
    stem = source.name[: -len(old)] if source.name.lower().endswith(old) else source.name
    short_id = source.id[-8:]
    tails = [new, f".{short_id}{new}"]
    digest = sha256_of(source)
    if digest:
        tails.append(f".{short_id}.{digest[:8]}{new}")
    return [stem[: NAME_LIMIT - len(tail)] + tail for tail in tails]


def relay_name(source: models_pb2.Object, kind: Kind) -> str:
    """A plain file name for GFBio, which runs it through a shell: ``[A-Za-z0-9_-]+.xml``."""
    old, _ = _ENDINGS[kind]
    stem = source.name.rpartition("/")[2]
    stem = stem[: -len(old)] if stem.lower().endswith(old) else stem
    plain = _PLAIN.sub("_", stem).strip("_")[:_PLAIN_LIMIT] or "source"
    return f"{plain}{old}"


def result_object(
    source: models_pb2.Object, name: str, parent: models_pb2.InternalRelation
) -> object_service_pb2.CreateObjectRequest:
    """The request that makes the result's object, with the source's metadata and ORIGIN."""
    request = object_service_pb2.CreateObjectRequest(
        name=name,
        title=f"{source.title} (Processed)"[:TITLE_LIMIT],
        description=f"Processed result from {source.description}"[:DESCRIPTION_LIMIT],
        key_values=_labels(source),
        relations=[models_pb2.Relation(internal=_origin(source))],
        data_class=source.data_class,
        metadata_license_tag=source.metadata_license_tag,
        data_license_tag=source.data_license_tag,
        authors=source.authors,
    )
    setattr(request, PARENT_FIELDS[parent.resource_variant], parent.resource_id)
    return request


def error_label(code: str, message: str) -> models_pb2.KeyValue:
    """The label on a source whose work failed."""
    return label(ERROR_LABEL, redact(f"{code}: {message}")[:ERROR_LIMIT])


def _labels(source: models_pb2.Object) -> list[models_pb2.KeyValue]:
    """The source's own labels without the trigger's, Aruna's and what was said of the source.

    The trigger label would make the result fire the hook again, for ever.
    """
    labels = [
        entry
        for entry in source.key_values
        if entry.variant in _INHERITED_VARIANTS
        and entry.key not in _NOT_INHERITED
        and not entry.key.lower().startswith("x-amz-meta-")
    ]
    labels.append(label(PROCESSED_LABEL, "true"))
    digest = sha256_of(source)
    if digest:
        labels.append(label(SOURCE_SHA256_LABEL, digest))
    return labels


def _origin(source: models_pb2.Object) -> models_pb2.InternalRelation:
    return models_pb2.InternalRelation(
        resource_id=source.id,
        resource_variant=models_pb2.RESOURCE_VARIANT_OBJECT,
        defined_variant=models_pb2.INTERNAL_RELATION_VARIANT_ORIGIN,
        direction=models_pb2.RELATION_DIRECTION_OUTBOUND,
    )
