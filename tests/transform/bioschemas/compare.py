"""Compares our result with the one GFBio made of the same document, and names each difference.

``python -m tests.transform.bioschemas.compare DOCUMENT.xml GFBIO.json`` prints them; the exit
status is 1 if one of them is not accounted for by a known defect of GFBio's.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.transform.bioschemas import transform
from pipeline.transform.bioschemas.rules import number_or_text

Json = Any
RENAMED = {"phone": "telephone"}
# GFBio's stylesheet tests these against every earlier element of the file.
TESTED = (
    "/keywords",
    "/additionalType",
    "/about",
    "/spatialCoverage",
    "/@reverse",
    "/citation",
    "/author/identifier",
    "/contributor",
)


@dataclass(frozen=True)
class Difference:
    """Where the results differ and how; ``reason`` names GFBio's defect, empty if it is ours."""

    path: str
    what: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" + (f" ({self.reason})" if self.reason else "")


def repaired(value: Json) -> Json:
    """A result of GFBio's without its defects of form; None for what is nothing but defect."""
    if isinstance(value, list):
        items = distinct(item for item in map(repaired, value) if item is not None)
        return items[0] if len(items) == 1 else items or None
    if not isinstance(value, dict):
        return value.strip() if isinstance(value, str) else value
    if "@xsi:type" in value:
        return number_or_text(value["#text"]) if "#text" in value else None
    if value.get("@type") in ("xs:date", "URL"):
        return value.get("#text")
    members = {
        RENAMED.get(name, name): repaired(member)
        for name, member in value.items()
        if not name.startswith("@xmlns")
    }
    return {name: member for name, member in members.items() if member is not None}


def innermost_texts(root: ET.Element) -> Iterator[str]:
    """The text of each element that is not just that of one of its children."""
    for element in root.iter():
        text = whole_text(element)
        if text not in map(whole_text, element):
            yield text


def whole_text(element: ET.Element) -> str:
    """All text in ``element``, stripped."""
    return "".join(element.itertext()).strip()


def distinct(items: Iterator[Json]) -> list[Json]:
    """``items`` without those that came before."""
    seen: list[Json] = []
    for item in items:
        if item not in seen:
            seen.append(item)
    return seen


class Comparison:
    """One comparison; knows how often each text stands in the document."""

    def __init__(self, document: bytes) -> None:
        root = ET.fromstring(document)  # noqa: S314 - our own or a published document
        self._texts = Counter(innermost_texts(root))

    def differences(self, ours: Json, theirs: Json, path: str = "") -> Iterator[Difference]:
        """What differs between our value at ``path`` and the repaired one of GFBio's."""
        if ours == theirs:
            return
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from self._members(ours, theirs, path)
        elif isinstance(ours, list) or isinstance(theirs, list):
            yield from self._items(as_list(ours), as_list(theirs), path)
        else:
            yield Difference(path, f"ours {ours!r}, GFBio's {theirs!r}")

    def _members(
        self, ours: dict[str, Json], theirs: dict[str, Json], path: str
    ) -> Iterator[Difference]:
        for name in [*ours, *(name for name in theirs if name not in ours)]:
            below = f"{path}/{name}"
            if name not in ours:
                yield Difference(below, f"missing in ours: {theirs[name]!r}")
            elif name not in theirs:
                for item in as_list(ours[name]):
                    yield self._addition(item, below)
            else:
                yield from self.differences(ours[name], theirs[name], below)

    def _items(self, ours: list[Json], theirs: list[Json], path: str) -> Iterator[Difference]:
        start = 0
        for item in theirs:
            if nameless(item) and item not in ours:
                yield Difference(path, f"missing in ours: {item!r}", "made of an empty text")
                continue
            place = self._find(ours, item, start, path)
            if place is None:
                yield self._missing(ours, item, path)
                continue
            for addition in ours[start:place]:
                yield self._addition(addition, path)
            yield from self.differences(ours[place], item, path)
            start = place + 1
        for addition in ours[start:]:
            yield self._addition(addition, path)

    def _find(self, ours: list[Json], item: Json, start: int, path: str) -> int | None:
        """Where ``item`` stands in ``ours``, as it is or with what GFBio has lost of it."""
        places = range(start, len(ours))
        same = next((place for place in places if ours[place] == item), None)
        if same is not None:
            return same
        return next((place for place in places if self._completes(ours[place], item, path)), None)

    def _completes(self, ours: Json, theirs: Json, path: str) -> bool:
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return False
        return all(difference.reason for difference in self.differences(ours, theirs, path))

    def _missing(self, ours: list[Json], item: Json, path: str) -> Difference:
        what = f"missing in ours: {item!r}"
        if item in ours and self._lost_as_double(item, path):
            return Difference(path, what, "further back there, lost where it belongs")
        if any(self._completes(other, item, path) for other in ours):
            return Difference(path, what, "what it has lost makes it differ from its double")
        return Difference(path, what)

    def _addition(self, item: Json, path: str) -> Difference:
        what = f"only in ours: {item!r}"
        if path.startswith("/date") and "T" not in str(item):
            return Difference(path, what, "a date without T")
        if self._lost_as_double(item, path):
            return Difference(path, what, "the same text stands elsewhere: GFBio's «distinct»")
        return Difference(path, what)

    def _lost_as_double(self, item: Json, path: str) -> bool:
        """Whether GFBio's «distinct» can have lost ``item``: its text stands in two elements."""
        if not path.startswith(TESTED) or "BioSample" in str(item):
            return False
        named = item.get("name", item) if isinstance(item, dict) else item
        wanted = set(texts_in(named))
        return any(
            times > 1 and all(text in whole for text in wanted)
            for whole, times in self._texts.items()
        )


def nameless(item: Json) -> bool:
    """Whether ``item`` is a person or taxon that GFBio has made of an empty text."""
    return isinstance(item, dict) and item.keys() <= {"@type", "taxonRank"}


def texts_in(value: Json) -> Iterator[str]:
    """All texts in ``value`` that come from the document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            if not name.startswith("@type"):
                yield from texts_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def as_list(value: Json) -> list[Json]:
    """A bare value as a list of one."""
    return value if isinstance(value, list) else [value]


def compare(document: bytes, theirs: Json) -> list[Difference]:
    """All differences between our result for ``document`` and GFBio's."""
    ours = json.loads(b"".join(transform([document])))
    return list(Comparison(document).differences(ours, repaired(theirs)))


def main() -> int:
    """The command."""
    document, theirs = map(Path, sys.argv[1:3])
    found = compare(document.read_bytes(), json.loads(theirs.read_text("utf-8")))
    for difference in found:
        sys.stdout.write(f"{difference}\n")
    return 1 if any(not difference.reason for difference in found) else 0


if __name__ == "__main__":
    sys.exit(main())
