"""A picture of a report: each way's ratio to the yardstick, and memory over time."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import OUT, Line, Report

mpl.rcParams.update({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "bench"})


def draw(report: Report) -> None:
    """Write ``bench/out/NAME.svg``."""
    lines = [line for line in report.lines if line.ratio is not None]
    height = 0.8 + 0.22 * max(len(lines), 8 if report.memory else 0)
    figure = Figure(figsize=(7.5, height), layout="constrained")
    ratios, *others = figure.subplots(1, 2 if report.memory else 1, squeeze=False)[0]
    _bars(ratios, lines, report.yardstick)
    for axes in others:
        _curves(axes, report)
    figure.savefig(OUT / f"{report.name}.svg", metadata={"Date": None})


def _bars(axes: Axes, lines: Sequence[Line], yardstick: str) -> None:
    names = [f"{line.scene}: {line.way}" for line in lines]
    bars = axes.barh(range(len(lines)), [line.ratio or 0.0 for line in lines], color="#4c78a8")
    axes.bar_label(bars, fmt=" %.2f", fontsize=7)
    axes.set_yticks(range(len(lines)), names, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel(f"ratio to {yardstick}")
    axes.margins(x=0.15)


def _curves(axes: Axes, report: Report) -> None:
    for way, seen in report.memory.items():
        axes.plot(*zip(*seen, strict=True), label=way, linewidth=1)
    axes.set_xlabel("seconds")
    axes.set_ylabel("memory, MiB")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=6)
