"""The command ``selftest``: its arguments, its end, and the signals that may end it early."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline.aruna.client import Aruna
from pipeline.operators.environment import (
    journal_of_service,
    operators_token,
    settings_of_service,
)
from pipeline.operators.selftest.trial import Trial

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KILLED_BY = 128  # what a shell adds to the number of the signal that ended a program


class Stopped(BaseException):
    """A signal ended the run; no ``except Exception`` takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class Signals:
    """SIGINT and SIGTERM raise ``Stopped``, but while they are held back only afterwards."""

    holding: bool = False
    pending: int | None = None

    def came(self, number: int, _frame: FrameType | None) -> None:
        """A signal has come."""
        if not self.holding:
            raise Stopped(number)
        self.pending = number

    @contextmanager
    def held(self) -> Iterator[None]:
        """The block runs to its end before a signal counts."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
        if self.pending is not None:
            number, self.pending = self.pending, None
            raise Stopped(number)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline selftest``."""
    parser.add_argument(
        "--project",
        metavar="ID",
        required=True,
        help="a project, collection or dataset that a hook of this service covers",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the document and its result in Aruna"
    )


def run(arguments: argparse.Namespace) -> int:
    """Uploads a small document and follows it; 1 if a stage failed."""
    settings = settings_of_service()
    token = operators_token(settings)
    with (
        _signals() as signals,
        journal_of_service() as journal,
        closing(Aruna(settings.aruna_server_address)) as aruna,
    ):
        trial = Trial(settings, token, journal, aruna, signals.held)
        try:
            trial.run(arguments.project)
        except Stopped as stopped:
            return _KILLED_BY + stopped.number
        finally:
            signals.holding = True
            trial.clean_up(keep=arguments.keep)
        return int(trial.report.failed)


@contextmanager
def _signals() -> Iterator[Signals]:
    signals = Signals()
    before = {number: signal.signal(number, signals.came) for number in _SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
