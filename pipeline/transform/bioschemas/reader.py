"""Reads ABCD with expat, in one pass: a record for each unit as it ends, one for each data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pipeline.transform.bioschemas.follower import Follower
from pipeline.transform.bioschemas.shape import Node
from pipeline.transform.xml_parser import abcd_namespace, invalid, new_parser, parse

BLOCK = 256 * 1024  # bytes fed at once: expat 2.5.0 is quadratic on a token in small pieces
MAX_TOKEN = 8 * 1024 * 1024  # bytes of one tag, comment or instruction
MAX_UNIT = 32 * 1024 * 1024  # bytes of one unit, of what precedes the first or follows the last
MAX_DEPTH = 200  # elements open at once; ABCD nests some 20 deep


def blocks(document: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of ``BLOCK``, the last one shorter."""
    gathered = bytearray()
    for piece in document:
        gathered += piece
        whole = len(gathered) - len(gathered) % BLOCK
        for start in range(0, whole, BLOCK):
            yield bytes(memoryview(gathered)[start : start + BLOCK])
        del gathered[:whole]
    if gathered:
        yield bytes(gathered)


class Reader:
    """Reads a document along the tree of paths that ``shape_of`` gives for its namespace.

    Records go to their node's taker as their elements end; no tree of the document is made.
    """

    def __init__(self, shape_of: Callable[[str], Node]) -> None:
        self._shape_of = shape_of
        self._parser = new_parser()
        self._parser.StartElementHandler = self._root
        self._follower: Follower | None = None
        self._fed = 0

    def feed(self, block: bytes) -> None:
        """Reads on by ``block``; raises ``invalid_input`` with line and column."""
        parse(self._parser, block)
        self._fed += len(block)
        self._refuse_the_endless()

    def close(self) -> None:
        """The document has ended; raises ``invalid_input`` if it is incomplete."""
        parse(self._parser, b"", last=True)

    def _root(self, name: str, _attributes: dict[str, str]) -> None:
        tree = self._shape_of(abcd_namespace(name, self._parser))
        self._follower = Follower(self._parser, tree.children[name])
        self._parser.StartElementHandler = self._follower.start
        self._parser.EndElementHandler = self._follower.end

    def _refuse_the_endless(self) -> None:
        at = self._parser.CurrentByteIndex
        if self._fed - at > MAX_TOKEN:
            raise invalid(f"A tag or comment is longer than {MAX_TOKEN} bytes", self._parser)
        if self._follower is None:
            return
        if at - self._follower.record_start > MAX_UNIT:
            raise invalid(f"A unit, or the metadata, is longer than {MAX_UNIT} bytes", self._parser)
        if self._follower.depth > MAX_DEPTH:
            raise invalid(f"More than {MAX_DEPTH} elements are open at once", self._parser)
