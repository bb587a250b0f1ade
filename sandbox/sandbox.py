"""The sandbox: Aruna, its S3 and GFBio on loopback ports, and what tests do with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import dataset_service_pb2 as datasets_pb2
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2

from sandbox.aruna import messages
from sandbox.aruna.delivery import Delivered
from sandbox.aruna.hierarchy import create_collection, create_dataset, create_project
from sandbox.aruna.hooks import Callback
from sandbox.aruna.model import OBJECT, Credentials, Right, Token
from sandbox.aruna.state import Overlap
from sandbox.aruna.ulid import new_ulid
from sandbox.failpoints import Action, Call
from sandbox.s3.uploads import Uploader
from sandbox.servers import Ports, Servers
from sandbox.switches import ArunaSwitches, GfbioSwitches

#: Seconds.
_YEAR = 365 * 24 * 3600
_LOOK_OUTSIDE_EVERY = 0.1


@dataclass(frozen=True)
class User:
    """Somebody with an account at Aruna, an API token and S3 credentials."""

    id: str
    token: Token
    token_text: str
    credentials: Credentials


class Sandbox:
    """Everything starts when it is made and ends with ``close`` (or the ``with`` block).

    The switches are ``aruna`` and ``gfbio``; they can be changed at any time. ``owner`` owns what
    the convenience methods make; ``owner_token`` is their API token.
    """

    def __init__(
        self,
        *,
        aruna: ArunaSwitches | None = None,
        gfbio: GfbioSwitches | None = None,
        ports: Ports | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.aruna = aruna or ArunaSwitches()
        self.gfbio = gfbio or GfbioSwitches()
        self._servers = Servers(self.aruna, self.gfbio, ports or Ports(), host)
        self._state = self._servers.state
        self._objects = self._servers.objects
        self._hooks = self._servers.hooks
        self.grpc_url = self._servers.grpc_url
        self.gateway_url = self._servers.gateway_url
        self.s3_url = self._servers.s3_url
        self.gfbio_url = self._servers.gfbio_url
        self.owner = self.create_user()
        self.owner_token = self.owner.token_text
        self._uploader = Uploader(self._state, self.owner.credentials)

    def close(self) -> None:
        """End all threads and sockets."""
        self._servers.stop()
        self._uploader.close()
        self._servers.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def environment(self, service_url: str | None = None) -> dict[str, str]:
        """The variables for a service that works with this sandbox and is found at that URL."""
        variables = {
            "ARUNA_SERVER_ADDRESS": self.grpc_url,
            "GFBIO_BASE_URL": self.gfbio_url,
            "ALLOW_INSECURE": "true",
            "WEBHOOK_TOKEN": "sandbox-webhook-token",
            "ARUNA_TOKEN": self.owner_token,
        }
        return variables if service_url is None else {**variables, "PUBLIC_URL": service_url}

    def create_user(self) -> User:
        """A new account."""
        user_id = new_ulid()
        token, text = self._state.issue_token(
            user_id, project_id=None, right=Right.ADMIN, expires=int(time.time()) + _YEAR
        )
        return User(user_id, token, text, self._state.issue_credentials(token))

    def create_token(
        self,
        *,
        project: str | None = None,
        right: Right = Right.ADMIN,
        expires_in: float = _YEAR,
        user: User | None = None,
    ) -> str:
        """An API token: personal, or for one project; ``expires_in`` seconds."""
        owner = user or self.owner
        _, text = self._state.issue_token(
            owner.id, project_id=project, right=right, expires=int(time.time() + expires_in)
        )
        return text

    def create_project(self, name: str, *, user: User | None = None) -> str:
        """A new project: its id. Its name is its bucket's."""
        token = (user or self.owner).token
        return str(create_project(self._state, token, messages.project_request(name)).project.id)

    def create_collection(self, name: str, project: str) -> str:
        """A new collection in a project: its id."""
        request = collections_pb2.CreateCollectionRequest(
            name=name, data_class=models.DATA_CLASS_PUBLIC, project_id=project
        )
        return str(create_collection(self._state, self.owner.token, request).collection.id)

    def create_dataset(self, name: str, parent: str) -> str:
        """A new dataset in a project or a collection: its id."""
        request = datasets_pb2.CreateDatasetRequest(
            name=name,
            data_class=models.DATA_CLASS_PUBLIC,
            **messages.parent_member(self._state.resources[parent]),
        )
        return str(create_dataset(self._state, self.owner.token, request).dataset.id)

    def register_hook(
        self,
        *,
        url: str,
        projects: Iterable[str],
        token: str | None = "sandbox-webhook-token",  # noqa: S107 - of the sandbox alone
        trigger: str = "OBJECT_FINISHED",
        key: str = "^ABCD$",
        value: str = ".*",
        name: str = "abcd2bioschema",
        method: str = "POST",
        timeout: float | None = None,
        template: str | None = None,
        user: User | None = None,
    ) -> str:
        """Register a hook: its id. ``timeout`` in seconds since the epoch (default: in a year)."""
        external = messages.external_hook(url, method, token, template)
        expires = time.time() + _YEAR if timeout is None else timeout
        request = hooks_pb2.CreateHookRequest(
            name=name,
            description="registered in the sandbox",
            project_ids=list(projects),
            timeout=int(expires * 1000),
            trigger=messages.label_trigger(trigger, key, value),
            hook=hooks_pb2.Hook(external_hook=external),
        )
        return str(self._hooks.create((user or self.owner).token, request).hook_id)

    def create_object(
        self,
        name: str,
        *,
        parent: str,
        labels: Mapping[str, str] = {},
        second_parent: str | None = None,
        **metadata: Any,
    ) -> str:
        """CreateObject as a user does it: the id of an object without content.

        ``metadata`` are further members of the request.
        """
        request = messages.object_request(name, self._state.resources[parent], labels, metadata)
        created = self._objects.create_alone(self.owner.token, request).object
        if second_parent is not None:
            self._state.attach(self._state.resources[created.id], second_parent)
        return str(created.id)

    def upload(
        self,
        name: str,
        data: bytes,
        *,
        parent: str,
        labels: Mapping[str, str] = {},
        second_parent: str | None = None,
        multipart: bool = False,
        **metadata: Any,
    ) -> str:
        """CreateObject and a signed upload, as a user does it: the object's id.

        It returns once the object is AVAILABLE; a multipart upload may go on being re-encoded.
        """
        object_id = self.create_object(
            name, parent=parent, labels=labels, second_parent=second_parent, **metadata
        )
        self.fill(object_id, data, multipart=multipart)
        return object_id

    def fill(self, object_id: str, data: bytes, *, multipart: bool = False) -> None:
        """Upload the content of an object, the first or another, as a user does it."""
        resource = self._state.resources[object_id]
        self._state.closing.wait(max(0.0, resource.proxy_knows_at - time.monotonic()))
        if not multipart:
            self._uploader.put(object_id, data)
            return
        self._uploader.put_in_parts(object_id, data)
        available = models.STATUS_AVAILABLE
        self.wait_for(
            lambda: (
                resource.message.status == available and resource.message.content_len == len(data)
            )
        )

    def overwrite(self, object_id: str, data: bytes) -> None:
        """PUT other content on an object's key: it keeps its id."""
        self.fill(object_id, data)

    def add_label(self, object_id: str, key: str, value: str) -> None:
        """UpdateObject with one more label: it replaces all the object had (Aruna 2.0.4)."""
        added = [messages.label(key, value)]
        request = objects_pb2.UpdateObjectRequest(object_id=object_id, add_key_values=added)
        self._objects.update(self.owner.token, request)

    def delete(self, object_id: str) -> None:
        """DeleteObject, by the owner."""
        request = objects_pb2.DeleteObjectRequest(object_id=object_id)
        self._objects.delete(self.owner.token, request)

    def populate(self, parent: str, count: int, *, prefix: str = "object") -> list[str]:
        """Make many AVAILABLE objects without content at once: their ids. No hook fires."""
        return [self._objects.add_finished(parent, f"{prefix}-{n}.xml") for n in range(count)]

    def object(self, object_id: str) -> models.Object:
        """An object as it truly is."""
        return self._state.snapshot_of(self._state.resources[object_id])

    def objects_in(self, parent: str) -> list[models.Object]:
        """All objects below a project, collection or dataset that are not deleted."""
        with self._state.changed:
            found = []
            for child_id in self._state.resources[parent].children.values():
                child = self._state.resources[child_id]
                inner = self.objects_in(child_id) if child.variant != OBJECT else []
                found += inner or (
                    [self._state.snapshot_of(child)] if child.variant == OBJECT else []
                )
            return found

    def content(self, object_id: str) -> bytes:
        """An object's stored bytes."""
        content = self._state.resources[object_id].content
        keys = [part.key for part in content.parts if part.key] if content else []
        return b"".join(block for key in keys for block in self._servers.store.read(key))

    def part_digests(self, object_id: str) -> list[tuple[int, str]]:
        """Size in bytes and SHA-256 in hex of each uploaded part, also with ``sink``."""
        content = self._state.resources[object_id].content
        return [(part.size, part.sha256) for part in content.parts] if content else []

    def hook_status(self, object_id: str, hook_id: str) -> list[models.KeyValue]:
        """The HOOK_STATUS key-values that a hook has left on an object."""
        return [kv for kv in self.object(object_id).key_values if kv.key == hook_id]

    def labels(self, object_id: str) -> list[tuple[str, str]]:
        """The labels of an object, key and value, in their order."""
        label = models.KEY_VALUE_VARIANT_LABEL
        return [
            (kv.key, kv.value) for kv in self.object(object_id).key_values if kv.variant == label
        ]

    def restart_server(self) -> None:
        """Start Aruna's server anew: what it holds in its caches alone is lost, and what they lack
        is there again."""
        self._state.reload_all()

    def forget_rights(self, seconds: float) -> None:
        """For so many seconds the tokens of hooks have no rights, as with a busy Aruna 2.0.4."""
        self._state.rights_forgotten_until = time.monotonic() + seconds

    def release(self) -> None:
        """Let every multipart upload be finished now."""
        self.aruna.finalise_seconds = 0.0
        with self._state.changed:
            self._state.changed.notify_all()

    def at(
        self, operation: str, action: Action, *, after: bool = False, times: int | None = 1
    ) -> None:
        """Run ``action`` when calls of ``operation`` arrive, or after their effect.

        It may wait, or raise ``Refused`` (gRPC), ``Answered`` (HTTP) or ``Dropped``. ``times``:
        for so many calls, ``None`` for all. Operations: ``grpc.<Rpc>``, ``gateway.<Rpc>``,
        ``s3.get|head|put|create_multipart|part|complete|delete|abort``,
        ``gfbio.transform|job|result|delete|transformations`` and ``hook`` (a delivery).

        Within some of them there are more: ``s3.put_end``, when all bytes of a PutObject are there,
        and ``s3.reencode``, when the object of a CompleteMultipartUpload is AVAILABLE (``Dropped``
        leaves either object AVAILABLE and broken); ``create_object``, when Aruna has read the
        parent of the object to create.
        """
        self._state.failpoints.at(operation, action, after=after, times=times)

    def requests(self, operation: str | None = None) -> list[Call]:
        """The calls that arrived, of one operation or of all, in their order."""
        return self._state.failpoints.calls(operation)

    @property
    def overlapping_creations(self) -> list[Overlap]:
        """The CreateObject calls that arrived while others were under way in their parent."""
        return self._state.overlaps

    @property
    def callbacks(self) -> list[Callback]:
        """The HookCallback calls that arrived, in their order."""
        return self._hooks.callbacks

    @property
    def deliveries(self) -> list[Delivered]:
        """The hooks that were due and are done with, in their order."""
        return self._servers.delivery.delivered

    @property
    def delivering(self) -> bool:
        """Whether a hook is waiting or under way."""
        return not self._servers.delivery.idle

    @property
    def gfbio_jobs(self) -> list[str]:
        """The ids of GFBio's jobs that have not been deleted."""
        return list(self._servers.gfbio.jobs)

    @property
    def gfbio_pages(self) -> dict[str, dict[str, str]]:
        """What anybody can read of GFBio's jobs until they are deleted, by their ids."""
        return {job_id: job.described for job_id, job in self._servers.gfbio.jobs.items()}

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 20.0) -> None:
        """Wait until ``predicate`` is true; raises ``TimeoutError`` after so many seconds.

        It is asked at each change of the sandbox, and ten times a second for what lies outside.
        """
        until = time.monotonic() + timeout
        with self._state.changed:
            while not predicate():
                if time.monotonic() >= until:
                    raise TimeoutError(f"not so within {timeout:g} seconds")
                self._state.changed.wait(_LOOK_OUTSIDE_EVERY)
