"""A real systemd in namespaces of its own, in which the service is installed as README says."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BOOT = Path(__file__).with_name("boot.sh")
_PATIENCE = 30.0  # seconds
_APP = "/opt/abcd2bioschema"
#: What a machine without a network does instead of a line of README: by the line's beginning.
_INSTEAD = {
    "git clone": (
        f"mkdir {_APP} && cd /opt/project && "
        f"cp -r app.py gunicorn.conf.py pipeline deploy requirements.txt {_APP}"
    ),
    "python3 -m venv": f"/opt/python/bin/python3 -m venv --without-pip {_APP}/.venv",
    f"{_APP}/.venv/bin/pip install": (
        f"cd {_APP}/.venv/bin && mount --bind /opt/packages ../lib/python3.*/site-packages"
        " && printf '#!%s/python\nfrom gunicorn.app.wsgiapp import run\nrun()\n' $PWD >gunicorn"
        " && chmod +x gunicorn"
    ),
    "editor": "true",
}
_NAMESPACES = ("--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup", "--kill-child")


@dataclass(frozen=True)
class Machine:
    """A booted one: ``init`` is the process id of its systemd, seen from outside."""

    init: int

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """A command inside, as root; never raises for its exit status."""
        inside = ["nsenter", f"--target={self.init}", "--all", "--root", "--wd"]
        return subprocess.run(
            [*inside, *command], input=text, capture_output=True, text=True, timeout=_PATIENCE
        )

    def install(self) -> None:
        """Do what README's section "Install" says, line by line, up to the start."""
        section = (ROOT / "README.md").read_text().partition("\n## Install\n")[2]
        block = re.search(r"```console\n(.*?)```", section, re.S)
        assert block
        for line in re.findall(r"^# (.*)$", block[1], re.M):
            given = next((_INSTEAD[start] for start in _INSTEAD if line.startswith(start)), line)
            said = self.run("bash", "-ec", given)
            assert said.returncode == 0, line + said.stderr + self.read("/var/log/abcd2bioschema")

    def read(self, path: str) -> str:
        """A file inside."""
        return self.run("cat", path).stdout


def missing() -> str | None:
    """Why no machine can be booted here, or ``None``."""
    if os.geteuid() != 0:
        return "only root can make namespaces for systemd"
    needed = ("/lib/systemd/systemd", "/usr/bin/systemd-run", "/lib/systemd/system/dbus.socket")
    absent = [path for path in needed if not Path(path).exists()]
    if absent:
        return f"{absent[0]} is not installed"
    tried = subprocess.run(["unshare", *_NAMESPACES, "mount", "-t", "cgroup2", "none", "/mnt"])
    return None if tried.returncode == 0 else "this machine does not allow namespaces"


@contextmanager
def booted(directory: Path) -> Iterator[Machine]:
    """A machine whose files are this one's, changes aside; gone with the block."""
    ready, work = directory / "ready", directory / "work"
    os.mkfifo(ready)
    work.mkdir()
    packages = sysconfig.get_path("purelib")
    command = ["bash", str(_BOOT), str(ROOT), sys.base_prefix, packages, str(work), str(ready)]
    said = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen(["unshare", *_NAMESPACES, *command]) as parent:
        try:
            assert select.select([said], [], [], _PATIENCE)[0], "systemd did not come up"
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
            yield Machine(init=int(children))
        finally:
            parent.kill()
            os.close(said)
