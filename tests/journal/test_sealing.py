"""Credentials at rest."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, text

from pipeline.aruna.hook import Credentials
from pipeline.journal import Journal
from pipeline.journal.sealing import Seal
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import claimed, delivery
from tests.payloads import MARKED

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_with_a_key_the_database_holds_no_credentials_in_clear(
    open_journal: OpenJournal, url: str
) -> None:
    journal = open_journal(keys=[NEW])
    journal.enqueue(delivery())
    assert claimed(journal)[0].hook == delivery()
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = connection.scalar(text("SELECT credentials FROM jobs"))
    engine.dispose()
    assert stored
    assert not any(secret.encode() in bytes(stored) for secret in MARKED.values())


def test_keys_are_changed_without_losing_a_job(open_journal: OpenJournal) -> None:
    open_journal(keys=[OLD]).enqueue(delivery())
    rotated = open_journal(keys=[NEW, OLD])
    assert claimed(rotated)[0].hook == delivery()


def test_a_journal_without_a_key_is_read_after_one_was_set(open_journal: OpenJournal) -> None:
    open_journal().enqueue(delivery())
    assert claimed(open_journal(keys=[NEW]))[0].hook == delivery()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ([NEW], "no key in JOURNAL_KEY opens the credentials"),
        ([], "the credentials are encrypted and JOURNAL_KEY is not set"),
    ],
)
def test_credentials_under_a_lost_key_are_gone_and_say_why(
    open_journal: OpenJournal, keys: list[str], reason: str
) -> None:
    open_journal(keys=[OLD]).enqueue(delivery())
    job, _ = claimed(open_journal(keys=keys))
    assert (job.credentials, job.hook, job.credentials_gone) == (None, None, reason)


def test_a_key_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Fernet key must be 32"):
        Journal("sqlite:///unused.db", keys=["too short"])


def test_what_is_sealed_is_never_twice_the_same() -> None:
    credentials = Credentials("secret", 1, None, "token", "access", "key")
    seal = Seal([NEW])
    assert seal.seal(credentials) != seal.seal(credentials)
    assert seal.unseal(seal.seal(credentials)) == credentials


def test_printing_a_job_shows_no_credentials(journal: Journal) -> None:
    journal.enqueue(delivery())
    job, lease = claimed(journal)
    token = journal.open_relay(job.id, lease, "xml")
    shown = repr([job, job.credentials, journal.relay_fetch(token, 1)])
    assert not any(secret in shown for secret in (*MARKED.values(), "X-Amz"))
