"""The command ``reconcile``: what Aruna never delivered is found and put into the journal."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import LeaseLost
from pipeline.journal import Journal
from pipeline.operators import units
from pipeline.operators.environment import (
    journal_of_service,
    operators_token,
    settings_of_service,
)
from pipeline.operators.records import print_json
from pipeline.operators.table import print_table
from pipeline.reconcile.hooks import OwnHooks
from pipeline.reconcile.lost import Criteria, Lost, made_at
from pipeline.reconcile.run import Run, RunLease, why_refused
from pipeline.reconcile.search import OLDER_THAN, Search

_COLUMNS = ("OBJECT", "PROJECT", "PATH", "SINCE", "WHY")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LEASE_POLL = 1.0  # seconds

#: What scripts read of a lost object; ``job_id`` is ``None`` if nothing was done.
_Record = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline reconcile``."""
    parser.add_argument(
        "--project",
        metavar="ID",
        action="append",
        default=[],
        help="search this project only (repeatable; default: all that the service's hooks cover)",
    )
    parser.add_argument(
        "--hook",
        metavar="ID",
        action="append",
        default=[],
        help="this hook is the service's (repeatable; default: those that call PUBLIC_URL/webhook, "
        "or without PUBLIC_URL those registered with WEBHOOK_TOKEN)",
    )
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=_seconds,
        default=OLDER_THAN,
        help="skip objects that were created, or whose job changed, less than this ago: 90s, 15m, "
        "2h, 1d (default: 15m)",
    )
    parser.add_argument(
        "--include-unseen",
        action="store_true",
        help="also objects with the hook's label and no trace of the hook; Aruna takes no "
        "callback for them: their jobs end as callback_failed, with the result in place",
    )
    parser.add_argument("--dry-run", action="store_true", help="list them, queue nothing")
    parser.add_argument("--json", action="store_true", help="a JSON array, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Finds lost objects and queues a job for each; 1 if something could not be looked at."""
    settings = settings_of_service()
    token = operators_token(settings)
    own = OwnHooks.of(settings, arguments.hook)
    criteria = Criteria(time.time() - arguments.older_than, arguments.include_unseen)
    projects = tuple(dict.fromkeys(arguments.project))
    found: list[_Record] = []
    with journal_of_service() as journal, closing(Aruna(settings.aruna_server_address)) as aruna:
        this_run = Run(aruna, token, Attempt(math.inf), say=_say)
        search = Search(this_run, journal, own, criteria, projects)
        try:
            with _progress_of(this_run):
                # What came before an error stays in the list.
                found.extend(_only_shown(search) if arguments.dry_run else _queued(search))
        except ArunaRefused as refusal:
            this_run.skip("Aruna", why_refused(refusal))
        except LeaseLost as lost:
            this_run.skip("this run", str(lost))
    _print(found, as_json=arguments.json)
    done = "nothing done" if arguments.dry_run else f"queued: {this_run.queued}"
    _say(f"Looked at: {this_run.looked_at}, lost: {len(found)}, {done}.")
    return int(this_run.skipped > 0)


def _only_shown(search: Search) -> Iterator[_Record]:
    return (_record(lost, None) for lost in search.find())


def _queued(search: Search) -> Iterator[_Record]:
    with _alone(search.run, search.journal):
        for lost, job_id in search.queue():
            yield _record(lost, job_id)


@contextmanager
def _alone(run: Run, journal: Journal) -> Iterator[None]:
    """The block runs once no other reconcile does; its lease is kept while the run gets further."""
    lease = RunLease(journal)
    if not lease.take():
        run.say("waiting for another reconcile to end")
        while not lease.take():
            time.sleep(_LEASE_POLL)
    run.watchers.append(lease.keep)
    try:
        yield
    finally:
        lease.give_up()


@contextmanager
def _progress_of(run: Run) -> Iterator[None]:
    """A progress bar on stderr, if that is a terminal."""
    columns = (TextColumn("objects"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("objects", total=None)
        run.watchers.append(
            lambda: progress.update(task, completed=run.looked_at, total=run.objects)
        )
        yield


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _record(lost: Lost, job_id: str | None) -> _Record:
    return {
        "object_id": lost.object.id,
        "project_id": lost.project_id,
        "path": lost.path,
        "hook_id": lost.hook.hook_id,
        "since": made_at(lost.object),
        "why": lost.why.value,
        "job_id": job_id,
    }


def _print(found: list[_Record], *, as_json: bool) -> None:
    if as_json:
        print_json([one | {"since": units.rfc3339(one["since"])} for one in found])
    elif found:
        now = time.time()
        print_table(_COLUMNS, [_cells(one, now) for one in found], elastic="PATH")


def _cells(one: _Record, now: float) -> tuple[str, ...]:
    project, _, path = one["path"].partition("/")
    return (one["object_id"], project, path, units.ago(one["since"], now), one["why"])


def _seconds(text: str) -> float:
    """A time such as ``15m`` in seconds."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be like 90s, 15m, 2h or 1d, not {text!r}")
    return float(match[1]) * _SECONDS[match[2]]
