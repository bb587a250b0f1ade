"""What may become an object: the result's bytes, unchanged, checked while they pass.

The last block is handed on only once the whole is known to be good, so that a result which is
empty, broken or cut short never looks complete to whoever stores it.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import ijson
from ijson.backends import yajl2_c

from pipeline.errors import Code, JobFailed

#: Bytes parsed at a time: some 0.2 ms in which no other thread runs.
_PIECE = 32 * 1024
#: Levels of nesting, looked at after each piece.
_MAX_DEPTH = 1000
_DEPTH_CHANGE = {
    "start_map": 1,
    "end_map": -1,
    "start_array": 1,
    "end_array": -1,
    **dict.fromkeys(("map_key", "string", "number", "boolean", "null"), 0),
}

_ZIP_ENTRY = b"PK\x03\x04"
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
#: The record that ends an archive, with the longest comment it may have.
_ZIP_TAIL = _ZIP_END_SIZE + 0xFFFF


def checked_json(result: Iterable[bytes]) -> Iterator[bytes]:
    """Pass ``result`` on while checking that it is one complete JSON object and nothing else.

    Integers have to fit 64 bits and other numbers a double. Raises ``JobFailed``
    (``transformation_failed``, final).
    """
    document = _Document()
    held = b""
    for block in result:
        document.feed(block)
        if held:
            yield held
        held = block or held
    document.close()
    yield held


def checked_zip(result: Iterable[bytes]) -> Iterator[bytes]:
    """Pass ``result`` on while checking that it begins and ends as a ZIP archive with files.

    Of the archive's inside only the last record is looked at. Raises ``JobFailed``
    (``transformation_failed``, final).
    """
    length = 0
    held = b""
    for block in result:
        held += block
        if length == 0 and not held.startswith(_ZIP_ENTRY[: len(held)]):
            raise _unusable("is not a ZIP archive")
        length += len(block)
        if len(held) >= 2 * _ZIP_TAIL:
            yield held[:-_ZIP_TAIL]
            held = held[-_ZIP_TAIL:]
    if not _ends_as_zip(held, length):
        raise _unusable("is not a complete ZIP archive" if length else "is empty")
    yield held


class _Document:
    """One JSON document on its way through the parser."""

    def __init__(self) -> None:
        self._events = _Events()
        # use_float: without it an integer of more than 4300 digits crashes ijson 3.6.0.
        self._parser = yajl2_c.basic_parse_coro(self._events, use_float=True)
        # yajl lets overlong forms and encoded surrogates through.
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._depth = 0
        self._empty = True

    def feed(self, block: bytes) -> None:
        view = memoryview(block)
        for start in range(0, len(block), _PIECE):
            self._parse(bytes(view[start : start + _PIECE]))

    def close(self) -> None:
        if self._empty:
            raise _unusable("is empty")
        try:
            self._utf8.decode(b"", True)
            self._parser.close()
        except (ijson.JSONError, UnicodeDecodeError) as exc:
            raise _unusable("is not complete JSON") from exc

    def _parse(self, piece: bytes) -> None:
        try:
            self._utf8.decode(piece)
            self._parser.send(piece)
        except UnicodeDecodeError as exc:
            raise _unusable("is not UTF-8") from exc
        except ijson.JSONError as exc:
            raise _unusable(
                "holds a number out of range" if "overflow" in str(exc) else "is not valid JSON"
            ) from exc
        names = self._events[::2]
        self._events.clear()
        if self._empty and names:
            self._empty = False
            if names[0] != "start_map":
                raise _unusable("is not a JSON object")
        self._depth += sum(map(_DEPTH_CHANGE.__getitem__, names))
        if self._depth > _MAX_DEPTH:
            raise _unusable(f"is nested deeper than {_MAX_DEPTH} levels")


class _Events(list[Any]):
    """Where ijson sends (name, value) to: both are appended, which costs no call of Python code."""

    send = list.extend


def _ends_as_zip(tail: bytes, length: int) -> bool:
    """Whether ``tail``, the end of ``length`` bytes, holds the record that ends a ZIP archive."""
    at = tail.rfind(_ZIP_END)
    while at >= 0 and not _is_zip_end(tail[at:], length - len(tail) + at):
        at = tail.rfind(_ZIP_END, 0, at)
    return at >= 0


def _is_zip_end(record: bytes, position: int) -> bool:
    """Whether ``record``, ``position`` bytes into an archive, ends it and lists its files."""
    if len(record) < _ZIP_END_SIZE:
        return False
    entries, size, offset, comment = struct.unpack_from("<HIIH", record, 10)
    is_zip64 = 0xFFFFFFFF in (offset, size) or entries == 0xFFFF
    return bool(
        entries
        and (is_zip64 or offset + size == position)
        and _ZIP_END_SIZE + comment == len(record)
    )


def _unusable(what: str) -> JobFailed:
    return JobFailed(Code.TRANSFORMATION_FAILED, f"the transformation's result {what}")
