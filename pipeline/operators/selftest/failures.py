"""What a failure of each stage most likely means, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.aruna.client import ArunaRefused
from pipeline.errors import Code
from pipeline.journal import Job, State
from pipeline.operators.advice import ADVICE
from pipeline.operators.selftest.place import Spot
from pipeline.operators.selftest.report import StageFailed
from pipeline.reconcile.run import said_by
from pipeline.settings import Settings, Transformer, Transport

_LISTS = "./register_webhook.sh list shows them"
_SHOW = "python -m pipeline show {}"
_WITH_ADMIN = "take a token with the right WRITE, or ADMIN so that all is deleted again"
_ERROR_LIMIT = 200  # characters of what Aruna says of a delivery

#: The refusals of the service: what each most likely means, and what to do.
_REFUSALS: dict[str, tuple[str, str]] = {
    "unauthorized": (
        "the hook carries another bearer token than the running service has as WEBHOOK_TOKEN",
        "restart the service with the token of the hook, or delete the hook and register it anew",
    ),
    Code.INVALID_SECRET: (
        "the running service has WEBHOOK_SECRET set, though Aruna's secrets differ for each "
        "object, or another Aruna as ARUNA_SERVER_ADDRESS",
        "unset WEBHOOK_SECRET, compare ARUNA_SERVER_ADDRESS, and restart the service",
    ),
    Code.JOURNAL_UNAVAILABLE: (
        "the service can't write its journal",
        "python -m pipeline check",
    ),
}
_OTHER_REFUSAL = (
    "the hook was registered with a customTemplate that leaves something out",
    "delete the hook and register it anew with ./register_webhook.sh",
)
#: What a job's failure most likely means, the document being good.
_LIKELY: dict[str, str] = {
    Code.CREATE_FAILED: "whoever the hook acts for has no right APPEND on the project",
    Code.DOWNLOAD_FAILED: "the service does not reach Aruna's storage, or ALLOWED_HOSTS does not "
    "name its host",
    Code.GFBIO_UNAVAILABLE: "the service does not reach GFBIO_BASE_URL, or GFBio is down",
    Code.INVALID_INPUT: "MAX_INPUT_BYTES is too small",
    Code.INVALID_SECRET: "the running service has another Aruna as ARUNA_SERVER_ADDRESS",
    Code.TIMEOUT: "PROCESSING_TIMEOUT is too short, or a peer hangs",
    Code.TOKEN_EXPIRED: "the hook's registration has ended",
    Code.TRANSFORMATION_FAILED: "GFBio fails: the document is good",
    Code.UPLOAD_FAILED: "Aruna's storage refuses the hook's credentials, or is away",
}


def unanswered(refusal: ArunaRefused, settings: Settings) -> StageFailed:
    """Aruna does not answer, or not as it should."""
    return StageFailed(
        f"{settings.aruna_server_address}: {refusal.status.name}: {said_by(refusal)}",
        likely="Aruna is down, ARUNA_SERVER_ADDRESS is not its gRPC address, or a firewall is in "
        "between",
        to_do="python -m pipeline check",
    )


def no_place(resource_id: str, refusal: ArunaRefused) -> StageFailed:
    """The id leads nowhere, as far as the token shows."""
    return StageFailed(
        f"ARUNA_TOKEN does not show {resource_id} (Aruna says: {said_by(refusal)})",
        likely="no project, collection or dataset has that id, the token has no right there, or it "
        "was revoked",
        to_do="compare the id with Aruna's website; take a token of a member of the project",
    )


def not_created(refusal: ArunaRefused, spot: Spot) -> StageFailed:
    """CreateObject was refused."""
    said = said_by(refusal)
    if refusal.unauthenticated:
        return StageFailed(
            f"ARUNA_TOKEN may not create an object in {spot.title} (Aruna says: {said})",
            likely="it has no right APPEND there",
            to_do=_WITH_ADMIN,
        )
    return StageFailed(
        f"Aruna refused to create the object ({refusal.status.name}: {said})",
        likely="Aruna is overloaded or down"
        if refusal.unreachable
        else "a rule of the project forbids it, or Aruna's database is in trouble",
        to_do="run this again; then look into Aruna's log",
    )


def not_writable(refusal: ArunaRefused) -> StageFailed:
    """The object is there, but can't be uploaded to or labelled."""
    return StageFailed(
        f"ARUNA_TOKEN may not write the object it created (Aruna says: {said_by(refusal)})",
        likely="it has the right APPEND there, which is too little here, or the data proxy is away",
        to_do=_WITH_ADMIN,
    )


def not_uploaded(answered: str, *, refused: bool) -> StageFailed:
    """Aruna's storage did not take the document."""
    return StageFailed(
        f"Aruna's storage answered {answered}",
        likely="a proxy before it changes the request, or its clock is wrong"
        if refused
        else "the data proxy is in trouble: it has not heard of the new object for a minute",
        to_do="look into the data proxy's log; jobs will fail with upload_failed too",
    )


def storage_forbidden(message: str) -> StageFailed:
    """The service's own rules forbid its address."""
    return StageFailed(
        f"the address of Aruna's storage is not permitted: {message}",
        likely="ALLOWED_HOSTS does not name it, or it is a private one and ALLOWED_HOSTS is unset",
        to_do="add its host to ALLOWED_HOSTS and restart the service",
    )


def storage_unreachable(url: str, error: Exception) -> StageFailed:
    """No connection, or it broke."""
    return StageFailed(
        f"{url} can't be reached ({type(error).__name__})",
        likely="the data proxy is down, or a firewall is in between",
        to_do="see that this machine reaches it; jobs will fail with upload_failed too",
    )


def refused(answers: Iterable[str]) -> StageFailed:
    """The service has refused the delivery, by these answers."""
    names = sorted(answers)
    likely, to_do = _REFUSALS.get(names[0], _OTHER_REFUSAL)
    return StageFailed(
        f"the service refused a hook: {', '.join(names)}",
        likely=f"{likely}; or a stranger calls it at this moment",
        to_do=to_do,
    )


def not_delivered(seconds: float, status: object, url: str, *, counted: bool) -> StageFailed:
    """Nothing came; ``status`` is what Aruna says of the hook on the object, ``None`` for nothing.

    ``counted``: the service's counters were read, and it refused nothing.
    """
    if isinstance(status, dict):
        return StageFailed(
            f"Aruna could not send it: {str(status.get('ERROR'))[:_ERROR_LIMIT]}",
            likely=f"Aruna can't reach {url}: its name, a firewall, or its certificate",
            to_do="see that the URL is reached from Aruna's machines, not only from here",
        )
    said = f"no delivery within {seconds:g} s: "
    if status is None:
        return StageFailed(
            f"{said}Aruna shows no trace of the hook on the object",
            likely="its filter does not match after all, or the receiver of another hook keeps "
            "Aruna waiting: it sends one after the other",
            to_do="run this again in some minutes; ./register_webhook.sh list shows the filter",
        )
    return StageFailed(
        f"{said}Aruna says {status}, and the service has not "
        + ("seen it" if counted else "put it into its journal (its /metrics are not shown here)"),
        likely=f"Aruna dropped it, as it does when its data proxy is busy, or {url} leads to "
        "something else",
        to_do="run this again; python -m pipeline reconcile finds what Aruna dropped",
    )


def not_ended(job: Job, seconds: float) -> StageFailed:
    """The job is not done in time."""
    if job.state is State.RUNNING:
        where = f"still in the stage {job.progress.stage or 'that is its first'}"
        likely = "that stage is slow, or its peer hangs"
    elif job.last_error is not None:
        where, likely = f"waiting: {job.last_error.message}", "what it waits for does not come"
    else:
        where, likely = "still queued", "other jobs are before it, or no thread takes jobs"
    return StageFailed(
        f"{job.id} is {where} after {seconds:g} s", likely=likely, to_do=_SHOW.format(job.id)
    )


def not_worked(job: Job, settings: Settings) -> StageFailed:
    """The job has failed."""
    outcome = job.outcome or job.last_error
    code, message = (outcome.code or "", outcome.message) if outcome else ("", "")
    said = f"{job.id} failed: {code}: {message}"
    if code == Code.DOWNLOAD_FAILED and _is_relayed(settings) and not job.relay.fetches:
        return StageFailed(
            f"{said}; GFBio did not ask for it at PUBLIC_URL",
            likely=f"GFBio can't reach {settings.public_url}: its name, a firewall, its "
            "certificate, or the proxy before the service",
            to_do="see that PUBLIC_URL/health is reached from outside, or set "
            "GFBIO_TRANSPORT=direct or TRANSFORMER=embedded",
        )
    return StageFailed(
        said, likely=_LIKELY.get(code, "see the log"), to_do=ADVICE.get(code, _SHOW.format(job.id))
    )


def not_called_back(job: Job, rivals: Iterable[str], seconds: float) -> StageFailed:
    """Aruna did not take the callback."""
    outcome = job.outcome if job.state is State.FAILED else job.last_error
    if outcome is None:
        return StageFailed(
            f"no callback within {seconds:g} s",
            likely="Aruna is slow to take it",
            to_do=_SHOW.format(job.id),
        )
    others = ", ".join(rivals)
    return StageFailed(
        f"Aruna refused the callback: {outcome.message}",
        likely="a second hook on the same trigger took the hook's status away"
        + (f": {others}" if others else ""),
        to_do=f"delete one of the two hooks; {_LISTS}",
    )


def not_labelled(label: str, rivals: Iterable[str]) -> StageFailed:
    """Aruna took the callback and shows nothing of it."""
    others = ", ".join(rivals)
    return StageFailed(
        f"Aruna took the callback, but does not show {label} on the source",
        likely="the delivery of a second hook rewrote the source's labels"
        + (f": {others}" if others else ""),
        to_do=f"delete one of the two hooks; {_LISTS}",
    )


def bad_result(job: Job, said: str, likely: str) -> StageFailed:
    """The result is not what it should be."""
    return StageFailed(said, likely=likely, to_do=_SHOW.format(job.id))


def left_behind(
    names: Mapping[str, str], reasons: Mapping[str, str], doubts: Iterable[str]
) -> StageFailed:
    """Some of what was made is still there, or may come yet."""
    left = [f"{names[key]} ({key})" for key in reasons]
    said = [f"not deleted: {', '.join(left)}"] if left else []
    said += [f"there may be {doubt}" for doubt in doubts]
    said += [f"Aruna says: {reason}" for reason in dict.fromkeys(reasons.values())]
    return StageFailed(
        "; ".join(said),
        likely="ARUNA_TOKEN has no right ADMIN there" if left else "Aruna or the job was too slow",
        to_do="delete them by hand, on Aruna's website for instance",
    )


def _is_relayed(settings: Settings) -> bool:
    return settings.transformer is Transformer.GFBIO and settings.gfbio_transport is Transport.RELAY
