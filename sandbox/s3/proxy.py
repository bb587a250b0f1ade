"""Aruna's data proxy as its clients see it: S3 with rules of its own."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.aruna.delivery import Delivery
from sandbox.aruna.model import Content, Resource, Right
from sandbox.aruna.objects import Objects
from sandbox.aruna.state import State
from sandbox.errors import Answered, Dropped
from sandbox.http_server import Exchange
from sandbox.s3.errors import EXPOSED, s3_error
from sandbox.s3.keys import object_at, place_of
from sandbox.s3.request import Reply, S3Request, is_known, require
from sandbox.s3.signature import check
from sandbox.s3.store import Store
from sandbox.s3.writes import Writes, no_upload

#: Parameters that make another operation of a GET or PUT.
_SUBRESOURCES = {"acl", "tagging"}


class DataProxy:
    """Answers S3 requests. Signatures are verified, rights are those of Aruna's tokens."""

    def __init__(self, state: State, objects: Objects, delivery: Delivery, store: Store) -> None:
        self._state = state
        self._objects = objects
        self._store = store
        self._writes = Writes(state, objects, delivery, store)

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        if self._state.switches.proxy_down:
            raise Dropped
        place = place_of(exchange.path, exchange.headers, self._state)
        signed = check(exchange.command, exchange.path, exchange.headers, self._state.credentials)
        query = dict(parse_qsl(urlsplit(exchange.path).query, keep_blank_values=True))
        request = S3Request(exchange, place, signed, query)
        operation, act = self._chosen(request)
        with self._state.failpoints.call(f"s3.{operation}", **request.details):
            reply = act(request)
        reply(exchange)

    def _chosen(self, request: S3Request) -> tuple[str, Callable[[S3Request], Reply]]:
        upload = "uploadId" in request.query
        chosen = {
            ("GET", False): ("get", self._get),
            ("HEAD", False): ("head", self._head),
            ("PUT", False): ("put", self._writes.put),
            ("PUT", True): ("part", self._writes.part),
            ("POST", True): ("complete", self._writes.complete),
            ("DELETE", False): ("delete", self._delete),
            ("DELETE", True): ("abort", self._abort),
        }
        if request.exchange.command == "POST" and "uploads" in request.query:
            return "create_multipart", self._writes.create_multipart
        copies = "x-amz-copy-source" in request.exchange.headers
        if copies or not request.place.key or _SUBRESOURCES & set(request.query):
            raise _not_implemented()
        if (request.exchange.command, upload) not in chosen:
            raise _not_implemented()
        return chosen[request.exchange.command, upload]

    def _get(self, request: S3Request) -> Reply:
        resource = self._readable(request)
        content = resource.content
        if content is None:
            raise _unknown_object()
        if resource.message.status == models.STATUS_INITIALIZING and content.upload is None:
            raise no_upload()
        headers = {**_described(resource), "etag": f'"-{resource.id}"', **EXPOSED}
        if request.exchange.headers.get("x-amz-checksum-mode") == "ENABLED":
            headers.update(_checksums(content))
        return lambda exchange: self._send(exchange, content, headers)

    def _head(self, request: S3Request) -> Reply:
        resource = self._readable(request)
        created = resource.message.created_at.ToDatetime().timestamp()
        headers = {
            **_described(resource),
            "etag": f'"{resource.id}"',
            "last-modified": formatdate(created, usegmt=True),
            **{kv.key: kv.value for kv in resource.message.key_values if _is_metadata(kv)},
            **EXPOSED,
        }
        return lambda exchange: exchange.start(200, headers)

    def _delete(self, request: S3Request) -> Reply:
        require(self._state, request, Right.ADMIN)
        resource = object_at(self._state, request.place)
        if resource is not None:
            self._objects.remove(resource)
        return lambda exchange: exchange.start(204, {})

    def _abort(self, request: S3Request) -> Reply:
        require(self._state, request, Right.ADMIN)
        resource = object_at(self._state, request.place)
        with self._state.changed:
            if resource is not None and resource.content is not None:
                resource.content.upload = None
        return lambda exchange: exchange.start(204, {})

    def _readable(self, request: S3Request) -> Resource:
        resource = object_at(self._state, request.place)
        public = resource and resource.message.data_class == models.DATA_CLASS_PUBLIC
        if request.signed or not public:
            require(self._state, request, Right.READ)
        if resource is None or not is_known(resource):
            raise s3_error(404, "NoSuchKey", "Resource not found")
        return resource

    def _send(self, exchange: Exchange, content: Content, headers: dict[str, str]) -> None:
        exchange.start(200, headers)
        # Aruna 2.0.4: until an upload is re-encoded, a GET breaks off after its first part.
        parts = content.parts[:1] if content.upload else content.parts
        for part in parts:
            if part.key is None:
                raise Dropped
            for block in self._store.read(part.key):
                if self._state.switches.bytes_per_second:
                    pause = len(block) / self._state.switches.bytes_per_second
                    self._state.closing.wait(pause)
                exchange.wfile.write(block)
        if len(parts) < len(content.parts):
            raise Dropped


def _described(resource: Resource) -> dict[str, str]:
    name = resource.name
    return {
        "content-disposition": f'attachment;filename="{name}"',
        "content-length": str(resource.content.size if resource.content else 0),
        "content-type": _content_type(name),
    }


def _content_type(name: str) -> str:
    # Aruna's guess for XML, whatever this machine's tables say.
    if name.lower().endswith(".xml"):
        return "text/xml"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _checksums(content: Content) -> dict[str, str]:
    names = {"crc32": "crc32", "sha256": "sha256_base64"}
    return {
        f"x-amz-checksum-{name}": content.checksums[kept]
        for name, kept in names.items()
        if kept in content.checksums
    }


def _is_metadata(kv: models.KeyValue) -> bool:
    return bool(kv.key.startswith("x-amz-meta-"))


def _not_implemented() -> Answered:
    return s3_error(501, "NotImplemented", "The sandbox does not implement this")


def _unknown_object() -> Answered:
    return s3_error(404, "NoSuchKey", "Object not found")
