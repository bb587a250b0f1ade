"""The parts of the sandbox, put together and listening."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.aruna.delivery import Delivery
from sandbox.aruna.gateway import Gateway
from sandbox.aruna.grpc_server import GrpcServer
from sandbox.aruna.hooks import Hooks
from sandbox.aruna.objects import Objects
from sandbox.aruna.operations import operations
from sandbox.aruna.state import State
from sandbox.gfbio.service import Gfbio
from sandbox.http_server import WebServer
from sandbox.s3.proxy import DataProxy
from sandbox.s3.store import Store
from sandbox.switches import ArunaSwitches, GfbioSwitches


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    grpc: int = 0
    gateway: int = 0
    s3: int = 0
    gfbio: int = 0


class Servers:
    """Aruna (gRPC, REST, S3, the delivery of hooks) and GFBio, each with its server."""

    def __init__(self, aruna: ArunaSwitches, gfbio: GfbioSwitches, ports: Ports, host: str) -> None:
        self.state = State(aruna)
        self.store = Store()
        self.delivery = Delivery(self.state)
        self.objects = Objects(self.state, self.delivery)
        self.hooks = Hooks(self.state, self.delivery)
        self.gfbio = Gfbio(gfbio, self.state.failpoints, self.state.closing)
        api = operations(self.state, self.objects, self.hooks)
        failpoints = self.state.failpoints
        proxy = DataProxy(self.state, self.objects, self.delivery, self.store)
        self._grpc = GrpcServer(api, failpoints, host=host, port=ports.grpc)
        self._gateway = WebServer(Gateway(api, failpoints).respond, host=host, port=ports.gateway)
        self._s3 = WebServer(proxy.respond, host=host, port=ports.s3)
        self._gfbio = WebServer(self.gfbio.respond, host=host, port=ports.gfbio)
        name = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
        self.grpc_url = f"http://{name}:{self._grpc.port}"
        self.gateway_url = f"http://{name}:{self._gateway.port}"
        self.s3_url = self.state.s3_url = f"http://{name}:{self._s3.port}"
        self.gfbio_url = f"http://{name}:{self._gfbio.port}/api"

    def stop(self) -> None:
        """Let everything that waits go on to its end, and deliver no more hooks."""
        self.state.closing.set()
        with self.state.changed:
            self.state.changed.notify_all()
        self.delivery.close()

    def close(self) -> None:
        """End the servers and forget what was stored."""
        for server in (self._s3, self._gateway, self._gfbio, self._grpc):
            server.close()
        self.store.close()
