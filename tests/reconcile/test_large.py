"""A project of 100 000 objects: requests in pages, memory that does not grow with them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from pipeline.reconcile.walk import PAGE
from tests.reconcile.conftest import Office
from tests.running import ROOT

MANY = 100_000
#: What may come on top for the ids, which Aruna gives in one answer.
MORE_MEMORY = 48 * 1024 * 1024


@dataclass(frozen=True)
class Run:
    """A run of the command in a process of its own, with its bytes of memory at the peak."""

    found: list[dict[str, Any]]
    memory: int


def test_memory_is_flat_and_requests_are_paged(office: Office) -> None:
    source = office.lose("plants.xml")
    few = _reconcile()
    office.sandbox.populate(office.project, MANY)
    before = len(office.sandbox.requests("grpc.GetObjects"))
    many = _reconcile()

    assert [record["object_id"] for record in many.found] == [source]
    assert many.found == few.found
    pages = len(office.sandbox.requests("grpc.GetObjects")) - before
    assert pages == -(-(MANY + 1) // PAGE)
    assert many.memory - few.memory < MORE_MEMORY


def _reconcile() -> Run:
    ran = subprocess.run(
        [sys.executable, "-c", _WATCHED], cwd=ROOT, capture_output=True, check=True
    )
    peak = re.search(rb"VmHWM:\s+(\d+) kB", ran.stderr)
    assert peak is not None
    return Run(json.loads(ran.stdout), int(peak[1]) * 1024)


# Linux counts the parent's memory at the fork as the child's in ru_maxrss, not so in VmHWM.
_WATCHED = """
import sys
from pathlib import Path
from pipeline.__main__ import main
status = main(["reconcile", "--older-than=0", "--dry-run", "--json"])
sys.stderr.write(Path("/proc/self/status").read_text())
sys.exit(status)
"""
