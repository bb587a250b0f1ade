"""What a result is called and what it says of itself."""

from __future__ import annotations

import re

import pytest
from aruna.api.storage.models.v2 import models_pb2
from google.protobuf.json_format import MessageToDict

from pipeline.aruna.objects import comes_from, parents_of
from pipeline.jobs import result_object as names
from pipeline.transform.recognise import Kind
from pipeline.web.payload import parse_hook
from tests.payloads import OBJECT_ID, PROJECT_ID, SHA256, as_bytes, payload, source


def an_object(**changes: object) -> models_pb2.Object:
    return parse_hook(as_bytes(payload(object={"Object": source(**changes)}))).object


@pytest.mark.parametrize(
    ("name", "kind", "result"),
    [
        ("plants.xml", Kind.XML, "plants.json"),
        ("plants.XML", Kind.XML, "plants.json"),
        ("plants", Kind.XML, "plants.json"),
        ("plants.xml.gz", Kind.XML, "plants.xml.gz.json"),
        ("sub/dir/plants (2).xml", Kind.XML, "sub/dir/plants (2).json"),
        (".xml", Kind.XML, ".json"),
        ("plants.zip", Kind.ZIP, "plants.bioschemas.zip"),
        ("plants.ZIP", Kind.ZIP, "plants.bioschemas.zip"),
        ("plants", Kind.ZIP, "plants.bioschemas.zip"),
        ("plants.xml", Kind.ZIP, "plants.xml.bioschemas.zip"),
    ],
)
def test_the_result_is_named_after_the_source(name: str, kind: Kind, result: str) -> None:
    assert names.result_names(an_object(name=name), kind)[0] == result


def test_no_result_is_ever_named_as_its_source() -> None:
    for name in ("plants.json", "plants", "x.zip", ".json", "a.bioschemas.zip"):
        for kind in Kind:
            assert name not in names.result_names(an_object(name=name), kind)


def test_taken_names_give_way_to_the_sources_id_and_then_its_content() -> None:
    assert names.result_names(an_object(), Kind.XML) == [
        "plants.json",
        f"plants.{OBJECT_ID[-8:]}.json",
        f"plants.{OBJECT_ID[-8:]}.{SHA256[:8]}.json",
    ]
    assert len(names.result_names(an_object(hashes=[]), Kind.XML)) == 2


def test_names_fit_into_arunas_columns() -> None:
    long = an_object(name="x" * 511, title="t" * 511, description="d" * 1023)
    parent = parents_of(long.relations)[0]

    for name in names.result_names(long, Kind.XML):
        request = names.result_object(long, name, parent)
        assert len(request.name) <= 511
        assert len(request.title) == 511
        assert len(request.description) == 1023


@pytest.mark.parametrize("name", ["Herbarium (Berlin).xml", "it's.xml", "ä/ö.xml", "!.xml", ".xml"])
def test_gfbio_is_given_a_plain_name(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.xml", names.relay_name(an_object(name=name), Kind.XML))


def test_the_result_inherits_what_is_the_researchers_and_nothing_else() -> None:
    labels = [
        {"key": "ABCD", "value": "true", "variant": 1},
        {"key": "garden", "value": "Berlin", "variant": 1},
        {"key": "curator", "value": "Ada", "variant": 2},
        {"key": "ERROR", "value": "old", "variant": 1},
        {"key": "PROCESSING_STATUS", "value": "success", "variant": 1},
        {"key": "SOURCE_SHA256", "value": "00", "variant": 1},
        {"key": "x-amz-meta-owner", "value": "me", "variant": 2},
        {"key": "01JHHKABCDEFGHJKMNPQRSTVW9", "value": "{}", "variant": 4},
        {"key": "hook", "value": "{}", "variant": 3},
    ]
    made = an_object(key_values=labels)

    request = names.result_object(made, "plants.json", parents_of(made.relations)[0])

    assert [(kv.key, kv.value, kv.variant) for kv in request.key_values] == [
        ("garden", "Berlin", models_pb2.KEY_VALUE_VARIANT_LABEL),
        ("curator", "Ada", models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL),
        ("PROCESSED", "true", models_pb2.KEY_VALUE_VARIANT_LABEL),
        ("SOURCE_SHA256", SHA256, models_pb2.KEY_VALUE_VARIANT_LABEL),
    ]


def test_the_result_has_the_sources_metadata_and_an_origin() -> None:
    made = an_object(data_class=4)

    request = names.result_object(made, "plants.json", parents_of(made.relations)[0])

    assert request.title == "Plants (Processed)"
    assert request.description == "Processed result from Plants of a garden"
    assert request.project_id == PROJECT_ID
    assert request.data_class == models_pb2.DATA_CLASS_WORKSPACE
    assert list(request.authors) == list(made.authors)
    assert (request.metadata_license_tag, request.data_license_tag) == ("CC-BY-4.0", "CC-BY-4.0")
    assert MessageToDict(request)["relations"] == [
        {
            "internal": {
                "resourceId": OBJECT_ID,
                "resourceVariant": "RESOURCE_VARIANT_OBJECT",
                "definedVariant": "INTERNAL_RELATION_VARIANT_ORIGIN",
                "direction": "RELATION_DIRECTION_OUTBOUND",
            }
        }
    ]
    assert comes_from(models_pb2.Object(relations=request.relations), OBJECT_ID)
    assert not comes_from(models_pb2.Object(relations=request.relations), PROJECT_ID)


def test_origins_and_versions_are_no_parents() -> None:
    relation = an_object().relations[0]
    origin = models_pb2.Relation.FromString(relation.SerializeToString())
    origin.internal.defined_variant = models_pb2.INTERNAL_RELATION_VARIANT_ORIGIN

    assert parents_of([origin]) == []
    assert len(parents_of([origin, relation])) == 1
