"""The data proxy: S3 with Aruna 2.0.4's rules, ETags and error texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from aruna.api.storage.models.v2 import models_pb2 as models
from botocore.exceptions import ClientError, ConnectionClosedError

from sandbox import Answered, ArunaSwitches, Dropped, Sandbox
from tests.sandbox.conftest import XML, Delivered

Clients = Callable[..., Any]
PLACE = {"Bucket": "garden", "Key": "result.json"}


def error(call: Callable[..., object], **asked: Any) -> tuple[int, str, str]:
    """Status, code and message of a request that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**asked)
    answer: Any = caught.value.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status, answer["Error"]["Code"], answer["Error"].get("Message", "")


def hooks_client(s3_client: Clients, delivered: Delivered) -> Any:
    return s3_client(*delivered.keys)


def created(sandbox: Sandbox, delivered: Delivered) -> str:
    """The id of an object that the data proxy has heard of."""
    sandbox.aruna.upload_window = 0.0
    return sandbox.create_object("result.json", parent=delivered.project)


def test_put_head_and_get_tell_the_object_s_id_each_in_its_way(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    before = client.head_object(**PLACE)
    assert (before["ETag"], before["ContentLength"]) == (f'"{object_id}"', 0)
    assert client.put_object(**PLACE, Body=b"{}")["ETag"] == f'"-{object_id}"'
    head, get = client.head_object(**PLACE), client.get_object(**PLACE)
    assert (head["ETag"], head["ContentLength"]) == (f'"{object_id}"', 2)
    assert (get["ETag"], get["Body"].read()) == (f'"-{object_id}"', b"{}")
    assert get["ContentDisposition"] == 'attachment;filename="result.json"'
    assert get["ContentType"] == "application/json"
    assert sandbox.object(object_id).status == models.STATUS_AVAILABLE
    assert [entry.alg for entry in sandbox.object(object_id).hashes] == [1, 2]


def test_until_the_data_proxy_has_heard_of_an_object_it_is_unknown(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    sandbox.aruna.upload_window = 60.0
    sandbox.create_object("result.json", parent=delivered.project)
    client = hooks_client(s3_client, delivered)
    assert error(client.head_object, **PLACE)[0] == 404
    status, code, message = error(client.put_object, **PLACE, Body=b"{}")
    assert (status, code) == (403, "InvalidObjectState")
    assert message == (
        'status: Internal, message: "Internal database error : Name is invalid: Contains '
        'substring that matches same hierarchy object", details: [], '
        "metadata: MetadataMap { headers: {} }"
    )
    assert error(client.create_multipart_upload, **PLACE) == (
        500,
        "InternalError",
        "Unable to create object",
    )


def test_the_window_closes_by_itself(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    sandbox.aruna.upload_window = 0.2
    begun = time.monotonic()
    object_id = sandbox.create_object("result.json", parent=delivered.project)
    sandbox.fill(object_id, b"{}")
    assert time.monotonic() - begun >= 0.2
    assert hooks_client(s3_client, delivered).head_object(**PLACE)["ContentLength"] == 2


def test_nothing_stops_a_put_over_an_available_object_the_source_s_too(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    client = hooks_client(s3_client, delivered)
    answer = client.put_object(Bucket="garden", Key="plants.xml", Body=b"<x/>")
    assert answer["ETag"] == f'"-{delivered.source}"'
    assert sandbox.content(delivered.source) == b"<x/>"


def test_a_multipart_upload_empties_an_available_object_at_once(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    client = hooks_client(s3_client, delivered)
    client.create_multipart_upload(Bucket="garden", Key="plants.xml")
    assert client.head_object(Bucket="garden", Key="plants.xml")["ContentLength"] == 0
    assert client.get_object(Bucket="garden", Key="plants.xml")["Body"].read() == b""
    assert sandbox.content(delivered.source) == b""


def test_a_hook_s_credentials_may_not_delete_or_abort(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    upload = client.create_multipart_upload(**PLACE)["UploadId"]
    denied = (403, "AccessDenied", "Access Denied")
    assert error(client.abort_multipart_upload, **PLACE, UploadId=upload) == denied
    assert error(client.delete_object, **PLACE) == denied
    sandbox.create_project("other")
    assert error(client.put_object, Bucket="other", Key="x.json", Body=b"{}") == denied
    owner = sandbox.owner.credentials
    s3_client(owner.access_key, owner.secret_key).delete_object(**PLACE)
    assert error(client.get_object, **PLACE)[:2] == (404, "NoSuchKey")


def test_what_is_not_there_is_told_apart(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    unknown = error(client.get_object, Bucket="garden", Key="nope.json")
    assert unknown == (404, "NoSuchKey", "Resource not found")
    assert error(client.get_object, **PLACE) == (404, "NoSuchKey", "Object not found")
    nowhere = error(client.get_object, Bucket="nobucket-xyz", Key="a")
    assert nowhere == (404, "NoSuchBucket", "Bucket not found")
    assert error(client.head_bucket, Bucket="garden")[0] == 501


def test_an_upload_to_a_free_key_makes_a_bare_private_object(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    client = hooks_client(s3_client, delivered)
    answer = client.put_object(Bucket="garden", Key="newcol/newds/bare.json", Body=b"{}")
    bare = sandbox.object(answer["ETag"].strip('"-'))
    assert bare.name == "bare.json"
    assert bare.data_class == models.DATA_CLASS_PRIVATE
    assert bare.data_license_tag == "AllRightsReserved"
    assert bare.relations[0].internal.resource_variant == models.RESOURCE_VARIANT_DATASET
    refused = error(client.put_object, Bucket="garden", Key="dir x/a.json", Body=b"{}")
    assert refused == (500, "InternalError", "Unable to create collection")


def test_names_may_contain_slashes(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    dataset = sandbox.create_dataset("ds1", delivered.project)
    sandbox.aruna.upload_window = 0.0
    deep = sandbox.upload("sub/dir/plants.xml", XML, parent=dataset)
    sandbox.create_object("nosuch/whole.json", parent=delivered.project)
    client = hooks_client(s3_client, delivered)
    head = client.head_object(Bucket="garden", Key="ds1/sub/dir/plants.xml")
    assert head["ETag"] == f'"{deep}"'
    assert error(client.head_object, Bucket="garden", Key="nosuch/whole.json")[0] == 500


def test_an_empty_upload_makes_an_odd_object(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    assert client.put_object(**PLACE, Body=b"")["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"'
    assert client.head_object(**PLACE)["ETag"] == f'"{object_id}"'
    assert error(client.get_object, **PLACE) == (
        400,
        "InvalidPart",
        "Upload id must be specified",
    )
    assert sandbox.object(object_id).status == models.STATUS_INITIALIZING
    client.put_object(**PLACE, Body=b"{}")
    assert client.head_object(**PLACE)["ContentLength"] == 2


def test_metadata_headers_are_static_labels_that_the_next_upload_takes_away(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    client.put_object(**PLACE, Body=b"{}", Metadata={"owner": "me"})
    (label,) = sandbox.object(object_id).key_values
    assert (label.key, label.value, label.variant) == ("x-amz-meta-owner", "me", 2)
    assert client.head_object(**PLACE)["Metadata"] == {"owner": "me"}
    client.put_object(**PLACE, Body=b"{}")
    assert list(sandbox.object(object_id).key_values) == []


def test_a_multipart_upload_arrives_in_the_order_of_its_parts(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    upload = client.create_multipart_upload(**PLACE)["UploadId"]
    etags = {
        number: client.upload_part(**PLACE, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in ((2, b"two"), (1, b"one,"))
    }
    assert etags[1].startswith('"-"')
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in (1, 2)]
    finish = {**PLACE, "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    assert client.complete_multipart_upload(**finish)["ETag"] == f'"-{object_id}"'
    sandbox.wait_for(lambda: sandbox.object(object_id).hashes)
    assert sandbox.content(object_id) == b"one,two"
    assert error(client.complete_multipart_upload, **finish) == (
        400,
        "InvalidPart",
        "Upload id must be specified",
    )
    assert [size for size, _ in sandbox.part_digests(object_id)] == [4, 3]


def test_the_last_upload_begun_on_a_key_gets_all_parts(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    first = client.create_multipart_upload(**PLACE)["UploadId"]
    second = client.create_multipart_upload(**PLACE)["UploadId"]
    stray = client.upload_part(**PLACE, UploadId=first, PartNumber=1, Body=b"stray")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": stray}]}
    client.complete_multipart_upload(**PLACE, UploadId=second, MultipartUpload=parts)
    assert sandbox.content(object_id) == b"stray"


def test_a_completion_with_a_wrong_part_is_refused(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    client = hooks_client(s3_client, delivered)
    upload = client.create_multipart_upload(**PLACE)["UploadId"]
    client.upload_part(**PLACE, UploadId=upload, PartNumber=1, Body=b"one")
    parts = {"Parts": [{"PartNumber": 1, "ETag": "other"}]}
    refused = error(
        client.complete_multipart_upload, **PLACE, UploadId=upload, MultipartUpload=parts
    )
    assert refused == (500, "InternalError", "Unable to finish upload")
    assert sandbox.object(object_id).status == models.STATUS_INITIALIZING


def test_a_multipart_source_is_not_whole_when_its_hook_comes(sandbox: Sandbox) -> None:
    sandbox.aruna.finalise_seconds = None
    project = sandbox.create_project("garden")
    source = sandbox.upload("plants.xml", b"a" * 10 + b"b" * 10, parent=project, multipart=True)
    url = f"{sandbox.s3_url}/garden/plants.xml"
    assert sandbox.object(source).status == models.STATUS_AVAILABLE
    assert list(sandbox.object(source).hashes) == []
    with requests.get(url, stream=True, timeout=10) as answer:
        assert answer.headers["content-length"] == "20"
        assert answer.raw.read(20, decode_content=False) == b"a" * 10
    sandbox.release()
    sandbox.wait_for(lambda: sandbox.object(source).hashes)
    assert requests.get(url, timeout=10).content == b"a" * 10 + b"b" * 10


def test_a_completion_is_answered_with_spaces_while_it_takes(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)
    sandbox.aruna.finalise_seconds = 0.35
    client = hooks_client(s3_client, delivered)
    bodies: list[bytes] = []
    client.meta.events.register(
        "before-parse.s3.CompleteMultipartUpload",
        lambda response_dict, **_: bodies.append(response_dict["body"]),
    )
    upload = client.create_multipart_upload(**PLACE)["UploadId"]
    etag = client.upload_part(**PLACE, UploadId=upload, PartNumber=1, Body=b"{}")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    client.complete_multipart_upload(**PLACE, UploadId=upload, MultipartUpload=parts)
    (body,) = bodies
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>  ')
    assert body.endswith(
        b'<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<ETag>&quot;-" + object_id.encode() + b"&quot;</ETag></CompleteMultipartUploadResult>"
    )


def test_an_upload_is_finished_even_if_its_answer_is_lost(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    object_id = created(sandbox, delivered)

    def drop(_: object) -> None:
        raise Dropped

    sandbox.at("s3.complete", drop, after=True)
    client = hooks_client(s3_client, delivered)
    upload = client.create_multipart_upload(**PLACE)["UploadId"]
    etag = client.upload_part(**PLACE, UploadId=upload, PartNumber=1, Body=b"{}")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    with pytest.raises(ConnectionClosedError):
        client.complete_multipart_upload(**PLACE, UploadId=upload, MultipartUpload=parts)
    sandbox.wait_for(lambda: sandbox.object(object_id).hashes)


def test_a_request_can_be_answered_by_a_test_as_often_as_it_wants(
    sandbox: Sandbox, delivered: Delivered, s3_client: Clients
) -> None:
    created(sandbox, delivered)

    def busy(_: object) -> None:
        raise Answered(503, b"<Error><Code>SlowDown</Code></Error>")

    sandbox.at("s3.put", busy, times=2)
    client = hooks_client(s3_client, delivered)
    for _ in range(2):
        assert error(client.put_object, **PLACE, Body=b"{}")[:2] == (503, "SlowDown")
    client.put_object(**PLACE, Body=b"{}")
    calls = sandbox.requests("s3.put")
    assert [call.details["by"] for call in calls] == ["user", "hook", "hook", "hook"]


def test_a_sink_counts_and_hashes_but_keeps_nothing() -> None:
    with Sandbox(aruna=ArunaSwitches(sink=True)) as sandbox:
        project = sandbox.create_project("garden")
        object_id = sandbox.upload("big.bin", b"x" * 1000, parent=project)
        assert sandbox.object(object_id).content_len == 1000
        assert [size for size, _ in sandbox.part_digests(object_id)] == [1000]
        assert sandbox.content(object_id) == b""


def test_throttling_slows_an_upload_down(sandbox: Sandbox) -> None:
    project = sandbox.create_project("garden")
    sandbox.aruna.bytes_per_second = 10_000.0
    begun = time.monotonic()
    sandbox.upload("slow.bin", b"x" * 2000, parent=project)
    assert time.monotonic() - begun >= 0.2
