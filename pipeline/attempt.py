"""One attempt of a job: how long it may take, and how it is stopped from outside.

Stages ask ``check`` between two blocks of bytes. What blocks in a socket in the meantime cannot
ask; it registers with ``aborting`` how to be woken, and ``cut`` wakes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from pipeline.errors import Code, Interrupted, JobError, JobFailed

#: Seconds between two looks at the attempts under way.
WATCH_PAUSE = 0.5


log = structlog.get_logger(__name__)


class Attempt:
    """A running attempt with ``timeout`` seconds in all, counted from now.

    ``clock`` gives seconds and never goes back.
    """

    def __init__(self, timeout: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._timeout = timeout
        self._begun = clock()
        self._until = self._begun + timeout
        self._shield: _Shield | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._cut: JobError | None = None
        self._aborts: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise what ends this attempt: ``LeaseLost``, ``Stopping`` or ``JobFailed`` (timeout)."""
        if self._cut is not None:
            raise self._cut
        if self._clock() >= self._deadline():
            raise self._timed_out()

    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._clock() - self._begun

    def seconds_left(self) -> float:
        """Seconds this attempt may still take, more than 0; raises as ``check`` does."""
        self.check()
        return max(self._deadline() - self._clock(), 0.001)

    def wait(self, seconds: float) -> None:
        """Wait, unless the attempt ends before: then raise as ``check`` does."""
        self._ended.wait(min(seconds, self.seconds_left()))
        self.check()

    @contextmanager
    def aborting(self, abort: Callable[[], None]) -> Iterator[None]:
        """While this block runs, ``abort`` is called from another thread if the attempt is cut.

        An exception that leaves the block after the cut is a consequence of it: the reason of the
        cut is raised in its place.
        """
        with self._lock:
            self._aborts.append(abort)
        try:
            self.check()
            yield
        except Exception as consequence:
            self._raise_reason(consequence)
            raise
        finally:
            with self._lock:
                self._aborts.remove(abort)

    @contextmanager
    def shielded(self, seconds: float) -> Iterator[None]:
        """This block does harm if it is cut short: it has ``seconds`` of its own.

        Whatever ends the attempt meanwhile does so after the block. The time that the block takes
        does not count as the attempt's.
        """
        self.check()
        begun = self._clock()
        shield = _Shield(seconds, begun + seconds)
        with self._lock:
            self._shield = shield
        try:
            yield
        finally:
            with self._lock:
                # In this order: the watch may look in between.
                self._until += self._clock() - begun
                self._shield = None
            if shield.postponed is not None:
                self._end(shield.postponed)

    @property
    def is_shielded(self) -> bool:
        """Whether a block runs now that must not be cut short."""
        return self._shield is not None

    def is_cut_by(self, kind: type[Interrupted]) -> bool:
        """Whether the attempt was ended from outside for that reason."""
        return isinstance(self._cut, kind)

    def cut(self, reason: Interrupted) -> None:
        """End the attempt from another thread and wake what blocks; the first reason stays."""
        with self._lock:
            if self._shield is not None:
                self._shield.postponed = self._shield.postponed or reason
                return
        self._end(reason)

    def cut_if_due(self) -> None:
        """End the attempt if its time is over; from any thread."""
        if self._clock() >= self._deadline():
            self._end(self._timed_out())

    def _deadline(self) -> float:
        shield = self._shield
        return self._until if shield is None else shield.until

    def _end(self, reason: JobError) -> None:
        with self._lock:
            if self._cut is None:
                self._cut = reason
            aborts = list(self._aborts)
        self._ended.set()
        for abort in aborts:
            abort()

    def _raise_reason(self, consequence: Exception) -> None:
        self.cut_if_due()
        if self._cut is not None and consequence is not self._cut:
            raise self._cut from consequence

    def _timed_out(self) -> JobFailed:
        shield = self._shield
        seconds = self._timeout if shield is None else shield.seconds
        return JobFailed(Code.TIMEOUT, f"the work took longer than {seconds:g} seconds", again=True)


@dataclass
class _Shield:
    """A block that may take ``seconds``, and what is to end the attempt once it is over."""

    seconds: float
    until: float
    postponed: Interrupted | None = None


class Watch:
    """A thread that ends attempts whose time is over, even while they block in a socket."""

    def __init__(self) -> None:
        self._attempts: set[Attempt] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look, a few times a second."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; the thread has ended when this returns."""
        self._stopped.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @contextmanager
    def over(self, attempt: Attempt) -> Iterator[None]:
        """The attempt is watched while the block runs."""
        with self._lock:
            self._attempts.add(attempt)
        try:
            yield
        finally:
            with self._lock:
                self._attempts.discard(attempt)

    def _look(self) -> None:
        while not self._stopped.wait(WATCH_PAUSE):
            with self._lock:
                attempts = list(self._attempts)
            for attempt in attempts:
                try:
                    attempt.cut_if_due()
                except Exception:
                    # The boundary: without this thread nothing would ever be timed out again.
                    log.exception("watch.defect")
