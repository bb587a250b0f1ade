"""Credentials at rest: one JSON text, encrypted with Fernet if the journal has keys."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pipeline.aruna.hook import Credentials


class Unreadable(Exception):
    """The credentials cannot be read with the keys at hand; the message says why."""


class Seal:
    """Encrypts with the first of ``keys`` and reads with any; without keys the text stays plain.

    Raises ``ValueError`` for a key that is not 32 bytes in URL-safe base64.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def seal(self, credentials: Credentials) -> bytes:
        """The bytes to store."""
        plain = json.dumps(vars(credentials), separators=(",", ":")).encode()
        return plain if self._fernet is None else self._fernet.encrypt(plain)

    def unseal(self, stored: bytes) -> Credentials:
        """The credentials in ``stored``, whichever way they were stored; raises ``Unreadable``."""
        return Credentials(**json.loads(self._plain(stored)))

    def _plain(self, stored: bytes) -> bytes:
        if stored.startswith(b"{"):
            return stored
        if self._fernet is None:
            raise Unreadable("the credentials are encrypted and JOURNAL_KEY is not set")
        try:
            return self._fernet.decrypt(stored)
        except InvalidToken:
            raise Unreadable("no key in JOURNAL_KEY opens the credentials") from None
