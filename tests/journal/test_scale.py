"""The cost of a job does not grow with the length of the queue.

Asked of the planners themselves, with a queue that has just grown and no statistics: no question
on a job's way may read or sort the whole queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from pipeline.journal import Journal, Progress
from pipeline.journal.deliveries import arrival, enqueue
from pipeline.journal.sealing import Seal
from tests.journal.deliveries import LEASE, Clock, delivery, fail, succeed

_QUEUED = 3000
_READS_ALL = ("Seq Scan on jobs", "SCAN jobs", "Sort", "TEMP B-TREE")


def _lives(journal: Journal) -> None:
    [job] = journal.claim("host", 1, LEASE)
    lease = job.lease or ""
    journal.renew({job.id: (lease, Progress("download"))}, LEASE)
    journal.confirm(job.id, lease)
    token = journal.open_relay(job.id, lease, "xml")
    journal.relay_fetch(token, 5)
    journal.relay_passed(token)
    assert succeed(journal, job)


def _is_cleaned_up(journal: Journal) -> None:
    [job] = journal.claim("host", 1, LEASE)
    assert fail(journal, job)
    journal.put_back([job.id])


QUESTIONS: dict[str, Callable[[Journal], object]] = {
    "a delivery": lambda journal: journal.enqueue(delivery(number=_QUEUED + 1)),
    "a duplicate": lambda journal: journal.enqueue(delivery(number=7)),
    "other content": lambda journal: journal.enqueue(delivery(number=7, content_len=7)),
    "a life": _lives,
    "a failure": _is_cleaned_up,
    "the next": lambda journal: journal.next_due(),
    "the oldest": lambda journal: journal.oldest_queued_seconds(),
}


@pytest.fixture
def long_queue(journal: Journal, clock: Clock) -> Journal:
    """A journal with thousands of jobs that are due."""
    rows = []
    for number in range(_QUEUED):
        clock.now += 0.01
        rows.append(arrival(delivery(number), None, Seal(), clock.now))
    journal._writer.run(lambda connection: enqueue(connection, rows))
    return journal


@contextmanager
def _statements(*engines: Engine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def test_no_question_on_a_jobs_way_reads_the_whole_queue(long_queue: Journal) -> None:
    database = long_queue._database
    explain = "EXPLAIN QUERY PLAN " if database.reading.name == "sqlite" else "EXPLAIN "
    bad = []
    for name, ask in QUESTIONS.items():
        with _statements(database.reading, database.writing) as statements:
            ask(long_queue)
        with database.reading.connect() as connection:
            for statement, parameters in statements:
                if not statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                    continue
                plan = connection.exec_driver_sql(explain + statement, parameters)
                lines = [str(line[-1]).strip() for line in plan]
                if any(word in line for line in lines for word in _READS_ALL):
                    bad.append((name, statement, lines))
    assert bad == []
