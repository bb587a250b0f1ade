"""GFBio's answers, its traps included, and what they mean for a job."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
import requests
import responses

from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed, LeaseLost
from pipeline.transform import gfbio
from pipeline.transform.recognise import Kind

BASE = "https://gfbio.example.org/api"
SOURCE = "https://hooks.example.org/relay/token/plants.xml"
RESULT = b'{"@type": "Dataset"}'
JOB = {
    "job_id": "7362239674",
    "status": "complete",
    "result_file": "output/result.json",
    "input_file_url": SOURCE,
}


@pytest.fixture
def service() -> Iterator[gfbio.GFBio]:
    with gfbio.session_for(BASE) as session:
        yield gfbio.GFBio(BASE, "5", None, session)


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def body(value: object) -> str:
    """GFBio: every JSON body starts with two spaces."""
    return "  " + json.dumps(value)


def redirect(answers: responses.RequestsMock, location: str = "results/7362239674/") -> None:
    answers.get(f"{BASE}/transform", status=302, headers={"Location": location})


def transform(service: gfbio.GFBio) -> gfbio.Transformed:
    return gfbio.transform_url(service, SOURCE, Kind.XML, Attempt(10))


def failure(service: gfbio.GFBio) -> JobFailed:
    with pytest.raises(JobFailed) as failed:
        b"".join(transform(service).result)
    return failed.value


def test_a_job_behind_a_relative_redirect_gives_its_result(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    redirect(answers)
    answers.get(f"{BASE}/results/7362239674/", body=body({"job": JOB}))
    answers.get(f"{BASE}/results/7362239674/output/result.json", body=RESULT)

    made = transform(service)

    assert made.job_id == "7362239674"
    assert b"".join(made.result) == RESULT
    asked = requests.Request("GET", answers.calls[0].request.url)
    assert "transformation=5&input_file_zipped=false&input_file_url=https%3A" in asked.url


def test_a_result_that_is_sent_compressed_is_stored_as_it_was_before(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.get(f"{BASE}/transform", body=body({"job": JOB}))
    answers.get(
        f"{BASE}/results/7362239674/output/result.json",
        body=gzip.compress(RESULT),
        headers={"Content-Encoding": "gzip"},
    )

    assert b"".join(transform(service).result) == RESULT


def test_an_archive_says_that_it_is_one(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.get(f"{BASE}/transform", body=body({"job": JOB}))
    answers.get(f"{BASE}/results/7362239674/output/result.json", body=RESULT)

    gfbio.transform_url(service, SOURCE, Kind.ZIP, Attempt(10))

    assert "input_file_zipped=true" in str(answers.calls[0].request.url)


def test_a_complete_job_without_its_result_has_failed(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    redirect(answers)
    answers.get(f"{BASE}/results/7362239674/", body=body({"job": JOB}))
    answers.get(f"{BASE}/results/7362239674/output/result.json", status=404)

    failed = failure(service)

    assert (failed.code, failed.again) == (Code.TRANSFORMATION_FAILED, False)
    assert failed.message == gfbio.NO_RESULT


@pytest.mark.parametrize(
    "said", ["File larger than 100MB", "File format is not XML", "Invalid URL", "File not found"]
)
def test_what_gfbio_says_reaches_the_researcher(
    service: gfbio.GFBio, answers: responses.RequestsMock, said: str
) -> None:
    answers.get(
        f"{BASE}/transform", status=404, body=body({"error_code": 404, "error_message": said})
    )

    failed = failure(service)

    assert (failed.code, failed.again) == (Code.TRANSFORMATION_FAILED, False)
    assert said in failed.message


def test_a_failed_job_is_quoted(service: gfbio.GFBio, answers: responses.RequestsMock) -> None:
    job = {**JOB, "status": "failed", "error_message": "stylesheet\n broke " + "x" * 999}
    answers.get(f"{BASE}/transform", body=body({"job": job}))

    failed = failure(service)

    assert "stylesheet broke" in failed.message
    assert len(failed.message) < 240


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_gfbio_in_trouble_is_tried_again(
    service: gfbio.GFBio, answers: responses.RequestsMock, status: int
) -> None:
    answers.get(f"{BASE}/transform", status=status, body="<html>")

    failed = failure(service)

    assert (failed.code, failed.again) == (Code.GFBIO_UNAVAILABLE, True)


@pytest.mark.parametrize(
    "error",
    [requests.ConnectionError("x"), requests.ReadTimeout("x"), requests.ConnectTimeout("x")],
)
def test_a_gfbio_out_of_reach_is_tried_again(
    service: gfbio.GFBio, answers: responses.RequestsMock, error: Exception
) -> None:
    answers.get(f"{BASE}/transform", body=error)

    failed = failure(service)

    assert (failed.code, failed.again) == (Code.GFBIO_UNAVAILABLE, True)


@pytest.mark.parametrize(
    "location",
    [
        "https://elsewhere.example.org/results/1/",
        "//elsewhere.example.org/api/results/1/",
        "../../admin/",
        "results/../../secrets/",
        "results/12x/",
        "results/123456789012345678901/",
        "results/1/?x=1",
        "http://gfbio.example.org/api/results/1/",
    ],
)
def test_a_redirect_leads_to_a_job_of_gfbio_or_nowhere(
    service: gfbio.GFBio, answers: responses.RequestsMock, location: str
) -> None:
    redirect(answers, location)

    assert failure(service).code == Code.TRANSFORMATION_FAILED
    assert len(answers.calls) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "../1"},
        {"job_id": None},
        {"job_id": "1 2"},
        {"result_file": "../../../etc/passwd"},
        {"result_file": "/etc/passwd"},
        {"result_file": "output/../../x"},
        {"result_file": "https://x/y"},
        {"result_file": "output/x?y"},
        {"result_file": None},
        {"result_file": ".hidden"},
    ],
)
def test_ids_and_paths_are_checked_before_they_become_part_of_a_url(
    service: gfbio.GFBio, answers: responses.RequestsMock, changes: dict[str, object]
) -> None:
    answers.get(f"{BASE}/transform", body=body({"job": {**JOB, **changes}}))

    assert failure(service).code == Code.TRANSFORMATION_FAILED
    assert len(answers.calls) == 1


@pytest.mark.parametrize("text", ["", "<html>no</html>", "[]", "null", "{}", '{"job": 7}'])
def test_an_answer_that_is_no_job_is_unusable(
    service: gfbio.GFBio, answers: responses.RequestsMock, text: str
) -> None:
    answers.get(f"{BASE}/transform", body=text)

    assert failure(service).code == Code.TRANSFORMATION_FAILED


def test_an_endless_answer_is_not_read_to_its_end(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.get(f"{BASE}/transform", body=" " * (2 * 1024 * 1024))

    assert "endless" in failure(service).message


def test_an_uploaded_document_is_answered_by_the_result_itself(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.post(f"{BASE}/transform", body=RESULT)

    made = gfbio.transform_body(service, iter([b"<DataSets/>"]), Kind.XML, Attempt(10))

    assert (made.job_id, b"".join(made.result)) == (None, RESULT)
    assert answers.calls[0].request.headers["Content-Type"] == "application/xml"


def test_an_uploaded_document_may_be_answered_by_a_job_that_is_not_done(
    service: gfbio.GFBio, answers: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gfbio, "POLL_PAUSE", 0.01)
    answers.post(f"{BASE}/transform", body=body({"job": {**JOB, "status": "running"}}))
    answers.get(f"{BASE}/results/7362239674/", body=body({"job": {**JOB, "status": "running"}}))
    answers.get(f"{BASE}/results/7362239674/", body=body({"job": JOB}))
    answers.get(f"{BASE}/results/7362239674/output/result.json", body=RESULT)

    made = gfbio.transform_body(service, iter([b"<DataSets/>"]), Kind.XML, Attempt(10))

    assert (made.job_id, b"".join(made.result)) == ("7362239674", RESULT)


def test_a_service_that_takes_no_uploads_is_named(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.post(f"{BASE}/transform", status=405)

    with pytest.raises(JobFailed) as failed:
        gfbio.transform_body(service, iter([b"<DataSets/>"]), Kind.XML, Attempt(10))

    assert (failed.value.code, failed.value.again) == (Code.TRANSFORMATION_FAILED, False)
    assert "405" in failed.value.message


def test_what_ends_the_attempt_ends_the_waiting_for_a_job(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    attempt = Attempt(10)
    attempt.cut(LeaseLost("gone"))

    with pytest.raises(LeaseLost):
        gfbio.transform_url(service, SOURCE, Kind.XML, attempt)
    assert len(answers.calls) == 0


def test_deleting_a_job_is_best_effort(
    service: gfbio.GFBio, answers: responses.RequestsMock
) -> None:
    answers.delete(f"{BASE}/results/7362239674/", body=requests.ConnectionError("gone"))

    gfbio.delete_job(service, "7362239674")

    assert len(answers.calls) == 1
