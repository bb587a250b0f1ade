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
    held = claimed(journal)
    token = held.open_relay("xml")
    other = open_journal()
    assert other.relay_fetch(token, 5) == RelayGrant(
        job_id=held.job.id,
        number=1,
        name="plants0.xml",
        kind="xml",
        download=hook.credentials.download or "",
        content_len=100,
        sha256=SHA256,
    )
    assert held.relay_outcome() == Relay(1, passed=False, error=None)
    other.relay_ended(token, 1, error="cut off")
    assert held.relay_outcome() == Relay(1, passed=False, error="cut off")
    other.relay_ended(token, 1)
    assert held.relay_outcome() == Relay(1, passed=True, error="cut off")


def test_a_token_is_good_for_so_many_fetches(journal: Journal) -> None:
    journal.enqueue(delivery())
    token = claimed(journal).open_relay("zip")
    assert [journal.relay_fetch(token, 2) is not None for _ in range(3)] == [True, True, False]


def test_only_the_first_fetch_shows_that_the_content_passed_through(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    token = held.open_relay("xml")
    numbers = [granted.number for _ in range(2) if (granted := journal.relay_fetch(token, 5))]
    assert numbers == [1, 2]
    journal.relay_ended(token, 2)
    assert held.relay_outcome() == Relay(2, passed=False, error=None)
    journal.relay_ended(token, 2, error="GFBio hung up")
    assert held.relay_outcome() == Relay(2, passed=False, error="GFBio hung up")
    journal.relay_ended(token, 1)
    assert held.relay_outcome() == Relay(2, passed=True, error="GFBio hung up")


def test_a_fetch_that_breaks_off_late_does_not_undo_the_first_that_passed(
    journal: Journal,
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    token = held.open_relay("xml")
    journal.relay_ended(token, 1)
    journal.relay_ended(token, 2, error="GFBio hung up")
    assert held.relay_outcome().passed


def test_what_the_relay_has_passed_on_is_the_progress_of_its_job(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    held.meter.bytes_in = 10
    token = held.open_relay("xml")
    for count, shown in ((5, 10), (40, 40), (20, 40)):
        journal.relay_moved(token, count)
        assert journal.job(held.job.id).progress.bytes_in == shown
    held.open_relay("xml")
    assert held.job.progress.bytes_in == 10


def test_no_secret_reaches_the_error_of_a_fetch(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    token = held.open_relay("xml")
    journal.relay_ended(token, 1, error="https://x.example/a?X-Amz-Signature=0123456789abcdef")
    error = held.relay_outcome().error
    assert error is not None
    assert "https://x.example/a" in error
    assert "0123456789abcdef" not in error


def test_a_new_token_voids_the_old_one(journal: Journal) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    old = held.open_relay("xml")
    new = held.open_relay("xml")
    journal.relay_ended(old, 1)
    assert journal.relay_fetch(old, 5) is None
    assert journal.relay_fetch(new, 5) is not None
    assert held.relay_outcome() == Relay(1, passed=False, error=None)


@pytest.mark.parametrize("after", ["worked", "close", "release", "supersede", "lose"])
def test_a_token_is_void_once_its_job_is_at_another_stage(
    journal: Journal, clock: Clock, after: str
) -> None:
    journal.enqueue(delivery())
    held = claimed(journal)
    token = held.open_relay("xml")
    if after == "worked":
        held.worked(DONE)
    elif after == "close":
        held.close_relay()
    elif after == "release":
        held.release()
    elif after == "supersede":
        journal.enqueue(delivery(content_len=7))
    else:
        clock.now += LEASE
        claimed(journal, "other host")
    assert journal.relay_fetch(token, 5) is None


def test_a_guessed_token_opens_nothing(journal: Journal) -> None:
    journal.enqueue(delivery())
    claimed(journal).open_relay("xml")
    assert journal.relay_fetch("", 5) is None
    assert journal.relay_fetch("guessed", 5) is None
