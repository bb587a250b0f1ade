"""What the service logs: one line for each event, all that matters in it, and no secret."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from pipeline.telemetry import logs
from pipeline.telemetry.redaction import MASK

from .deliveries import LEAK, MARKED, delivery
from .errors import ERRORS, quoting_aruna, refusing_s3

log = structlog.get_logger("pipeline.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:], sys.excepthook, threading.excepthook)
    named = {name: logging.getLogger(name).level for name in ("sqlalchemy", "botocore")}
    yield
    root.level, root.handlers, sys.excepthook, threading.excepthook = before
    for name, level in named.items():
        logging.getLogger(name).setLevel(level)
    for name in ("gunicorn.error", "gunicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).filters.clear()
    logging.captureWarnings(False)
    logging.raiseExceptions = True
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with refusing_s3() as url:
        yield url


@pytest.fixture(scope="module")
def aruna() -> Iterator[str]:
    with quoting_aruna() as address:
        yield address


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("fail", ERRORS, ids=lambda fail: fail.__name__.strip("_"))
def test_no_error_of_any_library_shows_a_secret_even_at_debug(
    fail: Callable[[str, str], None],
    form: str,
    s3: str,
    aruna: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("debug", form)
    with logs.job_context(delivery(), job_id="1m86t7a2rsetn7et", attempt=1):
        try:
            fail(s3, aruna)
        except Exception as error:
            log.warning("job.retry", why=str(error), arguments=error.args, exc_info=True)
            log.debug("state", values=vars(error), hook=delivery(), raw=vars(delivery()))
    said = capsys.readouterr().err
    assert "job.retry" in said
    assert "Traceback" in said
    assert MASK in said
    assert LEAK not in said.lower()


def test_a_line_is_one_json_object_that_names_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    with logs.job_context(delivery(), job_id="1m86t7a2rsetn7et", attempt=2):
        log.info("job.created", stage="create", duration=0.25)
    log.info("after")
    of_job, after = lines(capsys)
    assert list(of_job)[:3] == ["time", "level", "event"]
    assert of_job.pop("time").endswith("Z")
    assert of_job == {
        "level": "info",
        "event": "job.created",
        "logger": "pipeline.test",
        "stage": "create",
        "duration": 0.25,
        "job_id": "1m86t7a2rsetn7et",
        "hook_id": delivery().hook_id,
        "object_id": delivery().object.id,
        "attempt": 2,
    }
    assert "job_id" not in after


def test_a_failed_job_is_an_error_and_one_that_succeeded_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "json")
    logs.job_ended(log, "succeeded", bytes_in=1)
    logs.job_ended(log, "failed", code="timeout")
    assert [(line["event"], line["level"]) for line in lines(capsys)] == [
        ("job.succeeded", "info"),
        ("job.failed", "error"),
    ]


def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    log.info("quiet")
    logging.getLogger("urllib3").info("quiet")
    logging.getLogger("gunicorn.error").info("quiet")
    log.warning("heard")
    assert [line["event"] for line in lines(capsys)] == ["heard"]


@pytest.mark.parametrize(
    ("logger", "level"),
    [("botocore.endpoint", logging.DEBUG), ("sqlalchemy.engine.Engine", logging.INFO)],
)
def test_bodies_and_statements_are_not_logged_even_at_debug(logger: str, level: int) -> None:
    logs.configure("debug", "json")
    assert not logging.getLogger(logger).isEnabledFor(level)


def access_line(path: str, status: str = "200") -> logging.LogRecord:
    """The record that gunicorn makes of a request."""
    atoms = {
        "m": "GET",
        "U": path,
        "q": f"X-Amz-Signature={MARKED['signature']}",
        "s": status,
        "L": "0.001234",
        "B": 123,
        "h": "192.0.2.7",
        "{authorization}i": f"Bearer {MARKED['token']}",
    }
    form = "%(m)s %(U)s?%(q)s %({authorization}i)s"
    return logging.LogRecord("gunicorn.access", logging.INFO, "", 0, form, (atoms,), None)


def test_a_request_is_fields_without_query_headers_and_relay_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "json")
    logging.getLogger("gunicorn.access").handle(access_line("/relay/LEAKrelaytoken/a.xml"))
    (line,) = lines(capsys)
    del line["time"]
    assert line == {
        "level": "info",
        "event": "request",
        "logger": "gunicorn.access",
        "method": "GET",
        "path": f"/relay/{MASK}/a.xml",
        "status": 200,
        "duration": 0.001234,
        "bytes": 123,
        "remote": "192.0.2.7",
    }


@pytest.mark.parametrize(("level", "shown"), [("info", ["503"]), ("debug", ["200", "503"])])
def test_a_probe_that_is_answered_well_is_logged_at_debug_only(
    level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level, "json")
    for status in ("200", "503"):
        logging.getLogger("gunicorn.access").handle(access_line("/health", status))
    assert [str(line["status"]) for line in lines(capsys)] == shown


def test_what_a_thread_dies_of_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")

    def die() -> None:
        raise RuntimeError(f"Bearer {MARKED['token']}")

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    (line,) = lines(capsys)
    assert (line["level"], line["event"]) == ("critical", "uncaught")
    assert "RuntimeError" in line["exception"]
    assert LEAK not in line["exception"].lower()


def test_pythons_warnings_are_lines_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("the sky is falling", stacklevel=1)
    (line,) = lines(capsys)
    assert line["logger"] == "py.warnings"
