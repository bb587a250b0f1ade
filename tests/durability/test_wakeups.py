"""A job that its own process is too busy for begins in another one at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.jobs.pool import POLL
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.kept import assert_done_once, eventually, wait_for_the_end
from tests.running import Running
from tests.whole import Whole


def hears_others(service: Running) -> bool:
    return '"wakeup.lost"' not in service.logged()


def test_a_busy_process_hands_its_jobs_to_an_idle_one(
    sandbox: Sandbox, start_service: Callable[..., Running], journal_url: str
) -> None:
    settings = {"TRANSFORMER": "embedded", "WORKER_THREADS": "1", "JOURNAL_URL": journal_url}
    busy = start_service("busy", **settings)
    whole = Whole.of(sandbox, busy)
    looking = Arrest(sandbox, "s3.head")
    first = whole.upload("first.xml", SAMPLE)
    looking.wait()
    idle = start_service("idle", **settings)

    begun = time.monotonic()
    second = whole.upload("second.xml", SAMPLE)
    whole.wait_for_callback(second)
    took = time.monotonic() - begun
    looking.let_go(effect=True)

    assert took < POLL / 2
    assert hears_others(busy)
    assert hears_others(idle)
    wait_for_the_end(whole, first, second)
    assert_done_once(whole, second)
    eventually(lambda: '"job.succeeded"' in idle.logged())


def test_what_a_command_puts_back_begins_at_once(
    sandbox: Sandbox, start_service: Callable[..., Running], journal_url: str
) -> None:
    service = start_service(TRANSFORMER="embedded", JOURNAL_URL=journal_url)
    whole = Whole.of(sandbox, service)
    source = whole.upload("broken.xml", b"<not-abcd/>")
    wait_for_the_end(whole, source)

    with service.journal() as journal:
        (job,) = journal.jobs()
        begun = time.monotonic()
        assert journal.put_back([job.id]) == [(job.id, None)]
        eventually(lambda: journal.job(job.id).state == "failed")

    assert time.monotonic() - begun < POLL / 2
