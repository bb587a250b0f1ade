"""Files that other programs read obey the schemas that these publish."""

from __future__ import annotations

import subprocess

import pytest

from tests.deploy.conftest import Tool
from tests.deploy.image import ROOT


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "compose.yaml"),
        ("citation-file-format", "CITATION.cff"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
    ],
)
def test_a_file_obeys_its_schema(tool: Tool, schema: str, file: str) -> None:
    command = [tool("check-jsonschema"), f"--builtin-schema=vendor.{schema}", str(ROOT / file)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
