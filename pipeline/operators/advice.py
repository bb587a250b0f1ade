"""What an operator can do about a job that failed, by the code it ended with."""

from __future__ import annotations

from pipeline.errors import Code
from pipeline.journal import Job, State

_REGISTER = "Register the hook again (register_webhook.sh), then have the source uploaded again."

ADVICE: dict[str, str] = {
    Code.CALLBACK_FAILED: (
        "The result is in Aruna; only the message to the source is missing. If another hook "
        "listens to the same trigger in the project, delete one of the two."
    ),
    Code.CREATE_FAILED: (
        "Read the message: if a name is taken, rename the source; if a right is missing, have the "
        "hook registered by somebody who has it; else wait for Aruna."
    ),
    Code.DOWNLOAD_FAILED: (
        "Check that the data proxy is up, that the source still exists, and that ALLOWED_HOSTS "
        "names its host."
    ),
    Code.GFBIO_UNAVAILABLE: "Check GFBio with: python -m pipeline check.",
    Code.INTERNAL_ERROR: "Find the traceback in the log by the job's id, and report it.",
    Code.INVALID_HOOK: "Nothing to do if Aruna sent the hook; else correct its sender.",
    Code.INVALID_INPUT: "Tell the source's owner what is wrong with the document.",
    Code.INVALID_SECRET: (
        "Check that ARUNA_SERVER_ADDRESS is the Aruna that sends the hooks; if it is, somebody "
        "forged this one."
    ),
    Code.JOURNAL_UNAVAILABLE: (
        "Check the journal with: python -m pipeline check (disk full, read-only, or database "
        "down). Then have the source uploaded again."
    ),
    Code.MISSING_DOWNLOAD_URL: "Check the template that the hook was registered with.",
    Code.SUPERSEDED: "Nothing to do: the source was overwritten, and its new content has a job.",
    Code.TIMEOUT: ("See which stage was slow; if the source is large, raise PROCESSING_TIMEOUT."),
    Code.TOKEN_EXPIRED: _REGISTER,
    Code.TRANSFORMATION_FAILED: (
        "Tell the source's owner what is wrong with the document. If nothing is, or GFBio took the "
        "like before, check GFBio with: python -m pipeline check, or set TRANSFORMER=embedded; "
        "then retry the job."
    ),
    Code.UNSUPPORTED_RESOURCE: "Nothing to do: only objects are transformed.",
    Code.UPLOAD_FAILED: "Check that the data proxy is up and that ALLOWED_HOSTS names it.",
}
#: What is outside the source and can be mended: afterwards another try makes sense.
_RETRY_HELPS = {
    Code.CREATE_FAILED,
    Code.DOWNLOAD_FAILED,
    Code.GFBIO_UNAVAILABLE,
    Code.TIMEOUT,
    Code.UPLOAD_FAILED,
}


def can_retry(job: Job, now: float) -> bool:
    """Whether a job can be tried again (``now`` in seconds since the epoch), as far as it says."""
    valid = job.token_expires is None or job.token_expires > now
    return job.state is State.FAILED and job.credentials is not None and valid


def advice_for(job: Job, now: float) -> str:
    """The next step for a failed job; ``now`` in seconds since the epoch."""
    code = job.outcome.code if job.outcome else None
    if code not in _RETRY_HELPS:
        return ADVICE.get(code or "", "Find the job's id in the log.")
    if can_retry(job, now):
        return f"{ADVICE[code]} Then retry the job."
    if job.token_expires is not None and job.token_expires <= now:
        return f"It can't be retried: its token has expired. {_REGISTER}"
    return f"It can't be retried: {job.credentials_gone}. Have the source uploaded again."
