"""Aruna's data proxy over S3: where an object lies, who asks, and what an answer means.

Foreign exceptions hold URLs: they end here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import RemoteDisconnected
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError

from pipeline.aruna.s3_client import BUCKET, new_client
from pipeline.attempt import Attempt
from pipeline.errors import OUTAGE, Code, JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import Connections

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Seconds between the tries of one request.
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
#: Seconds between two looks for an object that the data proxy does not know yet, and in all.
_KNOWN_PAUSES = (0.05, 1.0)
_KNOWN_PATIENCE = 60.0
#: There is no multipart upload (any more): it was completed, or another one has taken its place.
NO_UPLOAD = ("InvalidPart", "NoSuchUpload")
_AGAIN_STATUSES = (408, 429)
_AGAIN_CODES = ("InvalidObjectState", "RequestTimeout", *NO_UPLOAD)
_CREDENTIAL_REGION = 2
UNREACHABLE, DROPPED, NO_ANSWER = "Unreachable", "Dropped", "NoAnswer"
#: Connections kept open for one job.
_CONNECTIONS = 100


@dataclass(frozen=True)
class Place:
    """Where an object lies: ``key`` is decoded, ``endpoint`` has no bucket in its host."""

    endpoint: str
    bucket: str
    key: str
    region: str
    path_style: bool

    @property
    def bucket_url(self) -> str:
        """What stands before the slash and the key in the object's URL."""
        if self.path_style:
            return f"{self.endpoint}/{self.bucket}"
        scheme, _, host = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{host}"


@dataclass(frozen=True)
class Head:
    """What HEAD says of an object: Aruna's id and its length in bytes."""

    object_id: str
    length: int


class S3Error(Exception):
    """A request failed: the HTTP ``status`` (0: no answer) and S3's ``code`` for it.

    Without an answer the code is ``UNREACHABLE`` (nothing was sent), ``DROPPED`` (the connection
    was closed in place of an answer) or ``NO_ANSWER``.
    """

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.code = re.sub(r"[^A-Za-z.]", "", code)[:40]
        super().__init__(f"{status} {self.code}".strip())

    @property
    def again(self) -> bool:
        """Whether the same request may succeed later."""
        return (
            self.status == 0
            or self.status >= 500
            or self.status in _AGAIN_STATUSES
            or self.code in _AGAIN_CODES
        )

    @property
    def patience(self) -> float:
        """Seconds to wait for a storage that is away."""
        away = self.status >= 500 or self.status == 429 or self.code in (UNREACHABLE, DROPPED)
        return OUTAGE if away else 0.0

    @property
    def may_have_worked(self) -> bool:
        """Whether the request may have had its effect, in whole or in part."""
        return self.status >= 500 or (self.status == 0 and self.code != UNREACHABLE)


@dataclass(frozen=True)
class S3:
    """One job's client, and the connections it goes through."""

    client: S3Client
    connections: Connections

    def shut(self) -> None:
        """Wake whoever waits for an answer, from any thread; the client is of no use then."""
        self.connections.shut()


def place_of(download_url: str) -> Place:
    """The place that a presigned URL of a source names.

    Aruna 2.0.4: always virtual-hosted, the bucket being the project's name; the region stands in
    ``X-Amz-Credential``. Path style where the host is an address or has no bucket label. Raises
    ``JobFailed`` (``download_failed``, final).
    """
    try:
        url = urlsplit(download_url)
        host, port = url.hostname or "", url.port
    except ValueError as exc:
        raise _no_place() from exc
    path = unquote(url.path.removeprefix("/"))
    path_style = _is_path_style(host)
    if path_style:
        bucket, _, key = path.partition("/")
    else:
        (bucket, _, host), key = host.partition("."), path
    if not bucket or not key or not host:
        raise _no_place()
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port is None else f"{shown}:{port}"
    return Place(f"{url.scheme}://{netloc}", bucket, key, _region(url.query), path_style)


@contextmanager
def s3_client(place: Place, access_key: str, secret_key: str, addresses: Addresses) -> Iterator[S3]:
    """A client for the bucket of ``place``, for one job, that goes only where ``addresses``
    permits.

    Raises ``JobFailed`` (``download_failed``, final) for a region that is none.
    """
    connections = Connections(addresses, maxsize=_CONNECTIONS)
    try:
        client = new_client(
            connections,
            bucket_url=place.bucket_url,
            region=place.region,
            access_key=access_key,
            secret_key=secret_key,
        )
    except ValueError as exc:
        message = "the download URL names an S3 region that is not valid"
        raise JobFailed(Code.DOWNLOAD_FAILED, message) from exc
    try:
        yield S3(client, connections)
    finally:
        connections.clear()


def head(s3: S3, place: Place, attempt: Attempt) -> Head | None:
    """What stands at ``place``, ``None`` if nothing does. Raises ``JobFailed``."""
    try:
        with attempt.aborting(s3.shut):
            found = insist(s3.client.head_object, place, attempt)
    except S3Error as error:
        if error.status == 404:
            return None
        raise upload_failed(error) from error
    return Head(object_id_of(found["ETag"]), int(found["ContentLength"]))


def wait_until_known(s3: S3, place: Place, expected: Head, attempt: Attempt) -> None:
    """Ask until the data proxy knows the object at ``place``, which must be what is ``expected``.

    Aruna 2.0.4: it hears of it over a message queue, 20 to 200 ms after CreateObject on an idle
    proxy, 1 to 4 s on a busy one; an upload before that is refused. Raises ``JobFailed``
    (``upload_failed``, again) if it does not hear of it, or shows something else.
    """
    pause, longest = _KNOWN_PAUSES
    waited = 0.0
    while (found := head(s3, place, attempt)) is None:
        if waited >= _KNOWN_PATIENCE:
            raise JobFailed(
                Code.UPLOAD_FAILED, "Aruna's storage does not know the result's object", again=True
            )
        attempt.wait(pause)
        waited += pause
        pause = min(2 * pause, longest)
    if found != expected:
        raise JobFailed(
            Code.UPLOAD_FAILED, "something else was written where the result belongs", again=True
        )


def insist(
    operation: Callable[..., Any],
    place: Place,
    attempt: Attempt,
    *,
    before: Callable[[], None] | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """The answer to a request, which is repeated a few times if that may help.

    ``before`` is called before each try. Raises ``S3Error``.
    """
    for pause in PAUSES:
        try:
            return ask(operation, place, before, parameters)
        except S3Error as error:
            if not error.again:
                raise
        attempt.wait(pause)
    return ask(operation, place, before, parameters)


def object_id_of(etag: str) -> str:
    """Aruna 2.0.4: an ETag is the object's id, with a dash before it but for HEAD's."""
    return etag.strip('"').removeprefix("-")


def upload_failed(error: S3Error) -> JobFailed:
    """What a job says about a request that failed."""
    if error.status == 0:
        message = "Aruna's storage can't be reached"
    else:
        message = f"Aruna's storage answered {error}"
    return JobFailed(Code.UPLOAD_FAILED, message, again=error.again, patience=error.patience)


def ask(
    operation: Callable[..., Any],
    place: Place,
    before: Callable[[], None] | None,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The answer to a request that is sent once. Raises ``S3Error``."""
    if before is not None:
        before()
    try:
        answer = operation(Bucket=BUCKET, Key=place.key, **parameters)
    except ClientError as exc:
        status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
        raise S3Error(status, exc.response["Error"].get("Code", "")) from exc
    except ParamValidationError as exc:
        raise S3Error(400, "InvalidArgument") from exc
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as exc:
        raise S3Error(0, _silence(exc)) from exc
    return cast(dict[str, Any], answer)


def _silence(exc: Exception) -> str:
    """What it means that there is no answer."""
    if isinstance(exc, (NewConnectionError, ConnectTimeoutError)):
        return UNREACHABLE
    if isinstance(exc, ProtocolError) and isinstance(exc.args[-1], RemoteDisconnected):
        return DROPPED
    return NO_ANSWER


def _is_path_style(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _region(query: str) -> str:
    scope = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
    return scope[_CREDENTIAL_REGION] if len(scope) > _CREDENTIAL_REGION else "us-east-1"


def _no_place() -> JobFailed:
    return JobFailed(Code.DOWNLOAD_FAILED, "the download URL names no bucket and object")
