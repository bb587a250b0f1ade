"""How many jobs the service does from hook to callback, and how fast one big result goes through.

Two hundred small files (ABCD of one or two units) go through the service, transformed by its child
processes and by GFBio over the relay. What limits them is seen from the share of the machine's
time in which it had work, from the seconds that a job spends in each of its stages, and from what
twice the threads and twice the processes change. Then a
result of 1 GB goes from GFBio into an object, and eight of 200 MB at once, which is as many as the
default settings permit, while the service's memory is watched.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from bench.installation import Installation, Work, installation
from bench.report import Line, Report
from bench.surroundings import watched_memory
from sandbox import ArunaSwitches, GfbioSwitches, Sandbox
from tests.transform.bioschemas.generate import endless

FILES = 200
SMALL = 4000
#: How many results at once, and bytes of each.
BIG = ((1, 1_000_000_000), (8, 200_000_000))
ROUNDS = 3
TRANSPORTS = {
    "embedded": {"TRANSFORMER": "embedded"},
    "GFBio, relay": {"GFBIO_TRANSPORT": "relay"},
    "GFBio, relay, 16 threads": {"GFBIO_TRANSPORT": "relay", "WORKER_THREADS": "16"},
    "GFBio, relay, 2 workers": {"GFBIO_TRANSPORT": "relay", "WEB_CONCURRENCY": "2"},
}
_STAGE = re.compile(r'stage_seconds_sum{stage="(\w+)"} (\S+)')


def small_files(directory: Path, way: str) -> Line:
    """Jobs a minute; the ratio is the share of the machine's time that had work."""
    document = b"".join(endless(SMALL))
    with (
        Sandbox() as sandbox,
        installation(directory, sandbox, TRANSPORTS[way]) as it,
    ):
        it.work([document] * 8)
        before = stages(it)
        works = [it.work([document] * FILES) for _ in range(ROUNDS)]
        after = stages(it)
    return Line(
        f"{FILES} small files",
        way,
        "jobs/min",
        [work.jobs / work.seconds * 60 for work in works],
        statistics.median(work.busy for work in works),
        {
            "CPU of the service, ms": middle_cpu(works) * 1000,
            "cores the service keeps busy": statistics.median(w.cpu / w.seconds for w in works),
            "CPU of the sandbox, ms": statistics.median(w.sandbox_cpu / w.jobs for w in works)
            * 1000,
            **{
                f"{stage}, ms": (seconds - before[stage]) / FILES / ROUNDS * 1000
                for stage, seconds in after.items()
            },
        },
    )


def middle_cpu(works: list[Work]) -> float:
    """Seconds of CPU time of the service for a job."""
    return statistics.median(work.cpu / work.jobs for work in works)


def stages(it: Installation) -> dict[str, float]:
    """Seconds that all jobs so far spent in each stage."""
    with urlopen(f"{it.services[0].url}/metrics") as answer:
        text = answer.read().decode()
    return {stage: float(seconds) for stage, seconds in _STAGE.findall(text)}


def big_files(directory: Path, count: int, size: int) -> tuple[Line, list[tuple[float, float]]]:
    """MB/s of ``count`` big results at once, and the service's memory while they pass."""
    document = b"".join(endless(SMALL))
    with (
        Sandbox(aruna=ArunaSwitches(sink=True), gfbio=GfbioSwitches(big=size)) as sandbox,
        installation(directory, sandbox, {"GFBIO_TRANSPORT": "direct"}) as it,
        watched_memory(it.pids[0]) as memory,
    ):
        works = [it.work([document] * count) for _ in range(ROUNDS)]
    more = {
        "CPU of the service, ms": middle_cpu(works) * 1000,
        "memory, MiB": max(seen for _, seen in memory),
    }
    rates = [count * size / work.seconds / 1e6 for work in works]
    busy = statistics.median(work.busy for work in works)
    scene = f"{count} × {size // 1_000_000} MB"
    return Line(scene, "GFBio, direct", "MB/s", rates, busy, more), memory


def lines(directory: Path) -> Iterator[Line]:
    """The small files, each way."""
    for number, way in enumerate(TRANSPORTS):
        yield small_files(directory / f"small-{number}", way)


def measure() -> Report:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        made = list(lines(Path(folder)))
        memory = {}
        for count, size in BIG:
            line, memory[f"{count} × {size // 1_000_000} MB"] = big_files(
                Path(folder) / f"big-{count}", count, size
            )
            made.append(line)
    return Report("pipeline", "all cores busy", made, memory)
