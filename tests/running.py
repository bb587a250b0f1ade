"""The service under test: its processes, hooks posted to it, and its journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import requests

from pipeline.journal import Journal
from sandbox.service import ROOT, Service, free_port

__all__ = ["AUTHORIZATION", "ROOT", "TOKEN", "Running", "free_port", "running"]

#: The token that the tests' hooks are registered with.
TOKEN = "webhook-token-of-the-tests"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
_SETTINGS = {
    "WEBHOOK_TOKEN": TOKEN,
    "ALLOW_INSECURE": "true",
    "ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1",
}


class Running(Service):
    """A service of which tests ask more than that it runs."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        application: str = "app:app",
        checkout: Path = ROOT,
    ) -> None:
        super().__init__(
            directory, {**_SETTINGS, **settings}, application=application, checkout=checkout
        )
        self.session = requests.Session()

    def close(self) -> None:
        """Kill what still runs."""
        self.session.close()
        super().close()

    def post(self, body: bytes, **headers: str) -> requests.Response:
        """A delivery, as Aruna sends it."""
        return self.session.post(
            f"{self.url}/webhook",
            data=body,
            headers={**AUTHORIZATION, "Content-Type": "application/json", **headers},
            timeout=30,
        )

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The service's own journal, opened from this process too."""
        default = f"sqlite:///{self.environment['STATE_DIR']}/journal.db"
        with closing(Journal(self.environment.get("JOURNAL_URL", default))) as journal:
            journal.open()
            yield journal


@contextmanager
def running(
    directory: Path,
    settings: Mapping[str, str],
    *,
    start: bool = True,
    application: str = "app:app",
    checkout: Path = ROOT,
) -> Iterator[Running]:
    """A service with its state below ``directory``; ended, killed if need be, with the block."""
    with closing(
        Running(directory, settings, application=application, checkout=checkout)
    ) as service:
        if start:
            service.start()
        yield service
