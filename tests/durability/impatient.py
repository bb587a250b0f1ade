"""The service as on a machine of its own, and with less patience, for tests that can't wait.

``gunicorn … tests.durability.impatient:app``: its leases last a second, a retry comes at once, a
stop waits for no job but for uploads that are being completed, what looks broken is looked at again
a few times within a second, and nobody can tell from its name whether it lives.
"""

from __future__ import annotations

import os
import random
import secrets
from functools import partial
from unittest.mock import patch

from app import Application
from pipeline.jobs.pool import Pool
from pipeline.service import Service
from pipeline.settings import Settings

APPLICATION = "tests.durability.impatient:app"
#: Seconds.
LEASE = 1.0
GRACE = 0.2
LOOK_PAUSES = (0.1, 0.3, 0.6)


class NoDelay(random.Random):
    """Of all times until a retry the shortest."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002
        """The lower end."""
        return a


class Impatient(Service):
    """A service that gives jobs ``GRACE`` seconds when it stops."""

    def begin_stop(self, grace: float = GRACE) -> None:
        """As every service, but sooner."""
        super().begin_stop(min(grace, GRACE))


def __getattr__(name: str) -> Application:
    if name != "app":
        raise AttributeError(name)
    patch("pipeline.jobs.pool.own_name", lambda: f"machine-{secrets.token_hex(4)}").start()
    for module in ("pipeline.aruna.read_back", "pipeline.jobs.target"):
        patch(f"{module}.LOOK_PAUSES", LOOK_PAUSES).start()
    patch("pipeline.service.Pool", partial(Pool, lease=LEASE, chance=NoDelay())).start()
    return Application(Impatient(Settings.from_environment(os.environ)))
