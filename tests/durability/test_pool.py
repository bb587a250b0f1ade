"""The pool's own threads outlive a defect: a process without them would only take hooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.pool import Pool
from pipeline.journal import Journal
from pipeline.service import Service
from pipeline.settings import Settings
from sandbox import Sandbox
from tests.durability.arrest import PATIENCE


@pytest.fixture
def service(sandbox: Sandbox, tmp_path: Path) -> Iterator[Service]:
    """A service in this process, not started."""
    settings = {**sandbox.environment(), "STATE_DIR": str(tmp_path), "TEMP_DIR": str(tmp_path)}
    made = Service(Settings.from_environment(settings))
    yield made
    made.stop()


def fails_once(monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """A method of the journal has a defect, once; the event says that it was called again."""
    genuine = getattr(Journal, name)
    calls = iter([True])
    again = threading.Event()

    def call(*arguments: Any) -> Any:
        if next(calls, False):
            raise ZeroDivisionError("a defect")
        again.set()
        return genuine(*arguments)

    monkeypatch.setattr(Journal, name, call)
    return again


@pytest.mark.parametrize("name", ["claim", "holders", "next_due", "renew"])
def test_a_defect_stops_neither_claims_nor_renewals(
    monkeypatch: pytest.MonkeyPatch, service: Service, name: str
) -> None:
    monkeypatch.setattr("pipeline.service.Pool", partial(Pool, lease=0.3))
    again = fails_once(monkeypatch, name)
    service.start()
    assert again.wait(PATIENCE)
