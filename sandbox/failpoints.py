"""What arrives at the sandbox: counted, and open for tests that act at an exact moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """One request to the sandbox.

    ``operation`` is for instance ``s3.put``, ``grpc.CreateObject`` or ``gfbio.transform``,
    ``details`` says what it is about (``key``, ``object_id`` …), ``when`` is in seconds since the
    epoch.
    """

    operation: str
    details: Mapping[str, str] = field(default_factory=dict)
    when: float = field(default_factory=time.time)


Action = Callable[[Call], object]


@dataclass
class _Point:
    operation: str
    action: Action
    after: bool
    left: int | None


class Failpoints:
    """The journal of all calls, and the actions that tests hang on them."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._failpoints: list[_Point] = []
        self._calls: list[Call] = []

    def at(self, operation: str, action: Action, *, after: bool, times: int | None) -> None:
        """Run ``action`` at the next ``times`` calls of ``operation`` (``None``: at all)."""
        with self._changed:
            self._failpoints.append(_Point(operation, action, after, times))

    def calls(self, operation: str | None = None) -> list[Call]:
        """The calls that have arrived, of one operation or of all, in their order."""
        with self._changed:
            return [call for call in self._calls if operation in (None, call.operation)]

    @contextmanager
    def call(self, operation: str, **details: str) -> Iterator[None]:
        """A call arrives, has its effect within this block, and is answered after it."""
        call = Call(operation, details)
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()
        self._act(call, after=False)
        yield
        self._act(call, after=True)

    def _act(self, call: Call, *, after: bool) -> None:
        for point in self._due(call, after=after):
            point.action(call)

    def _due(self, call: Call, *, after: bool) -> list[_Point]:
        with self._changed:
            due = [
                point
                for point in self._failpoints
                if point.operation == call.operation and point.after == after and point.left != 0
            ]
            for point in due:
                if point.left is not None:
                    point.left -= 1
        return due
