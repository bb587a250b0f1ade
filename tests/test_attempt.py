"""The end of an attempt: by time, from outside, and of what blocks in the meantime."""

from __future__ import annotations

import socket
import threading

import pytest

from pipeline.attempt import Attempt, Watch
from pipeline.errors import Code, JobFailed, LeaseLost, Stopping


def test_an_attempt_ends_with_its_time() -> None:
    now = [100.0]
    attempt = Attempt(5, clock=lambda: now[0])

    now[0] = 104.0
    assert attempt.seconds_left() == 1.0

    now[0] = 105.0
    with pytest.raises(JobFailed) as failed:
        attempt.check()
    assert (failed.value.code, failed.value.again) == (Code.TIMEOUT, True)


def test_what_blocks_is_woken_and_says_why_the_attempt_was_cut() -> None:
    attempt = Attempt(60)
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def cut_when_it_blocks() -> None:
            theirs.recv(1)
            attempt.cut(LeaseLost("gone"))

        cutter = threading.Thread(target=cut_when_it_blocks)
        cutter.start()

        with (
            pytest.raises(LeaseLost, match="gone"),
            attempt.aborting(lambda: ours.shutdown(socket.SHUT_RDWR)),
        ):
            ours.send(b"x")
            if not ours.recv(1):
                raise ConnectionError("the consequence")
        cutter.join()


def test_the_first_reason_stays() -> None:
    attempt = Attempt(60)

    attempt.cut(Stopping("stopping"))
    attempt.cut(LeaseLost("lost"))

    with pytest.raises(Stopping):
        attempt.check()
    assert attempt.is_cut_by(Stopping)
    assert not attempt.is_cut_by(LeaseLost)


def test_an_error_of_an_attempt_that_goes_on_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="its own"), Attempt(60).aborting(lambda: None):
        raise ValueError("its own")


def test_nothing_begins_after_the_cut() -> None:
    attempt = Attempt(60)
    attempt.cut(Stopping("stopping"))

    with pytest.raises(Stopping), attempt.aborting(lambda: None):
        raise AssertionError("the block was entered")


def test_waiting_ends_with_the_attempt() -> None:
    attempt = Attempt(60)
    threading.Timer(0.05, attempt.cut, [Stopping("stopping")]).start()

    with pytest.raises(Stopping):
        attempt.wait(50)


def test_the_watch_ends_what_blocks_past_its_time() -> None:
    watch = Watch()
    watch.start()
    try:
        attempt = Attempt(0.1)
        woken = threading.Event()
        with (
            pytest.raises(JobFailed, match=r"longer than 0\.1 seconds"),
            watch.over(attempt),
            attempt.aborting(woken.set),
        ):
            assert woken.wait(10)
            raise ConnectionError("the consequence")
    finally:
        watch.stop()
