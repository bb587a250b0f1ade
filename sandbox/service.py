"""The webhook service as users run it: gunicorn processes, stopped or killed as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Seconds.
_START_PATIENCE = 30.0
_STOP_PATIENCE = 60.0
_LOOK_EVERY = 0.2


class Service:
    """One gunicorn master with its workers; ``url`` is the service's base URL.

    It listens on a free port of loopback, with its state and its log below ``directory``. Of this
    process's environment it sees no setting; ``settings`` are its own. ``checkout`` is where its
    code is.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        application: str = "app:app",
        checkout: Path = ROOT,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "service.log"
        self.environment = {
            "SERVER_HOST": "127.0.0.1",
            "SERVICE_PORT": str(port),
            "PUBLIC_URL": self.url,
            "STATE_DIR": str(directory / "state"),
            "TEMP_DIR": str(directory / "temp"),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._application = application
        self._checkout = checkout

    def start(self) -> None:
        """Start gunicorn and wait until it says that it is ready.

        Raises ``RuntimeError``, with the log's path, if it ends before, and ``TimeoutError``.
        """
        with _readiness() as (address, ready):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(  # noqa: S603 - the service's own command
                    [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", self._application],
                    cwd=self._checkout,
                    env={**bare_environment(), **self.environment, "NOTIFY_SOCKET": address},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            until = time.monotonic() + _START_PATIENCE
            while not _says_ready(ready):
                if self.process.poll() is not None:
                    raise RuntimeError(f"the service did not start; its log is {self.log}")
                if time.monotonic() > until:
                    raise TimeoutError(f"not ready in {_START_PATIENCE:g} s; log: {self.log}")

    def stop(self) -> int:
        """SIGTERM to the master; its exit status once all has ended."""
        process = self._started()
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=_STOP_PATIENCE)

    def kill(self) -> None:
        """SIGKILL to all processes at once, as a machine that loses its power."""
        process = self._started()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Kill what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def logged(self) -> str:
        """Everything it has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("the service was never started")
        return self.process


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def bare_environment() -> dict[str, str]:
    """What a program needs of this process's environment, without any setting of the service."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@contextmanager
def _readiness() -> Iterator[tuple[str, socket.socket]]:
    """A socket like systemd's, which gunicorn tells when it is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        address = f"\0abcd2bioschema-{os.getpid()}-{id(ready)}"
        ready.bind(address)
        ready.settimeout(_LOOK_EVERY)
        yield f"@{address[1:]}", ready


def _says_ready(ready: socket.socket) -> bool:
    try:
        return b"READY=1" in ready.recv(4096)
    except TimeoutError:
        return False
