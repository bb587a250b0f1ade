"""The empty result that GFBio makes of XML in which it finds no ABCD 2.06."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pipeline.errors import Code, JobFailed

#: Bytes of which a result is looked at as a whole. GFBio: an empty one has 605.
LIMIT = 4096
#: What is said of a document that has nothing for GFBio.
NO_DATA_SET = "GFBio found no data set in this document"


def refusing_empty(result: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, unless the result is a ``Dataset`` without a name and without a unit.

    Raises ``JobFailed`` (``transformation_failed``, final).
    """
    head = b""
    for block in result:
        head += block
        if len(head) > LIMIT:
            yield head
            yield from result
            return
    if _is_empty(head):
        raise JobFailed(Code.TRANSFORMATION_FAILED, NO_DATA_SET)
    if head:
        yield head


def _is_empty(result: bytes) -> bool:
    try:
        value = json.loads(result)
    except ValueError:
        return False
    if not isinstance(value, dict) or value.get("@type") != "Dataset":
        return False
    size = value.get("size")
    units = size.get("value") if isinstance(size, dict) else None
    return value.get("name") is None and not value.get("about") and units in (None, 0)
