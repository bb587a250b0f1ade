"""The child process of the service: its result, its end in every case, and nothing left behind."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed, LeaseLost, Stopping
from pipeline.transform import embedded
from pipeline.transform.bioschemas import transform
from pipeline.transform.embedded import transform_in_child
from tests.transform.bioschemas.documents import abcd, elements
from tests.transform.bioschemas.generate import endless
from tests.transform.bioschemas.test_archive import packed

DOCUMENT = abcd(elements("KindOfUnit", "leaves")).encode()
HEAD = DOCUMENT[: DOCUMENT.index(b"</Units>")]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread, no process, no file descriptor outlives a test."""
    before = set(threading.enumerate()), open_files(), processes()
    yield
    assert set(threading.enumerate()) <= before[0]
    assert open_files() <= before[1]
    assert processes() <= before[2]


def open_files() -> set[str]:
    """The numbers of the open file descriptors, that of the look itself included."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def processes() -> set[str]:
    """The ids of our children, the dead that nobody waited for included."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for found in lists for pid in found.read_text().split()}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The children started in the test."""
    started: list[subprocess.Popen[bytes]] = []
    start = embedded.start

    def recorded(options: Sequence[str]) -> subprocess.Popen[bytes]:
        started.append(start(options))
        return started[-1]

    monkeypatch.setattr(embedded, "start", recorded)
    return started


def failure(document: Iterator[bytes], attempt: Attempt | None = None) -> JobFailed:
    """The error that transforming ``document`` ends with."""
    with pytest.raises(JobFailed) as caught:
        for _ in transform_in_child(document, attempt or Attempt(60)):
            pass
    return caught.value


def without_end(event: Callable[[], None]) -> Iterator[bytes]:
    """A document whose units never end; ``event`` is called before each."""
    yield HEAD
    number = 0
    while True:
        event()
        number += 1
        address = elements("RecordURI", f"http://x/{number}/{'long' * 1000}")
        yield f"<Unit>{address}</Unit>".encode()


def test_the_result_is_that_of_the_command() -> None:
    document = list(endless(1_000_000))
    result = b"".join(transform_in_child(iter(document), Attempt(60)))
    assert result == b"".join(transform(document))


def test_an_archive_is_recognised_by_the_child() -> None:
    result = b"".join(transform_in_child(iter([packed(("a.xml", DOCUMENT))]), Attempt(60)))
    assert result.startswith(b"PK")


def test_what_the_child_says_of_bad_input_is_the_error() -> None:
    error = failure(iter([DOCUMENT[:-5]]))
    assert (error.code, error.again) == (Code.INVALID_INPUT, False)
    assert error.message.startswith("cut off: ")
    assert "(line 1, column" in error.message


def test_a_service_with_a_thousand_open_files_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    start = embedded.start

    def started_late(*options: str) -> subprocess.Popen[bytes]:
        child = start(*options)
        low = embedded.pipe(child.stdout)
        child.stdout = os.fdopen(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1500), "rb")
        low.close()
        return child

    monkeypatch.setattr(embedded, "start", started_late)
    try:
        result = b"".join(transform_in_child(iter([DOCUMENT]), Attempt(60)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result == b"".join(transform([DOCUMENT]))


def test_input_refused_before_its_end_is_not_read_on() -> None:
    def bad() -> Iterator[bytes]:
        yield HEAD + b"</Unity>"
        while True:
            yield b"<Unit/>" * 10_000

    assert failure(bad()).code is Code.INVALID_INPUT


def test_a_truncated_result_never_looks_complete(
    children: list[subprocess.Popen[bytes]],
) -> None:
    document = b"".join(endless(3_000_000))
    got = bytearray()
    with pytest.raises(JobFailed) as caught:
        for piece in transform_in_child(iter([document[:-30]]), Attempt(60)):
            got += piece
    assert caught.value.code is Code.INVALID_INPUT
    assert got
    assert len(got) < len(b"".join(transform([document])))
    assert children[0].returncode == 1


def test_a_killed_child_is_worth_another_try(children: list[subprocess.Popen[bytes]]) -> None:
    error = failure(without_end(lambda: children[0].send_signal(signal.SIGKILL)))
    assert (error.code, error.again) == (Code.TRANSFORMATION_FAILED, True)
    assert error.message == "the embedded transformer was ended by SIGKILL"


def test_a_traceback_is_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (sys.executable, "-c", "raise MemoryError")
    monkeypatch.setattr(embedded, "COMMAND", broken)
    error = failure(iter([DOCUMENT]))
    assert (error.code, error.again) == (Code.TRANSFORMATION_FAILED, True)
    assert error.message == "the embedded transformer was ended with exit status 1"


def test_too_much_memory_ends_the_child_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MEMORY", 100_000_000)
    greedy = "import sys; sys.stdin.read(); print(len(bytes(200_000_000)))"
    monkeypatch.setattr(embedded, "COMMAND", (sys.executable, "-c", greedy))
    assert failure(iter([DOCUMENT])).code is Code.TRANSFORMATION_FAILED


def test_the_child_is_limited_and_knows_nothing_of_the_service(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_TOKEN", "secret")
    seen: list[tuple[int, tuple[int, int], tuple[int, int], bytes]] = []

    def look() -> None:
        pid = children[0].pid
        seen.append(
            (
                os.getpriority(os.PRIO_PROCESS, pid),
                resource.prlimit(pid, resource.RLIMIT_AS),
                resource.prlimit(pid, resource.RLIMIT_CPU),
                Path(f"/proc/{pid}/environ").read_bytes(),
            )
        )
        raise Stopping

    with pytest.raises(Stopping):
        list(transform_in_child(without_end(look), Attempt(60)))
    niceness, memory, cpu, environment = seen[0]
    assert niceness >= embedded.NICENESS
    assert memory == (embedded.MEMORY, embedded.MEMORY)
    assert 58 <= cpu[0] <= 61
    assert b"secret" not in environment


def test_an_error_of_the_download_comes_before_what_the_child_says_of_it() -> None:
    def cut_off() -> Iterator[bytes]:
        yield DOCUMENT[:-5]
        raise JobFailed(Code.DOWNLOAD_FAILED, "cut off", again=True)

    assert failure(cut_off()).code is Code.DOWNLOAD_FAILED


def test_a_lost_lease_ends_the_child(children: list[subprocess.Popen[bytes]]) -> None:
    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        list(transform_in_child(without_end(lost), Attempt(60)))
    assert children[0].returncode == -signal.SIGKILL


def test_the_end_of_the_attempts_time_ends_the_child(
    children: list[subprocess.Popen[bytes]],
) -> None:
    error = failure(without_end(lambda: None), Attempt(0.3))
    assert (error.code, error.again) == (Code.TIMEOUT, True)
    assert children[0].returncode == -signal.SIGKILL


def test_a_cut_attempt_ends_a_child_that_is_silent(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = "import sys; sys.stdin.read(); sys.stdout.close(); import time; time.sleep(60)"
    monkeypatch.setattr(embedded, "COMMAND", (sys.executable, "-c", silent))
    attempt = Attempt(60)

    def then_stop() -> Iterator[bytes]:
        yield DOCUMENT
        attempt.cut(Stopping())

    with pytest.raises(Stopping):
        list(transform_in_child(then_stop(), attempt))
    assert children[0].returncode == -signal.SIGKILL


def test_closing_the_result_ends_the_child(children: list[subprocess.Popen[bytes]]) -> None:
    result = transform_in_child(without_end(lambda: None), Attempt(60))
    next(result)
    result.close()  # type: ignore[attr-defined]
    assert children[0].returncode == -signal.SIGKILL


def test_the_child_imports_nothing_of_the_service() -> None:
    command = [sys.executable, "-X", "importtime", *embedded.COMMAND[1:]]
    done = subprocess.run(
        command, input=DOCUMENT, capture_output=True, check=True, cwd=embedded.ROOT
    )
    imported = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines()}
    assert b"pipeline.transform.bioschemas.dataset" in imported
    heavy = b"boto3 grpc requests sqlalchemy rich stream_unzip stream_zip ijson aruna"
    assert imported.isdisjoint(heavy.split())
