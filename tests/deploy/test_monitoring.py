"""Alerts and dashboard: what they ask for exists, and Prometheus understands it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.journal import Journal
from pipeline.telemetry.metrics import Metrics
from tests.deploy.conftest import Tool

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
QUERIES: list[str] = [target["expr"] for p in DASHBOARD["panels"] for target in p["targets"]]


def test_promtool_finds_no_fault_in_the_alerts_and_they_fire_when_they_should(
    tool: Tool, tmp_path: Path
) -> None:
    (tmp_path / "alerts.yaml").write_bytes(ALERTS.read_bytes())
    cases = tmp_path / "cases.yaml"
    cases.write_bytes(Path(__file__).with_name("alerts_test.yaml").read_bytes())
    promtool = tool("promtool")
    for arguments in (
        ["check", "rules", str(tmp_path / "alerts.yaml")],
        ["test", "rules", str(cases)],
    ):
        said = subprocess.run([promtool, *arguments], capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


def test_the_cases_leave_no_alert_out() -> None:
    cases = Path(__file__).with_name("alerts_test.yaml").read_text()
    assert re.findall(r'alertname="(\w+)"', cases) == [rule["alert"] for rule in RULES]


def test_promtool_understands_every_query_of_the_dashboard(tool: Tool, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    said = subprocess.run([tool("promtool"), "check", "rules", str(file)], capture_output=True)
    assert said.returncode == 0, said.stderr


def test_all_that_alerts_and_dashboard_ask_for_is_exposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    journal.open()
    try:
        exposed = Metrics().exposition(journal).decode()
    finally:
        journal.close()
    asked = " ".join([*QUERIES, *(rule["expr"] for rule in RULES)])
    for name in sorted(set(re.findall(r"abcd2bioschema_\w+", asked))):
        assert re.search(rf"^{name}[ {{]", exposed, re.M), name
    for label, value in set(re.findall(r'(code|answer)="(\w+)"', asked)):
        assert f'{label}="{value}"' in exposed


def test_the_dashboard_leaves_no_metric_out() -> None:
    source = (ROOT / "pipeline/telemetry/metrics.py").read_text()
    named = set(re.findall(r'_(?:counter|gauge)\(\s*"(\w+)"', source))
    assert len(named) > 6
    asked = " ".join(QUERIES)
    assert {name for name in named if f"abcd2bioschema_{name}" not in asked} == set()


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_each_alert_says_what_is_wrong_and_where_the_mend_stands(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    path, _, anchor = annotations["runbook_url"].partition("#")
    assert anchor == f"alert-{rule['alert'].lower()}"
    headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.M)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
