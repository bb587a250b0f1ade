"""What the mapping table is made of: rows, and the objects that rows make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from pipeline.transform.bioschemas.rules import Json, Record, first, value


@dataclass(frozen=True)
class Element:
    """Elements that are read as a whole: each is a record of what stands at ``paths`` in it.

    Without ``paths`` only the presence of an element counts, and it is read as ``True``. A record
    goes to ``take`` as its element ends, or into the record of the element around it.
    """

    path: str
    paths: tuple[Path, ...] = ()
    take: Callable[[Record], None] | None = None


Path = str | Element


class Sources(Protocol):
    """Something for which paths have to be read."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """What has to be read."""


@dataclass(frozen=True)
class Thing:
    """A rule: the element becomes an object of ``type``, if it has an element at ``requires``."""

    type: str
    rows: tuple[Row, ...]
    requires: str = ""
    fixed: dict[str, Json] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[Path, ...]:
        """What has to be read of the element."""
        condition = (Element(self.requires),) if self.requires else ()
        return condition + tuple(path for row in self.rows for path in row.sources)

    def of(self, record: Record) -> list[Json]:
        """The object that ``record`` becomes."""
        if self.requires and self.requires not in record:
            return []
        made: dict[str, Json] = {"@type": self.type, **self.fixed}
        for row in self.rows:
            if items := row.items(record):
                made[row.becomes] = value(items)
        return [made]


@dataclass(frozen=True)
class Texts:
    """A rule: the texts at ``requires`` in the element become items by another rule."""

    requires: str
    rule: Callable[[list[str]], list[Json]]

    @property
    def paths(self) -> tuple[Path, ...]:
        """What has to be read of the element."""
        return (self.requires,)

    def of(self, record: Record) -> list[Json]:
        """The items made of the texts."""
        return self.rule(record.get(self.requires, []))


@dataclass(frozen=True)
class OneOf:
    """A rule: the first of ``choices`` for which the element has what it needs."""

    choices: tuple[Thing | Texts, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """What has to be read of the element."""
        return tuple(path for choice in self.choices for path in choice.paths)

    def of(self, record: Record) -> list[Json]:
        """What the fitting choice makes of ``record``."""
        for choice in self.choices:
            if not choice.requires or choice.requires in record:
                return choice.of(record)
        return []


@dataclass(frozen=True)
class Row:
    """What stands at ``paths`` becomes items of the property ``becomes`` by ``rule``.

    ``.`` is the element itself. Of elements with the same text at ``distinct_by`` only the first
    counts; without it those that become the same item are one.
    """

    paths: Path | tuple[Path, ...]
    becomes: str
    rule: Callable[..., list[Json]] | Thing | OneOf = first
    distinct_by: str = ""

    @property
    def sources(self) -> tuple[Path, ...]:
        """What has to be read for this row."""
        if not isinstance(self.rule, Thing | OneOf):
            return self._all_paths
        if self.paths == ".":
            return self.rule.paths
        return (Element(self.keys[0], self.rule.paths),)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of a record under which the values for the rule stand."""
        return tuple(path if isinstance(path, str) else path.path for path in self._all_paths)

    @cached_property
    def items(self) -> Callable[[Record], list[Json]]:
        """The function that gives the items this row makes of a record."""
        rule, keys = self.rule, self.keys
        only = keys[0]
        if not isinstance(rule, Thing | OneOf):
            if len(keys) == 1:
                return lambda record: rule(record[only]) if only in record else []
            return lambda record: rule(*[record.get(key, []) for key in keys])
        make = rule.of
        if self.paths == ".":
            return make
        return lambda record: [item for found in record.get(only, ()) for item in make(found)]

    @property
    def _all_paths(self) -> tuple[Path, ...]:
        return self.paths if isinstance(self.paths, tuple) else (self.paths,)


class Total(Protocol):
    """Something added up over all units."""

    @property
    def add(self) -> Callable[..., None]:
        """Takes the values of one unit, a list for each path."""

    def items(self) -> Iterator[Json]:
        """What it came to."""


@dataclass(frozen=True)
class TotalRow:
    """What stands at ``paths`` in all units, added up by ``total``, ``becomes`` a property."""

    paths: tuple[Path, ...]
    becomes: str
    total: Callable[[], Total]

    @property
    def sources(self) -> tuple[Path, ...]:
        """What has to be read for this row."""
        return self.paths

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of a record under which the values for ``total`` stand."""
        return tuple(path if isinstance(path, str) else path.path for path in self.paths)
