"""Aruna's API as a gRPC server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from aruna.api.hooks.services.v2 import hooks_service_pb2_grpc as hooks_grpc
from aruna.api.storage.services.v2 import collection_service_pb2_grpc as collections_grpc
from aruna.api.storage.services.v2 import dataset_service_pb2_grpc as datasets_grpc
from aruna.api.storage.services.v2 import info_service_pb2_grpc as info_grpc
from aruna.api.storage.services.v2 import object_service_pb2_grpc as objects_grpc
from aruna.api.storage.services.v2 import project_service_pb2_grpc as projects_grpc
from aruna.api.storage.services.v2 import relations_service_pb2_grpc as relations_grpc
from aruna.api.storage.services.v2 import user_service_pb2_grpc as users_grpc

from sandbox.aruna.operations import Operation
from sandbox.errors import Dropped, Refused
from sandbox.failpoints import Failpoints

_THREADS = 32
_SERVICES = (
    (hooks_grpc.HooksServiceServicer, hooks_grpc.add_HooksServiceServicer_to_server),
    (objects_grpc.ObjectServiceServicer, objects_grpc.add_ObjectServiceServicer_to_server),
    (projects_grpc.ProjectServiceServicer, projects_grpc.add_ProjectServiceServicer_to_server),
    (
        collections_grpc.CollectionServiceServicer,
        collections_grpc.add_CollectionServiceServicer_to_server,
    ),
    (datasets_grpc.DatasetServiceServicer, datasets_grpc.add_DatasetServiceServicer_to_server),
    (
        relations_grpc.RelationsServiceServicer,
        relations_grpc.add_RelationsServiceServicer_to_server,
    ),
    (users_grpc.UserServiceServicer, users_grpc.add_UserServiceServicer_to_server),
    (
        info_grpc.StorageStatusServiceServicer,
        info_grpc.add_StorageStatusServiceServicer_to_server,
    ),
)


class GrpcServer:
    """The server, listening as soon as it is made."""

    def __init__(
        self, operations: Mapping[str, Operation], failpoints: Failpoints, *, host: str, port: int
    ) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sandbox-grpc")
        self._server = grpc.server(
            self._threads,
            options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)],
        )
        for servicer, add in _SERVICES:
            add(_servicer(servicer, operations, failpoints), self._server)
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        self._server.start()

    def close(self) -> None:
        """Refuse new calls, cancel the open ones."""
        self._server.stop(grace=None).wait()
        self._threads.shutdown()


def _servicer(
    servicer: type[Any], operations: Mapping[str, Operation], failpoints: Failpoints
) -> Any:
    methods = {
        name: staticmethod(_method(name, operation, failpoints))
        for name, operation in operations.items()
        if hasattr(servicer, name)
    }
    return type(servicer.__name__, (servicer,), methods)()


def _method(
    name: str, operation: Operation, failpoints: Failpoints
) -> Callable[[Any, grpc.ServicerContext], Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        authorization = metadata.get("authorization")
        try:
            with failpoints.call(f"grpc.{name}", **details_of(request)):
                return operation(_text(authorization), request)
        except Refused as refused:
            return _abort(context, refused.code, refused.message)
        except Dropped:
            return _abort(context, grpc.StatusCode.UNAVAILABLE, "Socket closed")

    return call


def details_of(request: Any) -> dict[str, str]:
    """What a request is about: the members that are ids or a name."""
    return {
        field.name: value
        for field, value in request.ListFields()
        if isinstance(value, str) and (field.name.endswith("_id") or field.name == "name")
    }


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("abort raises")  # pragma: no cover
