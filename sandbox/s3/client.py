"""S3 clients, path-style, that try once: for the sandbox's users and for its own store."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_building = threading.Lock()


def s3_client(
    endpoint: str, region: str, access_key: str, secret_key: str, *, hashes_bodies: bool = True
) -> S3Client:
    """A client that signs its requests, with a hash of their bodies or without."""
    config = Config(
        s3={"addressing_style": "path", "payload_signing_enabled": hashes_bodies},
        retries={"total_max_attempts": 1},
        max_pool_connections=64,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with _building:
        return _session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )


@cache
def _session() -> boto3.session.Session:
    # The descriptions of S3 are read once for all clients: that is most of what one costs.
    return boto3.session.Session()
