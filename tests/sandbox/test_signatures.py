"""Requests to the data proxy are verified, in every way that they can be signed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from sandbox import Sandbox
from tests.sandbox.conftest import ABCD, XML, Receiver

BODY = b'{"raw": true, "pad": "' + b"y" * 70_000 + b'"}'
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
MISMATCH = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SignatureDoesNotMatch</Code></Error>'
)


def put(
    sandbox: Sandbox, mode: str, body: bytes = BODY, headers: dict[str, str] | None = None
) -> requests.Response:
    """A PUT of ``body`` as it is, signed with that ``x-amz-content-sha256``."""
    request, _ = signed(sandbox, mode, headers or {})
    return requests.put(
        str(request.url), data=body, headers=dict(request.headers.items()), timeout=10
    )


def signed(sandbox: Sandbox, mode: str, headers: dict[str, str]) -> tuple[AWSRequest, S3SigV4Auth]:
    owner = sandbox.owner.credentials
    auth = S3SigV4Auth(Keys(owner.access_key, owner.secret_key), "s3", "us-east-1")
    request = AWSRequest("PUT", f"{sandbox.s3_url}/garden/raw.json", headers=headers, data=b"")
    auth.payload = lambda request: mode  # type: ignore[method-assign]  # noqa: ARG005
    auth.add_auth(request)
    return request, auth


def chunked(sandbox: Sandbox, mode: str, *, spoil: bool = False) -> tuple[bytes, dict[str, str]]:
    """An aws-chunked body of two chunks and an end, and the headers that go with it."""
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(BODY)),
    }
    if mode.endswith("TRAILER"):
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    request, auth = signed(sandbox, mode, headers)
    previous = request.headers["Authorization"].rpartition("Signature=")[2]
    pieces = []
    for chunk in (BODY[:65536], BODY[65536:], b""):
        extension = ""
        if mode.startswith("STREAMING-AWS4"):
            previous = chunk_signature(auth, request, previous, chunk)
            extension = f";chunk-signature={'0' * 64 if spoil else previous}"
        pieces.append(f"{len(chunk):x}{extension}\r\n".encode() + chunk + b"\r\n" * bool(chunk))
    if mode.endswith("TRAILER"):
        pieces.append(trailer(auth, request, previous, mode))
    pieces.append(b"\r\n")
    return b"".join(pieces), dict(request.headers.items())


def chunk_signature(auth: S3SigV4Auth, request: AWSRequest, previous: str, chunk: bytes) -> str:
    empty, digest = sha256(b"").hexdigest(), sha256(chunk).hexdigest()
    stamp, scope = request.context["timestamp"], auth.credential_scope(request)
    lines = ["AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, empty, digest]
    return str(auth.signature("\n".join(lines), request))


def trailer(auth: S3SigV4Auth, request: AWSRequest, previous: str, mode: str) -> bytes:
    text = f"x-amz-checksum-crc32:{CRC32}\n"
    if not mode.startswith("STREAMING-AWS4"):
        return text.replace("\n", "\r\n").encode()
    stamp, scope = request.context["timestamp"], auth.credential_scope(request)
    digest = sha256(text.encode()).hexdigest()
    lines = ["AWS4-HMAC-SHA256-TRAILER", stamp, scope, previous, digest]
    signature = auth.signature("\n".join(lines), request)
    return f"{text[:-1]}\r\nx-amz-trailer-signature:{signature}\r\n".encode()


@pytest.fixture(autouse=True)
def garden(sandbox: Sandbox) -> str:
    """The project that all requests go to."""
    return sandbox.create_project("garden")


def stored(sandbox: Sandbox, answer: requests.Response) -> bytes:
    return sandbox.content(answer.headers["etag"].strip('"-'))


@pytest.mark.parametrize("mode", [sha256(BODY).hexdigest(), "UNSIGNED-PAYLOAD"])
def test_signed_and_unsigned_payloads_are_taken(sandbox: Sandbox, mode: str) -> None:
    answer = put(sandbox, mode)
    assert answer.status_code == 200
    assert stored(sandbox, answer) == BODY


@pytest.mark.parametrize(
    "mode",
    [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ],
)
def test_streaming_signatures_are_taken(sandbox: Sandbox, mode: str) -> None:
    body, headers = chunked(sandbox, mode)
    url = f"{sandbox.s3_url}/garden/raw.json"
    answer = requests.put(url, data=body, headers=headers, timeout=10)
    assert answer.status_code == 200
    assert stored(sandbox, answer) == BODY


def test_a_wrong_chunk_signature_is_refused(sandbox: Sandbox, garden: str) -> None:
    body, headers = chunked(sandbox, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", spoil=True)
    url = f"{sandbox.s3_url}/garden/raw.json"
    assert requests.put(url, data=body, headers=headers, timeout=10).status_code == 500
    assert sandbox.objects_in(garden) == []


def test_a_payload_other_than_the_signed_one_is_refused(sandbox: Sandbox, garden: str) -> None:
    answer = put(sandbox, "0" * 64)
    assert answer.status_code == 500
    assert b"<Message>Internal data transformer processing error</Message>" in answer.content
    assert sandbox.objects_in(garden) == []


def test_a_body_cut_short_is_refused(sandbox: Sandbox, garden: str) -> None:
    request, _ = signed(sandbox, "UNSIGNED-PAYLOAD", {})
    connection = HTTPConnection(urlsplit(sandbox.s3_url).netloc)
    connection.putrequest("PUT", "/garden/raw.json")
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.putheader("content-length", str(len(BODY)))
    connection.endheaders(BODY[:1000])
    assert connection.sock is not None
    connection.sock.shutdown(1)
    assert connection.getresponse().status == 500
    connection.close()
    assert sandbox.objects_in(garden) == []


def test_a_body_without_a_length_is_refused(sandbox: Sandbox) -> None:
    request, _ = signed(sandbox, "UNSIGNED-PAYLOAD", {})
    headers = dict(request.headers.items())
    answer = requests.put(str(request.url), data=iter([BODY]), headers=headers, timeout=10)
    assert answer.status_code == 411
    assert b"<Code>MissingContentLength</Code>" in answer.content


def test_checksums_are_verified_and_repeated(sandbox: Sandbox) -> None:
    right = put(sandbox, "UNSIGNED-PAYLOAD", headers={"x-amz-checksum-crc32": CRC32})
    assert right.headers["x-amz-checksum-crc32"] == CRC32
    assert right.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    wrong = put(sandbox, "UNSIGNED-PAYLOAD", headers={"x-amz-checksum-crc32": "AAAAAA=="})
    assert wrong.status_code == 400
    assert b"<Code>BadDigest</Code><Message>Checksum validation failed<" in wrong.content
    sha1 = put(sandbox, "UNSIGNED-PAYLOAD", headers={"x-amz-checksum-sha1": "x"})
    assert sha1.status_code == 501


def test_wrong_keys_are_refused(sandbox: Sandbox) -> None:
    owner = sandbox.owner.credentials
    url = f"{sandbox.s3_url}/garden/raw.json"
    for access_key, secret, expected in (
        (owner.access_key, "wrong", MISMATCH),
        ("UNKNOWN", "wrong", b"<Message>Invalid access key</Message>"),
    ):
        request = AWSRequest("GET", url)
        S3SigV4Auth(Keys(access_key, secret), "s3", "RegionOne").add_auth(request)
        answer = requests.get(url, headers=dict(request.headers.items()), timeout=10)
        assert answer.status_code == 403
        assert expected in answer.content


def test_without_a_signature_only_public_objects_are_read(sandbox: Sandbox, garden: str) -> None:
    sandbox.upload("open.xml", XML, parent=garden)
    sandbox.upload("closed.xml", XML, parent=garden, data_class=2)
    assert requests.get(f"{sandbox.s3_url}/garden/open.xml", timeout=10).content == XML
    closed = requests.get(f"{sandbox.s3_url}/garden/closed.xml", timeout=10)
    assert closed.status_code == 403
    assert b"<Message>Missing access key</Message>" in closed.content
    with pytest.raises(requests.ConnectionError):
        requests.put(f"{sandbox.s3_url}/garden/new.xml", data=XML, timeout=10)


@pytest.fixture
def presigned(sandbox: Sandbox, receiver: Receiver, garden: str) -> str:
    """The download URL of a hook."""
    sandbox.register_hook(url=receiver.url, projects=[garden])
    name = "my plants (2024)'s.xml"
    sandbox.upload(name, XML, parent=garden, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    return str(receiver.last.payload["download"])


def test_a_presigned_url_is_good_for_get_alone(presigned: str) -> None:
    path = urlsplit(presigned).path
    assert path == "/garden/my%20plants%20(2024)'s.xml"
    assert "RegionOne%2Fs3%2Faws4_request" in presigned
    assert "X-Amz-Expires=604800" in presigned
    assert requests.get(presigned, timeout=10).content == XML
    assert requests.head(presigned, timeout=10).status_code == 403
    assert requests.put(presigned, data=b"x", timeout=10).content == MISMATCH


def test_a_presigned_url_may_be_encoded_otherwise_but_not_changed(presigned: str) -> None:
    encoded = presigned.replace("(2024)", "%282024%29").replace("plants", "pl%61nts")
    assert requests.get(encoded, timeout=10).content == XML
    assert requests.get(f"{presigned}&x=1", timeout=10).content == MISMATCH
    expired = requests.get(presigned.replace("=604800", "=0"), timeout=10)
    assert expired.status_code == 403
    assert b"<Message>Request has expired</Message>" in expired.content
    longer = requests.get(presigned.replace("-Signature=", "-Signature=0"), timeout=10)
    assert longer.status_code == 400
    assert b"<Message>missing presigned url v4 fields</Message>" in longer.content


def test_marks_in_a_name_stand_raw_in_its_url_and_may_be_encoded(
    sandbox: Sandbox, receiver: Receiver, garden: str
) -> None:
    sandbox.register_hook(url=receiver.url, projects=[garden])
    sandbox.upload("Herbarium (Berlin) it's!*.xml", XML, parent=garden, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    raw = str(receiver.last.payload["download"])
    encoded = raw.replace("(", "%28").replace(")", "%29").replace("'", "%27")
    encoded = encoded.replace("!", "%21").replace("*", "%2A")
    assert urlsplit(raw).path == "/garden/Herbarium%20(Berlin)%20it's!*.xml"
    for url in (raw, encoded):
        connection = HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", url.partition(urlsplit(url).netloc)[2])
        assert connection.getresponse().read() == XML
        connection.close()


def test_a_virtual_host_is_a_bucket(sandbox: Sandbox, receiver: Receiver, garden: str) -> None:
    sandbox.aruna.virtual_host = "s3.sandbox.test"
    sandbox.register_hook(url=receiver.url, projects=[garden])
    sandbox.upload("plants.xml", XML, parent=garden, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    url = urlsplit(receiver.last.payload["download"])
    assert url.hostname == "garden.s3.sandbox.test"
    assert url.path == "/plants.xml"
    there = f"http://127.0.0.1:{url.port}{url.path}?{url.query}"
    assert requests.get(there, headers={"host": url.netloc}, timeout=10).content == XML
    assert requests.get(there, timeout=10).status_code != 200


def test_boto3_s_defaults_work(sandbox: Sandbox, s3_client: Callable[..., Any]) -> None:
    owner = sandbox.owner.credentials
    client = s3_client(owner.access_key, owner.secret_key)
    answer = client.put_object(Bucket="garden", Key="b.json", Body=BODY)
    assert answer["ChecksumCRC32"] == CRC32
    got = client.get_object(Bucket="garden", Key="b.json")
    assert got["Body"].read() == BODY
    assert got["ChecksumCRC32"] == CRC32
