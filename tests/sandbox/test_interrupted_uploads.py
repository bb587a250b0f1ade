"""Uploads that end badly in the data proxy of Aruna 2.0.4: AVAILABLE, and the content is broken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from aruna.api.storage.models.v2 import models_pb2 as models
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ConnectionClosedError

from sandbox import Dropped, Sandbox
from tests.sandbox.conftest import Delivered
from tests.sandbox.test_s3 import PLACE, Clients, created, error, hooks_client

ONE, TWO = b"a" * 10, b"b" * 10
UNFINISHED = (500, "InternalError", "Unable to finish upload")


def drop(_: object) -> None:
    raise Dropped


def parts_of(client: Any, *bodies: bytes, upload: str | None = None) -> dict[str, Any]:
    """Parts sent in a multipart upload, a new one or one begun: what completes it."""
    upload = upload or client.create_multipart_upload(**PLACE)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**PLACE, UploadId=upload, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number, body in enumerate(bodies, start=1)
    ]
    return {**PLACE, "UploadId": upload, "MultipartUpload": {"Parts": parts}}


def send(
    sandbox: Sandbox, delivered: Delivered, method: str, query: str, body: bytes
) -> socket.socket:
    """A connection on which a signed request has been sent whole, and no answer been read."""
    url = urlsplit(f"{sandbox.s3_url}/garden/result.json{query}")
    request = AWSRequest(method, url.geturl(), data=body)
    S3SigV4Auth(Keys(*delivered.keys), "s3", "RegionOne").add_auth(request)
    headers = {**dict(request.headers.items()), "host": url.netloc, "content-length": len(body)}
    lines = [f"{method} {url.path}{query} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    connection = socket.create_connection((url.hostname, url.port), timeout=10)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


@contextmanager
def completing(
    sandbox: Sandbox, delivered: Delivered, asked: dict[str, Any]
) -> Iterator[HTTPResponse]:
    """The beginning of the answer to a CompleteMultipartUpload, whose client goes away then."""
    named = "".join(
        f"<Part><PartNumber>{part['PartNumber']}</PartNumber><ETag>{part['ETag']}</ETag></Part>"
        for part in asked["MultipartUpload"]["Parts"]
    )
    body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    query = f"?uploadId={asked['UploadId']}"
    with (
        send(sandbox, delivered, "POST", query, body) as connection,
        HTTPResponse(connection) as answer,
    ):
        answer.begin()
        assert answer.status == 200
        yield answer


def breaks_off_after(sandbox: Sandbox, expected: bytes) -> bool:
    """Whether a GET announces the whole and gives no more than this."""
    url = f"{sandbox.s3_url}/garden/result.json"
    with requests.get(url, stream=True, timeout=10) as answer:
        assert int(answer.headers["content-length"]) == len(ONE + TWO)
        given = answer.raw.read(len(expected), decode_content=False)
        with pytest.raises(urllib3.exceptions.HTTPError):
            answer.raw.read(1, decode_content=False)
    return bool(given == expected)


def is_broken(sandbox: Sandbox, client: Any, object_id: str) -> None:
    """AVAILABLE with its length, and a GET ends after the first part."""
    found = sandbox.object(object_id)
    assert (found.status, found.content_len) == (models.STATUS_AVAILABLE, len(ONE + TWO))
    assert list(found.hashes) == []
    assert client.head_object(**PLACE)["ContentLength"] == len(ONE + TWO)
    assert breaks_off_after(sandbox, ONE)


def test_a_completion_is_answered_at_once_and_its_content_is_broken_until_it_ends(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    sandbox.aruna.finalise_seconds = None
    client = hooks_client(s3_client, delivered)
    asked = parts_of(client, ONE, TWO)
    with completing(sandbox, delivered, asked) as answer:
        assert answer.read(39) == b'<?xml version="1.0" encoding="UTF-8"?> '
        is_broken(sandbox, client, object_id)
        assert error(client.complete_multipart_upload, **asked) == UNFINISHED
        sandbox.release()
        assert answer.read().endswith(b"</CompleteMultipartUploadResult>")
    assert client.get_object(**PLACE)["Body"].read() == ONE + TWO
    assert len(sandbox.object(object_id).hashes) == 2
    assert error(client.complete_multipart_upload, **asked) == (
        400,
        "InvalidPart",
        "Upload id must be specified",
    )


def client_gone(sandbox: Sandbox, delivered: Delivered, asked: dict[str, Any]) -> None:
    sandbox.aruna.finalise_seconds = None
    with completing(sandbox, delivered, asked):
        pass
    sandbox.release()


def dropped(sandbox: Sandbox, delivered: Delivered, asked: dict[str, Any]) -> None:
    sandbox.at("s3.reencode", drop)
    with completing(sandbox, delivered, asked) as answer, pytest.raises(IncompleteRead):
        answer.read()


def proxy_gone(sandbox: Sandbox, delivered: Delivered, asked: dict[str, Any]) -> None:
    sandbox.aruna.finalise_seconds = None
    with completing(sandbox, delivered, asked) as answer, pytest.raises(IncompleteRead):
        sandbox.aruna.proxy_down = True
        answer.read()
    sandbox.aruna.proxy_down = False
    sandbox.release()


@pytest.mark.parametrize("interrupt", [client_gone, dropped, proxy_gone])
def test_an_interrupted_completion_leaves_a_broken_object_for_ever(
    sandbox: Sandbox,
    delivered: Delivered,
    s3_client: Clients,
    interrupt: Callable[[Sandbox, Delivered, dict[str, Any]], None],
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    asked = parts_of(client, ONE, TWO)
    interrupt(sandbox, delivered, asked)
    is_broken(sandbox, client, object_id)
    assert error(client.complete_multipart_upload, **asked) == UNFINISHED
    assert error(client.upload_part, **PLACE, UploadId="x", PartNumber=1, Body=b"x") == (
        500,
        "InternalError",
        "Internal data transformer processing error",
    )
    is_broken(sandbox, client, object_id)


@pytest.mark.parametrize("parts", [False, True], ids=["PutObject", "multipart"])
@pytest.mark.parametrize("cut", ["s3.reencode", "s3.put_end"])
def test_an_upload_over_its_key_mends_a_broken_object(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients, cut: str, parts: bool
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    sandbox.at(cut, drop)
    with pytest.raises(Exception, match=r"closed|ended|Incomplete|broken"):
        if cut == "s3.reencode":
            client.complete_multipart_upload(**parts_of(client, ONE, TWO))
        else:
            client.put_object(**PLACE, Body=ONE)
    if parts:
        answer = client.complete_multipart_upload(**parts_of(client, TWO, ONE))
    else:
        answer = client.put_object(**PLACE, Body=TWO + ONE)
    assert answer["ETag"] == f'"-{object_id}"'
    assert client.head_object(**PLACE)["ContentLength"] == len(TWO + ONE)
    assert client.get_object(**PLACE)["Body"].read() == TWO + ONE
    assert len(sandbox.object(object_id).hashes) == 2


def test_an_error_can_stand_inside_the_answer_of_a_completion(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    asked = parts_of(client, ONE, TWO)
    sandbox.aruna.complete_error = "No parts found"
    with completing(sandbox, delivered, asked) as answer:
        assert answer.read().endswith(
            b"<Error><Code>InternalError</Code><Message>No parts found</Message></Error>"
        )
    is_broken(sandbox, client, object_id)


def assert_without_content(sandbox: Sandbox, client: Any, object_id: str) -> None:
    """AVAILABLE with length and hashes, and the data proxy has nothing of it."""
    found = sandbox.object(object_id)
    assert (found.status, found.content_len) == (models.STATUS_AVAILABLE, len(ONE))
    assert len(found.hashes) == 2
    assert client.head_object(**PLACE)["ContentLength"] == 0
    assert error(client.get_object, **PLACE) == (404, "NoSuchKey", "Object not found")


def test_a_put_cut_off_near_its_end_leaves_an_object_without_content(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    sandbox.at("s3.put_end", drop)
    with pytest.raises(ConnectionClosedError):
        client.put_object(**PLACE, Body=ONE)
    assert_without_content(sandbox, client, object_id)


def test_so_does_a_client_that_dies_when_it_has_sent_the_last_byte(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    gone = threading.Event()
    sandbox.at("s3.put", lambda _: gone.wait())
    send(sandbox, delivered, "PUT", "", ONE).close()
    gone.set()
    sandbox.wait_for(lambda: sandbox.object(object_id).status == models.STATUS_AVAILABLE)
    assert_without_content(sandbox, hooks_client(s3_client, delivered), object_id)


def test_an_overwriting_put_that_is_cut_off_leaves_the_old_content(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    client.put_object(**PLACE, Body=b"{}")
    sandbox.at("s3.put_end", drop)
    with pytest.raises(ConnectionClosedError):
        client.put_object(**PLACE, Body=ONE)
    assert sandbox.object(object_id).content_len == len(ONE)
    assert client.get_object(**PLACE)["Body"].read() == b"{}"


def test_two_writers_on_one_key_mix_their_parts(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    first, second = (client.create_multipart_upload(**PLACE)["UploadId"] for _ in range(2))
    parts_of(client, ONE, ONE, upload=first)
    asked = parts_of(client, TWO, upload=second)
    late = client.upload_part(**PLACE, UploadId=first, PartNumber=2, Body=ONE)
    asked["MultipartUpload"]["Parts"].append({"PartNumber": 2, "ETag": late["ETag"]})
    client.complete_multipart_upload(**asked)
    assert sandbox.content(object_id) == TWO + ONE


def test_a_multipart_upload_over_an_available_object_empties_it_and_aruna_does_not_notice(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    client.put_object(**PLACE, Body=ONE)
    before = sandbox.object(object_id)
    client.create_multipart_upload(**PLACE)
    assert sandbox.object(object_id) == before
    assert client.head_object(**PLACE)["ContentLength"] == 0
    answer = requests.get(f"{sandbox.s3_url}/garden/result.json", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
