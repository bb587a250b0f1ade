"""One service for strangers to attack, and an Aruna that it works with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import Sandbox
from tests.running import TOKEN, Running, running

#: The webhook's token of yesterday, still good.
FORMER_TOKEN = "former-webhook-token-of-the-tests"
STATUS_TOKEN = "status-token-of-the-tests"


@pytest.fixture(scope="package")
def aruna() -> Iterator[Sandbox]:
    """An Aruna for the tests of this package, each with a project of its own."""
    with Sandbox() as sandbox:
        yield sandbox


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
