"""The journal: the durable list of jobs, in SQLite or PostgreSQL.

A job is one hook's work on one content of one object. ``Journal`` is the way in; what it hands
out are frozen values.
"""

from pipeline.journal.held import HeldJob
from pipeline.journal.journal import Journal, UnknownJob
from pipeline.journal.records import (
    IGNORED,
    Agenda,
    Job,
    Known,
    Meter,
    Outcome,
    PastAttempt,
    Progress,
    Receipt,
    Relay,
    RelayGrant,
    State,
    Step,
)
from pipeline.journal.writer import JournalUnavailable

__all__ = [
    "IGNORED",
    "Agenda",
    "HeldJob",
    "Job",
    "Journal",
    "JournalUnavailable",
    "Known",
    "Meter",
    "Outcome",
    "PastAttempt",
    "Progress",
    "Receipt",
    "Relay",
    "RelayGrant",
    "State",
    "Step",
    "UnknownJob",
]
