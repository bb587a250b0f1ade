"""How the text of a setting is read; what is wrong with it is a ``ValueError`` for a person."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

Choice = TypeVar("Choice", bound=StrEnum)

_WEBHOOK_TOKEN_LENGTH = 16
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def text(given: str) -> str:
    """As it is."""
    return given


def number(least: int, unit: str, *, most: int = 10**9) -> Callable[[str], int]:
    """A whole number of that unit, ``least`` or more and ``most`` or less."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", given) or int(given) < least:
            raise ValueError(f"must be a whole number of {unit}, {least} or more, not {given!r}")
        if int(given) > most:
            raise ValueError(f"must be {most} {unit} or less, not {given!r}")
        return int(given)

    return parse


def port(given: str) -> int:
    """A TCP port."""
    if not re.fullmatch(r"[0-9]{1,5}", given) or int(given) > 65535:
        raise ValueError(f"must be a TCP port, 0 to 65535, not {given!r}")
    return int(given)


def host(given: str) -> str:
    """A host name or an IP address to listen on; IPv6 with brackets or without."""
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    if ":" in bare:
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            raise ValueError(f"must be a host or an IP address, not {given!r}") from None
    elif not re.fullmatch(r"[A-Za-z0-9._-]+", bare):
        raise ValueError(f"must be a host or an IP address, not {given!r}")
    return bare


def flag(given: str) -> bool:
    """Yes or no."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if given.lower() not in values:
        raise ValueError(f"must be true or false, not {given!r}")
    return values[given.lower()]


def one_of(kind: type[Choice]) -> Callable[[str], Choice]:
    """A member of an enumeration, by its value."""

    def parse(given: str) -> Choice:
        if given.lower() not in list(kind):
            raise ValueError(f"must be {' or '.join(kind)}, not {given!r}")
        return kind(given.lower())

    return parse


def choice(*choices: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(given: str) -> str:
        if given.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {given!r}")
        return given.lower()

    return parse


def url(given: str) -> str:
    """An http or https URL without user, query and fragment, and without a slash at its end."""
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:  # brackets without an IPv6 address, or a port that is none
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be a URL such as https://host.example.org:443/path")
    if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"\s", given):
        raise ValueError("must be a URL without user name, password, query and white space")
    return given.rstrip("/")


def address(given: str) -> str:
    """A URL that is no more than scheme, host and port."""
    read = url(given)
    if urlsplit(read).path:
        raise ValueError("must be https://host[:port] without a path")
    return read


def hosts(given: str) -> tuple[str, ...]:
    """Hosts with commas between: ``s3.example.org``, ``*.example.org:8443``."""
    entries = _listed(given)
    for entry in entries:
        if not _HOST.fullmatch(entry):
            raise ValueError(f"must list hosts such as *.s3.example.org:443, not {entry!r}")
    return entries


def tokens(given: str) -> tuple[str, ...]:
    """One bearer token, or two."""
    read = _listed(given)
    if not 1 <= len(read) <= 2:
        raise ValueError("must be one token, or two with a comma between while it is changed")
    if any(len(token) < _WEBHOOK_TOKEN_LENGTH for token in read):
        raise ValueError(f"must have {_WEBHOOK_TOKEN_LENGTH} characters or more")
    return read


def token(given: str) -> str:
    """A token as an HTTP header can carry it."""
    if not re.fullmatch(r"[!-~]+", given):
        raise ValueError("must be one token: printable ASCII characters without white space")
    return given


def keys(given: str) -> tuple[str, ...]:
    """Fernet keys with commas between."""
    read = _listed(given)
    for key in read:
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                "must hold Fernet keys, 32 bytes in URL-safe base64, newest first"
            ) from None
    return read


def journal_url(given: str) -> str:
    """Where the journal is: an SQLite file or a PostgreSQL database."""
    try:
        parsed = make_url(given)
        urlsplit(given)  # stricter: what it does not take, nobody could mask
    except (ArgumentError, ValueError):
        parsed = make_url("none://")
    file = parsed.database or ":memory:"
    in_a_file = parsed.drivername == "sqlite" and not file.startswith((":memory:", "file:"))
    if not in_a_file and parsed.drivername != "postgresql":
        raise ValueError(
            "must be sqlite:///path or postgresql://user@host:port/database, special characters in "
            "a password as %XX"
        )
    return given


def _listed(given: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in given.split(",") if item.strip())
