"""How fast the embedded transformation is and what memory it takes, beside bare expat.

The documents are the generator's, or repeat the units of the real one that ``BENCH_ABCD`` names.
With ``BENCH_GFBIO`` naming the folder of GFBio's transformation 5 (``abcd2bioschemas-search.py``
and its stylesheet) and ``BENCH_GFBIO_PYTHON`` an interpreter that has saxonche and xmltodict, the
process that GFBio runs is measured as well. Rates are of CPU time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

from bench.report import Line, Report, ratio
from tests.transform.bioschemas.generate import endless

#: Millions of bytes of a document, and how often it is measured.
SIZES = {1: 5, 10: 5, 100: 3, 1000: 1}
GFBIO_LARGEST = 10
YARDSTICK = "bare expat"

# Each prints the seconds of CPU time it took, imports apart, and its peak memory in KiB.
PROGRAMS = {
    YARDSTICK: """
from xml.parsers import expat
def work(file):
    parser = expat.ParserCreate()
    while block := file.read(262144):
        parser.Parse(block, False)
    parser.Parse(b"", True)
""",
    "embedded": """
from pipeline.transform.bioschemas import transform
def work(file):
    for _ in transform(iter(lambda: file.read(262144), b"")):
        pass
""",
}
MEASURE = """
import sys, time
with open(sys.argv[1], "rb") as file:
    begin = time.process_time()
    work(file)
    seconds = time.process_time() - begin
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(seconds, peak)
"""
MEASURE_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def document(megabytes: int, units_of: Path | None) -> Iterator[bytes]:
    """An ABCD document of about so many million bytes."""
    size = megabytes * 1_000_000
    if units_of is None:
        return endless(size)
    real = units_of.read_bytes()
    start, end = real.index(b"<Unit>"), real.rindex(b"</Unit>") + len(b"</Unit>")
    times = max(1, round(size / (end - start)))
    return chain([real[:start]], repeat(real[start:end], times), [real[end:]])


def measure() -> Report:
    """All sizes."""
    with tempfile.TemporaryDirectory() as folder:
        made = [
            line
            for megabytes in SIZES
            for line in measure_size(megabytes, Path(folder) / f"{megabytes}.xml")
        ]
    return Report("transform", YARDSTICK, made)


def measure_size(megabytes: int, path: Path) -> Iterator[Line]:
    """The programs in turn on a document of that size, several times."""
    units_of = os.environ.get("BENCH_ABCD")
    with path.open("wb") as file:
        file.writelines(document(megabytes, Path(units_of) if units_of else None))
    commands = {
        name: [sys.executable, "-c", program + MEASURE, str(path)]
        for name, program in PROGRAMS.items()
    }
    gfbio = os.environ.get("BENCH_GFBIO")
    if gfbio and megabytes <= GFBIO_LARGEST:
        commands["GFBio"] = gfbio_command(Path(gfbio), path)
    rates: dict[str, list[float]] = {program: [] for program in commands}
    peaks = dict.fromkeys(commands, 0.0)
    for _ in range(SIZES[megabytes]):
        for program, command in commands.items():
            done = subprocess.run(command, capture_output=True, check=True)
            seconds, peak = map(float, done.stdout.split())
            rates[program].append(path.stat().st_size / 1e6 / seconds)
            peaks[program] = max(peaks[program], peak / 1024)
    for program, found in rates.items():
        more = {"peak memory, MiB": peaks[program]}
        if "GFBio" in rates:
            more["times GFBio's"] = ratio(found, rates["GFBio"])
        beside = ratio(found, rates[YARDSTICK])
        yield Line(f"{megabytes} MB", program, "MB/s", found, beside, more)


def gfbio_command(folder: Path, path: Path) -> list[str]:
    """The command that GFBio's service runs for a document, measured."""
    gfbio = [
        os.environ.get("BENCH_GFBIO_PYTHON", sys.executable),
        str(folder / "abcd2bioschemas-search.py"),
        str(path),
        str(path.with_suffix(".json")),
        str(folder / "abcd2bioschemas-search-xml.xslt"),
    ]
    return [sys.executable, "-c", MEASURE_CHILD, *gfbio]
