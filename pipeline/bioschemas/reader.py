"""Reads ABCD with expat, in one pass: a record for each unit as it ends, one for each data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn
from xml.parsers import expat

from defusedxml.common import DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden

from pipeline.bioschemas.rules import Record
from pipeline.bioschemas.shape import Node
from pipeline.errors import Code, JobFailed

NAMESPACES = ("http://www.tdwg.org/schemas/abcd/2.06", "http://www.tdwg.org/schemas/abcd/2.1")
BLOCK = 256 * 1024  # bytes fed at once: expat 2.5.0 is quadratic on a token in small pieces
MAX_TOKEN = 8 * 1024 * 1024  # bytes of one tag, comment or instruction
MAX_UNIT = 64 * 1024 * 1024  # bytes of one unit, or of a data set between two units
MAX_DEPTH = 200  # open elements; the deepest path of ABCD has 20


def invalid(message: str, parser: expat.XMLParserType) -> JobFailed:
    """The error for what stands where ``parser`` is, with line and column counted from 1."""
    place = f"line {parser.CurrentLineNumber}, column {parser.CurrentColumnNumber + 1}"
    return JobFailed(Code.INVALID_INPUT, f"{message} ({place})")


def new_parser() -> expat.XMLParserType:
    """A parser with namespaces that refuses DOCTYPE and entities, by defusedxml's rules."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.EntityDeclHandler = refuse_entity
    parser.UnparsedEntityDeclHandler = refuse_unparsed_entity
    parser.ExternalEntityRefHandler = refuse_external_reference
    return parser


def refuse_doctype(name: str, system: str | None, public: str | None, _internal: bool) -> NoReturn:
    """No document type declaration, so no entities of one's own."""
    raise DTDForbidden(name, system, public)


def refuse_entity(
    name: str,
    _is_parameter: bool,
    value: str | None,
    base: str | None,
    system: str | None,
    public: str | None,
    notation: str | None,
) -> NoReturn:
    """No entity declaration."""
    raise EntitiesForbidden(name, value, base, system, public, notation)


def refuse_unparsed_entity(
    name: str, base: str | None, system: str | None, public: str | None, notation: str | None
) -> NoReturn:
    """No unparsed entity."""
    raise EntitiesForbidden(name, None, base, system, public, notation)


def refuse_external_reference(
    context: str, base: str | None, system: str | None, public: str | None
) -> NoReturn:
    """Nothing from outside."""
    raise ExternalReferenceForbidden(context, base, system, public)


def parse(parser: expat.XMLParserType, block: bytes, *, last: bool = False) -> None:
    """Feeds ``block``; raises ``invalid_input`` with line and column."""
    try:
        parser.Parse(block, last)
    except (DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden) as exc:
        message = "The document has a DOCTYPE or entities, which are not accepted"
        raise invalid(message, parser) from exc
    except expat.ExpatError as exc:
        reason = expat.ErrorString(exc.code)
        what = "The document is cut off" if last else "The document is not well-formed XML"
        raise invalid(f"{what}: {reason}", parser) from exc
    except (LookupError, ValueError) as exc:
        raise invalid("The document has an encoding that cannot be read", parser) from exc


def abcd_namespace(name: str, parser: expat.XMLParserType) -> str:
    """The namespace of a root element that makes a document ABCD; else ``invalid_input``."""
    namespace, _, local = name.rpartition(" ")
    if local == "DataSets" and namespace in NAMESPACES:
        return namespace
    of = f"in the namespace «{namespace}»" if namespace else "in no namespace"
    message = (
        f"The document is not ABCD 2.06 or 2.1: its root element is «{local[:80]}» {of[:200]}, "
        f"not «DataSets» in «{NAMESPACES[0]}» or «{NAMESPACES[1]}»"
    )
    raise invalid(message, parser)


def blocks(document: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of ``BLOCK``, the last one shorter."""
    gathered = bytearray()
    for piece in document:
        gathered += piece
        while len(gathered) >= BLOCK:
            yield bytes(gathered[:BLOCK])
            del gathered[:BLOCK]
    if gathered:
        yield bytes(gathered)


class Reader:
    """Follows a document along the tree that ``shape_of`` gives for its namespace.

    Records go to their node's taker as their elements end; no tree of the document is made.
    """

    def __init__(self, shape_of: Callable[[str], Node]) -> None:
        self._shape_of = shape_of
        self._parser = new_parser()
        self._parser.StartElementHandler = self._root
        self._fed = 0
        self._record_start = 0
        self._texts: list[str] = []
        self._depth: list[int] = [0]

    def feed(self, block: bytes) -> None:
        """Reads on by ``block``; raises ``invalid_input`` with line and column."""
        parse(self._parser, block)
        self._fed += len(block)
        self._limit()

    def close(self) -> None:
        """The document has ended; raises ``invalid_input`` if it is incomplete."""
        parse(self._parser, b"", last=True)

    def _root(self, name: str, _attributes: dict[str, str]) -> None:
        tree = self._shape_of(abcd_namespace(name, self._parser))
        self._follow(tree.children[name])

    def _follow(self, node: Node) -> None:
        """Sets the handlers that follow the document below ``node``.

        They are closures over local variables and the text handler is a bare ``list.append``,
        set only inside elements whose text is wanted: this is the innermost loop.
        """
        parser = self._parser
        texts: list[str] = self._texts
        gather = texts.append
        ancestors: list[Node] = []
        outer: list[Record] = []
        record: Record = {}
        passed_over = 0

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal node, record, passed_over
            below = None if passed_over else node.children.get(name)
            if below is None:
                passed_over += 1
                return
            if attributes and below.preferred and attributes.get("preferred") == "true":
                below = below.preferred
            ancestors.append(node)
            node = below
            if node.is_text:
                parser.CharacterDataHandler = gather
            elif node.is_record:
                outer.append(record)
                record = {}
            elif node.is_present:
                record.setdefault(node.key, []).append(True)

        def end(_name: str) -> None:
            nonlocal node, record, passed_over
            if passed_over:
                passed_over -= 1
                return
            if node.is_text:
                parser.CharacterDataHandler = None
                text = "".join(texts).strip()
                texts.clear()
                if text:
                    put(node.key, text)
                    if node.also:
                        put(node.also, text)
            elif node.is_record:
                ended, record = record, outer.pop()
                if node.take is None:
                    put(node.key, ended)
                else:
                    node.take(ended)
            if ancestors:
                node = ancestors.pop()

        def put(key: str, value: object) -> None:
            if key in record:
                record[key].append(value)
            else:
                record[key] = [value]

        parser.StartElementHandler = start
        parser.EndElementHandler = end

    def _limit(self) -> None:
        """Refuses what grows without end inside the block read last."""
        if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN:
            raise invalid(f"A tag or comment is longer than {MAX_TOKEN} bytes", self._parser)
