"""A journal of their own for the tests of what operators see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.journal import Journal
from pipeline.telemetry import redaction

from .deliveries import Clock


@pytest.fixture(autouse=True)
def _nothing_hidden_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides for good must not hide another one's leak."""
    monkeypatch.setattr(redaction, "_known", redaction._Known())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}", clock=clock)
    journal.open()
    yield journal
    journal.close()
