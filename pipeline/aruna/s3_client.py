"""boto3's S3 client, built from nothing but its arguments, over the guarded connections.

The host's AWS variables and files play no part, nothing is retried, hashed or sent by botocore
itself, and it does not decide where requests go.
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
#: What botocore is told in place of the bucket and its host, so that none of its rules about them
#: applies: it takes path style, silently, for names that Amazon does not allow (shorter than three
#: characters, a hyphen at an end), and another protocol for names that end in ``--x-s3``.
BUCKET = "bucket"
_HOST = "s3.invalid"
#: Botocore's sessions build one client at a time.
_BUILDING = threading.Lock()


def new_client(
    connections: Connections,
    *,
    bucket_url: str,
    region: str,
    access_key: str,
    secret_key: str,
) -> S3Client:
    """A client for one bucket that signs with these keys and sends through ``connections``.

    Its operations are called with ``Bucket=BUCKET``; the keys lie below ``bucket_url``. Raises
    ``ValueError`` for a region that is none.
    """
    scheme = urlsplit(bucket_url).scheme
    config = Config(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={
            "addressing_style": "path",
            "payload_signing_enabled": scheme != "https",
        },
    )
    with _BUILDING:
        client = _session().create_client(
            "s3",
            region_name=region,
            endpoint_url=f"{scheme}://{_HOST}",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )
    direct: Callable[..., Any] = functools.partial(_direct, bucket_url)
    client.meta.events.register("before-sign.s3", direct)
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


def _direct(bucket_url: str, request: Any, **_event: Any) -> None:
    """Let an ``AWSRequest`` go below ``bucket_url``; called before it is signed."""
    url = urlsplit(request.url)
    query = f"?{url.query}" if url.query else ""
    request.url = f"{bucket_url}{url.path.removeprefix(f'/{BUCKET}')}{query}"


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
