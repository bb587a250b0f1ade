"""The sandbox: Aruna, its S3 and GFBio on loopback ports, and what tests do with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import boto3
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import dataset_service_pb2 as datasets_pb2
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2
from botocore.config import Config

from sandbox.containers import create_collection, create_dataset, create_project
from sandbox.delivery import Delivered, Delivery
from sandbox.gateway import Gateway
from sandbox.gfbio import Gfbio
from sandbox.grpc_api import GrpcServer
from sandbox.objects import Objects
from sandbox.operations import operations
from sandbox.points import Action, Call
from sandbox.presigned import REGION, key_of
from sandbox.registrations import Callback, Registrations
from sandbox.s3 import DataProxy
from sandbox.store import Store
from sandbox.switches import ArunaSwitches, GfbioSwitches
from sandbox.ulid import new_ulid
from sandbox.webserver import WebServer
from sandbox.world import COLLECTION, DATASET, OBJECT, Credentials, Right, Token, World

_YEAR = 365 * 24 * 3600
_PART = 5 * 1024 * 1024
_PARENTS = {COLLECTION: "collection_id", DATASET: "dataset_id"}


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    grpc: int = 0
    gateway: int = 0
    s3: int = 0
    gfbio: int = 0


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
        ports: Ports = Ports(),
        host: str = "127.0.0.1",
    ) -> None:
        self.aruna = aruna or ArunaSwitches()
        self.gfbio = gfbio or GfbioSwitches()
        self._host = host
        self._world = World(self.aruna)
        self._store = Store()
        self._delivery = Delivery(self._world)
        self._objects = Objects(self._world, self._delivery)
        self._registrations = Registrations(self._world, self._delivery)
        self._gfbio = Gfbio(self.gfbio, self._world.points, self._world.closing)
        self._uploads: list[threading.Thread] = []
        self._start(ports)
        self.owner = self.create_user()
        self.owner_token = self.owner.token_text
        self._client: Any = None

    def _start(self, ports: Ports) -> None:
        api = operations(self._world, self._objects, self._registrations)
        points = self._world.points
        proxy = DataProxy(self._world, self._objects, self._store)
        self._grpc = GrpcServer(api, points, host=self._host, port=ports.grpc)
        self._gateway = WebServer(Gateway(api, points).respond, host=self._host, port=ports.gateway)
        self._s3 = WebServer(proxy.respond, host=self._host, port=ports.s3)
        self._gfbio_server = WebServer(self._gfbio.respond, host=self._host, port=ports.gfbio)
        self.grpc_url = f"http://{self._host}:{self._grpc.port}"
        self.gateway_url = f"http://{self._host}:{self._gateway.port}"
        self.s3_url = f"http://{self._host}:{self._s3.port}"
        self.gfbio_url = f"http://{self._host}:{self._gfbio_server.port}/api"
        self._world.s3_url = self.s3_url

    def close(self) -> None:
        """End all threads and sockets."""
        self._delivery.close()
        with self._world.changed:
            self._world.changed.notify_all()
        for server in (self._s3, self._gateway, self._gfbio_server, self._grpc):
            server.close()
        for upload in self._uploads:
            upload.join()
        if self._client is not None:
            self._client.close()
        self._store.close()

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
        token, text = self._world.issue_token(
            user_id, project_id=None, right=Right.ADMIN, expires=int(time.time()) + _YEAR
        )
        return User(user_id, token, text, self._world.issue_credentials(token))

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
        expires = int(time.time() + expires_in)
        return self._world.issue_token(owner.id, project_id=project, right=right, expires=expires)[
            1
        ]

    def create_project(self, name: str, *, user: User | None = None) -> str:
        """A new project: its id. Its name is its bucket's."""
        request = projects_pb2.CreateProjectRequest(
            name=name,
            data_class=models.DATA_CLASS_PUBLIC,
            metadata_license_tag="CC-BY-4.0",
            default_data_license_tag="CC-BY-4.0",
        )
        token = (user or self.owner).token
        return str(create_project(self._world, token, request).project.id)

    def create_collection(self, name: str, project: str) -> str:
        """A new collection in a project: its id."""
        request = collections_pb2.CreateCollectionRequest(
            name=name, data_class=models.DATA_CLASS_PUBLIC, project_id=project
        )
        return str(create_collection(self._world, self.owner.token, request).collection.id)

    def create_dataset(self, name: str, parent: str) -> str:
        """A new dataset in a project or a collection: its id."""
        request = datasets_pb2.CreateDatasetRequest(
            name=name, data_class=models.DATA_CLASS_PUBLIC, **self._parent(parent)
        )
        return str(create_dataset(self._world, self.owner.token, request).dataset.id)

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
        external = hooks_pb2.ExternalHook(
            url=url, method=hooks_pb2.Method.Value(f"METHOD_{method}"), custom_template=template
        )
        if token is not None:
            external.credentials.token = token
        label = models.KeyValue(key=key, value=value, variant=models.KEY_VALUE_VARIANT_LABEL)
        request = hooks_pb2.CreateHookRequest(
            name=name,
            description="registered in the sandbox",
            project_ids=list(projects),
            timeout=int((time.time() + _YEAR if timeout is None else timeout) * 1000),
            trigger=hooks_pb2.Trigger(
                trigger_type=hooks_pb2.TriggerType.Value(f"TRIGGER_TYPE_{trigger}"),
                filters=[hooks_pb2.Filter(key_value=label)],
            ),
            hook=hooks_pb2.Hook(external_hook=external),
        )
        token_of = (user or self.owner).token
        return str(self._registrations.create(self._world, token_of, request).hook_id)

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
        key_values = [
            models.KeyValue(key=key, value=value, variant=models.KEY_VALUE_VARIANT_LABEL)
            for key, value in labels.items()
        ]
        request = objects_pb2.CreateObjectRequest(
            **{
                "name": name,
                "title": f"Title of {name}",
                "description": f"Description of {name}",
                "key_values": key_values,
                "data_class": models.DATA_CLASS_PUBLIC,
                "authors": [_AUTHOR],
                **_LICENCES,
                **self._parent(parent),
                **metadata,
            }
        )
        created = self._objects.create(self._world, self.owner.token, request).object
        if second_parent is not None:
            self._world.attach(self._world.resources[created.id], second_parent)
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
        resource = self._world.resources[object_id]
        self._world.closing.wait(max(0.0, resource.known_at - time.monotonic()))
        path = self._world.paths(object_id)[0]
        place = {"Bucket": self._world.resources[path[0]].name, "Key": key_of(self._world, path)}
        if multipart:
            self._fill_in_parts(object_id, place, data)
        else:
            self._user_client().put_object(**place, Body=data)

    def overwrite(self, object_id: str, data: bytes) -> None:
        """PUT other content on an object's key: it keeps its id."""
        self.fill(object_id, data)

    def add_label(self, object_id: str, key: str, value: str) -> None:
        """UpdateObject with one more label: it replaces all the object had (Aruna 2.0.4)."""
        label = models.KeyValue(key=key, value=value, variant=models.KEY_VALUE_VARIANT_LABEL)
        request = objects_pb2.UpdateObjectRequest(object_id=object_id, add_key_values=[label])
        self._objects.update(self._world, self.owner.token, request)

    def delete(self, object_id: str) -> None:
        """DeleteObject, by the owner."""
        request = objects_pb2.DeleteObjectRequest(object_id=object_id)
        self._objects.delete(self._world, self.owner.token, request)

    def populate(self, parent: str, count: int, *, prefix: str = "object") -> list[str]:
        """Make many AVAILABLE objects without content at once: their ids. No hook fires."""
        return [self._objects.add_finished(parent, f"{prefix}-{n}.xml") for n in range(count)]

    def object(self, object_id: str) -> models.Object:
        """An object as it truly is."""
        return self._world.full(self._world.resources[object_id])

    def objects_in(self, parent: str) -> list[models.Object]:
        """All objects below a project, collection or dataset that are not deleted."""
        with self._world.changed:
            found = []
            for child_id in self._world.resources[parent].children.values():
                child = self._world.resources[child_id]
                inner = self.objects_in(child_id) if child.variant != OBJECT else []
                found += inner or ([self._world.full(child)] if child.variant == OBJECT else [])
            return found

    def content(self, object_id: str) -> bytes:
        """An object's stored bytes."""
        content = self._world.resources[object_id].content
        keys = [part.key for part in content.parts if part.key] if content else []
        return b"".join(block for key in keys for block in self._store.read(key))

    def part_digests(self, object_id: str) -> list[tuple[int, str]]:
        """Size in bytes and SHA-256 in hex of each uploaded part, also with ``sink``."""
        content = self._world.resources[object_id].content
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

    def release(self) -> None:
        """Let every multipart upload be finished now."""
        self.aruna.finalise_seconds = 0.0
        with self._world.changed:
            self._world.changed.notify_all()

    def at(
        self, operation: str, action: Action, *, after: bool = False, times: int | None = 1
    ) -> None:
        """Run ``action`` when calls of ``operation`` arrive, or after their effect.

        It may wait, or raise ``Refused`` (gRPC), ``Answered`` (HTTP) or ``Dropped``. ``times``:
        for so many calls, ``None`` for all. Operations: ``grpc.<Rpc>``, ``gateway.<Rpc>``,
        ``s3.get|head|put|create_multipart|part|complete|delete|abort``,
        ``gfbio.transform|job|result|delete|transformations`` and ``hook`` (a delivery).
        """
        self._world.points.at(operation, action, after=after, times=times)

    def requests(self, operation: str | None = None) -> list[Call]:
        """The calls that arrived, of one operation or of all, in their order."""
        return self._world.points.calls(operation)

    @property
    def callbacks(self) -> list[Callback]:
        """The HookCallback calls that arrived, in their order."""
        return self._registrations.callbacks

    @property
    def deliveries(self) -> list[Delivered]:
        """The hooks that were due and are done with, in their order."""
        return self._delivery.delivered

    @property
    def delivering(self) -> bool:
        """Whether a hook is waiting or under way."""
        return not self._delivery.idle

    @property
    def gfbio_jobs(self) -> list[str]:
        """The ids of GFBio's jobs that have not been deleted."""
        return list(self._gfbio.jobs)

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 20.0) -> None:
        """Wait until ``predicate`` is true, looking at each change; raises ``TimeoutError``."""
        with self._world.changed:
            if not self._world.changed.wait_for(lambda: bool(predicate()), timeout):
                raise TimeoutError(f"not so within {timeout:g} seconds")

    def _parent(self, parent: str) -> dict[str, str]:
        variant = self._world.resources[parent].variant
        return {_PARENTS.get(variant, "project_id"): parent}

    def _fill_in_parts(self, object_id: str, place: dict[str, str], data: bytes) -> None:
        client = self._user_client()
        upload_id = client.create_multipart_upload(**place)["UploadId"]
        size = min(_PART, max(1, len(data) // 2))
        parts = []
        for number, start in enumerate(range(0, len(data), size), start=1):
            sent = client.upload_part(
                **place, UploadId=upload_id, PartNumber=number, Body=data[start : start + size]
            )
            parts.append({"ETag": sent["ETag"], "PartNumber": number})
        done = threading.Thread(
            target=client.complete_multipart_upload,
            kwargs={**place, "UploadId": upload_id, "MultipartUpload": {"Parts": parts}},
        )
        done.start()
        self._uploads.append(done)
        available = models.STATUS_AVAILABLE
        self.wait_for(
            lambda: (
                self._world.resources[object_id].message.status == available
                and self._world.resources[object_id].message.content_len == len(data)
            )
        )

    def _user_client(self) -> Any:
        if self._client is None:
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=self.s3_url,
                region_name=REGION,
                aws_access_key_id=self.owner.credentials.access_key,
                aws_secret_access_key=self.owner.credentials.secret_key,
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            )
        return self._client


_LICENCES = {"metadata_license_tag": "CC-BY-4.0", "data_license_tag": "CC-BY-4.0"}
_AUTHOR = models.Author(
    first_name="Ada",
    last_name="Lovelace",
    email="ada@example.org",
    orcid="0000-0002-1825-0097",
)
