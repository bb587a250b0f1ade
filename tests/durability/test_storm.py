"""Hundreds of hooks in flight, and the service is killed again and again at random moments."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from pipeline.journal import State
from sandbox import Sandbox
from tests.databases import database
from tests.durability.conftest import Starter
from tests.durability.kept import DONE, assert_nothing_is_held, eventually, is_idle
from tests.running import Running
from tests.whole import Whole

KILLS = 4
_FORGOTTEN = 60.0


@pytest.mark.parametrize(("kind", "hooks"), [("sqlite", 200), ("postgresql", 60)])
def test_a_storm_of_kills_loses_nothing_and_does_nothing_twice(
    sandbox: Sandbox, start_service: Starter, tmp_path: Path, kind: str, hooks: int
) -> None:
    with database(kind, tmp_path) as url:
        service = start_service(JOURNAL_URL=url, GFBIO_TRANSPORT="direct")
        storm(sandbox, service, hooks)


def storm(sandbox: Sandbox, service: Running, hooks: int) -> None:
    """Kill the service after random numbers of calls: a job makes about a dozen, so that some of
    them are done in between."""
    chance = random.Random(5)
    whole = Whole.of(sandbox, service)
    gate = threading.Event()
    sandbox.at("grpc.GetPubkeys", lambda _: gate.wait(_FORGOTTEN), times=None)
    sandbox.aruna.upload_window = 0.0
    sources = [whole.upload(f"plants-{number}.xml", _small(number)) for number in range(hooks)]
    sandbox.wait_for(lambda: not sandbox.delivering, timeout=60)
    assert [delivered.status for delivered in sandbox.deliveries] == [202] * hooks
    gate.set()
    for _ in range(KILLS):
        wait_for_calls(sandbox, chance.randint(hooks // 10, 2 * hooks))
        service.kill()
        service.start()
    with service.journal() as journal:
        assert len(journal.jobs(State.SUCCEEDED)) < hooks / 2
    eventually(lambda: is_idle(service), timeout=60)
    told = Counter(call.object_id for call in sandbox.callbacks if call.accepted)
    assert told == dict.fromkeys(sources, 1)
    for source in sources:
        assert (whole.status(source), whole.labels(source)) == ("FINISHED", DONE)
    assert results(sandbox, whole.project, hooks) == [
        (f"plants-{number}.json", f"Plants {number}") for number in sorted(range(hooks), key=str)
    ]
    assert_nothing_is_held(whole)


def wait_for_calls(sandbox: Sandbox, number: int) -> None:
    """Wait until so many more calls have arrived."""
    enough = len(sandbox.requests()) + number
    eventually(lambda: len(sandbox.requests()) >= enough)


def results(sandbox: Sandbox, project: str, sources: int) -> list[tuple[str, str]]:
    """Name of each object that is no source, and the name in its JSON."""
    made = [found for found in sandbox.objects_in(project) if found.name.endswith(".json")]
    assert len(sandbox.objects_in(project)) == sources + len(made)
    return sorted((found.name, json.loads(sandbox.content(found.id))["name"]) for found in made)


def _small(number: int) -> bytes:
    """A document with one title and nothing else."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06"><DataSet><Metadata><Description>'
        f'<Representation language="en"><Title>Plants {number}</Title></Representation>'
        "</Description></Metadata></DataSet></DataSets>"
    ).encode()
