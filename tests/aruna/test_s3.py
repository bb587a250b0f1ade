"""Where objects lie, and what the data proxy says of them."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.aruna import s3 as s3_module
from pipeline.aruna.s3 import S3, Head, Place, head, place_of, s3_client, wait_until_known
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed, Stopping
from pipeline.net.addresses import Addresses
from tests.aruna.storage import OBJECT_ID, Fault, Request, Storage, hanging, refusing, storing
from tests.network import Lookups

QUERY = "?X-Amz-Credential=KEY%2F20261124%2FRegionOne%2Fs3%2Faws4_request&X-Amz-Signature=x"
ANYWHERE = Addresses(insecure=True)


@pytest.fixture
def storage() -> Iterator[Storage]:
    with storing() as storage:
        yield storage


@pytest.fixture
def place(storage: Storage) -> Place:
    return Place(f"http://127.0.0.1:{storage.port}", "project", "r.json", "R", True)


@pytest.fixture
def s3(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    monkeypatch.setattr(s3_module, "PAUSES", (0.01, 0.01))
    with s3_client(place, "access", "secret", Addresses(insecure=True)) as s3:
        yield s3


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (
            "https://proj.s3.example.org/plants.xml",
            Place("https://s3.example.org", "proj", "plants.xml", "RegionOne", False),
        ),
        (
            "http://proj.s3.aruna.test:1337/col/my%20plants%20(2024).xml",
            Place(
                "http://s3.aruna.test:1337", "proj", "col/my plants (2024).xml", "RegionOne", False
            ),
        ),
        (
            "https://proj.example.org/a%2Fb%2525!*'().xml",
            Place("https://example.org", "proj", "a/b%25!*'().xml", "RegionOne", False),
        ),
        (
            "http://127.0.0.1:9000/proj/ds/a.xml",
            Place("http://127.0.0.1:9000", "proj", "ds/a.xml", "RegionOne", True),
        ),
        (
            "http://[::1]:9000/proj/a.xml",
            Place("http://[::1]:9000", "proj", "a.xml", "RegionOne", True),
        ),
        (
            "http://minio:9000/proj/a.xml",
            Place("http://minio:9000", "proj", "a.xml", "RegionOne", True),
        ),
        (
            "http://localhost/proj/a.xml",
            Place("http://localhost", "proj", "a.xml", "RegionOne", True),
        ),
    ],
)
def test_a_place_is_read_off_the_presigned_url(url: str, place: Place) -> None:
    assert place_of(url + QUERY) == place


@pytest.mark.parametrize(
    "url",
    [
        "https://proj.s3.example.org/",
        "https://proj.s3.example.org",
        "http://127.0.0.1/proj",
        "http://127.0.0.1//a.xml",
        "https://.example.org/a.xml",
        "https://host:port/a/b",
        "https://[::1/a/b",
        "https://[bad/x",
        "",
    ],
)
def test_a_url_that_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(JobFailed) as failure:
        place_of(url)
    assert failure.value.code is Code.DOWNLOAD_FAILED
    assert not failure.value.again


#: Names of projects that Aruna takes (``[a-z0-9-]+``) and Amazon would not, and an ordinary one.
BUCKETS = ["project", "p", "ab", "-ab", "ab-", "-", "127", "x--x-s3", "b" * 63]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_virtual_hosted_bucket_is_spoken_to_by_its_name(
    bucket: str, storage: Storage, lookups: Lookups, attempt: Attempt
) -> None:
    lookups[f"{bucket}.s3.example"] = [["127.0.0.1"]]
    place = place_of(f"http://{bucket}.s3.example:{storage.port}/a%20b/r.json?versionId=1")
    with s3_client(place, "a", "s", Addresses(("*.s3.example",), insecure=True)) as s3:
        assert head(s3, place, attempt) == Head(OBJECT_ID, 0)
    assert storage.headers[0]["Host"] == f"{bucket}.s3.example:{storage.port}"
    assert storage.paths == ["/a%20b/r.json"]


@pytest.mark.parametrize("bucket", [*BUCKETS, "Under_Score", "my_bucket.x"])
def test_a_path_style_bucket_stands_in_the_path(
    bucket: str, storage: Storage, attempt: Attempt
) -> None:
    place = place_of(f"http://127.0.0.1:{storage.port}/{bucket}/a%20b/r.json")
    with s3_client(place, "a", "s", Addresses(insecure=True)) as s3:
        assert head(s3, place, attempt) == Head(OBJECT_ID, 0)
    assert storage.paths == [f"/{bucket}/a%20b/r.json"]


def test_a_host_with_an_underscore_is_spoken_to(
    storage: Storage, lookups: Lookups, attempt: Attempt
) -> None:
    lookups["data_proxy"] = [["127.0.0.1"]]
    place = place_of(f"http://data_proxy:{storage.port}/project/r.json")
    with s3_client(place, "a", "s", Addresses(insecure=True)) as s3:
        assert head(s3, place, attempt) == Head(OBJECT_ID, 0)


def test_a_region_that_is_none_is_refused_at_once() -> None:
    place = place_of("https://p.s3.example/r.json?X-Amz-Credential=K%2F2026%2FNo_Region%2Fs3%2Fx")
    with pytest.raises(JobFailed, match="region") as failure, s3_client(place, "a", "s", ANYWHERE):
        raise AssertionError
    assert (failure.value.code, failure.value.again) == (Code.DOWNLOAD_FAILED, False)


def test_an_endpoint_with_anothers_certificate_is_not_spoken_to(
    tls: ssl.SSLContext, lookups: Lookups, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "PAUSES", ())
    lookups["stranger.example"] = lookups["source.example"] = [["127.0.0.1"]]
    with storing(tls) as storage:
        for name, is_genuine in (("source", True), ("stranger", False)):
            place = Place(f"https://{name}.example:{storage.port}", "project", "r", "R", True)
            with s3_client(place, "a", "s", Addresses(("*.example",))) as s3:
                if is_genuine:
                    assert head(s3, place, attempt) == Head(OBJECT_ID, 0)
                else:
                    with pytest.raises(JobFailed, match="can't be reached"):
                        head(s3, place, attempt)
        assert storage.log == ["HEAD"]


def test_head_says_which_object_stands_there(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.content = b"12345"
    assert head(s3, place, attempt) == Head(OBJECT_ID, 5)
    storage.content = None
    assert head(s3, place, attempt) is None


@pytest.mark.parametrize(("status", "again"), [(403, False), (500, True), (503, True)])
def test_a_head_that_fails_is_no_missing_object(
    status: int, again: bool, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    def failing(request: Request) -> bool:
        request.answer(status)
        return False

    storage.faults["HEAD"] += [failing] * 9
    with pytest.raises(JobFailed) as failure:
        head(s3, place, attempt)
    assert (failure.value.code, failure.value.again) == (Code.UPLOAD_FAILED, again)
    assert str(status) in failure.value.message


def not_known(request: Request) -> bool:
    request.answer(404)
    return False


def test_a_new_object_is_waited_for(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["HEAD"] += [not_known] * 3
    began = time.monotonic()
    wait_until_known(s3, place, Head(OBJECT_ID, 0), attempt)
    assert storage.asked("HEAD") == 4
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2


def test_an_object_that_never_comes_is_a_reason_for_another_attempt(
    storage: Storage, s3: S3, place: Place, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "_KNOWN_PATIENCE", 0.2)
    storage.content = None
    with pytest.raises(JobFailed) as failure:
        wait_until_known(s3, place, Head(OBJECT_ID, 0), attempt)
    assert (failure.value.code, failure.value.again) == (Code.UPLOAD_FAILED, True)


@pytest.mark.parametrize(("object_id", "content"), [("01JANOTHER", b""), (OBJECT_ID, b"x")])
def test_something_else_at_the_place_is_never_overwritten(
    object_id: str, content: bytes, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.object_id, storage.content = object_id, content
    with pytest.raises(JobFailed) as failure:
        wait_until_known(s3, place, Head(OBJECT_ID, 0), attempt)
    assert failure.value.code is Code.UPLOAD_FAILED


@pytest.mark.parametrize("fault", [not_known, hanging])
def test_waiting_ends_with_the_attempt(
    fault: Fault, storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["HEAD"] += [fault] * 99
    cutter = threading.Timer(0.1, attempt.cut, [Stopping("shutdown")])
    cutter.start()
    with pytest.raises(Stopping):
        wait_until_known(s3, place, Head(OBJECT_ID, 0), attempt)
    cutter.join()


def test_an_answer_without_end_is_not_read_for_ever(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    def endless(request: Request) -> bool:
        request.send_response(200)
        request.end_headers()
        while not request.storage.ending.is_set():
            request.wfile.write(bytes(65536))
        return False

    storage.faults["CREATE"] += [endless] * 9
    with pytest.raises(s3_module.S3Error) as error:
        s3_module.insist(s3.client.create_multipart_upload, place, attempt)
    assert error.value.again


def test_what_s3_calls_an_error_is_shown_as_a_bare_word(
    storage: Storage, s3: S3, place: Place, attempt: Attempt
) -> None:
    storage.faults["CREATE"].append(refusing(400, "Bad&lt;b&gt;\nX-Amz-Signature=1234"))
    with pytest.raises(s3_module.S3Error) as error:
        s3_module.insist(s3.client.create_multipart_upload, place, attempt)
    assert str(error.value) == "400 BadbXAmzSignature"
