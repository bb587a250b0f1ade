"""The command ``check``: whether everything the service needs is in place."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator

from pipeline.operators import CommandFailed, Finding
from pipeline.operators.checks import findings
from pipeline.operators.environment import settings_of_service
from pipeline.operators.records import print_json
from pipeline.telemetry.redaction import redact

_STATES = {True: "ok", False: "failed", None: "skipped"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline check``."""
    parser.add_argument("--json", action="store_true", help="a JSON array, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Says of each thing whether it is in place; 1 if one is not."""
    failed = False
    said = []
    for finding in _all():
        failed = failed or finding.ok is False
        said.append(dataclasses.asdict(finding))
        if not arguments.json:
            sys.stdout.write(_line(finding) + "\n")
            sys.stdout.flush()
    if arguments.json:
        print_json(said)
    return int(failed)


def _all() -> Iterator[Finding]:
    try:
        settings = settings_of_service()
    except CommandFailed as wrong:
        to_do = "correct it in the environment; README lists all variables"
        yield Finding("configuration", False, str(wrong), to_do)
        return
    yield from findings(settings)


def _line(finding: Finding) -> str:
    state = _STATES[finding.ok]
    line = f"{state:<7} {finding.what:<14} {finding.said}"
    return redact(f"{line}; {finding.to_do}" if finding.to_do else line)
