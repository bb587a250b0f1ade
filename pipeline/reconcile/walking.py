"""All objects of a project, a page at a time.

Aruna 2.0.4 (source): GetHierarchy gives each collection and dataset the children of the resource
asked for instead of its own, and repeats them for each. What a project, collection or dataset holds
stands right, and once, in its own relations; those are walked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.reconcile.account import Account, Container
from pipeline.reconcile.course import Course, why_refused

#: Objects of one request. Aruna 2.0.4 (source): each searches the whole project for rights, so
#: small pages cost it more; a full page of long descriptions stays below gRPC's 4 MiB.
PAGE = 200

_PROJECT = models_pb2.RESOURCE_VARIANT_PROJECT
_COLLECTION = models_pb2.RESOURCE_VARIANT_COLLECTION
_DATASET = models_pb2.RESOURCE_VARIANT_DATASET
_OBJECT = models_pb2.RESOURCE_VARIANT_OBJECT
_NAMES = {_PROJECT: "project", _COLLECTION: "collection", _DATASET: "dataset"}


@dataclass(frozen=True)
class Page:
    """Some objects of one project, collection or dataset, whose path is ``path``."""

    path: str
    objects: Sequence[models_pb2.Object]


@dataclass(frozen=True)
class _Place:
    variant: int
    id: str
    above: str  # the path of the parents, with a slash behind each

    def __str__(self) -> str:
        return f"{_NAMES[self.variant]} {self.id}"


def walk(account: Account, project_id: str, course: Course) -> Iterator[Page]:
    """Every object below a project; what Aruna refuses is left out and said.

    Raises ``ArunaRefused`` if Aruna does not answer at all.
    """
    left = [_Place(_PROJECT, project_id, "")]
    seen = set()
    while left:
        place = left.pop()
        container = _opened(account, place, course)
        if container is None:
            continue
        path = f"{place.above}{container.name}"
        for variant in (_COLLECTION, _DATASET):
            for child in _children(container, variant):
                if child not in seen:  # a dataset with two parents in the project
                    seen.add(child)
                    left.append(_Place(variant, child, f"{path}/"))
        yield from _pages(account, container, path, course)


def _opened(account: Account, place: _Place, course: Course) -> Container | None:
    get = {
        _PROJECT: account.get_project,
        _COLLECTION: account.get_collection,
        _DATASET: account.get_dataset,
    }
    try:
        return get[place.variant](place.id)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        course.trouble(str(place), why_refused(refusal))
        return None


def _children(container: Container, variant: int) -> Iterator[str]:
    for relation in container.relations:
        internal = relation.internal
        if (
            internal.resource_variant == variant
            and internal.direction == models_pb2.RELATION_DIRECTION_OUTBOUND
            and internal.defined_variant == models_pb2.INTERNAL_RELATION_VARIANT_BELONGS_TO
        ):
            yield internal.resource_id


def _pages(account: Account, container: Container, path: str, course: Course) -> Iterator[Page]:
    course.objects += sum(1 for _ in _children(container, _OBJECT))
    ids = _children(container, _OBJECT)
    while page := list(islice(ids, PAGE)):
        yield Page(path, _objects(account, page, course))
        course.looked_at += len(page)
        course.moved()


def _objects(
    account: Account, ids: Sequence[str], course: Course, *, asked_before: bool = False
) -> Sequence[models_pb2.Object]:
    """The objects that may be read: a page that is refused is halved until it says which may not.

    So is a page whose objects are too long for one message.
    """
    try:
        return account.get_objects(ids, tries=1) if asked_before else account.get_objects(ids)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        if len(ids) == 1:
            course.trouble(f"object {ids[0]}", why_refused(refusal))
            return []
    half = len(ids) // 2
    return [
        *_objects(account, ids[:half], course, asked_before=True),
        *_objects(account, ids[half:], course, asked_before=True),
    ]
