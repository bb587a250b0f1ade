"""The calls of Aruna's API that the sandbox knows, whichever way they come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aruna.api.storage.services.v2 import relations_service_pb2 as relations_pb2

from sandbox import containers, users
from sandbox.objects import Objects
from sandbox.refusal import invalid
from sandbox.registrations import Registrations
from sandbox.things import OBJECT, Right, Token
from sandbox.ulid import fault_of
from sandbox.world import World

#: ``(authorization header or None, request message) -> response message``; raises ``Refused``.
Operation = Callable[[str | None, Any], Any]

_WithToken = Callable[[World, Token, Any], Any]


def operations(
    world: World, objects: Objects, registrations: Registrations
) -> dict[str, Operation]:
    """All operations by the name of their RPC."""
    with_token: dict[str, _WithToken] = {
        "CreateProject": containers.create_project,
        "GetProject": containers.get_project,
        "CreateCollection": containers.create_collection,
        "GetCollection": containers.get_collection,
        "CreateDataset": containers.create_dataset,
        "GetDataset": containers.get_dataset,
        "GetHierarchy": containers.get_hierarchy,
        "ModifyRelations": modify_relations,
        "CreateObject": objects.create,
        "GetObject": objects.get,
        "GetObjects": objects.get_many,
        "GetDownloadURL": objects.download,
        "GetUploadURL": objects.give_upload_url,
        "UpdateObject": objects.update,
        "DeleteObject": objects.delete,
        "GetS3CredentialsUserToken": users.get_credentials,
        "CreateS3CredentialsUserToken": users.create_credentials,
        "CreateHook": registrations.create,
        "AddProjectsToHook": registrations.add_projects,
        "ListProjectHooks": registrations.list_of_project,
        "ListOwnedHooks": registrations.list_owned,
        "DeleteHook": registrations.delete,
    }
    return {
        **{name: _authenticated(world, call) for name, call in with_token.items()},
        "HookCallback": lambda _, request: registrations.call_back(request),
        "GetPubkeys": lambda *_: users.get_pubkeys(world),
    }


def modify_relations(
    world: World, token: Token, request: relations_pb2.ModifyRelationsRequest
) -> relations_pb2.ModifyRelationsResponse:
    """ModifyRelations, as far as users give an object one more parent."""
    fault = fault_of(request.resource_id)
    if fault:
        raise invalid(f"Invalid id : {fault}")
    world.demand(token, request.resource_id, Right.WRITE)
    resource = world.resources[request.resource_id]
    for relation in request.add_relations:
        if relation.internal.resource_variant == OBJECT:
            raise invalid("the sandbox only adds parents")
        world.demand(token, relation.internal.resource_id, Right.APPEND)
        world.attach(resource, relation.internal.resource_id)
    return relations_pb2.ModifyRelationsResponse()


def _authenticated(world: World, call: _WithToken) -> Operation:
    return lambda authorization, request: call(world, world.authenticate(authorization), request)
