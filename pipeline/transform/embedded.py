"""The embedded transformation in the service: the command ``transform`` as a child process.

Parsing in a thread would hold the GIL and starve the acknowledgements, and a hostile document
must not take the service with it. The child is niced, limited in memory and CPU time, and has
nothing of the service's environment.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed
from pipeline.streams import last_block_held_back

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "pipeline", "transform", "-")
ENVIRONMENT = {"PYTHONUTF8": "1"}
MEMORY = 1024 * 1024 * 1024  # bytes of address space
NICENESS = 10
READ = 256 * 1024  # bytes
INVALID_INPUT = 1  # the command's exit status when it refuses its input, in one line


def transform_in_child(
    document: Iterator[bytes], attempt: Attempt, *options: str
) -> Iterator[bytes]:
    """The result for ``document`` (ABCD, or an archive of it), in pieces as they come.

    ``options`` are the command's own and make it write something else.

    The last piece follows only once the child has ended well. Raises what ``document`` raises,
    what ends the attempt, or ``JobFailed``: ``invalid_input`` with the child's message, or
    ``transformation_failed`` (again) if the child came to grief. Closing the generator ends the
    child; nothing of it is left behind in any case.
    """
    with start(options) as child:
        feeder = Feeder(document, child)
        try:
            with attempt.aborting(child.kill):
                limit(child.pid, attempt.seconds_left())
                feeder.start()
                yield from last_block_held_back(pieces(child, feeder, attempt))
        finally:
            child.kill()
            feeder.end()


def start(options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A new child, with pipes at all three ends."""
    return subprocess.Popen(  # noqa: S603 - fixed arguments, our own interpreter
        [*COMMAND, *options],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def limit(pid: int, seconds: float) -> None:
    """Gives the child a low priority, ``MEMORY``, and ``seconds`` of CPU time."""
    os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    cpu = int(seconds) + 1
    resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.prlimit(pid, resource.RLIMIT_CPU, (cpu, cpu))
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def pieces(child: subprocess.Popen[bytes], feeder: Feeder, attempt: Attempt) -> Iterator[bytes]:
    """What the child writes; raises ``JobFailed`` at its end unless that was a good one."""
    output = pipe(child.stdout)
    while piece := read(output, attempt):
        yield piece
    said = pipe(child.stderr).read().decode(errors="replace").strip()
    status = child.wait()
    feeder.end()
    raise_unless_good(status, said, feeder)


def read(output: IO[bytes], attempt: Attempt) -> bytes:
    """The next bytes, empty at the end; raises what ends the attempt."""
    # Not select(), which fails from file descriptor 1024 on.
    poller = select.poll()
    poller.register(output, select.POLLIN)
    while not poller.poll(1000 * attempt.seconds_left()):
        attempt.check()
    return os.read(output.fileno(), READ)


def raise_unless_good(status: int, said: str, feeder: Feeder) -> None:
    """The error for a child that ended with ``status`` and said ``said`` on stderr."""
    if feeder.error is not None:
        raise feeder.error
    if status == 0 and feeder.complete:
        return
    if status == INVALID_INPUT and said and "\n" not in said:
        raise JobFailed(Code.INVALID_INPUT, said)
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    message = f"the embedded transformer was ended {how}"
    cause = subprocess.CalledProcessError(status, COMMAND, stderr=said)
    raise JobFailed(Code.TRANSFORMATION_FAILED, message, again=True) from cause


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    """``end``, which is there because the child was started with pipes."""
    if end is None:
        raise AssertionError
    return end


class Feeder:
    """Writes a document to the child's standard input, in a thread of its own.

    ``complete``: all of it was written. ``error``: what the document raised; the child is dead.
    """

    def __init__(self, document: Iterator[bytes], child: subprocess.Popen[bytes]) -> None:
        self.complete = False
        self.error: BaseException | None = None
        self._document = document
        self._child = child
        self._thread = threading.Thread(target=self._feed, name="embedded-feeder")

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def end(self) -> None:
        """Waits until the document gives no more; the child has ended by now."""
        if self._thread.ident is not None:
            self._thread.join()

    def _feed(self) -> None:
        try:
            with pipe(self._child.stdin) as stdin:
                for piece in self._document:
                    stdin.write(piece)
            self.complete = True
        except BrokenPipeError:
            # The child has ended before its input: its exit status says why.
            return
        except BaseException as exc:  # noqa: BLE001 - raised again by the thread that reads
            self.error = exc
            self._child.kill()
