"""What may become an object: the result's bytes, unchanged, checked while they pass.

The last block is handed on only once the whole is known to be good, so that a result which is
empty, broken or cut short never looks complete to whoever stores it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from pipeline.errors import Code, JobFailed
from pipeline.streams import last_block_held_back
from pipeline.transform.json_stream import Document, NotJSON

_ZIP_ENTRY = b"PK\x03\x04"
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
#: The record that ends an archive, with the longest comment it may have.
_ZIP_TAIL = _ZIP_END_SIZE + 0xFFFF


def checked_json(result: Iterable[bytes]) -> Iterator[bytes]:
    """Pass ``result`` on while checking that it is one complete JSON object and nothing else.

    Raises ``JobFailed`` (``transformation_failed``, final).
    """
    return last_block_held_back(_known_as_json(result))


def checked_zip(result: Iterable[bytes]) -> Iterator[bytes]:
    """Pass ``result`` on while checking that it begins and ends as a ZIP archive with files.

    Of the archive's inside only the last record is looked at. Raises ``JobFailed``
    (``transformation_failed``, final).
    """
    return last_block_held_back(_known_as_zip(result))


def _known_as_json(result: Iterable[bytes]) -> Iterator[bytes]:
    """``result``, with an error at its end unless it is one JSON object."""
    document = Document()
    try:
        for block in result:
            document.feed(block)
            yield block
        if not document.begun:
            raise _unusable("is empty")
        document.close()
    except NotJSON as exc:
        raise _unusable(str(exc)) from exc


def _known_as_zip(result: Iterable[bytes]) -> Iterator[bytes]:
    """``result``, with an error at its end unless it is a ZIP archive."""
    length = 0
    head = tail = b""
    for block in result:
        head += block[: len(_ZIP_ENTRY) - len(head)]
        if not _ZIP_ENTRY.startswith(head):
            raise _unusable("is not a ZIP archive")
        length += len(block)
        tail = (tail + block)[-_ZIP_TAIL:]
        yield block
    if not _ends_as_zip(tail, length):
        raise _unusable("is not a complete ZIP archive" if length else "is empty")


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
