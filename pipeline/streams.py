"""What the stages of a stream have in common."""

from __future__ import annotations

from collections.abc import Generator, Iterable


def last_block_held_back(blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Each block once the next one is there, and the last one once ``blocks`` has ended well.

    So what is cut off, or turns out bad at its end, never looks complete downstream. Empty blocks
    are dropped.
    """
    held = b""
    for block in blocks:
        if block and held:
            yield held
        held = block or held
    if held:
        yield held
