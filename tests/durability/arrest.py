"""Stops the service's way through a job at an exact call to the sandbox."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox import Call, Dropped, Sandbox

#: Seconds until an arrested call goes on whatever a test has forgotten.
_FORGOTTEN = 30.0
PATIENCE = 20.0


class Arrest:
    """The first call of an operation that ``concerns`` accepts is held until ``let_go``.

    ``after``: held when it has had its effect, before it is answered; otherwise it never has one,
    as the connection is closed, unless it is let go with ``effect``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        operation: str,
        *,
        after: bool = False,
        concerns: Callable[[Call], bool] = lambda call: call.details.get("by") != "user",
    ) -> None:
        self._after = after
        self._concerns = concerns
        self._lock = threading.Lock()
        self._taken = False
        self._effect = after
        self._reached = threading.Event()
        self._open = threading.Event()
        sandbox.at(operation, self._hold, after=after, times=None)

    def wait(self) -> None:
        """Wait until a call is held."""
        assert self._reached.wait(PATIENCE), "no such call has arrived"

    def let_go(self, *, effect: bool = False) -> None:
        """The held call goes on, or is dropped; whatever comes later passes."""
        self._effect = self._effect or effect
        with self._lock:
            self._taken = True
        self._open.set()

    def _hold(self, call: Call) -> None:
        with self._lock:
            if self._taken or not self._concerns(call):
                return
            self._taken = True
        self._reached.set()
        self._open.wait(_FORGOTTEN)
        if not self._effect:
            raise Dropped
