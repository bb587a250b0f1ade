"""The parts of the sandbox, put together and listening."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.delivery import Delivery
from sandbox.gateway import Gateway
from sandbox.gfbio import Gfbio
from sandbox.grpc_api import GrpcServer
from sandbox.objects import Objects
from sandbox.operations import operations
from sandbox.registrations import Registrations
from sandbox.s3 import DataProxy
from sandbox.store import Store
from sandbox.switches import ArunaSwitches, GfbioSwitches
from sandbox.webserver import WebServer
from sandbox.world import World


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    grpc: int = 0
    gateway: int = 0
    s3: int = 0
    gfbio: int = 0


class Machinery:
    """Aruna (gRPC, REST, S3, the delivery of hooks) and GFBio, each with its server."""

    def __init__(self, aruna: ArunaSwitches, gfbio: GfbioSwitches, ports: Ports, host: str) -> None:
        self.world = World(aruna)
        self.store = Store()
        self.delivery = Delivery(self.world)
        self.objects = Objects(self.world, self.delivery)
        self.registrations = Registrations(self.world, self.delivery)
        self.gfbio = Gfbio(gfbio, self.world.points, self.world.closing)
        api = operations(self.world, self.objects, self.registrations)
        points = self.world.points
        self._proxy = DataProxy(self.world, self.objects, self.store)
        self._grpc = GrpcServer(api, points, host=host, port=ports.grpc)
        self._gateway = WebServer(Gateway(api, points).respond, host=host, port=ports.gateway)
        self._s3 = WebServer(self._proxy.respond, host=host, port=ports.s3)
        self._gfbio = WebServer(self.gfbio.respond, host=host, port=ports.gfbio)
        name = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
        self.grpc_url = f"http://{name}:{self._grpc.port}"
        self.gateway_url = f"http://{name}:{self._gateway.port}"
        self.s3_url = self.world.s3_url = f"http://{name}:{self._s3.port}"
        self.gfbio_url = f"http://{name}:{self._gfbio.port}/api"

    def stop(self) -> None:
        """Let everything that waits go on to its end, and deliver no more hooks."""
        self.world.closing.set()
        with self.world.changed:
            self.world.changed.notify_all()
        self.delivery.close()

    def close(self) -> None:
        """End the servers and forget what was stored."""
        for server in (self._s3, self._gateway, self._gfbio, self._grpc):
            server.close()
        self._proxy.close()
        self.store.close()
