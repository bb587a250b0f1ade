"""Large files: what passes through is never held."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from sandbox import Sandbox, generated_result
from tests.conftest import SAMPLE
from tests.running import Running
from tests.whole import Whole

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
PART = 10 * MEBIBYTE


def test_a_result_of_a_gibibyte_streams_through_in_little_memory(
    sandbox: Sandbox, start_service: Callable[..., Running]
) -> None:
    service = start_service(GFBIO_TRANSPORT="direct")
    assert service.session.get(f"{service.url}/health", timeout=10).ok
    idle = worker_memory(service, "VmRSS")
    sent = [0]
    sent_at_first_part: list[int] = []
    sandbox.gfbio.big = GIBIBYTE
    sandbox.gfbio.sent = lambda so_far: sent.append(so_far)
    sandbox.at("gfbio.transform", lambda _: setattr(sandbox.aruna, "sink", True))
    sandbox.at("s3.part", lambda _: sent_at_first_part.append(sent[-1]))
    whole = Whole.of(sandbox, service)

    source = whole.upload("large.xml", SAMPLE)
    whole.wait_for_callback(source, timeout=110)

    assert sandbox.part_digests(whole.result(source).id) == digests_of_parts(GIBIBYTE)
    assert sent_at_first_part[0] < GIBIBYTE / 10
    assert worker_memory(service, "VmHWM") - idle < 100 * MEBIBYTE


def digests_of_parts(size: int) -> list[tuple[int, str]]:
    """Size and SHA-256 of each part of the made-up result of ``size`` bytes."""
    digests = []
    part, held = hashlib.sha256(), 0
    for block in generated_result(size):
        part.update(block)
        held += len(block)
        if held == PART:
            digests.append((held, part.hexdigest()))
            part, held = hashlib.sha256(), 0
    return [*digests, (held, part.hexdigest())] if held else digests


def worker_memory(service: Running, member: str) -> int:
    """What the kernel says of the worker's memory, in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    (worker,) = children.read_text().split()
    found = re.search(rf"{member}:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
