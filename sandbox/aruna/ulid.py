"""ULIDs, the ids of everything in Aruna."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26


def new_ulid() -> str:
    """A fresh id: 48 bits of milliseconds since the epoch and 80 random ones, in base 32."""
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def ulid_error(text: str) -> str | None:
    """What Aruna says of an id that it cannot read, or ``None`` if it can."""
    if len(text) != _LENGTH:
        return "invalid length"
    if not set(text) <= set(_ALPHABET):
        return "invalid character"
    return None
