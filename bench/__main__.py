"""``python -m bench`` measures everything, ``python -m bench ack relay`` some of it.

Each benchmark prints a Markdown table, and writes ``bench/out/NAME.json`` and ``NAME.svg``.
"""

from __future__ import annotations

import argparse
import importlib

from bench import plots, report

NAMES = ("ack", "upload", "relay", "transform", "pipeline", "scale")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=NAMES, metavar="NAME")
    for name in parser.parse_args().names:
        made = importlib.import_module(f"bench.{name}").measure()
        report.write(made)
        print(f"## {name}\n\n{report.table(made)}\n", flush=True)
        plots.draw(made)


if __name__ == "__main__":
    main()
