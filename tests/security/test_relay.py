"""The relay opens one job's download to whoever has its token, while the job waits for GFBio."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from pipeline.web.relay import FETCHES
from sandbox import Answered, Call, Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.running import TOKEN, Running, running
from tests.whole import Whole

from .wire import Answer, ask, head

#: What the data proxy says beside the content, and nobody else has to know.
PROXYS_HEADERS = {"etag": '"marked-etag"', "x-amz-meta-marked": "marked", "server": "marked"}


@pytest.fixture(scope="module")
def house(aruna: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that has GFBio transform, by its relay."""
    settings = {**aruna.environment(), "WEBHOOK_TOKEN": TOKEN, "MAX_ATTEMPTS": "1"}
    with running(tmp_path_factory.mktemp("relaying"), settings) as started:
        yield started


@pytest.fixture
def whole(aruna: Sandbox, house: Running, request: pytest.FixtureRequest) -> Whole:
    return Whole.of(aruna, house, name=f"relay-{abs(hash(request.node.nodeid)) % 10**12}")


class Open:
    """A relay that is open: a job's request to GFBio is held."""

    def __init__(self, whole: Whole, name: str = "plants.xml", operation: str = "gfbio.transform"):
        self.whole = whole
        self._arrest = Arrest(whole.sandbox, operation)
        self.source = whole.upload(name, SAMPLE)
        self._arrest.wait()
        self.url = whole.sandbox.requests("gfbio.transform")[-1].details["url"]

    def __enter__(self) -> Open:
        return self

    def __exit__(self, *_error: object) -> None:
        self._arrest.let_go(effect=True)
        self.whole.wait_for_callback(self.source)

    @property
    def token(self) -> str:
        return urlsplit(self.url).path.split("/")[2]

    def fetch(self, method: str = "GET", *fields: str, path: str | None = None) -> Answer:
        """The relay's answer, of the URL as it is or of another path."""
        asked = path or urlsplit(self.url).path
        return ask(self.whole.service, head(f"{method} {asked} HTTP/1.1", *fields))


def test_the_download_passes_whole_and_nothing_else_of_the_source(whole: Whole) -> None:
    with Open(whole) as relay:
        got = relay.fetch()
        ranged = relay.fetch("GET", "Range: bytes=5-9", "If-Range: x")
        looked = relay.fetch("HEAD")

    for answer in (got, ranged, looked):
        assert answer.status == 200
        assert set(answer.headers) == {
            *("Server", "Date", "Connection", "Content-Type", "Content-Length")
        }
        assert "s3" not in answer.headers["Server"].lower()
    assert (got.body, ranged.body, looked.body) == (SAMPLE, SAMPLE, b"")
    assert got.headers["Content-Type"] == "application/xml"


def test_a_token_has_256_bits_and_is_never_the_same(whole: Whole) -> None:
    tokens = set()
    for name in ("plants.xml", "animals.xml"):
        with Open(whole, name) as relay:
            assert len(base64.urlsafe_b64decode(relay.token + "=")) == 32
            tokens.add(relay.token)
    assert len(tokens) == 2


def test_a_relay_is_for_reading_alone(whole: Whole) -> None:
    with Open(whole) as relay:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert relay.fetch(method).error == "method_not_allowed"


def test_whoever_has_not_the_token_learns_nothing(whole: Whole) -> None:
    with Open(whole) as relay:
        token = relay.token
        changed = "b" if token.startswith("a") else "a"
        wrong = [f"{changed}{token[1:]}", token[:-1], f"{token}x", "x" * 43, token.swapcase()]
        answers = [relay.fetch(path=f"/relay/{other}/plants.xml") for other in wrong]
        answers += [relay.fetch(path=f"/relay/{token}/plants.txt")]
    answers += [relay.fetch(), relay.fetch("GET", "Range: bytes=0-0")]

    assert {(answer.status, answer.body) for answer in answers} == {(404, answers[0].body)}
    assert answers[0].error == "not_found"


def test_a_token_is_void_as_soon_as_gfbio_has_answered(whole: Whole) -> None:
    with Open(whole, operation="grpc.CreateObject") as relay:
        assert relay.fetch().error == "not_found"


def test_a_download_is_not_passed_on_for_ever(whole: Whole) -> None:
    with Open(whole) as relay:
        statuses = [relay.fetch("HEAD").status for _ in range(FETCHES + 2)]
    assert statuses == [200] * FETCHES + [404] * 2


def test_a_source_that_fails_is_told_of_without_its_words(whole: Whole) -> None:
    def refuse(call: Call) -> object:
        raise Answered(403, f"<Error>marked {call.details}</Error>".encode(), PROXYS_HEADERS)

    with Open(whole) as relay:
        whole.sandbox.at("s3.get", refuse)
        answer = relay.fetch()

    assert (answer.status, answer.error) == (502, "download_failed")
    told = json.dumps(answer.headers) + answer.body.decode()
    for secret in ("marked", "X-Amz", "s3", urlsplit(whole.sandbox.s3_url).netloc):
        assert secret not in told
