"""One CreateObject at a time in each parent, over all processes that share the journal.

Aruna 2.0.4: calls side by side in one project, collection or dataset lose one of the objects from
the server's cache of that parent. Different parents go on side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.attempt import Attempt
from pipeline.journal import Journal
from pipeline.journal.process import own_name

#: Seconds a turn lasts if its process dies: more than the call may take.
LEASE = 45.0
#: Seconds between two looks whether another process is done.
_PAUSES = (0.02, 0.2)
#: Locks inside this process; parents that share one wait for each other.
_LOCKS = 256
_LOOK_UP = 1.0  # seconds between two looks whether the attempt goes on


class Creations:
    """The turns of this process and, by a lease in the journal, of all others."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._holder = own_name()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @contextmanager
    def turn(self, parent_id: str, attempt: Attempt) -> Iterator[None]:
        """While this block runs, nobody else creates an object in that parent.

        Raises what ends the attempt, and ``JournalUnavailable``.
        """
        lock = self._locks[hash(parent_id) % _LOCKS]
        while not lock.acquire(timeout=min(_LOOK_UP, attempt.seconds_left())):
            attempt.check()
        name = f"create {parent_id}"
        try:
            self._take(name, attempt)
            try:
                yield
            finally:
                self._journal.end_lease(name, self._holder)
        finally:
            lock.release()

    def _take(self, name: str, attempt: Attempt) -> None:
        pause, longest = _PAUSES
        while not self._journal.named_lease(name, self._holder, LEASE):
            attempt.wait(pause)
            pause = min(2 * pause, longest)
