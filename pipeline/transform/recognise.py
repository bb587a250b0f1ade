"""Tells from the first bytes whether a download is an ABCD document or an ABCD archive."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import chain

from pipeline.errors import Code, JobFailed
from pipeline.transform.xml_parser import XMLParser, abcd_namespace

MAX_HEAD = 1024 * 1024  # bytes before the root element
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # a file's header, the end of an empty archive


class Kind(StrEnum):
    """What a source is."""

    XML = "xml"
    ZIP = "zip"


class RootSeen(Exception):
    """The root element has come, and it is ABCD's."""


def recognise(chunks: Iterator[bytes]) -> tuple[Kind, Iterator[bytes]]:
    """What ``chunks`` is, and all its bytes; reads no more than the head it needs to know.

    Raises ``invalid_input`` if it is neither a ZIP file nor XML without DOCTYPE whose root is
    ``DataSets`` in a namespace of ABCD 2.06 or 2.1 within the first ``MAX_HEAD`` bytes.
    """
    head = b""
    while len(head) < 4:
        piece = next(chunks, None)
        if piece is None:
            break
        head += piece
    if head.startswith(ZIP_SIGNATURES):
        return Kind.ZIP, chain([head], chunks)
    return Kind.XML, chain(abcd_head(head, chunks), chunks)


def abcd_head(head: bytes, chunks: Iterator[bytes]) -> list[bytes]:
    """The pieces read until the root element was known to be ABCD's."""
    parser = XMLParser()

    def root(name: str, _attributes: dict[str, str]) -> None:
        abcd_namespace(name, parser)
        raise RootSeen

    parser.expat.StartElementHandler = root
    pieces: list[bytes] = []
    try:
        for block in growing_blocks(recorded(chain([head], chunks), pieces)):
            parser.feed(block)
        parser.close()
    except RootSeen:
        pass
    return pieces


def recorded(chunks: Iterator[bytes], seen: list[bytes]) -> Iterator[bytes]:
    """The first ``MAX_HEAD`` bytes of ``chunks``; each chunk goes into ``seen`` whole."""
    size = 0
    for chunk in chunks:
        seen.append(chunk)
        yield chunk[: MAX_HEAD - size]
        size += len(chunk)
        if size >= MAX_HEAD:
            message = f"not ABCD: no root element in the first {MAX_HEAD} bytes"
            raise JobFailed(Code.INVALID_INPUT, message)


def growing_blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks, each at least half as long as all before it.

    expat 2.5.0 looks at an unfinished token anew with each piece: a sender of single bytes would
    keep it busy for minutes.
    """
    passed = 0
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        if 2 * len(gathered) >= passed:
            yield bytes(gathered)
            passed += len(gathered)
            gathered.clear()
    yield bytes(gathered)
