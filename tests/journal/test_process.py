"""Whether the holder of a lease lives: told for certain, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.journal.process import is_gone, own_name
from tests.running import ROOT

SAYS_ITS_NAME = (
    "from pipeline.journal.process import own_name; print(own_name(), flush=True); input()"
)


@contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SAYS_ITS_NAME],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_living_holder_is_not_gone_and_a_dead_one_is() -> None:
    with another_process() as (process, name):
        assert not is_gone(own_name())
        assert not is_gone(name)

        process.kill()
        process.wait()

        assert is_gone(name)


def test_a_holder_that_is_dead_but_not_buried_is_gone() -> None:
    with another_process() as (process, name):
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert is_gone(name)


def test_another_process_with_the_same_pid_is_not_the_holder() -> None:
    host, boot, namespace, pid, _ = own_name().split()

    assert is_gone(f"{host} {boot} {namespace} {pid} 1")


@pytest.mark.parametrize(
    "name",
    ["", "a", "some host", "a b c 1 2", "host ? ? 1 2", "h boot pid:[1] 4194304 5"],
)
def test_what_can_not_be_told_is_left_to_the_lease(name: str) -> None:
    assert not is_gone(name)
