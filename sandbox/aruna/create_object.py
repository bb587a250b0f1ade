"""CreateObject's request: what Aruna checks in it, and the object that it makes."""

from __future__ import annotations

import re

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from sandbox.aruna.hierarchy import SEGMENT
from sandbox.aruna.model import Resource, Token
from sandbox.aruna.state import State
from sandbox.aruna.ulid import new_ulid, ulid_error
from sandbox.errors import internal

_NAME = re.compile(r"[a-zA-Z0-9\-!_.*'()\s]+")
_LENGTHS = {"name": 511, "title": 511, "description": 1023}
_DATA_CLASSES = {
    models.DATA_CLASS_PUBLIC,
    models.DATA_CLASS_PRIVATE,
    models.DATA_CLASS_WORKSPACE,
    models.DATA_CLASS_CONFIDENTIAL,
}
_LICENCES = {"AllRightsReserved", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC0-1.0"}
_TAKEN = "Name is invalid: Contains substring that matches same hierarchy object"


def check(request: objects_pb2.CreateObjectRequest, parent: Resource) -> None:
    """Raise ``Refused`` if Aruna's database would not take the object."""
    *folders, name = request.name.split("/")
    if not all(SEGMENT.fullmatch(folder) for folder in folders):
        raise internal("Internal database error : Invalid path name")
    if not _NAME.fullmatch(name):
        raise internal("Internal database error : Invalid object name")
    if request.data_class not in _DATA_CLASSES:
        raise internal("Internal database error : Dataclass not defined")
    if any(not kv.variant for kv in request.key_values):
        raise internal("Internal database error : KeyValue variant not defined.")
    _check_people_and_licences(request)
    _check_lengths(request)
    if request.name in parent.children:
        raise internal(f"Internal database error : {_TAKEN}")


def _check_people_and_licences(request: objects_pb2.CreateObjectRequest) -> None:
    for author in request.authors:
        if author.HasField("id") and ulid_error(author.id):
            raise internal(f"Internal database error : {ulid_error(author.id)}")
    if {request.metadata_license_tag, request.data_license_tag} - {"", *_LICENCES}:
        raise internal("Internal database error : Licenses invalid")


def _check_lengths(request: objects_pb2.CreateObjectRequest) -> None:
    for attribute, limit in _LENGTHS.items():
        if len(getattr(request, attribute)) > limit:
            raise internal(
                "Internal database error : db error: ERROR: value too long for type "
                f"character varying({limit})"
            )


def message(
    state: State, token: Token, request: objects_pb2.CreateObjectRequest, parent: Resource
) -> models.Object:
    """The new object, INITIALIZING, without its internal relations."""
    now = Timestamp()
    now.GetCurrentTime()
    now.nanos -= now.nanos % 1000
    licence = parent.message
    created = models.Object(
        id=new_ulid(),
        name=request.name,
        title=request.title,
        description=request.description,
        key_values=request.key_values,
        relations=[r for r in request.relations if r.HasField("external")],
        data_class=request.data_class,
        created_at=now,
        created_by=token.user_id,
        authors=request.authors,
        status=models.STATUS_INITIALIZING,
        hashes=request.hashes,
        metadata_license_tag=request.metadata_license_tag or licence.metadata_license_tag,
        data_license_tag=request.data_license_tag or licence.default_data_license_tag,
    )
    endpoint = created.endpoints.add(id=state.endpoint_id, status=models.REPLICATION_STATUS_WAITING)
    endpoint.full_sync.SetInParent()
    return created
