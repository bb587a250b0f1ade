"""A short run of the fuzzer; and its check on inputs made by chance, without it."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.inputs import SEEDS, check, spliced

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    options = ["-max_total_time=3", "-max_len=20000", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.fuzz.fuzz_abcd", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]


@pytest.mark.parametrize("seed", range(60))
def test_a_spliced_document_ends_in_a_result_or_a_refusal(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.choice(SEEDS)
    for _ in range(chance.randrange(4)):
        data = spliced(data, chance)
    check(data)
