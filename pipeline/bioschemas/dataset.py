"""Gathers what the mapping finds in a document and writes the ``Dataset`` as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from pipeline.bioschemas import mapping
from pipeline.bioschemas.reader import Reader, blocks
from pipeline.bioschemas.rows import Element, Path, Row, Sources, key
from pipeline.bioschemas.rules import Json, Record
from pipeline.bioschemas.shape import Node, shape
from pipeline.bioschemas.writer import Member, Output, write_member

encode: Callable[[Json], str] = json.JSONEncoder(ensure_ascii=False).encode


def transform(document: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON-LD document that the ABCD document ``document`` becomes, both in pieces.

    Raises ``invalid_input``, with line and column, where the document is not ABCD 2.06 or 2.1.
    """
    output = Output()
    dataset = Dataset(output)
    reader = Reader(dataset.shape)
    for block in blocks(document):
        reader.feed(block)
        if output.full:
            yield output.take()
    reader.close()
    dataset.finish()
    yield output.take()


class Items:
    """What one row finds in the units: distinct items as JSON, in order of first occurrence."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.becomes = row.becomes
        self.found: dict[object, str] = {}

    def add(self, record: Record) -> None:
        """Takes what the row finds in one unit."""
        for item in self._row.items(record):
            known = self._known_by(item)
            if known not in self.found:
                self.found[known] = encode(item)

    def _known_by(self, item: Json) -> object:
        if isinstance(item, str):
            return item
        if self._row.distinct_by:
            return tuple(item.get(name) for name in self._row.distinct_by)
        return encode(item)


class Samples:
    """The samples, written out as the units are found."""

    def __init__(self, row: Row, about: Member) -> None:
        self._row = row
        self._about = about
        self._seen: set[str] = set()

    def add(self, record: Record) -> None:
        for item in self._row.items(record):
            text = encode(item)
            if text not in self._seen:
                self._seen.add(text)
                self._about.add(text)


class Dataset:
    """What is known of the data set so far; the samples are on their way already."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._metadata: Record = {}
        output.write(encode(mapping.FIXED)[:-1])
        self._about = Member("about", output)
        self._samples = Samples(mapping.SAMPLES, self._about)
        self._units = [Items(row) for row in mapping.UNIT]
        self._totals = [(row, row.total()) for row in mapping.OVER_ALL_UNITS]

    def shape(self, namespace: str) -> Node:
        """The tree of what the mapping reads, each record taken by this data set."""
        unit_rows = (mapping.SAMPLES, *mapping.UNIT, *mapping.OVER_ALL_UNITS)
        unit = Element("Units/Unit", sources(unit_rows), self.add_unit)
        whole = (*sources(mapping.DATASET), unit)
        return shape([Element("DataSets/DataSet", whole, self.add_metadata)], namespace)

    def add_metadata(self, record: Record) -> None:
        """Takes what stands outside the units of one data set."""
        for name, values in record.items():
            self._metadata.setdefault(name, []).extend(values)

    def add_unit(self, record: Record) -> None:
        """Takes one unit."""
        self._samples.add(record)
        for items in self._units:
            items.add(record)
        for row, total in self._totals:
            total.add(*(record.get(key(path), []) for path in row.paths))

    def finish(self) -> None:
        """The document is complete: writes what is known only now."""
        members = self._members()
        for text in members.pop("about", {}):
            self._about.add(text)
        self._about.end()
        reverse = members.pop("@reverse/citation", None)
        for name, texts in members.items():
            write_member(name, texts, self._output)
        if reverse:
            cited = list(reverse)
            value = cited[0] if len(cited) == 1 else f"[{', '.join(cited)}]"
            self._output.write(f', "@reverse": {{"citation": {value}}}')
        self._output.write("}")

    def _members(self) -> dict[str, dict[str, None]]:
        members: dict[str, dict[str, None]] = {}
        for row in mapping.DATASET:
            texts = map(encode, row.items(self._metadata))
            members.setdefault(row.becomes, {}).update(dict.fromkeys(texts))
        for items in self._units:
            members.setdefault(items.becomes, {}).update(dict.fromkeys(items.found.values()))
        for total_row, total in self._totals:
            texts = map(encode, total.items())
            members.setdefault(total_row.becomes, {}).update(dict.fromkeys(texts))
        return members


def sources(rows: Iterable[Sources]) -> tuple[Path, ...]:
    """All that has to be read for ``rows``."""
    return tuple(path for row in rows for path in row.sources)
