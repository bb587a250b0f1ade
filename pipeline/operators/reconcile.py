"""The command ``reconcile``: what Aruna never delivered is found and put into the journal."""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.hook import token_expiry
from pipeline.errors import LeaseLost
from pipeline.journal import Journal, reconcile_runs
from pipeline.operators import CommandFailed, units
from pipeline.operators.environment import journal_of_service, settings_of_service
from pipeline.operators.records import print_json, rfc3339
from pipeline.operators.table import print_table
from pipeline.reconcile.account import Account
from pipeline.reconcile.course import Course, why_refused
from pipeline.reconcile.coverage import Ours
from pipeline.reconcile.finding import OLDER_THAN, Search
from pipeline.reconcile.judging import Criteria, Forgotten
from pipeline.reconcile.turn import Turn
from pipeline.settings import Settings

_COLUMNS = ("OBJECT", "PROJECT", "PATH", "SINCE", "WHY")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WRONG_SETTING = 2
_TURN_POLL = 1.0  # seconds


@dataclass(frozen=True)
class _Found:
    """What is printed of a forgotten object; ``job_id`` is unset if nothing was done."""

    object_id: str
    project_id: str
    path: str
    hook_id: str
    since: float
    why: str
    job_id: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline reconcile``."""
    parser.add_argument(
        "--project",
        metavar="ID",
        action="append",
        default=[],
        help="look through this project only (repeatable; default: all that our hooks cover)",
    )
    parser.add_argument(
        "--hook",
        metavar="ID",
        action="append",
        default=[],
        help="this hook is ours (repeatable; default: those that call PUBLIC_URL/webhook, "
        "or without PUBLIC_URL those registered with WEBHOOK_TOKEN)",
    )
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=_seconds,
        default=OLDER_THAN,
        help="leave alone what was made less than this ago: 90s, 15m, 2h, 1d (default: 15m)",
    )
    parser.add_argument(
        "--include-unseen",
        action="store_true",
        help="also objects with the hook's label and no trace of the hook; Aruna takes no "
        "callback for them: their jobs end as callback_failed, with the result in place",
    )
    parser.add_argument("--dry-run", action="store_true", help="show them, do nothing")
    parser.add_argument("--json", action="store_true", help="a JSON array, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Finds forgotten objects and queues a job for each; 1 if something could not be looked at."""
    settings = settings_of_service()
    token = _valid_token(settings)
    criteria = Criteria(time.time() - arguments.older_than, arguments.include_unseen)
    with journal_of_service() as journal, _shown() as course:
        account = Account(settings.aruna_server_address, token, stopping=threading.Event())
        search = Search(
            account,
            journal,
            Ours.of(settings, arguments.hook),
            criteria,
            course,
            tuple(dict.fromkeys(arguments.project)),
        )
        found: list[_Found] = []
        try:
            # What came before an error stays in the list.
            found.extend(_only_shown(search) if arguments.dry_run else _taken_up(search))
        except ArunaRefused as refusal:
            course.trouble("Aruna", why_refused(refusal))
        except LeaseLost as lost:
            course.trouble("this run", str(lost))
        finally:
            account.close()
    _print(found, as_json=arguments.json)
    queued = sum(one.job_id is not None for one in found)
    done = "nothing done" if arguments.dry_run else f"queued: {queued}"
    sys.stderr.write(f"Looked at: {course.looked_at}, forgotten: {len(found)}, {done}.\n")
    return int(course.troubles > 0)


def _only_shown(search: Search) -> Iterator[_Found]:
    return (_row(one, None) for one in search.find())


def _taken_up(search: Search) -> Iterator[_Found]:
    """Each object with its job; the run is noted once it is through."""
    queued = 0
    with _turn(search.journal, search.course):
        for one in search.find():
            job_id = search.take_up(one)
            queued += job_id is not None
            yield _row(one, job_id)
        troubles = search.course.troubles
        reconcile_runs.add(search.journal, found=queued, unknown=troubles, now=time.time())


@contextmanager
def _turn(journal: Journal, course: Course) -> Iterator[None]:
    """The block runs once no other reconcile does; its lease is kept while the course moves."""
    turn = Turn(journal)
    if not turn.take():
        course.say("waiting for another reconcile to end")
        while not turn.take():
            time.sleep(_TURN_POLL)
    course.watched_by(turn.keep)
    try:
        yield
    finally:
        turn.end()


@contextmanager
def _shown() -> Iterator[Course]:
    """A course whose lines go to stderr, with a progress bar if that is a terminal."""
    columns = (TextColumn("objects"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("objects", total=None)
        course = Course(say=lambda line: sys.stderr.write(f"{line}\n"))
        course.watched_by(
            lambda: progress.update(task, completed=course.looked_at, total=course.objects)
        )
        yield course


def _valid_token(settings: Settings) -> str:
    token = settings.aruna_token
    if token is None:
        raise CommandFailed(
            "ARUNA_TOKEN is missing; set it to a personal API token with the right APPEND on the "
            "hooks' projects",
            status=_WRONG_SETTING,
        )
    expires = token_expiry(token)
    if expires is not None and expires <= time.time():
        raise CommandFailed(f"ARUNA_TOKEN expired on {units.moment(expires)}; set a new one")
    return token


def _row(forgotten: Forgotten, job_id: str | None) -> _Found:
    return _Found(
        object_id=forgotten.object.id,
        project_id=forgotten.project_id,
        path=forgotten.path,
        hook_id=forgotten.hook.hook_id,
        since=forgotten.since,
        why=forgotten.why.value,
        job_id=job_id,
    )


def _print(found: list[_Found], *, as_json: bool) -> None:
    if as_json:
        print_json([_record(one) for one in found])
    elif found:
        now = time.time()
        print_table(_COLUMNS, [_cells(one, now) for one in found], elastic="PATH")


def _record(found: _Found) -> dict[str, Any]:
    return {
        "object_id": found.object_id,
        "project_id": found.project_id,
        "path": found.path,
        "hook_id": found.hook_id,
        "since": rfc3339(found.since),
        "why": found.why,
        "job_id": found.job_id,
    }


def _cells(found: _Found, now: float) -> tuple[str, ...]:
    project, _, path = found.path.partition("/")
    return (found.object_id, project, path, units.ago(found.since, now), found.why)


def _seconds(text: str) -> float:
    """A time such as ``15m`` in seconds."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be like 90s, 15m, 2h or 1d, not {text!r}")
    return float(match[1]) * _SECONDS[match[2]]
