"""GFBio's service: what it answers, and how it can fail."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from sandbox import Sandbox, generated_result
from sandbox.gfbio.source import InputRefused, checked
from tests.conftest import SAMPLE

NOT_ABCD = b'<?xml version="1.0"?><html/>'
BROKEN = b'<?xml version="1.0"?><DataSets'


@pytest.fixture(autouse=True)
def garden(sandbox: Sandbox) -> str:
    """A public project for inputs."""
    return sandbox.create_project("garden")


def transform(sandbox: Sandbox, url: str, **query: str) -> requests.Response:
    asked = {"transformation": "5", "input_file_url": url, "input_file_zipped": "false", **query}
    return requests.get(f"{sandbox.gfbio_url}/transform", params=asked, timeout=10)


def of(sandbox: Sandbox, garden: str, data: bytes, name: str = "plants.xml", **query: str) -> Any:
    sandbox.upload(name, data, parent=garden)
    return transform(sandbox, f"{sandbox.s3_url}/garden/{name}", **query)


def result(answer: requests.Response) -> requests.Response:
    file = answer.json()["job"]["result_file"]
    return requests.get(f"{answer.url}{file}", timeout=10)


def test_a_job_is_answered_by_a_relative_redirect(sandbox: Sandbox, garden: str) -> None:
    answer = of(sandbox, garden, SAMPLE)
    (redirect,) = answer.history
    job = answer.json()["job"]
    assert redirect.status_code == 302
    assert redirect.headers["location"] == f"results/{job['job_id']}/"
    assert len(job["job_id"]) == 10
    assert answer.text.startswith('  {"job":{')
    assert (job["status"], job["result_file"]) == ("complete", "output/result.json")
    assert job["input_file_url"] == f"{sandbox.s3_url}/garden/plants.xml"
    assert json.loads(result(answer).content)["@type"] == "Dataset"


def test_the_input_is_fetched_twice(sandbox: Sandbox, garden: str) -> None:
    of(sandbox, garden, SAMPLE)
    calls = sandbox.requests("s3.get")
    assert [call.details["by"] for call in calls] == ["nobody", "nobody"]


def test_the_second_fetch_is_cut_off_after_its_headers(sandbox: Sandbox) -> None:
    document = SAMPLE + b"<!--" + b" " * 20_000_000 + b"-->"
    sent: list[int] = []

    class Source(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/xml")
            self.end_headers()
            sent.append(0)
            with contextlib.suppress(OSError):
                for start in range(0, len(document), 100_000):
                    sent[-1] += self.wfile.write(document[start : start + 100_000])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        answer = transform(sandbox, f"http://127.0.0.1:{server.server_port}/plants.xml")
        server.shutdown()
        serving.join()
    assert json.loads(result(answer).content)["@type"] == "Dataset"
    assert sent[0] == len(document)
    assert sent[1] < len(document)


def test_a_result_is_gone_once_its_job_is_deleted(sandbox: Sandbox, garden: str) -> None:
    answer = of(sandbox, garden, SAMPLE)
    job_id = answer.json()["job"]["job_id"]
    assert sandbox.gfbio_jobs == [job_id]
    deleted = requests.delete(answer.url, timeout=10)
    assert deleted.text == f'  {{"job_id":"{job_id}","status":"deleted"}}'
    assert requests.get(answer.url, timeout=10).json()["error_message"] == "Job not found"
    assert requests.delete(answer.url, timeout=10).status_code == 404
    assert sandbox.gfbio_jobs == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (BROKEN, "broken.xml"),
        (SAMPLE, "Herbarium (Berlin).xml"),
        (SAMPLE, "it's.xml"),
    ],
)
def test_a_failed_transformation_is_complete_without_a_result(
    sandbox: Sandbox, garden: str, data: bytes, name: str
) -> None:
    answer = of(sandbox, garden, data, name)
    assert answer.json()["job"]["status"] == "complete"
    assert result(answer).status_code == 404


@pytest.mark.parametrize("data", [SAMPLE, BROKEN], ids=["good", "broken"])
def test_a_job_s_page_shows_its_input_s_url_until_it_is_deleted(
    sandbox: Sandbox, garden: str, data: bytes
) -> None:
    sandbox.upload("plants.xml", data, parent=garden)
    url = f"{sandbox.s3_url}/garden/plants.xml"
    answer = transform(sandbox, url)
    (page,) = sandbox.gfbio_pages.values()
    assert page["input_file_url"] == url
    assert requests.get(answer.url, timeout=10).json()["job"] == page
    requests.delete(answer.url, timeout=10)
    assert sandbox.gfbio_pages == {}


def test_a_name_that_breaks_its_shell_does_no_harm_when_it_is_encoded(
    sandbox: Sandbox, garden: str
) -> None:
    sandbox.upload("Herbarium (Berlin) it's!.xml", SAMPLE, parent=garden)
    for name, status in (
        ("Herbarium%20(Berlin)%20it's!.xml", 404),
        ("Herbarium%20%28Berlin%29%20it%27s%21.xml", 200),
    ):
        answer = transform(sandbox, f"{sandbox.s3_url}/garden/{name}")
        assert result(answer).status_code == status


def test_its_errors_can_quote_the_input_s_url(sandbox: Sandbox) -> None:
    sandbox.gfbio.quotes_url = True
    url = "http://127.0.0.1:1/x.xml?X-Amz-Signature=secret"
    assert transform(sandbox, url).json()["error_message"] == f"File not found: {url}"


def test_xml_that_is_not_abcd_gives_an_empty_shell(sandbox: Sandbox, garden: str) -> None:
    assert json.loads(result(of(sandbox, garden, NOT_ABCD)).content)["name"] is None


def test_errors_come_as_404_with_a_message(sandbox: Sandbox, garden: str) -> None:
    sandbox.upload("text.txt", b"hello", parent=garden)
    there = f"{sandbox.s3_url}/garden/text.txt"
    for answer, message in (
        (transform(sandbox, there), "File format is not XML"),
        (transform(sandbox, f"{sandbox.s3_url}/garden/nope.xml"), "File not found"),
        (transform(sandbox, "http://127.0.0.1:1/x.xml"), "File not found"),
        (transform(sandbox, "nonsense"), "Invalid URL"),
        (transform(sandbox, there, transformation="77"), "Transformation ID not found"),
        (transform(sandbox, there, transformation=""), "No transformation ID specified"),
        (transform(sandbox, there, version="1"), "Version not found"),
    ):
        assert answer.status_code == 404
        assert answer.text == f'  {{"error_code":404,"error_message":"{message}"}}'


def test_an_input_over_100_mb_is_refused() -> None:
    with pytest.raises(InputRefused, match="File larger than 100MB"):
        checked("plants", b"<?xml" + bytes(100_000_000), "text/xml")


def test_an_archive_gives_an_archive(sandbox: Sandbox, garden: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("response.00001.xml", SAMPLE)
    answer = of(sandbox, garden, packed.getvalue(), "plants.zip", input_file_zipped="true")
    assert answer.json()["job"]["result_file"] == "output/result.zip"
    with zipfile.ZipFile(io.BytesIO(result(answer).content)) as archive:
        (name,) = archive.namelist()
        assert json.loads(archive.read(name))["@type"] == "Dataset"


def test_transformations_are_listed(sandbox: Sandbox) -> None:
    one = requests.get(f"{sandbox.gfbio_url}/transformations/5", timeout=10).json()
    assert [v["version_id"] for v in one["transformation"]["versions"]] == ["1", "2"]
    listed = requests.get(f"{sandbox.gfbio_url}/transformations", timeout=10).json()
    assert listed["transformations"][0]["transformation_id"] == "5"


def test_a_post_is_refused_unless_switched_on(sandbox: Sandbox) -> None:
    url = f"{sandbox.gfbio_url}/transform?transformation=5"
    refused = requests.post(url, data=iter([SAMPLE]), timeout=10)
    assert refused.status_code == 405
    assert refused.json()["error_message"] == "Method not allowed"
    sandbox.gfbio.post = "result"
    assert requests.post(url, data=iter([SAMPLE]), timeout=10).json()["@type"] == "Dataset"
    sandbox.gfbio.post = "job"
    assert result(requests.post(url, data=iter([SAMPLE]), timeout=10)).status_code == 200


def test_a_result_can_be_gzip_encoded(sandbox: Sandbox) -> None:
    sandbox.gfbio.post, sandbox.gfbio.gzip = "result", True
    url = f"{sandbox.gfbio_url}/transform?transformation=5"
    with requests.post(url, data=SAMPLE, stream=True, timeout=10) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = answer.raw.read(decode_content=False)
    assert json.loads(gzip.decompress(packed))["@type"] == "Dataset"


def test_it_can_be_down_and_fail_for_a_while(sandbox: Sandbox) -> None:
    url = f"{sandbox.gfbio_url}/transformations"
    sandbox.gfbio.failures = 2
    assert [requests.get(url, timeout=10).status_code for _ in range(3)] == [500, 500, 200]
    sandbox.gfbio.down = True
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


def test_results_can_be_of_every_bad_kind(sandbox: Sandbox, garden: str) -> None:
    answer = of(sandbox, garden, SAMPLE)
    good = result(answer).content
    sandbox.gfbio.result = "empty"
    assert result(answer).content == b""
    sandbox.gfbio.result = "missing"
    assert result(answer).status_code == 404
    sandbox.gfbio.result = "not_json"
    assert result(answer).content.startswith(b"<!DOCTYPE html>")
    sandbox.gfbio.result = "truncated"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        result(answer)
    sandbox.gfbio.result = "cut"
    cut = result(answer)
    assert "content-length" not in cut.headers
    assert good.startswith(cut.content)
    assert len(cut.content) == len(good) // 2


def test_a_generated_result_has_any_size_and_is_always_the_same(
    sandbox: Sandbox, garden: str
) -> None:
    sandbox.gfbio.big = 3_000_000
    seen: list[int] = []
    sandbox.gfbio.sent = seen.append
    content = result(of(sandbox, garden, SAMPLE)).content
    assert len(content) == 3_000_000
    assert content == b"".join(generated_result(3_000_000))
    assert json.loads(content)["@type"] == "Dataset"
    assert seen == [0, 1024 * 1024, 2 * 1024 * 1024]
