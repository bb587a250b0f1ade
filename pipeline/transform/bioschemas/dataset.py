"""Gathers what the mapping finds in a document, and writes the ``Dataset`` as it goes.

Two lists have as many items as there are units: the samples of ``about`` and ``associatedMedia``
(and, in the worst case, the places). One JSON text can take only one of them as it comes. The
samples do: every data set has them, and few have media. The others wait compressed, in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from pipeline.transform.bioschemas import mapping
from pipeline.transform.bioschemas.distinct import Digests, Spool, Vocabulary
from pipeline.transform.bioschemas.distinct_items import collector, encode
from pipeline.transform.bioschemas.path_tree import Node, path_tree
from pipeline.transform.bioschemas.reader import Reader, blocks
from pipeline.transform.bioschemas.rows import Element, Path, Sources
from pipeline.transform.bioschemas.rules import Record
from pipeline.transform.bioschemas.writer import Member, Output


def transform(document: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON-LD document that the ABCD document ``document`` becomes, both in pieces.

    Raises ``invalid_input``, with line and column, where the document is not ABCD 2.06 or 2.1.
    """
    output = Output()
    output.write(encode(mapping.FIXED).removesuffix("}"))
    about = Member("about", output)
    dataset = Dataset(about.add)
    reader = Reader(dataset.path_tree)
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


class Dataset:
    """What is known of the data set so far. ``take_sample`` gets each sample as it is found."""

    def __init__(self, take_sample: Callable[[str], None]) -> None:
        self._metadata: Record = {}
        self._few = [(row, Vocabulary()) for row in mapping.UNIT]
        self._spools = {row.becomes: Spool() for row in mapping.UNITS_OWN}
        self._collectors = [
            *(collector(row, few.add, few.found.append) for row, few in self._few),
            *(
                collector(row, Digests().add, self._spools[row.becomes].add)
                for row in mapping.UNITS_OWN
            ),
            collector(mapping.SAMPLE, Digests().add, take_sample),
        ]
        self._totals = [(row, row.total()) for row in mapping.OVER_ALL_UNITS]

    def path_tree(self, namespace: str) -> Node:
        """The tree of what the mapping reads, each record taken by this data set."""
        rows = (mapping.SAMPLE, *mapping.UNIT, *mapping.UNITS_OWN, *mapping.OVER_ALL_UNITS)
        unit = Element("Units/Unit", sources(rows), self.add_unit)
        whole = Element("DataSets/DataSet", (*sources(mapping.DATASET), unit), self.add_metadata)
        return path_tree([whole], namespace)

    def add_metadata(self, record: Record) -> None:
        """Takes what stands outside the units of one data set."""
        for key, values in record.items():
            self._metadata.setdefault(key, []).extend(values)

    def add_unit(self, record: Record) -> None:
        """Takes one unit."""
        for collect in self._collectors:
            collect(record)
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
        for row, few in self._few:
            found.setdefault(row.becomes, {}).update(dict.fromkeys(few.found))
        for total_row, total in self._totals:
            texts = map(encode, total.items())
            found.setdefault(total_row.becomes, {}).update(dict.fromkeys(texts))
        for name, items in found.items():
            yield name, chain(self._spools.get(name, ()), items)


def sources(rows: Iterable[Sources]) -> tuple[Path, ...]:
    """All that has to be read for ``rows``."""
    return tuple(path for row in rows for path in row.sources)
