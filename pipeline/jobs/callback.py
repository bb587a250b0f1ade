"""The callback: what the researcher sees of a job, exactly once for the newest delivery.

Every delivery sets the hook's status to RUNNING and rewrites the source's labels, so a delivery
that comes in while a callback is on its way needs another one. A process may also die between
sending a callback and noting it: the next one asks Aruna first whether it has arrived.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.hook import Hook
from pipeline.aruna.objects import label
from pipeline.errors import Code, JobFailed
from pipeline.jobs.claim import Claim
from pipeline.jobs.result_object import ERROR_LABEL, STATUS_LABEL, error_label
from pipeline.journal import IGNORED, Job, Outcome, State

SUCCESS = "success"
#: Seconds for which a callback is tried (HookCallback needs no valid token).
CALLBACK_PATIENCE = 7 * 24 * 3600.0

_FINAL = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED)


@dataclass(frozen=True)
class Labels:
    """What a callback adds and removes."""

    add: list[models_pb2.KeyValue]
    remove: list[models_pb2.KeyValue]


def call_back(claim: Claim) -> Job:
    """Tell Aruna how the work ended and end the job, once more for each delivery in between.

    Gives the job as it was told. Raises ``JobFailed`` (``callback_failed``), with ``again`` if
    Aruna may still take it.
    """
    journal, job = claim.peers.journal, claim.job
    while True:
        with claim.stage("callback"):
            claim.attempt.check()
            newest = journal.callback_sending(job.id, claim.lease)
            outcome, hook = told(newest)
            if not _has_arrived(claim, newest, hook, outcome):
                send(claim.peers.aruna, hook, labels_for(outcome, hook.object))
        state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
        if journal.ended(
            job.id,
            claim.lease,
            state=state,
            outcome=outcome,
            deliveries=newest.deliveries,
        ):
            return newest


def told(job: Job) -> tuple[Outcome, Hook]:
    """What is to be told, and about which delivery; a job at this step has both."""
    if job.outcome is None or job.hook is None:
        raise JobFailed(Code.CALLBACK_FAILED, job.credentials_gone or "nothing to tell")
    return job.outcome, job.hook


def labels_for(outcome: Outcome, source: models_pb2.Object) -> Labels:
    """What the callback changes on the source as its newest delivery has it.

    Aruna 2.0.4: labels are added, never replaced, and of two removals the wrong one goes.
    """
    if outcome.code == IGNORED:
        return Labels([], [])
    wanted, stale = _wanted(outcome)
    held = [kv for kv in source.key_values if kv.variant == models_pb2.KEY_VALUE_VARIANT_LABEL]
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


def _has_arrived(claim: Claim, newest: Job, hook: Hook, outcome: Outcome) -> bool:
    """Whether an earlier callback for this delivery, whose fate nobody noted, reached Aruna.

    If Aruna can't say (the token is over, for instance), it is sent again: a label twice is less
    harm than a source that stays at RUNNING. So is one that adds no label: it does no harm twice.
    """
    wanted = labels_for(outcome, hook.object).add
    was_sent = claim.job.callback_sent_at is not None
    if not was_sent or newest.deliveries != claim.job.deliveries or not wanted:
        return False
    try:
        source = claim.peers.aruna.get_object(hook.credentials.token, hook.object.id, claim.attempt)
    except ArunaRefused:
        return False
    return _is_finished(source, hook.hook_id) and all(kv in source.key_values for kv in wanted)


def _is_finished(source: models_pb2.Object, hook_id: str) -> bool:
    """Whether every status of the hook on the object says so.

    Aruna 2.0.4: a delivery adds a RUNNING beside the status of earlier ones, a callback sets all.
    """
    said = [
        _status_in(entry.value)
        for entry in source.key_values
        if entry.key == hook_id and entry.variant == models_pb2.KEY_VALUE_VARIANT_HOOK_STATUS
    ]
    return bool(said) and all(status == "FINISHED" for status in said)


def _status_in(text: str) -> object:
    """Aruna 2.0.4: the value of a hook's status is a JSON object."""
    try:
        return json.loads(text)["status"]
    except (ValueError, KeyError, TypeError):
        return None


def _callback_failed(refusal: ArunaRefused) -> JobFailed:
    final = refusal.status in _FINAL or refusal.status_gone
    if refusal.status_gone:
        message = "another delivery or an update took the hook's status away"
    elif final:
        message = "Aruna does not accept the hook's secret and ids"
    else:
        message = "Aruna did not take the callback"
    return JobFailed(Code.CALLBACK_FAILED, message, again=not final)
