"""What the tests of the whole share: a sandbox, and services that work with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.databases import database
from tests.running import ROOT, TOKEN, Running, running
from tests.whole import Whole

pytest_plugins = ["tests.network"]

SAMPLE = (ROOT / "sandbox" / "sample.xml").read_bytes()


#: What starts servers and processes.
_HEAVY = {"sandbox", "start_service", "services", "whole"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: those that start nothing."""
    items.sort(key=lambda item: bool(_HEAVY & set(getattr(item, "fixturenames", ()))))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    with Sandbox() as made:
        yield made


@pytest.fixture
def start_service(tmp_path: Path, sandbox: Sandbox) -> Iterator[Callable[..., Running]]:
    """Starts services that work with the test's sandbox; settings as keywords."""
    with ExitStack() as services:

        def start(name: str = "service", **settings: str) -> Running:
            environment = {**sandbox.environment(), "WEBHOOK_TOKEN": TOKEN, **settings}
            return services.enter_context(running(tmp_path / name, environment))

        yield start


@pytest.fixture
def whole(sandbox: Sandbox, start_service: Callable[..., Running]) -> Whole:
    """A sandbox, a service with the embedded transformer, and a hook between them."""
    return Whole.of(sandbox, start_service(TRANSFORMER="embedded"))


@pytest.fixture
def postgresql_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty schema in a real PostgreSQL, skipped by name without one."""
    with database("postgresql", tmp_path) as url:
        yield url
