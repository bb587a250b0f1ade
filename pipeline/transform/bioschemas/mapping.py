"""The mapping of ABCD 2.06 to a Bioschemas Dataset, row by row: path, property, rule.

To be checked against the table that GFBio publishes with its transformation 5, version 2. Paths
are relative to ``/DataSets/DataSet``, from ``UNIT`` on to its ``Units/Unit``, inside a ``Thing`` to
the element that becomes the thing. ``A|B`` stands for either element, ``.`` for the element itself.
A row with several paths hands each to its rule. Rows with the same property fill its list in the
order of this page, but that the samples come before the taxa.
"""

from __future__ import annotations

from pipeline.transform.bioschemas import rules, totals
from pipeline.transform.bioschemas.rows import Element, OneOf, Row, Texts, Thing, TotalRow

FIXED = {
    "@context": "http://schema.org/",
    "@type": "Dataset",
    "dct:conformsTo": {
        "@type": "CreativeWork",
        "@id": "https://bioschemas.org/profiles/Dataset/1.0-RELEASE",
    },
    "inLanguage": "en",
    "isAccessibleForFree": True,
}

STATEMENT = (
    Row("Text", "text"),
    Row("Details", "description"),
    Row(("URI", "URL"), "url", rules.first_of_both),
)

REFERENCE = (
    Row("TitleCitation", "name"),
    Row("CitationDetail", "description"),
    Row("URI", "url"),
    Row(("DOI", "ReferenceGUID"), "identifier", rules.first_of_both),
)

CONTACT = (
    Row("Name", "name"),
    Row("Email", "email"),
    Row("Phone", "telephone"),
    Row("Address", "address"),
)

PERSON = (
    Row("Person/FullName", "name"),
    Row("Person/AtomisedName/InheritedName", "familyName"),
    Row("Person/AtomisedName/GivenNames", "givenName"),
)

ORGANISATION = (
    Row("Organisation/Name/Representation/Text", "name"),
    Row("Organisation/Name/Representation/Abbreviation", "alternateName"),
)

EMAIL_AND_TELEPHONE = (
    Row(
        ("EmailAddresses/EmailAddress", "EmailAddresses/EmailAddress[@preferred='true']"),
        "email",
        rules.preferred_or_all,
    ),
    Row(
        (
            "TelephoneNumbers/TelephoneNumber/Number",
            "TelephoneNumbers/TelephoneNumber[@preferred='true']/Number",
        ),
        "telephone",
        rules.preferred_or_all,
    ),
)

OWNER = OneOf(
    (
        Thing(
            "Person",
            (
                *PERSON,
                *EMAIL_AND_TELEPHONE,
                Row(
                    ".",
                    "affiliation",
                    Thing(
                        "Organization",
                        (*ORGANISATION, Row("URIs/URI|URL", "identifier", rules.each)),
                        requires="Organisation",
                    ),
                ),
                Row(
                    ("URIs/URI|URL", Element("Organisation")),
                    "identifier",
                    rules.each_unless,
                ),
                Row("Roles/Role", "jobTitle", rules.each),
            ),
            requires="Person",
        ),
        Thing(
            "Organization",
            (
                Row(
                    ("URIs/URI|URL", "URIs/URI|URL[@preferred='true']"),
                    "@id",
                    rules.preferred_or_first,
                ),
                Row("URIs/URI|URL", "identifier", rules.each),
                *ORGANISATION,
                *EMAIL_AND_TELEPHONE,
            ),
        ),
    )
)

COLLECTOR = OneOf(
    (
        Thing(
            "Person",
            (
                *PERSON,
                Row(
                    ".", "affiliation", Thing("Organization", ORGANISATION, requires="Organisation")
                ),
            ),
            requires="Person",
        ),
        Thing(
            "Organization",
            (Row("Organisation/OrganisationGUID", "identifier"), *ORGANISATION),
            requires="Organisation",
        ),
        Texts("AgentText", rules.collectors),
    )
)

MEDIA_OBJECT = Thing(
    "MediaObject",
    (
        Row("FileURI", "contentUrl"),
        Row("ProductURI", "mainEntityOfPage"),
        Row("Format", "encodingFormat"),
        Row("FileSize", "contentSize", rules.kilobytes),
        Row("Context", "description"),
        Row("CreatedDate", "dateCreated"),
        Row("Creator", "creator", rules.named_thing),
        Row(
            "IPR/Licenses/License",
            "license",
            Thing(
                "CreativeWork",
                (Row("Text", "name"), Row("Details", "description"), Row("URI", "url")),
            ),
        ),
    ),
)

COORDINATES = Element(
    "Gathering/SiteCoordinateSets/SiteCoordinates/CoordinatesLatLong",
    ("LatitudeDecimal", "LongitudeDecimal", "SpatialDatum"),
)

BIO_SAMPLE = Thing(
    "BioSample",
    (
        Row(
            ("SourceInstitutionID", "SourceID", "UnitID", "UnitGUID"), "identifier", rules.unit_ids
        ),
        Row(("RecordURI", "UnitGUID"), "url", rules.unit_addresses),
    ),
    requires="RecordURI",
)

PLACE = Thing(
    "Place",
    (Row("Gathering/LocalityText", "name"), Row(COORDINATES, "geo", rules.position)),
    requires="Gathering/LocalityText",
)

COUNTRY = Thing("Country", (Row("Name", "name"), Row("ISO3166Code", "identifier")), requires="Name")

HIGHER_TAXON = Thing(
    "Taxon",
    (Row("HigherTaxonName", "name"), Row("HigherTaxonRank", "taxonRank")),
    requires="HigherTaxonName",
)

DATASET = (
    Row("DatasetGUID", "@id"),
    Row("DatasetGUID", "identifier"),
    Row("Metadata/Description/Representation/Title", "name"),
    Row("Metadata/Description/Representation/URI", "url"),
    Row("Metadata/Description/Representation/Details", "description", rules.description),
    Row("Metadata/IconURI", "image", rules.web_address),
    Row("Metadata/DirectAccessURI", "distribution", rules.download),
    Row("Metadata/Description/Representation/Coverage", "keywords"),
    Row("Metadata/Scope/TaxonomicTerms/TaxonomicTerm", "keywords", rules.each),
    Row(
        "Metadata/Scope/GeoecologicalTerms/GeoecologicalTerm|GeoEcologicalTerm",
        "keywords",
        rules.each,
    ),
    Row("Metadata/RevisionData/DateCreated", "dateCreated", rules.date_part),
    Row("Metadata/RevisionData/DateModified", "dateModified", rules.date_part),
    Row(
        ("Metadata/Version/DateIssued", "Metadata/RevisionData/DateModified"),
        "datePublished",
        rules.issued_or_modified,
    ),
    Row(
        ("Metadata/Version/Major", "Metadata/Version/Minor", "Metadata/Version/Modifier"),
        "version",
        rules.version,
    ),
    Row("Metadata/IPRStatements/Licenses/License", "license", Thing("CreativeWork", STATEMENT)),
    Row(
        "Metadata/IPRStatements/TermsOfUseStatements/TermsOfUse",
        "usageInfo",
        Thing("CreativeWork", STATEMENT, fixed={"additionalType": "TermsOfUseStatement"}),
    ),
    Row(
        "Metadata/IPRStatements/Citations/Citation",
        "usageInfo",
        Thing("CreativeWork", STATEMENT, fixed={"additionalType": "Citation"}),
    ),
    Row("Metadata/Owners/Owner", "author", OWNER),
    Row("TechnicalContacts/TechnicalContact", "publisher", Thing("Organization", CONTACT)),
    Row("ContentContacts/ContentContact", "maintainer", Thing("Organization", CONTACT)),
    Row("Metadata/RevisionData/Contributors", "contributor", rules.persons),
    Row("Metadata/RevisionData/Creators", "creator", rules.persons),
)

STRATIGRAPHY = "Gathering/Stratigraphy"
TAXON = "Identifications/Identification/Result/TaxonIdentified"
FACT = ("LowerValue", "UpperValue", "UnitOfMeasurement")

UNIT = (
    Row(f"{TAXON}/ScientificName/FullScientificNameString", "about", rules.taxon),
    Row(f"{TAXON}/HigherTaxa/HigherTaxon", "about", HIGHER_TAXON, distinct_by="HigherTaxonName"),
    Row(
        f"{STRATIGRAPHY}/ChronostratigraphicTerms/ChronostratigraphicTerm/Term",
        "keywords",
        rules.each,
    ),
    Row(
        f"{STRATIGRAPHY}/BiostratigraphicTerms/BiostratigraphicTerm/Term",
        "keywords",
        rules.each,
    ),
    Row(
        f"{STRATIGRAPHY}/LithostratigraphicTerms/LithostratigraphicTerm/Term",
        "keywords",
        rules.each,
    ),
    Row("Gathering/Biotope/Name", "keywords", rules.each),
    Row("Gathering/Project/ProjectTitle", "keywords", rules.each),
    Row("KindOfUnit", "keywords", rules.each),
    Row("RecordBasis", "additionalType", rules.each),
    Row("UnitReferences/UnitReference", "@reverse/citation", Thing("CreativeWork", REFERENCE)),
    Row("SourceReference", "citation", Thing("CreativeWork", REFERENCE)),
    Row("Gathering/Agents/GatheringAgent", "contributor", COLLECTOR),
)

# Rows of which most units have a value of their own.
SAMPLE = Row(".", "about", BIO_SAMPLE)
UNITS_OWN = (
    Row("Gathering/Country", "spatialCoverage", COUNTRY, distinct_by="Name"),
    Row(".", "spatialCoverage", PLACE, distinct_by="Gathering/LocalityText"),
    Row("MultiMediaObjects/MultiMediaObject", "associatedMedia", MEDIA_OBJECT),
)

OVER_ALL_UNITS = (
    TotalRow((), "size", totals.Count),
    TotalRow((COORDINATES,), "spatialCoverage", totals.Extent),
    TotalRow(
        ("Gathering/DateTime/ISODateTimeBegin|ISODateTimeEnd",), "temporalCoverage", totals.Period
    ),
    TotalRow(
        (
            Element("Gathering/Altitude"),
            Element("Gathering/Altitude/MeasurementOrFactAtomised", FACT),
        ),
        "variableMeasured",
        totals.elevation,
    ),
    TotalRow(
        (
            Element("Gathering/Depth"),
            Element("Gathering/Depth/MeasurementOrFactAtomised", FACT),
        ),
        "variableMeasured",
        totals.depth,
    ),
)
