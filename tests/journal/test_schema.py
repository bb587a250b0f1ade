"""How a database is brought to the newest version."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from pipeline.journal import Journal, JournalUnavailable, schema
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import claimed, delivery


def test_an_older_database_is_upgraded_once_and_keeps_its_jobs(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_journal().enqueue(delivery())

    def add_a_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE jobs ADD COLUMN colour TEXT"))

    monkeypatch.setattr(schema, "UPGRADES", (add_a_column,))
    open_journal()
    assert claimed(open_journal())[0].hook == delivery()


def test_a_database_of_a_newer_program_is_left_alone(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(schema, "UPGRADES", (lambda _: None,))
    open_journal()
    monkeypatch.undo()
    with pytest.raises(JournalUnavailable, match="its schema is version 2, this program knows 1"):
        Journal(url).open()
