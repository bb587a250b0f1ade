"""The image, built by buildah without an engine, and processes in containers of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_FROM = re.findall(r"^FROM (python:\S+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)
BASE = f"docker.io/library/{_FROM[-1]}"
#: Keeps the base between two runs; vfs works within containers too.
_STORE = ROOT / ".image"
_OPTIONS = (f"--root={_STORE}", f"--runroot={_STORE}/run", "--storage-driver=vfs")


@dataclass(frozen=True)
class Image:
    """One that was built: its files, what its recipe says, and the MB it adds to its base."""

    files: Path
    config: dict[str, Any]
    megabytes: int

    def starting(self, command: list[str], settings: Mapping[str, str]) -> list[str]:
        """What becomes the first process of a container."""
        container = ["unshare", "--mount", "bash", str(Path(__file__).with_name("container.sh"))]
        where = [str(self.files), *self._user, self.config["WorkingDir"]]
        return [*container, *where, *self._environment(settings), *command]

    def beside(self, pid: int, command: list[str], settings: Mapping[str, str]) -> list[str]:
        """What runs in the container whose first process is ``pid``."""
        user, group = self._user
        inside = ["nsenter", f"--target={pid}", "--mount", "--root", "--wd"]
        as_user = [f"--setuid={user}", f"--setgid={group}", "env", "--ignore-environment"]
        return [*inside, *as_user, *self._environment(settings), *command]

    @property
    def _user(self) -> list[str]:
        return str(self.config["User"]).split(":")

    def _environment(self, settings: Mapping[str, str]) -> list[str]:
        return [*self.config["Env"], *(f"{name}={value}" for name, value in settings.items())]


def missing() -> str | None:
    """Why no image can be built here, or ``None``."""
    if os.geteuid() != 0:
        return "only root can build an image without an engine"
    return None if shutil.which("buildah") else "buildah is not installed"


def prepare_base(directory: Path) -> str | None:
    """The base as the registry has it, or one made here; why there is none, or ``None``."""
    if _buildah("images", "--quiet", BASE, check=False) or _buildah("pull", BASE, check=False):
        return None
    if shutil.which("debootstrap") is None:
        return f"no registry has {BASE}, and debootstrap is not installed"
    script = Path(__file__).with_name("base.sh")
    subprocess.run(
        ["bash", script, BASE, directory / "base", *_OPTIONS], check=True, capture_output=True
    )
    return None


@contextmanager
def built(*options: str) -> Iterator[Image]:
    """The image as the Containerfile has it, removed with the block."""
    how = ("--pull-never", "--isolation=chroot", "--format=docker", "--quiet", *options)
    image = _buildah("bud", *how, str(ROOT))
    container = _buildah("from", "--pull-never", image)
    try:
        described = json.loads(_buildah("inspect", "--type=image", image))
        yield Image(
            files=Path(_buildah("mount", container)),
            config=described["Docker"]["config"],
            megabytes=_megabytes(image) - _megabytes(BASE),
        )
    finally:
        _buildah("rm", container)
        _buildah("rmi", "--force", image)


def _megabytes(image: str) -> int:
    for found in json.loads(_buildah("images", "--json")):
        if image.startswith(found["id"]) or image in (found["names"] or ()):
            number, unit = found["size"].split()
            assert unit == "MB"
            return round(float(number))
    raise LookupError(image)


def _buildah(*command: str, check: bool = True) -> str:
    done = subprocess.run(["buildah", *_OPTIONS, *command], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip() if done.returncode == 0 else ""
