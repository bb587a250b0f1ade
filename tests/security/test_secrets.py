"""No secret leaves the house, whatever goes wrong and whoever quotes it: logs, labels, answers."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import grpc
import pytest

from pipeline.telemetry.redaction import secrets_of_hook
from pipeline.transform.embedded import ENVIRONMENT
from sandbox import Answered, Call, Dropped, Refused, Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.payloads import MARKED, QUERY, as_bytes, payload
from tests.running import ROOT, TOKEN, Running, running
from tests.transform.bioschemas.generate import endless
from tests.whole import Whole

from .conftest import STATUS_TOKEN
from .processes import children_of, worker_of

WAYS = {
    "relay, json": {"LOG_FORMAT": "json"},
    "direct, text": {"LOG_FORMAT": "text", "GFBIO_TRANSPORT": "direct"},
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def whole(request: pytest.FixtureRequest, aruna: Sandbox, tmp_path: Path) -> Iterator[Whole]:
    """A service that says as much as it can."""
    settings = {
        **aruna.environment(),
        "WEBHOOK_TOKEN": TOKEN,
        "STATUS_TOKEN": STATUS_TOKEN,
        "LOG_LEVEL": "debug",
        "MAX_ATTEMPTS": "1",
        **request.param,
    }
    with running(tmp_path, settings) as service:
        yield Whole.of(aruna, service, name=f"secrets-{os.urandom(4).hex()}")


@dataclass(frozen=True)
class Trouble:
    """What a peer answers to a call, with everything it knows in its words."""

    operation: str
    answer: Callable[[str], Exception]


TROUBLES = [
    Trouble("s3.get", lambda said: Answered(403, said.encode())),
    Trouble("s3.get", lambda said: Answered(503, said.encode(), {"x-said": said})),
    Trouble("s3.get", lambda said: Answered(302, b"", {"location": f"http://127.0.0.1:1/?{said}"})),
    Trouble("s3.get", lambda _: Dropped()),
    Trouble("gfbio.transform", lambda said: Answered(404, error_message(said))),
    Trouble("gfbio.transform", lambda said: Answered(500, said.encode())),
    Trouble("gfbio.transform", lambda _: Dropped()),
    Trouble("gfbio.result", lambda said: Answered(404, said.encode())),
    Trouble("grpc.CreateObject", lambda said: Refused(grpc.StatusCode.INTERNAL, said)),
    Trouble("grpc.CreateObject", lambda said: Refused(grpc.StatusCode.UNAVAILABLE, said)),
    Trouble("s3.head", lambda said: Answered(403, said.encode())),
    Trouble("s3.put", lambda said: Answered(403, s3_error(said))),
    Trouble("s3.put", lambda _: Dropped()),
    Trouble("grpc.HookCallback", lambda said: Refused(grpc.StatusCode.CANCELLED, said)),
]


def error_message(said: str) -> bytes:
    """An error as GFBio writes it."""
    return json.dumps({"error_code": 404, "error_message": said}).encode()


def s3_error(said: str) -> bytes:
    """An error as Aruna's S3 writes it."""
    return f"<Error><Code>{said}</Code><Message>{said}</Message></Error>".encode()


def test_whatever_goes_wrong_nobody_reads_a_secret(whole: Whole) -> None:
    said = [whole.service.post(b'{"token": "broken-off-token-of-a-test').text]
    sources = [whole.upload("good.xml", SAMPLE), whole.upload("page.xml", b"<html>no</html>")]
    whole.wait_for_callback(*sources)
    for number, trouble in enumerate(TROUBLES):
        sources.append(provoked(whole, trouble, f"plants-{number}.xml"))
    said += [json.dumps(whole.labels(source)) for source in sources]
    said += shown(whole.service)
    said += broken_journal(whole)
    whole.service.session.close()
    assert whole.service.stop() == 0
    said.append(whole.service.logged())

    secrets = secrets_of(whole)
    assert len(secrets) > 4 * len(sources)
    everything = "\n".join(said)
    assert "Traceback" in everything
    assert {secret for secret in secrets if secret in everything} == set()


def provoked(whole: Whole, trouble: Trouble, name: str) -> str:
    """A source whose job has met that trouble and has ended."""

    source = whole.sandbox.create_object(name, parent=whole.project, labels={"ABCD": "true"})
    met = False

    def answer(call: Call) -> None:
        nonlocal met
        if not met and call.details.get("by") != "user":
            met = True
            raise trouble.answer(" ".join([*lent(whole.service, source), *call.details.values()]))

    whole.sandbox.at(trouble.operation, answer, times=None)
    whole.sandbox.fill(source, SAMPLE)
    whole.sandbox.wait_for(lambda: ended(whole.service, source))
    assert met
    return source


def ended(service: Running, source: str) -> bool:
    with service.journal() as journal:
        return any(job.object_id == source and job.ended_at for job in journal.jobs())


def lent(service: Running, source: str) -> list[str]:
    """All that the service was lent with the hook of that source."""
    with service.journal() as journal:
        hooks = [job.hook for job in journal.jobs() if job.hook and job.object_id == source]
    return [secret for hook in hooks for secret in secrets_of_hook(hook) if secret]


def shown(service: Running) -> list[str]:
    """What the service and its commands show to operators."""
    session, url = service.session, service.url
    pages = [
        session.get(f"{url}/metrics", timeout=10).text,
        session.get(f"{url}/status", auth=("operator", STATUS_TOKEN), timeout=10).text,
        session.get(f"{url}/health", timeout=10).text,
    ]
    jobs = command(service, "jobs", "--json")
    failed = [job["id"] for job in json.loads(jobs) if job["state"] == "failed"]
    assert failed
    shown = command(service, "show", failed[0], "--json")
    return [*pages, jobs, shown, command(service, "check", "--json")]


def command(service: Running, *arguments: str) -> str:
    """What a command of the service prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **service.environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout


def broken_journal(whole: Whole) -> list[str]:
    """What is said of a hook that can't be written down."""
    body = whole.sandbox.deliveries[-1].body
    database = Path(whole.service.environment["STATE_DIR"]) / "journal.db"
    connection = sqlite3.connect(database, timeout=10)
    connection.execute("ALTER TABLE jobs RENAME TO lost")
    connection.close()
    answer = whole.service.post(body)
    assert (answer.status_code, answer.json()["error"]) == (503, "journal_unavailable")
    health = whole.service.session.get(f"{whole.service.url}/health", timeout=10)
    assert health.status_code == 503
    return [answer.text, health.text]


def secrets_of(whole: Whole) -> set[str]:
    """All that must not be read, and both ends of it: a text may have been cut."""
    secrets = {TOKEN, STATUS_TOKEN, "broken-off-token-of-a-test"}
    for delivered in whole.sandbox.deliveries:
        if delivered.hook_id != whole.hook_id:
            continue
        payload = json.loads(delivered.body)
        query = urlsplit(payload["download"]).query
        (signature,) = parse_qs(query)["X-Amz-Signature"]
        secrets |= {query, quote(query, safe=""), payload["token"], payload["access_key"]}
        for secret in (signature, payload["secret"], payload["secret_key"]):
            secrets |= {secret, secret[:12], secret[-12:]}
        secrets |= {payload["token"][-12:]}
    for call in whole.sandbox.requests("gfbio.transform"):
        path = urlsplit(call.details["url"]).path
        secrets |= {path.split("/")[2]} if path.startswith("/relay/") else set()
    return secrets


def test_an_aruna_that_is_down_is_told_of_without_what_it_lent(tmp_path: Path) -> None:
    with running(tmp_path, {"LOG_LEVEL": "debug", "LOG_FORMAT": "text"}) as service:
        taken = service.post(as_bytes(payload()))
        refused = service.post(as_bytes(payload(pubkey_serial=2, download=None)))
        with service.journal() as journal:
            while not all(job.last_error for job in journal.jobs()):
                threading.Event().wait(0.05)
        service.session.close()
        service.stop()

    assert (taken.status_code, refused.status_code) == (202, 400)
    assert "can't be reached" in service.logged()
    assert [secret for secret in (*MARKED.values(), QUERY) if secret in service.logged()] == []


def test_the_transforming_process_is_given_no_secret(service: Running, aruna: Sandbox) -> None:
    whole = Whole.of(aruna, service, name="processes")
    arrest = Arrest(aruna, "grpc.CreateObject")
    source = whole.upload("plants.xml", b"".join(endless(3_000_000)))
    arrest.wait()
    processes = [Path(f"/proc/{child}") for child in children_of(worker_of(service))]
    environments = [(process / "environ").read_bytes() for process in processes]
    arguments = [(process / "cmdline").read_bytes() for process in processes]
    arrest.let_go(effect=True)
    whole.wait_for_callback(source)

    variables = "\0".join(f"{name}={value}" for name, value in ENVIRONMENT.items()) + "\0"
    assert environments == [variables.encode()]
    assert [words.split(b"\0")[1:-1] for words in arguments] == [
        [b"-m", b"pipeline", b"transform", b"-"]
    ]
