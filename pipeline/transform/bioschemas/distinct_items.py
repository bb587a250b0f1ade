"""Finds what is new in a unit for a row of the mapping, and passes it on as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from pipeline.transform.bioschemas.rows import OneOf, Row, Thing
from pipeline.transform.bioschemas.rules import Json, Record

encode: Callable[[Json], str] = json.JSONEncoder(ensure_ascii=False).encode

Collect = Callable[[Record], None]
IsNew = Callable[[str], bool]
Take = Callable[[str], None]


def collector(row: Row, is_new: IsNew, take: Take) -> Collect:
    """The function that looks through the record of a unit for ``row``.

    ``is_new`` says so of a text, and knows it from then on; ``take`` gets each new item.
    """
    if not isinstance(row.rule, Thing | OneOf):
        return texts_collector(row.keys[0], row.rule, is_new, take)
    if row.distinct_by:
        return elements_collector(row, row.rule, is_new, take)
    return things_collector(row, is_new, take)


def texts_collector(
    key: str, rule: Callable[..., list[Json]], is_new: IsNew, take: Take
) -> Collect:
    """Texts are told apart as such."""

    def collect(record: Record) -> None:
        for text in record.get(key, ()):
            if is_new(text):
                for item in rule([text]):
                    take(encode(item))

    return collect


def elements_collector(row: Row, rule: Thing | OneOf, is_new: IsNew, take: Take) -> Collect:
    """Elements are told apart by the text at ``distinct_by``."""
    key, by, make = row.keys[0], row.distinct_by, rule.of

    def collect(record: Record) -> None:
        for element in (record,) if key == "." else record.get(key, ()):
            texts = element.get(by)
            if texts and is_new(texts[0]):
                for item in make(element):
                    take(encode(item))

    return collect


def things_collector(row: Row, is_new: IsNew, take: Take) -> Collect:
    """Elements are told apart by all that they become."""
    items = row.items

    def collect(record: Record) -> None:
        for item in items(record):
            text = encode(item)
            if is_new(text):
                take(text)

    return collect
