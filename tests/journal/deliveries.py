"""Deliveries, and a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.aruna.hook import Hook
from pipeline.journal import Job, Journal, Outcome, State
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


def claimed(journal: Journal, holder: str = "host") -> tuple[Job, str]:
    """The one job that is due, and the lease it was claimed with."""
    [job] = journal.claim(holder, 10, LEASE)
    assert job.lease is not None
    return job, job.lease


def succeed(journal: Journal, job: Job) -> bool:
    """Bring a claimed job to its end, as far as the journal is concerned."""
    lease = job.lease or ""
    if job.outcome is None:
        journal.worked(job.id, lease, DONE)
    newest = journal.callback_sending(job.id, lease)
    return journal.ended(
        job.id, lease, state=State.SUCCEEDED, outcome=DONE, deliveries=newest.deliveries
    )


def fail(journal: Journal, job: Job, code: str = "invalid_input", **how: Any) -> bool:
    """End a claimed job as failed."""
    return journal.ended(
        job.id,
        job.lease or "",
        state=State.FAILED,
        outcome=Outcome(code, "it is no ABCD"),
        deliveries=job.deliveries,
        **how,
    )
