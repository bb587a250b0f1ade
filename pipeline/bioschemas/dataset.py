"""Gathers what the mapping finds in a document, and writes the ``Dataset`` as it goes.

Two lists have as many items as there are units: the samples of ``about`` and ``associatedMedia``
(and, in the worst case, the places). One JSON text can take only one of them as it comes. The
samples do: every data set has them, and few have media. The others wait compressed, in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter

from pipeline.bioschemas import mapping
from pipeline.bioschemas.distinct import Digests, Spool
from pipeline.bioschemas.reader import Reader, blocks
from pipeline.bioschemas.rows import Element, Path, Row, Sources
from pipeline.bioschemas.rules import Json, Record
from pipeline.bioschemas.shape import Node, shape
from pipeline.bioschemas.writer import Member, Output

encode: Callable[[Json], str] = json.JSONEncoder(ensure_ascii=False).encode


def transform(document: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON-LD document that the ABCD document ``document`` becomes, both in pieces.

    Raises ``invalid_input``, with line and column, where the document is not ABCD 2.06 or 2.1.
    """
    output = Output()
    output.write(encode(mapping.FIXED).removesuffix("}"))
    about = Member("about", output)
    dataset = Dataset(about.add)
    reader = Reader(dataset.shape)
    for block in blocks(document):
        reader.feed(block)
        if output.full:
            yield output.take()
    reader.close()
    for name, items in dataset.members():
        member = about if name == "about" else Member(name, output)
        for item in items:
            member.add(item)
            if output.full:
                yield output.take()
        member.end()
    output.write("}")
    yield output.take()


class Few:
    """What one row finds in all units, where the same few values come again and again."""

    def __init__(self, row: Row) -> None:
        self.becomes = row.becomes
        self._items = row.items
        self._known_by = known_by(row)
        self._found: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Takes what the row finds in one unit."""
        for item in self._items(record):
            known = self._known_by(item)
            if known not in self._found:
                self._found[known] = encode(item)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found.values())


class Many:
    """What one row finds in all units, where most units have their own: passed on at once."""

    def __init__(self, row: Row, take: Callable[[str], None]) -> None:
        self._items = row.items
        self._known_by = known_by(row) if row.distinct_by else None
        self._take = take
        self._seen = Digests()

    def add(self, record: Record) -> None:
        """Takes what the row finds in one unit."""
        for item in self._items(record):
            text = encode(item)
            if self._seen.add(self._known_by(item) if self._known_by else text):
                self._take(text)


def known_by(row: Row) -> Callable[[Json], str]:
    """The function that says by which text an item of ``row`` is known."""
    if not row.distinct_by:
        return lambda item: item if isinstance(item, str) else encode(item)
    if len(row.distinct_by) == 1:
        return itemgetter(row.distinct_by[0])
    members = itemgetter(*row.distinct_by)
    return lambda item: "\n".join(members(item))


class Dataset:
    """What is known of the data set so far. ``take_sample`` gets each sample as it is found."""

    def __init__(self, take_sample: Callable[[str], None]) -> None:
        self._metadata: Record = {}
        self._few = [(row.keys[0], Few(row)) for row in mapping.UNIT]
        self._spools = {row.becomes: Spool() for row in mapping.UNITS_OWN}
        self._many = [Many(row, self._spools[row.becomes].add) for row in mapping.UNITS_OWN]
        self._many.append(Many(mapping.SAMPLE, take_sample))
        self._totals = [(row, row.total()) for row in mapping.OVER_ALL_UNITS]

    def shape(self, namespace: str) -> Node:
        """The tree of what the mapping reads, each record taken by this data set."""
        rows = (mapping.SAMPLE, *mapping.UNIT, *mapping.UNITS_OWN, *mapping.OVER_ALL_UNITS)
        unit = Element("Units/Unit", sources(rows), self.add_unit)
        whole = Element("DataSets/DataSet", (*sources(mapping.DATASET), unit), self.add_metadata)
        return shape([whole], namespace)

    def add_metadata(self, record: Record) -> None:
        """Takes what stands outside the units of one data set."""
        for key, values in record.items():
            self._metadata.setdefault(key, []).extend(values)

    def add_unit(self, record: Record) -> None:
        """Takes one unit."""
        for key, few in self._few:
            if key in record:
                few.add(record)
        for many in self._many:
            many.add(record)
        for row, total in self._totals:
            total.add(*[record.get(key, ()) for key in row.keys])

    def members(self) -> Iterator[tuple[str, Iterator[str]]]:
        """The name and the distinct items of each member, now that the document has ended.

        The first is ``about``, of which the samples are written and only the taxa follow.
        """
        found: dict[str, dict[str, None]] = {name: {} for name in ("about", *self._spools)}
        for row in mapping.DATASET:
            texts = map(encode, row.items(self._metadata))
            found.setdefault(row.becomes, {}).update(dict.fromkeys(texts))
        for _, few in self._few:
            found.setdefault(few.becomes, {}).update(dict.fromkeys(few))
        for total_row, total in self._totals:
            texts = map(encode, total.items())
            found.setdefault(total_row.becomes, {}).update(dict.fromkeys(texts))
        for name, items in found.items():
            yield name, chain(self._spools.get(name, ()), items)


def sources(rows: Iterable[Sources]) -> tuple[Path, ...]:
    """All that has to be read for ``rows``."""
    return tuple(path for row in rows for path in row.sources)
