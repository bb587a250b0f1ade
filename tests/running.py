"""The service as users run it: gunicorn processes on loopback, stopped or killed as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from pipeline.journal import Journal

ROOT = Path(__file__).parent.parent
#: The token that the tests' hooks are registered with.
TOKEN = "webhook-token-of-the-tests"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
_START_PATIENCE = 30.0


@dataclass
class Running:
    """One gunicorn master with its workers; ``url`` is the service's base URL."""

    url: str
    environment: dict[str, str]
    log: Path
    application: str = "app:app"
    checkout: Path = ROOT
    process: subprocess.Popen[bytes] | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def start(self) -> None:
        """Start gunicorn and wait until it says that it is ready."""
        with _readiness() as (address, ready):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", self.application],
                    cwd=self.checkout,
                    env={**_bare_environment(), **self.environment, "NOTIFY_SOCKET": address},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            ready.settimeout(_START_PATIENCE)
            while b"READY=1" not in ready.recv(4096):
                pass

    def stop(self) -> int:
        """SIGTERM to the master; its exit status once all has ended."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """SIGKILL to all processes at once, as a machine that loses its power."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

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
        journal = Journal(self.environment.get("JOURNAL_URL", default))
        journal.open()
        try:
            yield journal
        finally:
            journal.close()

    def logged(self) -> str:
        """Everything it has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


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
    port = free_port()
    environment = {
        "SERVER_HOST": "127.0.0.1",
        "SERVICE_PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "STATE_DIR": str(directory / "state"),
        "TEMP_DIR": str(directory / "temp"),
        "WEBHOOK_TOKEN": TOKEN,
        "ALLOW_INSECURE": "true",
        "ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1",
        **settings,
    }
    directory.mkdir(parents=True, exist_ok=True)
    service = Running(
        f"http://127.0.0.1:{port}", environment, directory / "service.log", application, checkout
    )
    if start:
        service.start()
    try:
        yield service
    finally:
        service.session.close()
        if service.process is not None and service.process.poll() is None:
            service.kill()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _readiness() -> Iterator[tuple[str, socket.socket]]:
    """A socket like systemd's, which gunicorn tells when it is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        address = f"\0abcd2bioschema-{os.getpid()}-{id(ready)}"
        ready.bind(address)
        yield f"@{address[1:]}", ready


def _bare_environment() -> dict[str, str]:
    """What a service needs of this process's environment, none of its settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
