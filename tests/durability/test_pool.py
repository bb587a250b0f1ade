"""The pool's own threads outlive a defect: a process without them would only take hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.pool import Pool
from pipeline.journal import Journal, State
from pipeline.service import Service
from pipeline.settings import Settings
from pipeline.web.payload import parse_hook
from sandbox import Sandbox
from tests.durability.arrest import PATIENCE
from tests.durability.kept import eventually
from tests.payloads import as_bytes, payload

QUESTIONS = ("claim", "holders", "next_due", "renew")


@pytest.fixture
def service(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service in this process, not started, whose leases are short."""
    settings = {**sandbox.environment(), "STATE_DIR": str(tmp_path), "TEMP_DIR": str(tmp_path)}
    monkeypatch.setattr("pipeline.service.Pool", partial(Pool, lease=0.3))
    made = Service(Settings.from_environment(settings))
    yield made
    made.stop()


def fails_once(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[threading.Event, list[str]]:
    """A method of the journal has a defect, once; the event says that it had, the list what of the
    pool's questions were asked since."""
    failed, since = threading.Event(), list[str]()

    def patched(method: str) -> Callable[..., Any]:
        genuine = getattr(Journal, method)

        def call(*arguments: Any) -> Any:
            if failed.is_set():
                since.append(method)
            elif method == name:
                failed.set()
                raise ZeroDivisionError("a defect")
            return genuine(*arguments)

        return call

    for method in QUESTIONS:
        monkeypatch.setattr(Journal, method, patched(method))
    return failed, since


def a_job(service: Service) -> str:
    """A job that will end soon, as its secret is false; its id."""
    with closing(Journal(service.settings.journal_url)) as journal:
        journal.open()
        return journal.enqueue(parse_hook(as_bytes(payload()))).job_id


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_defect_stops_neither_claims_nor_renewals(
    monkeypatch: pytest.MonkeyPatch, service: Service, name: str
) -> None:
    failed, since = fails_once(monkeypatch, name)
    service.start()
    assert failed.wait(PATIENCE)

    job_id = a_job(service)
    service.pool.wake()

    eventually(lambda: service.journal.job(job_id).state is State.FAILED, PATIENCE)
    # Whether holders have died is asked every half minute only.
    eventually(lambda: name in since or name == "holders", PATIENCE)
    assert service.is_alive


def test_what_a_failed_claim_was_woken_for_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    job_id = a_job(service)
    failed, _ = fails_once(monkeypatch, "claim")
    service.start()

    assert failed.wait(PATIENCE)
    eventually(lambda: service.journal.job(job_id).state is State.FAILED, PATIENCE)
