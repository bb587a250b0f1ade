"""What the project is made of is pinned, and its exceptions and promises are explained."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.running import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIRECT = PROJECT["project"]["dependencies"]
GROUPS: dict[str, list[str | dict[str, str]]] = PROJECT["dependency-groups"]
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(?P<version>[^\s;]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
_EXCEPTION = re.compile(r"# noqa\b(?P<codes>: ?[A-Z0-9]+(?:, ?[A-Z0-9]+)*)?(?P<reason> - \w.+)?")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def pins(requirements: list[str]) -> dict[str, str]:
    """Name and version of each; all of them must be exact."""
    found = [_REQUIREMENT.match(requirement) for requirement in requirements]
    assert None not in found, requirements
    return {pin["name"].lower(): pin["version"] for pin in found if pin}


def locked(name: str) -> dict[str, list[str]]:
    """The entries of a requirements file: the pin, and the lines below it."""
    entries: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", " ")):
            entries[line] = []
        elif entries and not line.lstrip().startswith("#"):
            entries[next(reversed(entries))].append(line)
    return entries


def asked_for(group: str) -> list[str]:
    """What a group of pyproject.toml lists, and the groups in it."""
    return [
        requirement
        for entry in GROUPS[group]
        for requirement in (
            [entry] if isinstance(entry, str) else asked_for(entry["include-group"])
        )
    ]


#: Each set of requirements that is installed: its file, and what was asked for.
SETS = {
    "requirements.txt": DIRECT,
    **{f"requirements/{group}.txt": [*DIRECT, *asked_for(group)] for group in GROUPS},
    "requirements/uv.txt": asked_for("uv"),
}
#: Those of the service, each with all that stands in the one before it.
LAYERS = ["requirements.txt", *(f"requirements/{group}.txt" for group in GROUPS if group != "uv")]


@pytest.mark.parametrize("name", SETS)
def test_every_requirement_is_exact_and_has_hashes(name: str) -> None:
    entries = locked(name)
    assert len(entries) >= len(SETS[name])
    assert len(pins(list(entries))) == len(entries)
    assert [pin for pin, below in entries.items() if not _HASH.search("\n".join(below))] == []


@pytest.mark.parametrize("name", SETS)
def test_what_is_installed_is_what_was_asked_for(name: str) -> None:
    installed = pins(list(locked(name)))
    assert {n: v for n, v in pins(SETS[name]).items() if installed.get(n) != v} == {}, (
        "run: make requirements"
    )


@pytest.mark.parametrize(("smaller", "larger"), [*pairwise(LAYERS)])
def test_each_set_holds_the_one_before_it(smaller: str, larger: str) -> None:
    assert locked(smaller).keys() < locked(larger).keys()


def test_the_supported_pythons_are_the_same_everywhere() -> None:
    supported = ["3.11", "3.12", "3.13", "3.14"]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert yaml.safe_load(workflow)["jobs"]["gate"]["strategy"]["matrix"]["python"] == supported
    assert f"for python in {' '.join(supported)};" in (ROOT / "requirements/resolve").read_text()
    minors = " ".join(python.removeprefix("3.") for python in supported)
    assert f"for minor in {minors};" in (ROOT / ".ci/run").read_text()
    assert (
        f"Python {', '.join(supported[:-1])} or {supported[-1]}" in (ROOT / "README.md").read_text()
    )


def test_the_metadata_name_the_version_that_there_is() -> None:
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert json.loads((ROOT / "codemeta.json").read_text())["version"] == version


def test_every_installation_asks_for_the_hashes() -> None:
    installing = re.compile(r"pip\b.*\binstall\b[^\n&|;]*-r ")
    files = [
        "requirements/install",
        "Containerfile",
        "README.md",
        *_below("docs"),
        *_below("deploy"),
    ]
    lines = [
        line
        for name in files
        for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        if installing.search(line)
    ]
    assert len(lines) >= 3
    assert [line for line in lines if "--require-hashes" not in line] == []


def _below(directory: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in (ROOT / directory).iterdir() if path.is_file()]


def sources() -> Iterator[Path]:
    """The project's own Python files."""
    for directory in ("pipeline", "sandbox", "tests", "bench"):
        yield from (ROOT / directory).rglob("*.py")
    yield from (ROOT / "app.py", ROOT / "gunicorn.conf.py")


def test_every_exception_from_a_security_rule_says_why() -> None:
    unexplained = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := _EXCEPTION.search(line))
        and (found["codes"] is None or re.search(r"\bS\d", found["codes"]))
        and not found["reason"]
        and path != Path(__file__)
    ]
    assert unexplained == []


def test_the_security_rules_are_checked_and_kept() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--select", "S", "--no-cache", "."]
    assert "S" in PROJECT["tool"]["ruff"]["lint"]["select"]
    assert "make lint" in (ROOT / ".ci" / "run").read_text()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@cache
def names_of_tests_in(path: Path) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_security_md_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    named = _TEST.findall(text)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and name not in names_of_tests_in(ROOT / file))
    ]
    assert len(named) > 20
    assert missing == []
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    threats = [row for row in rows if row.count("|") == 5 and not row.startswith("| attack |")]
    assert len(threats) > 20
    assert [row for row in threats if not _TEST.search(row.rsplit("|", 2)[1])] == []
