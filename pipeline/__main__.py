"""The commands: ``python -m pipeline COMMAND``. Only the module of the command at hand is loaded.

``transform`` runs as a child of the service for each document: it must start fast.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.operators import CommandFailed

COMMANDS = {
    "jobs": ("pipeline.operators.jobs", "list the jobs in the journal"),
    "show": ("pipeline.operators.show", "details of one job, and what to do about it"),
    "retry": ("pipeline.operators.retry", "queue failed jobs again"),
    "check": (
        "pipeline.operators.check",
        "check configuration, journal, Aruna, data proxy and GFBio",
    ),
    "reconcile": (
        "pipeline.operators.reconcile",
        "find files whose hooks Aruna lost, and queue them",
    ),
    "selftest": (
        "pipeline.operators.selftest.command",
        "send a small document the whole way: Aruna, hook, service, GFBio and back",
    ),
    "transform": ("pipeline.operators.transform", "ABCD to Bioschemas JSON-LD, on this machine"),
}
_PROGRAM = "python -m pipeline"
_EXIT = "Exit status: 0 success, 1 failed, 2 wrong arguments or settings"
_SETTINGS = "Settings are taken from the environment, as the service has them. "


def main(argv: Sequence[str]) -> int:
    """Runs the command that the arguments name and returns its exit status."""
    arguments, command = _parsed(argv)
    try:
        status: int = command.run(arguments)
        sys.stdout.flush()
    except CommandFailed as failure:
        sys.stderr.write(" ".join(str(failure).split()) + "\n")
        return failure.status
    except BrokenPipeError:
        # Nobody reads on: Python would complain once more when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parsed(argv: Sequence[str]) -> tuple[argparse.Namespace, Any]:
    """The arguments, and the module of the command they name."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} COMMAND [ARGUMENTS]",
        description="Commands for operators.",
        epilog=_EXIT,
    )
    parsers = parser.add_subparsers(metavar="COMMAND [ARGUMENTS]", prog=_PROGRAM, required=True)
    named = argv[0] if argv else None
    command = None
    for name, (module, summary) in COMMANDS.items():
        settings = "" if name == "transform" else _SETTINGS
        own = parsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"{settings}{_EXIT}",
        )
        if name == named:
            command = importlib.import_module(module)
            command.add_arguments(own)
    return parser.parse_args(argv), command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
