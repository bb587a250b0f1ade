"""Writes one JSON object member by member, a list item by item, without ever holding it whole."""

from __future__ import annotations

PIECE = 64 * 1024  # characters gathered before they are handed on


class Output:
    """The text written so far and not handed on yet."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0

    def write(self, text: str) -> None:
        """Adds ``text``."""
        self._texts.append(text)
        self._length += len(text)

    @property
    def full(self) -> bool:
        """Whether there is enough to be handed on."""
        return self._length >= PIECE

    def take(self) -> bytes:
        """All of it, as UTF-8."""
        taken = "".join(self._texts).encode()
        self._texts.clear()
        self._length = 0
        return taken


class Member:
    """A member of a JSON object that has others before it: none, a bare value, or a list.

    The first item waits until it is known whether there is a second. The name ``outer/inner``
    makes it the only member of an object of its own.
    """

    def __init__(self, name: str, output: Output) -> None:
        self._output = output
        self._open = ", " + "{".join(f'"{part}": ' for part in name.split("/"))
        self._close = "}" * name.count("/")
        self._count = 0
        self._first = ""

    def add(self, item: str) -> None:
        """Takes one more item, as JSON."""
        self._count += 1
        if self._count == 1:
            self._first = item
        elif self._count == 2:
            self._output.write(f"{self._open}[{self._first}, {item}")
        else:
            self._output.write(f", {item}")

    def end(self) -> None:
        """There are no more items."""
        if self._count == 1:
            self._output.write(f"{self._open}{self._first}{self._close}")
        elif self._count:
            self._output.write(f"]{self._close}")
