"""Makes random ABCD 2.06 documents that use every path of the mapping, small or without end.

``python -m tests.transform.bioschemas.generate SEED [UNITS]`` prints one. Documents are valid
against the schema of ABCD 2.06, unless ``beyond`` adds elements that the mapping reads and only
later schemas or other providers know (``DOI``, ``OrganisationGUID``, …).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from xml.sax.saxutils import escape, quoteattr

NAMESPACE = "http://www.tdwg.org/schemas/abcd/2.06"
WORDS = (
    "Abies alba",
    "Plantae",
    "Uganda",
    "Woodland",
    "Quaternary",
    "Ana Ruiz",
    "Karl Groß",
    "Berlin & Umgebung",
    "x < y",
    "herbarium sheet",
    "日本",
    "Königin-Luise-Str. 6-8",
    'quoted "text" it\'s',
    "back\\slash",
    "Aves",
    "Fagus",
    "B",
)
RANKS = ("regnum", "phylum", "classis", "ordo", "familia", "unranked")
BASES = ("PreservedSpecimen", "LivingSpecimen", "HumanObservation", "MachineObservation")


@dataclass
class Element:
    """An element: its name, its children or its text, its attributes."""

    name: str
    content: list[Element] | str
    attributes: dict[str, str] = field(default_factory=dict)

    def render(self, prefix: str, indent: str | None) -> str:
        """The element as XML; pretty-printed if there is an ``indent`` to begin with."""
        attributes = "".join(f" {k}={quoteattr(v)}" for k, v in self.attributes.items())
        if isinstance(self.content, str):
            inside = escape(self.content)
        elif indent is None:
            inside = "".join(child.render(prefix, None) for child in self.content)
        else:
            children = (child.render(prefix, indent + "  ") for child in self.content)
            inside = "".join(f"\n{indent}  {child}" for child in children) + f"\n{indent}"
        return f"<{prefix}{self.name}{attributes}>{inside}</{prefix}{self.name}>"


class Maker:
    """Makes elements by chance; the same ``seed`` makes the same ones."""

    def __init__(
        self, seed: int, *, beyond: bool = False, padded: bool = False, named: bool = False
    ) -> None:
        self.chance = random.Random(seed)
        self.beyond = beyond
        self.padded = padded
        self.named = named
        self.numbers = count(1)

    def text(self, limit: int = 200) -> str:
        """Some words, often ones used before; between white space if it is to be padded."""
        words = " ".join(self.chance.choices(WORDS, k=self.chance.choice((1, 1, 1, 2, 30))))
        words = words[:limit].strip()
        return f"\n   {words} " if self.padded else words

    def uri(self) -> str:
        """An address, often one used before."""
        return self.chance.choice(
            (
                f"http://example.org/{self.chance.randrange(5)}",
                f"https://example.org/a?b={self.chance.randrange(99)}&c=d",
                f"https://example.org/{next(self.numbers)}.zip",
                f"urn:lsid:example.org:x:{self.chance.randrange(9)}",
            )
        )

    def day(self) -> str:
        """A date."""
        chance = self.chance
        return f"{chance.randint(1750, 2024)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"

    def number(self, low: int, high: int) -> str:
        """A decimal number, written in one of several ways."""
        value = self.chance.uniform(low, high)
        return self.chance.choice((f"{value:.0f}", f"{value:.1f}", f"{value:.4f}", f"{value:.10f}"))

    def some(self, make: Callable[[], Element], least: int, most: int) -> list[Element]:
        """Between ``least`` and ``most`` elements."""
        return [make() for _ in range(self.chance.randint(least, most))]

    def maybe(self, *elements: Element | None) -> list[Element]:
        """Those of ``elements`` that chance lets stand, in their order."""
        return [element for element in elements if element and self.chance.random() < 0.6]

    def only_beyond(self, element: Element) -> Element | None:
        """``element``, if elements beyond the schema are wanted."""
        return element if self.beyond else None

    def leaf(self, name: str, limit: int = 200) -> Element:
        """An element with some text; with ``named`` one that elements of other names never have."""
        if self.named and limit > len(name) + 40:
            return Element(name, f"{name} {self.text(limit - len(name) - 1)}")
        return Element(name, self.text(limit))

    def in_language(self, element: Element) -> Element:
        """``element`` with a language."""
        element.attributes["language"] = self.chance.choice(("en", "de"))
        return element

    def preferably(self, element: Element) -> Element:
        """``element``, sometimes marked as preferred or not."""
        marks: list[dict[str, str]] = [{}, {}, {"preferred": "true"}, {"preferred": "false"}]
        element.attributes.update(self.chance.choice(marks))
        return element

    def statement(self, name: str) -> Element:
        """A licence, terms of use, a citation."""
        optional = self.maybe(self.leaf("Details"), Element("URI", self.uri()))
        url = self.maybe(self.only_beyond(Element("URL", self.uri())))
        return self.in_language(Element(name, [self.leaf("Text"), *optional, *url]))

    def reference(self, name: str) -> Element:
        """A reference to literature."""
        optional = self.maybe(
            self.leaf("CitationDetail"),
            Element("URI", self.uri()),
            self.only_beyond(Element("DOI", f"10.1000/{self.chance.randrange(9)}")),
            self.only_beyond(Element("ReferenceGUID", self.uri())),
        )
        return Element(name, [self.leaf("TitleCitation"), *optional])

    def contact(self, name: str) -> Element:
        """A technical or content contact."""
        optional = self.maybe(self.leaf("Email"), self.leaf("Phone"), self.leaf("Address"))
        return Element(name, [self.leaf("Name"), *optional])

    def organisation(self) -> Element:
        """An organisation."""
        names = self.some(self.label, 1, 2)
        guid = self.maybe(self.only_beyond(Element("OrganisationGUID", self.uri())))
        return Element("Organisation", [Element("Name", names), *guid])

    def label(self) -> Element:
        """A name with its abbreviation, in some language."""
        content = [self.leaf("Text"), *self.maybe(self.leaf("Abbreviation", 40))]
        return self.in_language(Element("Representation", content))

    def person(self) -> Element:
        """A person."""
        given = self.maybe(self.leaf("GivenNames"))
        atomised = Element("AtomisedName", [self.leaf("InheritedName"), *given])
        return Element("Person", [self.leaf("FullName"), *self.maybe(atomised)])

    def owner(self) -> Element:
        """An owner of the data."""
        roles = Element("Roles", self.some(lambda: self.in_language(self.leaf("Role")), 1, 3))
        numbers = Element("TelephoneNumbers", self.some(self.telephone, 0, 3))
        emails = self.some(lambda: self.preferably(self.leaf("EmailAddress")), 0, 3)
        uris = Element("URIs", self.some(self.owner_uri, 0, 3))
        return Element(
            "Owner",
            self.maybe(
                self.organisation(),
                self.person(),
                roles,
                numbers,
                Element("EmailAddresses", emails),
                uris,
            ),
        )

    def telephone(self) -> Element:
        """A telephone number."""
        return self.preferably(Element("TelephoneNumber", [self.leaf("Number")]))

    def owner_uri(self) -> Element:
        """An address of an owner."""
        name = self.chance.choice(("URL", "URI")) if self.beyond else "URL"
        return self.preferably(Element(name, self.uri()))

    def description(self) -> Element:
        """Title, details, coverage, address."""
        optional = self.maybe(
            self.leaf("Details"), self.leaf("Coverage"), Element("URI", self.uri())
        )
        content = [self.leaf("Title"), *optional]
        return self.in_language(Element("Representation", content))

    def scope(self) -> Element:
        """The terms of the scope."""
        name = "GeoecologicalTerm" if self.beyond else "GeoEcologicalTerm"
        return Element(
            "Scope",
            self.maybe(
                Element("GeoecologicalTerms", self.some(lambda: self.leaf(name), 1, 3)),
                Element("TaxonomicTerms", self.some(lambda: self.leaf("TaxonomicTerm"), 1, 3)),
            ),
        )

    def version(self) -> Element:
        """The version of the data set."""
        minor, modifier, issued = (
            Element("Minor", str(self.chance.randrange(9))),
            self.leaf("Modifier"),
            Element("DateIssued", self.day()),
        )
        return Element("Version", [Element("Major", "3"), *self.maybe(minor, modifier, issued)])

    def revision(self) -> Element:
        """Who made and changed the data set, and when."""
        names = ", ".join(self.text(30).replace(",", "") for _ in range(3))
        optional = self.maybe(
            self.leaf("Creators"),
            Element("Contributors", names),
            Element("DateCreated", f"{self.day()}T00:00:00"),
        )
        modified = Element("DateModified", f"{self.day()}T11:46:59")
        return Element("RevisionData", [*optional, modified])

    def rights(self) -> Element:
        """Licences, terms of use, citation."""
        return Element(
            "IPRStatements",
            self.maybe(
                Element("Copyrights", [self.statement("Copyright")]),
                Element("Licenses", self.some(lambda: self.statement("License"), 1, 2)),
                Element(
                    "TermsOfUseStatements", self.some(lambda: self.statement("TermsOfUse"), 1, 2)
                ),
                Element("Citations", [self.statement("Citation")]),
            ),
        )

    def metadata(self) -> Element:
        """What is said of the whole data set."""
        optional = self.maybe(Element("IconURI", self.uri()))
        access = self.maybe(self.only_beyond(Element("DirectAccessURI", self.uri())))
        more = self.maybe(self.scope(), self.version())
        return Element(
            "Metadata",
            [
                Element("Description", self.some(self.description, 1, 2)),
                *optional,
                *access,
                *more,
                self.revision(),
                *self.maybe(Element("Owners", self.some(self.owner, 0, 3)), self.rights()),
            ],
        )

    def identification(self) -> Element:
        """A taxon with its higher taxa."""
        higher = Element("HigherTaxa", self.some(self.higher_taxon, 1, 3))
        name = Element("ScientificName", [self.leaf("FullScientificNameString")])
        taxon = Element("TaxonIdentified", self.maybe(higher, name))
        return Element("Identification", [Element("Result", [taxon])])

    def higher_taxon(self) -> Element:
        """A higher taxon."""
        name = self.chance.choice(("Plantae", "Aves", "Fagus", "Animalia", "Chordata", "Uganda"))
        rank = Element("HigherTaxonRank", self.chance.choice(RANKS))
        return Element("HigherTaxon", [Element("HigherTaxonName", name), *self.maybe(rank)])

    def media(self) -> Element:
        """A picture, sound or film of a unit."""
        rights = Element(
            "IPR", [Element("Licenses", self.some(lambda: self.statement("License"), 1, 2))]
        )
        return Element(
            "MultiMediaObject",
            self.maybe(
                Element("FileURI", self.uri()),
                self.leaf("ProductURI"),
                self.leaf("Context"),
                Element("Format", "image/jpeg"),
                Element("FileSize", str(self.chance.randrange(99999))),
                rights,
                Element("CreatedDate", self.day()),
                self.leaf("Creator"),
            ),
        )

    def collector(self) -> Element:
        """Who gathered a unit: a text, an organisation, a person."""
        names = self.chance.choice(
            (self.text(), "Ruiz, A.", "Groß, K., Ana Ruiz (no. 7)", "A. Ruiz", "Ruiz,")
        )
        return Element(
            "GatheringAgent",
            self.maybe(Element("AgentText", names), self.organisation(), self.person()),
        )

    def gathering(self) -> Element:
        """Where, when and by whom a unit was gathered."""
        dates = self.maybe(
            Element("ISODateTimeBegin", self.day()), Element("ISODateTimeEnd", self.day())
        )
        country = self.maybe(self.leaf("Name"), Element("ISO3166Code", "UG"))
        places = Element("SiteCoordinateSets", self.some(self.coordinates, 0, 2))
        return Element(
            "Gathering",
            self.maybe(
                Element("DateTime", dates),
                Element("Agents", self.some(self.collector, 0, 3)),
                Element("Project", self.maybe(self.leaf("ProjectTitle"))),
                self.leaf("LocalityText"),
                Element("Country", country),
                places,
                Element("Altitude", self.measurement()),
                Element("Depth", self.measurement()),
                self.stratigraphy(),
                Element("Biotope", self.maybe(self.leaf("Name"), self.leaf("Text"))),
            ),
        )

    def coordinates(self) -> Element:
        """A position."""
        position = Element(
            "CoordinatesLatLong",
            [
                Element("LongitudeDecimal", self.number(-180, 180)),
                Element("LatitudeDecimal", self.number(-90, 90)),
                *self.maybe(Element("SpatialDatum", "WGS84")),
            ],
        )
        return Element("SiteCoordinates", self.maybe(position))

    def measurement(self) -> list[Element]:
        """A measured value or a range of them."""
        unit = Element("UnitOfMeasurement", self.chance.choice(("m", "m", "m", "ft")))
        optional = self.maybe(Element("UpperValue", self.number(500, 4000)), unit)
        lower = Element("LowerValue", self.number(-10, 500))
        return self.maybe(Element("MeasurementOrFactAtomised", [lower, *optional]))

    def stratigraphy(self) -> Element:
        """The terms of stratigraphy."""
        kinds = ("Chronostratigraphic", "Biostratigraphic", "Lithostratigraphic")
        return Element("Stratigraphy", self.maybe(*map(self.terms, kinds)))

    def terms(self, kind: str) -> Element:
        """The terms of one kind of stratigraphy."""
        return Element(
            f"{kind}Terms",
            self.some(lambda: Element(f"{kind}Term", [self.leaf("Term")]), 0, 2),
        )

    def unit(self) -> Element:
        """A specimen or an observation."""
        references = self.some(lambda: self.reference("UnitReference"), 0, 2)
        identified = self.some(self.identification, 0, 2)
        ids = [
            self.leaf("SourceInstitutionID"),
            self.leaf("SourceID"),
            Element("UnitID", str(next(self.numbers))),
        ]
        if self.beyond:
            ids = self.maybe(*ids[:2]) + ids[2:]
        return Element(
            "Unit",
            [
                *self.maybe(Element("UnitGUID", self.uri())),
                *ids,
                *self.maybe(
                    self.reference("SourceReference"),
                    Element("UnitReferences", references),
                    Element("Identifications", identified),
                    Element("RecordBasis", self.chance.choice(BASES)),
                ),
                *self.some(lambda: self.leaf("KindOfUnit"), 0, 2),
                *self.maybe(
                    Element("MultiMediaObjects", self.some(self.media, 1, 2)),
                    self.gathering(),
                    Element("RecordURI", self.uri()),
                ),
            ],
        )

    def dataset(self, units: int) -> Element:
        """A data set of so many units."""
        return Element(
            "DataSet",
            [
                *self.maybe(Element("DatasetGUID", self.uri())),
                Element(
                    "TechnicalContacts", self.some(lambda: self.contact("TechnicalContact"), 1, 2)
                ),
                Element("ContentContacts", self.some(lambda: self.contact("ContentContact"), 1, 2)),
                self.metadata(),
                Element("Units", [self.unit() for _ in range(units)]),
            ],
        )


def document(
    seed: int,
    units: int = 8,
    *,
    prefix: str = "",
    pretty: bool = True,
    beyond: bool = False,
    padded: bool = False,
    named: bool = False,
) -> str:
    """A document of one or two data sets."""
    maker = Maker(seed, beyond=beyond, padded=padded, named=named)
    datasets = [maker.dataset(units) for _ in range(maker.chance.choice((1, 1, 2)))]
    declaration = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    root = Element("DataSets", datasets, {declaration: NAMESPACE})
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + root.render(prefix, "" if pretty else None)


def endless(size: int, seed: int = 1, *, alike: bool = False) -> Iterator[bytes]:
    """A document of about ``size`` bytes, made as it is read.

    Its units say what 50 units say in turn; each has ids and addresses of its own, unless they
    are ``alike``.
    """
    head, units, tail = template(seed)
    yield head
    written = len(head) + len(tail)
    for number in count():
        if written >= size:
            break
        own = b"" if alike else str(number).encode()
        unit = units[number % len(units)].replace(b"@NUMBER@", own)
        written += len(unit)
        yield unit
    yield tail


def template(seed: int) -> tuple[bytes, list[bytes], bytes]:
    """A document cut into what is before its units, the units, and what is after them."""
    maker = Maker(seed)
    whole = maker.dataset(50)
    units = whole.content[-1]
    assert isinstance(units, Element)
    assert isinstance(units.content, list)
    rendered = [numbered(unit).render("", "    ").encode() + b"\n" for unit in units.content]
    units.content = "@UNITS@"
    frame = Element("DataSets", [whole], {"xmlns": NAMESPACE}).render("", "").encode()
    head, _, tail = frame.partition(b"@UNITS@")
    return head, rendered, tail


def numbered(unit: Element) -> Element:
    """``unit`` with a place for a number in its ids and in the addresses of its media."""
    if isinstance(unit.content, str):
        if unit.name in ("UnitID", "RecordURI", "UnitGUID", "FileURI", "ProductURI"):
            unit.content = f"{unit.content.strip()}@NUMBER@"
    else:
        for child in unit.content:
            numbered(child)
    return unit


if __name__ == "__main__":
    sys.stdout.write(document(int(sys.argv[1]), *map(int, sys.argv[2:3])) + "\n")
