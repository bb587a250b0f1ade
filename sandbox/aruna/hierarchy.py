"""Projects, collections and datasets: made, answered, and shown as a hierarchy."""

from __future__ import annotations

import re
from typing import Any

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import dataset_service_pb2 as datasets_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2
from aruna.api.storage.services.v2 import relations_service_pb2 as relations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from sandbox.aruna.model import COLLECTION, DATASET, OBJECT, PROJECT, Resource, Right, Token
from sandbox.aruna.state import State
from sandbox.aruna.ulid import new_ulid, ulid_error
from sandbox.errors import internal, invalid

_PARENTS = {"project_id": PROJECT, "collection_id": COLLECTION, "dataset_id": DATASET}
_PROJECT_NAME = re.compile(r"[a-z0-9\-]+")
#: What the names of collections and datasets, and the folders in an object's name, look like.
SEGMENT = re.compile(r"[a-zA-Z0-9\-!_.*'()]+")
_ABORTED = (
    "Internal database error : db error: ERROR: current transaction is aborted, "
    "commands ignored until end of transaction block"
)

#: The licence of what is made without one and without a parent that has one.
ALL_RIGHTS_RESERVED = "AllRightsReserved"


def create_project(
    state: State, token: Token, request: projects_pb2.CreateProjectRequest
) -> projects_pb2.CreateProjectResponse:
    """CreateProject: its name is its S3 bucket's."""
    state.require_personal(token)
    if not _PROJECT_NAME.fullmatch(request.name):
        raise internal("Internal database error : Invalid project name")
    if request.name in state.buckets:
        raise internal("Internal database error : Name is invalid: Name is not unique")
    message = _container(state, token, models.Project, request, ALL_RIGHTS_RESERVED)
    resource = Resource(message, PROJECT)
    state.add(resource, None)
    return projects_pb2.CreateProjectResponse(project=state.snapshot_of(resource))


def create_collection(
    state: State, token: Token, request: collections_pb2.CreateCollectionRequest
) -> collections_pb2.CreateCollectionResponse:
    """CreateCollection, in a project."""
    parent = parent_of(state, token, request)
    _check_name(request.name, parent, "collection")
    inherited = parent.message.default_data_license_tag
    message = _container(state, token, models.Collection, request, inherited)
    resource = Resource(message, COLLECTION)
    state.add(resource, parent.id)
    return collections_pb2.CreateCollectionResponse(collection=state.snapshot_of(resource))


def create_dataset(
    state: State, token: Token, request: datasets_pb2.CreateDatasetRequest
) -> datasets_pb2.CreateDatasetResponse:
    """CreateDataset, in a project or a collection."""
    parent = parent_of(state, token, request)
    _check_name(request.name, parent, "dataset")
    inherited = parent.message.default_data_license_tag
    message = _container(state, token, models.Dataset, request, inherited)
    resource = Resource(message, DATASET)
    state.add(resource, parent.id)
    return datasets_pb2.CreateDatasetResponse(dataset=state.snapshot_of(resource))


def get_project(
    state: State, token: Token, request: projects_pb2.GetProjectRequest
) -> projects_pb2.GetProjectResponse:
    """GetProject."""
    return projects_pb2.GetProjectResponse(project=_read(state, token, request.project_id, PROJECT))


def get_collection(
    state: State, token: Token, request: collections_pb2.GetCollectionRequest
) -> collections_pb2.GetCollectionResponse:
    """GetCollection."""
    collection = _read(state, token, request.collection_id, COLLECTION)
    return collections_pb2.GetCollectionResponse(collection=collection)


def get_dataset(
    state: State, token: Token, request: datasets_pb2.GetDatasetRequest
) -> datasets_pb2.GetDatasetResponse:
    """GetDataset."""
    return datasets_pb2.GetDatasetResponse(dataset=_read(state, token, request.dataset_id, DATASET))


def get_hierarchy(
    state: State, token: Token, request: relations_pb2.GetHierarchyRequest
) -> relations_pb2.GetHierarchyResponse:
    """GetHierarchy.

    Aruna 2.0.4 has a defect here: what should be the children of each collection and dataset are
    once more the children of the resource asked for. Their own are found by asking for them.
    """
    fault = ulid_error(request.resource_id)
    if fault:
        raise invalid(f"Invalid id : {fault}")
    state.require(token, request.resource_id, Right.READ)
    with state.changed:
        return _hierarchy(state, state.resources[request.resource_id])


def modify_relations(
    state: State, token: Token, request: relations_pb2.ModifyRelationsRequest
) -> relations_pb2.ModifyRelationsResponse:
    """ModifyRelations, as far as users give an object one more parent."""
    fault = ulid_error(request.resource_id)
    if fault:
        raise invalid(f"Invalid id : {fault}")
    state.require(token, request.resource_id, Right.WRITE)
    resource = state.resources[request.resource_id]
    for relation in request.add_relations:
        if relation.internal.resource_variant == OBJECT:
            raise invalid("the sandbox only adds parents")
        state.require(token, relation.internal.resource_id, Right.APPEND)
        state.attach(resource, relation.internal.resource_id)
    return relations_pb2.ModifyRelationsResponse()


def parent_of(state: State, token: Token, request: Any) -> Resource:
    """The parent that a Create… request names; raises ``Refused``."""
    chosen = request.WhichOneof("parent")
    if chosen is None:
        raise invalid("Parent missing.")
    parent_id = getattr(request, chosen)
    fault = ulid_error(parent_id)
    if fault:
        raise invalid(f"invalid parent : {fault}")
    state.require(token, parent_id, Right.APPEND)
    parent = state.resources[parent_id]
    if parent.variant != _PARENTS[chosen]:
        raise internal(_ABORTED)
    return parent


def _check_name(name: str, parent: Resource, kind: str) -> None:
    if not SEGMENT.fullmatch(name):
        raise internal(f"Internal database error : Invalid {kind} name")
    if name in {taken.partition("/")[0] for taken in parent.children}:
        raise internal("Internal database error : Name is invalid: Contains path of object")


def _read(state: State, token: Token, resource_id: str, variant: int) -> Any:
    fault = ulid_error(resource_id)
    if fault:
        raise invalid(f"ULID conversion error : {fault}")
    state.require(token, resource_id, Right.READ)
    resource = state.resources[resource_id]
    if resource.variant != variant:
        raise invalid("Invalid conversion")
    return state.snapshot_of(resource)


def _container(state: State, token: Token, kind: Any, request: Any, inherited: str) -> Any:
    now = Timestamp()
    now.GetCurrentTime()
    message = kind(
        id=new_ulid(),
        name=request.name,
        title=request.title,
        description=request.description,
        key_values=request.key_values,
        data_class=request.data_class,
        created_at=now,
        created_by=token.user_id,
        authors=request.authors,
        status=models.STATUS_AVAILABLE,
        dynamic=True,
        metadata_license_tag=request.metadata_license_tag or inherited,
        default_data_license_tag=request.default_data_license_tag or inherited,
    )
    message.stats.count = 1
    message.stats.last_updated.CopyFrom(now)
    message.endpoints.add(id=state.endpoint_id).full_sync.SetInParent()
    return message


def _hierarchy(state: State, resource: Resource) -> relations_pb2.GetHierarchyResponse:
    children = [state.resources[child] for child in resource.cached_children]
    objects = [child.id for child in children if child.variant == OBJECT]
    of_datasets = [
        relations_pb2.DatasetRelations(origin=resource.id, object_children=objects)
        for child in children
        if child.variant == DATASET
    ]
    if resource.variant == DATASET:
        relations = relations_pb2.DatasetRelations(origin=resource.id, object_children=objects)
        return relations_pb2.GetHierarchyResponse(dataset=relations)
    of_itself = {
        "origin": resource.id,
        "dataset_children": of_datasets,
        "object_children": objects,
    }
    if resource.variant == COLLECTION:
        collection = relations_pb2.CollectionRelations(**of_itself)
        return relations_pb2.GetHierarchyResponse(collection=collection)
    if resource.variant != PROJECT:
        raise invalid("Invalid id : Objects do not have a hierarchy")
    of_collections = [
        relations_pb2.CollectionRelations(**of_itself)
        for child in children
        if child.variant == COLLECTION
    ]
    project = relations_pb2.ProjectRelations(collection_children=of_collections, **of_itself)
    return relations_pb2.GetHierarchyResponse(project=project)
