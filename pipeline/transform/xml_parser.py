"""expat as ABCD is read with it: namespaces, no DOCTYPE, errors that say what, where and what next.

A message has the form ``what (line 1, column 2): what to do``; lines and columns count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn
from xml.parsers import expat

from defusedxml.common import DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden

from pipeline.errors import Code, JobFailed

NAMESPACES = ("http://www.tdwg.org/schemas/abcd/2.06", "http://www.tdwg.org/schemas/abcd/2.1")

_MISMATCH = expat.errors.XML_ERROR_TAG_MISMATCH
_UNDEFINED_ENTITY = expat.errors.XML_ERROR_UNDEFINED_ENTITY
_UNBOUND_PREFIX = expat.errors.XML_ERROR_UNBOUND_PREFIX
_SYNTAX = expat.errors.XML_ERROR_SYNTAX
_INVALID_TOKEN = expat.errors.XML_ERROR_INVALID_TOKEN
_WRONG_ENCODING = expat.errors.XML_ERROR_INCORRECT_ENCODING

_VERSION = re.compile(r"/schemas/abcd/([0-9.]{1,10})/?$", re.IGNORECASE)
_ENTITY = re.compile(rb"&[A-Za-z0-9_.:-]{1,60};")
_PREFIXED = re.compile(rb"<?([A-Za-z0-9_.-]{1,60}:[A-Za-z0-9_.-]{1,60})")
_NAMESPACE_LIMIT = 100  # characters
_NAME_LIMIT = 80  # characters


class XMLParser:
    """expat, fed block by block; its handlers are set on ``expat``.

    ``fed`` is the number of bytes it has had. ``innermost`` gives the name of the element that is
    open at the moment and the line it began in, if anybody keeps track.
    """

    def __init__(self, innermost: Callable[[], tuple[str, int] | None] = lambda: None) -> None:
        self.expat = _new_expat()
        self.expat.XmlDeclHandler = self._declared
        self.fed = 0
        self._encoding = "UTF-8"
        self._innermost = innermost

    def feed(self, block: bytes) -> None:
        """Parse on; raises ``invalid_input``."""
        self._parse(block, last=False)
        self.fed += len(block)

    def close(self) -> None:
        """The document has ended; raises ``invalid_input`` if it is incomplete."""
        self._parse(b"", last=True)

    def invalid(self, what: str, to_do: str = "", *, place: str = "") -> JobFailed:
        """The error for what stands where the parser is, or at another ``place``."""
        message = f"{what} ({place or self.place})"
        return JobFailed(Code.INVALID_INPUT, f"{message}: {to_do}" if to_do else message)

    @property
    def place(self) -> str:
        """Where the parser is."""
        line, column = self.expat.CurrentLineNumber, self.expat.CurrentColumnNumber + 1
        return f"line {line}, column {column}"

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self._encoding = encoding or self._encoding

    def _parse(self, block: bytes, *, last: bool) -> None:
        try:
            self.expat.Parse(block, last)
        except (DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden) as exc:
            what = "DOCTYPE and entity declarations are not accepted"
            raise self.invalid(what, "remove them") from exc
        except expat.ExpatError as exc:
            reason = expat.ErrorString(exc.code)
            raise (self._cut_off() if last else self._malformed(reason, block)) from exc
        except (LookupError, ValueError) as exc:
            if _raised_in_handler(exc):
                raise
            what = "the document's encoding is not known, or not the one it declares"
            raise self.invalid(what, "save it as UTF-8") from exc

    def _cut_off(self) -> JobFailed:
        if not self.fed:
            return JobFailed(Code.INVALID_INPUT, "the document is empty: upload it again")
        innermost = self._innermost()
        where = f"in <{innermost[0]}>" if innermost else "too early"
        return self.invalid(f"cut off: the document ends {where}", "upload it again")

    def _malformed(self, reason: str, block: bytes) -> JobFailed:
        """expat's ``reason``, made plainer by the bytes it is about if they are in ``block``."""
        to_do = ""
        at = self.expat.ErrorByteIndex - self.fed
        seen = block[at : at + 128] if at >= 0 else b""
        if reason == _MISMATCH and (innermost := self._innermost()):
            name, line = innermost
            reason = f"{reason}, </{name}> expected"
            if line != self.expat.CurrentLineNumber:
                to_do = f"<{name}> begins in line {line}"
        elif reason == _UNDEFINED_ENTITY and (entity := _ENTITY.match(seen)):
            reason, to_do = f"{reason} {entity[0].decode()}", "write the character itself"
        elif reason == _UNBOUND_PREFIX and (prefixed := _PREFIXED.match(seen)):
            reason, to_do = f"{reason} of {prefixed[1].decode()}", "declare its namespace"
        elif reason == _INVALID_TOKEN and at >= 0:
            reason, to_do = self._token(block[at - 1 : at] if at else b"", seen[:1])
        elif reason == _WRONG_ENCODING:
            to_do = "save it as UTF-8"
        elif reason == _SYNTAX:
            reason = "text before the root element"
        return self.invalid(f"not well-formed: {reason}", to_do)

    def _token(self, before: bytes, here: bytes) -> tuple[str, str]:
        """What an invalid token is, and what to do about it."""
        if before == b"&" or here == b"&":
            return "a bare &", "write &amp;"
        if before == b"<" or here == b"<":
            return "a bare <", "write &lt;"
        if here >= b"\x80":
            return f"bytes that are not {self._encoding}", "save it as UTF-8"
        if here and here < b" ":
            return f"the control character 0x{here.hex()}", "remove it"
        return "an invalid token", ""


def abcd_namespace(name: str, parser: XMLParser) -> str:
    """The namespace of a root element that makes a document ABCD; else ``invalid_input``."""
    namespace, _, local = name.rpartition(" ")
    if local == "DataSets" and namespace in NAMESPACES:
        return namespace
    if local != "DataSets":
        raise parser.invalid(f"not ABCD: the root element is <{local[:_NAME_LIMIT]}>")
    version = _VERSION.search(namespace)
    if version:
        what = f"not ABCD 2.06 or 2.1: the document is ABCD {version[1]}"
        raise parser.invalid(what, "export it as ABCD 2.06")
    of = f"is {namespace[:_NAMESPACE_LIMIT]}" if namespace else "is missing"
    what = f"not ABCD 2.06 or 2.1: the namespace of <DataSets> {of}"
    raise parser.invalid(what, f"it must be {NAMESPACES[0]}")


def _new_expat() -> expat.XMLParserType:
    """A parser with namespaces that refuses DOCTYPE and entities, by defusedxml's rules."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_entity
    parser.UnparsedEntityDeclHandler = _refuse_unparsed_entity
    parser.ExternalEntityRefHandler = _refuse_external_reference
    return parser


def _refuse_doctype(name: str, system: str | None, public: str | None, _internal: bool) -> NoReturn:
    """No document type declaration, so no entities of one's own."""
    raise DTDForbidden(name, system, public)


def _refuse_entity(
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


def _refuse_unparsed_entity(
    name: str, base: str | None, system: str | None, public: str | None, notation: str | None
) -> NoReturn:
    """No unparsed entity."""
    raise EntitiesForbidden(name, None, base, system, public, notation)


def _refuse_external_reference(
    context: str, base: str | None, system: str | None, public: str | None
) -> NoReturn:
    """Nothing from outside."""
    raise ExternalReferenceForbidden(context, base, system, public)


def _raised_in_handler(exc: Exception) -> bool:
    """Whether ``exc`` is an error of our own, not one of finding or using the encoding."""
    trace = exc.__traceback__
    return not isinstance(exc, UnicodeError) and trace is not None and trace.tb_next is not None
