"""The command ``retry``: failed jobs go back into the queue, while the service runs."""

from __future__ import annotations

import argparse
import sys

from pipeline.journal import Journal, UnknownJob
from pipeline.operators.environment import journal_of_service
from pipeline.operators.records import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline retry``."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "job", metavar="JOB", nargs="*", default=[], help="a job's id, or its beginning"
    )
    which.add_argument("--failed", action="store_true", help="all failed jobs that can be retried")
    parser.add_argument("--json", action="store_true", help="a JSON array, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Queues failed jobs again; 1 if one that was named could not be."""
    with journal_of_service() as journal:
        outcome = _put_back(journal, None if arguments.failed else arguments.job)
    if arguments.json:
        print_json([{"id": job, "queued": why is None, "why_not": why} for job, why in outcome])
    else:
        _say(outcome)
    return int(not arguments.failed and any(why is not None for _, why in outcome))


def _put_back(journal: Journal, prefixes: list[str] | None) -> list[tuple[str, str | None]]:
    if prefixes is None:
        return journal.put_back()
    unknown, found = [], []
    for prefix in prefixes:
        try:
            found.append(journal.job(prefix).id)
        except UnknownJob as trouble:
            unknown.append((prefix, str(trouble)))
    return unknown + journal.put_back(found)


def _say(outcome: list[tuple[str, str | None]]) -> None:
    for job, why in outcome:
        if why is None:
            sys.stdout.write(f"{job}: queued\n")
        else:
            sys.stderr.write(f"{job}: not queued, {why}\n")
    if not outcome:
        sys.stderr.write("No failed job can be retried.\n")
