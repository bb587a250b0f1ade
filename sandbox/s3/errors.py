"""S3 errors and XML as Aruna's data proxy writes them."""

from __future__ import annotations

from xml.sax.saxutils import escape

from sandbox.errors import Answered

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
#: What the data proxy adds to every answer with an ETag.
EXPOSED = {"access-control-expose-headers": "ETag"}

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def s3_error(status: int, code: str, message: str | None = None) -> Answered:
    """An S3 error as the data proxy writes it."""
    said = f"<Message>{escape(message, {chr(34): '&quot;'})}</Message>" if message else ""
    body = xml(f"<Error><Code>{code}</Code>{said}</Error>")
    return Answered(status, body, {"content-type": "application/xml"})


def xml(content: str) -> bytes:
    """An XML document as the data proxy writes it."""
    return f"{_DECLARATION}{content}".encode()
