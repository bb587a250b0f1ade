"""What stands in the journal, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.hook import Credentials, Hook

#: The code of a job that had nothing to transform and ends with an empty ``finished`` callback.
IGNORED = "ignored"


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Step(StrEnum):
    """What is to be done next; work that is done stays done while its callback is retried."""

    WORK = "work"
    CALLBACK = "callback"


@dataclass(frozen=True)
class Outcome:
    """How the work ended, for the callback: ``code`` is ``None`` for a success, a code of
    ``pipeline.errors``, or ``IGNORED``."""

    code: str | None
    message: str = ""


@dataclass(frozen=True)
class Receipt:
    """Where a delivery went: into a job of its own, or into one that is still active."""

    job_id: str
    duplicate: bool


@dataclass(frozen=True)
class Progress:
    """How far a running job is: a word for people, and bytes read and written so far."""

    stage: str
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True)
class Relay:
    """What became of a job's relay: fetches so far, whether one passed the whole download, and
    what went wrong with the last that did not."""

    fetches: int
    passed: bool
    error: str | None


@dataclass(frozen=True)
class RelayGrant:
    """What a relay token permits: to pass on the download of one running job."""

    job_id: str
    name: str
    kind: str
    download: str = field(repr=False)
    content_len: int
    sha256: str | None


@dataclass(frozen=True)
class PastAttempt:
    """One counted attempt of a step; ``code`` is ``None`` if it did what it should, ``next_at``
    if it was the last one."""

    number: int
    step: Step
    started_at: float | None
    ended_at: float
    code: str | None
    message: str
    next_at: float | None


@dataclass(frozen=True)
class Known:
    """What the journal has of an object's content: a job, and how it stands."""

    job_id: str
    hook_id: str
    content: str
    state: State
    code: str | None


@dataclass(frozen=True)
class Job:
    """One row of the journal. Times are seconds since the epoch.

    ``object`` is the source as the newest delivery had it (a serialised ``models_pb2.Object``).
    ``credentials`` are ``None`` once they are scrubbed, or if they cannot be read; then
    ``credentials_gone`` says why. ``lease`` is the fencing token of the present holder.
    ``outcome`` is set once only the callback is missing. ``callback_sent_at`` is set if a callback
    for the newest delivery may have reached Aruna.
    """

    id: str
    hook_id: str
    object_id: str
    content: str
    name: str
    object: bytes = field(repr=False)
    credentials: Credentials | None
    credentials_gone: str | None
    token_expires: float | None
    answer_only: bool
    deliveries: int
    state: State
    step: Step
    attempt: int
    callback_attempt: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    next_at: float | None
    waiting_since: float | None
    lease: str | None
    lease_until: float | None
    holder: str | None
    outcome: Outcome | None
    last_error: Outcome | None
    result_id: str | None
    result_name: str | None
    callback_since: float | None
    callback_sent_at: float | None
    progress: Progress
    relay: Relay

    @property
    def source(self) -> models_pb2.Object:
        """The source as the newest delivery had it."""
        return models_pb2.Object.FromString(self.object)

    @property
    def hook(self) -> Hook | None:
        """The newest delivery, or ``None`` without credentials."""
        if self.credentials is None:
            return None
        return Hook(self.hook_id, self.source, self.credentials)
