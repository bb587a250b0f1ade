"""The end of a multipart upload: its parts are re-encoded while its completion is answered."""

from __future__ import annotations

import hashlib
import time
from xml.sax.saxutils import escape

from sandbox.aruna.delivery import Delivery
from sandbox.aruna.model import Content, Resource
from sandbox.aruna.objects import Objects
from sandbox.aruna.state import State
from sandbox.errors import Dropped
from sandbox.http_server import Exchange
from sandbox.s3.errors import NAMESPACE, xml
from sandbox.s3.request import Reply, S3Request
from sandbox.s3.store import Store

#: Seconds.
_SPACE_EVERY = 0.1
_LOOK_EVERY = 0.02
_HOOK_PATIENCE = 1.0


class Reencoder:
    """Answers CompleteMultipartUpload: 200 at once, spaces while it takes, then the XML.

    Aruna 2.0.4: the re-encoding is the body of that answer. If the client goes away, it stops, and
    a GET breaks off after the first part until something is uploaded over the key.
    """

    def __init__(self, state: State, objects: Objects, delivery: Delivery, store: Store) -> None:
        self._state = state
        self._objects = objects
        self._delivery = delivery
        self._store = store

    def answer(self, request: S3Request, resource: Resource, content: Content) -> Reply:
        """Begin the answer and re-encode; what is returned sends the rest.

        Raises ``Dropped`` if the client goes away before the end.
        """
        exchange = request.exchange
        exchange.start(200, {"content-type": "application/xml", "transfer-encoding": "chunked"})
        exchange.chunk(xml(""))
        with self._state.failpoints.call("s3.reencode", **request.details):
            self._wait(exchange, resource)
            failure = self._state.switches.complete_error
            if failure is None:
                self._reencode(exchange, resource, content)
        return lambda _: _end(exchange, resource, failure)

    def _wait(self, exchange: Exchange, resource: Resource) -> None:
        begun = spaced = time.monotonic()
        while not self._is_due(resource, time.monotonic() - begun):
            if exchange.client_is_gone() or self._state.switches.proxy_down:
                raise Dropped
            if time.monotonic() - spaced >= _SPACE_EVERY:
                exchange.chunk(b" ")
                spaced = time.monotonic()
            with self._state.changed:
                self._state.changed.wait(_LOOK_EVERY)

    def _is_due(self, resource: Resource, passed: float) -> bool:
        """Hooks that fired at the completion set their status before the hashes are known, unless
        they are held up."""
        seconds = self._state.switches.finalise_seconds
        announced = self._delivery.is_announced(resource.id) or passed >= _HOOK_PATIENCE
        has_passed = seconds is not None and passed >= seconds and announced
        return has_passed or self._state.closing.is_set()

    def _reencode(self, exchange: Exchange, resource: Resource, content: Content) -> None:
        checksums = self._checksums(content)
        if exchange.client_is_gone():
            raise Dropped
        with self._state.changed:
            content.checksums, content.upload = checksums, None
            if resource.content is content:
                self._objects.cache_hashes(resource, content)

    def _checksums(self, content: Content) -> dict[str, str]:
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for part in content.parts:
            if part.key is None:
                return {}
            for block in self._store.read(part.key):
                md5.update(block)
                sha256.update(block)
        return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _end(exchange: Exchange, resource: Resource, failure: str | None) -> None:
    result = (
        f'<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><ETag>&quot;-{resource.id}&quot;'
        "</ETag></CompleteMultipartUploadResult>"
    )
    if failure is not None:
        result = f"<Error><Code>InternalError</Code><Message>{escape(failure)}</Message></Error>"
    exchange.chunk(result.encode())
    exchange.chunk(b"")
