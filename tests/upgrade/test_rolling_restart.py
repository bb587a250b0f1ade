"""Two hosts on one PostgreSQL go from 1.0.0 to this version, one after the other, under load."""

from __future__ import annotations

import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.kept import DONE, assert_nothing_is_held, eventually, is_idle
from tests.running import ROOT, TOKEN, Running, running
from tests.whole import Whole

#: The last commit of 1.0.0.
OLD = "e0c220a"
EACH = 10  # hooks that follow one another


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of 1.0.0, from the history; skips where that is not there."""
    archive = ["git", "archive", OLD, "app.py", "gunicorn.conf.py", "pipeline"]
    said = subprocess.run(archive, cwd=ROOT, capture_output=True)
    if said.returncode != 0:
        pytest.skip(f"commit {OLD} (1.0.0) is not in the history: a shallow clone, or none")
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=BytesIO(said.stdout)) as files:
        files.extractall(directory, filter="data")
    return directory


@contextmanager
def address(hosts: list[Running], lock: Lock) -> Iterator[str]:
    """The one address before the hosts: each request goes to the next of them.

    Who holds the ``lock`` may take one away that has answered all of its requests.
    """
    numbers = count()

    class Forward(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                answer = hosts[next(numbers) % len(hosts)].post(body, **self.headers)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_rolling_restart_from_1_0_0_loses_nothing_and_does_nothing_twice(
    sandbox: Sandbox, postgresql_url: str, old: Path, tmp_path: Path
) -> None:
    settings = {**sandbox.environment(), "WEBHOOK_TOKEN": TOKEN, "JOURNAL_URL": postgresql_url}
    with ExitStack() as services:

        def start(name: str, checkout: Path) -> Running:
            return services.enter_context(running(tmp_path / name, settings, checkout=checkout))

        hosts, lock = [start("old-1", old), start("old-2", old)], Lock()
        project = sandbox.create_project("garden")
        url = services.enter_context(address(hosts, lock))
        hook = sandbox.register_hook(url=f"{url}/webhook", projects=[project], token=TOKEN)
        whole = Whole(sandbox, hosts[-1], project, hook)
        sources = upload_until_each_has_worked(whole, hosts)
        load = services.enter_context(ThreadPoolExecutor(1))
        for name in ("new-1", "new-2"):
            meanwhile = load.submit(upload, whole, f"while-{name}-starts")
            with lock:
                leaving = hosts.pop(0)
            assert leaving.stop() == 0
            hosts.append(start(name, ROOT))
            sources += meanwhile.result() + upload_until_each_has_worked(whole, hosts)
        whole.service = hosts[-1]
        eventually(lambda: is_idle(whole.service), timeout=120)
        assert_each_done_once(whole, sources)


def upload_until_each_has_worked(whole: Whole, hosts: list[Running]) -> list[str]:
    """Sources, until each of the hosts has done the job of one; others may have done more."""
    sources: list[str] = []
    while not all("job.succeeded" in host.logged() for host in hosts):
        sources += upload(whole, f"after-{len(whole.sandbox.deliveries)}")
        eventually(lambda: is_idle(hosts[-1]), timeout=60)
    return sources


def upload(whole: Whole, name: str) -> list[str]:
    """``EACH`` sources, all of whose hooks have been acknowledged."""
    sources = [whole.upload(f"{name}-{number}.xml", SAMPLE) for number in range(EACH)]
    whole.sandbox.wait_for(lambda: not whole.sandbox.delivering, timeout=60)
    assert {delivered.status for delivered in whole.sandbox.deliveries} == {202}
    return sources


def assert_each_done_once(whole: Whole, sources: list[str]) -> None:
    """One callback, one label and one result for each, and nothing left in the journal."""
    told = Counter(call.object_id for call in whole.sandbox.callbacks if call.accepted)
    assert told == dict.fromkeys(sources, 1)
    for source in sources:
        assert (whole.status(source), whole.labels(source)) == ("FINISHED", DONE)
        assert whole.result_json(source)["@type"] == "Dataset"
    assert_nothing_is_held(whole)
