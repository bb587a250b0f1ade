"""Who may call: nobody without a token is listened to."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

import app
from pipeline.service import Service
from pipeline.settings import Settings
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.running import TOKEN, Running, running
from tests.whole import Whole

from .conftest import FORMER_TOKEN
from .wire import ask, head

STRANGERS = [
    "",
    "Bearer",
    "Bearer ",
    f"bearer {TOKEN}",
    f"BEARER {TOKEN}",
    f"Bearer  {TOKEN}",
    f"Bearer\t{TOKEN}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    f"Bearer {TOKEN},{FORMER_TOKEN}",
    f"Bearer {TOKEN}\r\nAuthorization: Bearer another-token-of-a-stranger",
    f"Bearer \xe4{TOKEN}",
    f"Token {TOKEN}",
    TOKEN,
    f"Basic {base64.b64encode(f'aruna:{TOKEN}'.encode()).decode()}",
]


@pytest.mark.parametrize("authorization", STRANGERS)
def test_a_stranger_is_turned_away_before_the_body_has_come(
    service: Running, authorization: str
) -> None:
    announced = head(
        "POST /webhook HTTP/1.1", "Content-Length: 1000", f"Authorization: {authorization}"
    )
    answer = ask(service, announced, seconds=2)
    assert (answer.status, answer.error) == (401, "unauthorized")


@pytest.mark.parametrize("length", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_a_stranger_with_an_endless_body_is_turned_away(service: Running, length: str) -> None:
    assert ask(service, head("PUT /webhook HTTP/1.1", length), seconds=2).status == 401


@pytest.mark.parametrize("authorization", ["", "Basic \xe4", f"Bearer {TOKEN}", "Basic Og=="])
def test_the_status_page_is_for_its_own_token(service: Running, authorization: str) -> None:
    answer = ask(service, head("GET /status HTTP/1.1", f"Authorization: {authorization}"))
    assert (answer.status, answer.error) == (401, "unauthorized")


@pytest.mark.parametrize("token", [TOKEN, FORMER_TOKEN])
def test_both_tokens_are_good_while_one_is_changed(service: Running, token: str) -> None:
    answer = service.post(b"{}", Authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_hook")


def test_every_token_is_compared_whole_and_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_environment(
        {
            "ARUNA_SERVER_ADDRESS": "https://aruna.example.org",
            "WEBHOOK_TOKEN": f"{TOKEN},{FORMER_TOKEN}",
            "STATE_DIR": str(tmp_path),
        }
    )
    compared: list[bytes] = []
    genuine = hmac.compare_digest

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append(expected)
        return genuine(given, expected)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    environ: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}", "PATH_INFO": "/webhook"}
    setup_testing_defaults(environ)
    environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(app.MAX_BODY + 1)}
    said: list[str] = []
    application = app.Application(Service(settings))
    list(application(environ, lambda status, _headers, _error=None: said.append(status)))

    assert [status.split()[0] for status in said] == ["413"]
    assert compared == [f"Bearer {token}".encode() for token in (TOKEN, FORMER_TOKEN)]


def test_who_is_turned_away_gets_no_callback(tmp_path: Path, aruna: Sandbox, hook: bytes) -> None:
    settings = {
        **aruna.environment(),
        "WEBHOOK_TOKEN": TOKEN,
        "WEBHOOK_SECRET": json.loads(hook)["secret"],
    }
    with running(tmp_path, settings) as service:
        whole = Whole.of(aruna, service, name="turned-away")
        source = whole.upload("plants.xml", SAMPLE)
        aruna.wait_for(lambda: not aruna.delivering)
        delivered = aruna.deliveries[-1]
        other = service.post(delivered.body, Authorization="Bearer another-token-of-a-stranger")
        own = service.post(hook)
        service.session.close()
        assert service.stop() == 0

    assert (delivered.object_id, delivered.status) == (source, 403)
    assert b'"invalid_secret"' in delivered.answer
    assert (other.status_code, own.status_code) == (401, 202)
    assert [call for call in aruna.callbacks if call.object_id == source] == []
    assert whole.status(source) == "RUNNING"
