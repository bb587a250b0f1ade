"""A sandbox of Aruna and GFBio, and services in front of it, each a gunicorn of its own.

The sandbox runs in the process of the benchmark: its CPU time is told apart from the services'.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.surroundings import cpu_seconds
from sandbox import Sandbox
from tests.running import TOKEN, Running, running
from tests.whole import Whole

_PATIENCE = 300.0


@dataclass(frozen=True)
class Work:
    """What some jobs took: seconds from the first hook to the last callback; seconds of CPU time of
    the services and of the sandbox; of the machine's time, the share in which it had work to do.
    """

    jobs: int
    seconds: float
    cpu: float
    sandbox_cpu: float
    busy: float


@dataclass(frozen=True)
class Installation:
    """A sandbox whose hook calls the first of the services; those share a journal."""

    sandbox: Sandbox
    services: Sequence[Running]
    whole: Whole

    @property
    def pids(self) -> list[int]:
        """The masters of the services."""
        return [service.process.pid for service in self.services if service.process]

    def work(self, documents: Sequence[bytes]) -> Work:
        """Upload all the documents, then let their hooks go and wait for the callbacks.

        Raises ``RuntimeError`` if a job failed.
        """
        uploaded = threading.Event()
        before = len(self.sandbox.callbacks)
        self.sandbox.at("hook", lambda _: uploaded.wait(), times=1)
        sink, self.sandbox.aruna.sink = self.sandbox.aruna.sink, False
        for document in documents:
            self.whole.upload(f"{time.time_ns()}.xml", document)
        self.sandbox.aruna.sink = sink
        begun, cpu, own = time.monotonic(), self._cpu(), time.process_time()
        idle = _idle_seconds()
        uploaded.set()
        self.sandbox.wait_for(
            lambda: len(self.sandbox.callbacks) >= before + len(documents), _PATIENCE
        )
        seconds = time.monotonic() - begun
        self._check_that_all_succeeded()
        cores = os.cpu_count() or 1
        return Work(
            len(documents),
            seconds,
            self._cpu() - cpu,
            time.process_time() - own,
            1 - (_idle_seconds() - idle) / seconds / cores,
        )

    def _check_that_all_succeeded(self) -> None:
        with urlopen(f"{self.services[0].url}/health") as answer:
            failed = json.load(answer)["jobs"]["failed"]
        if failed:
            raise RuntimeError(f"{failed} jobs failed, see {self.services[0].log}")

    def _cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids)


@contextmanager
def installation(
    directory: Path, sandbox: Sandbox, settings: Mapping[str, str], *, hosts: int = 1
) -> Iterator[Installation]:
    """Services with these settings, as many as ``hosts``."""
    environment = {**sandbox.environment(), "WEBHOOK_TOKEN": TOKEN, "LOG_LEVEL": "warning"}
    with ExitStack() as stack:
        services = [
            stack.enter_context(running(directory / str(number), {**environment, **settings}))
            for number in range(hosts)
        ]
        name = f"garden-{time.time_ns()}"
        yield Installation(sandbox, services, Whole.of(sandbox, services[0], name=name))


def _idle_seconds() -> float:
    """Seconds that the cores had nothing to do since the machine started, all cores together."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
