"""One service for strangers to attack, and an Aruna that it works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from pipeline.aruna.client import Aruna
from pipeline.aruna.hook import secret_for
from sandbox import Sandbox
from tests.payloads import MARKED, as_bytes, payload
from tests.running import TOKEN, Running, running

#: Makes the body of a hook, with the secret that this Aruna makes if it has the tests' own.
Sign = Callable[[dict[str, Any]], bytes]

#: The webhook's token of yesterday, still good.
FORMER_TOKEN = "former-webhook-token-of-the-tests"
STATUS_TOKEN = "status-token-of-the-tests"


@pytest.fixture(scope="package")
def aruna() -> Iterator[Sandbox]:
    """An Aruna for the tests of this package, each with a project of its own."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="package")
def sign(aruna: Sandbox) -> Sign:
    """Signs hooks as this Aruna does."""
    with closing(Aruna(aruna.grpc_url)) as client:
        key = client.newest_key()

    def signed(made: dict[str, Any]) -> bytes:
        named = made.get("hook_id"), _object_id(made)
        are_ids = all(isinstance(name, str) and name.isascii() for name in named)
        if made.get("secret") != MARKED["secret"] or not are_ids:
            return as_bytes(made)
        secret = secret_for(str(named[0]), str(named[1]), key.key)
        return as_bytes({**made, "secret": secret})

    return signed


@pytest.fixture(scope="package")
def hook(sign: Sign) -> bytes:
    """A genuine hook, whose download leads to a port of this machine where nobody is."""
    return sign(payload(download="http://127.0.0.1:9/garden/plants.xml"))


@pytest.fixture(scope="package")
def service(aruna: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with its own transformer; jobs have one attempt."""
    settings = {
        **aruna.environment(),
        "WEBHOOK_TOKEN": f"{TOKEN},{FORMER_TOKEN}",
        "STATUS_TOKEN": STATUS_TOKEN,
        "TRANSFORMER": "embedded",
        "MAX_ATTEMPTS": "1",
    }
    with running(tmp_path_factory.mktemp("attacked"), settings) as started:
        yield started
        started.session.close()
        assert started.stop() == 0


def _object_id(made: dict[str, Any]) -> object:
    try:
        return made["object"]["Object"]["id"]
    except (KeyError, TypeError):
        return None
