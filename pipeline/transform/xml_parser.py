"""expat as ABCD is read with it: namespaces, no DOCTYPE, errors with line and column."""

from __future__ import annotations

from typing import NoReturn
from xml.parsers import expat

from defusedxml.common import DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden

from pipeline.errors import Code, JobFailed

NAMESPACES = ("http://www.tdwg.org/schemas/abcd/2.06", "http://www.tdwg.org/schemas/abcd/2.1")


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
        if raised_in_handler(exc):
            raise
        raise invalid("The document has an encoding that cannot be read", parser) from exc


def raised_in_handler(exc: Exception) -> bool:
    """Whether ``exc`` is an error of our own, not one of finding or using the encoding."""
    trace = exc.__traceback__
    return not isinstance(exc, UnicodeError) and trace is not None and trace.tb_next is not None


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
