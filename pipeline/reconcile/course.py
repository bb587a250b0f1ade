"""How a run goes on: what it says, how far it is, and why Aruna refused something."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.aruna.client import ArunaRefused
from pipeline.telemetry.redaction import redact

_WORDS_LIMIT = 200  # characters of Aruna's own words


@dataclass
class Course:
    """One run: ``say`` takes a line for people.

    ``objects`` are those known of so far, ``looked_at`` those already judged, ``troubles`` what
    could not be looked at or not be taken up.
    """

    say: Callable[[str], object]
    objects: int = 0
    looked_at: int = 0
    troubles: int = 0
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    def watched_by(self, watcher: Callable[[], None]) -> None:
        """``watcher`` is called whenever the run has got further."""
        self._watchers.append(watcher)

    def moved(self) -> None:
        """The run has got further."""
        for watcher in self._watchers:
            watcher()

    def trouble(self, what: str, why: str) -> None:
        """Something is left out; the run goes on with the rest."""
        self.troubles += 1
        self.say(" ".join(f"{what}: {why}".split()))


def why_refused(refusal: ArunaRefused) -> str:
    """A refusal in words for an operator.

    Aruna 2.0.4: missing rights, unknown ids and expired tokens have one code and one message.
    """
    said = said_by(refusal)
    if refusal.unauthenticated:
        return f"it is gone, or ARUNA_TOKEN has no right to it (Aruna says: {said})"
    if refusal.unreachable:
        return f"it does not answer ({said})"
    return f"Aruna refuses it ({refusal.status.name}: {said})"


def said_by(refusal: ArunaRefused) -> str:
    """Aruna's own words, without the Rust around them."""
    inner = re.search(r'message: "([^"]*)"', refusal.message)
    return redact(inner[1] if inner else refusal.message)[:_WORDS_LIMIT]
