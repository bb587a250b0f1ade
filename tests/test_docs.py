"""The documentation says what is there: settings, commands, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.__main__ import COMMANDS
from pipeline.errors import Code
from pipeline.journal import Journal
from pipeline.operators.advice import ADVICE
from pipeline.settings import settings_table
from pipeline.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_BETWEEN_MARKS = re.compile(r"<!-- settings -->\n+(.*?)\n+<!-- /settings -->", re.DOTALL)
_METRIC = re.compile(r"\babcd2bioschema_[a-z0-9_]+")


def test_readmes_table_of_settings_is_the_one_the_code_has() -> None:
    found = _BETWEEN_MARKS.search(README.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == settings_table(), "run: make docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_mentions_every_command(command: str) -> None:
    assert f"python -m pipeline {command}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", Code)
def test_every_code_has_advice_for_an_operator(code: Code) -> None:
    assert ADVICE[code].endswith(".")


def _files_with_metrics() -> list[Path]:
    files = (ROOT / "deploy").rglob("*")
    return [file for file in files if file.suffix in (".yaml", ".yml", ".json")]


def test_every_metric_that_a_panel_or_an_alert_asks_for_is_exposed(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    journal.open()
    exposed = set(_METRIC.findall(Metrics().exposition(journal).decode()))
    journal.close()
    asked = {
        metric: file.name
        for file in _files_with_metrics()
        for metric in _METRIC.findall(file.read_text(encoding="utf-8"))
    }
    assert asked
    assert {metric: file for metric, file in asked.items() if metric not in exposed} == {}
