"""HooksService: hooks are registered and listed, and their receivers call back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import grpc
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.aruna.delivery import Delivery
from sandbox.aruna.model import Hook, Resource, Right, Token
from sandbox.aruna.state import State
from sandbox.aruna.tokens import hook_secret, secret_fault
from sandbox.aruna.triggers import HOOK_STATUS_CHANGED, firings, with_status
from sandbox.aruna.ulid import new_ulid, ulid_error
from sandbox.errors import Refused, forbidden, internal, invalid, unauthenticated

_PLACEHOLDERS = ("{{secret}}", "{{object_id}}", "{{hook_id}}", "{{pubkey_serial}}")
_INT16 = 2**15
_INT63 = 2**63


@dataclass(frozen=True)
class Callback:
    """A HookCallback that arrived: with ``refusal`` unset it was accepted."""

    object_id: str
    hook_id: str
    request: hooks_pb2.HookCallbackRequest
    refusal: Refused | None
    when: float = field(default_factory=time.time)

    @property
    def accepted(self) -> bool:
        """Whether Aruna did what it asks for."""
        return self.refusal is None


class Hooks:
    """HooksService. ``callbacks`` are those that arrived, in their order."""

    def __init__(self, state: State, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.callbacks: list[Callback] = []

    def create(
        self, token: Token, request: hooks_pb2.CreateHookRequest
    ) -> hooks_pb2.CreateHookResponse:
        """CreateHook: hardly anything is checked, as in Aruna 2.0.4."""
        if any(ulid_error(project_id) for project_id in request.project_ids):
            raise invalid("invalid parent : Invalid id")
        for project_id in request.project_ids:
            self._state.require(token, project_id, Right.APPEND)
        fault = _registration_fault(request)
        if fault:
            raise internal(f"Error while creating hook : {fault}")
        hook = Hook(new_ulid(), token.user_id, request, list(request.project_ids))
        with self._state.changed:
            self._state.hooks[hook.id] = hook
            self._state.changed.notify_all()
        return hooks_pb2.CreateHookResponse(hook_id=hook.id)

    def add_projects(
        self, token: Token, request: hooks_pb2.AddProjectsToHookRequest
    ) -> hooks_pb2.AddProjectsToHookResponse:
        """AddProjectsToHook: the same project can stand there twice, and is delivered twice."""
        if any(ulid_error(project_id) for project_id in request.project_ids):
            raise invalid("Invalid id provided")
        for project_id in request.project_ids:
            self._state.require(token, project_id, Right.ADMIN)
        fault = ulid_error(request.hook_id)
        hook = self._state.hooks.get(request.hook_id)
        if fault or hook is None:
            raise internal(f"HookCallback failed : {fault or 'Hook not found'}")
        if hook.owner != token.user_id:
            raise internal("HookCallback failed : User is not allowed to add projects to hook")
        with self._state.changed:
            hook.project_ids.extend(request.project_ids)
        return hooks_pb2.AddProjectsToHookResponse()

    def list_of_project(
        self, token: Token, request: hooks_pb2.ListProjectHooksRequest
    ) -> hooks_pb2.ListProjectHooksResponse:
        """ListProjectHooks."""
        fault = ulid_error(request.project_id)
        if fault:
            raise invalid(f"invalid parent : {fault}")
        self._state.require(token, request.project_id, Right.ADMIN)
        with self._state.changed:
            found = [h for h in self._state.hooks.values() if request.project_id in h.project_ids]
        return hooks_pb2.ListProjectHooksResponse(infos=[_info(hook) for hook in found])

    def list_owned(
        self, token: Token, request: hooks_pb2.ListOwnedHooksRequest
    ) -> hooks_pb2.ListOwnedHooksResponse:
        """ListOwnedHooks: one's own, with a personal token."""
        fault = ulid_error(request.user_id) if request.user_id else None
        if fault:
            raise invalid(f"Invalid user_id : {fault}")
        self._state.require_personal(token)
        if request.user_id not in ("", token.user_id):
            raise forbidden()
        with self._state.changed:
            found = [hook for hook in self._state.hooks.values() if hook.owner == token.user_id]
        return hooks_pb2.ListOwnedHooksResponse(infos=[_info(hook) for hook in found])

    def delete(
        self, token: Token, request: hooks_pb2.DeleteHookRequest
    ) -> hooks_pb2.DeleteHookResponse:
        """DeleteHook."""
        fault = ulid_error(request.hook_id)
        if fault:
            raise invalid(f"invalid hook id : {fault}")
        hook = self._state.hooks.get(request.hook_id)
        if hook is None:
            raise invalid("Hook or parent not found : Hook not found")
        for project_id in hook.project_ids:
            self._state.require(token, project_id, Right.ADMIN)
        with self._state.changed:
            del self._state.hooks[request.hook_id]
        return hooks_pb2.DeleteHookResponse()

    def call_back(self, request: hooks_pb2.HookCallbackRequest) -> hooks_pb2.HookCallbackResponse:
        """HookCallback: no token is looked at, the secret decides."""
        refusal = None
        try:
            self._verify(request)
            self._apply(request)
        except Refused as refused:
            refusal = refused
            raise
        finally:
            with self._state.changed:
                arrived = Callback(request.object_id, request.hook_id, request, refusal)
                self.callbacks.append(arrived)
                self._state.changed.notify_all()
        return hooks_pb2.HookCallbackResponse()

    def _verify(self, request: hooks_pb2.HookCallbackRequest) -> None:
        fault = ulid_error(request.hook_id) or ulid_error(request.object_id)
        if fault is None and not -_INT16 <= request.pubkey_serial < _INT16:
            fault = "out of range integral type conversion attempted"
        if fault is None and request.pubkey_serial not in self._state.pubkeys:
            fault = "No pubkey found"
        fault = fault or secret_fault(request.secret)
        if fault:
            raise unauthenticated(f"Unauthorized : {fault}")
        key = self._state.pubkeys[request.pubkey_serial]
        if request.secret != hook_secret(key, request.object_id, request.hook_id):
            raise Refused(
                grpc.StatusCode.CANCELLED,
                "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))",
            )

    def _apply(self, request: hooks_pb2.HookCallbackRequest) -> None:
        with self._state.changed:
            resource = self._state.resources.get(request.object_id)
            if resource is None:
                raise internal("HookCallback failed : Object not found")
            stated = [kv for kv in resource.message.key_values if kv.key == request.hook_id]
            if not stated:
                raise internal("HookCallback failed : Hook status not found")
            status, key_values = _outcome(request, resource)
            present = with_status(stated[0], status)
            replaced = [present if kv.key == request.hook_id else kv for kv in key_values]
            self._state.keep_stale(resource)
            self._state.reload(resource)
            del resource.message.key_values[:]
            resource.message.key_values.extend(replaced)
            snapshot = self._state.snapshot_of(resource)
            for firing in firings(self._state, snapshot, {HOOK_STATUS_CHANGED}):
                self._delivery.enqueue(firing)


def _outcome(
    request: hooks_pb2.HookCallbackRequest, resource: Resource
) -> tuple[str | dict[str, str], list[models.KeyValue]]:
    before = list(resource.message.key_values)
    chosen = request.WhichOneof("status")
    if chosen is None:
        raise internal("HookCallback failed : No status provided")
    if chosen == "error":
        return {"ERROR": request.error.error}, before
    finished = request.finished
    if any(not kv.variant for kv in (*finished.add_key_values, *finished.remove_key_values)):
        raise internal("HookCallback failed : Unspecified KeyValueVariant")
    return "FINISHED", _removed(finished, before)


def _removed(finished: hooks_pb2.Finished, before: list[models.KeyValue]) -> list[models.KeyValue]:
    # Aruna 2.0.4 looks up every position in the state before the callback and removes one after
    # the other: the second removal takes a wrong one away if the first stood in front of it.
    result = [*before, *finished.add_key_values]
    for kv in finished.remove_key_values:
        if kv.variant == models.KEY_VALUE_VARIANT_STATIC_LABEL:
            raise internal("HookCallback failed : Cannot remove static labels.")
        if kv not in before:
            raise internal("HookCallback failed : Unable to find key_value")
        del result[before.index(kv)]
    return result


def _registration_fault(request: hooks_pb2.CreateHookRequest) -> str | None:
    if request.hook.WhichOneof("hook_type") != "external_hook":
        return "Invalid hook provided"
    if not request.HasField("trigger"):
        return "No trigger defined"
    if request.trigger.trigger_type not in hooks_pb2.TriggerType.values()[1:]:
        return "Invalid trigger type"
    if request.timeout >= _INT63:
        return "out of range integral type conversion attempted"
    external = request.hook.external_hook
    if external.HasField("custom_template") and any(
        placeholder not in external.custom_template for placeholder in _PLACEHOLDERS
    ):
        return "Invalid template"
    if external.method == hooks_pb2.METHOD_UNSPECIFIED:
        return "Unspecified external hook reply method"
    return None


def _info(hook: Hook) -> hooks_pb2.HookInfo:
    return hooks_pb2.HookInfo(
        hook_id=hook.id,
        project_ids=hook.project_ids,
        name=hook.request.name,
        description=hook.request.description,
        hook=hook.request.hook,
        trigger=hook.request.trigger,
        timeout=hook.request.timeout,
    )
