"""Small ABCD documents, written by hand, for the tests of single rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pipeline.transform.bioschemas import transform

ABCD = "http://www.tdwg.org/schemas/abcd/2.06"


def abcd(
    *units: str, metadata: str = "", before: str = "", prefix: str = "", namespace: str = ABCD
) -> str:
    """A document of one data set: the insides of its units, of its Metadata, and what is before.

    With a ``prefix`` the elements of the frame bear it; what is put in must bear it itself.
    """
    declaration = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    p = prefix
    inside = "".join(f"<{p}Unit>{unit}</{p}Unit>" for unit in units)
    return (
        f'<{p}DataSets {declaration}="{namespace}"><{p}DataSet>{before}'
        f"<{p}Metadata>{metadata}</{p}Metadata><{p}Units>{inside}</{p}Units>"
        f"</{p}DataSet></{p}DataSets>"
    )


def elements(path: str, *texts: str, attributes: str = "") -> str:
    """``<A><B attributes>text</B>…</A>`` for the path ``A/B``."""
    *outer, last = path.split("/")
    inside = "".join(f"<{last}{attributes}>{text}</{last}>" for text in texts)
    for name in reversed(outer):
        inside = f"<{name}>{inside}</{name}>"
    return inside


def result(document: str | bytes | Iterable[bytes]) -> Any:
    """What ``document`` becomes, parsed."""
    if isinstance(document, str):
        document = document.encode()
    pieces = [document] if isinstance(document, bytes) else document
    return json.loads(b"".join(transform(pieces)))
