"""The project, collection or dataset that the document goes to."""

from __future__ import annotations

from dataclasses import dataclass

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused, Container
from pipeline.aruna.objects import parents_of
from pipeline.attempt import Attempt

_PROJECT = models_pb2.RESOURCE_VARIANT_PROJECT
_COLLECTION = models_pb2.RESOURCE_VARIANT_COLLECTION
_DATASET = models_pb2.RESOURCE_VARIANT_DATASET
_NAMES = {_PROJECT: "project", _COLLECTION: "collection", _DATASET: "dataset"}


@dataclass(frozen=True)
class Spot:
    """Where the document goes: ``variant`` is its kind.

    ``project_ids`` are the projects it lies in, none if the token does not show them.
    """

    id: str
    variant: int
    name: str
    project_ids: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is and how it is called."""
        return f"{_NAMES[self.variant]} {self.name}"


def spot_of(aruna: Aruna, token: str, resource_id: str, attempt: Attempt) -> Spot:
    """What stands behind the id; raises ``ArunaRefused``.

    Aruna 2.0.4: asked for one kind by the id of another, it refuses the conversion; an unknown id
    is a missing right.
    """
    variant, found = _PROJECT, None
    try:
        found = aruna.get_project(token, resource_id, attempt)
    except ArunaRefused as refusal:
        if refusal.unauthenticated or refusal.unreachable:
            raise
        variant, found = _within_project(aruna, token, resource_id, attempt)
    projects = _projects(aruna, token, variant, found, attempt)
    return Spot(resource_id, variant, found.name, tuple(dict.fromkeys(projects)))


def _within_project(
    aruna: Aruna, token: str, resource_id: str, attempt: Attempt
) -> tuple[int, Container]:
    try:
        return _COLLECTION, aruna.get_collection(token, resource_id, attempt)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
    return _DATASET, aruna.get_dataset(token, resource_id, attempt)


def _projects(
    aruna: Aruna, token: str, variant: int, found: Container, attempt: Attempt
) -> list[str]:
    """The ids of the projects that something lies in, as far as the token shows the way up."""
    if variant == _PROJECT:
        return [found.id]
    projects = []
    for parent in parents_of(found.relations):
        if parent.resource_variant == _PROJECT:
            projects.append(parent.resource_id)
            continue
        try:
            collection = aruna.get_collection(token, parent.resource_id, attempt)
        except ArunaRefused as refusal:
            if refusal.unreachable:
                raise
            continue
        projects += _projects(aruna, token, _COLLECTION, collection, attempt)
    return projects
