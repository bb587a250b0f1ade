"""Presigned S3 URLs as Aruna hands them out."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from sandbox.aruna.model import Credentials
from sandbox.aruna.state import State

#: Aruna 2.0.4 signs with this region and accepts any.
REGION = "RegionOne"

#: Seconds.
_WEEK = 7 * 24 * 3600
#: What Aruna leaves as it is in a key's URL; the signature is made over the fully encoded one.
_RAW = "/!*'()-._~"


def key_of(state: State, path: list[str]) -> str:
    """The S3 key of the object at the end of a path of ids."""
    return "/".join(state.resources[resource_id].name for resource_id in path[1:])


def download_url(state: State, path: list[str], credentials: Credentials) -> str:
    """A GET for a week, signed with ``credentials``."""
    return _presigned("GET", state, path, credentials)


def upload_url(state: State, path: list[str], credentials: Credentials) -> str:
    """A PUT of the whole object, for a week."""
    return _presigned("PUT", state, path, credentials)


def _presigned(method: str, state: State, path: list[str], credentials: Credentials) -> str:
    bucket = state.resources[path[0]].name
    base = urlsplit(state.s3_url)
    key = key_of(state, path)
    if state.switches.virtual_host is None:
        place, prefix = f"http://{base.netloc}", f"/{bucket}/"
    else:
        place, prefix = f"http://{bucket}.{state.switches.virtual_host}:{base.port}", "/"
    request = AWSRequest(method, f"{place}{prefix}{quote(key, safe='/~-._')}")
    keys = Keys(credentials.access_key, credentials.secret_key)
    S3SigV4QueryAuth(keys, "s3", REGION, expires=_WEEK).add_auth(request)
    query = "&".join(sorted(urlsplit(str(request.url)).query.split("&")))
    return f"{place}{prefix}{quote(key, safe=_RAW)}?{query}"
