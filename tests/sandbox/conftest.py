"""What the tests of the sandbox share: a receiver of hooks, gRPC stubs, S3 clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import grpc
import pytest
from aruna.api.hooks.services.v2.hooks_service_pb2_grpc import HooksServiceStub
from aruna.api.storage.services.v2.collection_service_pb2_grpc import CollectionServiceStub
from aruna.api.storage.services.v2.dataset_service_pb2_grpc import DatasetServiceStub
from aruna.api.storage.services.v2.info_service_pb2_grpc import StorageStatusServiceStub
from aruna.api.storage.services.v2.object_service_pb2_grpc import ObjectServiceStub
from aruna.api.storage.services.v2.project_service_pb2_grpc import ProjectServiceStub
from aruna.api.storage.services.v2.relations_service_pb2_grpc import RelationsServiceStub
from aruna.api.storage.services.v2.user_service_pb2_grpc import UserServiceStub
from botocore.config import Config

from sandbox import Sandbox

ABCD = {"ABCD": "true"}
XML = b'<?xml version="1.0"?><DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06"/>'


@dataclass
class Received:
    """A request that a hook's receiver got."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        """The body as JSON."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def object(self) -> dict[str, Any]:
        """The object in the payload."""
        found = self.payload["object"]["Object"]
        assert isinstance(found, dict)
        return found


@dataclass
class Receiver:
    """A receiver of hooks; ``status`` 0 closes the connection without an answer."""

    url: str
    requests: list[Received] = field(default_factory=list)
    status: int = 202
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.requests[-1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers at once unless ``let_go`` is cleared."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.requests.append(Received(self.command, self.path, self.headers.items(), body))
            received.let_go.wait()
            if received.status:
                self.send_response(received.status)
                self.send_header("content-length", "0")
                self.end_headers()
            self.close_connection = True

        do_PUT = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Receiver(f"http://127.0.0.1:{server.server_port}/webhook")
    received.let_go.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield received
    received.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Stubs:
    """gRPC stubs on one channel."""

    channel: grpc.Channel

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kinds = (
            HooksServiceStub,
            ObjectServiceStub,
            ProjectServiceStub,
            CollectionServiceStub,
            DatasetServiceStub,
            RelationsServiceStub,
            UserServiceStub,
            StorageStatusServiceStub,
        )
        for kind in kinds:
            stub = kind(self.channel)
            if hasattr(stub, name):
                method: Callable[..., Any] = getattr(stub, name)
                return method
        raise AttributeError(name)


@pytest.fixture
def aruna(sandbox: Sandbox) -> Iterator[Stubs]:
    """The sandbox's gRPC API."""
    with grpc.insecure_channel(sandbox.grpc_url.removeprefix("http://")) as channel:
        yield Stubs(channel)


def bearer(token: str) -> list[tuple[str, str]]:
    """The metadata of a call with that token."""
    return [("authorization", f"Bearer {token}")]


@dataclass(frozen=True)
class Refusal:
    """How a gRPC call was refused."""

    code: str
    message: str


def refusal(call: Callable[..., object], request: object, **options: Any) -> Refusal:
    """The refusal of a call that must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **options)
    error: Any = caught.value
    return Refusal(error.code().name, error.details())


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@pytest.fixture
def s3_client(sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    """Makes S3 clients with given keys and ``s3`` settings; closed at the end."""
    made = []
    session = _session()

    def client(access_key: str, secret_key: str, **settings: Any) -> Any:
        s3 = {"addressing_style": "path", **settings.pop("s3", {})}
        config = Config(s3=s3, retries={"total_max_attempts": 1}, **settings)  # type: ignore[arg-type]
        new = session.client(
            "s3",
            endpoint_url=sandbox.s3_url,
            region_name="RegionOne",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )
        made.append(new)
        return new

    yield client
    for each in made:
        each.close()


@dataclass(frozen=True)
class Delivered:
    """A project with one hooked source, and what its receiver was lent."""

    project: str
    source: str
    hook_id: str
    payload: dict[str, Any]

    @property
    def token(self) -> list[tuple[str, str]]:
        """The metadata of a call with the hook's token."""
        return bearer(self.payload["token"])

    @property
    def keys(self) -> tuple[str, str]:
        """The hook's S3 credentials."""
        return self.payload["access_key"], self.payload["secret_key"]


@pytest.fixture
def delivered(sandbox: Sandbox, receiver: Receiver) -> Delivered:
    """One upload with a label, delivered."""
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project])
    source = sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    return Delivered(project, source, hook_id, receiver.last.payload)
