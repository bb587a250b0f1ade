"""The parts of one process, put together: made after the fork, started, stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pipeline.aruna.client import Aruna
from pipeline.attempt import Watch
from pipeline.errors import Stopping
from pipeline.jobs.admission import Admission
from pipeline.jobs.context import Dependencies
from pipeline.jobs.creations import Creations
from pipeline.jobs.pool import Pool
from pipeline.journal import Journal
from pipeline.net.addresses import Addresses
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.web.relay import Relay

if TYPE_CHECKING:
    from pipeline.reconcile.periodic import Reconciler

#: Seconds between SIGTERM and the end of running jobs, and for uploads that are being completed
#: then, out of gunicorn's graceful 40.
GRACE = 22.0
DRAIN = 15.0
#: Small things nobody waits for that may be under way, and may wait, at the same time.
_BACKGROUND_THREADS = 2
_BACKGROUND_LIMIT = 1000


class Service:
    """Everything that runs in one gunicorn worker; ``settings`` decide, nothing else does.

    It is whole once it is made; ``start`` opens the journal and begins to run jobs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.journal = Journal(
            settings.journal_url,
            keys=settings.journal_key,
            retention=settings.journal_retention_days,
        )
        self.aruna = Aruna(settings.aruna_server_address)
        addresses = Addresses(settings.allowed_hosts, settings.allow_insecure)
        self.watch = Watch()
        self.relay = Relay(settings, self.journal, addresses, self.watch, self.metrics)
        self.stopping = threading.Event()
        self._background = ThreadPoolExecutor(_BACKGROUND_THREADS, thread_name_prefix="background")
        self._room = threading.BoundedSemaphore(_BACKGROUND_LIMIT)
        deps = Dependencies(
            settings=settings,
            journal=self.journal,
            aruna=self.aruna,
            addresses=addresses,
            metrics=self.metrics,
            creations=Creations(self.journal),
            later=self.later,
        )
        self.pool = Pool(deps, self.watch, threads=settings.worker_threads)
        self.admission = Admission(self.journal, self.aruna, self.metrics, self.pool.wake)
        self._reconciler = _reconciler(settings, self.journal, self.aruna)
        self._finishing: threading.Thread | None = None

    def start(self) -> None:
        """Open the journal and begin to run jobs."""
        self.journal.open()
        self.watch.start()
        self.admission.start()
        self.pool.start()
        if self._reconciler is not None:
            self._reconciler.start()

    @property
    def is_alive(self) -> bool:
        """Whether every thread runs that this process can't do without."""
        parts = (self.journal, self.watch, self.admission, self.pool)
        return all(part.is_alive for part in parts)

    def pause(self, seconds: float) -> None:
        """Wait for something in the background; raises ``Stopping`` when the service stops."""
        if self.stopping.wait(seconds):
            raise Stopping("the service is stopping")

    def later(self, task: Callable[[], None]) -> bool:
        """Do a small thing in the background that may be lost; whether there is room for it."""
        if self.stopping.is_set() or not self._room.acquire(blocking=False):
            return False
        self._background.submit(task).add_done_callback(lambda _: self._room.release())
        return True

    def begin_stop(self, grace: float = GRACE) -> None:
        """Claim nothing more and give running jobs ``grace`` seconds; safe in a signal handler."""
        if self._finishing is None:
            self.pool.stop_claiming()
            self._finishing = threading.Thread(
                target=self.pool.finish, args=(grace, DRAIN), name="finish", daemon=True
            )
            self._finishing.start()

    def stop(self, grace: float = GRACE) -> None:
        """End everything that ``start`` began; jobs not finished are back in the queue."""
        self.stopping.set()
        if self._reconciler is not None:
            self._reconciler.stop()
        self.begin_stop(grace)
        if self._finishing is not None:
            self._finishing.join()
        self.pool.stop()
        self.admission.stop()
        self.watch.stop()
        self._background.shutdown(wait=False, cancel_futures=True)
        self.aruna.close()
        self.journal.close()


def _reconciler(settings: Settings, journal: Journal, aruna: Aruna) -> Reconciler | None:
    """What looks for lost hooks now and then, if the operator wants that."""
    if settings.reconcile_every is None or settings.aruna_token is None:
        return None
    # Most installations do without, and it would double the time of the start.
    from pipeline.reconcile.periodic import Reconciler

    return Reconciler(
        settings, journal, aruna, token=settings.aruna_token, every=settings.reconcile_every
    )
