"""The image, built and run as an engine would: ``make image``."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.deploy.image import ROOT, Image, built, missing, prepare_base
from tests.running import Running
from tests.whole import Whole

Build = Callable[..., AbstractContextManager[Image]]

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
STOPS_WITHIN = float(COMPOSE["service"]["stop_grace_period"].removesuffix("s"))
HEALTHY_WITHIN = 60.0


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds the image with options of buildah; skips by the name of what is missing."""
    why = missing() or prepare_base(tmp_path_factory.mktemp("base"))
    if why:
        pytest.skip(why)
    return built


@pytest.fixture(scope="module")
def image(build: Build) -> Iterator[Image]:
    with build() as image:
        yield image


@dataclass(frozen=True)
class Container:
    """The service in a container: ``process`` is its first."""

    image: Image
    service: Running
    process: subprocess.Popen[bytes]

    def run(self, *command: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A command in it, as the service's user and with its settings."""
        inside = self.image.beside(self.process.pid, [*command], self.service.environment)
        return subprocess.run(inside, input=text, capture_output=True)

    def is_healthy(self) -> bool:
        """What the image's own health check says."""
        return self.run(*self.image.config["Healthcheck"]["Test"][1:]).returncode == 0


@pytest.fixture
def container(image: Image, sandbox: Sandbox, tmp_path: Path) -> Iterator[Container]:
    # Never started here: its address and settings are the container's, its log is the container's.
    service = Running(tmp_path, sandbox.environment())
    settings = {
        name: value
        for name, value in service.environment.items()
        if name not in ("STATE_DIR", "TEMP_DIR")
    }
    with (
        closing(service),
        _first_process(image, image.config["Cmd"], settings, service.log) as process,
    ):
        container = Container(image, service, process)
        until = time.monotonic() + HEALTHY_WITHIN
        while not container.is_healthy():
            assert time.monotonic() < until, service.logged()
        yield container


@contextmanager
def _first_process(
    image: Image, command: list[str], settings: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            image.starting(command, settings), stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_the_image_adds_less_than_150_megabytes_to_its_base(image: Image) -> None:
    assert 0 < image.megabytes < 150


def test_a_job_is_done_on_a_read_only_root_and_a_stop_ends_in_time(
    container: Container, sandbox: Sandbox
) -> None:
    whole = Whole.of(sandbox, container.service)
    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source, timeout=120)
    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]
    assert whole.result_json(source)["@type"] == "Dataset"
    assert b"Read-only file system" in container.run("touch", "/var/tmp/x").stderr  # noqa: S108 - refused
    assert container.run("id", "-u").stdout == b"10001\n"
    container.process.terminate()
    assert container.process.wait(timeout=STOPS_WITHIN) == 0, container.service.logged()


def test_operators_commands_work_in_the_container(container: Container) -> None:
    transformed = container.run("python", "-m", "pipeline", "transform", "-", text=SAMPLE)
    assert (transformed.returncode, transformed.stderr) == (0, b"")
    assert b'"@type":"Dataset"' in transformed.stdout.replace(b" ", b"")
    assert container.run("python", "-m", "pipeline", "check").returncode == 0


def test_the_image_of_the_sandbox_starts(build: Build) -> None:
    command = [*COMPOSE["sandbox"]["command"], "--host=127.0.0.1"]
    command = [word for word in command if "-port=" not in word]
    with (
        build("--target=sandbox") as image,
        subprocess.Popen(image.starting(command, {}), stdout=subprocess.PIPE, text=True) as sandbox,
    ):
        assert sandbox.stdout is not None
        assert any(line.startswith("project:        demo = ") for line in sandbox.stdout)
        sandbox.terminate()
        assert sandbox.wait(timeout=STOPS_WITHIN) == 0
