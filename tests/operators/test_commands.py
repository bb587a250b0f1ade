"""The operators' commands, as they are typed."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import COMMANDS, main
from pipeline.errors import Code
from pipeline.journal import Journal, Outcome, State
from pipeline.operators.status import status_page

from .deliveries import (
    DAY,
    DOWNLOAD,
    LEAK,
    NOON,
    Clock,
    busy_day,
    claimed,
    delivery,
    failed,
    waiting,
)

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "ARUNA_SERVER_ADDRESS": "https://aruna.example.org",
    "WEBHOOK_TOKEN": "LEAKwebhook-token-of-the-tests",
}


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**ENVIRONMENT, "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "time", lambda: NOON)
    monkeypatch.setattr("pipeline.telemetry.logs.configure", lambda *_: None)


@pytest.fixture
def ids(journal: Journal, clock: Clock) -> dict[str, str]:
    return busy_day(journal, clock)


Output = pytest.CaptureFixture[str]


def told(capsys: Output, *argv: str) -> Any:
    """What a command says with ``--json``."""
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_jobs_lists_the_newest_first_a_line_each(ids: dict[str, str], capsys: Output) -> None:
    assert main(["jobs", "--limit", "6"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "JOB\tSOURCE\tSTATE\tAGE\tTOKEN",
        f"{ids['early']}\tMyxomycetes.zip\t▶ download\t3 s\t6 d",
        f"{ids['running']}\tHoffmannPlantsV3.xml\t▶ upload\t41 s\t6 d",
        f"{ids['waiting']}\tLichenes.xml\t· queued, in 18 s\t95 s\t6 d",
        f"{ids['gfbio']}\tsub/dir/Bryophyta.xml\t✗ gfbio_unavailable\t25 min\t6 d",
        *sorted(
            [
                f"{ids['expired']}\tOld collection (1893).xml\t✗ token_expired\t90 min\texpired",
                f"{ids['invalid']}\tminutes.xml\t✗ invalid_input\t90 min\t6 d",
            ],
            reverse=True,
        ),
    ]


def test_jobs_of_one_state(ids: dict[str, str], capsys: Output) -> None:
    found = {job["id"] for job in told(capsys, "jobs", "--state", "failed")}
    assert found == {ids["invalid"], ids["expired"], ids["gfbio"]}


@pytest.mark.usefixtures("journal")
def test_no_jobs_is_a_sentence_and_no_table(capsys: Output) -> None:
    assert main(["jobs"]) == 0
    assert main(["jobs", "--state", "failed"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "No jobs.\nNo failed jobs.\n")


def test_show_says_why_and_what_to_do(ids: dict[str, str], capsys: Output) -> None:
    assert main(["show", ids["gfbio"][:12]]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"job {ids['gfbio']} state failed why gfbio_unavailable: GFBio can't be reached" in said
    assert "what to do Check GFBio with: python -m pipeline check. Then retry the job." in said
    assert "arrived 2026-11-24 12:35:00 UTC, 25 min ago" in said
    assert "token 6 d, 2026-11-30 13:00:00 UTC" in said
    assert "STEP NO. STARTED TOOK CODE MESSAGE work 1 25 min ago" in said


def test_show_counts_the_attempts_of_each_step(journal: Journal, capsys: Output) -> None:
    claimed(journal, delivery()).retry(seconds=0, error=Outcome(Code.TIMEOUT, "slow"))
    (held,) = journal.claim("a worker", 1, 60)
    held.worked(Outcome(None))
    held.retry(seconds=60, error=Outcome(Code.CALLBACK_FAILED, "away"))

    assert main(["show", held.job.id]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "state queued, attempt 2 of the callback is due in 60 s" in said
    assert "attempts 2 of the work, 1 of the callback" in said
    assert "work 2 just now 0 s ok" in said
    record = told(capsys, "show", held.job.id)
    assert (record["attempts"], record["callback_attempts"]) == (2, 1)
    assert len(record["attempts_made"]) == 3


def test_show_gives_attempts_and_times_to_scripts(ids: dict[str, str], capsys: Output) -> None:
    job = told(capsys, "show", ids["waiting"])
    assert job["state"] == "queued"
    assert job["next_at"] == "2026-11-24T13:00:18.000Z"
    assert job["token_seconds_left"] == 6 * DAY
    assert [(one["code"], one["next_at"]) for one in job["attempts_made"]] == [
        ("upload_failed", "2026-11-24T13:00:18.000Z")
    ]


@pytest.mark.parametrize("expires", ["9e999", "-9e999", "1e15"])
def test_a_token_whose_end_is_no_date_hides_no_job(
    expires: str, ids: dict[str, str], tmp_path: Path, journal: Journal, capsys: Output
) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        where = f"WHERE id = '{ids['gfbio']}'"
        database.execute(f"UPDATE jobs SET token_expires = {expires} {where}")  # noqa: S608 - made up here
        database.commit()
    assert len(told(capsys, "jobs")) == len(journal.jobs())
    assert told(capsys, "show", ids["gfbio"])["id"] == ids["gfbio"]
    assert main(["jobs"]) == 0
    assert main(["show", ids["gfbio"]]) == 0
    assert ids["gfbio"] in status_page(journal, now=NOON)


def test_only_what_has_credentials_and_a_living_token_can_be_retried(
    ids: dict[str, str], capsys: Output
) -> None:
    can = {job["id"]: job["can_retry"] for job in told(capsys, "jobs")}
    assert can[ids["gfbio"]]
    assert not can[ids["expired"]]
    assert not can[ids["succeeded"]]
    assert not can[ids["running"]]


def test_retry_queues_a_failed_job_while_the_service_runs(
    ids: dict[str, str], journal: Journal, capsys: Output
) -> None:
    assert main(["retry", ids["gfbio"]]) == 0
    assert capsys.readouterr().out == f"{ids['gfbio']}: queued\n"
    assert journal.job(ids["gfbio"]).state is State.QUEUED


def test_retry_says_of_each_job_why_not(ids: dict[str, str], capsys: Output) -> None:
    assert main(["retry", ids["gfbio"], ids["expired"], ids["running"], "zz"]) == 1
    said = capsys.readouterr()
    assert said.out == f"{ids['gfbio']}: queued\n"
    assert f"{ids['expired']}: not queued, its token has expired\n" in said.err
    assert f"{ids['running']}: not queued, it is running\n" in said.err
    assert "zz: not queued, no job starts with zz\n" in said.err


def test_retry_failed_queues_all_that_can_be(
    ids: dict[str, str], journal: Journal, capsys: Output
) -> None:
    outcome = {one["id"]: one["queued"] for one in told(capsys, "retry", "--failed")}
    assert outcome[ids["gfbio"]]
    assert outcome[ids["invalid"]]
    assert journal.job(ids["expired"]).state is State.FAILED


def test_no_command_shows_a_secret(ids: dict[str, str], capsys: Output) -> None:
    for job in ids.values():
        main(["show", job])
        main(["show", job, "--json"])
    main(["jobs"])
    main(["jobs", "--json"])
    said = capsys.readouterr()
    assert LEAK not in (said.out + said.err).lower()


def test_a_presigned_query_in_a_message_is_shown_nowhere(journal: Journal, capsys: Output) -> None:
    message = f"GFBio refused: File not found: {DOWNLOAD}"
    job_id = failed(journal, delivery(), Code.TRANSFORMATION_FAILED, message)
    waiting(journal, delivery("b.xml"), Code.TIMEOUT, message, seconds=60)
    for argv in (["show", job_id], ["show", job_id, "--json"], ["jobs"], ["jobs", "--json"]):
        assert main(argv) == 0
    said = capsys.readouterr().out + status_page(journal, now=NOON)
    assert "GFBio refused: File not found" in said
    assert LEAK not in said.lower()


@pytest.mark.parametrize(
    ("argv", "environment", "status", "line"),
    [
        (["show", "zz"], {}, 1, "no job starts with zz"),
        (["jobs"], {"LOG_LEVEL": "loud"}, 2, "LOG_LEVEL must be one of"),
        (["jobs"], {"STATE_DIR": "/nonexistent"}, 2, "there is no journal at /nonexistent/"),
        (["jobs"], {"JOURNAL_URL": "postgresql://x@127.0.0.1:1/x"}, 1, "the journal is unavail"),
    ],
)
@pytest.mark.usefixtures("ids")
def test_an_error_is_one_line_on_stderr(
    argv: list[str],
    environment: dict[str, str],
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(argv) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["unknown"], ["retry"], ["jobs", "--state", "lost"]])
def test_wrong_arguments_end_with_2_and_the_usage(argv: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage: python -m pipeline" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", *(name for name in COMMANDS if name != "reconcile")])
def test_help_says_what_the_exit_status_means(name: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*filter(None, [name]), "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Exit status: 0 success, 1 failed, 2 wrong arguments or settings" in said


def on_a_terminal(*argv: str, columns: int, state: Path) -> list[str]:
    """The lines that a command shows on a terminal of that many columns."""
    ours, theirs = pty.openpty()
    settings = {**ENVIRONMENT, "STATE_DIR": str(state), "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *argv],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=theirs,
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: EIO once nobody has the other end open
        return b""


def test_a_table_fits_the_terminal(journal: Journal, ids: dict[str, str], tmp_path: Path) -> None:
    failed(journal, delivery("n" * 150 + ".xml"), Code.TRANSFORMATION_FAILED, "no\nresult")
    lines = on_a_terminal("jobs", columns=80, state=tmp_path)
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + len(journal.jobs()) + 1
    assert lines[1].startswith(journal.jobs()[0].id)
    assert "nnn…  ✗ transformation_failed" in lines[1]
    shown = on_a_terminal("show", ids["gfbio"], columns=60, state=tmp_path)
    assert max(map(len, shown)) <= 60


def test_a_reader_that_goes_away_is_no_error(ids: dict[str, str], tmp_path: Path) -> None:
    assert ids
    whole = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m pipeline jobs --json | head -c 1"],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, "STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (whole.stdout, whole.stderr) == ("[", "")


def test_transform_starts_without_what_the_other_commands_need() -> None:
    program = (
        "import sys; from pipeline.__main__ import main\n"
        "try: main(['transform', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stderr.split()
    assert "pipeline.operators.transform" in loaded
    heavy = {"boto3", "grpc", "sqlalchemy", "rich", "requests", "structlog", "cryptography"}
    assert heavy.isdisjoint(loaded)
