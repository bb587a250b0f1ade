"""What an operator can do about a job that failed, by the code it ended with."""

from __future__ import annotations

from pipeline.errors import Code

_REGISTER = "Register the hook anew (register_webhook.sh), then have the source uploaded again."
_RETRY = "then retry the job"

ADVICE: dict[str, str] = {
    Code.CALLBACK_FAILED: (
        "The result is in Aruna; only its message to the source is missing. If another hook "
        "listens to the same trigger in the project, remove one of the two."
    ),
    Code.CREATE_FAILED: (
        "Look at the message: a name that is taken needs another name of the source, a missing "
        "right needs the hook registered by somebody who has it. Else wait for Aruna, "
        f"{_RETRY}."
    ),
    Code.DOWNLOAD_FAILED: (
        "Check that the data proxy is up, that the source is still there, and that ALLOWED_HOSTS "
        f"names its host, {_RETRY}."
    ),
    Code.GFBIO_UNAVAILABLE: (
        "Check GFBio with «python -m pipeline check»; once it is back, retry the job."
    ),
    Code.INTERNAL_ERROR: "Find the traceback by the job's id in the log, and report it.",
    Code.INVALID_HOOK: "Nothing to do for a hook that Aruna sent; else mend its sender.",
    Code.INVALID_INPUT: "Tell the source's owner what is wrong with the document.",
    Code.INVALID_SECRET: (
        "Check that ARUNA_SERVER_ADDRESS is the Aruna that sends the hooks; if it is, somebody "
        "forged this one."
    ),
    Code.JOURNAL_UNAVAILABLE: (
        "Check the journal with «python -m pipeline check»: disk full, read-only, or database "
        "down. Then have the source uploaded again."
    ),
    Code.MISSING_DOWNLOAD_URL: "Check the template the hook was registered with.",
    Code.SUPERSEDED: "Nothing to do: the source was overwritten, and the newer content has a job.",
    Code.TIMEOUT: (
        "See in which stage it was slow; raise PROCESSING_TIMEOUT if the source is large, "
        f"{_RETRY}."
    ),
    Code.TOKEN_EXPIRED: _REGISTER,
    Code.TRANSFORMATION_FAILED: (
        "Tell the source's owner what is wrong with the document. If nothing is, or GFBio took the "
        "like before, check GFBio with python -m pipeline check, or set TRANSFORMER=embedded, "
        f"{_RETRY}."
    ),
    Code.UNSUPPORTED_RESOURCE: "Nothing to do: only objects are transformed.",
    Code.UPLOAD_FAILED: f"Check that the data proxy is up and ALLOWED_HOSTS names it, {_RETRY}.",
}
EXPIRED = f"The job's token has expired, so it can't be retried. {_REGISTER}"


def advice_for(code: str | None, token_expires: float | None, now: float) -> str:
    """The next step for a failed job; ``now`` and the expiry in seconds since the epoch."""
    text = ADVICE.get(code or "", "Find the job's id in the log.")
    expired = token_expires is not None and token_expires <= now
    return EXPIRED if expired and text.endswith(("retry the job.", f"{_RETRY}.")) else text
