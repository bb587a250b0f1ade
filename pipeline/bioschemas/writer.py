"""Writes one JSON object member by member, a list item by item, without ever holding it whole."""

from __future__ import annotations

from collections.abc import Iterable

OUTPUT = 64 * 1024  # characters gathered before they are handed on


class Output:
    """The text written so far and not handed on yet."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def write(self, piece: str) -> None:
        """Adds ``piece``."""
        self._pieces.append(piece)
        self._length += len(piece)

    @property
    def full(self) -> bool:
        """Whether there is enough to be handed on."""
        return self._length >= OUTPUT

    def take(self) -> bytes:
        """All of it, as UTF-8."""
        taken = "".join(self._pieces).encode()
        self._pieces.clear()
        self._length = 0
        return taken


class Member:
    """A member of a JSON object that has one written already: a bare value, or a list.

    The first item waits until it is known whether there is a second.
    """

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._write = output.write
        self._count = 0
        self._first = ""

    def add(self, item: str) -> None:
        """Takes one more item, as JSON."""
        self._count += 1
        if self._count == 1:
            self._first = item
        elif self._count == 2:
            self._write(f', "{self._name}": [{self._first}, {item}')
        else:
            self._write(f", {item}")

    def end(self) -> None:
        """There are no more items; without any there is no member."""
        if self._count == 1:
            self._write(f', "{self._name}": {self._first}')
        elif self._count:
            self._write("]")


def write_member(name: str, items: Iterable[str], output: Output) -> None:
    """Writes a member of which all items are known."""
    member = Member(name, output)
    for item in items:
        member.add(item)
    member.end()
