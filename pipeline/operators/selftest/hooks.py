"""Whether a hook covers the place, fires for the upload, and calls this service."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aruna.api.hooks.services.v2 import hooks_service_pb2
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.objects import label
from pipeline.attempt import Attempt
from pipeline.operators import units
from pipeline.operators.selftest.matching import VARIANTS, described, match_for
from pipeline.operators.selftest.place import Spot
from pipeline.operators.selftest.report import StageFailed
from pipeline.operators.selftest.service import health_at
from pipeline.settings import Settings

Hook: TypeAlias = hooks_service_pb2.HookInfo

_FINISHED = hooks_service_pb2.TRIGGER_TYPE_OBJECT_FINISHED
_PATH = "/webhook"
_MILLISECONDS_OF_1973 = 100_000_000_000


@dataclass(frozen=True)
class Listening:
    """The hook that is to bring the upload, ``None`` if hooks could not be looked at.

    ``label`` makes it fire (``None``: the object's name does), ``late`` if it has to be added after
    the upload. ``rivals`` are other hooks that may fire for it too.
    """

    hook: Hook | None
    label: models_pb2.KeyValue | None
    late: bool = False
    rivals: tuple[str, ...] = ()

    @property
    def shown_label(self) -> str:
        """The label as it is written."""
        if self.label is None:
            return "no label"
        static = self.label.variant == models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL
        return f"{'static ' if static else ''}label {self.label.key}={self.label.value}"

    @property
    def described(self) -> str:
        """What there is to say of the hook."""
        if self.hook is None:
            return f"ARUNA_TOKEN shows no hooks there; {self.shown_label} is tried"
        waits = f"a {self.shown_label}" if self.late else "finished uploads"
        ends = units.moment(self.hook.timeout / 1000).partition(" ")[0]
        rivals = f"; beside {', '.join(self.rivals)} on the same trigger" if self.rivals else ""
        name = f"{self.hook.name} " if self.hook.name else ""
        return f"{name}{self.hook.hook_id} listens here for {waits}, until {ends}{rivals}"


#: What is tried where hooks can't be looked at.
ASSUMED = Listening(None, label("ABCD", "true"))


def hooks_on(
    aruna: Aruna, token: str, own: Iterable[Hook] | None, spot: Spot, attempt: Attempt
) -> list[Hook] | None:
    """The hooks that cover the spot, as far as the token shows them: those of its owner (``own``,
    ``None`` if it does not list them), and all of a project with the right ADMIN there.

    ``None`` if it shows no hooks at all. Raises ``ArunaRefused`` if Aruna does not answer.
    """
    found = {
        hook.hook_id: hook for hook in own or () if set(hook.project_ids) & set(spot.project_ids)
    }
    shown = own is not None
    for project_id in spot.project_ids:
        try:
            hooks = aruna.project_hooks(token, project_id, attempt)
        except ArunaRefused as refusal:
            if refusal.unreachable:
                raise
            continue
        shown = True
        found |= {hook.hook_id: hook for hook in hooks}
    return list(found.values()) if shown else None


def listening(
    hooks: Sequence[Hook], settings: Settings, spot: Spot, name: str
) -> tuple[Listening, str]:
    """The hook that is to bring an object of that name, and a line to say of it.

    Raises ``StageFailed``.
    """
    ours = [hook for hook in hooks if _is_ours(hook, settings)]
    if not ours:
        raise _none(hooks, settings, spot)
    # An upload's end needs no second step, and no right but APPEND.
    ours.sort(key=lambda hook: hook.trigger.trigger_type != _FINISHED)
    failures = [_fault(hook, settings, name) for hook in ours]
    if None not in failures:
        raise failures[0] or AssertionError
    chosen = ours[failures.index(None)]
    match = match_for(chosen.trigger, name)
    rivals = tuple(
        hook.hook_id
        for hook in hooks
        if hook.hook_id != chosen.hook_id
        and hook.trigger.trigger_type == chosen.trigger.trigger_type
    )
    late = chosen.trigger.trigger_type != _FINISHED
    plan = Listening(chosen, match.label if match else None, late, rivals)
    return plan, plan.described


def _is_ours(hook: Hook, settings: Settings) -> bool:
    external = hook.hook.external_hook
    return _calls_us(hook, settings) or external.credentials.token in settings.webhook_token


def _calls_us(hook: Hook, settings: Settings) -> bool:
    if settings.public_url is None:
        return False
    url = str(hook.hook.external_hook.url).partition("?")[0].rstrip("/")
    return url == settings.public_url + _PATH


def _none(hooks: Sequence[Hook], settings: Settings, spot: Spot) -> StageFailed:
    others = "; ".join(f"{hook.hook_id} calls {_url(hook)}" for hook in hooks)
    return StageFailed(
        f"no hook of this service covers {spot.title}" + (f" ({others})" if others else ""),
        likely="none was registered for its project, it was deleted, or ARUNA_TOKEN does not show "
        "it: without the right ADMIN it shows only its owner's",
        to_do=_register(settings, spot.project_ids),
    )


def _fault(hook: Hook, settings: Settings, name: str) -> StageFailed | None:
    """Why a hook of ours will not bring the upload; ``None`` if nothing speaks against it."""
    return (
        _fault_of_url(hook, settings)
        or _fault_of_token(hook, settings)
        or _fault_of_expiry(hook, settings)
        or _fault_of_trigger(hook, settings, name)
    )


def _fault_of_url(hook: Hook, settings: Settings) -> StageFailed | None:
    url = _url(hook)
    base = url.partition("?")[0].rstrip("/").removesuffix(_PATH)
    # Aruna may reach the service by another name than GFBio does.
    if _calls_us(hook, settings) or (base != url and health_at(base) is not None):
        return None
    return StageFailed(
        f"{hook.hook_id} calls {url or 'no URL'}, where this service does not answer",
        likely="its URL is wrong or out of date: it must end in /webhook and lead to this service",
        to_do=_anew(hook, settings),
    )


def _fault_of_token(hook: Hook, settings: Settings) -> StageFailed | None:
    given = hook.hook.external_hook.credentials.token
    if not settings.webhook_token or given in settings.webhook_token:
        return None
    return StageFailed(
        f"{hook.hook_id} was registered with "
        + ("another bearer token than WEBHOOK_TOKEN" if given else "no bearer token"),
        likely="the service refuses what it sends with 401, and Aruna does not try again",
        to_do=_anew(hook, settings),
    )


def _fault_of_expiry(hook: Hook, settings: Settings) -> StageFailed | None:
    ends = hook.timeout / 1000
    if ends > time.time():
        return None
    return StageFailed(
        f"the registration of {hook.hook_id} ended on {units.moment(ends)}",
        likely="its timeout was given in seconds; Aruna takes milliseconds"
        if time.time() < hook.timeout < _MILLISECONDS_OF_1973
        else "Aruna goes on calling, but the token it hands out has expired: every job ends with "
        "token_expired",
        to_do=_anew(hook, settings),
    )


def _fault_of_trigger(hook: Hook, settings: Settings, name: str) -> StageFailed | None:
    trigger = hook.trigger
    kind = hooks_service_pb2.TriggerType.Name(trigger.trigger_type).removeprefix("TRIGGER_TYPE_")
    if trigger.trigger_type not in VARIANTS:
        return StageFailed(
            f"{hook.hook_id} has the trigger {kind}, which brings no finished upload",
            likely="it was registered with another trigger than OBJECT_FINISHED or LABEL_ADDED",
            to_do=_anew(hook, settings),
        )
    if match_for(trigger, name) is not None:
        return None
    if not trigger.filters:
        likely = "Aruna never fires a hook without a filter"
    else:
        likely = (
            "no label and no file name that was tried matches it; with the trigger "
            f"{kind} a filter must ask for {_kinds(trigger.trigger_type)}"
        )
    return StageFailed(
        f"{hook.hook_id} never fires for {name}; its filter: {described(trigger)}",
        likely=likely,
        to_do=_anew(hook, settings),
    )


def _kinds(trigger: int) -> str:
    static = models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL
    names = ["a static label" if one == static else "a label" for one in VARIANTS[trigger]]
    return " or ".join(names)


def _anew(hook: Hook, settings: Settings) -> str:
    return (
        f"./register_webhook.sh delete {hook.hook_id}, then {_register(settings, hook.project_ids)}"
    )


def _register(settings: Settings, project_ids: Iterable[str]) -> str:
    url = f"{settings.public_url or 'https://YOUR.HOST'}{_PATH}"
    project = next(iter(project_ids), "ID")
    return f"./register_webhook.sh create --url {url} --project {project} --trigger finished"


def _url(hook: Hook) -> str:
    return str(hook.hook.external_hook.url)
