"""Malformed hooks, sent to a running service: each is answered by name, none does harm."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from app import MAX_BODY
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.payloads import as_bytes, payload
from tests.running import TOKEN, Running
from tests.web.test_payload import MALFORMED, with_member
from tests.whole import Whole

from .wire import ask, head

REFUSALS = ("invalid_json", "invalid_hook", "missing_download_url", "unsupported_resource")


def refusal(answer: requests.Response) -> tuple[str, str]:
    """Code and message of a 400 in the contract's shape."""
    said = answer.json()
    assert (answer.status_code, set(said)) == (400, {"error", "message"})
    assert answer.headers["Content-Type"] == "application/json"
    return said["error"], said["message"]


def test_each_of_hundreds_of_malformed_hooks_is_answered_with_the_fields_name(
    service: Running,
) -> None:
    for path, value in MALFORMED:
        code, message = refusal(service.post(as_bytes(with_member(path, value))))
        assert code == "invalid_hook"
        last = path.rpartition(".")[2].partition("[")[0]
        assert last in message.partition(" ")[0], (path, value)
    assert len(MALFORMED) >= 300
    assert "request.defect" not in service.logged()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"hook_id": "a", "hook_id": "b"}',
        b"\xff\xfe{}",
        b"[" * 500_000,
        b"9" * 500_000,
        gzip.compress(as_bytes(payload())),
    ],
    ids=["empty", "cut", "NaN", "twice", "UTF-16", "deep", "huge number", "gzip"],
)
def test_what_is_no_json_is_refused_at_once(service: Running, body: bytes) -> None:
    assert refusal(service.post(body))[0] == "invalid_json"


BODY = as_bytes(payload())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BODY) - 1), st.binary(max_size=3)), max_size=6))
def test_a_payload_with_broken_bytes_is_a_hook_or_refused(
    service: Running, changes: list[tuple[int, bytes]]
) -> None:
    body = bytearray(BODY)
    for at, bytes_there in changes:
        body[at : at + 1] = bytes_there
    answer = service.post(bytes(body))
    if answer.status_code not in (200, 202):
        assert refusal(answer)[0] in REFUSALS


def padded(length: int) -> bytes:
    """A good hook of so many bytes."""
    body = as_bytes(payload(padding=""))
    return body.replace(b'"padding": ""', b'"padding": "%s"' % (b"x" * (length - len(body))))


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
@pytest.mark.parametrize(("length", "status"), [(MAX_BODY, 202), (MAX_BODY + 1, 413)])
def test_a_mebibyte_is_the_most(service: Running, length: int, status: int, chunked: bool) -> None:
    body = padded(length)
    sent: Any = iter([body[:1000], body[1000:]]) if chunked else body
    answer = service.post(sent)
    assert answer.status_code == status
    assert status == 202 or answer.json()["error"] == "payload_too_large"


def test_more_than_a_mebibyte_is_refused_before_it_comes(service: Running) -> None:
    announced = head(
        "POST /webhook HTTP/1.1", f"Authorization: Bearer {TOKEN}", "Content-Length: 10000000000"
    )
    answer = ask(service, announced, seconds=2)
    assert (answer.status, answer.error) == (413, "payload_too_large")


REFUSED: list[tuple[str, Any, str]] = [
    ("object.content_len", "many", "invalid_hook: object.content_len"),
    ("object.relations", {}, "invalid_hook: object.relations"),
    ("access_key", None, "invalid_hook: access_key: is missing"),
    ("download", None, "missing_download_url: download: "),
]


def test_a_refused_hook_that_names_its_object_is_told_to_aruna(
    service: Running, aruna: Sandbox
) -> None:
    whole = Whole.of(aruna, service, name="refused")
    sources = [whole.upload(f"plants-{n}.xml", SAMPLE) for n in range(len(REFUSED))]
    whole.wait_for_callback(*sources)
    bodies = {d.object_id: json.loads(d.body) for d in aruna.deliveries if d.object_id in sources}

    for source, (path, value, _) in zip(sources, REFUSED, strict=True):
        body = bodies[source]
        holder = body["object"]["Object"] if path.startswith("object.") else body
        holder[path.rpartition(".")[2]] = value
        refusal(service.post(as_bytes(body)))

    aruna.wait_for(lambda: all("ERROR" in dict(whole.labels(source)) for source in sources))
    for source, (_, _, said) in zip(sources, REFUSED, strict=True):
        label = dict(whole.labels(source))["ERROR"]
        assert label.startswith(said), label
