"""The S3 errors of Aruna's data proxy."""

from __future__ import annotations

from xml.sax.saxutils import escape

from sandbox.refusal import Answered


def s3_error(status: int, code: str, message: str | None = None) -> Answered:
    """An S3 error as the data proxy writes it."""
    said = f"<Message>{escape(message, {chr(34): '&quot;'})}</Message>" if message else ""
    return xml_answer(status, f"<Error><Code>{code}</Code>{said}</Error>")


def xml_answer(status: int, xml: str) -> Answered:
    """An answer with an XML body."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>{xml}'.encode()
    return Answered(status, body, {"content-type": "application/xml"})
