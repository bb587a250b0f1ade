"""The parts of one process, put together: made after the fork, started, stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pipeline.aruna.client import Aruna
from pipeline.attempt import Watch
from pipeline.jobs.claim import Peers
from pipeline.jobs.pool import Pool
from pipeline.journal import Journal
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.web.relay import Relay

if TYPE_CHECKING:
    from pipeline.reconcile.periodic import Reconciler

#: Seconds between SIGTERM and the end of running jobs, out of gunicorn's graceful 30.
GRACE = 22.0
#: Small things nobody waits for that may be under way, and may wait, at the same time.
_ERRANDS = 2
_MOST_ERRANDS = 1000


class Service:
    """Everything that runs in one gunicorn worker; ``settings`` decide, nothing else does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.journal = Journal(
            settings.journal_url,
            keys=settings.journal_key,
            retention=settings.journal_retention_days,
        )
        self.addresses = Addresses(settings.allowed_hosts, settings.allow_insecure)
        self.watch = Watch()
        self.relay = Relay(settings, self.journal, self.addresses, self.watch, self.metrics)
        self._errands = threading.BoundedSemaphore(_MOST_ERRANDS)
        self._finishing: threading.Thread | None = None

    def start(self) -> None:
        """Open the journal and the channel to Aruna, and begin to run jobs."""
        settings = self.settings
        self.journal.open()
        self.aruna = Aruna(settings.aruna_server_address)
        self._background = ThreadPoolExecutor(_ERRANDS, thread_name_prefix="errand")
        self.pool = Pool(
            Peers(
                settings, self.journal, self.aruna, self.addresses, self.metrics, later=self.later
            ),
            self.watch,
            threads=settings.worker_threads,
        )
        self._reconciler = _reconciler(settings, self.journal)
        self.watch.start()
        self.pool.start()
        if self._reconciler is not None:
            self._reconciler.start()

    def later(self, errand: Callable[[], None]) -> None:
        """Do a small thing in the background that may be lost; too many at once are dropped."""
        if not self._errands.acquire(blocking=False):
            return
        self._background.submit(errand).add_done_callback(lambda _: self._errands.release())

    def begin_stop(self, grace: float = GRACE) -> None:
        """Claim nothing more and give running jobs ``grace`` seconds; safe in a signal handler."""
        if self._finishing is None:
            self.pool.stop_claiming()
            self._finishing = threading.Thread(
                target=self.pool.finish, args=(grace,), name="finish", daemon=True
            )
            self._finishing.start()

    def stop(self, grace: float = GRACE) -> None:
        """End everything that ``start`` began; jobs not finished are back in the queue."""
        if self._reconciler is not None:
            self._reconciler.stop()
        self.begin_stop(grace)
        if self._finishing is not None:
            self._finishing.join()
        self.pool.stop()
        self.watch.stop()
        self._background.shutdown(wait=False, cancel_futures=True)
        self.aruna.close()
        self.journal.close()


def _reconciler(settings: Settings, journal: Journal) -> Reconciler | None:
    """What looks for lost hooks now and then, if the operator wants that."""
    if settings.reconcile_every is None or settings.aruna_token is None:
        return None
    # Most installations do without, and it would double the time of the start.
    from pipeline.reconcile.periodic import Reconciler

    return Reconciler(settings, journal, token=settings.aruna_token, every=settings.reconcile_every)
