"""A generated result of any size, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: Bytes of a result that all its blocks but the last have.
BLOCK = 1024 * 1024

_HEAD = b'{"@context":"https://schema.org/","@type":"Dataset","name":"made up","description":"'
_TAIL = b'"}'
_ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,"


def generated_result(size: int) -> Iterator[bytes]:
    """A JSON object of exactly ``size`` bytes (100 at least), in blocks of ``BLOCK``."""
    table = random.Random(size).randbytes(BLOCK).translate((_ALPHABET * 4)[:256])  # noqa: S311 - filler
    left = size - len(_HEAD) - len(_TAIL)
    pending = _HEAD
    turn = 0
    while left:
        taken = min(BLOCK - len(pending), left)
        start = turn % (BLOCK - taken + 1)
        pending += table[start : start + taken]
        left -= taken
        turn += 7919
        if len(pending) == BLOCK:
            yield pending
            pending = b""
    yield pending + _TAIL
