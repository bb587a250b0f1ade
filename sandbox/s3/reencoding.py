"""The end of a multipart upload: answered at once, finished when it has been re-encoded."""

from __future__ import annotations

import hashlib
import threading
import time

from sandbox.aruna.model import Content, Resource
from sandbox.aruna.objects import Objects
from sandbox.aruna.state import State
from sandbox.http_server import Exchange
from sandbox.s3.errors import NAMESPACE, xml
from sandbox.s3.store import Store

#: Seconds.
_SPACE_EVERY = 0.1


class Reencoder:
    """Finishes multipart uploads in the background, whoever still waits for the answer."""

    def __init__(self, state: State, objects: Objects, store: Store) -> None:
        self._state = state
        self._objects = objects
        self._store = store
        self._threads: list[threading.Thread] = []

    def begin(self, resource: Resource, content: Content) -> None:
        """Start re-encoding: until it ends, the content is not whole and has no hashes."""
        thread = threading.Thread(
            target=self._finalise, args=(resource, content), name="sandbox-finaliser"
        )
        thread.start()
        self._threads.append(thread)

    def send(self, exchange: Exchange, resource: Resource, content: Content) -> None:
        """Answer CompleteMultipartUpload: 200, spaces while it takes, then the XML."""
        exchange.start(200, {"content-type": "application/xml", "transfer-encoding": "chunked"})
        exchange.chunk(xml(""))
        while not self._is_whole(content):
            exchange.chunk(b" ")
        exchange.chunk(
            f'<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><ETag>&quot;-{resource.id}&quot;'
            "</ETag></CompleteMultipartUploadResult>".encode()
        )
        exchange.chunk(b"")

    def close(self) -> None:
        """Wait for what has begun."""
        for thread in self._threads:
            thread.join()

    def _is_whole(self, content: Content) -> bool:
        with self._state.changed:
            return self._state.changed.wait_for(lambda: content.whole, _SPACE_EVERY)

    def _finalise(self, resource: Resource, content: Content) -> None:
        self._wait()
        checksums = self._checksums(content)
        with self._state.changed:
            content.checksums, content.whole = checksums, True
            if resource.content is content:
                self._objects.set_hashes(resource)
            self._state.changed.notify_all()

    def _wait(self) -> None:
        begun = time.monotonic()
        with self._state.changed:
            while not self._state.closing.is_set():
                seconds = self._state.switches.finalise_seconds
                left = None if seconds is None else begun + seconds - time.monotonic()
                if left is not None and left <= 0:
                    return
                self._state.changed.wait(left)

    def _checksums(self, content: Content) -> dict[str, str]:
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for part in content.parts:
            if part.key is None:
                return {}
            for block in self._store.read(part.key):
                md5.update(block)
                sha256.update(block)
        return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
