"""Several processes with one database."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from pipeline.journal import Journal
from tests.journal.deliveries import delivery

_PROCESSES, _THREADS, _DELIVERIES = 2, 4, 25


def _open_and_enqueue(url: str, process: int) -> list[str]:
    """What a worker does: opens the journal itself and takes deliveries in threads."""
    journal = Journal(url)
    journal.open()
    try:
        with ThreadPoolExecutor(_THREADS) as threads:
            hooks = [delivery(process * 1000 + number) for number in range(_DELIVERIES)]
            shared = [delivery(number) for number in range(1000000, 1000010)]
            receipts = list(threads.map(journal.enqueue, hooks + shared))
    finally:
        journal.close()
    return [receipt.job_id for receipt in receipts]


def test_processes_that_start_at_once_share_a_new_database(url: str) -> None:
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as processes:
        answers = list(
            processes.map(_open_and_enqueue, [url] * _PROCESSES, range(1, _PROCESSES + 1))
        )
    ids = {job_id for answer in answers for job_id in answer}
    assert len(ids) == _PROCESSES * _DELIVERIES + 10
    journal = Journal(url)
    journal.open()
    assert {job.id for job in journal.jobs()} == ids
    journal.close()


def test_threads_that_open_at_once_share_a_new_database(url: str) -> None:
    journals = [Journal(url) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(Journal.open, journals))
    for journal in journals:
        journal.probe()
        journal.close()
