"""Aruna with lost hooks, a journal, and the command run upon them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.journal import Job, Journal
from pipeline.reconcile import account
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.running import TOKEN

SERVICE_URL = "http://127.0.0.1:9"
ABCD = {"ABCD": "true"}


@dataclass
class Result:
    """What a run of the command left behind."""

    status: int
    out: str
    lines: list[str]

    @property
    def found(self) -> list[dict[str, Any]]:
        """The records of a run with ``--json``."""
        records: list[dict[str, Any]] = json.loads(self.out)
        return records

    @property
    def objects(self) -> list[str]:
        """The ids of the forgotten objects."""
        return [record["object_id"] for record in self.found]


@dataclass
class Office:
    """An operator with a token, the service's journal, and a project whose hooks get lost."""

    sandbox: Sandbox
    project: str
    hook_id: str
    journal_url: str
    environment: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def lose(self, name: str, *, parent: str | None = None, **more: Any) -> str:
        """A labelled source whose hook was lost: its id."""
        source = self.sandbox.upload(
            name, SAMPLE, parent=parent or self.project, labels=ABCD, **more
        )
        self.sandbox.wait_for(lambda: not self.sandbox.delivering)
        return source

    def reconcile(self, *arguments: str, older_than: str = "0s") -> Result:
        """Run the command in this process."""
        self.capture.readouterr()
        status = main(["reconcile", "--older-than", older_than, *arguments])
        printed = self.capture.readouterr()
        return Result(status, printed.out, printed.err.splitlines())

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The service's journal."""
        journal = Journal(self.journal_url)
        journal.open()
        try:
            yield journal
        finally:
            journal.close()

    def jobs(self) -> list[Job]:
        """All jobs in the journal."""
        with self.journal() as journal:
            return journal.jobs()


def eventually(predicate: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is true of a journal, which tells nobody when it changes."""
    until = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def journal_url(tmp_path: Path) -> str:
    """Where the journal is."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def office(
    sandbox: Sandbox,
    journal_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Office:
    """A project with one hook of the service, all of whose deliveries get lost; no service runs."""
    monkeypatch.setattr(account, "FORGETFUL_PAUSE", 0.01)
    monkeypatch.setattr("pipeline.telemetry.logs.configure", lambda *_: None)
    settings = {**sandbox.environment(SERVICE_URL), "WEBHOOK_TOKEN": TOKEN}
    for name, value in {**settings, "JOURNAL_URL": journal_url}.items():
        monkeypatch.setenv(name, value)
    sandbox.aruna.loses = lambda *_: True
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[project], token=TOKEN)
    made = Office(sandbox, project, hook_id, journal_url, monkeypatch, capsys)
    with made.journal():
        return made
