"""A job as its steps see it: claimed from a real journal, with the sandbox around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.aruna.client import Aruna
from pipeline.attempt import Attempt
from pipeline.jobs.context import Dependencies, JobContext
from pipeline.jobs.creations import Creations
from pipeline.journal import Journal
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.web.payload import parse_hook
from sandbox import Sandbox
from tests.conftest import SAMPLE

_LEASE = 600.0


@dataclass
class Jobs:
    """Sources in one project of a sandbox, and contexts of the jobs that their hooks make."""

    sandbox: Sandbox
    deps: Dependencies
    project: str
    in_background: list[Callable[[], None]] = field(default_factory=list)

    def delivered(self, source: str) -> bytes:
        """The body of the newest hook for that source, which nobody has taken."""
        self.sandbox.wait_for(lambda: not self.sandbox.delivering)
        return [d.body for d in self.sandbox.deliveries if d.object_id == source][-1]

    def upload(self, name: str = "plants.xml") -> str:
        """A labelled source."""
        return self.sandbox.upload(name, SAMPLE, parent=self.project, labels={"ABCD": "true"})

    def claimed(self, source: str, attempt: Attempt | None = None) -> JobContext:
        """A new job of that source, or the one that was let go, claimed."""
        hook = parse_hook(self.delivered(source))
        self.deps.journal.enqueue(hook)
        (held,) = self.deps.journal.claim("the test", 1, _LEASE)
        return JobContext(held, hook, attempt or Attempt(60), self.deps)


@contextmanager
def jobs_of(sandbox: Sandbox, directory: Path, **settings: str) -> Iterator[Jobs]:
    """Jobs with a journal in ``directory``; their hooks are delivered to nobody."""
    environment = {**sandbox.environment("http://127.0.0.1:1"), "STATE_DIR": str(directory)}
    read = Settings.from_environment({**environment, **settings})
    journal = Journal(read.journal_url)
    project = sandbox.create_project("garden")
    sandbox.register_hook(url="http://127.0.0.1:1/webhook", projects=[project])
    background: list[Callable[[], None]] = []

    def later(task: Callable[[], None]) -> bool:
        background.append(task)
        return True

    with ExitStack() as resources:
        journal.open()
        resources.enter_context(closing(journal))
        aruna = resources.enter_context(closing(Aruna(read.aruna_server_address)))
        addresses = Addresses(read.allowed_hosts, read.allow_insecure)
        deps = Dependencies(
            settings=read,
            journal=journal,
            aruna=aruna,
            addresses=addresses,
            metrics=Metrics(),
            creations=Creations(journal),
            later=later,
        )
        yield Jobs(sandbox, deps, project, background)
