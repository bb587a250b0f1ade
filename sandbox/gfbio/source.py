"""What GFBio fetches: the input twice, the second time for its headers alone."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

_BLOCK = 256 * 1024
_LIMIT = 100_000_000
#: What a shell takes as it is: GFBio hands the file's name to one without quotes.
_HARMLESS = re.compile(r"[A-Za-z0-9_%+,=@:^-]+")


class InputRefused(Exception):
    """GFBio answers 404 with this message."""


@dataclass(frozen=True)
class Input:
    """An input that passed GFBio's checks; ``name`` is its URL's last segment up to a dot."""

    name: str
    content: bytes

    @property
    def is_shell_safe(self) -> bool:
        """Whether the transformation's command line comes out as meant."""
        return _HARMLESS.fullmatch(self.name) is not None


def fetch(url: str) -> Input:
    """GET the URL for its content, and again for its headers, cut off early.

    Raises ``InputRefused``. A body that is cut off counts as all there was (as in PHP).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputRefused("Invalid URL")
    content, kind = _content(url), _content_type(url)
    name = parts.path.rpartition("/")[2].partition(".")[0]
    return checked(name, content, kind)


def checked(name: str, content: bytes, kind: str) -> Input:
    """GFBio's checks of an input; raises ``InputRefused``."""
    if not content:
        raise InputRefused("File not found")
    if len(content) > _LIMIT:
        raise InputRefused("File larger than 100MB")
    if not (content.startswith(b"<?xml") or "/xml" in kind or "/zip" in kind):
        raise InputRefused("File format is not XML")
    return Input(name, content)


def _content(url: str) -> bytes:
    with contextlib.suppress(OSError, http.client.HTTPException), _get(url) as answer:
        blocks: list[bytes] = []
        if answer.status == http.HTTPStatus.OK:
            with contextlib.suppress(OSError, http.client.HTTPException):
                while block := answer.read(_BLOCK):
                    blocks.append(block)
        return b"".join(blocks)
    return b""


def _content_type(url: str) -> str:
    with contextlib.suppress(OSError, http.client.HTTPException), _get(url) as answer:
        return answer.getheader("content-type") or ""
    return ""


@contextlib.contextmanager
def _get(url: str) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url.replace(" ", "%20"))
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port)
    with contextlib.closing(connection):
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest("GET", target, skip_accept_encoding=True)
        connection.putheader("connection", "close")
        connection.endheaders()
        yield connection.getresponse()
