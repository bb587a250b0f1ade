"""Real errors of the libraries, with marked secrets in their URLs, headers and arguments."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import grpc
import requests
import sqlalchemy
import urllib3
from aruna.api.hooks.services.v2 import hooks_service_pb2, hooks_service_pb2_grpc
from botocore.config import Config

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.errors import Code, JobFailed
from pipeline.web.payload import HookRefused, parse_hook

from .deliveries import DOWNLOAD, MARKED, delivery
from .peers import serving

#: Nobody listens on port 1.
NOWHERE = "127.0.0.1:1"


class _Refusing(BaseHTTPRequestHandler):
    """An S3 endpoint that refuses, and quotes the request as AWS and its kin do."""

    def do_GET(self) -> None:
        said = f"{self.path} {self.headers.get('Authorization')} {MARKED['secret_key']}"
        body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """The test's own server says nothing."""


@contextmanager
def refusing_s3() -> Iterator[str]:
    """The base URL of an S3 endpoint that refuses everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quoting(hooks_service_pb2_grpc.HooksServiceServicer):  # type: ignore[misc]
    def HookCallback(self, request: Any, context: Any) -> Any:  # noqa: N802 - protobuf's name
        context.abort(grpc.StatusCode.INTERNAL, f"HookCallback failed: {request}")


@contextmanager
def quoting_aruna() -> Iterator[str]:
    """The address of an Aruna whose error messages quote the whole request."""
    with serving(hooks_service_pb2_grpc.add_HooksServiceServicer_to_server, _Quoting()) as address:
        yield address


def _requests_can_not_connect(_s3: str, _aruna: str) -> None:
    url = DOWNLOAD.format(name="a.xml").replace("https://herbarium.s3.example.org", "")
    try:
        requests.get(f"http://{NOWHERE}{url}", timeout=1)
    except requests.ConnectionError as error:
        raise JobFailed(Code.DOWNLOAD_FAILED, "the source can't be reached") from error


def _requests_is_refused(s3: str, _aruna: str) -> None:
    token = {"Authorization": f"Bearer {delivery().credentials.token}"}
    url = f"{s3}/a.xml?{DOWNLOAD.partition('?')[2]}"
    answer = requests.get(url, headers=token, timeout=1)
    logging.getLogger("requests").debug("%s %s", answer.request.headers, answer.text)
    answer.raise_for_status()


def _urllib3_retries(_s3: str, _aruna: str) -> None:
    with urllib3.PoolManager() as pool:
        query = DOWNLOAD.partition("?")[2]
        pool.request("GET", f"http://{NOWHERE}/a.xml?{query}", retries=1, timeout=1)


def _s3_client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="RegionOne",
        aws_access_key_id=MARKED["access_key"],
        aws_secret_access_key=MARKED["secret_key"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def _boto3_is_refused(s3: str, _aruna: str) -> None:
    _s3_client(s3).get_object(Bucket="plants", Key="a.json")


def _boto3_can_not_connect(_s3: str, _aruna: str) -> None:
    client = _s3_client(f"http://{NOWHERE}")
    client.get_object(Bucket=f"b?X-Amz-Signature={MARKED['signature']}".lower(), Key="a.json")


def _aruna_quotes_the_request(_s3: str, aruna: str) -> None:
    channel = Aruna(aruna)
    try:
        channel.finish_hook(delivery())
    except ArunaRefused as refusal:
        raise JobFailed(Code.CALLBACK_FAILED, "Aruna refused the callback") from refusal
    finally:
        channel.close()


def _grpc_with_the_token(_s3: str, aruna: str) -> None:
    with grpc.insecure_channel(aruna.removeprefix("http://")) as channel:
        stub = hooks_service_pb2_grpc.HooksServiceStub(channel)
        metadata = (("authorization", f"Bearer {delivery().credentials.token}"),)
        logging.getLogger("grpc").debug("calling with %s", metadata)
        stub.HookCallback(
            hooks_service_pb2.HookCallbackRequest(secret=MARKED["secret"]), metadata=metadata
        )


def _sqlalchemy_quotes_its_parameters(_s3: str, _aruna: str) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    hook = delivery()
    values = {
        "a": hook.credentials.token * 3,
        "b": str(vars(hook)),
        "c": hook.credentials.secret_key,
        "d": hook.credentials.download,
    }
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT :a, :b, :c, :d FROM missing"), values)
    finally:
        engine.dispose()


def _psycopg_can_not_connect(_s3: str, _aruna: str) -> None:
    url = f"postgresql+psycopg://service:{MARKED['access_key']}@{NOWHERE}/journal"
    engine = sqlalchemy.create_engine(url)
    try:
        engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        raise JobFailed(Code.INTERNAL_ERROR, f"the journal at {url} is down") from error
    finally:
        engine.dispose()


def _payload_is_refused(_s3: str, _aruna: str) -> None:
    whole = json.dumps({"token": delivery().credentials.token, "secret": MARKED["secret"]})
    body = whole.removesuffix("}").encode()
    try:
        parse_hook(body)
    except HookRefused as refusal:
        raise ValueError(body.decode()) from refusal


def _relay_is_cut(_s3: str, _aruna: str) -> None:
    raise ConnectionResetError("GET https://service.example.org/relay/LEAKrelay01/plants.xml")


def _defect_with_everything_in_it(_s3: str, _aruna: str) -> None:
    hook = delivery()
    raise KeyError(
        hook.credentials.token,
        hook.credentials.access_key,
        hook.credentials.secret_key,
        hook.credentials.secret,
        hook.credentials.download,
    )


ERRORS: list[Callable[[str, str], None]] = [
    _requests_can_not_connect,
    _requests_is_refused,
    _urllib3_retries,
    _boto3_is_refused,
    _boto3_can_not_connect,
    _aruna_quotes_the_request,
    _grpc_with_the_token,
    _sqlalchemy_quotes_its_parameters,
    _psycopg_can_not_connect,
    _payload_is_refused,
    _relay_is_cut,
    _defect_with_everything_in_it,
]
