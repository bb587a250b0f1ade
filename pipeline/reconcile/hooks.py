"""Which hooks are this service's, and which projects they cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aruna.api.hooks.services.v2 import hooks_service_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.reconcile.run import Run, said_by
from pipeline.settings import Settings


@dataclass(frozen=True)
class OwnHooks:
    """What tells this service's hooks from other people's: their ids if they are named, else the
    URL they call, else (without ``PUBLIC_URL``) the bearer token they were registered with."""

    hook_ids: tuple[str, ...] = ()
    url: str | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Settings, hook_ids: Iterable[str] = ()) -> OwnHooks:
        """The hooks of the service with these settings, or just those named."""
        url = f"{settings.public_url}/webhook" if settings.public_url else None
        return cls(tuple(hook_ids), url, settings.webhook_token)

    def among(
        self, infos: Iterable[hooks_service_pb2.HookInfo]
    ) -> list[hooks_service_pb2.HookInfo]:
        """Those of ``infos`` that are this service's."""
        return [info for info in infos if self._is_own(info)]

    def _is_own(self, info: hooks_service_pb2.HookInfo) -> bool:
        external = info.hook.external_hook
        if self.hook_ids:
            return info.hook_id in self.hook_ids
        if self.url:
            return str(external.url).partition("?")[0].rstrip("/") == self.url
        return external.credentials.token in self.tokens


def hooks_by_project(
    run: Run, own: OwnHooks, projects: Sequence[str]
) -> Mapping[str, Sequence[hooks_service_pb2.HookInfo]]:
    """The projects that our hooks cover, or of those just the named ones, with these hooks.

    A named project that no hook of the token's owner covers is asked for the hooks of others.
    """
    by_project = _of_owner(run, own, optional=bool(projects))
    if projects:
        by_project = {
            project_id: by_project.get(project_id) or _on_project(run, own, project_id)
            for project_id in projects
        }
    found = {info.hook_id for infos in by_project.values() for info in infos}
    for hook_id in own.hook_ids:
        if hook_id not in found:
            run.skip(f"hook {hook_id}", "the owner of ARUNA_TOKEN has no such hook")
    if not by_project and not run.skipped:
        run.skip("hooks", "the owner of ARUNA_TOKEN has registered none for this service")
    return by_project


def _of_owner(
    run: Run, own: OwnHooks, *, optional: bool
) -> dict[str, list[hooks_service_pb2.HookInfo]]:
    by_project: dict[str, list[hooks_service_pb2.HookInfo]] = {}
    try:
        infos = own.among(run.aruna.owned_hooks(run.token, run.attempt))
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        if not optional:
            why = f"only a valid personal ARUNA_TOKEN lists them (Aruna says: {said_by(refusal)})"
            run.skip("hooks", why)
        return by_project
    for info in infos:
        for project_id in dict.fromkeys(info.project_ids):
            by_project.setdefault(project_id, []).append(info)
    return by_project


def _on_project(run: Run, own: OwnHooks, project_id: str) -> list[hooks_service_pb2.HookInfo]:
    infos = run.ask(f"project {project_id}", run.aruna.project_hooks, project_id)
    ours = own.among(infos or ())
    if infos is not None and not ours:
        run.skip(f"project {project_id}", "no hook of this service covers it")
    return ours
