"""The status page: what an operator wants to see, without a script and without other files.

``look`` reads the journal, ``status_page`` makes the page of what it saw. The template escapes
every value it shows.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from bottle import SimpleTemplate

from pipeline import __version__
from pipeline.journal import Job, Journal, JournalUnavailable, State, reconcile_runs
from pipeline.operators import units
from pipeline.operators.advice import advice_for
from pipeline.operators.records import attempt_number
from pipeline.telemetry.redaction import redact

#: Seconds between two loads of the page.
REFRESH = 10
#: What the page is sent with: it needs its own style and nothing else, and nobody keeps a copy.
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_DAY = 86400.0
_SLOW_QUEUE = 300.0  # seconds after which a queue that does not move is a reason
_LISTED = 25  # jobs of a state on the page
_MEASURED = 500  # ended jobs that are read to say how fast the service is


@functools.cache
def _template() -> SimpleTemplate:
    return SimpleTemplate(source=(Path(__file__).parent / "status.html").read_text("utf-8"))


@dataclass(frozen=True)
class Overview:
    """What the journal showed at ``now`` (seconds since the epoch); jobs are newest first."""

    now: float
    counts: dict[State, int]
    oldest_queued: float
    callback_backlog: int
    running: list[Job]
    queued: list[Job]
    failed: list[Job]
    succeeded: list[Job]
    reconciled: reconcile_runs.Reconciled


@dataclass(frozen=True)
class Verdict:
    """Whether the service works: ``level`` is ``ok``, ``look`` or ``bad``."""

    level: str
    headline: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """How fast the jobs of the last 24 hours were; ``at_least`` if there were more than read."""

    ended: int
    at_least: bool
    median: float | None
    bytes_in: int
    bytes_out: int


def look(journal: Journal, now: float | None = None) -> Overview:
    """What the page shows, read from the journal; raises ``JournalUnavailable``."""
    return Overview(
        now=time.time() if now is None else now,
        counts=journal.counts(),
        oldest_queued=journal.oldest_queued_seconds(),
        callback_backlog=journal.callback_backlog(),
        running=journal.jobs(State.RUNNING, limit=_LISTED),
        queued=journal.jobs(State.QUEUED, limit=_LISTED),
        failed=journal.jobs(State.FAILED, limit=_LISTED),
        succeeded=journal.jobs(State.SUCCEEDED, limit=_MEASURED),
        reconciled=reconcile_runs.read(journal),
    )


def status_page(journal: Journal, *, refreshing: bool = True, now: float | None = None) -> str:
    """The page as HTML; it says so if the journal can't be read."""
    try:
        overview = look(journal, now)
    except JournalUnavailable as trouble:
        return _rendered(None, _without_journal(trouble), refreshing)
    return _rendered(overview, judged(overview), refreshing)


def judged(overview: Overview) -> Verdict:
    """Whether the service works, and what needs attention."""
    failed = _since_yesterday(overview.failed, overview.now)
    reasons = []
    if failed:
        number = f"{_LISTED} or more" if len(failed) == _LISTED else str(len(failed))
        jobs = "job" if number == "1" else "jobs"
        reasons.append(f"{number} {jobs} failed in the last 24 hours; see below.")
    if overview.oldest_queued > _SLOW_QUEUE:
        waited = units.duration(overview.oldest_queued)
        reasons.append(f"The oldest queued job has waited for {waited}; see below.")
    if overview.callback_backlog > len(overview.running):
        reasons.append(
            f"{overview.callback_backlog} jobs are finished, but Aruna has not accepted their "
            "callbacks yet."
        )
    if reasons:
        return Verdict("look", "Needs attention", tuple(reasons))
    return Verdict("ok", "No problems")


def pace(overview: Overview) -> Pace:
    """How fast the last 24 hours were."""
    done = _since_yesterday(overview.succeeded, overview.now)
    took = [job.ended_at - job.created_at for job in done if job.ended_at is not None]
    return Pace(
        ended=len(done),
        at_least=len(done) == _MEASURED,
        median=statistics.median(took) if took else None,
        bytes_in=sum(job.progress.bytes_in for job in done),
        bytes_out=sum(job.progress.bytes_out for job in done),
    )


def authorised(header: str | None, token: str) -> bool:
    """Whether an ``Authorization`` header (basic auth, any user) has the token as its password."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        password = base64.b64decode(encoded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(password, token.encode())


def _rendered(overview: Overview | None, verdict: Verdict, refreshing: bool) -> str:
    page: str = _template().render(
        overview=overview,
        verdict=verdict,
        pace=pace(overview) if overview else None,
        refresh=REFRESH if refreshing else None,
        version=__version__,
        units=units,
        advice_for=advice_for,
        attempt_number=attempt_number,
        redact=redact,
        done_of=_done_of,
        length_of=_length_of,
        time_of_day=units.moment(overview.now if overview else time.time()),
    )
    return page


def _without_journal(trouble: JournalUnavailable) -> Verdict:
    return Verdict(
        "bad",
        "The journal can't be read",
        (
            f"{trouble}. Hooks are answered with 503 until it is back; running jobs go on then.",
            "To find out more: python -m pipeline check",
        ),
    )


def _since_yesterday(jobs: list[Job], now: float) -> list[Job]:
    return [job for job in jobs if job.ended_at is not None and job.ended_at > now - _DAY]


def _length_of(job: Job) -> int:
    """Bytes of the source."""
    return int(job.source.content_len)


def _done_of(job: Job) -> int:
    """Per cent of the source that has been read."""
    length = _length_of(job)
    return min(100, 100 * job.progress.bytes_in // length) if length > 0 else 0
