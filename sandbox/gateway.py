"""Aruna's REST gateway: the same API in protobuf's JSON form, as far as hooks need it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.services.v2 import info_service_pb2 as info_pb2
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from google.protobuf import json_format

from sandbox.grpc_api import details_of
from sandbox.operations import Operation
from sandbox.points import Points
from sandbox.refusal import Refused, invalid
from sandbox.webserver import Exchange

_ROUTES: tuple[tuple[str, str, str, Any], ...] = (
    ("POST", r"/v2/hooks", "CreateHook", hooks_pb2.CreateHookRequest),
    ("PATCH", r"/v2/hooks/callback", "HookCallback", hooks_pb2.HookCallbackRequest),
    (
        "GET",
        r"/v2/hooks/owner/(?P<user_id>[^/]*)",
        "ListOwnedHooks",
        hooks_pb2.ListOwnedHooksRequest,
    ),
    (
        "GET",
        r"/v2/hooks/projects/(?P<project_id>[^/]+)",
        "ListProjectHooks",
        hooks_pb2.ListProjectHooksRequest,
    ),
    (
        "POST",
        r"/v2/hooks/(?P<hook_id>[^/]+)",
        "AddProjectsToHook",
        hooks_pb2.AddProjectsToHookRequest,
    ),
    ("DELETE", r"/v2/hooks/(?P<hook_id>[^/]+)", "DeleteHook", hooks_pb2.DeleteHookRequest),
    ("GET", r"/v2/info/pubkeys", "GetPubkeys", info_pb2.GetPubkeysRequest),
    ("GET", r"/v2/objects/(?P<object_id>[^/]+)", "GetObject", objects_pb2.GetObjectRequest),
)
_HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_RESET = "stream terminated by RST_STREAM with error code: CANCEL"


class Gateway:
    """Answers the gateway's requests."""

    def __init__(self, operations: Mapping[str, Operation], points: Points) -> None:
        self._operations = operations
        self._points = points

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        body = b"".join(exchange.body())
        try:
            name, request = _request_of(exchange.command, urlsplit(exchange.path).path, body)
            with self._points.passing(f"gateway.{name}", **details_of(request)):
                authorization = exchange.headers.get("authorization")
                answer = self._operations[name](authorization, request)
        except Refused as refused:
            _refuse(exchange, refused)
        else:
            content = json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)
            _answer(exchange, 200, content, {"grpc-metadata-content-type": "application/grpc"})


def _request_of(method: str, path: str, body: bytes) -> tuple[str, Any]:
    found = [route for route in _ROUTES if re.fullmatch(route[1], path)]
    if not found:
        raise Refused(grpc.StatusCode.NOT_FOUND, "Not Found")
    for wanted, pattern, name, message in found:
        if wanted == method:
            request = _parsed(body, message)
            for parameter, value in _parameters(pattern, path).items():
                setattr(request, parameter, unquote(value))
            return name, request
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "Method Not Allowed")


def _parsed(body: bytes, message: Any) -> Any:
    try:
        return json_format.Parse(body or b"{}", message(), ignore_unknown_fields=True)
    except json_format.ParseError as exc:
        raise invalid(str(exc)) from exc


def _parameters(pattern: str, path: str) -> dict[str, str]:
    matched = re.fullmatch(pattern, path)
    return matched.groupdict() if matched else {}


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
