"""Who holds a lease: the name of this process, and whether the one behind another name is gone.

A lease ends by itself when its holder dies. Processes of one machine need not wait for that: the
kernel's boot, the PID namespace, the PID and its start time say for certain whether one lives.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")
_UNKNOWN = "?"


def own_name() -> str:
    """The name of this process: host, boot, PID namespace, PID, start time."""
    pid = os.getpid()
    return " ".join([socket.gethostname(), *_machine(), str(pid), _start_time(pid) or _UNKNOWN])


def is_gone(name: str) -> bool:
    """Whether the process of that name certainly runs no more; ``False`` if it can't be told."""
    words = name.split()
    if len(words) != 5 or _UNKNOWN in words or words[1:3] != list(_machine()):
        return False
    pid, started = int(words[3]), words[4]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _start_time(pid) not in (None, started)


def _machine() -> tuple[str, str]:
    """What two processes have in common if one can see the other's PID."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return boot, str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN, _UNKNOWN


def _start_time(pid: int) -> str | None:
    """When a process started, in clock ticks after the boot; ``None`` if that can't be seen.

    A zombie runs no more, whenever it started.
    """
    try:
        status = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    state, *rest = status.rpartition(")")[2].split()
    return "zombie" if state == "Z" else rest[18]
