"""What becomes dearer as there is more of it: queued jobs, bytes of a file, workers, hosts.

The queue: a job's whole way through the journal (delivery, claim, work noted, callback, end) while
so many others wait. Files: one result of each size through the service. Workers and hosts: jobs at
a GFBio that takes two seconds for each, so that waiting for it dominates.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from bench.installation import installation
from bench.report import Line, Report, ratio
from bench.surroundings import postgresql, watched_memory
from pipeline.aruna.hook import Hook
from pipeline.journal import Journal, Outcome, State, deliveries
from pipeline.journal.database import Database
from pipeline.journal.sealing import Seal
from pipeline.web.payload import parse_hook
from sandbox import ArunaSwitches, GfbioSwitches, Sandbox
from tests import payloads
from tests.transform.bioschemas.generate import endless

QUEUED = (10, 100, 1_000, 10_000, 100_000)
TURNS = 200
FILES = (1, 10, 100, 1000)  # MB
THREADS = 4
JOBS = 32
GFBIO_SECONDS = 2.0
ROUNDS = 3
_BATCH = 500
_LEASE = 600.0


def queue(database: str, url: str) -> Iterator[Line]:
    """Milliseconds of a job's way through a journal in which so many others wait."""
    with closing(Journal(url)) as journal:
        journal.open()
        number = 0
        first: list[float] = []
        for length in QUEUED:
            fill(url, range(number, length))
            number = length
            taken = [turn(journal, f"next-{length}-{one}") for one in range(TURNS)]
            runs = [statistics.median(taken[part::5]) for part in range(5)]
            first = first or runs
            cheaper = ratio(runs, first, less_is_better=True)
            yield Line(f"queued jobs, {database}", f"{length}", "ms for a job", runs, cheaper)


def fill(url: str, numbers: range) -> None:
    """Put deliveries of so many objects into the journal, many in a transaction."""
    with closing(Database(url)) as database, database.writing.connect() as connection:
        for start in numbers[::_BATCH]:
            batch = numbers[start - numbers[0] :][:_BATCH]
            rows = [
                deliveries.arrival(hook_of(f"waiting-{one}"), None, Seal(), time.time())
                for one in batch
            ]
            with connection.begin():
                deliveries.enqueue(connection, rows)


def turn(journal: Journal, object_id: str) -> float:
    """Milliseconds for one more job to come and the one that has waited longest to be done."""
    began = time.perf_counter()
    journal.enqueue(hook_of(object_id))
    (job,) = journal.claim("bench", 1, _LEASE)
    lease = job.lease or ""
    journal.worked(job.id, lease, Outcome(None))
    sent = journal.callback_sending(job.id, lease)
    journal.ended(
        job.id,
        lease,
        state=State.SUCCEEDED,
        outcome=Outcome(None),
        deliveries=sent.deliveries,
    )
    return (time.perf_counter() - began) * 1000


def hook_of(object_id: str) -> Hook:
    """A delivery of an object with that id."""
    source = type(_HOOK.object)()
    source.CopyFrom(_HOOK.object)
    source.id = object_id
    return replace(_HOOK, object=source)


_HOOK = parse_hook(payloads.as_bytes(payloads.payload()))


def files(directory: Path) -> Iterator[Line]:
    """MB/s and memory of one result of each size."""
    document = b"".join(endless(4000))
    with (
        Sandbox(aruna=ArunaSwitches(sink=True)) as sandbox,
        installation(directory, sandbox, {"GFBIO_TRANSPORT": "direct"}) as it,
    ):
        it.work([document])
        for size in FILES:
            sandbox.gfbio.big = size * 1_000_000
            with watched_memory(it.pids[0]) as memory:
                works = [it.work([document]) for _ in range(ROUNDS)]
            more = {
                "memory, MiB": max((seen for _, seen in memory), default=0.0),
                "CPU, ms for a MB": min(work.cpu for work in works) / size * 1000,
            }
            rates = [size / work.seconds for work in works]
            yield Line("size of a result", f"{size} MB", "MB/s", rates, None, more)


def processes(directory: Path) -> Iterator[Line]:
    """Jobs a minute with one and two workers, and with one and two hosts on one PostgreSQL."""
    document = b"".join(endless(4000))
    shapes = {"1 host, 1 worker": (1, 1), "1 host, 2 workers": (1, 2), "2 hosts, 1 worker": (2, 1)}
    rates: dict[str, list[float]] = {shape: [] for shape in shapes}
    with Sandbox(gfbio=GfbioSwitches(seconds=GFBIO_SECONDS)) as sandbox:
        for number in range(ROUNDS):
            for shape, (hosts, workers) in shapes.items():
                with ExitStack() as stack:
                    settings = {
                        "WEB_CONCURRENCY": str(workers),
                        "WORKER_THREADS": str(THREADS),
                        "GFBIO_TRANSPORT": "direct",
                        "JOURNAL_URL": stack.enter_context(postgresql()),
                    }
                    place = directory / f"{number} {shape}"
                    it = stack.enter_context(installation(place, sandbox, settings, hosts=hosts))
                    work = it.work([document] * JOBS)
                    rates[shape].append(work.jobs / work.seconds * 60)
    one = rates["1 host, 1 worker"]
    for shape, runs in rates.items():
        yield Line("GFBio takes 2 s", shape, "jobs/min", runs, ratio(runs, one))


def measure() -> Report:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as url:
        directory = Path(folder)
        made = [
            *queue("SQLite", f"sqlite:///{directory}/journal.db"),
            *queue("PostgreSQL", url),
            *files(directory / "files"),
            *processes(directory / "processes"),
        ]
    return Report("scale", "the first of its kind", made)
