"""Signature version 4, checked: in headers, in presigned queries, and chunk by chunk."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from sandbox.aruna.model import Credentials
from sandbox.s3.errors import s3_error

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_STAMP = "%Y%m%dT%H%M%SZ"
_EMPTY = sha256(b"").hexdigest()
_QUERY_FIELDS = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")

Find = Callable[[str], Credentials | None]


@dataclass(frozen=True)
class Signed:
    """Whose request it is, and with what its chunks have to be signed."""

    credentials: Credentials
    signature: str
    stamp: str
    scope: str
    region: str


def check(method: str, target: str, headers: Message, find: Find) -> Signed | None:
    """Who signed a request, ``None`` if nobody; raises an S3 error for a wrong signature.

    The clock of a signature in headers is not looked at (Aruna 2.0.4 accepts two days).
    """
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if "X-Amz-Signature" in query:
        return _check_query(method, target, headers, query, find)
    if "authorization" in headers:
        return _check_headers(method, target, headers, find)
    return None


def plain_chunks(
    blocks: Iterable[bytes], mode: str, signed: Signed, trailers: dict[str, str]
) -> Iterator[bytes]:
    """The content of an ``aws-chunked`` body; raises ``ValueError`` for a wrong chunk.

    ``mode`` is ``x-amz-content-sha256``. What follows the last chunk is put into ``trailers``.
    """
    reader = _Reader(blocks)
    previous = signed.signature
    signs = mode.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    size = -1
    while size:
        length, _, extension = reader.line().partition(";")
        size = int(length, 16)
        chunk = reader.exactly(size)
        if signs:
            expected = _chunk_signature(signed, previous, chunk)
            if extension != f"chunk-signature={expected}":
                raise ValueError("chunk signature")
            previous = expected
        if size:
            reader.line()
            yield chunk
    while line := reader.line():
        name, _, value = line.partition(":")
        trailers[name] = value.strip()
    if signs and "x-amz-trailer-signature" in trailers:
        _check_trailers(signed, previous, trailers)


class _Reader:
    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._left = b""

    def line(self) -> str:
        """Up to the next line end; empty at the end of the body."""
        while b"\r\n" not in self._left:
            block = next(self._blocks, b"")
            if not block:
                line, self._left = self._left, b""
                return line.decode("ascii")
            self._left += block
        line, _, self._left = self._left.partition(b"\r\n")
        return line.decode("ascii")

    def exactly(self, size: int) -> bytes:
        """So many bytes; raises ``ValueError`` if the body ends before."""
        while len(self._left) < size:
            block = next(self._blocks, b"")
            if not block:
                raise ValueError("body cut short")
            self._left += block
        found, self._left = self._left[:size], self._left[size:]
        return found


def _check_query(
    method: str, target: str, headers: Message, query: dict[str, str], find: Find
) -> Signed:
    if len(query["X-Amz-Signature"]) != 64 or any(name not in query for name in _QUERY_FIELDS):
        raise s3_error(400, "InvalidRequest", "missing presigned url v4 fields")
    stamp = query["X-Amz-Date"]
    credentials, region = _credential(query["X-Amz-Credential"], find)
    expiry = _moment(stamp) + timedelta(seconds=int(query["X-Amz-Expires"]))
    if expiry <= datetime.now(UTC):
        raise s3_error(403, "AccessDenied", "Request has expired")
    keys = Keys(credentials.access_key, credentials.secret_key)
    auth = S3SigV4QueryAuth(keys, "s3", region)
    names = query["X-Amz-SignedHeaders"].split(";")
    request = _request(method, _unsigned(target), headers, names, stamp)
    return _compared(auth, region, request, query["X-Amz-Signature"], credentials)


def _check_headers(method: str, target: str, headers: Message, find: Find) -> Signed:
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    stamp = headers.get("x-amz-date")
    if found is None or stamp is None:
        raise s3_error(400, "InvalidRequest", "invalid header: authorization")
    credentials, region = _credential(found["credential"], find)
    auth = S3SigV4Auth(Keys(credentials.access_key, credentials.secret_key), "s3", region)
    request = _request(method, target, headers, found["signed"].split(";"), stamp)
    if "x-amz-content-sha256" not in request.headers:
        request.headers["x-amz-content-sha256"] = _EMPTY
    return _compared(auth, region, request, found["signature"], credentials)


def _credential(text: str, find: Find) -> tuple[Credentials, str]:
    access_key, _, scope = text.partition("/")
    credentials = find(access_key)
    if credentials is None:
        raise s3_error(403, "AccessDenied", "Invalid access key")
    return credentials, scope.split("/")[1] if "/" in scope else ""


def _request(
    method: str, target: str, headers: Message, names: list[str], stamp: str
) -> AWSRequest:
    parts = urlsplit(target)
    # Aruna decodes the path before it signs it: «src%2Exml» and «src.xml» are the same.
    path = quote(unquote(parts.path), safe="/~-._")
    request = AWSRequest(method, f"http://{headers['host']}{path}?{parts.query}")
    for name in names:
        request.headers[name] = ",".join(headers.get_all(name) or [""])
    request.context["timestamp"] = stamp
    return request


def _compared(
    auth: SigV4Auth, region: str, request: AWSRequest, signature: str, credentials: Credentials
) -> Signed:
    text = auth.string_to_sign(request, auth.canonical_request(request))
    if not hmac.compare_digest(auth.signature(text, request), signature):
        raise s3_error(403, "SignatureDoesNotMatch")
    stamp = request.context["timestamp"]
    return Signed(credentials, signature, stamp, auth.credential_scope(request), region)


def _unsigned(target: str) -> str:
    path, _, query = target.partition("?")
    kept = [pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature=")]
    return f"{path}?{'&'.join(kept)}"


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def _chunk_signature(signed: Signed, previous: str, chunk: bytes) -> str:
    digest = sha256(chunk).hexdigest()
    kind = "AWS4-HMAC-SHA256-PAYLOAD"
    return _sign(signed, [kind, signed.stamp, signed.scope, previous, _EMPTY, digest])


def _check_trailers(signed: Signed, previous: str, trailers: dict[str, str]) -> None:
    signature = trailers["x-amz-trailer-signature"]
    text = "".join(
        f"{name}:{value}\n" for name, value in trailers.items() if name != "x-amz-trailer-signature"
    )
    kind, digest = "AWS4-HMAC-SHA256-TRAILER", sha256(text.encode()).hexdigest()
    if signature != _sign(signed, [kind, signed.stamp, signed.scope, previous, digest]):
        raise ValueError("trailer signature")


def _sign(signed: Signed, lines: list[str]) -> str:
    keys = Keys(signed.credentials.access_key, signed.credentials.secret_key)
    request = AWSRequest("PUT", "http://sandbox/")
    request.context["timestamp"] = signed.stamp
    auth = S3SigV4Auth(keys, "s3", signed.region)
    return str(auth.signature("\n".join(lines), request))
