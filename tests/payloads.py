"""Hooks as Aruna writes them, made up for the tests."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

HOOK_ID = "01JHHKABCDEFGHJKMNPQRSTVW0"
OBJECT_ID = "01JHHKABCDEFGHJKMNPQRSTVW1"
PROJECT_ID = "01JHHKABCDEFGHJKMNPQRSTVW2"
SHA256 = "c372561e511e9c8d1503d48562ed5985995511cbf1cc16581f6b895dbce7a39d"
MARKED = {
    "secret": "marked-secret-0000000000000000000000000000=",
    "access_key": "MARKEDACCESSKEY00000000000",
    "secret_key": "marked-secret-key-000000000000",
}
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={MARKED['access_key']}%2F20261124%2FRegionOne%2Fs3%2Faws4_request"
    "&X-Amz-Date=20261124T084734Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=6d61726b65647369676e6174757265303030303030303030303030303030"
)


def token(expires: float | None = None) -> str:
    """A token as Aruna signs them, but for the signature; ``expires`` in seconds since 1970."""
    claims = {"iss": "aruna", "exp": int(expires or time.time() + 86400), "tid": "marked"}
    parts = [{"typ": "JWT", "alg": "EdDSA", "kid": "1"}, claims]
    texts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*texts, "bWFya2VkLXNpZ25hdHVyZQ"])


def source(**changes: Any) -> dict[str, Any]:
    """The object of a payload: an available source in a project."""
    return {
        "id": OBJECT_ID,
        "name": "plants.xml",
        "title": "Plants",
        "description": "Plants of a garden",
        "key_values": [{"key": "ABCD", "value": "true", "variant": 1}],
        "relations": [
            {
                "relation": {
                    "Internal": {
                        "resource_id": PROJECT_ID,
                        "resource_variant": 1,
                        "defined_variant": 1,
                        "custom_variant": None,
                        "direction": 1,
                    }
                }
            },
            {
                "relation": {
                    "External": {
                        "identifier": "https://example.org/plants",
                        "defined_variant": 1,
                        "custom_variant": None,
                    }
                }
            },
        ],
        "content_len": 846147,
        "data_class": 1,
        "created_at": "2026-11-24T08:47:31.959374Z",
        "created_by": "01JHHKABCDEFGHJKMNPQRSTVW3",
        "authors": [
            {
                "first_name": "Ada",
                "last_name": "Lovelace",
                "email": "ada@example.org",
                "orcid": "0000-0002-1825-0097",
                "id": None,
            }
        ],
        "status": 3,
        "dynamic": False,
        "endpoints": [
            {"id": "01H81W0ZMB54YEP5711Q2BK46V", "status": 3, "variant": {"FullSync": {}}}
        ],
        "hashes": [
            {"alg": 1, "hash": "1e56f4ea6117eff73ba5e6b5cef09f36"},
            {"alg": 2, "hash": SHA256},
        ],
        "metadata_license_tag": "CC-BY-4.0",
        "data_license_tag": "CC-BY-4.0",
        "rule_bindings": [],
        **changes,
    }


def payload(**changes: Any) -> dict[str, Any]:
    """A whole payload; ``object`` may be given as the object alone."""
    return {
        "hook_id": HOOK_ID,
        "object": {"Object": source()},
        "download": f"http://garden.s3.example.org/plants.xml?{QUERY}",
        "pubkey_serial": 1,
        "token": token(),
        **MARKED,
        **changes,
    }


def as_bytes(value: object) -> bytes:
    """A payload as the body of a request."""
    return json.dumps(value).encode()
