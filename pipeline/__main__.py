"""The commands: ``python -m pipeline COMMAND``. A command's modules are imported when it runs."""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Runs the command that the arguments name and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    transform = commands.add_parser("transform", help="ABCD to Bioschemas JSON-LD, on this machine")

    from pipeline.bioschemas import command

    command.add_arguments(transform)
    return command.run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
