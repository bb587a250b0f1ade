"""All objects of a project, a page at a time.

Aruna 2.0.4 (source): GetHierarchy gives each collection and dataset the children of the resource
asked for instead of its own, and repeats them for each. What a project, collection or dataset holds
stands right, and once, in its own relations; those are walked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import TRIES, ArunaRefused, Container
from pipeline.reconcile.run import Run, why_refused

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


def walk(run: Run, project_id: str) -> Iterator[Page]:
    """Every object below a project; what Aruna refuses is left out and said.

    Raises ``ArunaRefused`` if Aruna does not answer at all, and what ends the run.
    """
    left = [_Place(_PROJECT, project_id, "")]
    parents = Counter([project_id])
    shown: dict[str, int] = {}
    counted = 0
    while left:
        place = left.pop()
        container = _opened(run, place)
        if container is None:
            continue
        shown[place.id] = sum(1 for _ in _children(container, _OBJECT))
        run.objects += shown[place.id]
        if place.id == project_id:
            counted = container.stats.count
        path = f"{place.above}{container.name}"
        for variant in (_COLLECTION, _DATASET):
            for child in _children(container, variant):
                if not parents[child]:  # a dataset can have two parents in the project
                    left.append(_Place(variant, child, f"{path}/"))
                parents[child] += 1
        yield from _pages(run, container, path)
    if len(shown) == len(parents):  # nothing was refused
        _say_what_is_not_shown(run, project_id, counted, shown, parents)


def _opened(run: Run, place: _Place) -> Container | None:
    get = {
        _PROJECT: run.aruna.get_project,
        _COLLECTION: run.aruna.get_collection,
        _DATASET: run.aruna.get_dataset,
    }
    return run.ask(f"{_NAMES[place.variant]} {place.id}", get[place.variant], place.id)


def _say_what_is_not_shown(
    run: Run, project_id: str, counted: int, shown: dict[str, int], parents: Counter[str]
) -> None:
    """Aruna 2.0.4: objects that were created side by side can be lost from its cache, but not from
    its database, which counts each object once for each way to it, half a minute late; 1 is also
    what it says of an empty project."""
    missing = counted - sum(number * parents[place_id] for place_id, number in shown.items())
    if counted > 1 and missing > 0:
        run.say(
            f"project {project_id}: Aruna does not show {missing} of the objects that it counts; "
            "it shows them again after its next restart, or when an object is created beside them"
        )


def _children(container: Container, variant: int) -> Iterator[str]:
    for relation in container.relations:
        internal = relation.internal
        if (
            internal.resource_variant == variant
            and internal.direction == models_pb2.RELATION_DIRECTION_OUTBOUND
            and internal.defined_variant == models_pb2.INTERNAL_RELATION_VARIANT_BELONGS_TO
        ):
            yield internal.resource_id


def _pages(run: Run, container: Container, path: str) -> Iterator[Page]:
    ids = _children(container, _OBJECT)
    while page := list(islice(ids, PAGE)):
        yield Page(path, _objects(run, page))
        run.looked_at += len(page)
        run.moved()


def _objects(run: Run, ids: Sequence[str], tries: int = TRIES) -> Sequence[models_pb2.Object]:
    """The objects that may be read: a page that is refused is halved until it says which may not.

    So is a page whose objects are too long for one message.
    """
    try:
        return run.aruna.get_objects(run.token, ids, run.attempt, tries=tries)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        if len(ids) == 1:
            run.skip(f"object {ids[0]}", why_refused(refusal))
            return []
    half = len(ids) // 2
    return [*_objects(run, ids[:half], tries=1), *_objects(run, ids[half:], tries=1)]
