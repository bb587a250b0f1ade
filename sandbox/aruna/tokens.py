"""Aruna's keys: API tokens signed with EdDSA, and the secrets of hooks."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is and which of their tokens."""

    user_id: str
    token_id: str


class KeyPair:
    """An Ed25519 key pair with the serial number that GetPubkeys shows."""

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self._private = Ed25519PrivateKey.generate()
        public = self._private.public_key()
        encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_text = base64.b64encode(encoded).decode()

    def sign(self, user_id: str, token_id: str, expires: int) -> str:
        """A JWT as Aruna issues it; ``expires`` in seconds since the epoch."""
        header = {"typ": "JWT", "alg": "EdDSA", "kid": str(self.serial)}
        claims = {"iss": "aruna", "sub": user_id, "aud": "aruna", "exp": expires, "tid": token_id}
        text = f"{_segment(header)}.{_segment(claims)}"
        return f"{text}.{_base64url(self._private.sign(text.encode()))}"

    def read(self, token: str) -> Claims | None:
        """The claims of a token that this key signed and that has not expired."""
        text, _, signature = token.rpartition(".")
        try:
            self._private.public_key().verify(_bytes(signature), text.encode())
            claims = json.loads(_bytes(text.split(".")[1]))
        except (InvalidSignature, IndexError, ValueError):
            return None
        if claims["exp"] <= time.time():
            return None
        return Claims(user_id=claims["sub"], token_id=claims["tid"])


def hook_secret(public_text: str, object_id: str, hook_id: str) -> str:
    """Aruna 2.0.4: HMAC-SHA256 keyed with the text of the public key, in base64."""
    message = f"{object_id}{hook_id}".encode()
    return base64.b64encode(hmac.digest(public_text.encode(), message, sha256)).decode()


def secret_fault(secret: str) -> str | None:
    """What Aruna says of a secret that is no base64, or ``None``."""
    for offset, character in enumerate(secret.rstrip("=")):
        if not (character.isascii() and (character.isalnum() or character in "+/")):
            return f"Invalid symbol {ord(character)}, offset {offset}."
    try:
        base64.b64decode(secret)
    except binascii.Error:
        return "Invalid padding"
    return None


def _segment(content: Mapping[str, object]) -> str:
    return _base64url(json.dumps(content, separators=(",", ":")).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
