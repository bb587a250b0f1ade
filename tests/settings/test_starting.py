"""What a start does to the machine: it listens where it is told, and leaves alone what is there."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.running import ROOT, Running, running


def run_gunicorn(service: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Another gunicorn with the service's settings, until it has ended."""
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *arguments, "app:app"],
        cwd=ROOT,
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_service_listens_on_an_ipv6_address(tmp_path: Path, host: str) -> None:
    with running(tmp_path, {"SERVER_HOST": host}) as service:
        url = f"http://[::1]:{service.environment['SERVICE_PORT']}"
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "ok"


def test_directories_that_are_there_keep_their_mode(tmp_path: Path) -> None:
    for name in ("state", "temp"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o1755)
    with running(tmp_path, {}):
        modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("state", "temp")}
    assert modes == {0o1755}


def test_neither_a_check_nor_a_second_start_removes_the_metrics_of_a_running_service(
    tmp_path: Path,
) -> None:
    with running(tmp_path, {}) as service:
        service.post(b"{")
        counted = 'abcd2bioschema_hooks_total{answer="invalid_json"} 1.0'
        assert counted in service.session.get(f"{service.url}/metrics", timeout=10).text
        kept = set((tmp_path / "temp").rglob("*.db"))
        assert run_gunicorn(service, "--check-config").returncode == 0
        assert run_gunicorn(service).returncode != 0
        assert kept <= set((tmp_path / "temp").rglob("*.db"))
        assert counted in service.session.get(f"{service.url}/metrics", timeout=10).text
