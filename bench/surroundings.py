"""What benchmarks run beside the service: an empty PostgreSQL, other processes, their memory."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")
#: Seconds between two looks at a memory.
_LOOK = 0.1


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty schema in the PostgreSQL of ``TEST_POSTGRESQL_URL``."""
    schema = f"bench_{secrets.token_hex(4)}"
    with closing(psycopg.connect(POSTGRESQL_URL, autocommit=True, connect_timeout=3)) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            separator = "&" if "?" in POSTGRESQL_URL else "?"
            yield f"{POSTGRESQL_URL}{separator}options=-csearch_path%3D{schema}"
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@contextmanager
def serving(*arguments: str) -> Iterator[int]:
    """The port of a server of ours, ``python -m`` with these arguments, until the block ends.

    It prints its port first and ends with its standard input.
    """
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        yield int(it.stdout.readline())
        assert it.stdin is not None
        it.stdin.close()


def wait_for_port(port: int) -> None:
    """Return once somebody listens there; raises ``TimeoutError`` after ten seconds."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on port {port}")


def processes_below(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def memory(pid: int) -> float:
    """MiB that a process and its descendants have to themselves, shared pages divided."""
    return sum(_proportional(one) for one in processes_below(pid)) / 1024


def _proportional(pid: int) -> int:
    """KiB; 0 for a process that has just ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU time of a process and its descendants, ended ones included."""
    ticks = 0
    for one in processes_below(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def watched_memory(pid: int) -> Iterator[list[tuple[float, float]]]:
    """While the block runs, seconds since its begin and MiB are added to the list."""
    seen: list[tuple[float, float]] = []
    ended = threading.Event()
    began = time.monotonic()

    def look() -> None:
        while not ended.wait(_LOOK):
            seen.append((time.monotonic() - began, memory(pid)))

    watcher = threading.Thread(target=look, name="memory")
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
