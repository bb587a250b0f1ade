"""Reads ABCD with expat, in one pass: a record for each unit as it ends, one for each data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pipeline.transform.bioschemas.element_handlers import ElementHandlers
from pipeline.transform.bioschemas.path_tree import Node
from pipeline.transform.xml_parser import XMLParser, abcd_namespace

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
    """Reads a document along the tree of paths that ``tree_of`` gives for its namespace.

    Records go to their node's taker as their elements end; no tree of the document is made.
    """

    def __init__(self, tree_of: Callable[[str], Node]) -> None:
        self._tree_of = tree_of
        self._parser = XMLParser()
        self._parser.expat.StartElementHandler = self._root
        self._handlers: ElementHandlers | None = None

    def feed(self, block: bytes) -> None:
        """Reads on by ``block``; raises ``invalid_input`` with line and column."""
        self._parser.feed(block)
        self._refuse_the_endless()

    def close(self) -> None:
        """The document has ended; raises ``invalid_input`` if it is incomplete."""
        self._parser.close()

    def _root(self, name: str, _attributes: dict[str, str]) -> None:
        tree = self._tree_of(abcd_namespace(name, self._parser))
        self._handlers = ElementHandlers(self._parser.expat, tree.children[name])
        self._parser.expat.StartElementHandler = self._handlers.start
        self._parser.expat.EndElementHandler = self._handlers.end

    def _refuse_the_endless(self) -> None:
        parser = self._parser
        at = parser.expat.CurrentByteIndex
        if parser.fed - at > MAX_TOKEN:
            raise parser.invalid(f"a tag or comment is longer than {MAX_TOKEN} bytes")
        if self._handlers is None:
            return
        if at - self._handlers.record_start > MAX_UNIT:
            raise parser.invalid(f"a unit, or the metadata, is longer than {MAX_UNIT} bytes")
        if self._handlers.depth > MAX_DEPTH:
            raise parser.invalid(f"more than {MAX_DEPTH} elements are open at once")
