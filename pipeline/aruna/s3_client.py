"""boto3's S3 client, built from nothing but its arguments, over the guarded connections.

The host's AWS variables and files play no part, nothing is retried, hashed or sent by botocore
itself.
"""

from __future__ import annotations

import functools
import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import botocore.session
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.configprovider import (
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    ConfigValueStore,
    ConstantProvider,
)

from pipeline.net.connections import Connections

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Bytes an answer may have, spaces included, and bytes of it read at a time.
_ANSWER_LIMIT = 1 << 20
_ANSWER_PIECE = 1 << 16
#: Botocore's sessions build one client at a time.
_BUILDING = threading.Lock()


def new_client(
    connections: Connections,
    *,
    endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
    path_style: bool,
) -> S3Client:
    """A client that signs with these keys and sends through ``connections``."""
    config = Config(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={
            "addressing_style": "path" if path_style else "virtual",
            "payload_signing_enabled": not endpoint.startswith("https:"),
        },
    )
    with _BUILDING:
        client = _session().create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )
    send: Callable[..., Any] = functools.partial(_send, connections)
    client.meta.events.register("before-send.s3", send)
    return cast("S3Client", client)


@functools.cache
def _session() -> botocore.session.Session:
    """Botocore's models, loaded once for each process; of AWS variables and files it knows none."""
    session = botocore.session.Session()
    defaults = {name: entry[2] for name, entry in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    defaults |= {"config_file": os.devnull, "credentials_file": os.devnull}
    session.register_component(
        "config_store",
        ConfigValueStore({name: ConstantProvider(value) for name, value in defaults.items()}),
    )
    return session


def _send(connections: Connections, request: Any, **_event: Any) -> AWSResponse:
    """Send an ``AWSPreparedRequest``. Botocore takes what its before-send hook gives as answer."""
    url = urlsplit(request.url)
    answer = connections.connection_from_url(request.url).urlopen(
        request.method,
        f"{url.path}?{url.query}" if url.query else url.path,
        body=request.body,
        headers=request.headers,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )
    content = bytearray()
    with answer:
        for piece in answer.stream(_ANSWER_PIECE):
            content += piece
            if len(content) > _ANSWER_LIMIT:
                raise urllib3.exceptions.HTTPError("an answer without end")
    body = urllib3.HTTPResponse(io.BytesIO(content.lstrip()), preload_content=False)
    return AWSResponse(request.url, answer.status, cast(Any, answer.headers), body)
