"""The processes of a running service, as the machine shows them to others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.running import Running


def worker_of(service: Running) -> int:
    """The one worker process of the service, once it answers."""
    assert service.process is not None
    service.session.get(f"{service.url}/health", timeout=10)
    (worker,) = children_of(service.process.pid)
    return worker


def children_of(pid: int) -> list[int]:
    """The running children of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(status.parent.name))
    return found


def memory_of(pid: int) -> int:
    """The most memory a process has ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024
