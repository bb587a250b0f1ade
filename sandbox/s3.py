"""Aruna's data proxy as its clients see it: S3 with rules of its own."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.finalising import Finaliser
from sandbox.keys import Place, object_at, parent_for, place_of, project_at
from sandbox.objects import Objects
from sandbox.receiving import receive
from sandbox.refusal import Answered, Dropped
from sandbox.s3_errors import s3_error
from sandbox.signature import Signed, check
from sandbox.store import Store
from sandbox.webserver import Exchange
from sandbox.world import Content, Resource, Right, Upload, World

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_EXPOSED = {"access-control-expose-headers": "ETag"}
_EMPTY_MD5 = hashlib.md5(usedforsecurity=False).hexdigest()
_PART_NUMBER = re.compile(rb"<PartNumber>\s*(\d+)\s*</PartNumber>")
_NOT_HEARD_OF = (
    'status: Internal, message: "Internal database error : Name is invalid: Contains substring '
    'that matches same hierarchy object", details: [], metadata: MetadataMap { headers: {} }'
)

#: Sends the answer, once everything that the request does is done.
Reply = Callable[[Exchange], None]


@dataclass(frozen=True)
class _Request:
    exchange: Exchange
    place: Place
    signed: Signed | None
    query: dict[str, str]

    @property
    def by(self) -> str:
        """Whose request it is: a hook's receiver, another user, or nobody who has signed it."""
        if self.signed is None:
            return "nobody"
        return "hook" if self.signed.credentials.token.project_id else "user"


class DataProxy:
    """Answers S3 requests. Signatures are verified, rights are those of Aruna's tokens."""

    def __init__(self, world: World, objects: Objects, store: Store) -> None:
        self._world = world
        self._objects = objects
        self._store = store
        self._finaliser = Finaliser(world, objects, store)

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        place = place_of(exchange.path, exchange.headers, self._world)
        signed = check(exchange.command, exchange.path, exchange.headers, self._world.credentials)
        query = dict(parse_qsl(urlsplit(exchange.path).query, keep_blank_values=True))
        request = _Request(exchange, place, signed, query)
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

    def _chosen(self, request: _Request) -> tuple[str, Callable[[_Request], Reply]]:
        upload = "uploadId" in request.query
        chosen = {
            ("GET", False): ("get", self._get),
            ("HEAD", False): ("head", self._head),
            ("PUT", False): ("put", self._put),
            ("PUT", True): ("part", self._part),
            ("POST", True): ("complete", self._complete),
            ("DELETE", False): ("delete", self._delete),
            ("DELETE", True): ("abort", self._abort),
        }
        if request.exchange.command == "POST" and "uploads" in request.query:
            return "create_multipart", self._create_multipart
        if not request.place.key or (request.exchange.command, upload) not in chosen:
            raise s3_error(501, "NotImplemented", "The sandbox does not implement this")
        return chosen[request.exchange.command, upload]

    def _get(self, request: _Request) -> Reply:
        resource = self._readable(request)
        content = resource.content
        if content is None or resource.message.status == models.STATUS_INITIALIZING:
            raise _unknown_object() if content is None else _no_upload()
        headers = {**_described(resource), "etag": f'"-{resource.id}"', **_EXPOSED}
        if request.exchange.headers.get("x-amz-checksum-mode") == "ENABLED":
            headers.update(_checksums(content))
        return lambda exchange: self._send(exchange, content, headers)

    def _head(self, request: _Request) -> Reply:
        resource = self._readable(request)
        created = resource.message.created_at.ToDatetime().timestamp()
        headers = {
            **_described(resource),
            "etag": f'"{resource.id}"',
            "last-modified": formatdate(created, usegmt=True),
            **{kv.key: kv.value for kv in resource.message.key_values if _is_metadata(kv)},
            **_EXPOSED,
        }
        return lambda exchange: exchange.start(200, headers)

    def _put(self, request: _Request) -> Reply:
        signed = self._writer(request)
        resource = object_at(self._world, request.place)
        if resource is not None and not _known(resource):
            raise s3_error(403, "InvalidObjectState", _NOT_HEARD_OF)
        received = receive(request.exchange, signed, self._world, self._store)
        resource = resource or self._bare(request, signed)
        if not received.part.size:
            return self._empty_object(resource)
        checksums = {
            "md5": received.md5,
            "sha256": received.part.sha256,
            "crc32": received.crc32,
            "sha256_base64": received.sha256_base64,
        }
        content = Content([received.part], checksums=checksums)
        self._objects.finish(resource, content, _metadata(request.exchange))
        echoed = received.echoed(request.exchange)
        kind = {"x-amz-checksum-type": "FULL_OBJECT"} if echoed else {}
        headers = {**echoed, **kind, "etag": f'"-{resource.id}"', **_EXPOSED}
        return lambda exchange: exchange.answer(200, headers=headers)

    def _empty_object(self, resource: Resource) -> Reply:
        with self._world.changed:
            resource.content = Content()
        headers = {
            "etag": f'"{_EMPTY_MD5}"',
            "x-amz-object-size": "0",
            "x-amz-version-id": resource.id,
            **_EXPOSED,
        }
        return lambda exchange: exchange.answer(200, headers=headers)

    def _create_multipart(self, request: _Request) -> Reply:
        signed = self._writer(request)
        resource = object_at(self._world, request.place)
        if resource is not None and not _known(resource):
            raise s3_error(500, "InternalError", "Unable to create object")
        resource = resource or self._bare(request, signed)
        upload = Upload(secrets.token_hex(16))
        with self._world.changed:
            if resource.message.status == models.STATUS_AVAILABLE:
                self._objects.empty(resource)
            resource.upload = upload
        place = request.place
        xml = (
            f'<InitiateMultipartUploadResult xmlns="{_NAMESPACE}"><Bucket>{place.bucket}</Bucket>'
            f"<Key>{_escaped(place.key)}</Key><UploadId>{upload.id}</UploadId>"
            "</InitiateMultipartUploadResult>"
        )
        return lambda exchange: _send_xml(exchange, xml)

    def _part(self, request: _Request) -> Reply:
        signed = self._writer(request)
        upload = self._upload(request)
        received = receive(request.exchange, signed, self._world, self._store)
        with self._world.changed:
            upload.parts[int(request.query["partNumber"])] = received.part
        etag = f'"-"{secrets.token_hex(16)}""'
        headers = {**received.echoed(request.exchange), "etag": etag, **_EXPOSED}
        return lambda exchange: exchange.answer(200, headers=headers)

    def _complete(self, request: _Request) -> Reply:
        self._writer(request)
        upload = self._upload(request)
        body = b"".join(request.exchange.body())
        numbers = [int(number) for number in _PART_NUMBER.findall(body)]
        if not numbers or any(number not in upload.parts for number in numbers):
            raise s3_error(400, "InvalidPart", "Part not found")
        resource = object_at(self._world, request.place)
        if resource is None:
            raise _no_upload()
        content = Content([upload.parts[number] for number in sorted(numbers)], whole=False)
        self._objects.finish(resource, content, [])
        return lambda exchange: self._finaliser.send(exchange, resource, content)

    def _delete(self, request: _Request) -> Reply:
        self._demand(request, Right.ADMIN)
        resource = object_at(self._world, request.place)
        if resource is not None:
            self._objects.remove(resource)
        return lambda exchange: exchange.start(204, {})

    def _abort(self, request: _Request) -> Reply:
        self._demand(request, Right.ADMIN)
        resource = object_at(self._world, request.place)
        with self._world.changed:
            if resource is not None:
                resource.upload = None
        return lambda exchange: exchange.start(204, {})

    def _upload(self, request: _Request) -> Upload:
        # Aruna 2.0.4: the upload id is not looked at, the last upload begun on the key counts.
        resource = object_at(self._world, request.place)
        if resource is None or resource.upload is None:
            raise _no_upload()
        return resource.upload

    def _readable(self, request: _Request) -> Resource:
        resource = object_at(self._world, request.place)
        public = resource and resource.message.data_class == models.DATA_CLASS_PUBLIC
        if request.signed or not public:
            self._demand(request, Right.READ)
        if resource is None or not _known(resource):
            raise s3_error(404, "NoSuchKey", "Resource not found")
        return resource

    def _writer(self, request: _Request) -> Signed:
        self._demand(request, Right.APPEND)
        if request.signed is None:
            raise Dropped
        return request.signed

    def _demand(self, request: _Request, right: Right) -> None:
        project = project_at(self._world, request.place)
        if request.signed is None:
            if right > Right.READ:
                raise Dropped
            raise s3_error(403, "AccessDenied", "Missing access key")
        if not self._world.may(request.signed.credentials.token, project.id, right):
            raise s3_error(403, "AccessDenied", "Access Denied")

    def _bare(self, request: _Request, signed: Signed) -> Resource:
        token = signed.credentials.token
        with self._world.changed:
            parent, name = parent_for(self._world, token, request.place)
            return self._objects.create_bare(token, parent, name)

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


def _metadata(exchange: Exchange) -> Iterable[models.KeyValue]:
    return [
        models.KeyValue(
            key=name.lower(), value=value, variant=models.KEY_VALUE_VARIANT_STATIC_LABEL
        )
        for name, value in exchange.headers.items()
        if name.lower().startswith("x-amz-meta-")
    ]


def _is_metadata(kv: models.KeyValue) -> bool:
    return bool(kv.key.startswith("x-amz-meta-"))


def _known(resource: Resource) -> bool:
    return time.monotonic() >= resource.known_at


def _send_xml(exchange: Exchange, xml: str) -> None:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{xml}'.encode()
    exchange.answer(200, body, {"content-type": "application/xml"})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unknown_object() -> Answered:
    return s3_error(404, "NoSuchKey", "Object not found")


def _no_upload() -> Answered:
    return s3_error(400, "InvalidPart", "Upload id must be specified")
