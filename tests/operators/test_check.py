"""``check`` finds what is not in place, and says what to do about it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import main
from sandbox import Sandbox, internal

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
        ["skipped", "data"],
        ["ok", "GFBio"],
        ["ok", "PUBLIC_URL"],
        ["ok", "clock"],
    ]
    assert "knows transformation 5, version 2" in lines[4]


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
        ("LOG_LEVEL", "loud", "failed  configuration  LOG_LEVEL must be one of"),
        ("JOURNAL_URL", "sqlite:////nonexistent/journal.db", "/nonexistent/journal.db does not"),
        ("JOURNAL_URL", "postgresql://x:LEAK@127.0.0.1:1/x", "check that postgresql://***@127.0"),
        ("ARUNA_SERVER_ADDRESS", NOWHERE, f"Aruna          {NOWHERE} can't be reached; check that"),
        ("GFBIO_BASE_URL", f"{NOWHERE}/api", "GFBio          http://127.0.0.1:1/api/transformat"),
        ("TRANSFORMATION_ID", "77", "has no transformation 77; check TRANSFORMATION_ID"),
        ("TRANSFORMATION_ID", "6", "/api/transformations/6 answered 404; check GFBIO_BASE_URL"),
        ("TRANSFORMATION_VERSION", "1", "takes version 2, not 1; set TRANSFORMATION_VERSION=2"),
        ("PUBLIC_URL", NOWHERE, "check that the reverse proxy passes PUBLIC_URL on to it"),
    ],
)
def test_what_is_wrong_is_one_line_with_what_to_do(
    variable: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv(variable, value)
    status, lines = checked(capsys)
    assert status == 1
    (wrong,) = [said for said in lines if said.startswith("failed")]
    assert line in wrong
    assert LEAK not in wrong.lower()


def test_a_public_url_that_leads_elsewhere_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with answering({"/health": '{"status": "ok"}'}) as other:
        monkeypatch.setenv("PUBLIC_URL", other)
        status, lines = checked(capsys)
    assert status == 1
    assert f"{other}/health does not answer as this service does" in lines[5]


@pytest.mark.parametrize(("ahead", "status"), [(-5.0, 0), (-15.0, 1), (400.0, 1)])
def test_a_clock_that_differs_by_a_good_part_of_a_lease_is_found(
    ahead: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with answering(HEALTH, ahead=ahead) as public:
        monkeypatch.setenv("PUBLIC_URL", public)
        found, lines = checked(capsys)
    assert found == status
    assert "from PUBLIC_URL's" in lines[6]


def test_the_clock_is_compared_with_the_databases(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("JOURNAL_URL", postgresql_url)
    with monkeypatch.context() as an_hour_later:
        real = time.time
        an_hour_later.setattr("pipeline.journal.clock.time.time", lambda: real() + 3600)
        status, lines = checked(capsys)
    assert status == 1
    assert lines[-1].startswith("failed  clock          differs by 3600 s from")
    monkeypatch.setenv("PUBLIC_URL", NOWHERE)
    monkeypatch.setenv("GFBIO_BASE_URL", NOWHERE)
    assert checked(capsys)[1][-1].startswith(
        "ok      clock          differs by 0 s from the database's"
    )


@pytest.mark.parametrize("versions", ['"2"', '["1", "2"]', "{}", "[[]]", "null", "7"])
def test_an_answer_of_gfbio_of_another_shape_is_no_traceback(
    versions: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    known = f'{{"transformation": {{"transformation_id": "5", "versions": {versions}}}}}'
    with answering({"/api/transformations/5": known}) as gfbio:
        monkeypatch.setenv("GFBIO_BASE_URL", f"{gfbio}/api")
        status, lines = checked(capsys)
    assert status == 0
    assert "knows transformation 5, version unknown" in lines[4]


def data_proxy(capsys: Output) -> str:
    """The line about the data proxy."""
    return next(line for line in checked(capsys)[1] if "data proxy" in line)


@pytest.fixture
def ours(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An Aruna with a hook of this service, and an operator's token for it."""
    project = sandbox.create_project("garden")
    url = f"{os.environ['PUBLIC_URL']}/webhook"
    sandbox.register_hook(url=url, projects=[project])
    monkeypatch.setenv("ARUNA_SERVER_ADDRESS", sandbox.grpc_url)
    monkeypatch.setenv("ARUNA_TOKEN", sandbox.owner_token)
    return sandbox


def test_the_data_proxy_behind_our_projects_is_asked(ours: Sandbox, capsys: Output) -> None:
    assert data_proxy(capsys) == f"ok      data proxy     {ours.s3_url}/garden answers"


def test_a_data_proxy_that_does_not_answer_aruna_is_found(ours: Sandbox, capsys: Output) -> None:
    def away(_: object) -> None:
        raise internal("Failed to add endpoint to user : transport error")

    ours.at("grpc.GetS3CredentialsUserToken", away)
    status, lines = checked(capsys)
    assert status == 1
    assert lines[3].startswith(
        "failed  data proxy     the one of project garden: Aruna does not reach the data proxy"
    )


@pytest.mark.usefixtures("ours")
def test_a_data_proxy_that_may_not_be_reached_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "s3.example.org")
    line = data_proxy(capsys)
    assert line.startswith("failed")
    assert "the host 127.0.0.1 is not one this service may fetch from; check that ALLOWED" in line


def test_what_a_token_does_not_show_of_the_data_proxy_is_said(
    ours: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("ARUNA_TOKEN", ours.create_token(user=ours.create_user()))
    assert "skipped data proxy     the owner of ARUNA_TOKEN has registered no" in data_proxy(capsys)
    monkeypatch.setenv("ARUNA_TOKEN", "nonsense")
    assert "skipped data proxy     ARUNA_TOKEN does not suffice" in data_proxy(capsys)
    monkeypatch.delenv("ARUNA_TOKEN")
    assert "skipped data proxy     set ARUNA_TOKEN" in data_proxy(capsys)


def test_a_journal_that_cannot_be_written_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("JOURNAL_URL", "sqlite:////proc/version")
    status, lines = checked(capsys)
    assert status == 1
    assert lines[1].startswith("failed  journal")


def test_the_embedded_transformer_is_tried_on_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("TRANSFORMER", "embedded")
    status, lines = checked(capsys)
    assert status == 0
    assert lines[4].startswith("ok      transformer    embedded: ")
