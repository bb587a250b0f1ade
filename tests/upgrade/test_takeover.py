"""A journal that version 1.0.0 has left behind: its jobs end well, its history stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.journal import Job, State
from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.databases import DATABASES, database
from tests.durability.conftest import Starter
from tests.durability.kept import DONE, assert_done_once, wait_for_the_end
from tests.running import ROOT, TOKEN
from tests.upgrade.written import KEY, lend, opened, receiver, restore
from tests.whole import Whole

#: Sources whose jobs have work to do, and those that lack the callback alone.
WORK = ("running", "overwritten", "waiting", "backoff", "queued", "delivered-twice")
CALLBACK = ("calling", "callback")
OTHERS = ("refused", "ignored", "failed")
SETTINGS = {"ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1", "ALLOW_INSECURE": "true"}


@dataclass(frozen=True)
class Taken:
    """A service that has taken over, and the sources in its Aruna by the stem of their names."""

    whole: Whole
    sources: dict[str, str]

    def jobs(self) -> dict[str, list[Job]]:
        """What the journal has, by the stem of the source's name; the newest first."""
        with self.whole.service.journal() as journal:
            found: dict[str, list[Job]] = {}
            for job in journal.jobs():
                found.setdefault(job.name.removesuffix(".xml"), []).append(job)
            return found


@pytest.fixture(params=DATABASES)
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the journal that 1.0.0 has written, of each kind."""
    with database(request.param, tmp_path) as url:
        restore(url)
        yield url


@pytest.fixture
def taken(sandbox: Sandbox, start_service: Starter, journal_url: str) -> Taken:
    with receiver() as (hook_url, bodies):
        project = sandbox.create_project("garden")
        hook = sandbox.register_hook(url=hook_url, projects=[project], token=TOKEN)
        sources = {
            stem: sandbox.upload(f"{stem}.xml", SAMPLE, parent=project, labels={"ABCD": "true"})
            for stem in (*WORK, *CALLBACK, *OTHERS)
        }
        sandbox.wait_for(lambda: not sandbox.delivering)
    lend(journal_url, {json.loads(body)["object"]["Object"]["name"]: body for body in bodies})
    service = start_service(JOURNAL_URL=journal_url, JOURNAL_KEY=KEY)
    whole = Whole(sandbox, service, project, hook)
    wait_for_the_end(whole, *(sources[stem] for stem in sources if stem != "failed"), timeout=60)
    return Taken(whole, sources)


def test_every_job_that_was_left_ends_well_and_what_had_ended_stays(taken: Taken) -> None:
    assert_ended_well(taken)
    assert_history_is_kept(taken)
    assert_a_failed_job_can_be_tried_again(taken)


def assert_ended_well(taken: Taken) -> None:
    """Each has its label, one callback, and a result if there was none yet."""
    whole, sources = taken.whole, taken.sources
    for stem in WORK:
        assert_done_once(whole, sources[stem])
    for stem in CALLBACK:
        assert whole.labels(sources[stem]) == DONE
        assert whole.results_of(sources[stem]) == []
    assert whole.error(sources["refused"]).startswith("invalid_input: line 1, column 1")
    assert whole.labels(sources["ignored"]) == []
    ended = [sources[stem] for stem in sources if stem != "failed"]
    assert [whole.effective_callbacks(source) for source in ended] == [1] * len(ended)


def assert_history_is_kept(taken: Taken) -> None:
    """Jobs that had ended, attempts and notes are what they were."""
    whole, jobs = taken.whole, taken.jobs()
    assert {
        stem: [job.state.value for job in jobs[stem]] for stem in ("succeeded", "scrubbed")
    } == {
        "succeeded": ["succeeded"],
        "scrubbed": ["failed"],
    }
    assert [job.outcome and job.outcome.code for job in jobs["overwritten"]] == [None, "superseded"]
    (failed,) = jobs["failed"]
    assert (failed.state, failed.outcome and failed.outcome.code) == (State.FAILED, "create_failed")
    with whole.service.journal() as journal:
        assert [attempt.code for attempt in journal.attempts(jobs["backoff"][0].id)][:3] == [
            *("gfbio_unavailable", "gfbio_unavailable", "upload_failed"),
        ]
        assert journal.attempts(jobs["running"][0].id)[0].code == "lost"
        assert json.loads(journal.noted("reconcile") or "")["found"] == 3


def assert_a_failed_job_can_be_tried_again(taken: Taken) -> None:
    """It had kept its credentials, and is rid of them after its success; failed ones keep them."""
    whole, source = taken.whole, taken.sources["failed"]
    (failed,) = taken.jobs()["failed"]
    assert _command(whole.service.environment, "retry", failed.id).returncode == 0
    wait_for_the_end(whole, source)
    assert_done_once(whole, source)
    with opened(whole.service.environment["JOURNAL_URL"]) as connection:
        kept = text("SELECT name FROM jobs WHERE credentials IS NOT NULL")
        assert connection.scalars(kept).all() == ["refused.xml"]


def test_a_journal_of_a_newer_version_is_refused_in_one_line(journal_url: str) -> None:
    with opened(journal_url) as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    said = _command({"JOURNAL_URL": journal_url, **SETTINGS}, "jobs")
    assert (said.returncode, said.stdout) == (1, "")
    assert "its schema is version 99, this program knows" in said.stderr
    assert said.stderr.count("\n") == 1


def _command(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
