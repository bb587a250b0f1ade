"""What is written to the data proxy: whole objects, and uploads in parts."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from xml.sax.saxutils import escape

from aruna.api.storage.models.v2 import models_pb2 as models
from defusedxml import ElementTree

from sandbox.aruna.delivery import Delivery
from sandbox.aruna.model import Content, Resource, Upload
from sandbox.aruna.objects import Objects
from sandbox.aruna.state import State
from sandbox.errors import Answered, Dropped
from sandbox.http_server import Exchange
from sandbox.s3.body import receive
from sandbox.s3.errors import EXPOSED, NAMESPACE, s3_error, xml
from sandbox.s3.keys import object_at, parent_for
from sandbox.s3.reencoding import Reencoder
from sandbox.s3.request import Reply, S3Request, is_known, writer
from sandbox.s3.signature import Signed
from sandbox.s3.store import Store

_UNFINISHED = "Unable to finish upload"
_EMPTY_MD5 = hashlib.md5(usedforsecurity=False).hexdigest()
_NOT_HEARD_OF = (
    'status: Internal, message: "Internal database error : Name is invalid: Contains substring '
    'that matches same hierarchy object", details: [], metadata: MetadataMap { headers: {} }'
)


class Writes:
    """PutObject and the multipart operations."""

    def __init__(self, state: State, objects: Objects, delivery: Delivery, store: Store) -> None:
        self._state = state
        self._objects = objects
        self._store = store
        self._reencoder = Reencoder(state, objects, delivery, store)

    def put(self, request: S3Request) -> Reply:
        """PutObject: on an AVAILABLE key too, where it replaces the content.

        Aruna 2.0.4: cut off near its end it leaves an AVAILABLE object, with length and hashes, of
        whose content the data proxy knows nothing.
        """
        signed = writer(self._state, request)
        resource = object_at(self._state, request.place)
        if resource is not None and not is_known(resource):
            raise s3_error(403, "InvalidObjectState", _NOT_HEARD_OF)
        received = receive(request.exchange, signed, self._state, self._store)
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
        cut_off = self._is_cut_off(request)
        self._objects.finish(resource, content, _metadata(request.exchange), cut_off=cut_off)
        if cut_off:
            raise Dropped
        echoed = received.echoed(request.exchange)
        kind = {"x-amz-checksum-type": "FULL_OBJECT"} if echoed else {}
        headers = {**echoed, **kind, "etag": f'"-{resource.id}"', **EXPOSED}
        return lambda exchange: exchange.answer(200, headers=headers)

    def _is_cut_off(self, request: S3Request) -> bool:
        try:
            with self._state.failpoints.call("s3.put_end", **request.details):
                return request.exchange.client_is_gone()
        except Dropped:
            return True

    def _empty_object(self, resource: Resource) -> Reply:
        with self._state.changed:
            resource.content = Content()
        headers = {
            "etag": f'"{_EMPTY_MD5}"',
            "x-amz-object-size": "0",
            "x-amz-version-id": resource.id,
            **EXPOSED,
        }
        return lambda exchange: exchange.answer(200, headers=headers)

    def create_multipart(self, request: S3Request) -> Reply:
        """CreateMultipartUpload: it empties an AVAILABLE object at once.

        Aruna 2.0.4: GetObject goes on showing the length and the hashes of what was there.
        """
        signed = writer(self._state, request)
        resource = object_at(self._state, request.place)
        if resource is not None and not is_known(resource):
            raise s3_error(500, "InternalError", "Unable to create object")
        resource = resource or self._bare(request, signed)
        upload = Upload(secrets.token_hex(16))
        with self._state.changed:
            resource.content = Content(upload=upload)
        place = request.place
        answered = xml(
            f'<InitiateMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>{place.bucket}</Bucket>'
            f"<Key>{escape(place.key)}</Key><UploadId>{upload.id}</UploadId>"
            "</InitiateMultipartUploadResult>"
        )
        headers = {"content-type": "application/xml"}
        return lambda exchange: exchange.answer(200, answered, headers)

    def part(self, request: S3Request) -> Reply:
        """UploadPart."""
        signed = writer(self._state, request)
        upload = self._upload(request, "Internal data transformer processing error")
        received = receive(request.exchange, signed, self._state, self._store)
        etag = f'"-"{secrets.token_hex(16)}""'
        with self._state.changed:
            number = int(request.query["partNumber"])
            upload.parts[number], upload.etags[number] = received.part, etag
        headers = {**received.echoed(request.exchange), "etag": etag, **EXPOSED}
        return lambda exchange: exchange.answer(200, headers=headers)

    def complete(self, request: S3Request) -> Reply:
        """CompleteMultipartUpload: answered and AVAILABLE at once, whole when re-encoded."""
        writer(self._state, request)
        upload = self._upload(request, _UNFINISHED)
        named = _named_parts(b"".join(request.exchange.body()))
        resource = object_at(self._state, request.place)
        if resource is None:
            raise no_upload()
        if not named:
            raise s3_error(400, "InvalidPart", "Parts must be specified")
        if any(upload.etags.get(number) != etag for number, etag in named.items()):
            raise s3_error(500, "InternalError", _UNFINISHED)
        upload.completed = True
        content = Content([upload.parts[number] for number in sorted(named)], upload=upload)
        self._objects.finish(resource, content, [])
        return self._reencoder.answer(request, resource, content)

    def _upload(self, request: S3Request, completed: str) -> Upload:
        # Aruna 2.0.4: the upload id is not looked at, the last upload begun on the key counts.
        resource = object_at(self._state, request.place)
        upload = resource and resource.content and resource.content.upload
        if not upload:
            raise no_upload()
        if upload.completed:
            raise s3_error(500, "InternalError", completed)
        return upload

    def _bare(self, request: S3Request, signed: Signed) -> Resource:
        token = signed.credentials.token
        with self._state.changed:
            parent, name = parent_for(self._state, token, request.place)
            return self._objects.create_bare(token, parent, name)


def _metadata(exchange: Exchange) -> Iterable[models.KeyValue]:
    return [
        models.KeyValue(
            key=name.lower(), value=value, variant=models.KEY_VALUE_VARIANT_STATIC_LABEL
        )
        for name, value in exchange.headers.items()
        if name.lower().startswith("x-amz-meta-")
    ]


def _named_parts(body: bytes) -> dict[int, str]:
    return {
        int(part.findtext("{*}PartNumber", "0")): part.findtext("{*}ETag", "")
        for part in ElementTree.fromstring(body).findall("{*}Part")
    }


def no_upload() -> Answered:
    """The data proxy's words for an object without a multipart upload."""
    return s3_error(400, "InvalidPart", "Upload id must be specified")
