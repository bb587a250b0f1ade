"""Several services on one PostgreSQL: what one leaves behind, another takes up."""

from __future__ import annotations

import os
import signal

from pipeline.jobs.pool import LEASE
from pipeline.journal import Job
from sandbox import Sandbox, generated_result
from tests.conftest import SAMPLE
from tests.durability import impatient
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import (
    LARGE,
    PART_SIZE,
    assert_done_once,
    assert_nothing_is_held,
    eventually,
    wait_for_the_end,
)
from tests.running import Running, free_port
from tests.whole import Whole


def the_job(service: Running) -> Job:
    """The one job in the journal."""
    with service.journal() as journal:
        (job,) = journal.jobs()
    return job


def test_a_host_that_dies_loses_its_jobs_to_another_when_the_lease_ends(
    sandbox: Sandbox, start_impatient: Starter, postgresql_url: str
) -> None:
    first = start_impatient("first", JOURNAL_URL=postgresql_url)
    held = Arrest(sandbox, "gfbio.result")
    whole = Whole.of(sandbox, first)
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    second = start_impatient("second", JOURNAL_URL=postgresql_url)
    renewed = (the_job(first).lease_until or 0.0) + impatient.LEASE
    eventually(lambda: (the_job(first).lease_until or 0.0) > renewed)
    assert len(sandbox.requests("gfbio.transform")) == 1
    first.kill()
    held.let_go()
    whole.service = second
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert_nothing_is_held(whole)


def test_a_process_that_dies_loses_its_jobs_at_once_to_another_on_its_machine(
    sandbox: Sandbox, start_service: Starter, postgresql_url: str
) -> None:
    first = start_service("first", JOURNAL_URL=postgresql_url)
    held = Arrest(sandbox, "gfbio.result")
    whole = Whole.of(sandbox, first)
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    second = start_service("second", JOURNAL_URL=postgresql_url)
    first.kill()
    held.let_go()
    whole.service = second
    wait_for_the_end(whole, source, timeout=LEASE / 2)
    assert_done_once(whole, source)


def test_a_worker_that_dies_loses_its_jobs_at_once_to_its_siblings(
    sandbox: Sandbox, start_service: Starter
) -> None:
    service = start_service(WEB_CONCURRENCY="2")
    whole = Whole.of(sandbox, service)
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    pid = (the_job(service).holder or "").split()[3]
    os.kill(int(pid), signal.SIGKILL)
    held.let_go()
    wait_for_the_end(whole, source, timeout=LEASE / 2)
    assert_done_once(whole, source)


def test_a_relay_is_answered_by_a_host_whose_job_it_is_not(
    sandbox: Sandbox, start_service: Starter, postgresql_url: str
) -> None:
    port = free_port()
    address = {"JOURNAL_URL": postgresql_url, "PUBLIC_URL": f"http://127.0.0.1:{port}"}
    held = Arrest(sandbox, "gfbio.transform")
    first = start_service("first", **address)
    whole = Whole.of(sandbox, first)
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    behind = start_service("behind", **address, SERVICE_PORT=str(port))
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert "/relay/" in behind.logged()
    assert "/relay/" not in first.logged()


def test_a_process_paused_for_longer_than_its_lease_writes_nothing_any_more(
    sandbox: Sandbox, start_impatient: Starter, postgresql_url: str
) -> None:
    paused = start_impatient("paused", JOURNAL_URL=postgresql_url)
    whole = Whole.of(sandbox, paused)
    looking = Arrest(sandbox, "s3.head", concerns=lambda _: bool(_created(sandbox)))
    source = whole.upload("plants.xml", SAMPLE)
    looking.wait()
    os.killpg(_pid(paused), signal.SIGSTOP)
    writing = Arrest(sandbox, "s3.put")
    whole.service = start_impatient("second", JOURNAL_URL=postgresql_url)
    writing.wait()
    os.killpg(_pid(paused), signal.SIGCONT)
    looking.let_go(effect=True)
    eventually(lambda: "attempt.abandoned" in paused.logged())
    writing.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert len(_created(sandbox)) == len(_written(sandbox)) == 1


def test_a_process_paused_in_the_middle_of_an_upload_does_not_spoil_its_successors(
    sandbox: Sandbox, start_impatient: Starter, postgresql_url: str
) -> None:
    sandbox.gfbio.big = LARGE
    parts = {"PART_SIZE": PART_SIZE, "UPLOAD_CONCURRENCY": "1"}
    settings = {"JOURNAL_URL": postgresql_url, **parts}
    paused = start_impatient("paused", **settings)
    whole = Whole.of(sandbox, paused)
    sending = Arrest(sandbox, "s3.part")
    source = whole.upload("plants.xml", SAMPLE)
    sending.wait()
    os.killpg(_pid(paused), signal.SIGSTOP)
    completing = Arrest(sandbox, "s3.complete")
    whole.service = start_impatient("second", **settings)
    completing.wait()
    sent = sandbox.requests("s3.part")
    os.killpg(_pid(paused), signal.SIGCONT)
    sending.let_go()
    eventually(lambda: "attempt.abandoned" in paused.logged())
    assert sandbox.requests("s3.part") == sent
    completing.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    assert len(sandbox.requests("s3.complete")) == 1
    assert sandbox.content(whole.result(source).id) == b"".join(generated_result(LARGE))


def _created(sandbox: Sandbox) -> list[object]:
    return [*sandbox.requests("grpc.CreateObject")]


def _written(sandbox: Sandbox) -> list[object]:
    return [call for call in sandbox.requests("s3.put") if call.details["by"] == "hook"]


def _pid(service: Running) -> int:
    assert service.process is not None
    return service.process.pid
