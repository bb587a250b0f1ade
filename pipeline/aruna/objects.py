"""What Aruna's objects say: their labels, hashes and relations."""

from __future__ import annotations

from collections.abc import Iterable

from aruna.api.storage.models.v2 import models_pb2

#: The label that the service gives to what it made; such objects are never transformed again.
PROCESSED_LABEL = "PROCESSED"
#: The label of a result that says of which content (SHA-256, hex) it was made.
SOURCE_SHA256_LABEL = "SOURCE_SHA256"
#: The field of CreateObject that takes the parent, by the parent's kind.
PARENT_FIELDS = {
    models_pb2.RESOURCE_VARIANT_PROJECT: "project_id",
    models_pb2.RESOURCE_VARIANT_COLLECTION: "collection_id",
    models_pb2.RESOURCE_VARIANT_DATASET: "dataset_id",
}


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


def fingerprint(source: models_pb2.Object) -> str:
    """What content the source has: its length in bytes and its hashes, as one text."""
    hashes = sorted(f"{h.alg}={h.hash}" for h in source.hashes)
    return ":".join([str(source.content_len), *hashes])


def parents_of(relations: Iterable[models_pb2.Relation]) -> list[models_pb2.InternalRelation]:
    """The projects, collections and datasets that something lies in.

    Aruna 2.0.4: BELONGS_TO, seen from the child INBOUND.
    """
    return [
        relation.internal
        for relation in relations
        if relation.internal.defined_variant == models_pb2.INTERNAL_RELATION_VARIANT_BELONGS_TO
        and relation.internal.direction == models_pb2.RELATION_DIRECTION_INBOUND
        and relation.internal.resource_variant in PARENT_FIELDS
    ]


def comes_from(candidate: models_pb2.Object, source_id: str) -> bool:
    """Whether ``candidate`` has an ORIGIN relation to the source."""
    return any(
        relation.internal.resource_id == source_id
        and relation.internal.defined_variant == models_pb2.INTERNAL_RELATION_VARIANT_ORIGIN
        and relation.internal.direction == models_pb2.RELATION_DIRECTION_OUTBOUND
        for relation in candidate.relations
    )


def source_sha256_label(candidate: models_pb2.Object) -> str | None:
    """Of which content (SHA-256, hex) a result says it was made."""
    for entry in candidate.key_values:
        if entry.key == SOURCE_SHA256_LABEL and entry.variant == models_pb2.KEY_VALUE_VARIANT_LABEL:
            return str(entry.value)
    return None


def label(key: str, value: str) -> models_pb2.KeyValue:
    """A label as CreateObject and HookCallback take it."""
    return models_pb2.KeyValue(key=key, value=value, variant=models_pb2.KEY_VALUE_VARIANT_LABEL)
