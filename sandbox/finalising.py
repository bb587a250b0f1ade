"""The end of a multipart upload: answered at once, finished when it has been re-encoded."""

from __future__ import annotations

import contextlib
import hashlib
import time

from sandbox.objects import Objects
from sandbox.store import Store
from sandbox.webserver import Exchange
from sandbox.world import Content, Resource, World

_SPACE_EVERY = 0.1
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Finaliser:
    """Answers CompleteMultipartUpload: 200, spaces while it takes, then the XML."""

    def __init__(self, world: World, objects: Objects, store: Store) -> None:
        self._world = world
        self._objects = objects
        self._store = store

    def send(self, exchange: Exchange, resource: Resource, content: Content) -> None:
        """Answer, and finish the object even if nobody waits for the answer any more."""
        with contextlib.suppress(OSError):
            exchange.start(200, {"content-type": "application/xml", "transfer-encoding": "chunked"})
            _chunk(exchange, b'<?xml version="1.0" encoding="UTF-8"?>')
        self._wait(exchange)
        content.checksums = self._checksums(content)
        content.whole = True
        if resource.content is content:
            self._objects.set_hashes(resource)
        with contextlib.suppress(OSError):
            xml = (
                f'<CompleteMultipartUploadResult xmlns="{_NAMESPACE}">'
                f"<ETag>&quot;-{resource.id}&quot;</ETag></CompleteMultipartUploadResult>"
            )
            _chunk(exchange, xml.encode())
            exchange.wfile.write(b"0\r\n\r\n")

    def _wait(self, exchange: Exchange) -> None:
        begun = time.monotonic()
        while not self._world.closing.is_set():
            seconds = self._world.switches.finalise_seconds
            if seconds is not None and time.monotonic() >= begun + seconds:
                return
            with self._world.changed:
                self._world.changed.wait(_SPACE_EVERY)
            with contextlib.suppress(OSError):
                _chunk(exchange, b" ")

    def _checksums(self, content: Content) -> dict[str, str]:
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for part in content.parts:
            if part.key is None:
                return {}
            for block in self._store.read(part.key):
                md5.update(block)
                sha256.update(block)
        return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _chunk(exchange: Exchange, content: bytes) -> None:
    exchange.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
