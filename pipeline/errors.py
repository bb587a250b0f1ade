"""What can go wrong with a job, each with a code that operators and researchers see.

    JobError
    ├── JobFailed      code, message, again: ends or delays the attempt
    ├── NotYet         a condition outside has to come true first; no attempt is counted
    └── Interrupted    this process must let go of the job; no attempt is counted
        ├── LeaseLost
        └── Stopping

Every error is raised where it is understood and caught in one place, at the end of an attempt.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The reasons a job can end with, as they stand in labels, commands and metrics."""

    CALLBACK_FAILED = "callback_failed"
    CREATE_FAILED = "create_failed"
    DOWNLOAD_FAILED = "download_failed"
    GFBIO_UNAVAILABLE = "gfbio_unavailable"
    INTERNAL_ERROR = "internal_error"
    INVALID_HOOK = "invalid_hook"
    INVALID_INPUT = "invalid_input"
    INVALID_SECRET = "invalid_secret"  # noqa: S105 - a code, not a secret
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    MISSING_DOWNLOAD_URL = "missing_download_url"
    SUPERSEDED = "superseded"
    TIMEOUT = "timeout"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code, not a secret
    TRANSFORMATION_FAILED = "transformation_failed"
    UNSUPPORTED_RESOURCE = "unsupported_resource"
    UPLOAD_FAILED = "upload_failed"


#: Reasons that lie in the source or the hook: there is nothing for an operator to mend.
SOURCE_AT_FAULT = frozenset(
    {
        Code.INVALID_HOOK,
        Code.INVALID_INPUT,
        Code.MISSING_DOWNLOAD_URL,
        Code.SUPERSEDED,
        Code.TRANSFORMATION_FAILED,
        Code.UNSUPPORTED_RESOURCE,
    }
)
#: Seconds of patience with a peer that is unreachable, refuses connections or answers 5xx.
OUTAGE = 3600.0
#: Seconds of patience with an Aruna that does not know the rights of a valid token. Aruna 2.0.4:
#: they are forgotten for a moment, and an object that got lost in a cache is back at the next
#: CreateObject in its parent.
FORGOTTEN_RIGHTS = 900.0


class JobError(Exception):
    """Anything that stops an attempt of a job."""


class JobFailed(JobError):
    """The attempt failed: with ``code``, a ``message`` a researcher can act on, and ``again``.

    ``again`` says whether another attempt makes sense, ``patience`` for how many seconds such
    attempts are free because the other side is away (unless the operator set ``MAX_ATTEMPTS``).
    ``message`` holds no secret and no presigned query; what foreign libraries said is the
    ``__cause__``, never part of it.
    """

    def __init__(
        self, code: Code, message: str, *, again: bool = False, patience: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.again = again or patience > 0
        self.patience = patience


class NotYet(JobError):
    """Something outside has to come true first: look again in ``after`` seconds.

    The attempt is not counted and no thread waits.
    """

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.message = message
        self.after = after


class Interrupted(JobError):
    """This process must let go of the job at once, without a word to Aruna."""


class LeaseLost(Interrupted):
    """Another process holds the job now (this one was paused for longer than its lease)."""


class Stopping(Interrupted):
    """The process is shutting down: the job goes back to the queue, no attempt counted."""
