"""What becomes of the values found in ABCD: the rules named in the mapping table.

A rule takes one list for each path of its row and gives the items of the property. A list holds
the texts of a leaf element (stripped; an element without text counts as absent), the record of
each element that is read as a whole, or ``True`` for each element of which only the presence
counts.
"""

from __future__ import annotations

import math
import re
from itertools import takewhile
from typing import Any

Json = Any
Values = list[Any]
Record = dict[str, Values]

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
SHORTEST_DESCRIPTION = 50  # characters, as Bioschemas Dataset 1.0-RELEASE wants it


def number(text: str) -> int | float | None:
    """The number that ``text`` writes; None if it writes none, or one too large for JSON."""
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def number_or_text(text: str) -> int | float | str:
    """The number, or the text as it stands where the source has written something else."""
    value = number(text)
    return text if value is None else value


def first(texts: list[str]) -> list[Json]:
    """The first in document order."""
    return texts[:1]


def each(texts: list[str]) -> list[Json]:
    """Every one, in document order."""
    return texts


def first_of_both(texts: list[str], others: list[str]) -> list[Json]:
    """The first of each path."""
    return texts[:1] + others[:1]


def first_number(texts: list[str]) -> list[Json]:
    """The first, as a number."""
    return [number_or_text(text) for text in texts[:1]]


def description(texts: list[str]) -> list[Json]:
    """The first, if one of them has 50 characters or more (GFBio: not the one that has them)."""
    return texts[:1] if any(len(text) >= SHORTEST_DESCRIPTION for text in texts) else []


def web_address(texts: list[str]) -> list[Json]:
    """The first, if it contains ``http``."""
    return [text for text in texts[:1] if "http" in text]


def date_part(texts: list[str]) -> list[Json]:
    """What stands before the ``T`` of the first; a date without a ``T`` as it is."""
    return [text.partition("T")[0] for text in texts[:1]]


def issued_or_modified(issued: list[str], modified: list[str]) -> list[Json]:
    """The date of issue, else the date part of the last modification."""
    return first(issued) or date_part(modified)


def version(major: list[str], minor: list[str], modifier: list[str]) -> list[Json]:
    """``Major[.Minor[.Modifier]]``."""
    parts = [texts[0] for texts in takewhile(bool, (major, minor, modifier))]
    return [".".join(parts)] if parts else []


def download(addresses: list[str]) -> list[Json]:
    """A ``DataDownload``: the content of a ``.zip`` file, or the address of a page."""
    return [
        {"@type": "DataDownload", "contentUrl": address, "encodingFormat": "application/zip"}
        if ".zip" in address
        else {"@type": "DataDownload", "url": address}
        for address in addresses[:1]
    ]


def preferred_or_all(texts: list[str], preferred: list[str]) -> list[Json]:
    """The first one marked ``preferred="true"``, else all of them."""
    return preferred[:1] or texts


def preferred_or_first(texts: list[str], preferred: list[str]) -> list[Json]:
    """The first one marked ``preferred="true"``, else the first."""
    return preferred[:1] or texts[:1]


def each_unless(texts: list[str], present: list[Any]) -> list[Json]:
    """Every one, unless the element of the second path is there."""
    return [] if present else texts


def person(name: str) -> Json:
    """A person of whom only the name is known."""
    return {"@type": "Person", "name": name}


def persons(texts: list[str]) -> list[Json]:
    """A ``Person`` for each name between commas of the first text."""
    return [person(name) for text in texts[:1] for name in map(str.strip, text.split(",")) if name]


def collectors(texts: list[str]) -> list[Json]:
    """As ``persons``, without the pieces that are initials: their second character is a dot."""
    if "," not in texts[0]:
        return persons(texts)
    return [known for known in persons(texts) if known["name"][1:2] != "."]


def kilobytes(sizes: list[str]) -> list[Json]:
    """The size with its unit."""
    return [f"{size} kB" for size in sizes[:1]]


def named_thing(names: list[str]) -> list[Json]:
    """A ``Thing`` with that name."""
    return [{"@type": "Thing", "name": name} for name in names[:1]]


def taxon(names: list[str]) -> list[Json]:
    """A ``Taxon`` for each name: a species if it has a space, else a genus."""
    return [
        {"@type": "Taxon", "name": name, "taxonRank": "Species" if " " in name else "Genus"}
        for name in names
    ]


def unit_ids(
    institution: list[str], source: list[str], unit: list[str], guid: list[str]
) -> list[Json]:
    """The triple id ``institution:source:unit``, as far as there is an institution; the GUID."""
    parts = [*institution[:1], *(source[:1] if institution else []), *unit[:1]]
    return ([":".join(parts)] if unit else []) + guid[:1]


def unit_addresses(uri: list[str], guid: list[str]) -> list[Json]:
    """The address of the record, and the GUID if it is an address too."""
    return uri[:1] + [text for text in guid[:1] if text.startswith("http")]


def position(coordinates: list[Record]) -> list[Json]:
    """``GeoCoordinates`` of the first latitude, longitude and datum among a unit's coordinates."""

    def values(name: str) -> list[str]:
        return [text for record in coordinates for text in record.get(name, ())]

    found = {
        "latitude": first_number(values("LatitudeDecimal")),
        "longitude": first_number(values("LongitudeDecimal")),
        "additionalType": first(values("SpatialDatum")),
    }
    members = {name: value(items) for name, items in found.items() if items}
    return [{"@type": "GeoCoordinates", **members}]


def value(items: list[Json]) -> Json:
    """A bare value for one item, a list for several, none of them twice."""
    if len(items) == 1:
        return items[0]
    distinct = list({repr(item): item for item in items}.values())
    return distinct[0] if len(distinct) == 1 else distinct
