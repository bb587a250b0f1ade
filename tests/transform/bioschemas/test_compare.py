"""The comparison tool repairs GFBio's form, accounts for its defects, and names all else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.transform.bioschemas.compare import compare, repaired
from tests.transform.bioschemas.documents import abcd, elements, result

UNIT = (
    elements("KindOfUnit", "leaves", "Uganda")
    + elements("Gathering/LocalityText", "Uganda")
    + elements("MultiMediaObjects/MultiMediaObject", "<FileURI>f</FileURI>", "<FileURI>g</FileURI>")
)
DOCUMENT = abcd(UNIT, metadata=elements("RevisionData/DateCreated", "2024-01-02")).encode()


def ours() -> Any:
    """Our result for the document."""
    return result(DOCUMENT)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ({"@xmlns:abcd": "urn:x", "phone": "1", "name": None}, {"telephone": "1"}),
        ({"latitude": {"@xsi:type": "xs:double", "#text": "47.80"}}, {"latitude": 47.8}),
        (
            {"dateCreated": {"@type": "xs:date", "#text": "2001-01-01"}},
            {"dateCreated": "2001-01-01"},
        ),
        (
            {"identifier": ["a", {"@type": "URL", "#text": "http://x"}]},
            {"identifier": ["a", "http://x"]},
        ),
        ({"email": ["a", None, "a"]}, {"email": "a"}),
    ],
)
def test_the_defects_of_form_are_repaired(theirs: Any, expected: Any) -> None:
    assert repaired(theirs) == expected


def test_equal_results_have_no_difference() -> None:
    assert compare(DOCUMENT, ours()) == []


def test_what_gfbio_loses_is_accounted_for() -> None:
    theirs = ours()
    theirs["keywords"] = "leaves"
    del theirs["dateCreated"], theirs["spatialCoverage"]
    reasons = {difference.path: difference.reason for difference in compare(DOCUMENT, theirs)}
    assert reasons == {
        "/dateCreated": "a date without T",
        "/keywords": "the same text stands elsewhere: GFBio's «distinct»",
        "/spatialCoverage": "the same text stands elsewhere: GFBio's «distinct»",
    }


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("keywords", ["Uganda", "leaves"]),
        ("keywords", ["leaves", "Uganda", "seeds"]),
        ("keywords", "Uganda"),
        ("associatedMedia", {"@type": "MediaObject", "contentUrl": "f"}),
        ("size", {"@type": "QuantitativeValue", "value": 2, "unitText": "records"}),
        ("inLanguage", "de"),
        ("license", {"@type": "CreativeWork", "text": "CC0"}),
    ],
)
def test_all_else_is_a_difference_of_ours(member: str, value: Any) -> None:
    theirs = json.loads(json.dumps(ours() | {member: value}))
    found = compare(DOCUMENT, theirs)
    assert [difference for difference in found if not difference.reason]
    assert all(str(difference).startswith(f"/{member}") for difference in found)
