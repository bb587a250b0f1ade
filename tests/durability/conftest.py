"""Databases of the test's own, and services that can be killed, paused and outlived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.databases import DATABASES, database
from tests.durability.impatient import APPLICATION
from tests.running import TOKEN, Running, running

Starter = Callable[..., Running]


@pytest.fixture(params=DATABASES)
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind."""
    with database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def postgresql_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database in PostgreSQL."""
    with database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def start_impatient(tmp_path: Path, sandbox: Sandbox) -> Iterator[Starter]:
    """Starts services with little patience, each as on another machine; settings as keywords."""
    with ExitStack() as services:

        def start(name: str = "service", **settings: str) -> Running:
            environment = {**sandbox.environment(), "WEBHOOK_TOKEN": TOKEN, **settings}
            return services.enter_context(
                running(tmp_path / name, environment, application=APPLICATION)
            )

        yield start
