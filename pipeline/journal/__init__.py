"""The journal: the durable list of jobs, in SQLite or PostgreSQL.

A job is one hook's work on one content of one object. ``Journal`` is the way in; what it hands
out are frozen values.
"""

from pipeline.aruna.hook import Credentials
from pipeline.journal.journal import Journal, UnknownJob
from pipeline.journal.records import (
    IGNORED,
    Job,
    Known,
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
    "Credentials",
    "Job",
    "Journal",
    "JournalUnavailable",
    "Known",
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
