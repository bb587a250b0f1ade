"""Checks a JSON document piece by piece, exactly, in memory that does not grow with it.

Each piece is boiled down to its skeleton by a few calls of C each: the inside of texts goes,
numbers and names become one byte each, white space goes. Then values that are complete are folded
into one byte, from the inside out, until what is left is the way down from the root to where the
document is now: some bytes for each level. A whole object leaves exactly one.

Faster than ijson 3.6.0 over yajl, which also takes vertical tabs, overlong UTF-8 and some trailing
garbage for JSON, refuses large numbers or crashes on them, and calls Python for each event.
"""

from __future__ import annotations

import codecs
import re
import time

#: Bytes looked at together: some 0.5 ms of work, each call of it far shorter.
PIECE = 64 * 1024
#: Levels of nesting.
MAX_DEPTH = 200
#: Bytes of a number.
MAX_NUMBER = 4096

#: In a skeleton: a text is ``"``; these stand for another value, members of an object, the root
#: object's beginning, and the whole of it. No such byte may occur in JSON.
_VALUE, _MEMBERS, _ROOT, _WHOLE = b"\x01", b"\x02", b"\x03", b"\x04"
#: What is folded into what, in this order and again and again. A member goes before an element,
#: so that the value of one is never taken for the other; elements make a value, so that a text
#: among them is never taken for a key.
_FOLDS = (
    (b'":"', _MEMBERS),
    (b'":\x01', _MEMBERS),
    (b"\x02,\x02,\x02,\x02", _MEMBERS),
    (b"\x02,\x02", _MEMBERS),
    (b'","', _VALUE),
    (b'\x01,"', _VALUE),
    (b'",\x01', _VALUE),
    (b"\x01,\x01,\x01,\x01,\x01,\x01", _VALUE),
    (b"\x01,\x01", _VALUE),
    (b"{\x02}", _VALUE),
    (b"{}", _VALUE),
    (b'["]', _VALUE),
    (b"[\x01]", _VALUE),
    (b"[]", _VALUE),
    (b"\x03\x02}", _WHOLE),
    (b"\x03}", _WHOLE),
)
#: The longest way down one level: an object's begin, its members, a comma, a key, a colon.
_LEVEL = 5

_WHITE = b" \t\n\r"
_CONTROLS = bytes(range(32))
_STRUCTURE = b'{}[]:,"' + _WHITE
_ATOM_BYTES = b"+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ATOMS = re.compile(
    rb"(?:(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|true|false|null) )*+"
)
_ATOMS_ALONE = bytes(32 if byte in _STRUCTURE else byte for byte in range(256))
_ATOMS_FOLDED = bytes(byte if byte in _STRUCTURE else 1 for byte in range(256))
_BAD_ESCAPE = re.compile(rb'\\(?!["/bfnrt]|u[0-9a-fA-F]{4})')
_OPEN_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ESCAPE_SIZE = 6


class NotJSON(Exception):
    """The document is not one JSON object; says why, as in ``it …``."""


class Document:
    """One JSON object on its way through."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._in_text = False
        self._open = b""
        self._left = b""

    @property
    def begun(self) -> bool:
        """Whether anything but white space has come."""
        return bool(self._left or self._open)

    def feed(self, block: bytes) -> None:
        """The next bytes; raises ``NotJSON`` for most of what is wrong with them."""
        for at in range(0, len(block), PIECE):
            self._feed(block[at : at + PIECE])
            # Lets other threads run between two pieces: they would wait 5 ms for the GIL, and an
            # acknowledgement takes it several times (median of a wake-up 9 ms, so 0.3 ms).
            time.sleep(0)

    def close(self) -> None:
        """The document has ended; raises ``NotJSON`` unless it is a whole object."""
        if self._left != _WHOLE or self._open or self._in_text:
            raise NotJSON("is not complete JSON")

    def _feed(self, piece: bytes) -> None:
        try:
            self._utf8.decode(piece)
        except UnicodeDecodeError as exc:
            raise NotJSON("is not UTF-8") from exc
        skeleton = self._without_texts(self._without_escapes(self._open + piece))
        skeleton = _without_atoms(self._without_open_atom(skeleton))
        skeleton = skeleton.translate(None, _WHITE)
        if skeleton and not self._left:
            if not skeleton.startswith(b"{"):
                raise NotJSON("is not a JSON object")
            skeleton = _ROOT + skeleton[1:]
        self._left = _folded(self._left + skeleton)

    def _without_escapes(self, text: bytes) -> bytes:
        """``text`` with no escaped quote; an escape that is cut off is left for the next piece."""
        self._open = b""
        if b"\\" not in text:
            return text
        text = text.replace(rb"\\", b"??")
        if cut_off := _OPEN_ESCAPE.search(text, max(0, len(text) - _ESCAPE_SIZE)):
            self._open = cut_off[0]
            text = text[: cut_off.start()]
        if _BAD_ESCAPE.search(text):
            raise NotJSON("is not valid JSON")
        return text.replace(rb"\"", b"??")

    def _without_texts(self, text: bytes) -> bytes:
        """What stands outside of texts, with a quote for each text that ends."""
        parts = text.split(b'"')
        outside = b'"'.join(parts[self._in_text :: 2])
        if self._in_text and len(parts) > 1:
            outside = b'"' + outside
        self._in_text ^= len(parts) % 2 == 0
        controls = len(text) - len(text.translate(None, _CONTROLS))
        if controls != len(outside) - len(outside.translate(None, b"\t\n\r")):
            raise NotJSON("is not valid JSON")
        return outside

    def _without_open_atom(self, outside: bytes) -> bytes:
        """``outside`` without a number or name at its end that may go on in the next piece."""
        if self._in_text or self._open:
            return outside
        closed = outside.rstrip(_ATOM_BYTES)
        self._open = outside[len(closed) :]
        if len(self._open) > MAX_NUMBER:
            raise NotJSON("holds a number that is too long")
        return closed


def _without_atoms(outside: bytes) -> bytes:
    """``outside`` with one byte for each number, ``true``, ``false`` and ``null``."""
    atoms = outside.translate(_ATOMS_ALONE).split()
    if not atoms:
        return outside
    if not _ATOMS.fullmatch(b" ".join([*atoms, b""])):
        raise NotJSON("is not valid JSON")
    outside = outside.translate(_ATOMS_FOLDED)
    while b"\x01\x01" in outside:
        for run in (16, 4, 2):
            outside = outside.replace(_VALUE * run, _VALUE)
    return outside


def _folded(skeleton: bytes) -> bytes:
    """``skeleton`` with all complete values folded; raises ``NotJSON`` if too much is left."""
    for _ in range(2 * MAX_DEPTH):
        length = len(skeleton)
        for complete, folded in _FOLDS:
            skeleton = skeleton.replace(complete, folded)
        if len(skeleton) == length:
            break
    if len(skeleton) > _LEVEL * MAX_DEPTH:
        raise NotJSON("is not valid JSON, or nested too deeply")
    return skeleton
