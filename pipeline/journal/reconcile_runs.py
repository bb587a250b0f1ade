"""What the runs of ``reconcile`` found so far, kept in the journal for all processes and hosts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.journal import Journal

_NOTE = "reconcile"


@dataclass(frozen=True)
class Reconciled:
    """The state after the last run.

    ``last_run`` is when it ended (seconds since the epoch), ``found`` how many forgotten sources
    all runs together have found, ``unknown`` how many objects the last run could not judge.
    """

    last_run: float
    found: int
    unknown: int


NEVER = Reconciled(last_run=0, found=0, unknown=0)


def read(journal: Journal) -> Reconciled:
    """The state after the last run, or ``NEVER``; raises ``JournalUnavailable``."""
    noted = journal.noted(_NOTE)
    return NEVER if noted is None else Reconciled(**json.loads(noted))


def add(journal: Journal, *, found: int, unknown: int, now: float) -> None:
    """Note a run that ended ``now``; the caller holds the lease of ``reconcile``.

    Raises ``JournalUnavailable``.
    """
    total = read(journal).found + found
    journal.note(_NOTE, json.dumps(asdict(Reconciled(now, total, unknown))))
