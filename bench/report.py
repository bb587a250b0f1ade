"""What a benchmark says: figures with their spread, each beside its yardstick, and memory.

All benchmarks have this one form: ``measure() -> Report`` runs them, ``write`` puts the report into
``bench/out/NAME.json``, ``table`` makes Markdown of it, ``bench.plots`` a picture.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True)
class Line:
    """One way to do a thing in one scene.

    ``runs`` are the figures in ``unit`` in the order they were measured; ``ratio`` is the median of
    each run's ratio to the yardstick's run beside it (1 for the yardstick itself, ``None`` without
    one), over 1 meaning better. ``more`` holds further figures by their name with its unit.
    """

    scene: str
    way: str
    unit: str
    runs: Sequence[float]
    ratio: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.runs)


@dataclass(frozen=True)
class Report:
    """The lines of a benchmark, and by the name of a way pairs of seconds and MiB of memory."""

    name: str
    yardstick: str
    lines: Sequence[Line]
    memory: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=lambda: machine())


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = (line.partition(":")[2].strip() for line in cpu.splitlines() if "model name" in line)
    return {
        "cpu": f"{os.cpu_count()} × {next(models, platform.machine())}",
        "python": platform.python_version(),
        "system": platform.release(),
    }


def ratio(
    runs: Sequence[float], yardstick: Sequence[float], *, less_is_better: bool = False
) -> float:
    """The median of the ratios of runs that were made side by side."""
    pairs = (
        zip(yardstick, runs, strict=True) if less_is_better else zip(runs, yardstick, strict=True)
    )
    return statistics.median(ours / theirs for ours, theirs in pairs)


def write(report: Report) -> None:
    """Keep the report as JSON."""
    OUT.mkdir(exist_ok=True)
    text = json.dumps(asdict(report), indent=1)
    (OUT / f"{report.name}.json").write_text(text, encoding="utf-8")


def table(report: Report) -> str:
    """The report in Markdown; ratios are to the report's yardstick."""
    further = list(dict.fromkeys(name for line in report.lines for name in line.more))
    head = ["scene", "way", "median (least to greatest)", f"ratio to {report.yardstick}", *further]
    rows = [head, ["---"] * len(head), *(_row(line, further) for line in report.lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(line: Line, further: Sequence[str]) -> list[str]:
    spread = f"{_short(min(line.runs))} to {_short(max(line.runs))}"
    shown = f"{_short(line.median)} ({spread}) {line.unit}"
    return [
        line.scene,
        line.way,
        shown,
        "" if line.ratio is None else f"{line.ratio:.2f}",
        *(_short(line.more[name]) if name in line.more else "" for name in further),
    ]


def _short(figure: float) -> str:
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
