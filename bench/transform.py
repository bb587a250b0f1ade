"""How fast the embedded transformation is and what memory it takes, beside bare expat.

``python -m bench.transform [--units-of FILE] [--gfbio DIRECTORY --gfbio-python PYTHON]`` prints a
Markdown table and writes ``bench/out/transform.json``. The documents are the generator's, or repeat
the units of a real one. ``DIRECTORY`` holds GFBio's transformation 5 (``abcd2bioschemas-search.py``
and its stylesheet), ``PYTHON`` is an interpreter that has saxonche and xmltodict.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from pathlib import Path

from tests.bioschemas.generate import endless

OUT = Path(__file__).parent / "out" / "transform.json"
SIZES = (1, 10, 100)  # MB, millions of bytes
RUNS = 5
GFBIO_LARGEST = 10  # MB

# Each prints the seconds of CPU time it took, imports apart, and its peak memory in KiB.
PROGRAMS = {
    "bare expat": """
from xml.parsers import expat
def work(file):
    parser = expat.ParserCreate()
    while block := file.read(262144):
        parser.Parse(block, False)
    parser.Parse(b"", True)
""",
    "embedded": """
from pipeline.bioschemas import transform
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


@dataclass(frozen=True)
class Figure:
    """What a program took for a file: MB for a second of CPU time, and MiB at its peak."""

    program: str
    megabytes: float
    median: float
    least: float
    greatest: float
    peak: float


def document(megabytes: int, units_of: Path | None) -> Iterator[bytes]:
    """An ABCD document of about so many million bytes."""
    size = megabytes * 1_000_000
    if units_of is None:
        return endless(size)
    real = units_of.read_bytes()
    start, end = real.index(b"<Unit>"), real.rindex(b"</Unit>") + len(b"</Unit>")
    times = max(1, round(size / (end - start)))
    return chain([real[:start]], repeat(real[start:end], times), [real[end:]])


def measured(path: Path, commands: dict[str, list[str]]) -> Iterator[Figure]:
    """Runs the programs in turn, ``RUNS`` times; each prints seconds and KiB."""
    megabytes = path.stat().st_size / 1_000_000
    rates: dict[str, list[float]] = {program: [] for program in commands}
    peaks: dict[str, list[float]] = {program: [] for program in commands}
    for _ in range(RUNS):
        for program, command in commands.items():
            done = subprocess.run(command, capture_output=True, check=True)
            seconds, peak = map(float, done.stdout.split())
            rates[program].append(megabytes / seconds)
            peaks[program].append(peak / 1024)
    for program, found in rates.items():
        median = statistics.median(found)
        yield Figure(program, megabytes, median, min(found), max(found), max(peaks[program]))


def figures(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    """All measurements, as they are made."""
    for megabytes in SIZES:
        path = folder / f"{megabytes}.xml"
        with path.open("wb") as file:
            file.writelines(document(megabytes, options.units_of))
        commands = {
            name: [sys.executable, "-c", program + MEASURE, str(path)]
            for name, program in PROGRAMS.items()
        }
        if options.gfbio and megabytes <= GFBIO_LARGEST:
            commands["GFBio"] = gfbio_command(options, path)
        yield from measured(path, commands)


def gfbio_command(options: argparse.Namespace, path: Path) -> list[str]:
    """The command that GFBio's service runs for a document, measured."""
    script = options.gfbio / "abcd2bioschemas-search.py"
    sheet = options.gfbio / "abcd2bioschemas-search-xml.xslt"
    gfbio = [options.gfbio_python, str(script), str(path), str(path.with_suffix(".json"))]
    return [sys.executable, "-c", MEASURE_CHILD, *gfbio, str(sheet)]


def row(figure: Figure) -> str:
    """A line of the table."""
    spread = f"{figure.least:.1f} to {figure.greatest:.1f}"
    return (
        f"| {figure.program} | {figure.megabytes:.1f} | {figure.median:.1f} | {spread} "
        f"| {figure.peak:.0f} |"
    )


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units-of", type=Path, help="a real ABCD document whose units to repeat")
    parser.add_argument("--gfbio", type=Path, help="the folder of GFBio's transformation 5")
    parser.add_argument("--gfbio-python", default=sys.executable)
    options = parser.parse_args()
    print("| program | MB | MB/s of CPU, median | spread | peak memory, MiB |")
    print("| --- | ---: | ---: | --- | ---: |")
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for figure in figures(options, Path(folder)):
            made.append(figure)
            print(row(figure), flush=True)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([asdict(figure) for figure in made], indent=2))


if __name__ == "__main__":
    main()
