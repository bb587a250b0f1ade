"""The relay of a job, asked by whoever has its token."""

from __future__ import annotations

import pytest

from pipeline.journal import Journal, Relay, RelayGrant
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import DONE, LEASE, Clock, claimed, delivery
from tests.payloads import SHA256


def test_any_process_passes_on_the_download_of_a_running_job(
    journal: Journal, open_journal: OpenJournal
) -> None:
    hook = delivery()
    journal.enqueue(hook)
    job, lease = claimed(journal)
    token = journal.open_relay(job.id, lease, "xml")
    other = open_journal()
    assert other.relay_fetch(token, 5) == RelayGrant(
        job_id=job.id,
        name="plants0.xml",
        kind="xml",
        download=hook.credentials.download or "",
        content_len=100,
        sha256=SHA256,
    )
    assert journal.relay_outcome(job.id, lease) == Relay(1, passed=False, error=None)
    other.relay_passed(token, error="cut off")
    assert journal.relay_outcome(job.id, lease) == Relay(1, passed=False, error="cut off")
    other.relay_passed(token)
    assert journal.relay_outcome(job.id, lease) == Relay(1, passed=True, error=None)


def test_a_token_is_good_for_so_many_fetches(journal: Journal) -> None:
    journal.enqueue(delivery())
    token = journal.open_relay(*_held(journal), "zip")
    assert [journal.relay_fetch(token, 2) is not None for _ in range(3)] == [True, True, False]


def test_a_new_token_voids_the_old_one(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = _held(journal)
    old = journal.open_relay(*held, "xml")
    new = journal.open_relay(*held, "xml")
    journal.relay_passed(old)
    assert journal.relay_fetch(old, 5) is None
    assert journal.relay_fetch(new, 5) is not None
    assert journal.relay_outcome(*held) == Relay(1, passed=False, error=None)


@pytest.mark.parametrize("after", ["worked", "close", "release", "supersede", "lose"])
def test_a_token_is_void_once_its_job_is_at_another_stage(
    journal: Journal, clock: Clock, after: str
) -> None:
    journal.enqueue(delivery())
    held = _held(journal)
    token = journal.open_relay(*held, "xml")
    if after == "worked":
        journal.worked(*held, DONE)
    elif after == "close":
        journal.close_relay(*held)
    elif after == "release":
        journal.release(*held)
    elif after == "supersede":
        journal.enqueue(delivery(content_len=7))
    else:
        clock.now += LEASE
        claimed(journal, "other host")
    assert journal.relay_fetch(token, 5) is None


def test_a_guessed_token_opens_nothing(journal: Journal) -> None:
    journal.enqueue(delivery())
    journal.open_relay(*_held(journal), "xml")
    assert journal.relay_fetch("", 5) is None
    assert journal.relay_fetch("guessed", 5) is None


def _held(journal: Journal) -> tuple[str, str]:
    job, lease = claimed(journal)
    return job.id, lease
