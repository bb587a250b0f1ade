"""One run of reconcile: how it asks Aruna, how far it is, and the lease it runs under."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import LeaseLost
from pipeline.journal import Journal
from pipeline.journal.process import own_name
from pipeline.telemetry.redaction import redact

T = TypeVar("T")

#: Seconds that a run may be silent and still be the only one; more than three tries of one call to
#: Aruna take.
LEASE = 120.0
_LEASE_NAME = "reconcile"
_MESSAGE_LIMIT = 200  # characters of Aruna's own words


@dataclass
class Run:
    """A run on behalf of the owner of ``token``; it ends when ``attempt`` is cut.

    ``say`` takes a line for people; ``watchers`` are called whenever the run has got further.
    ``objects`` is the number of objects known of so far, ``looked_at`` of those already judged,
    ``queued`` of the new jobs, ``skipped`` of the things that Aruna refused to show or to lend.
    """

    aruna: Aruna
    token: str = field(repr=False)
    attempt: Attempt
    say: Callable[[str], object]
    watchers: list[Callable[[], object]] = field(default_factory=list)
    objects: int = 0
    looked_at: int = 0
    queued: int = 0
    skipped: int = 0

    def ask(self, what: str, method: Callable[..., T], *arguments: object) -> T | None:
        """What a method of ``aruna`` answers; ``None`` if Aruna refuses, which is said of ``what``.

        Raises ``ArunaRefused`` if Aruna does not answer at all, and what ends the run.
        """
        try:
            return method(self.token, *arguments, self.attempt)
        except ArunaRefused as refusal:
            self.attempt.check()  # at a stop the channel is closed under a call
            if refusal.unreachable:
                raise
            self.skip(what, why_refused(refusal))
            return None

    def skip(self, what: str, why: str) -> None:
        """Leave something out and go on with the rest."""
        self.skipped += 1
        self.say(" ".join(f"{what}: {why}".split()))

    def moved(self) -> None:
        """The run has got further; raises what the watchers raise."""
        for watcher in self.watchers:
            watcher()


class RunLease:
    """The lease of ``reconcile``: one run at a time over all processes and hosts.

    All methods raise ``JournalUnavailable``.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._taken = 0.0

    def take(self) -> bool:
        """Take or prolong the lease; whether this process has it now."""
        self._taken = time.monotonic()
        return self._journal.named_lease(_LEASE_NAME, own_name(), LEASE)

    def keep(self) -> None:
        """Prolong the lease if it is time to; raises ``LeaseLost`` if another process has it."""
        if time.monotonic() - self._taken >= LEASE / 4 and not self.take():
            raise LeaseLost("another reconcile is running")

    def give_up(self) -> None:
        """Let another run begin at once."""
        self._journal.end_lease(_LEASE_NAME, own_name())


def why_refused(refusal: ArunaRefused) -> str:
    """A refusal in words for an operator.

    Aruna 2.0.4: missing rights, unknown ids and expired tokens have one code and one message.
    """
    said = said_by(refusal)
    if refusal.unreachable:
        return f"it does not answer ({said})"
    if refusal.unauthenticated:
        return f"it is gone, or ARUNA_TOKEN has no right to it (Aruna says: {said})"
    if refusal.proxy_silent:
        return f"Aruna does not reach the data proxy (Aruna says: {said})"
    return f"Aruna refuses it ({refusal.status.name}: {said})"


def said_by(refusal: ArunaRefused) -> str:
    """Aruna's own words, without the Rust around them."""
    inner = re.search(r'message: "([^"]*)"', refusal.message)
    return redact(inner[1] if inner else refusal.message)[:_MESSAGE_LIMIT]
