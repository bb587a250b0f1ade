"""Two hosts with one journal, one of them killed, hooks lost on the way: nothing stays undone."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.journal import State
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.reconcile.conftest import eventually
from tests.running import ROOT, Running
from tests.whole import Whole

SOURCES = 200
ABCD = SAMPLE.partition(b"<Units>")[0] + b"</DataSet></DataSets>"


def test_every_source_has_one_result_and_one_effective_callback(
    sandbox: Sandbox, start_service: Callable[..., Running], postgresql_url: str
) -> None:
    settings = {"JOURNAL_URL": postgresql_url, "GFBIO_TRANSPORT": "direct"}
    west = start_service("west", **settings)
    east = start_service("east", **settings)
    whole = Whole.of(sandbox, east)
    sandbox.aruna.loses = lambda number, _: number % 3 == 0
    numbers = iter(range(SOURCES))

    sources = _upload(whole, itertools.islice(numbers, 90))
    east.stop()  # hooks that are due now meet a closed port
    sources += _upload(whole, itertools.islice(numbers, 30))
    east.start()
    sandbox.gfbio.seconds = 2
    sources += _upload(whole, numbers)
    with east.journal() as journal:
        eventually(lambda: len(journal.holders()) == 2)
    west.kill()
    sandbox.gfbio.seconds = 0
    first = _reconcile(east, settings)
    whole.wait_for_callback(*sources, timeout=90)

    assert Counter(record["why"] for record in first) == {"RUNNING": 66, "ERROR": 20}
    assert _reconcile(east, settings) == []
    assert {whole.effective_callbacks(source) for source in sources} == {1}
    assert {len(whole.results_of(source)) for source in sources} == {1}


def test_a_job_in_progress_on_another_host_is_not_disturbed(
    sandbox: Sandbox, start_service: Callable[..., Running], postgresql_url: str
) -> None:
    settings = {"JOURNAL_URL": postgresql_url, "GFBIO_TRANSPORT": "direct"}
    busy = start_service("busy", **settings)
    at_work, go_on = threading.Event(), threading.Event()

    def waits(_: Any) -> None:
        at_work.set()
        go_on.wait(30)

    sandbox.at("gfbio.transform", waits)
    whole = Whole.of(sandbox, busy)
    source = whole.upload("plants.xml", SAMPLE)
    assert at_work.wait(30)
    other = start_service("other", **settings, PUBLIC_URL=busy.url)
    with other.journal() as journal:
        (before,) = journal.jobs()
        assert _reconcile(other, settings) == []
        (after,) = journal.jobs()
        go_on.set()
        whole.wait_for_callback(source)

    assert before.state is State.RUNNING
    assert (after.holder, after.lease, after.deliveries) == (before.holder, before.lease, 1)
    assert whole.effective_callbacks(source) == 1


def _upload(whole: Whole, numbers: Iterator[int]) -> list[str]:
    with ThreadPoolExecutor(4) as users:
        sources = list(users.map(lambda number: whole.upload(f"{number}.xml", ABCD), numbers))
    whole.sandbox.wait_for(lambda: not whole.sandbox.delivering)
    return sources


def _reconcile(service: Running, settings: dict[str, str]) -> list[dict[str, Any]]:
    """What the command finds, run as an operator of that host runs it."""
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline", "reconcile", "--older-than", "0s", "--json"],
        cwd=ROOT,
        env={"PATH": "", **service.environment, **settings},
        capture_output=True,
        check=True,
        timeout=60,
    )
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found
