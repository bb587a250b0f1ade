"""Deliveries, and a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.aruna.hook import Hook
from pipeline.journal import HeldJob, Journal, Outcome, State
from pipeline.web.payload import parse_hook
from tests.payloads import as_bytes, payload, source, token

NOW = 1_900_000_000.0
DAY = 86400.0
LEASE = 60.0
#: When the tokens of the deliveries end.
EXPIRES = NOW + 2 * DAY

DONE = Outcome(None)


@dataclass
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def delivery(
    number: int = 0, *, hook_id: str = "HOOK", content_len: int = 100, **changes: Any
) -> Hook:
    """A delivery for the source with that number."""
    described = source(id=f"OBJECT{number}", name=f"plants{number}.xml", content_len=content_len)
    sent = {"hook_id": hook_id, "object": {"Object": described}, "token": token(EXPIRES)}
    return parse_hook(as_bytes(payload(**{**sent, **changes})))


def claimed(journal: Journal, holder: str = "host") -> HeldJob:
    """The one job that is due, held."""
    [held] = journal.claim(holder, 10, LEASE)
    return held


def succeed(held: HeldJob) -> bool:
    """Bring a claimed job to its end, as far as the journal is concerned."""
    if held.job.outcome is None:
        held.worked(DONE)
    held.callback_sending()
    return held.end(State.SUCCEEDED, DONE)


def fail(held: HeldJob, code: str = "invalid_input", *, scrub: bool = False) -> bool:
    """End a claimed job as failed."""
    return held.end(State.FAILED, Outcome(code, "it is no ABCD"), scrub=scrub)
