"""Secrets are masked by their value while they are known, and by their looks always."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from pipeline.telemetry import redaction
from pipeline.telemetry.redaction import MASK, hiding, redact

from .deliveries import DOWNLOAD, LEAK, MARKED, delivery

JWT = "eyJhbGciOiJFZERTQSJ9.eyJleHAiOjE3OTUsTEVBSyI6MX0.LEAKsignature_-0"

LEAKY = [
    f"GET {DOWNLOAD.format(name='a.xml')} failed",
    "Max retries exceeded with url: /a.xml?X-Amz-Signature=LEAK (Caused by NewConnectionError)",
    "X-Amz-Credential=LEAK&X-Amz-Date=20261124T084915Z",
    "input_file_url=https%3A%2F%2Fs3%2Fa.xml%3FX-Amz-Signature%3DLEAK",
    "{'Authorization': b'AWS4-HMAC-SHA256 Credential=LEAK/2026, Signature=LEAK'}",
    '{"Authorization": "Bearer LEAKtoken1"}',
    "(('authorization', 'Bearer LEAKtoken1'), ('user-agent', 'grpc'))",
    "Authorization: Basic TEVBSw==LEAK",
    "invalid token: Bearer LEAKtoken-of-16.characters",
    f"the token {JWT} has expired",
    "POST /relay/LEAKrelaytoken/plants.xml HTTP/1.1",
    "GET /api/transform?input_file_url=https%3A%2F%2Fa.org%2Frelay%2FLEAKrelay-token%2Fa.xml",
    "could not connect to postgresql://service:LEAK@db.example.org/journal",
    "postgresql://service:p@LEAK@db.example.org/journal",
    "{'token': 'LEAK', 'access_key': 'LEAK', 'secret_key': \"LEAK\"}",
    'secret: "LEAK+/=" hook_id: "01HOOK"',
    "[parameters: ('01JOB', 'x.LEAK ... (170 characters truncated) ... LEAK')]",
]


@pytest.mark.parametrize("text", LEAKY)
def test_what_looks_like_a_secret_is_masked_whoever_wrote_it(text: str) -> None:
    masked = redact(text)
    assert MASK in masked
    assert LEAK not in masked.lower()


@pytest.mark.parametrize(
    "text",
    [
        "secret: is missing",
        "needs a bearer token",
        "token: must be a text",
        "http://127.0.0.1:5000/webhook?page=2",
        "the hook's registration ended on 2026-11-24 11:59 UTC; it must be registered anew",
        "GFBio refused: File larger than 100MB",
        "the relay was cut off; relay: no answer",
        "https://herbarium.s3.example.org/plants/a.xml",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("spelled", [str, quote, lambda t: quote(t, safe=""), json.dumps, repr])
def test_a_known_value_is_masked_in_every_spelling(spelled: object) -> None:
    assert callable(spelled)
    for value in ("a/b+c=d", 'quote"and\\slash', "Umlaut-ü-value"):
        with hiding([value]):
            assert redact(f"<{spelled(value)}>").strip("<\"'>") == MASK


def test_a_value_is_masked_until_the_last_job_that_has_it_ends() -> None:
    with hiding(["shared-value"]):
        with hiding(["shared-value", None, ""]):
            assert redact("a shared-value") == f"a {MASK}"
        assert redact("a shared-value") == f"a {MASK}"
    assert redact("a shared-value") == "a shared-value"


def test_a_value_within_another_one_does_not_uncover_the_rest() -> None:
    with hiding(["abcd", "abcd-and-more"]):
        assert redact("abcd-and-more abcd") == f"{MASK} {MASK}"


def test_too_short_a_value_does_not_blank_out_whole_lines() -> None:
    with hiding(["e"]):
        assert redact("the service") == "the service"


def test_all_that_a_delivery_lends_is_hidden() -> None:
    hook = delivery()
    lent = [hook.credentials.token, *(MARKED[name] for name in MARKED if name != "token")]
    with hiding(redaction.secrets_of_hook(hook)):
        for value in lent:
            assert redact(f"<{value}>") == f"<{MASK}>"
