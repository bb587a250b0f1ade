"""Tables for a terminal, and the same rows, whole and parted by tabs, for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.telemetry.redaction import redact

Row = Sequence[str]
_GAP = 2  # characters between two columns
_LEAST = 8  # characters of the column that gives way


def print_table(columns: Row, rows: Sequence[Row], *, elastic: str, styles: Row = ()) -> None:
    """Print rows below their columns' names.

    On a terminal the column ``elastic`` gives way when the line gets too long; ``styles`` are the
    rows' colours.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            sys.stdout.write("\t".join(_one_line(cell) for cell in row) + "\n")
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    too_wide = sum(widths) + _GAP * (len(columns) - 1) - console.width
    for column, width in zip(columns, widths, strict=True):
        given = max(_LEAST, width - too_wide) if column == elastic and too_wide > 0 else width
        table.add_column(column, no_wrap=True, overflow="ellipsis", width=given)
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*(Text(_one_line(cell)) for cell in row), style=style)
    console.print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one a line; long values go on below themselves on a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold" if sys.stdout.isatty() else "", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(_one_line(value)))
    width = None if sys.stdout.isatty() else 10_000
    Console(highlight=False, width=width).print(table)


def _one_line(text: str) -> str:
    """No line break, control character or secret of a stranger's text reaches the terminal."""
    return "".join(character if character.isprintable() else " " for character in redact(text))
