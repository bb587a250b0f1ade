"""GFBio's transformation service: a request, a job there, and the result as a stream.

GFBio fetches an ``input_file_url`` itself (transports relay and direct), or takes the document as
the body of the request (transport upload, compatible services). It answers with a job whose
result is fetched next, or, to a body, with the result itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from pipeline.attempt import Attempt
from pipeline.errors import OUTAGE, Code, JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import Session
from pipeline.transform.recognise import Kind

#: Bytes of one read of a result.
READ_SIZE = 256 * 1024
#: Seconds to connect to GFBio. It answers a transformation only when it is done.
CONNECT_TIMEOUT = 10.0
#: Seconds between two looks at a job that is not finished (GFBio itself answers when it is).
POLL_PAUSE = 2.0

_ANSWER_LIMIT = 1024 * 1024
_MESSAGE_LIMIT = 160
_JOB_ID = re.compile(r"[0-9]{1,20}")
_RESULT_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_JOB_ANSWER = re.compile(rb'\s*\{\s*"job"\s*:')
#: What is said of an answer that GFBio's defects and its operator's troubles have in common: it
#: ends so at an archive that is cut off, for instance.
CRASHED = "GFBio answered 500"
#: What is said of a document that GFBio says nothing about.
NO_RESULT = "GFBio made no result of this document"


@dataclass(frozen=True)
class GFBio:
    """Where GFBio is and which transformation is wanted; ``session`` is one job's own."""

    base_url: str
    transformation_id: str
    version: str | None
    session: Session

    def query(self, kind: Kind, input_url: str | None = None) -> dict[str, str]:
        """The parameters of a request."""
        query = {
            "transformation": self.transformation_id,
            "input_file_zipped": "true" if kind is Kind.ZIP else "false",
        }
        if input_url is not None:
            query["input_file_url"] = input_url
        if self.version is not None:
            query["version"] = self.version
        return query


@dataclass(frozen=True)
class Transformed:
    """A result as a stream of bytes, and GFBio's job to delete afterwards (if it made one)."""

    job_id: str | None
    result: Iterator[bytes]


def session_for(base_url: str) -> Session:
    """A session that goes to GFBio and nowhere else, whatever address the operator gave it."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return Session(Addresses((f"{host}:{port}",), insecure=parts.scheme == "http"))


def transform_url(gfbio: GFBio, input_url: str, kind: Kind, attempt: Attempt) -> Transformed:
    """Have GFBio fetch and transform what is behind ``input_url``.

    Raises ``JobFailed``: ``gfbio_unavailable`` (again), ``transformation_failed``.
    """
    answer = _request(gfbio, "GET", attempt, params=gfbio.query(kind, input_url))
    with closing(answer):
        job = _job_in(_read_answer(gfbio, answer, attempt))
    return _result_of(gfbio, job, attempt)


def transform_body(
    gfbio: GFBio, document: Iterator[bytes], kind: Kind, attempt: Attempt
) -> Transformed:
    """Send the document as the body of a POST; the answer is the result, or a job.

    Raises as ``transform_url`` does, and whatever ``document`` raises.
    """
    content_type = "application/zip" if kind is Kind.ZIP else "application/xml"
    answer = _request(
        gfbio,
        "POST",
        attempt,
        params=gfbio.query(kind),
        data=document,
        headers={"Content-Type": content_type},
    )
    blocks = _blocks(gfbio, answer, attempt)
    head = next(blocks, b"")
    if _JOB_ANSWER.match(head):
        with closing(answer):
            job = _job_in(_parse(head + _rest_of_answer(blocks)))
        return _result_of(gfbio, job, attempt)
    return Transformed(None, _following(head, blocks))


def delete_job(gfbio: GFBio, job_id: str) -> None:
    """Remove a job and its result at GFBio, best effort (GFBio: sleeps 2 s first)."""
    url = f"{gfbio.base_url}/results/{job_id}/"
    with suppress(JobFailed), _gfbio_errors():
        gfbio.session.delete(url, timeout=CONNECT_TIMEOUT, allow_redirects=False).close()


def _request(gfbio: GFBio, method: str, attempt: Attempt, **how: Any) -> requests.Response:
    """The answer to a request for a transformation, its redirect followed."""
    url = f"{gfbio.base_url}/transform"
    with _gfbio_errors():
        answer = _send(gfbio, method, url, attempt, **how)
        if answer.is_redirect:
            answer.close()
            results = _checked_redirect(gfbio, url, answer.headers["location"])
            answer = _send(gfbio, "GET", results, attempt)
    _raise_for_status(gfbio, answer, attempt)
    return answer


def _send(gfbio: GFBio, method: str, url: str, attempt: Attempt, **how: Any) -> requests.Response:
    timeout = (CONNECT_TIMEOUT, attempt.seconds_left())
    with attempt.aborting(gfbio.session.shut):
        return gfbio.session.request(
            method, url, stream=True, allow_redirects=False, timeout=timeout, **how
        )


def _checked_redirect(gfbio: GFBio, url: str, location: str) -> str:
    """Where a redirect leads: to a job's page under GFBio's own base URL, nowhere else."""
    target = urljoin(url, location)
    path = target.removeprefix(f"{gfbio.base_url}/results/")
    if path == target or not _JOB_ID.fullmatch(path.rstrip("/")):
        raise JobFailed(
            Code.TRANSFORMATION_FAILED, "GFBio's answer leads to a place that is not its own"
        )
    return target


def _raise_for_status(gfbio: GFBio, answer: requests.Response, attempt: Attempt) -> None:
    if answer.status_code == 200:
        return
    with closing(answer):
        if answer.status_code >= 500 or answer.status_code == 429:
            raise _unavailable(f"GFBio answered {answer.status_code}")
        try:
            said = _read_answer(gfbio, answer, attempt).get("error_message")
        except JobFailed:
            said = None
    raise JobFailed(
        Code.TRANSFORMATION_FAILED, f"GFBio refused: {_quoted(said) or answer.status_code}"
    )


def _job_in(answer: dict[str, Any]) -> dict[str, Any]:
    job = answer.get("job")
    if not isinstance(job, dict) or not _JOB_ID.fullmatch(str(job.get("job_id"))):
        raise JobFailed(Code.TRANSFORMATION_FAILED, "GFBio's answer is not a job")
    return job


def _result_of(gfbio: GFBio, job: dict[str, Any], attempt: Attempt) -> Transformed:
    job_id = str(job["job_id"])
    job = _finished(gfbio, job, attempt)
    file = job.get("result_file")
    if not isinstance(file, str) or not _RESULT_FILE.fullmatch(file):
        raise JobFailed(Code.TRANSFORMATION_FAILED, NO_RESULT)
    with _gfbio_errors():
        answer = _send(gfbio, "GET", f"{gfbio.base_url}/results/{job_id}/{file}", attempt)
    if answer.status_code == 404:
        answer.close()
        raise JobFailed(Code.TRANSFORMATION_FAILED, NO_RESULT)
    _raise_for_status(gfbio, answer, attempt)
    return Transformed(job_id, _blocks(gfbio, answer, attempt))


def _finished(gfbio: GFBio, job: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
    """The job once it is complete; a compatible service may answer before it is."""
    while job.get("status") != "complete":
        if job.get("status") == "failed":
            said = _quoted(job.get("error_message")) or "it does not say why"
            raise JobFailed(Code.TRANSFORMATION_FAILED, f"GFBio's transformation failed: {said}")
        attempt.wait(POLL_PAUSE)
        with _gfbio_errors():
            page = _send(gfbio, "GET", f"{gfbio.base_url}/results/{job['job_id']}/", attempt)
        _raise_for_status(gfbio, page, attempt)
        with closing(page):
            job = _job_in(_read_answer(gfbio, page, attempt))
    return job


def _read_answer(gfbio: GFBio, answer: requests.Response, attempt: Attempt) -> dict[str, Any]:
    return _parse(_rest_of_answer(_blocks(gfbio, answer, attempt)))


def _rest_of_answer(blocks: Iterator[bytes]) -> bytes:
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > _ANSWER_LIMIT:
            raise JobFailed(Code.TRANSFORMATION_FAILED, "GFBio's answer is endless")
    return bytes(body)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise JobFailed(Code.TRANSFORMATION_FAILED, "GFBio's answer is no JSON") from error
    if not isinstance(answer, dict):
        raise JobFailed(Code.TRANSFORMATION_FAILED, "GFBio's answer is no JSON object")
    return answer


def _blocks(gfbio: GFBio, answer: requests.Response, attempt: Attempt) -> Iterator[bytes]:
    with closing(answer), attempt.aborting(gfbio.session.shut), _gfbio_errors(patience=0):
        for block in answer.iter_content(READ_SIZE):
            attempt.check()
            yield block


def _following(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


@contextmanager
def _gfbio_errors(*, patience: float = OUTAGE) -> Iterator[None]:
    """Turn the errors of requests and urllib3 into ``gfbio_unavailable``.

    ``patience`` is for a GFBio that can't be reached; an answer that took too long is expensive to
    ask for again.
    """
    try:
        yield
    except requests.ReadTimeout as error:
        raise _unavailable("GFBio did not answer in time", patience=0) from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _unavailable("GFBio did not answer in time", patience=patience) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        message = "GFBio can't be reached, or broke off its answer"
        raise _unavailable(message, patience=patience) from error


def _unavailable(message: str, *, patience: float = OUTAGE) -> JobFailed:
    return JobFailed(Code.GFBIO_UNAVAILABLE, message, again=True, patience=patience)


def _quoted(said: object) -> str:
    """GFBio's own words on one line, cut to a size that fits a label."""
    words = " ".join(said.split()) if isinstance(said, str) else ""
    return words[:_MESSAGE_LIMIT]
