"""The rows of the mapping, one promise each."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.transform.bioschemas import mapping
from tests.transform.bioschemas.documents import abcd, elements, result

LONG = "A description that is long enough for the profile, 50 characters."
NAME = "Identifications/Identification/Result/TaxonIdentified/ScientificName"
HIGHER = "Identifications/Identification/Result/TaxonIdentified/HigherTaxa"
COORDINATES = "Gathering/SiteCoordinateSets/SiteCoordinates/CoordinatesLatLong"


def test_an_empty_data_set_has_what_every_result_has() -> None:
    assert result(abcd()) == {
        "@context": "http://schema.org/",
        "@type": "Dataset",
        "dct:conformsTo": {
            "@type": "CreativeWork",
            "@id": "https://bioschemas.org/profiles/Dataset/1.0-RELEASE",
        },
        "inLanguage": "en",
        "isAccessibleForFree": True,
        "size": {"@type": "QuantitativeValue", "value": 0, "unitText": "records"},
    }


@pytest.mark.parametrize(
    ("metadata", "member", "expected"),
    [
        (elements("Description/Representation/Title", " A title\n"), "name", "A title"),
        (elements("Description/Representation/Details", "short"), "description", None),
        (elements("Description/Representation/Details", LONG), "description", LONG),
        (elements("IconURI", "http://x/i.png"), "image", "http://x/i.png"),
        (elements("IconURI", "i.png"), "image", None),
        (
            elements("DirectAccessURI", "http://x/a.zip"),
            "distribution",
            {
                "@type": "DataDownload",
                "contentUrl": "http://x/a.zip",
                "encodingFormat": "application/zip",
            },
        ),
        (
            elements("DirectAccessURI", "http://x/"),
            "distribution",
            {"@type": "DataDownload", "url": "http://x/"},
        ),
        (elements("RevisionData/DateModified", "2024-01-02T03:04"), "dateModified", "2024-01-02"),
        (elements("RevisionData/DateModified", "2024-01-02"), "dateModified", "2024-01-02"),
        (elements("RevisionData/DateModified", "2024-01-02T03:04"), "datePublished", "2024-01-02"),
        (elements("Version/Major", "3"), "version", "3"),
        (elements("Version/Minor", "3"), "version", None),
        (
            "<Version><Major>3</Major><Minor>0</Minor><Modifier>b</Modifier></Version>",
            "version",
            "3.0.b",
        ),
        (
            elements("RevisionData/Creators", "Ana Ruiz, Karl Groß,, "),
            "creator",
            [{"@type": "Person", "name": "Ana Ruiz"}, {"@type": "Person", "name": "Karl Groß"}],
        ),
        (
            "<IPRStatements><Licenses><License><Text>CC</Text><URI>u</URI><URL>v</URL></License>"
            "</Licenses></IPRStatements>",
            "license",
            {"@type": "CreativeWork", "text": "CC", "url": ["u", "v"]},
        ),
    ],
)
def test_metadata(metadata: str, member: str, expected: Any) -> None:
    assert result(abcd(metadata=metadata)).get(member) == expected


def test_the_date_of_issue_comes_before_that_of_the_last_change() -> None:
    metadata = elements("RevisionData/DateModified", "2024-01-02T03:04")
    issued = elements("Version/DateIssued", "2023-05-06")
    assert result(abcd(metadata=metadata + issued))["datePublished"] == "2023-05-06"


def test_a_contact_has_a_telephone() -> None:
    contact = "<Name>N</Name><Email>e</Email><Phone>1</Phone><Address>a</Address>"
    found = result(abcd(before=elements("TechnicalContacts/TechnicalContact", contact)))
    assert found["publisher"] == {
        "@type": "Organization",
        "name": "N",
        "email": "e",
        "telephone": "1",
        "address": "a",
    }


ORGANISATION = (
    "<Organisation><Name><Representation><Text>Museum</Text><Abbreviation>M</Abbreviation>"
    "</Representation><Representation><Text>Musée</Text></Representation></Name></Organisation>"
)
PERSON = (
    "<Person><FullName>Ana Ruiz</FullName><AtomisedName><InheritedName>Ruiz</InheritedName>"
    "<GivenNames>Ana</GivenNames></AtomisedName></Person>"
)
ADDRESSES = (
    "<EmailAddresses><EmailAddress>a</EmailAddress><EmailAddress preferred='true'>b</EmailAddress>"
    "</EmailAddresses><TelephoneNumbers><TelephoneNumber><Number>1</Number></TelephoneNumber>"
    "<TelephoneNumber preferred='true'><Number>2</Number></TelephoneNumber></TelephoneNumbers>"
    "<URIs><URI>u</URI><URL preferred='true'>v</URL></URIs>"
)


def author(owner: str) -> Any:
    """What an owner becomes."""
    return result(abcd(metadata=elements("Owners/Owner", owner)))["author"]


def test_an_owner_with_a_person_is_that_person_with_the_organisation_as_affiliation() -> None:
    roles = "<Roles><Role>R</Role><Role>S</Role></Roles>"
    assert author(ORGANISATION + PERSON + roles + ADDRESSES) == {
        "@type": "Person",
        "name": "Ana Ruiz",
        "familyName": "Ruiz",
        "givenName": "Ana",
        "email": "b",
        "telephone": "2",
        "affiliation": {
            "@type": "Organization",
            "name": "Museum",
            "alternateName": "M",
            "identifier": ["u", "v"],
        },
        "jobTitle": ["R", "S"],
    }


def test_a_person_without_organisation_has_the_addresses_as_identifiers() -> None:
    assert author(PERSON + ADDRESSES)["identifier"] == ["u", "v"]


def test_an_owner_without_a_person_is_an_organisation_known_by_its_preferred_address() -> None:
    assert author(ORGANISATION + ADDRESSES) == {
        "@type": "Organization",
        "@id": "v",
        "identifier": ["u", "v"],
        "name": "Museum",
        "alternateName": "M",
        "email": "b",
        "telephone": "2",
    }


def test_without_a_preferred_address_all_count_and_the_first_is_the_id() -> None:
    found = author(ADDRESSES.replace(" preferred='true'", " preferred='false'"))
    assert found["@id"] == "u"
    assert found["email"] == ["a", "b"]
    assert found["telephone"] == ["1", "2"]


@pytest.mark.parametrize(
    ("ids", "identifier", "url"),
    [
        ("<UnitID>3</UnitID>", "3", "http://r"),
        ("<SourceID>S</SourceID><UnitID>3</UnitID>", "3", "http://r"),
        ("<SourceInstitutionID>B</SourceInstitutionID><UnitID>3</UnitID>", "B:3", "http://r"),
        (
            "<UnitGUID>http://g</UnitGUID><SourceInstitutionID>B</SourceInstitutionID>"
            "<SourceID>S</SourceID><UnitID>3</UnitID>",
            ["B:S:3", "http://g"],
            ["http://r", "http://g"],
        ),
        ("<UnitGUID>urn:g</UnitGUID><UnitID>3</UnitID>", ["3", "urn:g"], "http://r"),
    ],
)
def test_a_unit_with_an_address_is_a_sample(ids: str, identifier: Any, url: Any) -> None:
    found = result(abcd(ids + elements("RecordURI", "http://r"), ids))
    assert found["about"] == {"@type": "BioSample", "identifier": identifier, "url": url}
    assert found["size"]["value"] == 2


def test_taxa_follow_the_samples_each_name_once() -> None:
    uri = elements("RecordURI", "http://r")
    species = elements(f"{NAME}/FullScientificNameString", "Abies alba")
    genus = elements(f"{NAME}/FullScientificNameString", "Abies")
    higher = elements(
        f"{HIGHER}/HigherTaxon",
        "<HigherTaxonName>Plantae</HigherTaxonName><HigherTaxonRank>regnum</HigherTaxonRank>",
        "<HigherTaxonName>Plantae</HigherTaxonName><HigherTaxonRank>other</HigherTaxonRank>",
        "<HigherTaxonRank>nameless</HigherTaxonRank>",
    )
    assert result(abcd(higher + species, genus + species, uri))["about"] == [
        {"@type": "BioSample", "url": "http://r"},
        {"@type": "Taxon", "name": "Abies alba", "taxonRank": "Species"},
        {"@type": "Taxon", "name": "Abies", "taxonRank": "Genus"},
        {"@type": "Taxon", "name": "Plantae", "taxonRank": "regnum"},
    ]


def test_keywords_keep_the_order_of_the_rows_and_come_once() -> None:
    metadata = (
        elements("Scope/GeoecologicalTerms/GeoEcologicalTerm", "Woodland")
        + elements("Scope/TaxonomicTerms/TaxonomicTerm", "Aves", "Woodland")
        + elements("Description/Representation/Coverage", "Uganda")
    )
    units = [
        elements("KindOfUnit", "leaves", "Uganda"),
        elements("Gathering/Biotope/Name", "swamp"),
        elements(
            "Gathering/Stratigraphy/ChronostratigraphicTerms/ChronostratigraphicTerm/Term", "Trias"
        ),
    ]
    found = result(abcd(*units, metadata=metadata))["keywords"]
    assert found == ["Uganda", "Aves", "Woodland", "Trias", "swamp", "leaves"]


def test_a_value_that_stands_elsewhere_too_does_not_disappear() -> None:
    base = elements("RecordBasis", "Abies")
    found = result(
        abcd(elements("KindOfUnit", "Abies") + base + elements("Gathering/LocalityText", "Abies"))
    )
    assert found["keywords"] == found["additionalType"] == "Abies"
    assert found["spatialCoverage"] == {"@type": "Place", "name": "Abies"}


def position(latitude: str, longitude: str) -> str:
    """The coordinates of a unit."""
    return elements(
        COORDINATES,
        f"<LongitudeDecimal>{longitude}</LongitudeDecimal>"
        f"<LatitudeDecimal>{latitude}</LatitudeDecimal><SpatialDatum>WGS84</SpatialDatum>",
    )


def test_places_come_unit_by_unit_and_the_box_last() -> None:
    country = elements("Gathering/Country", "<Name>Uganda</Name><ISO3166Code>UG</ISO3166Code>")
    units = [
        country + elements("Gathering/LocalityText", "Crater Road") + position("-0.10", "29.9"),
        country + elements("Gathering/LocalityText", "Berlin") + position("52.5", "13"),
        elements("Gathering/LocalityText", "Crater Road"),
    ]
    point = {"@type": "GeoCoordinates", "additionalType": "WGS84"}
    assert result(abcd(*units))["spatialCoverage"] == [
        {"@type": "Country", "name": "Uganda", "identifier": "UG"},
        {
            "@type": "Place",
            "name": "Crater Road",
            "geo": point | {"latitude": -0.1, "longitude": 29.9},
        },
        {"@type": "Place", "name": "Berlin", "geo": point | {"latitude": 52.5, "longitude": 13}},
        {"@type": "Place", "geo": {"@type": "GeoShape", "box": "-0.10 13 52.5 29.9"}},
    ]


def test_coordinates_that_all_agree_are_a_point() -> None:
    found = result(abcd(position("1.0", "2"), position("1.00", "2")))["spatialCoverage"]
    point = {"@type": "GeoCoordinates", "latitude": 1, "longitude": 2}
    assert found == {"@type": "Place", "geo": point}


def test_what_is_no_number_does_not_spoil_the_extent() -> None:
    found = result(abcd(position("1", "2"), position("NaN", "1e999"), position("?", "3")))
    assert found["spatialCoverage"]["geo"]["box"] == "1 2 1 3"


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["2001-05-06"], "2001-05-06"),
        (["2001-05-06", "1999"], "1999/2001-05-06"),
        ([""], None),
    ],
)
def test_the_period_goes_from_the_first_to_the_last_date(dates: list[str], expected: Any) -> None:
    units = [elements("Gathering/DateTime/ISODateTimeEnd", date) for date in dates]
    assert result(abcd(*units)).get("temporalCoverage") == expected


def measured(lower: str, upper: str = "", unit: str = "") -> str:
    """A unit with an altitude."""
    return elements(
        "Gathering/Altitude/MeasurementOrFactAtomised",
        f"<LowerValue>{lower}</LowerValue><UpperValue>{upper}</UpperValue>"
        f"<UnitOfMeasurement>{unit}</UnitOfMeasurement>",
    )


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([measured("9"), measured("100", "1200.5", "m")], {"minValue": 9, "maxValue": 1200.5}),
        ([measured("9"), measured("1", unit="km")], {"value": 9}),
        ([measured("high")], {}),
    ],
)
def test_altitudes_in_metres_are_a_range(units: list[str], expected: dict[str, float]) -> None:
    found = result(abcd(*units))["variableMeasured"]
    assert found == expected | {
        "@type": "PropertyValue",
        "name": "Elevation",
        "propertyID": "https://schema.org/elevation",
        "unitText": "m",
    }


def test_media_have_licences_of_their_own() -> None:
    media = (
        "<FileURI>f</FileURI><ProductURI>p</ProductURI><Format>image/jpeg</Format>"
        "<FileSize>12</FileSize><CreatedDate>2001-10-26</CreatedDate><Creator>Ana</Creator>"
        "<IPR><Licenses><License><Text>CC</Text><URI>u</URI></License></Licenses></IPR>"
    )
    unit = elements("MultiMediaObjects/MultiMediaObject", media, "<FileURI>g</FileURI>", media)
    assert result(abcd(unit, unit))["associatedMedia"] == [
        {
            "@type": "MediaObject",
            "contentUrl": "f",
            "mainEntityOfPage": "p",
            "encodingFormat": "image/jpeg",
            "contentSize": "12 kB",
            "dateCreated": "2001-10-26",
            "creator": {"@type": "Thing", "name": "Ana"},
            "license": {"@type": "CreativeWork", "name": "CC", "url": "u"},
        },
        {"@type": "MediaObject", "contentUrl": "g"},
    ]


def test_references_cite_or_are_cited() -> None:
    reference = (
        "<TitleCitation>T</TitleCitation><CitationDetail>d</CitationDetail><URI>u</URI>"
        "<DOI>10.1/x</DOI><ReferenceGUID>http://g</ReferenceGUID>"
    )
    found = result(
        abcd(
            elements("UnitReferences/UnitReference", reference, reference),
            elements("SourceReference", reference),
        )
    )
    work = {
        "@type": "CreativeWork",
        "name": "T",
        "description": "d",
        "url": "u",
        "identifier": ["10.1/x", "http://g"],
    }
    assert found["citation"] == work
    assert found["@reverse"] == {"citation": work}


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("<AgentText>Ruiz, A.</AgentText>", ["Ruiz"]),
        ("<AgentText>A. Ruiz</AgentText>", ["A. Ruiz"]),
        ("<AgentText>Ruiz, Groß,</AgentText>", ["Ruiz", "Groß"]),
        (f"<AgentText>x</AgentText>{ORGANISATION}", ["Museum"]),
        (f"<AgentText>x</AgentText>{ORGANISATION}{PERSON}", ["Ana Ruiz"]),
    ],
)
def test_collectors_contribute(agent: str, expected: list[str]) -> None:
    contributors = elements("RevisionData/Contributors", "First")
    unit = elements("Gathering/Agents/GatheringAgent", agent)
    found = result(abcd(unit, unit, metadata=contributors))["contributor"]
    assert [someone["name"] for someone in found] == ["First", *expected]


def test_elements_of_other_namespaces_are_passed_over() -> None:
    foreign = '<x:KindOfUnit xmlns:x="urn:x">no<KindOfUnit>no</KindOfUnit></x:KindOfUnit>'
    found = result(abcd(foreign + elements("KindOfUnit", "yes") + foreign))
    assert found["keywords"] == "yes"


def test_a_text_is_whole_across_references_cdata_and_comments() -> None:
    found = result(abcd(elements("KindOfUnit", "a &amp; <![CDATA[<b>]]><!-- no --> &#233;")))
    assert found["keywords"] == "a & <b> é"


def test_of_several_data_sets_the_first_value_counts_and_all_units() -> None:
    one = abcd("<UnitID>1</UnitID>", metadata=elements("Version/Modifier", "x"))
    two = abcd("<UnitID>2</UnitID>", metadata=elements("Version/Major", "2"))
    dataset = two[two.index("<DataSet>") : two.index("</DataSets>")]
    found = result(one.replace("</DataSets>", dataset + dataset + "</DataSets>"))
    assert found["version"] == "2"
    assert found["size"]["value"] == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + abcd(elements("KindOfUnit", "Groß"))
    assert result(text.encode(encoding))["keywords"] == "Groß"


def test_abcd_2_1_is_read_as_2_06_is() -> None:
    document = abcd(elements("KindOfUnit", "leaves"))
    later = document.replace("abcd/2.06", "abcd/2.1")
    assert result(later) == result(document)


def test_every_property_of_the_contract_has_a_row() -> None:
    rows = (mapping.SAMPLE, *mapping.DATASET, *mapping.UNIT, *mapping.UNITS_OWN)
    becomes = {row.becomes for row in (*rows, *mapping.OVER_ALL_UNITS)}
    assert becomes == {
        "@id",
        "@reverse/citation",
        "about",
        "additionalType",
        "associatedMedia",
        "author",
        "citation",
        "contributor",
        "creator",
        "dateCreated",
        "dateModified",
        "datePublished",
        "description",
        "distribution",
        "identifier",
        "image",
        "keywords",
        "license",
        "maintainer",
        "name",
        "publisher",
        "size",
        "spatialCoverage",
        "temporalCoverage",
        "url",
        "usageInfo",
        "variableMeasured",
        "version",
    }
