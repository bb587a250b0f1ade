"""The command as operators see it: what it prints, what it leaves alone, and how it fails."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.journal import reconcile_runs
from sandbox import Call, Dropped, forbidden, new_ulid
from tests.conftest import SAMPLE
from tests.reconcile.conftest import SERVICE_URL, Office
from tests.running import ROOT

READING = {
    "grpc.ListOwnedHooks",
    "grpc.ListProjectHooks",
    "grpc.GetProject",
    "grpc.GetCollection",
    "grpc.GetDataset",
    "grpc.GetObjects",
}


def test_a_dry_run_changes_nothing(office: Office) -> None:
    source = office.lose("plants.xml")
    before = office.sandbox.object(source)
    seen = len(office.sandbox.requests())
    office.environment.setenv("ARUNA_TOKEN", office.sandbox.create_token())
    result = office.reconcile("--dry-run", "--json")

    assert (result.objects, result.found[0]["job_id"]) == ([source], None)
    assert {call.operation for call in office.sandbox.requests()[seen:]} <= READING
    assert office.sandbox.object(source) == before
    with office.journal() as journal:
        assert (journal.jobs(), journal.noted("reconcile")) == ([], None)


def test_the_table_says_what_where_since_when_and_why(office: Office) -> None:
    source = office.lose("plants.xml")
    result = office.reconcile()
    header, row = (line.split("\t") for line in result.out.splitlines())
    assert header == ["OBJECT", "PROJECT", "PATH", "SINCE", "WHY"]
    assert row[:3] == [source, "garden", "plants.xml"]
    assert row[4] == "RUNNING"
    assert result.lines == ["Looked at: 1, lost: 1, queued: 1."]


def test_a_terminal_of_80_columns_shows_a_table_and_a_progress_bar(office: Office) -> None:
    source = office.lose("a very long name of a very long file about very long plants.xml")
    shown = _on_a_terminal("reconcile", "--older-than", "0", "--dry-run")
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert max(map(len, lines)) <= 80
    assert any(source in line and "…" in line and "RUNNING" in line for line in lines)
    assert any(line.startswith("objects ━") and "1/1" in line for line in lines)


def test_each_run_is_noted_for_the_metrics(office: Office) -> None:
    office.lose("plants.xml")
    office.reconcile()
    with office.journal() as journal:
        noted = reconcile_runs.read(journal)
    assert (noted.found, noted.unknown) == (1, 0)
    assert noted.last_run > 0


def test_two_runs_at_once_come_one_after_the_other(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.lose("plants.xml")
    with office.journal() as journal:
        journal.named_lease("reconcile", "another process", 60)
        monkeypatch.setattr(
            "pipeline.operators.reconcile.time.sleep",
            lambda _: journal.named_lease("reconcile", "another process", 0),
        )
        result = office.reconcile("--json")
    assert len(result.objects) == 1
    assert result.lines[0] == "waiting for another reconcile to end"


def test_without_a_token_there_is_one_line(office: Office) -> None:
    office.environment.delenv("ARUNA_TOKEN")
    result = office.reconcile()
    assert result.status == 2
    assert len(result.lines) == 1
    assert result.lines[0].startswith("ARUNA_TOKEN is missing; set it to ")


def test_an_expired_token_is_one_line_and_no_call(office: Office) -> None:
    office.environment.setenv("ARUNA_TOKEN", office.sandbox.create_token(expires_in=-60))
    result = office.reconcile()
    assert result.status == 1
    assert len(result.lines) == 1
    assert result.lines[0].startswith("ARUNA_TOKEN expired on ")
    assert office.sandbox.requests("grpc.ListOwnedHooks") == []


def test_a_token_that_aruna_does_not_know_is_one_line(office: Office) -> None:
    office.environment.setenv("ARUNA_TOKEN", "nonsense")
    result = office.reconcile()
    assert result.status == 1
    assert result.lines[0] == (
        "hooks: only a valid personal ARUNA_TOKEN lists them (Aruna says: Unauthorized)"
    )
    assert len(result.lines) == 2


def test_missing_rights_and_a_project_that_is_gone_hide_no_other(office: Office) -> None:
    sandbox, source = office.sandbox, office.lose("plants.xml")
    forbidden, gone = (
        sandbox.create_project("other", user=sandbox.create_user()),
        new_ulid(),
    )
    named = (f"--project={project}" for project in (forbidden, gone, office.project))
    result = office.reconcile("--json", *named)

    assert (result.status, result.objects) == (1, [source])
    assert [line.partition(": ")[0] for line in result.lines[:2]] == [
        f"project {forbidden}",
        f"project {gone}",
    ]
    assert len(office.jobs()) == 1


def test_a_project_of_ours_that_is_gone_hides_no_other(office: Office) -> None:
    second = office.sandbox.create_project("meadow")
    office.sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[second], key="^MEADOW$")
    labels = {"MEADOW": "1"}
    source = office.sandbox.upload("a.xml", SAMPLE, parent=second, labels=labels)

    def refused(_: Any) -> None:
        raise forbidden()

    office.sandbox.at("grpc.GetProject", refused, times=3)
    result = office.reconcile("--json")
    assert (result.status, result.objects) == (1, [source])
    assert result.lines[0].startswith(f"project {office.project}: it is gone, or ARUNA_TOKEN")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--hook", "01JHHKABCDEFGHJKMNPQRSTVW0"], "hook 01JHHKABCDEFGHJKMNPQRSTVW0: the owner"),
        (["--project", "{empty}"], "project {empty}: no hook of this service covers it"),
    ],
)
def test_what_is_named_and_not_there_is_said(
    office: Office, arguments: list[str], line: str
) -> None:
    empty = office.sandbox.create_project("empty")
    result = office.reconcile(*(argument.format(empty=empty) for argument in arguments))
    assert result.status == 1
    assert result.lines[0].startswith(line.format(empty=empty))


def test_without_hooks_of_this_service_there_is_one_line(office: Office) -> None:
    office.environment.setenv("PUBLIC_URL", "https://nobody.example")
    result = office.reconcile()
    assert result.status == 1
    assert result.lines[0] == (
        "hooks: the owner of ARUNA_TOKEN has registered none for this service"
    )


def test_an_aruna_that_does_not_answer_is_one_line(office: Office) -> None:
    office.environment.setenv("ARUNA_SERVER_ADDRESS", "http://127.0.0.1:9")
    result = office.reconcile()
    assert result.status == 1
    assert result.lines[0].startswith("Aruna: it does not answer (")
    assert result.lines[1:] == ["Looked at: 0, lost: 0, queued: 0."]


def test_an_aruna_that_goes_away_leaves_what_is_done_and_the_next_run_its_turn(
    office: Office,
) -> None:
    first, second = sorted(office.lose(f"{number}.xml") for number in range(2))

    def gone(call: Call) -> None:
        if call.details["object_id"] == second:
            raise Dropped

    office.sandbox.at("grpc.GetObject", gone, times=None)
    result = office.reconcile("--json")
    assert (result.status, result.objects) == (1, [first])
    assert result.lines[0].startswith("Aruna: it does not answer (")
    with office.journal() as journal:
        assert [job.object_id for job in journal.jobs()] == [first]
        assert reconcile_runs.read(journal) == reconcile_runs.NEVER
        assert journal.named_lease("reconcile", "the next one", 1)


def test_no_secret_is_shown(office: Office) -> None:
    office.lose("plants.xml")
    shown = [office.reconcile("--json"), office.reconcile()]
    hook = office.jobs()[0].hook
    assert hook is not None
    everything = "".join(result.out + "".join(result.lines) for result in shown)
    for secret in (
        hook.credentials.token,
        hook.credentials.secret,
        hook.credentials.secret_key,
        hook.credentials.access_key,
    ):
        assert secret not in everything


@pytest.mark.parametrize("text", ["soon", "-1s", "1.5h", ""])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reconcile", "--older-than", text])
    assert ended.value.code == 2


def _on_a_terminal(*arguments: str) -> str:
    """What the command shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=ROOT,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux: EIO once the other side is closed
        while block := os.read(ours, 65536):
            shown += block
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return shown.decode()
