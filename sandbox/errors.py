"""How the sandbox says no, with the words of Aruna 2.0.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc


class Refused(Exception):
    """A call of Aruna's API is refused with a gRPC status code and Aruna's message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


@dataclass
class Answered(Exception):
    """An HTTP request is answered with this instead of what would have been."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Dropped(Exception):
    """The connection is closed without (the rest of) an answer."""


def internal(message: str) -> Refused:
    """Aruna's code for every error of its data."""
    return Refused(grpc.StatusCode.INTERNAL, message)


def invalid(message: str) -> Refused:
    """An argument that Aruna cannot read."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def unauthenticated(message: str) -> Refused:
    """No token, no valid token, no right, or no such thing: Aruna does not tell them apart."""
    return Refused(grpc.StatusCode.UNAUTHENTICATED, message)


def forbidden(reason: str = "Invalid permissions", *, prefix: str = "Unauthorized :") -> Refused:
    """The wrapped message of Aruna's permission check."""
    return unauthenticated(
        f'{prefix} status: Unauthenticated, message: "{reason}", '
        "details: [], metadata: MetadataMap { headers: {} }"
    )
