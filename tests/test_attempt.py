"""The end of an attempt: by time, from outside, and of what blocks in the meantime."""

from __future__ import annotations

import socket
import threading

import pytest

from pipeline.attempt import Attempt, Watch
from pipeline.errors import Code, Interrupted, JobFailed, LeaseLost, Stopping


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


@pytest.mark.parametrize("reason", [Stopping("stopping"), LeaseLost("lost")])
def test_a_shielded_block_goes_on_and_the_attempt_ends_after_it(reason: Interrupted) -> None:
    attempt = Attempt(60)
    woken = threading.Event()
    with attempt.aborting(woken.set):
        with attempt.shielded(60):
            attempt.cut(reason)
            attempt.check()
            attempt.wait(0.01)
            assert not attempt.is_cut_by(type(reason))
            assert not woken.is_set()
        assert woken.is_set()
        assert attempt.is_cut_by(type(reason))
    with pytest.raises(type(reason)):
        attempt.check()


def test_an_error_in_a_shielded_block_is_no_consequence_of_what_waits_for_its_end() -> None:
    attempt = Attempt(60)
    with (
        pytest.raises(ConnectionError, match="its own"),
        attempt.shielded(60),
        attempt.aborting(lambda: None),
    ):
        attempt.cut(Stopping("stopping"))
        raise ConnectionError("its own")
    with pytest.raises(Stopping):
        attempt.check()


def test_the_time_of_a_shielded_block_is_not_the_attempts() -> None:
    now = [100.0]
    attempt = Attempt(5, clock=lambda: now[0])
    now[0] = 104.0
    with attempt.shielded(60):
        now[0] = 150.0
        attempt.cut_if_due()
        assert attempt.seconds_left() == 14.0
    assert attempt.seconds_left() == 1.0
    now[0] = 151.0
    with pytest.raises(JobFailed, match="longer than 5 seconds"):
        attempt.check()


def test_a_shielded_block_ends_with_its_own_time() -> None:
    now = [100.0]
    attempt = Attempt(500, clock=lambda: now[0])
    woken = threading.Event()
    with pytest.raises(JobFailed) as failed, attempt.shielded(60), attempt.aborting(woken.set):
        now[0] = 160.0
        attempt.cut_if_due()
        assert woken.is_set()
        raise ConnectionError("the consequence")
    assert (failed.value.code, failed.value.again) == (Code.TIMEOUT, True)


def test_no_shielded_block_begins_after_the_cut() -> None:
    attempt = Attempt(60)
    attempt.cut(Stopping("stopping"))
    with pytest.raises(Stopping), attempt.shielded(60):
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
