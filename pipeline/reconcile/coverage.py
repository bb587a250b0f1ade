"""Which hooks are this service's, and which projects they cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aruna.api.hooks.services.v2 import hooks_service_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.reconcile.account import Account
from pipeline.reconcile.course import Course, said_by, why_refused
from pipeline.settings import Settings

#: The hooks to look for, by project id.
Coverage = Mapping[str, Sequence[hooks_service_pb2.HookInfo]]


@dataclass(frozen=True)
class Ours:
    """What tells this service's hooks from other people's: their ids if they are named, else the
    URL they call, else (without ``PUBLIC_URL``) the bearer token they were registered with."""

    hook_ids: tuple[str, ...] = ()
    url: str | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Settings, hook_ids: Iterable[str] = ()) -> Ours:
        """The hooks of the service with these settings, or just those named."""
        url = f"{settings.public_url}/webhook" if settings.public_url else None
        return cls(tuple(hook_ids), url, settings.webhook_token)

    def __contains__(self, info: hooks_service_pb2.HookInfo) -> bool:
        external = info.hook.external_hook
        if self.hook_ids:
            return info.hook_id in self.hook_ids
        if self.url:
            return str(external.url).rstrip("/") == self.url
        return external.credentials.token in self.tokens


def covered(account: Account, ours: Ours, projects: Sequence[str], course: Course) -> Coverage:
    """The projects that our hooks cover, or of those just the named ones.

    A named project that no hook of the token's owner covers is asked for the hooks of others.
    """
    by_project = _owned(account, ours, course, optional=bool(projects))
    if projects:
        by_project = {
            project_id: by_project.get(project_id) or _on_project(account, ours, project_id, course)
            for project_id in projects
        }
    found = {info.hook_id for infos in by_project.values() for info in infos}
    for hook_id in ours.hook_ids:
        if hook_id not in found:
            course.trouble(f"hook {hook_id}", "the owner of ARUNA_TOKEN has no such hook")
    if not by_project and not course.troubles:
        course.trouble("hooks", "the owner of ARUNA_TOKEN has registered none for this service")
    return by_project


def _owned(
    account: Account, ours: Ours, course: Course, *, optional: bool
) -> dict[str, list[hooks_service_pb2.HookInfo]]:
    by_project: dict[str, list[hooks_service_pb2.HookInfo]] = {}
    try:
        infos = [info for info in account.owned_hooks() if info in ours]
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        if not optional:
            why = f"only a valid personal ARUNA_TOKEN lists them (Aruna says: {said_by(refusal)})"
            course.trouble("hooks", why)
        return by_project
    for info in infos:
        for project_id in dict.fromkeys(info.project_ids):
            by_project.setdefault(project_id, []).append(info)
    return by_project


def _on_project(
    account: Account, ours: Ours, project_id: str, course: Course
) -> list[hooks_service_pb2.HookInfo]:
    try:
        infos = [info for info in account.project_hooks(project_id) if info in ours]
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        course.trouble(f"project {project_id}", why_refused(refusal))
        return []
    if not infos:
        course.trouble(f"project {project_id}", "no hook of this service covers it")
    return infos
