"""One run at a time over all processes and hosts: whose turn it is stands in the journal."""

from __future__ import annotations

import time

from pipeline.errors import LeaseLost
from pipeline.journal import Journal
from pipeline.journal.process import own_name

_NAME = "reconcile"
#: Seconds a turn lasts unless it is kept; more than three tries of one call to Aruna take.
LEASE = 120.0


class Turn:
    """The lease of ``reconcile``, to be taken, kept while the run goes on, and ended.

    All methods raise ``JournalUnavailable``.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._taken = 0.0

    def take(self) -> bool:
        """Whether it is this process's turn now."""
        self._taken = time.monotonic()
        return self._journal.named_lease(_NAME, own_name(), LEASE)

    def keep(self) -> None:
        """Prolong the turn if it is time to; raises ``LeaseLost`` if another process has it."""
        if time.monotonic() - self._taken >= LEASE / 4 and not self.take():
            raise LeaseLost("another reconcile is at work")

    def end(self) -> None:
        """Let the next one have its turn at once."""
        self._journal.named_lease(_NAME, own_name(), 0)
