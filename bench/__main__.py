"""``python -m bench`` measures everything, ``python -m bench ack relay`` some of it.

Each benchmark prints a Markdown table, and writes ``bench/out/NAME.json`` and ``NAME.svg``.
"""

from __future__ import annotations

import argparse
import importlib

from bench.plots import draw
from bench.report import table, write

NAMES = ("ack", "upload", "relay", "transform", "pipeline", "scale")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=NAMES, metavar="NAME")
    for name in parser.parse_args().names:
        made = importlib.import_module(f"bench.{name}").measure()
        write(made)
        print(f"## {name}\n\n{table(made)}\n", flush=True)
        draw(made)


if __name__ == "__main__":
    main()
