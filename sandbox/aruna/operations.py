"""The calls of Aruna's API that the sandbox knows, whichever way they come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox.aruna import hierarchy, users
from sandbox.aruna.hooks import Hooks
from sandbox.aruna.model import Token
from sandbox.aruna.objects import Objects
from sandbox.aruna.state import State

#: ``(authorization header or None, request message) -> response message``; raises ``Refused``.
Operation = Callable[[str | None, Any], Any]


def operations(state: State, objects: Objects, hooks: Hooks) -> dict[str, Operation]:
    """All operations by the name of their RPC."""
    with_token: dict[str, Callable[[Token, Any], Any]] = {
        "CreateProject": partial(hierarchy.create_project, state),
        "GetProject": partial(hierarchy.get_project, state),
        "CreateCollection": partial(hierarchy.create_collection, state),
        "GetCollection": partial(hierarchy.get_collection, state),
        "CreateDataset": partial(hierarchy.create_dataset, state),
        "GetDataset": partial(hierarchy.get_dataset, state),
        "GetHierarchy": partial(hierarchy.get_hierarchy, state),
        "ModifyRelations": partial(hierarchy.modify_relations, state),
        "CreateObject": objects.create,
        "GetObject": objects.get,
        "GetObjects": objects.get_many,
        "GetDownloadURL": objects.download,
        "GetUploadURL": objects.give_upload_url,
        "UpdateObject": objects.update,
        "DeleteObject": objects.delete,
        "GetS3CredentialsUserToken": partial(users.get_credentials, state),
        "CreateS3CredentialsUserToken": partial(users.create_credentials, state),
        "CreateHook": hooks.create,
        "AddProjectsToHook": hooks.add_projects,
        "ListProjectHooks": hooks.list_of_project,
        "ListOwnedHooks": hooks.list_owned,
        "DeleteHook": hooks.delete,
    }
    return {
        **{name: _authenticated(state, call) for name, call in with_token.items()},
        "HookCallback": lambda _, request: hooks.call_back(request),
        "GetPubkeys": lambda *_: users.get_pubkeys(state),
    }


def _authenticated(state: State, call: Callable[[Token, Any], Any]) -> Operation:
    return lambda authorization, request: call(state.authenticate(authorization), request)
