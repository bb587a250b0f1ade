"""The image's recipe and compose.yaml, as far as they can be tried without an engine."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import __version__
from pipeline.settings import Settings
from tests.deploy.conftest import Tool

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in CONTAINERFILE.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
LAST_STAGE = INSTRUCTIONS[max(n for n, i in enumerate(INSTRUCTIONS) if i[0] == "FROM") :]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_hadolint_finds_nothing(tool: Tool) -> None:
    said = subprocess.run(
        [tool("hadolint"), str(ROOT / "Containerfile")], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout


def test_every_base_is_pinned_to_a_full_version() -> None:
    bases = [rest.split()[0] for name, rest in INSTRUCTIONS if name == "FROM"]
    outside = [base for base in bases if base != "build"]
    assert outside
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base) for base in outside)
    assert len(set(outside)) == 1


def test_the_image_runs_as_an_ordinary_user_and_installs_nothing() -> None:
    assert [rest for name, rest in LAST_STAGE if name == "USER"] == ["10001:10001"]
    runs = " ".join(rest for name, rest in LAST_STAGE if name == "RUN")
    assert "pip uninstall" in runs
    assert " install -r" not in runs
    assert "apt" not in runs


def test_the_label_says_the_version_of_the_service() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', CONTAINERFILE))
    assert labels["version"] == __version__


def test_all_that_the_recipe_copies_reaches_it() -> None:
    ignored = (ROOT / ".containerignore").read_text().split()
    copied = [
        source
        for name, rest in INSTRUCTIONS
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {f"!{source}" for source in copied} <= set(ignored)
    assert all((ROOT / source).exists() for source in copied)
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_the_health_check_fails_when_the_service_says_so(status: int, exit_status: int) -> None:
    assert _health_check(status) == exit_status


def _health_check(status: int) -> int:
    [command] = [rest for name, rest in LAST_STAGE if name == "HEALTHCHECK"]
    python, *arguments = json.loads(command.partition("CMD ")[2])
    assert python == "python"
    with _serving(status) as port:
        environment = {"SERVICE_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True
        ).returncode


@contextmanager
def _serving(status: int) -> Iterator[int]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port
        thread.join()


def test_compose_takes_the_file(tool: Tool, tmp_path: Path) -> None:
    assert _compose(tool, ROOT / "compose.yaml").returncode == 0
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((ROOT / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    assert "readonly" in _compose(tool, misspelt).stderr


def _compose(tool: Tool, file: Path) -> subprocess.CompletedProcess[str]:
    plugin = subprocess.run(["sh", "-c", "docker compose version"], capture_output=True)
    program = ["docker", "compose"] if plugin.returncode == 0 else [tool("docker-compose")]
    command = [*program, "--file", str(file), "config"]
    return subprocess.run(command, capture_output=True, text=True)


def test_compose_starts_the_service_with_settings_that_it_takes() -> None:
    service = COMPOSE["services"]["service"]
    settings = Settings.from_environment(service["environment"])
    published = COMPOSE["services"]["sandbox"]["ports"]
    assert f"127.0.0.1:{settings.service_port}:{settings.service_port}" in published
    assert service["read_only"] is True
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_starts_the_sandbox_where_the_service_looks_for_it() -> None:
    command = COMPOSE["services"]["sandbox"]["command"]
    environment = COMPOSE["services"]["service"]["environment"]
    ports = dict(re.findall(r"--(\w+)-port=(\d+)", " ".join(command)))
    assert environment["ARUNA_SERVER_ADDRESS"].endswith(f":{ports['grpc']}")
    assert environment["GFBIO_BASE_URL"].endswith(f":{ports['gfbio']}/api")
    free = [re.sub(r"-port=\d+", "-port=0", word) for word in command[1:]]
    loopback = [word.replace("0.0.0.0", "127.0.0.1") for word in free]  # noqa: S104 - to be replaced
    with subprocess.Popen(
        [sys.executable, *loopback], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout is not None
        lines = iter(sandbox.stdout)
        assert any(line.startswith("project:        demo = ") for line in lines)
        assert f"export WEBHOOK_TOKEN={environment['WEBHOOK_TOKEN']}\n" in lines
        sandbox.send_signal(signal.SIGTERM)
        assert sandbox.wait(timeout=30) == 0
