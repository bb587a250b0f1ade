"""What a running service keeps on the disk is its own user's alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.payloads import as_bytes, payload
from tests.running import ROOT, Running, running


def modes(directory: Path) -> dict[str, int]:
    """The permissions of everything in a directory, and its own under ``.``."""
    found = {path.name: path for path in directory.iterdir()}
    return {
        name: stat.S_IMODE(path.stat().st_mode) for name, path in {**found, ".": directory}.items()
    }


def test_the_journal_and_the_heartbeats_are_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with running(tmp_path, {"TRANSFORMER": "embedded"}) as service:
            assert service.post(as_bytes(payload())).status_code == 202
            state = modes(tmp_path / "state")
            temporary = modes(tmp_path / "temp")
    finally:
        os.umask(before)

    assert state.pop(".") == 0o700
    assert {"journal.db", "journal.db-wal"} <= set(state)
    assert set(state.values()) == {0o600}
    assert temporary["."] == 0o700


def refused(service: Running) -> str:
    """What a start says that must fail."""
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
        cwd=ROOT,
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_link_that_somebody_else_laid_is_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    taken = tmp_path / "taken"
    taken.symlink_to(theirs)
    with running(tmp_path / "service", {"TEMP_DIR": str(taken)}, start=False) as service:
        line = refused(service)
    assert f"TEMP_DIR {taken} belongs to somebody else" in line
    assert list(theirs.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("variable", ["TEMP_DIR", "STATE_DIR"])
def test_a_directory_of_another_user_is_not_used(tmp_path: Path, variable: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    with running(tmp_path / "service", {variable: str(theirs)}, start=False) as service:
        line = refused(service)
    assert f"{variable} {theirs} belongs to somebody else" in line
