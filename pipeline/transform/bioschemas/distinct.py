"""What tells items that came before from new ones, and keeps many of them in little memory."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator

BLOCK = 256 * 1024  # characters compressed at once


class Vocabulary:
    """A set of texts, for the few that come again and again; and a list of what was found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._seen: set[str] = set()

    def add(self, text: str) -> bool:
        """Whether ``text`` is new."""
        if text in self._seen:
            return False
        self._seen.add(text)
        return True


class Digests:
    """A set of texts as 64-bit digests, 12 to 24 bytes for each; a ``set`` of them takes 70.

    Of n texts, one is taken for another with a probability of n² / 2⁶⁵: one in ten million for
    two million units. Python's string hash is keyed anew in each process, so that no document
    can be made to bring it about.
    """

    def __init__(self) -> None:
        self._table = array("q", [0]) * 1024
        self._count = 0

    def add(self, text: str) -> bool:
        """Whether ``text`` is new."""
        if not self._insert(hash(text) or 1):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def _insert(self, digest: int) -> bool:
        table, mask = self._table, len(self._table) - 1
        place = digest & mask
        while taken := table[place]:
            if taken == digest:
                return False
            place = (place + 1) & mask
        table[place] = digest
        return True

    def _grow(self) -> None:
        grown_from = self._table
        self._table = array("q", [0]) * (2 * len(grown_from))
        for digest in grown_from:
            if digest:
                self._insert(digest)


class Spool:
    """A list of JSON texts, kept compressed in memory: of ABCD a tenth to a twentieth is left."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._texts: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        """Appends ``text``, which has no line break."""
        self._texts.append(text)
        self._length += len(text)
        if self._length >= BLOCK:
            self._packed.append(zlib.compress("\n".join(self._texts).encode(), 1))
            self._texts.clear()
            self._length = 0

    def __iter__(self) -> Iterator[str]:
        for block in self._packed:
            yield from zlib.decompress(block).decode().split("\n")
        yield from self._texts
