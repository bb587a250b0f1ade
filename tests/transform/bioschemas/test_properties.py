"""Promises about every document: made by chance, by the generator and by hypothesis."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.transform.bioschemas import transform
from pipeline.transform.bioschemas.distinct import Digests, Spool
from pipeline.transform.recognise import recognise
from tests.transform.bioschemas.documents import abcd, elements, result
from tests.transform.bioschemas.generate import document, endless

seeds = st.integers(0, 10**9)


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """``data`` cut at ``places``."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return (data[start:end] for start, end in pairwise(edges))


@settings(max_examples=40, deadline=None)
@given(seeds, st.lists(st.integers(0, 10**6), max_size=30))
def test_the_cuts_between_chunks_make_no_difference(seed: int, places: list[int]) -> None:
    data = document(seed, 3, beyond=True).encode()
    _kind, chunks = recognise(cut(data, places))
    assert b"".join(transform(chunks)) == b"".join(transform([data]))


def test_single_bytes_are_chunks_too() -> None:
    data = document(1, 2).encode()
    _kind, chunks = recognise(bytes([byte]) for byte in data)
    assert b"".join(transform(chunks)) == b"".join(transform([data]))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_prefix_indentation_and_padding_make_no_difference(seed: int) -> None:
    plain = result(document(seed, 3, beyond=True, pretty=False))
    assert result(document(seed, 3, beyond=True, prefix="abcd:")) == plain
    assert result(document(seed, 3, beyond=True, padded=True)) == plain


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 9))
def test_the_result_says_how_many_units_there_are_and_nothing_twice(seed: int, units: int) -> None:
    xml = document(seed, units, beyond=True)
    found = result(xml)
    assert found["size"]["value"] == xml.count("<Unit>")
    for name, items in lists_in(found):
        texts = [json.dumps(item, sort_keys=True) for item in items]
        assert len(texts) == len(set(texts)), name
        assert len(texts) > 1, name


def lists_in(value: Any, name: str = "") -> Iterator[tuple[str, list[Any]]]:
    """All lists inside ``value``, with the name of their member."""
    if isinstance(value, list):
        yield name, value
        for item in value:
            yield from lists_in(item, name)
    elif isinstance(value, dict):
        for member, inside in value.items():
            assert inside is not None
            yield from lists_in(inside, member)


texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), min_size=1
)


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=8))
def test_keywords_are_the_stripped_texts_in_order_of_first_occurrence(words: list[str]) -> None:
    escaped = [word.replace("&", "&amp;").replace("<", "&lt;") for word in words]
    escaped = [word.replace(">", "&gt;") for word in escaped]
    found = result(abcd(*(elements("KindOfUnit", word) for word in escaped)))
    stripped = (word.strip() for word in words)
    expected = list(dict.fromkeys(word for word in stripped if word))
    value = found.get("keywords", [])
    assert (value if isinstance(value, list) else [value]) == expected


def peak_of(size: int, *, alike: bool) -> int:
    """The most memory, in bytes, that Python's objects took while a document was transformed."""
    tracemalloc.start()
    for _ in transform(endless(size, alike=alike)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_units_with_equal_values_take_no_memory() -> None:
    assert peak_of(4_000_000, alike=True) < peak_of(1_000_000, alike=True) + 200_000


def test_units_with_values_of_their_own_take_little() -> None:
    more = peak_of(8_000_000, alike=False) - peak_of(4_000_000, alike=False)
    assert more < 4_000_000 / 20


def test_output_begins_before_the_input_ends() -> None:
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for piece in endless(8_000_000):
            read += len(piece)
            yield piece

    next(transform(source()))
    assert read < 2_000_000


@given(st.lists(st.text(max_size=3)))
def test_digests_know_what_came_before(words: list[str]) -> None:
    digests = Digests()
    seen: set[str] = set()
    for word in words:
        assert digests.add(word) == (word not in seen)
        seen.add(word)


def test_digests_grow() -> None:
    digests = Digests()
    assert all(digests.add(str(number)) for number in range(5000))
    assert not any(digests.add(str(number)) for number in range(5000))


@pytest.mark.parametrize("count", [0, 1, 3, 40_000])
def test_a_spool_gives_back_what_it_took(count: int) -> None:
    spool = Spool()
    texts = [f'{{"name": "é {number}"}}' for number in range(count)]
    for text in texts:
        spool.add(text)
    assert list(spool) == texts
