"""One attempt on a real journal: whatever a job meets, it is written down and nothing escapes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update
from structlog.testing import capture_logs

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.hook import Hook, secret_for
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed, LeaseLost, Stopping
from pipeline.jobs.context import Dependencies
from pipeline.jobs.creations import Creations
from pipeline.jobs.decision import CALLBACK_PATIENCE, MAX_LOST
from pipeline.jobs.runner import run_attempt
from pipeline.journal import HeldJob, Job, Journal, Outcome, State, Step
from pipeline.journal.schema import jobs
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.web.payload import parse_hook
from tests.journal.deliveries import NOW, Clock
from tests.payloads import HOOK_ID, OBJECT_ID, as_bytes, payload, token

KEY = "MCowBQYDK2VwAyEA"
EXPIRES = NOW + 86400
HOOK = parse_hook(
    as_bytes(payload(secret=secret_for(HOOK_ID, OBJECT_ID, KEY), token=token(EXPIRES)))
)


class ScriptedAruna(Aruna):
    """Its public key and its answer to callbacks are what the test says; all else is away."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.key: Callable[[], str | None] = lambda: KEY
        self.finish: Callable[[], None] = lambda: None

    def public_key(self, serial: int) -> str | None:  # noqa: ARG002 - the signature is Aruna's
        return self.key()

    def finish_hook(self, *_what: Any) -> None:
        self.finish()


@dataclass
class Office:
    """A journal, an Aruna, and what runs one attempt with them."""

    deps: Dependencies
    aruna: ScriptedAruna
    journal: Journal
    clock: Clock

    def deliver(self, hook: Hook = HOOK) -> str:
        """A job that waits; its id."""
        return self.journal.enqueue(hook).job_id

    def claim(self) -> HeldJob:
        """The one job that is due, held."""
        (held,) = self.journal.claim("the test", 9, 60)
        return held

    def run(self, held: HeldJob, attempt: Attempt | None = None, *, stopping: bool = False) -> Job:
        """The job after one attempt."""
        run_attempt(
            held,
            attempt or Attempt(60),
            self.deps,
            chance=random.Random(1),
            stopping=lambda: stopping,
        )
        return self.journal.job(held.job.id)

    def set_columns(self, **values: object) -> None:
        """What only damage or an older version can have written."""
        self.journal._storage.write(lambda connection: connection.execute(update(jobs), values))


OpenOffice = Callable[..., Office]


@pytest.fixture
def open_office(tmp_path: Path) -> Iterator[OpenOffice]:
    """Opens offices over one journal; ``keys`` are those of the journal."""
    clock = Clock()
    opened: list[Office] = []
    settings = Settings.from_environment(
        {
            "ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1",
            "ALLOW_INSECURE": "true",
            "STATE_DIR": str(tmp_path),
        }
    )

    def open_one(*keys: str) -> Office:
        journal = Journal(settings.journal_url, keys=keys, clock=clock)
        journal.open()
        aruna = ScriptedAruna()
        deps = Dependencies(
            settings=settings,
            journal=journal,
            aruna=aruna,
            addresses=Addresses(),
            metrics=Metrics(),
            creations=Creations(journal),
            later=lambda _: True,
        )
        opened.append(Office(deps, aruna, journal, clock))
        return opened[-1]

    yield open_one
    for office in opened:
        office.aruna.close()
        office.journal.close()


@pytest.fixture
def office(open_office: OpenOffice) -> Office:
    """One journal and one Aruna."""
    return open_office()


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


AWAY = ArunaRefused(grpc.StatusCode.UNAVAILABLE, "away")


# What lies in the journal


def test_credentials_that_can_not_be_read_end_the_job_and_are_kept(
    open_office: OpenOffice,
) -> None:
    first, second = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    open_office(first).deliver()
    office = open_office(second)

    after = office.run(office.claim())

    reason = "no key in JOURNAL_KEY opens the credentials"
    assert (after.state, after.outcome) == (State.FAILED, Outcome("callback_failed", reason))
    assert open_office(first).journal.job(after.id).hook == HOOK


def test_an_object_that_can_not_be_parsed_is_a_defect_and_tried_again(office: Office) -> None:
    job_id = office.deliver()
    office.set_columns(object=b"\xff\xff")

    with capture_logs() as logged:
        after = office.run(office.claim())

    assert (after.id, after.state, after.failures) == (job_id, State.QUEUED, 1)
    assert after.last_error == Outcome("internal_error", "the service made a mistake")
    assert [entry["event"] for entry in logged] == ["attempt.defect", "job.retry"]


@pytest.mark.parametrize("url", ["https://[::1", "http://[x]/a?" + "b" * 40, "//", "\x00", "?%"])
def test_a_download_url_that_no_parser_takes_ends_in_a_callback_or_another_try(
    office: Office, url: str
) -> None:
    office.deliver(replace(HOOK, credentials=replace(HOOK.credentials, download=url)))

    after = office.run(office.claim())

    assert (after.state, after.lease) == (State.QUEUED, None)
    assert after.outcome is not None or after.failures == 1


def test_a_token_that_has_expired_is_told_at_the_next_turn(office: Office) -> None:
    office.deliver()
    office.clock.now = EXPIRES

    after = office.run(office.claim())

    assert (after.state, after.step) == (State.QUEUED, Step.CALLBACK)
    assert (after.next_at, after.attempt) == (office.clock.now, 1)
    assert after.outcome is not None
    assert after.outcome.code == "token_expired"


# What the other side says


def test_an_aruna_that_is_away_is_waited_for_and_nothing_is_counted(office: Office) -> None:
    office.deliver()
    office.aruna.key = raising(AWAY)

    after = office.run(office.claim())

    assert (after.state, after.step, after.attempt) == (State.QUEUED, Step.WORK, 0)
    assert after.waiting_since == NOW
    assert (after.next_at or 0) > NOW
    assert after.last_error == Outcome(None, "Aruna can't be reached")


def test_a_defect_counts_as_a_failure_and_has_the_only_traceback(office: Office) -> None:
    office.deliver()
    office.aruna.key = raising(ZeroDivisionError("a defect"))

    with capture_logs() as logged:
        after = office.run(office.claim())

    assert (after.state, after.failures) == (State.QUEUED, 1)
    assert [past.code for past in office.journal.attempts(after.id)] == ["internal_error"]
    traces = [entry["event"] for entry in logged if entry.get("exc_info")]
    assert traces == ["attempt.defect"]
    (retry,) = [entry for entry in logged if entry["event"] == "job.retry"]
    assert retry["log_level"] == "warning"
    assert retry["cause"] == "ZeroDivisionError: a defect"


def test_a_false_delivery_ends_without_a_callback_and_keeps_no_credentials(office: Office) -> None:
    office.deliver()
    office.aruna.key = lambda: "another key"
    office.aruna.finish = raising(AssertionError("a callback"))

    after = office.run(office.claim())

    assert (after.state, after.credentials, after.callback_since) == (State.FAILED, None, None)
    assert after.outcome is not None
    assert after.outcome.code == "invalid_secret"


def test_a_genuine_delivery_after_a_false_one_is_not_lost_with_it(office: Office) -> None:
    office.deliver(replace(HOOK, credentials=replace(HOOK.credentials, secret="false")))
    held = office.claim()
    office.deliver()

    after = office.run(held)

    assert (after.state, after.deliveries) == (State.QUEUED, 2)
    assert after.hook == HOOK


@pytest.mark.parametrize("failure", [AWAY, ZeroDivisionError("a defect")])
def test_work_that_is_done_stays_done_whatever_its_callback_meets(
    office: Office, failure: Exception
) -> None:
    office.deliver()
    held = office.claim()
    held.worked(Outcome(None))
    office.aruna.finish = raising(failure)

    after = office.run(held)

    assert (after.state, after.step, after.outcome) == (State.QUEUED, Step.CALLBACK, Outcome(None))
    assert (after.callback_attempt, after.attempt) == (1, 1)
    assert (after.next_at or 0) > NOW


def test_a_delivery_during_its_callback_is_called_back_too(office: Office) -> None:
    office.deliver()
    held = office.claim()
    held.worked(Outcome(None))
    told: list[int] = []

    def finish() -> None:
        told.append(held.job.deliveries)
        if len(told) == 1:
            office.deliver()

    office.aruna.finish = finish
    after = office.run(held)

    assert (after.state, told) == (State.SUCCEEDED, [1, 2])


def test_a_callback_that_nobody_took_for_seven_days_is_given_up(office: Office) -> None:
    office.deliver()
    held = office.claim()
    held.worked(Outcome(None))
    held.release()
    office.clock.now += CALLBACK_PATIENCE + 1

    after = office.run(office.claim())

    assert after.state is State.FAILED
    assert after.outcome is not None
    assert after.outcome.code == "callback_failed"
    assert "7 days" in after.outcome.message


# What happens to the process


def test_a_job_in_whose_attempts_the_service_dies_again_and_again_is_given_up(
    office: Office,
) -> None:
    office.deliver()
    for _ in range(MAX_LOST):
        office.claim()
        office.clock.now += 60

    after = office.run(office.claim())

    assert (after.lost, after.failures, after.step) == (MAX_LOST, 0, Step.CALLBACK)
    message = f"the service has died in {MAX_LOST} attempts, of this job or beside it"
    assert after.outcome == Outcome("internal_error", message)


def test_a_process_that_stops_puts_the_job_back_and_counts_nothing(office: Office) -> None:
    office.deliver()
    attempt = Attempt(60)

    def stop() -> str:
        attempt.cut(Stopping("the service is stopping"))
        raise JobFailed(Code.INVALID_INPUT, "it broke off")

    office.aruna.key = stop
    after = office.run(office.claim(), attempt)

    assert (after.state, after.attempt, after.next_at) == (State.QUEUED, 0, NOW)
    assert (after.lease, office.journal.attempts(after.id)) == (None, [])


def test_what_fails_while_the_process_stops_is_not_held_against_the_job(office: Office) -> None:
    office.deliver()
    office.aruna.key = raising(ZeroDivisionError("a defect"))

    after = office.run(office.claim(), stopping=True)

    assert (after.state, after.attempt, after.next_at) == (State.QUEUED, 0, NOW)


def test_an_attempt_that_lost_its_lease_leaves_the_job_to_its_new_holder(office: Office) -> None:
    office.deliver()
    late = office.claim()
    office.clock.now += 60
    holder = office.claim()
    before = office.journal.job(holder.job.id)
    office.aruna.key = raising(AWAY)

    with capture_logs() as logged:
        assert office.run(late) == before

    holder.confirm()
    assert [entry["event"] for entry in logged] == ["attempt.abandoned"]


def test_an_attempt_of_a_superseded_job_frees_the_object_for_its_successor(office: Office) -> None:
    office.deliver()
    old = office.claim()
    source = type(HOOK.object)()
    source.CopyFrom(HOOK.object)
    source.content_len += 1
    new = office.deliver(replace(HOOK, object=source))
    assert office.journal.claim("the test", 9, 60) == []

    after = office.run(old)

    assert after.outcome is not None
    assert (after.state, after.outcome.code) == (State.FAILED, "superseded")
    assert office.claim().job.id == new


def test_an_attempt_that_is_cut_by_a_lost_lease_is_put_down(office: Office) -> None:
    office.deliver()
    attempt = Attempt(60)
    attempt.cut(LeaseLost("another process holds the job now"))

    def checked() -> str:
        attempt.check()
        raise AssertionError("the attempt goes on")

    office.aruna.key = checked
    after = office.run(office.claim(), attempt)

    assert (after.state, after.attempt) == (State.QUEUED, 0)


def test_without_its_journal_an_attempt_says_so_and_lets_its_lease_end(office: Office) -> None:
    office.deliver()
    held = office.claim()
    office.aruna.key = raising(AWAY)
    office.journal.close()

    with capture_logs() as logged:
        run_attempt(held, Attempt(60), office.deps, chance=random.Random(1), stopping=lambda: False)

    assert [entry["event"] for entry in logged] == ["attempt.abandoned"]


# What is said


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome(None), ("job.succeeded", "info")),
        (Outcome("invalid_input", "not ABCD"), ("job.failed", "warning")),
        (Outcome("gfbio_unavailable", "503"), ("job.failed", "error")),
    ],
)
def test_the_end_is_one_line_as_loud_as_an_operator_has_to_act(
    office: Office, outcome: Outcome, level: tuple[str, str]
) -> None:
    office.deliver()
    held = office.claim()
    held.worked(outcome)
    office.clock.now += 5

    with capture_logs() as logged:
        office.run(held)

    (said,) = [entry for entry in logged if entry["event"].startswith("job.")]
    assert (said["event"], said["log_level"]) == level
    assert (said["code"], said["message"]) == (outcome.code, outcome.message)
    assert (said["seconds"], said["attempts"], said["deliveries"]) == (5.0, 1, 1)


def test_work_that_failed_is_told_to_operators_once_at_the_end(office: Office) -> None:
    office.deliver()
    office.clock.now = EXPIRES

    with capture_logs() as logged:
        office.run(office.claim())
        office.run(office.claim())

    said = [(entry["event"], entry["log_level"]) for entry in logged]
    assert [line for line in said if line[0] in ("work.failed", "job.failed")] == [
        ("work.failed", "debug"),
        ("job.failed", "error"),
    ]
