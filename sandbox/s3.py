"""Aruna's data proxy as its clients see it: S3 with rules of its own."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.keys import object_at, place_of
from sandbox.objects import Objects
from sandbox.refusal import Answered, Dropped
from sandbox.s3_errors import EXPOSED, s3_error
from sandbox.s3_request import Reply, S3Request, demand, is_known
from sandbox.s3_writing import Writing, no_upload
from sandbox.signature import check
from sandbox.store import Store
from sandbox.things import Content, Resource, Right
from sandbox.webserver import Exchange
from sandbox.world import World

#: Parameters that make another operation of a GET or PUT.
_ELSEWHERE = {"acl", "tagging"}


class DataProxy:
    """Answers S3 requests. Signatures are verified, rights are those of Aruna's tokens."""

    def __init__(self, world: World, objects: Objects, store: Store) -> None:
        self._world = world
        self._objects = objects
        self._store = store
        self._writing = Writing(world, objects, store)

    def close(self) -> None:
        """Wait for uploads that are being finished."""
        self._writing.close()

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        place = place_of(exchange.path, exchange.headers, self._world)
        signed = check(exchange.command, exchange.path, exchange.headers, self._world.credentials)
        query = dict(parse_qsl(urlsplit(exchange.path).query, keep_blank_values=True))
        request = S3Request(exchange, place, signed, query)
        operation, act = self._chosen(request)
        with self._world.points.passing(
            f"s3.{operation}",
            bucket=place.bucket,
            key=place.key,
            by=request.by,
            part=query.get("partNumber", ""),
        ):
            reply = act(request)
        reply(exchange)

    def _chosen(self, request: S3Request) -> tuple[str, Callable[[S3Request], Reply]]:
        upload = "uploadId" in request.query
        chosen = {
            ("GET", False): ("get", self._get),
            ("HEAD", False): ("head", self._head),
            ("PUT", False): ("put", self._writing.put),
            ("PUT", True): ("part", self._writing.part),
            ("POST", True): ("complete", self._writing.complete),
            ("DELETE", False): ("delete", self._delete),
            ("DELETE", True): ("abort", self._abort),
        }
        if request.exchange.command == "POST" and "uploads" in request.query:
            return "create_multipart", self._writing.create_multipart
        copies = "x-amz-copy-source" in request.exchange.headers
        if copies or not request.place.key or _ELSEWHERE & set(request.query):
            raise _not_implemented()
        if (request.exchange.command, upload) not in chosen:
            raise _not_implemented()
        return chosen[request.exchange.command, upload]

    def _get(self, request: S3Request) -> Reply:
        resource = self._readable(request)
        content = resource.content
        if content is None or resource.message.status == models.STATUS_INITIALIZING:
            raise _unknown_object() if content is None else no_upload()
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
        demand(self._world, request, Right.ADMIN)
        resource = object_at(self._world, request.place)
        if resource is not None:
            self._objects.remove(resource)
        return lambda exchange: exchange.start(204, {})

    def _abort(self, request: S3Request) -> Reply:
        demand(self._world, request, Right.ADMIN)
        resource = object_at(self._world, request.place)
        with self._world.changed:
            if resource is not None:
                resource.upload = None
        return lambda exchange: exchange.start(204, {})

    def _readable(self, request: S3Request) -> Resource:
        resource = object_at(self._world, request.place)
        public = resource and resource.message.data_class == models.DATA_CLASS_PUBLIC
        if request.signed or not public:
            demand(self._world, request, Right.READ)
        if resource is None or not is_known(resource):
            raise s3_error(404, "NoSuchKey", "Resource not found")
        return resource

    def _send(self, exchange: Exchange, content: Content, headers: dict[str, str]) -> None:
        exchange.start(200, headers)
        # Aruna 2.0.4: while a multipart upload is re-encoded, a GET ends after its first part.
        parts = content.parts if content.whole else content.parts[:1]
        for part in parts:
            if part.key is None:
                raise Dropped
            for block in self._store.read(part.key):
                if self._world.switches.bytes_per_second:
                    pause = len(block) / self._world.switches.bytes_per_second
                    self._world.closing.wait(pause)
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
