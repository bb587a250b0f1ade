"""The manifest of docs/kubernetes.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
[TEXT] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/kubernetes.md").read_text(), re.S)
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(TEXT))
POD: dict[str, Any] = DOCUMENTS[0]["spec"]["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]


def test_the_manifest_holds_a_deployment_and_what_leads_to_it() -> None:
    assert [d["kind"] for d in DOCUMENTS] == ["Deployment", "Service", "PodDisruptionBudget"]
    selected = DOCUMENTS[0]["spec"]["selector"]["matchLabels"]
    assert DOCUMENTS[0]["spec"]["template"]["metadata"]["labels"] == selected
    assert DOCUMENTS[1]["spec"]["selector"] == selected
    assert DOCUMENTS[2]["spec"]["selector"]["matchLabels"] == selected


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_manifest(version: str) -> None:
    for document in DOCUMENTS:
        kubernetes_validate.validate(document, version, strict=True)
    misspelt = {**DOCUMENTS[0], "spec": {**DOCUMENTS[0]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(misspelt, version, strict=True)


def test_the_service_takes_the_settings_of_the_manifest(tmp_path: Path) -> None:
    environment = {entry["name"]: entry.get("value", "") for entry in CONTAINER["env"]}
    (tmp_path / "webhook-token").write_text("webhook-token-of-the-tests\n")
    (tmp_path / "journal-key").write_text("A" * 43 + "=\n")
    mounted = next(m["mountPath"] for m in CONTAINER["volumeMounts"] if m["name"] == "secrets")
    found = {name: value.replace(mounted, str(tmp_path)) for name, value in environment.items()}
    settings = Settings.from_environment(found)
    assert settings.journal_url.startswith("postgresql://")
    assert settings.service_port == CONTAINER["ports"][0]["containerPort"]


def test_two_replicas_share_one_journal_and_stop_gracefully() -> None:
    assert DOCUMENTS[0]["spec"]["replicas"] == 2
    assert POD["terminationGracePeriodSeconds"] > 30
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/health"
    assert "httpGet" not in CONTAINER["livenessProbe"]


def test_the_pod_runs_unprivileged_on_a_read_only_root() -> None:
    user = re.findall(r"^USER (\d+):", (ROOT / "Containerfile").read_text(), re.M)[-1]
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {m["mountPath"] for m in CONTAINER["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", "/var/lib/abcd2bioschema"}  # noqa: S108 - mounts
