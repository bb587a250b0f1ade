"""The result is linked data: a JSON-LD processor expands it and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from pyld import jsonld

from tests.transform.bioschemas.documents import result
from tests.transform.bioschemas.generate import document

SCHEMA = "http://schema.org/"
BASE = "http://base.example/"
CONTEXT = json.loads(Path(__file__).with_name("schema-org-context.json").read_text("utf-8"))


def load_context(url: str, _options: dict[str, Any]) -> dict[str, Any]:
    """The context of schema.org, as far as it concerns us; nothing else, and no network."""
    assert url == SCHEMA
    return {"contextUrl": None, "documentUrl": url, "document": CONTEXT}


def expanded(found: Any) -> Any:
    """``found``, expanded."""
    return jsonld.expand(found, {"documentLoader": load_context, "base": BASE})


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The path and the text of each value in a JSON-LD document, as it is before expansion."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name != "@context":
                yield from leaves(member, f"{path}/{name}")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, str(value)


def expanded_leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The same of an expanded one; its IRIs are made short again."""
    if isinstance(value, list):
        for item in value:
            yield from expanded_leaves(item, path)
    elif isinstance(value, dict) and "@value" in value:
        yield path, str(value["@value"])
    elif isinstance(value, dict) and value.keys() == {"@id"} and path.split("/")[-1] in IRIS:
        yield path, value["@id"]
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from expanded_leaves(member, f"{path}/{shortened(name)}")
    else:
        yield path, shortened(value)


IRIS = {name for name, term in CONTEXT["@context"].items() if term == {"@type": "@id"}}


def shortened(iri: str) -> str:
    """``iri`` as the context lets it be written."""
    return iri.removeprefix(SCHEMA).replace("http://purl.org/dc/terms/", "dct:")


def absolute(path: str, text: str) -> tuple[str, str]:
    """What is an IRI after expansion is resolved against the base."""
    if path.split("/")[-1] in IRIS | {"@id"}:
        return path, shortened(urljoin(BASE, text))
    return path, text


@pytest.mark.parametrize("seed", range(30))
def test_expansion_loses_nothing(seed: int) -> None:
    found = result(document(seed, 4, beyond=True))
    before = sorted(absolute(path, text) for path, text in leaves(found))
    after = sorted(absolute(path, text) for path, text in expanded_leaves(expanded(found)))
    assert after == before


def test_the_profile_is_named_with_its_full_iri() -> None:
    whole = expanded(result(document(1)))[0]
    assert whole["http://purl.org/dc/terms/conformsTo"][0]["@id"] == (
        "https://bioschemas.org/profiles/Dataset/1.0-RELEASE"
    )
