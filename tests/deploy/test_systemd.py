"""The units: hardened, understood by systemd, and started by a real one."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.deploy.conftest import Tool
from tests.deploy.machine import ROOT, Machine, booted, missing

SERVICE = ROOT / "deploy/abcd2bioschema.service"
RECONCILE = ROOT / "deploy/abcd2bioschema-reconcile.service"
TIMER = ROOT / "deploy/abcd2bioschema-reconcile.timer"


@pytest.mark.parametrize("unit", [SERVICE, RECONCILE], ids=lambda unit: unit.name)
def test_systemd_counts_an_exposure_of_two_at_most(unit: Path, tool: Tool) -> None:
    command = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_systemd_finds_no_fault_in_the_units(tool: Tool, tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    programs = tmp_path / "opt/abcd2bioschema/.venv/bin"
    for directory in (units, programs):
        directory.mkdir(parents=True)
    for program in ("gunicorn", "python"):
        (programs / program).write_text("#!/bin/sh\n")
        (programs / program).chmod(0o755)
    for target in ("sysinit", "basic", "shutdown", "network-online", "timers"):
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    for unit in (SERVICE, RECONCILE, TIMER):
        (units / unit.name).write_bytes(unit.read_bytes())
    said = _verify(tool, tmp_path, [SERVICE.name, RECONCILE.name, TIMER.name])
    assert (said.returncode, said.stderr) == (0, "")
    (units / SERVICE.name).write_text(SERVICE.read_text().replace("UMask", "Umask"))
    assert "Unknown key 'Umask'" in _verify(tool, tmp_path, [SERVICE.name]).stderr


def _verify(tool: Tool, root: Path, names: list[str]) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze"), "verify", "--man=no", f"--root={root}", *names]
    return subprocess.run(command, capture_output=True, text=True)


def test_both_services_are_hardened_alike() -> None:
    blocks = [unit.read_text().partition("# The journal lives")[2] for unit in (SERVICE, RECONCILE)]
    hardening = [block.partition("\n[Install]")[0].strip() for block in blocks]
    assert "SystemCallFilter=" in hardening[0]
    assert hardening[0] == hardening[1]


def test_systemd_waits_longer_for_the_end_than_gunicorn_does() -> None:
    configuration = ast.parse((ROOT / "gunicorn.conf.py").read_text())
    graceful = next(
        ast.literal_eval(line.value)
        for line in configuration.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "graceful_timeout"
    )
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(SERVICE)
    assert int(unit["Service"]["TimeoutStopSec"]) > graceful


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    why = missing()
    if why:
        pytest.skip(why)
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def started(machine: Machine) -> Machine:
    machine.install()
    return machine


def test_installed_line_by_line_as_readme_says_the_service_takes_hooks(started: Machine) -> None:
    health = started.run("curl", "-s", "http://127.0.0.1:5000/health")
    assert json.loads(health.stdout)["status"] == "ok"
    hook = started.run(
        *("curl", "-s", "-X", "POST", "-d", "{", "http://127.0.0.1:5000/webhook"),
        *("-H", f"Authorization: Bearer {_token(started)}"),
    )
    assert json.loads(hook.stdout)["error"] == "invalid_json"


def _token(machine: Machine) -> str:
    return machine.read("/etc/abcd2bioschema/webhook-token").strip()


def test_no_secret_stands_in_the_environment_of_a_process(started: Machine) -> None:
    processes = started.read("/sys/fs/cgroup/system.slice/abcd2bioschema.service/cgroup.procs")
    environments = [started.read(f"/proc/{pid}/environ") for pid in processes.split()]
    assert len(environments) > 1
    secret = _token(started)
    assert all("WEBHOOK_TOKEN_FILE=" in text and secret not in text for text in environments)


def test_the_journal_is_for_the_services_user_alone(started: Machine) -> None:
    listed = started.run("stat", "--format=%A %U", "/var/lib/private/abcd2bioschema/journal.db")
    assert listed.stdout == "-rw------- abcd2bioschema\n"


def test_operators_commands_share_settings_and_journal_with_the_service(started: Machine) -> None:
    command = "/opt/abcd2bioschema/deploy/abcd2bioschema"
    jobs = started.run(command, "jobs", "--json")
    assert (jobs.returncode, json.loads(jobs.stdout)) == (0, [])
    check = started.run(command, "check")
    assert check.returncode == 1
    assert re.search(r"^ok +journal +sqlite:////var/lib/abcd2bioschema/", check.stdout, re.M)


PYTHON = "/opt/abcd2bioschema/.venv/bin/python"
PGPASS = "db.example.org:5432:abcd2bioschema:abcd2bioschema:word"


@pytest.fixture(scope="module")
def secrets_of_an_operator(started: Machine) -> None:
    """The secrets that README names beside the service's own, and the drop-in for one of them."""
    started.run("tee", "/etc/abcd2bioschema/aruna-token", text="token-of-an-operator")
    started.run("tee", "/etc/abcd2bioschema/pgpass", text=PGPASS)
    directory = f"/etc/systemd/system/{RECONCILE.name}.d"
    started.run("mkdir", "-p", directory)
    started.run("cp", "/opt/project/deploy/pgpass.conf", directory)
    started.run("cp", f"/opt/project/deploy/{RECONCILE.name}", "/etc/systemd/system")


def hardened(machine: Machine, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as the reconcile unit runs its command: hardened as the service is."""
    override = f'[Service]\nExecStart=\nExecStart={PYTHON} -c "{code}"\n'
    machine.run("tee", f"/etc/systemd/system/{RECONCILE.name}.d/code.conf", text=override)
    machine.run("systemctl", "daemon-reload")
    return machine.run("systemctl", "start", RECONCILE.name)


@pytest.mark.usefixtures("secrets_of_an_operator")
def test_the_hardened_service_can_nice_and_limit_the_embedded_transformer(
    started: Machine,
) -> None:
    code = (
        "from pipeline.transform import embedded; child = embedded.start(); "
        "embedded.limit(child.pid, 60); "
        "import os; assert os.getpriority(os.PRIO_PROCESS, child.pid) > 0; child.kill()"
    )
    said = hardened(started, code)
    assert said.returncode == 0, said.stderr


@pytest.mark.usefixtures("secrets_of_an_operator")
def test_the_hardened_service_knows_that_its_predecessor_is_dead(started: Machine) -> None:
    code = (
        "import os, pathlib; from pipeline.journal.process import is_gone, own_name; "
        "holder = pathlib.Path(os.environ['STATE_DIRECTORY'], 'holder'); "
        "assert not is_gone(own_name()); "
        "assert not holder.exists() or is_gone(holder.read_text()); "
        "holder.write_text(own_name())"
    )
    for _ in range(2):
        said = hardened(started, code)
        assert said.returncode == 0, said.stderr


@pytest.mark.usefixtures("secrets_of_an_operator")
def test_the_password_for_postgresql_reaches_the_unit_and_the_command(started: Machine) -> None:
    read = "import os, pathlib; said = pathlib.Path(os.environ['PGPASSFILE']).read_text(); "
    said = hardened(started, f"{read} assert said == '{PGPASS}'")
    assert said.returncode == 0, said.stderr

    started.run("mkdir", "/opt/spy")
    started.run("tee", "/opt/spy/sitecustomize.py", text=f"{read} print(said)")
    started.run("tee", "-a", "/etc/abcd2bioschema/environment", text="PYTHONPATH=/opt/spy\n")
    said = started.run("/opt/abcd2bioschema/deploy/abcd2bioschema", "jobs")
    started.run("rm", "/opt/spy/sitecustomize.py")
    assert said.stdout.splitlines()[:1] == [PGPASS], said.stderr


def test_a_stop_is_clean_and_the_next_start_finds_the_journal(started: Machine) -> None:
    inode = ("stat", "--format=%i", "/var/lib/private/abcd2bioschema/journal.db")
    before = started.run(*inode).stdout
    started.run("systemctl", "stop", "abcd2bioschema.service")
    result = started.run("systemctl", "show", "--property=Result,ExecMainStatus", SERVICE.name)
    assert sorted(result.stdout.split()) == ["ExecMainStatus=0", "Result=success"]
    assert started.run("systemctl", "start", "abcd2bioschema.service").returncode == 0
    assert started.run(*inode).stdout == before
