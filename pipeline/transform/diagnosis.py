"""Why GFBio makes nothing of a document: the first thing in it that is not XML or not ABCD 2.06.

Of ABCD only what its schema requires of the elements that every document has is looked at. Real
documents take liberties with the rest, and are transformed all the same. In the service this runs
in the child process, as all parsing of whole documents does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.errors import Code, JobFailed
from pipeline.transform.bioschemas.archive import abcd_documents
from pipeline.transform.bioschemas.dataset import transform
from pipeline.transform.bioschemas.profile import lacks
from pipeline.transform.bioschemas.reader import blocks
from pipeline.transform.recognise import Kind, recognise
from pipeline.transform.xml_parser import NAMESPACES, XMLParser, abcd_namespace


@dataclass(frozen=True)
class Part:
    """An element of ABCD 2.06 and the elements that it must have, in their order."""

    name: str
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part | None:
        """The required element of that name."""
        return next((part for part in self.parts if part.name == name), None)


_NAME = Part("Name")
_UNIT = Part("Unit", (Part("SourceInstitutionID"), Part("SourceID"), Part("UnitID")))
_METADATA = Part(
    "Metadata",
    (
        Part("Description", (Part("Representation", (Part("Title"),)),)),
        Part("RevisionData", (Part("DateModified"),)),
    ),
)
_DATA_SET = Part(
    "DataSet",
    (
        Part("TechnicalContacts", (Part("TechnicalContact", (_NAME,)),)),
        Part("ContentContacts", (Part("ContentContact", (_NAME,)),)),
        _METADATA,
        Part("Units", (_UNIT,)),
    ),
)
_ROOT = Part("DataSets", (_DATA_SET,))
#: Elements that ABCD 2.06 has in one place alone, and the element they belong in.
_HOME = {
    "DataSet": "DataSets",
    "TechnicalContacts": "DataSet",
    "TechnicalContact": "TechnicalContacts",
    "ContentContacts": "DataSet",
    "ContentContact": "ContentContacts",
    "Metadata": "DataSet",
    "Units": "DataSet",
    "Unit": "Units",
}


def diagnose(source: Iterator[bytes]) -> list[str]:
    """What a good document lacks of what Bioschemas requires, and where ABCD has it, a line each.

    Raises ``invalid_input`` for what is not well-formed or not ABCD 2.06, with the first such
    place; of an archive it names the member.
    """
    kind, content = recognise(source)
    if kind is Kind.XML:
        return _lacking(content)
    found: list[str] = []
    for name, document in abcd_documents(content):
        try:
            found += [f"{name}: {lack}" for lack in _lacking(document)]
        except JobFailed as failure:
            raise JobFailed(Code.INVALID_INPUT, f"in {name}: {failure.message}") from failure
    return found


def checked(document: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; raises ``invalid_input`` if they are not well-formed, or not ABCD 2.06.

    The latter comes at the end: GFBio takes more than the schema allows, but no broken XML.
    """
    check = _Check()
    for block in blocks(document):
        check.parser.feed(block)
        yield block
    check.parser.close()
    if check.fault is not None:
        raise check.fault


def _lacking(document: Iterable[bytes]) -> list[str]:
    wanting = [lack for lack in lacks(transform(checked(document))) if lack.required]
    return [f"{lack.member} ({', '.join(lack.paths)})" for lack in wanting]


@dataclass
class _Open:
    """An element of the schema's frame that is open: where it began, and what it has so far."""

    part: Part
    place: str
    seen: list[str] = field(default_factory=list)


class _Check:
    """Follows a document along the frame of ABCD 2.06, up to the first ``fault``."""

    def __init__(self) -> None:
        self.fault: JobFailed | None = None
        self.parser = XMLParser(innermost=self._innermost)
        self.parser.expat.namespace_prefixes = True
        self.parser.expat.StartElementHandler = self._root
        self.parser.expat.EndElementHandler = self._end
        self._open: list[tuple[str, int]] = []
        self._frame: list[_Open] = []

    def _innermost(self) -> tuple[str, int] | None:
        """The element that is open at the moment as the document writes it, and its line."""
        if not self._open:
            return None
        name, line = self._open[-1]
        _, local, prefix = _parts(name)
        return f"{prefix}:{local}" if prefix else local, line

    def _root(self, name: str, _attributes: dict[str, str]) -> None:
        namespace, local, _ = _parts(name)
        abcd_namespace(f"{namespace} {local}" if namespace else local, self.parser)
        if namespace != NAMESPACES[0]:
            what = f"not ABCD 2.06: the document is ABCD {namespace.rpartition('/')[2]}"
            to_do = "export it as ABCD 2.06, or set TRANSFORMER=embedded, which takes both"
            raise self.parser.invalid(what, to_do)
        self._note(name, _ROOT)
        self.parser.expat.StartElementHandler = self._start

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        # The frame is as long as the way down while nothing is open that it does not know.
        inside = len(self._frame) == len(self._open)
        namespace, local, _ = _parts(name)
        part = self._frame[-1].part.part(local) if inside and namespace == NAMESPACES[0] else None
        if part is not None:
            self._check_order(part)
        elif namespace == NAMESPACES[0] and local in _HOME:
            around = _parts(self._open[-1][0])[1]
            what = f"not ABCD 2.06: <{local}> stands in <{around}>"
            self._found(self.parser.invalid(what, f"it belongs in <{_HOME[local]}>"))
        self._note(name, part)

    def _note(self, name: str, part: Part | None) -> None:
        """An element begins; ``part`` is what the frame has for it."""
        self._open.append((name, self.parser.expat.CurrentLineNumber))
        if part is not None and self.fault is None:
            self._frame.append(_Open(part, self.parser.place))

    def _check_order(self, part: Part) -> None:
        outer = self._frame[-1]
        order = [one.name for one in outer.part.parts]
        behind = [name for name in outer.seen if order.index(name) > order.index(part.name)]
        if behind:
            what = f"not ABCD 2.06: <{part.name}> stands behind <{behind[-1]}>"
            self._found(self.parser.invalid(what, "it belongs before it"))
        outer.seen.append(part.name)

    def _end(self, _name: str) -> None:
        if len(self._frame) == len(self._open):
            ended = self._frame.pop()
            missing = [part.name for part in ended.part.parts if part.name not in ended.seen]
            if missing:
                what = f"not ABCD 2.06: <{ended.part.name}> has no <{missing[0]}>"
                self._found(self.parser.invalid(what, "add it", place=ended.place))
        self._open.pop()

    def _found(self, fault: JobFailed) -> None:
        """The first fault counts; what comes after it is only read for being well-formed."""
        self.fault = fault
        self._frame = []
        self.parser.expat.StartElementHandler = self._note_alone

    def _note_alone(self, name: str, _attributes: dict[str, str]) -> None:
        self._note(name, None)


def _parts(name: str) -> tuple[str, str, str]:
    """Namespace, name and prefix of an element as expat gives it, empty where there is none."""
    parts = name.split(" ")
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], "".join(parts[2:])
