"""A stream that ends badly never looks complete to whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.streams import last_block_held_back


@pytest.mark.parametrize(
    "blocks", [[], [b""], [b"a"], [b"", b"a", b"", b"b", b""], [b"a", b"b", b"c"]]
)
def test_a_stream_passes_unchanged(blocks: list[bytes]) -> None:
    assert list(last_block_held_back(blocks)) == [block for block in blocks if block]


def test_the_last_block_is_kept_from_a_stream_that_ends_badly() -> None:
    def breaking() -> Iterator[bytes]:
        yield from (b"a", b"b")
        raise OSError("broken")

    blocks = last_block_held_back(breaking())
    assert next(blocks) == b"a"
    with pytest.raises(OSError, match="broken"):
        next(blocks)
