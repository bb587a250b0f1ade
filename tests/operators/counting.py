"""A program for the tests of the metrics: processes that count, and one that is scraped.

``python -m tests.operators.counting JOURNAL_URL``, with PROMETHEUS_MULTIPROC_DIR set.
"""

from __future__ import annotations

import os
import sys

from prometheus_client.multiprocess import mark_process_dead

from pipeline.journal import Journal
from pipeline.telemetry.metrics import Metrics


def count() -> None:
    """What one worker process does."""
    metrics = Metrics()
    metrics.hooks.labels("accepted").inc()
    metrics.bytes.labels("out").inc(1000)
    metrics.parts_in_flight.inc(3)
    metrics.stage_seconds.labels("upload").observe(0.2)


def in_a_process_of_its_own() -> int:
    """Count there, let it die, and give its id."""
    process = os.fork()
    if process == 0:
        count()
        os._exit(0)
    os.waitpid(process, 0)
    return process


def main() -> None:
    """Two processes count and die, a third one counts and answers for all."""
    for _ in range(2):
        mark_process_dead(in_a_process_of_its_own())  # type: ignore[no-untyped-call]
    count()
    journal = Journal(sys.argv[1])
    journal.open()
    sys.stdout.buffer.write(Metrics().exposition(journal))
    journal.close()


if __name__ == "__main__":
    main()
