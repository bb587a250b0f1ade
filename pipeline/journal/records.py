"""What stands in the journal, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.hook import Credentials, Hook
from pipeline.telemetry.redaction import redact

#: Characters of a message that are kept.
MESSAGE_LIMIT = 1000
#: The code of a job that had nothing to transform and ends with an empty ``finished`` callback.
IGNORED = "ignored"


class State(StrEnum):
    """The state of a job."""

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

    def kept(self) -> Outcome:
        """What the journal stores of it: secrets masked, the message cut."""
        return Outcome(self.code, kept(self.message))


def kept(message: str) -> str:
    """A message as the journal stores it."""
    return redact(message)[:MESSAGE_LIMIT]


@dataclass(frozen=True)
class Agenda:
    """When the next queued job is due, and when the next lease ends (seconds since the epoch)."""

    due: float | None
    lease_end: float | None

    def soonest(self) -> float | None:
        """The first of the two."""
        times = [time for time in (self.due, self.lease_end) if time is not None]
        return min(times, default=None)


@dataclass(frozen=True)
class Receipt:
    """Where a delivery went: into a job of its own, or into one that is still active."""

    job_id: str
    duplicate: bool


@dataclass(frozen=True)
class Progress:
    """How far a job is: a word for people, and bytes read and written so far."""

    stage: str
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Meter:
    """How far an attempt is: the job's threads count, every write of its holder stores it."""

    stage: str = ""
    bytes_in: int = 0
    bytes_out: int = 0

    def columns(self) -> dict[str, str | int]:
        """What the journal stores of it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Relay:
    """What became of a job's relay: fetches so far, whether the first of them passed the whole
    download on, and what went wrong with the last one that failed."""

    fetches: int
    passed: bool
    error: str | None


@dataclass(frozen=True)
class RelayGrant:
    """What a relay token permits: to pass on the download of one running job.

    ``number`` counts the fetches under this token from 1.
    """

    job_id: str
    number: int
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
    for the newest delivery may have reached Aruna; ``told`` is what Aruna was told since then.

    ``attempt`` counts the attempts of the work that have ended, ``failures`` those of them that
    count against ``MAX_ATTEMPTS``, ``lost`` those whose process died. ``outage_since`` is the first
    attempt in a row that failed because a peer was away. With ``upload_begun`` some content may be
    in the result's object that nobody has confirmed.
    """

    id: str
    hook_id: str
    object_id: str
    content: str
    source_sha256: str | None
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
    failures: int
    lost: int
    callback_attempt: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    next_at: float | None
    waiting_since: float | None
    outage_since: float | None
    lease: str | None
    lease_until: float | None
    holder: str | None
    outcome: Outcome | None
    told: Outcome | None
    last_error: Outcome | None
    result_id: str | None
    result_name: str | None
    upload_begun: bool
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
