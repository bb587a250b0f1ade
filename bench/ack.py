"""How soon a hook is acknowledged, beside the same server with an application that parses JSON.

While hooks are counted, eight jobs of the service wait for GFBio and sixteen relays pass sources
on, 0.5 MB/s each; the yardstick is measured in turn with the service, with all that going on. Both
run gunicorn with the service's own settings. Hooks come from a process of its own
(``bench.caller``), 2 KB each, of new objects, so that each makes a job in the journal.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.installation import installation
from bench.report import Line, Report, ratio
from bench.surroundings import cpu_seconds, memory, postgresql, wait_for_port
from pipeline.journal import State
from sandbox import GfbioSwitches, Sandbox
from tests.running import ROOT, TOKEN, Running, free_port, running
from tests.transform.bioschemas.generate import endless
from tests.whole import Whole

JOBS = 8
RELAYS = 16
#: Bytes a second of each relay, and bytes of a source: more than passes while hooks are counted.
RATE = 500_000
SOURCE = 45_000_000
EMBEDDED = 4
EMBEDDED_SOURCE = 100_000_000
TRICKLE = 100_000
ROUNDS = 6
SECONDS = 1.0
YARDSTICK = "bare application"


@dataclass(frozen=True)
class Server:
    """A gunicorn: its master's process, and where it listens."""

    pid: int
    port: int


@dataclass(frozen=True)
class Taken:
    """Hooks answered in a second, milliseconds of CPU time for one, and those it took each."""

    rate: float
    cpu: float
    milliseconds: list[float]

    def percentile(self, percent: int) -> float:
        """Milliseconds that so many of a hundred hooks took at most."""
        return sorted(self.milliseconds)[len(self.milliseconds) * percent // 100]


def call(server: Server, clients: int) -> Taken:
    """Deliver hooks for ``SECONDS`` from another process."""
    command = [sys.executable, "-m", "bench.caller", str(server.port), str(clients), str(SECONDS)]
    begin = cpu_seconds(server.pid)
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    cpu = cpu_seconds(server.pid) - begin
    milliseconds = json.loads(said.stdout)
    return Taken(len(milliseconds) / SECONDS, cpu / len(milliseconds) * 1000, milliseconds)


@contextmanager
def bare(service: Running) -> Iterator[Server]:
    """The yardstick, run with the settings of the service."""
    port = free_port()
    command = ["gunicorn", "-c", "bench/bare_gunicorn.py", "bench.bare:app"]
    environment = {**os.environ, **service.environment, "SERVICE_PORT": str(port)}
    environment["TEMP_DIR"] += "-bare"
    with (
        service.log.with_name("bare.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        wait_for_port(port)
        yield Server(process.pid, port)
        process.terminate()


@contextmanager
def hooks_held_back(sandbox: Sandbox) -> Iterator[None]:
    """The first hook of the block, and so all behind it, is delivered only after the block."""
    ended = threading.Event()
    sandbox.at("hook", lambda _: ended.wait(), times=1)
    yield
    ended.set()


@contextmanager
def busy(sandbox: Sandbox, whole: Whole) -> Iterator[None]:
    """While the block runs, the service has eight jobs at GFBio and sixteen relays in progress."""
    document = b"".join(endless(SOURCE))
    sandbox.aruna.bytes_per_second = None
    begun = len(sandbox.requests("gfbio.transform"))
    with hooks_held_back(sandbox):
        for number in range(JOBS):
            whole.upload(f"{number}.xml", document)
        sandbox.aruna.bytes_per_second = RATE
    sandbox.wait_for(lambda: len(sandbox.requests("gfbio.transform")) == begun + JOBS)
    calls = sandbox.requests("gfbio.transform")[begun:]
    fetches = [Fetch(call.details["url"]) for call in calls]
    yield
    if not all(fetch.is_under_way() for fetch in fetches):
        raise RuntimeError("the relays ended before the hooks")


class Fetch:
    """A relay's download as slow as its source, in a thread: another one beside GFBio's own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread = threading.Thread(target=self._read, name="fetch", daemon=True)
        self._thread.start()

    def is_under_way(self) -> bool:
        """Whether the download has not ended."""
        return self._thread.is_alive()

    def _read(self) -> None:
        with urlopen(self._url) as answer:
            while answer.read(1 << 18):
                pass


def scene(database: str, workers: int) -> Iterator[Line]:
    """The lines of one database and number of workers, for sixteen clients and for one."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(Sandbox(gfbio=GfbioSwitches(seconds=600, big=1000)))
        settings = {**sandbox.environment(), "WEBHOOK_TOKEN": TOKEN}
        settings["WEB_CONCURRENCY"] = str(workers)
        settings["WORKER_THREADS"] = str(JOBS // workers)
        if database == "postgresql":
            settings["JOURNAL_URL"] = stack.enter_context(postgresql())
        service = stack.enter_context(running(directory, settings))
        yardstick = stack.enter_context(bare(service))
        whole = Whole.of(sandbox, service)
        assert service.process is not None
        servers = {
            "this service": Server(service.process.pid, int(service.environment["SERVICE_PORT"])),
            YARDSTICK: yardstick,
        }
        with busy(sandbox, whole):
            for clients in (16, 1):
                name = f"{database}, workers: {workers}, clients: {clients}"
                yield from lines(name, servers, clients)


def lines(scene: str, servers: dict[str, Server], clients: int) -> Iterator[Line]:
    """Both ways in turn, several times, after a first time that does not count."""
    taken: dict[str, list[Taken]] = {way: [] for way in servers}
    for _ in range(1 + ROUNDS):
        for way, server in servers.items():
            taken[way].append(call(server, clients))
    yardstick = [run.rate for run in taken[YARDSTICK][1:]]
    for way, (_, *runs) in taken.items():
        rates = [run.rate for run in runs]
        more = {f"p{percent}, ms": middle(runs, percent) for percent in (50, 99)}
        more["CPU, ms"] = statistics.median(run.cpu for run in runs)
        more["memory, MiB"] = memory(servers[way].pid)
        yield Line(scene, way, "hooks/s", rates, ratio(rates, yardstick), more)


def middle(runs: list[Taken], percent: int) -> float:
    """The median of the runs' percentiles, in milliseconds."""
    return statistics.median(run.percentile(percent) for run in runs)


def beside_transformations() -> Iterator[Line]:
    """Milliseconds of a hook, one client, while jobs of the child processes stand still and work.

    The ratio is that to jobs that stand still because their sources come at a trickle.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox() as sandbox,
        installation(
            Path(folder), sandbox, {"TRANSFORMER": "embedded", "WORKER_THREADS": str(EMBEDDED)}
        ) as it,
    ):
        service = it.services[0]
        server = Server(it.pids[0], int(service.environment["SERVICE_PORT"]))
        with hooks_held_back(sandbox):
            document = b"".join(endless(EMBEDDED_SOURCE))
            for number in range(EMBEDDED):
                it.whole.upload(f"{number}.xml", document)
            sandbox.aruna.bytes_per_second = TRICKLE
        with service.journal() as journal:
            sandbox.wait_for(lambda: len(journal.jobs(State.RUNNING)) == EMBEDDED)
        call(server, 1)
        idle = [call(server, 1).percentile(50) for _ in range(ROUNDS // 2)]
        sandbox.aruna.bytes_per_second = None
        begin = cpu_seconds(server.pid)
        busy = [call(server, 1).percentile(50) for _ in range(ROUNDS // 2)]
        more = {"CPU, ms": (cpu_seconds(server.pid) - begin) * 1000}
    name = f"{EMBEDDED} jobs of {EMBEDDED_SOURCE // 1_000_000} MB in child processes, clients: 1"
    yield Line(name, "jobs stand still", "ms, p50", idle, 1.0)
    yield Line(name, "jobs work", "ms, p50", busy, ratio(busy, idle, less_is_better=True), more)


def measure() -> Report:
    """All scenes."""
    made = [
        line
        for database in ("sqlite", "postgresql")
        for workers in (1, 2)
        for line in scene(database, workers)
    ]
    return Report("ack", YARDSTICK, [*made, *beside_transformations()])
