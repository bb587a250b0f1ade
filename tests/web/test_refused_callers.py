"""Whoever is refused stands in the log, by the address of the caller and not of the proxy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.durability.kept import eventually
from tests.payloads import as_bytes, payload
from tests.running import Running

FORWARDED = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}


def refusals(service: Running) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.logged().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "hook.refused"]


def requests_logged(service: Running) -> list[str]:
    lines = [json.loads(line) for line in service.logged().splitlines() if line.startswith("{")]
    return [line["remote"] for line in lines if line["event"] == "request"]


def test_a_refused_caller_is_logged_with_the_address_that_the_proxy_saw(
    start_service: Callable[..., Running],
) -> None:
    service = start_service()

    service.post(as_bytes(payload()), Authorization="Bearer wrong", **FORWARDED)
    service.post(b"{}", **FORWARDED)

    said = [(line["code"], line["remote"], line["level"]) for line in refusals(service)]
    assert said == [
        ("unauthorized", "203.0.113.9", "warning"),
        ("invalid_hook", "203.0.113.9", "warning"),
    ]
    eventually(lambda: requests_logged(service) == ["203.0.113.9", "203.0.113.9"])


@pytest.mark.parametrize("trusted", ["192.0.2.1", ""])
def test_an_address_that_nobody_trusted_vouches_for_is_not_believed(
    start_service: Callable[..., Running], trusted: str
) -> None:
    service = start_service(FORWARDED_ALLOW_IPS=trusted)

    service.post(b"{}", **FORWARDED)

    assert [line["remote"] for line in refusals(service)] == ["127.0.0.1"]
