"""What Aruna counts and does not show, in answers that are written out here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna
from pipeline.attempt import Attempt
from pipeline.reconcile.run import Run
from pipeline.reconcile.walk import walk


class Shown:
    """An Aruna that shows these projects and datasets, by their ids."""

    def __init__(self, **things: Any) -> None:
        self._things = things

    def get_project(self, _token: str, project_id: str, _attempt: Attempt) -> models_pb2.Project:
        return self._things[project_id]

    def get_dataset(self, _token: str, dataset_id: str, _attempt: Attempt) -> models_pb2.Dataset:
        return self._things[dataset_id]

    def get_collection(self, _token: str, dataset_id: str, _attempt: Attempt) -> Any:
        return self._things[dataset_id]

    def get_objects(
        self, _token: str, ids: Sequence[str], _attempt: Attempt, *, tries: int
    ) -> list[models_pb2.Object]:
        assert tries
        return [models_pb2.Object(id=object_id) for object_id in ids]


def holding(kind: type[Any], *children: tuple[str, int], counted: int) -> Any:
    """A project, collection or dataset with these children (id, kind), and what Aruna counts."""
    made = kind(name="garden")
    made.stats.count = counted
    for child, variant in children:
        made.relations.add().internal.MergeFrom(
            models_pb2.InternalRelation(
                resource_id=child,
                resource_variant=variant,
                defined_variant=models_pb2.INTERNAL_RELATION_VARIANT_BELONGS_TO,
                direction=models_pb2.RELATION_DIRECTION_OUTBOUND,
            )
        )
    return made


def project(*children: tuple[str, int], counted: int) -> models_pb2.Project:
    """A project with these children."""
    made: models_pb2.Project = holding(models_pb2.Project, *children, counted=counted)
    return made


OBJECTS = [(f"o{number}", models_pb2.RESOURCE_VARIANT_OBJECT) for number in range(3)]
DATASET = ("d", models_pb2.RESOURCE_VARIANT_DATASET)
COLLECTION = ("c", models_pb2.RESOURCE_VARIANT_COLLECTION)


@pytest.mark.parametrize(
    ("objects", "counted", "missing"),
    [(3, 5, 2), (3, 3, 0), (3, 2, 0), (0, 2, 2), (0, 1, 0)],  # of an empty project it says 1
)
def test_objects_that_aruna_counts_and_does_not_show_are_said(
    objects: int, counted: int, missing: int
) -> None:
    said: list[str] = []
    aruna = cast(Aruna, Shown(p=project(*OBJECTS[:objects], counted=counted)))
    run = Run(aruna, "token", Attempt(math.inf), said.append)
    pages = list(walk(run, "p"))
    assert sum(len(page.objects) for page in pages) == objects
    expected = f"project p: Aruna does not show {missing} of the objects that it counts; "
    assert [line.startswith(expected) for line in said] == [True] * bool(missing)
    assert run.skipped == 0


@pytest.mark.parametrize(("counted", "missing"), [(5, False), (6, True)])
def test_objects_of_a_dataset_with_two_parents_are_counted_by_aruna_twice(
    counted: int, missing: bool
) -> None:
    said: list[str] = []
    aruna = Shown(
        p=project(COLLECTION, DATASET, OBJECTS[0], counted=counted),
        c=holding(models_pb2.Collection, DATASET, counted=2),
        d=holding(models_pb2.Dataset, *OBJECTS[1:], counted=2),
    )
    run = Run(cast(Aruna, aruna), "token", Attempt(math.inf), said.append)
    assert sum(len(page.objects) for page in walk(run, "p")) == 3
    assert bool(said) is missing
