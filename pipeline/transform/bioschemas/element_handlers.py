"""Follows a document along a tree of paths, element by element: the innermost loop."""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from pipeline.transform.bioschemas.path_tree import Node
from pipeline.transform.bioschemas.rules import Record


class ElementHandlers:
    """The handlers of a parser inside the root element, and what they have found so far.

    The handler of texts is a bare ``list.append`` and set only inside elements whose text is
    wanted; what stands at no path is merely counted, for its end.
    """

    __slots__ = (
        "_append_text",
        "_node",
        "_outer",
        "_parser",
        "_record",
        "_skipped",
        "_texts",
        "record_start",
    )

    def __init__(self, parser: expat.XMLParserType, root: Node) -> None:
        self._parser = parser
        self._node = root
        self._record: Record = {}
        self._outer: list[Record] = []
        self._skipped = 0
        self._texts: list[str] = []
        self._append_text = self._texts.append
        self.record_start = parser.CurrentByteIndex

    @property
    def depth(self) -> int:
        """How many elements are open below the last one that stands at a path."""
        return self._skipped

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        node = None if self._skipped else self._node.children.get(name)
        if node is None:
            self._skipped += 1
            return
        if attributes and node.preferred and attributes.get("preferred") == "true":
            node = node.preferred
        self._node = node
        if node.is_text:
            self._parser.CharacterDataHandler = self._append_text
        elif node.is_record:
            self._outer.append(self._record)
            self._record = {}
        elif node.is_present:
            self._put(node.key, True)

    def end(self, _name: str) -> None:
        """An element ends."""
        if self._skipped:
            self._skipped -= 1
            return
        node = self._node
        self._node = node.parent
        if node.is_text:
            self._parser.CharacterDataHandler = None
            texts = self._texts
            text = (texts[0] if len(texts) == 1 else "".join(texts)).strip()
            texts.clear()
            if text:
                self._record.setdefault(node.key, []).append(text)
                if node.also_key:
                    self._put(node.also_key, text)
        elif node.is_record:
            self._end_record(node)

    def _end_record(self, node: Node) -> None:
        ended, self._record = self._record, self._outer.pop()
        if node.take is None:
            self._put(node.key, ended)
        else:
            node.take(ended)
            self.record_start = self._parser.CurrentByteIndex

    def _put(self, key: str, value: Any) -> None:
        self._record.setdefault(key, []).append(value)
