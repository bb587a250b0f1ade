"""The journal cannot be written: sender and researcher are told, and it passes by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import assert_done_once, eventually, wait_for_the_end
from tests.journal.line import Line
from tests.running import Running
from tests.whole import Whole

_DISK = "2m"
_BLOCK = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0700", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system can't be mounted here")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def line(postgresql_url: str) -> Iterator[Line]:
    """The way to PostgreSQL, which can be cut and mended."""
    line = Line(postgresql_url)
    yield line
    line.cut()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """There is no room left on the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(_BLOCK)):
                pass
        except OSError:
            yield
    ballast.unlink()


def health(service: Running) -> int:
    """The status of ``/health``."""
    return service.session.get(f"{service.url}/health", timeout=30).status_code


def assert_refused_and_told(whole: Whole, name: str) -> None:
    """A hook that can't be kept: 503 to Aruna, and the error label from memory."""
    source = whole.upload(name, SAMPLE)
    whole.wait_for_callback(source)
    assert whole.sandbox.deliveries[-1].status == 503
    assert b'"journal_unavailable"' in whole.sandbox.deliveries[-1].answer
    assert whole.error(source).startswith("journal_unavailable: ")
    assert whole.results_of(source) == []
    assert health(whole.service) == 503


def assert_well(whole: Whole, name: str) -> None:
    """Hooks are taken and done as ever, by the processes that were there before."""
    eventually(lambda: health(whole.service) == 200)
    source = whole.upload(name, SAMPLE)
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert whole.service.logged().count("Booting worker") == 1


def test_a_full_disk_is_told_and_passes(
    sandbox: Sandbox, start_service: Starter, small_disk: Path
) -> None:
    whole = Whole.of(sandbox, start_service(STATE_DIR=str(small_disk)))
    eventually(lambda: health(whole.service) == 200)
    with full(small_disk):
        eventually(lambda: health(whole.service) == 503)
        assert_refused_and_told(whole, "meanwhile.xml")
    assert_well(whole, "after.xml")


def test_a_postgresql_that_is_gone_is_told_and_passes(
    sandbox: Sandbox, start_service: Starter, line: Line
) -> None:
    whole = Whole.of(sandbox, start_service(JOURNAL_URL=line.url))
    assert_well(whole, "before.xml")
    line.cut()
    assert_refused_and_told(whole, "meanwhile.xml")
    line.mend()
    assert_well(whole, "after.xml")


def test_a_service_that_starts_before_its_postgresql_takes_hooks_once_that_is_there(
    sandbox: Sandbox, start_service: Starter, line: Line
) -> None:
    line.cut()
    whole = Whole.of(sandbox, start_service(JOURNAL_URL=line.url))
    assert_refused_and_told(whole, "before.xml")
    line.mend()
    assert_well(whole, "after.xml")


def test_a_job_under_way_outlives_its_journals_absence(
    sandbox: Sandbox, start_impatient: Starter, line: Line
) -> None:
    whole = Whole.of(sandbox, start_impatient(JOURNAL_URL=line.url))
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    line.cut()
    held.let_go(effect=True)
    eventually(lambda: "attempt.abandoned" in whole.service.logged())
    assert whole.results_of(source) == []
    line.mend()
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
