"""Where the bytes are: a real S3 implementation (moto's server), behind the data proxy's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.aruna.ulid import new_ulid
from sandbox.http_server import ServerThread
from sandbox.s3.client import s3_client

_BLOCK = 256 * 1024


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class Store:
    """A bucket of its own on a loopback port; keys are made up here."""

    def __init__(self) -> None:
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, application, threaded=True, request_handler=_Quiet
        )
        self._server_thread = ServerThread(self._server, "sandbox-store")
        self._bucket = f"sandbox-{new_ulid().lower()}"
        endpoint = f"http://127.0.0.1:{self._server.port}"
        self._client = s3_client(endpoint, "us-east-1", "any", "any", hashes_bodies=False)
        self._client.create_bucket(Bucket=self._bucket)

    def save(self, content: IO[bytes]) -> str:
        """Keep the bytes of a seekable file; the key to read them by."""
        key = new_ulid()
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        return key

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes in blocks."""
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        yield from body.iter_chunks(_BLOCK)

    def discard(self, key: str) -> None:
        """Forget the bytes."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def close(self) -> None:
        """Forget everything and end the server."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket):
            for entry in page.get("Contents", []):
                self.discard(entry["Key"])
        self._client.close()
        self._server_thread.end()
        self._server.server_close()
