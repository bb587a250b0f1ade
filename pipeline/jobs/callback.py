"""The callback: what the researcher sees of a job, exactly once for the newest delivery.

Every delivery sets the hook's status to RUNNING and rewrites the source's labels, so a delivery
that comes in while a callback is on its way needs another one. A process may also die between
sending a callback and noting it: the next one asks Aruna first whether it has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.hook import Hook
from pipeline.aruna.objects import hook_statuses, label
from pipeline.errors import Code, JobFailed
from pipeline.jobs.context import JobContext
from pipeline.jobs.result_object import ERROR_LABEL, STATUS_LABEL, error_label
from pipeline.journal import IGNORED, Job, Outcome, State

SUCCESS = "success"


@dataclass(frozen=True)
class Labels:
    """What a callback adds and removes."""

    add: list[models_pb2.KeyValue]
    remove: list[models_pb2.KeyValue]


def call_back(context: JobContext) -> None:
    """Tell Aruna how the work ended and end the job, once more for each delivery in between.

    Raises ``JobFailed`` (``callback_failed``), with ``again`` if Aruna may still take it.
    """
    held = context.held
    claimed = held.job
    while True:
        with context.stage("callback"):
            context.attempt.check()
            held.callback_sending()
            outcome, hook = _to_tell(held.job)
            labels = labels_for(outcome, hook.object, held.job.told)
            sent = claimed.callback_sent_at is not None
            unseen = sent and held.job.deliveries == claimed.deliveries
            if not (unseen and _has_arrived(context, hook, labels)):
                send(context.deps.aruna, hook, labels)
        state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
        if held.end(state, outcome):
            return


def _to_tell(job: Job) -> tuple[Outcome, Hook]:
    """What is to be told, and about which delivery; a job at this step has both."""
    if job.outcome is None or job.hook is None:
        raise JobFailed(Code.CALLBACK_FAILED, job.credentials_gone or "nothing to tell")
    return job.outcome, job.hook


def labels_for(outcome: Outcome, source: models_pb2.Object, told: Outcome | None = None) -> Labels:
    """What the callback changes on the source as its newest delivery has it.

    ``told`` is what an earlier callback has added since that delivery. Aruna 2.0.4: labels are
    added, never replaced, and of two removals the wrong one goes.
    """
    if outcome.code == IGNORED:
        return Labels([], [])
    wanted, stale = _wanted(outcome)
    held = [kv for kv in source.key_values if kv.variant == models_pb2.KEY_VALUE_VARIANT_LABEL]
    if told is not None and told.code != IGNORED:
        held.append(_wanted(told)[0])
    old = [kv for key in stale for kv in held if kv.key == key and kv != wanted]
    return Labels([] if wanted in held else [wanted], old[:1])


def send(aruna: Aruna, hook: Hook, labels: Labels) -> None:
    """One callback ``finished``; without the removal if Aruna refuses that.

    Raises ``JobFailed`` (``callback_failed``).
    """
    try:
        aruna.finish_hook(hook, labels.add, labels.remove)
    except ArunaRefused as refusal:
        if labels.remove and refusal.removal_refused:
            send(aruna, hook, Labels(labels.add, []))
            return
        raise _callback_failed(refusal) from refusal


def _wanted(outcome: Outcome) -> tuple[models_pb2.KeyValue, tuple[str, ...]]:
    """The label that says it, and the keys whose old labels no longer hold, worst first."""
    if outcome.code is None:
        return label(STATUS_LABEL, SUCCESS), (ERROR_LABEL,)
    return error_label(outcome.code, outcome.message), (ERROR_LABEL, STATUS_LABEL)


def _has_arrived(context: JobContext, hook: Hook, labels: Labels) -> bool:
    """Whether an earlier callback for this delivery, whose fate nobody noted, reached Aruna.

    If Aruna can't say (the token is over, for instance), it is sent again: a label twice is less
    harm than a source that stays at RUNNING. So is one that adds no label: it does no harm twice.
    """
    if not labels.add:
        return False
    token = hook.credentials.token
    try:
        source = context.deps.aruna.get_object(token, hook.object.id, context.attempt)
    except ArunaRefused:
        return False
    return _is_finished(source, hook.hook_id) and all(kv in source.key_values for kv in labels.add)


def _is_finished(source: models_pb2.Object, hook_id: str) -> bool:
    """Whether every status of the hook on the object says so."""
    statuses = hook_statuses(source, hook_id)
    return bool(statuses) and all(status == "FINISHED" for status in statuses)


def _callback_failed(refusal: ArunaRefused) -> JobFailed:
    final = refusal.callback_refused or refusal.status_gone
    if refusal.status_gone:
        message = "another delivery or an update took the hook's status away"
    elif final:
        message = "Aruna does not accept the hook's secret and ids"
    else:
        message = "Aruna did not take the callback"
    return JobFailed(Code.CALLBACK_FAILED, message, again=not final)
