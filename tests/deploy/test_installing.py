"""``requirements/install``: which Python is taken, and what is installed when.

An installer that writes down what it is asked stands in for uv, so no registry is needed.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.image import ROOT

WRITES_DOWN = 'for last; do :; done; echo "$last" >>asked'


@dataclass(frozen=True)
class Place:
    """A directory with requirements, and programs that come first on the PATH."""

    directory: Path

    def install(
        self, wanted: str, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        """See to it that ``.venv`` holds a set."""
        return subprocess.run(
            [self.directory / "requirements/install", ".venv", wanted],
            env={"PYTHON": python, "PATH": f"{self.directory}/programs:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )

    def program(self, name: str, text: str) -> None:
        """A shell script."""
        path = self.directory / "programs" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    @property
    def installed(self) -> list[str]:
        """The files that the installer was given, in their order."""
        return (self.directory / "asked").read_text().split()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "programs").mkdir()
    place = Place(tmp_path)
    place.program("uv", WRITES_DOWN)
    return place


def test_a_set_is_installed_once_and_a_smaller_one_never_after_it(place: Place) -> None:
    for wanted in ("sandbox", "sandbox", "tests", "sandbox", "tests"):
        said = place.install(wanted)
        assert said.returncode == 0, said.stderr
    assert place.installed == ["requirements/sandbox.txt", "requirements/tests.txt"]
    assert said.stdout == ""


def test_other_pins_make_the_environment_anew(place: Place) -> None:
    place.install("tests")
    left = place.directory / ".venv/left-behind"
    left.touch()
    with (place.directory / "requirements.txt").open("a") as pins:
        pins.write("# another\n")
    place.install("sandbox")
    assert place.installed == ["requirements/tests.txt", "requirements/sandbox.txt"]
    assert not left.exists()


def test_another_python_makes_the_environment_anew(place: Place) -> None:
    place.install("tests")
    made_of = place.directory / ".venv/.made-of"
    made_of.write_text(made_of.read_text().replace(sys.base_prefix, "/another/python"))
    place.install("tests")
    assert place.installed == ["requirements/tests.txt"] * 2


def test_the_environments_own_python_stays_if_none_is_named(place: Place) -> None:
    place.install("tests")
    place.program("python3", "exit 1")
    assert place.install("tests", python="").returncode == 0
    assert place.installed == ["requirements/tests.txt"]


def test_an_installation_that_was_broken_off_is_not_taken_for_one(place: Place) -> None:
    place.program("uv", "kill -KILL $PPID")
    assert place.install("tests").returncode == -signal.SIGKILL
    place.program("uv", WRITES_DOWN)
    assert place.install("tests").returncode == 0
    assert place.installed == ["requirements/tests.txt"]


@pytest.mark.parametrize("named", ["python3.9", ""])
def test_a_python_that_is_too_old_is_refused_in_one_line(place: Place, named: str) -> None:
    for name in ("python3", "python3.9", *(f"python3.1{minor}" for minor in range(1, 5))):
        place.program(name, '[ "$1" = -V ] && echo Python 3.9.2 || exit 1')
    said = place.install("tests", python=named)
    assert said.returncode == 2
    assert said.stderr.startswith("Python 3.11 or newer is needed, and python3")
    assert "(Python 3.9.2)" in said.stderr
    assert said.stderr.count("\n") == 1
    assert not (place.directory / ".venv").exists()
