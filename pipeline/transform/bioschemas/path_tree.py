"""The tree of the paths to read, by element name: what the reader follows through a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.transform.bioschemas.rows import Element, Path
from pipeline.transform.bioschemas.rules import Record

PREFERRED = "[@preferred='true']"


class Node:
    """One step of the paths: what to do with an element that stands there.

    ``key``: the key in the record that its text, its presence or its own record is put under.
    """

    __slots__ = (
        "also_key",
        "children",
        "is_present",
        "is_record",
        "is_text",
        "key",
        "parent",
        "preferred",
        "take",
    )

    def __init__(self, parent: Node | None = None) -> None:
        self.parent = parent or self
        self.children: dict[str, Node] = {}
        self.preferred: Node | None = None
        self.key = ""
        self.also_key = ""
        self.is_text = False
        self.is_present = False
        self.is_record = False
        self.take: Callable[[Record], None] | None = None


def path_tree(paths: Iterable[Path], namespace: str) -> Node:
    """The tree of ``paths``, names as expat gives them with ``namespace`` and a space."""
    root = Node()
    add_paths(root, paths, namespace)
    return root


def add_paths(root: Node, paths: Iterable[Path], namespace: str) -> None:
    """Adds ``paths`` below ``root``."""
    for path in paths:
        if isinstance(path, str):
            for node in end_nodes(root, path, namespace):
                mark_text(node, path)
        else:
            for node in end_nodes(root, path.path, namespace):
                mark_element(node, path)
                add_paths(node, path.paths, namespace)


def mark_text(node: Node, path: str) -> None:
    """The text at ``node`` goes into the record; if it is a preferred one, under both keys."""
    node.is_text, node.is_present = True, False
    if PREFERRED in path:
        node.also_key = path
        path = path.replace(PREFERRED, "")
    node.key = path


def mark_element(node: Node, element: Element) -> None:
    """The element at ``node`` becomes a record of its own, or ``True``."""
    node.key = element.path
    node.take = element.take or node.take
    node.is_record = node.is_record or bool(element.paths)
    node.is_present = not node.is_record and not node.is_text


def end_nodes(node: Node, path: str, namespace: str) -> list[Node]:
    """The nodes at which ``path`` ends, one for each of its ``A|B``; grown where they miss."""
    nodes = [node]
    for step in path.split("/"):
        wanted, marked, _ = step.partition(PREFERRED)
        below = [
            parent.children.setdefault(f"{namespace} {name}", Node(parent))
            for parent in nodes
            for name in wanted.split("|")
        ]
        nodes = [preferred(child) for child in below] if marked else below
    return nodes


def preferred(node: Node) -> Node:
    """The node followed instead of ``node`` by an element with ``preferred="true"``."""
    if node.preferred is None:
        node.preferred = Node(node.parent)
    return node.preferred
