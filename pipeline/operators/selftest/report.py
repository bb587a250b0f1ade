"""What the command prints: a line for each stage, and what is being waited for on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.attempt import Attempt
from pipeline.telemetry.redaction import redact

T = TypeVar("T")

#: Seconds between two looks at something that is waited for.
POLL = 0.2


class StageFailed(Exception):
    """A stage failed: what was seen, what it most likely means, and what to do."""

    def __init__(self, said: str, *, likely: str, to_do: str) -> None:
        super().__init__(said)
        self.said = said
        self.likely = likely
        self.to_do = to_do


@dataclass
class Report:
    """The stages so far; ``failed`` once one of them has failed."""

    failed: bool = False

    def ok(self, stage: str, said: str) -> None:
        """A stage went well."""
        _line("ok", stage, said)

    def skipped(self, stage: str, said: str) -> None:
        """A stage could not be looked at."""
        _line("skipped", stage, said)

    def fail(self, stage: str, failure: StageFailed) -> None:
        """A stage failed."""
        self.failed = True
        _line("failed", stage, failure.said)
        _line("", "  likely", failure.likely)
        _line("", "  to do", failure.to_do)


def wait_for(what: str, look: Callable[[], T | None], seconds: float, attempt: Attempt) -> T | None:
    """What ``look`` gives once it gives something; ``None`` after so many seconds."""
    until = time.monotonic() + seconds
    with _progress(what):
        while (found := look()) is None and time.monotonic() < until:
            attempt.wait(POLL)
    return found


def _line(state: str, stage: str, said: str) -> None:
    text = "".join(c if c.isprintable() else " " for c in redact(said))
    sys.stdout.write(f"{state:<8}{stage:<13}{text}".rstrip() + "\n")
    sys.stdout.flush()


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """On stderr, if that is a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn(f"waiting for {what}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        progress.add_task(what, total=None)
        yield
