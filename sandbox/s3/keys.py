"""Buckets and keys: which object a URL means."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urlsplit

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import dataset_service_pb2 as datasets_pb2

from sandbox.aruna.hierarchy import create_collection, create_dataset
from sandbox.aruna.model import COLLECTION, DATASET, OBJECT, PROJECT, Resource, Token
from sandbox.aruna.state import State
from sandbox.errors import Refused
from sandbox.s3.errors import s3_error


@dataclass(frozen=True)
class Place:
    """A bucket, which is a project's name, and a key in it; both may be empty."""

    bucket: str
    key: str


def place_of(target: str, headers: Message, state: State) -> Place:
    """Where a request goes: virtual-hosted if its host says so, else path style."""
    path = unquote(urlsplit(target).path).removeprefix("/")
    host = headers.get("host", "").partition(":")[0]
    suffix = state.switches.virtual_host
    if suffix and host.endswith(f".{suffix}"):
        return Place(host.removesuffix(f".{suffix}"), path)
    bucket, _, key = path.partition("/")
    return Place(bucket, key)


def project_at(state: State, place: Place) -> Resource:
    """The project of a bucket; raises an S3 error if there is none."""
    project_id = state.buckets.get(place.bucket)
    if project_id is None:
        raise s3_error(404, "NoSuchBucket", "Bucket not found")
    return state.resources[project_id]


def object_at(state: State, place: Place) -> Resource | None:
    """The object at a key. An object's name may contain slashes, a collection's may not.

    Aruna 2.0.4: an object directly in a project with one slash in its name, and no collection or
    dataset named like its folder, is never found: an S3 error is raised.
    """
    with state.changed:
        parent, name = project_at(state, place), place.key
        while True:
            child = state.resources.get(parent.children.get(name, ""))
            segment, slash, rest = name.partition("/")
            container = state.resources.get(parent.children.get(segment, ""))
            if child is not None and child.variant == OBJECT:
                if parent.variant == PROJECT and name.count("/") == 1 and container is None:
                    raise s3_error(500, "InternalError", "Internal Error")
                return child
            if not slash or container is None or container.variant == OBJECT:
                return None
            name = rest
            parent = container


def parent_for(state: State, token: Token, place: Place) -> tuple[Resource, str]:
    """The parent and the name of an object that an upload makes.

    Aruna 2.0.4: unknown segments of the path become a collection and a dataset.
    """
    parent, name = project_at(state, place), place.key
    try:
        while "/" in name and parent.variant != DATASET:
            segment, _, name = name.partition("/")
            found = parent.children.get(segment)
            parent = state.resources[found or _container(state, token, parent, segment)]
    except Refused as exc:
        raise s3_error(500, "InternalError", "Unable to create collection") from exc
    return parent, name


def _container(state: State, token: Token, parent: Resource, name: str) -> str:
    private = models.DATA_CLASS_PRIVATE
    if parent.variant == COLLECTION:
        in_collection = datasets_pb2.CreateDatasetRequest(
            name=name, data_class=private, collection_id=parent.id
        )
        return str(create_dataset(state, token, in_collection).dataset.id)
    in_project = collections_pb2.CreateCollectionRequest(
        name=name, data_class=private, project_id=parent.id
    )
    return str(create_collection(state, token, in_project).collection.id)
