"""Where the programs are that check what operators install."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Tool = Callable[[str], str]


@pytest.fixture(scope="session")
def tool() -> Tool:
    """The path of a program, from the virtual environment or the machine; skips by its name."""

    def find(name: str) -> str:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.exists() else shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find
