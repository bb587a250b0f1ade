"""Whatever is asked, the answer is JSON in the contract's shape, and the service goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.payloads import as_bytes, payload
from tests.running import ROOT, TOKEN, Running, running

from .wire import answer_on, ask, connect, head

AUTHORIZED = f"Authorization: Bearer {TOKEN}"
NOT_FOUND = [
    "/",
    "//webhook",
    "/webhook/",
    "/webhook%00",
    "/%ff%fe",
    "/..%2f..%2fetc/passwd",
    "/../../etc/passwd",
    "/relay/",
    "/relay/x/plants.xml",
    "/relay/../x.xml",
    "/relay/%ff/x.xml",
    "/relay/" + "x" * 3000 + "/plants.xml",
]
OTHER_METHODS = {
    "/webhook": ["GET", "HEAD", "DELETE", "PATCH", "TRACE", "OPTIONS", "NONSENSE"],
    "/health": ["POST", "PUT", "DELETE", "TRACE"],
    "/metrics": ["POST"],
    "/status": ["POST", "DELETE"],
    "/relay/x/plants.xml": ["POST", "PUT", "DELETE", "PATCH"],
}
BROKEN = {
    "no HTTP": (b"nonsense\r\n\r\n", 400),
    "a bare line end": (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
    "a NUL in the method": (b"G\x00T / HTTP/1.1\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n\r\n", 400),
    "empty lines": (b"\r\n\r\n\r\n\r\n", 400),
    "a version of the future": (b"GET / HTTP/9.9\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an endless line": (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
    "a long field": (head("GET / HTTP/1.1", "A: " + "x" * 5000), 431),
    "many fields": (head("GET / HTTP/1.1", *["A: b"] * 60), 431),
    "an endless head": (b"GET / HTTP/1.1\r\nA: " + b"x" * 300_000, 431),
    "a folded field": (head("GET / HTTP/1.1", "A: b", " c"), 400),
    "a field without a name": (head("GET / HTTP/1.1", ": b"), 400),
    "a space before the colon": (head("GET / HTTP/1.1", "A : b"), 400),
    "two lengths": (head("POST /webhook HTTP/1.1", "Content-Length: 5", "Content-Length: 6"), 400),
    "a negative length": (head("POST /webhook HTTP/1.1", "Content-Length: -5"), 400),
    "a length and chunks": (
        head("POST /webhook HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"),
        400,
    ),
    "an unknown coding": (head("POST /webhook HTTP/1.1", "Transfer-Encoding: secret"), 400),
    "an unknown expectation": (head("POST /webhook HTTP/1.1", "Expect: the worst"), 400),
}
BROKEN_BODIES = {
    "a chunk of no size": b"zz\r\n\r\n",
    "a chunk of negative size": b"-5\r\nabcde\r\n",
    "a chunk without its end": b"5\r\nabcdefghij\r\n0\r\n\r\n",
    "an endless size": b"f" * 20_000,
    "a size beyond all memory": b"f" * 15 + b"\r\n{}",
}


@pytest.mark.parametrize("path", NOT_FOUND)
def test_nothing_is_told_of_paths_that_are_not_there(service: Running, path: str) -> None:
    answer = ask(service, head(f"GET {path} HTTP/1.1"))
    assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, all_ in OTHER_METHODS.items() for method in all_]
)
def test_other_methods_are_refused(service: Running, path: str, method: str) -> None:
    answer = ask(service, head(f"{method} {path} HTTP/1.1"))
    assert answer.status == 405
    assert answer.body == b"" if method == "HEAD" else answer.error == "method_not_allowed"


@pytest.mark.parametrize(("request_", "status"), BROKEN.values(), ids=BROKEN)
def test_a_request_that_is_no_http_is_answered_in_json(
    service: Running, request_: bytes, status: int
) -> None:
    answer = ask(service, request_, seconds=2)
    assert (answer.status, answer.error) == (status, "bad_request")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_body_that_is_no_http_is_refused(service: Running, body: bytes) -> None:
    fields = (AUTHORIZED, "Transfer-Encoding: chunked")
    with_garbage = head("POST /webhook HTTP/1.1", *fields) + body
    answer = ask(service, with_garbage, ended=True)
    assert (answer.status, answer.error) == (400, "invalid_json")


def test_requests_sent_at_once_are_answered_one_by_one(service: Running) -> None:
    first = b"GET /health HTTP/1.1\r\nHost: service\r\n\r\n"
    answer = ask(service, first * 3 + b"\r\n\r\nnonsense")
    assert answer.status == 200
    assert service.session.get(f"{service.url}/health", timeout=5).status_code == 200


@pytest.mark.parametrize("length", ["Content-Length: 10", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/webhook", "/health", "/nowhere"])
def test_an_answer_before_the_body_is_the_connections_last(
    service: Running, path: str, length: str
) -> None:
    with connect(service) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: service\r\n{length}\r\n\r\n".encode())
        answer = answer_on(sock)
        assert sock.recv(1) == b""
    assert answer.headers["Connection"] == "close"


def test_a_body_that_was_read_leaves_the_connection_open(service: Running) -> None:
    body = b"2\r\n{}\r\n0\r\n\r\n"
    fields = f"Host: service\r\n{AUTHORIZED}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(service) as sock:
        for _ in range(3):
            sock.sendall(f"POST /webhook HTTP/1.1\r\n{fields}".encode() + body)
            answer = answer_on(sock)
            assert (answer.status, answer.headers["Connection"]) == (400, "keep-alive")


def test_a_defect_is_told_to_the_log_alone_and_without_its_secrets(tmp_path: Path) -> None:
    broken = {"PYTHONPATH": str(ROOT / "tests" / "security" / "defect"), "LOG_LEVEL": "debug"}
    with running(tmp_path, broken) as service:
        answer = service.post(as_bytes(payload()))
        health = service.session.get(f"{service.url}/health", timeout=5)
        service.session.close()
        service.stop()

    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert set(answer.json()) == {"error", "message"}
    assert health.status_code == 200
    (defect,) = [
        line
        for line in map(json.loads, service.logged().splitlines())
        if line["event"] == "request.defect"
    ]
    assert "RuntimeError: compared" in defect["exception"]
    assert TOKEN not in service.logged()
