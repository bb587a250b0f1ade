"""``check`` finds what is not in place, and says what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import main

from .deliveries import LEAK
from .peers import GFBIO, HEALTH, answering, aruna

NOWHERE = "http://127.0.0.1:1"
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _a_service_that_is_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, journal: object
) -> Iterator[None]:
    assert journal
    monkeypatch.setattr("pipeline.telemetry.logs.configure", lambda *_: None)
    with aruna() as address, answering(GFBIO) as gfbio, answering(HEALTH) as public:
        settings = {
            "ARUNA_SERVER_ADDRESS": address,
            "ALLOW_INSECURE": "true",
            "STATE_DIR": str(tmp_path),
            "WEBHOOK_TOKEN": "LEAKwebhook-token-of-the-tests",
            "GFBIO_BASE_URL": f"{gfbio}/api",
            "PUBLIC_URL": public,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield


def checked(capsys: Output) -> tuple[int, list[str]]:
    """The exit status and the lines."""
    status = main(["check"])
    return status, capsys.readouterr().out.splitlines()


def test_a_line_for_each_thing_that_is_in_place(capsys: Output) -> None:
    status, lines = checked(capsys)
    assert status == 0
    assert [line.split()[:2] for line in lines] == [
        ["ok", "configuration"],
        ["ok", "journal"],
        ["ok", "Aruna"],
        ["ok", "GFBio"],
        ["ok", "PUBLIC_URL"],
        ["ok", "clock"],
    ]
    assert "knows transformation 5, version 2" in lines[3]


def test_peers_with_ipv6_addresses_are_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with (
        aruna("[::1]") as address,
        answering(GFBIO, host="[::1]") as gfbio,
        answering(HEALTH, host="[::1]") as public,
    ):
        monkeypatch.setenv("ARUNA_SERVER_ADDRESS", address)
        monkeypatch.setenv("GFBIO_BASE_URL", f"{gfbio}/api")
        monkeypatch.setenv("PUBLIC_URL", public)
        status, lines = checked(capsys)
    assert status == 0, lines


def test_scripts_get_the_same_as_json(capsys: Output) -> None:
    assert main(["check", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in findings if one["ok"]][:3] == [
        "configuration",
        "journal",
        "Aruna",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("LOG_LEVEL", "loud", "FAILED  configuration  LOG_LEVEL must be one of"),
        ("JOURNAL_URL", "sqlite:////nonexistent/journal.db", "/nonexistent/journal.db does not"),
        ("JOURNAL_URL", "postgresql://x:LEAK@127.0.0.1:1/x", "see that postgresql://***@127.0"),
        ("ARUNA_SERVER_ADDRESS", NOWHERE, f"Aruna          {NOWHERE} can't be reached; see that"),
        ("GFBIO_BASE_URL", f"{NOWHERE}/api", "GFBio          http://127.0.0.1:1/api/transformat"),
        ("TRANSFORMATION_ID", "77", "has no transformation 77; see TRANSFORMATION_ID"),
        ("TRANSFORMATION_ID", "6", "/api/transformations/6 answered 404; see GFBIO_BASE_URL"),
        ("TRANSFORMATION_VERSION", "1", "takes version 2, not 1; set TRANSFORMATION_VERSION=2"),
        ("PUBLIC_URL", NOWHERE, "see that the proxy in front passes PUBLIC_URL on to it"),
    ],
)
def test_what_is_wrong_is_one_line_with_what_to_do(
    variable: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv(variable, value)
    status, lines = checked(capsys)
    assert status == 1
    (wrong,) = [said for said in lines if said.startswith("FAILED")]
    assert line in wrong
    assert LEAK not in wrong.lower()


def test_a_public_url_that_leads_elsewhere_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with answering({"/health": '{"status": "ok"}'}) as other:
        monkeypatch.setenv("PUBLIC_URL", other)
        status, lines = checked(capsys)
    assert status == 1
    assert f"{other}/health is not answered by this service" in lines[4]


@pytest.mark.parametrize(("ahead", "status"), [(-50.0, 0), (-400.0, 1), (400.0, 1)])
def test_a_clock_that_is_more_than_a_minute_off_is_found(
    ahead: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with answering(HEALTH, ahead=ahead) as public:
        monkeypatch.setenv("PUBLIC_URL", public)
        found, lines = checked(capsys)
    assert found == status
    assert "apart from PUBLIC_URL's" in lines[5]


def test_a_journal_that_cannot_be_written_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("JOURNAL_URL", "sqlite:////proc/version")
    status, lines = checked(capsys)
    assert status == 1
    assert lines[1].startswith("FAILED  journal")


def test_the_embedded_transformer_is_tried_on_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("TRANSFORMER", "embedded")
    status, lines = checked(capsys)
    assert status == 0
    assert lines[3].startswith("ok      transformer    the embedded one made")
