"""Aruna's REST gateway: the same API in protobuf's JSON form, on the paths that it annotates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import dataset_service_pb2 as datasets_pb2
from aruna.api.storage.services.v2 import info_service_pb2 as info_pb2
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2
from aruna.api.storage.services.v2 import relations_service_pb2 as relations_pb2
from aruna.api.storage.services.v2 import user_service_pb2 as users_pb2
from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from sandbox.aruna.grpc_server import details_of
from sandbox.aruna.operations import Operation
from sandbox.errors import Refused, invalid
from sandbox.failpoints import Failpoints
from sandbox.http_server import Exchange

_FILES = (
    hooks_pb2,
    objects_pb2,
    projects_pb2,
    collections_pb2,
    datasets_pb2,
    relations_pb2,
    users_pb2,
    info_pb2,
)
_HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_RESET = "stream terminated by RST_STREAM with error code: CANCEL"


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    operation: str
    request: type[Any]


class Gateway:
    """Answers the gateway's requests."""

    def __init__(self, operations: Mapping[str, Operation], failpoints: Failpoints) -> None:
        self._operations = operations
        self._failpoints = failpoints
        self._routes = [route for route in _routes() if route.operation in operations]

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        body = b"".join(exchange.body())
        try:
            name, request = self._request_of(exchange.command, urlsplit(exchange.path).path, body)
            with self._failpoints.call(f"gateway.{name}", **details_of(request)):
                authorization = exchange.headers.get("authorization")
                answer = self._operations[name](authorization, request)
        except Refused as refused:
            _refuse(exchange, refused)
        else:
            content = json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)
            _answer(exchange, 200, content, {"grpc-metadata-content-type": "application/grpc"})

    def _request_of(self, method: str, path: str, body: bytes) -> tuple[str, Any]:
        found = [(route, route.pattern.fullmatch(path)) for route in self._routes]
        matching = [(route, matched) for route, matched in found if matched]
        if not matching:
            raise Refused(grpc.StatusCode.NOT_FOUND, "Not Found")
        for route, matched in matching:
            if route.method == method:
                request = _parsed(body, route.request)
                for parameter, value in matched.groupdict().items():
                    setattr(request, parameter, unquote(value))
                return route.operation, request
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, "Method Not Allowed")


def _routes() -> Iterator[_Route]:
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern")
                pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]*)", getattr(rule, verb))
                request = GetMessageClass(method.input_type)
                yield _Route(verb.upper(), re.compile(pattern), method.name, request)


def _parsed(body: bytes, message: type[Any]) -> Any:
    try:
        return json_format.Parse(body or b"{}", message(), ignore_unknown_fields=True)
    except json_format.ParseError as exc:
        raise invalid(str(exc)) from exc


def _refuse(exchange: Exchange, refused: Refused) -> None:
    cancelled = refused.code == grpc.StatusCode.CANCELLED
    message = _RESET if cancelled else refused.message
    content = {"code": refused.code.value[0], "message": message, "details": []}
    unauthenticated = refused.code == grpc.StatusCode.UNAUTHENTICATED
    headers = {"www-authenticate": message} if unauthenticated else {}
    _answer(exchange, _HTTP.get(refused.code, 500), content, headers)


def _answer(
    exchange: Exchange, status: int, content: dict[str, Any], headers: Mapping[str, str]
) -> None:
    body = json.dumps(content, separators=(", ", ":"), ensure_ascii=False).encode()
    exchange.answer(status, body, {"content-type": "application/json", **headers})
