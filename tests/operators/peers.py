"""Whom ``check`` asks: an Aruna with public keys, and HTTP servers that answer as they are told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from aruna.api.storage.models.v2 import models_pb2
from aruna.api.storage.services.v2 import info_service_pb2, info_service_pb2_grpc

#: GFBio's answers as it writes them, each with two spaces before.
GFBIO = {
    "/api/transformations/5": '  {"transformation": {"transformation_id": "5", "versions": '
    '[{"transformation_id": "5", "version_id": "1"}, {"transformation_id": "5", '
    '"version_id": "2"}]}}',
    "/api/transformations/77": '  {"transformations": [{"transformation_id": "5"}]}',
}
HEALTH = {
    "/health": '{"status": "ok", "version": "1.0.0", "jobs": {"queued": 0, "running": 0, '
    '"failed": 0}}'
}


class _Keys(info_service_pb2_grpc.StorageStatusServiceServicer):  # type: ignore[misc]
    def GetPubkeys(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - protobuf's name
        key = models_pb2.Pubkey(id=1, key="MCowBQYDK2VwAyEAnouQBh4GHPCD")
        return info_service_pb2.GetPubkeysResponse(pubkeys=[key])


@contextmanager
def serving(
    add: Callable[[Any, grpc.Server], None], servicer: object, *, host: str = "127.0.0.1"
) -> Iterator[str]:
    """The address of a gRPC server to which ``add`` has added the servicer."""
    server = grpc.server(ThreadPoolExecutor(2))
    add(servicer, server)
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop(0).wait()


@contextmanager
def aruna(host: str = "127.0.0.1") -> Iterator[str]:
    """The address of an Aruna that has a public key."""
    add = info_service_pb2_grpc.add_StorageStatusServiceServicer_to_server
    with serving(add, _Keys(), host=host) as address:
        yield address


@contextmanager
def answering(
    answers: Mapping[str, str], *, ahead: float = 0, host: str = "127.0.0.1"
) -> Iterator[str]:
    """The base URL of a server with these answers by path; its clock is ``ahead`` (seconds)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path, "nothing here").encode()
            self.send_response_only(200 if self.path in answers else 404)
            self.send_header("Date", formatdate(time.time() + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """The test's own server says nothing."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Server((host.strip("[]"), 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
