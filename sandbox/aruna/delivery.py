"""The delivery of hooks: one after the other, no retry, no look at the answer's status."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.aruna import payload
from sandbox.aruna.model import Right
from sandbox.aruna.presigned import download_url
from sandbox.aruna.state import State
from sandbox.aruna.tokens import hook_secret
from sandbox.aruna.triggers import HOOK_STATUS_CHANGED, Firing, firings, hook_status
from sandbox.errors import Dropped

_ANSWER_LIMIT = 65536


@dataclass(frozen=True)
class Delivered:
    """A hook that was due: sent (``status`` is the receiver's answer), failed, or ``lost``."""

    hook_id: str
    object_id: str
    body: bytes = field(default=b"", repr=False)
    status: int | None = None
    answer: bytes = b""
    error: str | None = None
    lost: bool = False
    when: float = field(default_factory=time.time)


class Delivery:
    """Aruna's hook handler: a queue and one thread that waits for each receiver without limit."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._queue: queue.SimpleQueue[Firing | None] = queue.SimpleQueue()
        self._receiver: socket.socket | None = None
        self._number = 0
        self._pending = 0
        self._unannounced: Counter[str] = Counter()
        self.delivered: list[Delivered] = []
        self._thread = threading.Thread(target=self._run, name="sandbox-delivery")
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether no hook is waiting or under way."""
        with self._state.changed:
            return self._pending == 0

    def is_announced(self, object_id: str) -> bool:
        """Whether each hook that fired for the object has set its status to RUNNING."""
        with self._state.changed:
            return self._unannounced[object_id] == 0

    def enqueue(self, firing: Firing) -> None:
        """A hook fired: it is delivered after all that fired before."""
        with self._state.changed:
            self._pending += 1
            self._unannounced[firing.object.id] += 1
        self._queue.put(firing)

    def close(self) -> None:
        """Stop, also in the middle of waiting for a receiver; what is queued is not delivered."""
        self._state.closing.set()
        self._queue.put(None)
        with self._state.changed:
            receiver = self._receiver
        if receiver is not None:
            with contextlib.suppress(OSError):
                receiver.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        while (firing := self._queue.get()) is not None and not self._state.closing.is_set():
            delivered = self._deliver(firing)
            with self._state.changed:
                self.delivered.append(delivered)
                self._pending -= 1
                self._state.changed.notify_all()

    def _deliver(self, firing: Firing) -> Delivered:
        hook, source = firing.hook, firing.object
        self._number += 1
        self._set_status(firing, "RUNNING")
        with self._state.changed:
            self._unannounced[source.id] -= 1
            self._state.changed.notify_all()
        switches = self._state.switches
        if switches.proxy_down or switches.loses(self._number, source.id):
            return Delivered(hook.id, source.id, lost=True)
        external = hook.request.hook.external_hook
        access = self._grant(firing)
        if external.HasField("custom_template"):
            body = payload.custom(external.custom_template, hook.id, source, access)
        else:
            body = payload.basic(hook.id, source, access)
        try:
            with self._state.failpoints.call("hook", hook_id=hook.id, object_id=source.id):
                status, answer = self._send(external, body)
        except (OSError, http.client.HTTPException, ValueError, Dropped):
            error = f"error sending request for url ({external.url})"
            self._set_status(firing, {"ERROR": error})
            return Delivered(hook.id, source.id, body, error=error)
        return Delivered(hook.id, source.id, body, status, answer)

    def _set_status(self, firing: Firing, status: str | dict[str, str]) -> None:
        # Aruna 2.0.4 writes the key-values as they were at the trigger, not as they are now, and
        # finds no earlier status of the hook to replace (it looks for the hook's name as key).
        with self._state.changed:
            resource = self._state.resources[firing.object.id]
            value = hook_status(firing.hook, status)
            self._state.keep_stale(resource)
            self._state.reload(resource)
            del resource.message.key_values[:]
            resource.message.key_values.extend([*firing.object.key_values, value])
            snapshot = self._state.snapshot_of(resource)
            for follower in firings(self._state, snapshot, {HOOK_STATUS_CHANGED}, [value]):
                self.enqueue(follower)
            self._state.changed.notify_all()

    def _grant(self, firing: Firing) -> payload.Access:
        state, hook, source = self._state, firing.hook, firing.object
        owner = state.resources[firing.project_id].message.created_by
        token, text = state.issue_token(
            owner,
            project_id=firing.project_id,
            right=Right.APPEND,
            expires=hook.request.timeout // 1000,
        )
        credentials = state.issue_credentials(token)
        with state.changed:
            paths = [path for path in state.paths(source.id) if path[0] == firing.project_id]
        available = source.status == models.STATUS_AVAILABLE and paths
        return payload.Access(
            secret=hook_secret(state.key.public_text, source.id, hook.id),
            download=download_url(state, paths[0], credentials) if available else None,
            token=text,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
        )

    def _send(self, external: hooks_pb2.ExternalHook, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(external.url)
        secure = url.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(url.hostname or "", url.port)
        with contextlib.closing(connection):
            connection.connect()
            with self._state.changed:
                self._receiver = connection.sock
                if self._state.closing.is_set():
                    raise Dropped
            self._request(connection, external, body)
            answer = connection.getresponse()
            return answer.status, answer.read(_ANSWER_LIMIT)

    def _request(
        self, connection: http.client.HTTPConnection, external: hooks_pb2.ExternalHook, body: bytes
    ) -> None:
        url = urlsplit(external.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        method = "PUT" if external.method == hooks_pb2.METHOD_PUT else "POST"
        custom = external.HasField("custom_template")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if external.HasField("credentials"):
            connection.putheader("authorization", f"Bearer {external.credentials.token}")
        connection.putheader("content-type", "text/plain" if custom else "application/json")
        connection.putheader("accept", "*/*")
        connection.putheader("host", url.netloc)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
