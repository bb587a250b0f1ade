"""Clients that take their time do not keep a hook, or one another, from being answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from app import BODY_SECONDS
from pipeline.attempt import WATCH_PAUSE
from pipeline.web.worker import HEAD_SECONDS, LINGER_SECONDS
from tests.payloads import as_bytes, payload
from tests.running import TOKEN, Running

from .wire import connect

#: Seconds until a hook has to be acknowledged, on a machine that has other things to do as well.
PROMPT = 2.0
LINE = b"POST /webhook HTTP/1.1\r\nHost: service\r\n"
HEAD = LINE + b"Content-Length: 1000\r\n"
AUTHORIZED = HEAD + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()


@contextmanager
def dripping(service: Running, begin: bytes, clients: int) -> Iterator[None]:
    """So many clients that have sent ``begin`` and go on with a byte each second."""
    ended = threading.Event()
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(service)) for _ in range(clients)]
        for sock in socks:
            sock.sendall(begin)

        def drip() -> None:
            while not ended.wait(1):
                for sock in socks:
                    with suppress(ConnectionError):
                        sock.send(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def acknowledged(service: Running, number: int) -> float:
    """The longest of so many acknowledgements, in seconds."""
    longest = 0.0
    for _ in range(number):
        begun = time.perf_counter()
        assert service.post(as_bytes(payload())).status_code == 202
        longest = max(longest, time.perf_counter() - begun)
    return longest


@pytest.mark.parametrize(
    ("begin", "clients"),
    [(LINE + b"X-Slow: ", 40), (AUTHORIZED, 40), (HEAD + b"\r\n", 40), (b"", 200), (LINE, 400)],
    ids=["heads", "bodies", "bodies of strangers", "idle", "more than there are threads"],
)
def test_slow_clients_do_not_keep_a_hook_waiting(
    service: Running, begin: bytes, clients: int
) -> None:
    with dripping(service, begin, clients):
        # On a new connection too, as Aruna makes one for each hook.
        service.session.close()
        assert acknowledged(service, 30) < PROMPT


def test_more_clients_than_there_is_room_for_give_way_to_a_hook(service: Running) -> None:
    with dripping(service, LINE, 600):
        service.session.close()
        assert acknowledged(service, 30) < PROMPT


def test_clients_that_never_close_do_not_stop_the_service(service: Running) -> None:
    """gunicorn 27.0.1 waits two seconds for each of them, in the thread that accepts others."""
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(connect(service))
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        service.session.close()
        assert acknowledged(service, 10) < PROMPT


def seconds_until_closed(sock: socket.socket, begin: bytes) -> tuple[float, bytes]:
    """How long a client that drips may stay, and what it is told at the end."""
    sock.sendall(begin)
    begun = time.perf_counter()
    sock.settimeout(1)
    said = b""
    while True:
        try:
            piece = sock.recv(4096)
            if not piece:
                break
            said += piece
        except TimeoutError:
            sock.sendall(b"x")
        except ConnectionError:
            break
    return time.perf_counter() - begun, said


def test_heads_and_bodies_have_their_time_in_all(service: Running) -> None:
    ended: dict[str, tuple[float, bytes]] = {}

    def stay(name: str, begin: bytes) -> Callable[[], None]:
        def run() -> None:
            with connect(service) as sock:
                ended[name] = seconds_until_closed(sock, begin)

        return run

    threads = [
        threading.Thread(target=stay("head", LINE)),
        threading.Thread(target=stay("body", AUTHORIZED)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    late = LINGER_SECONDS + 2 * WATCH_PAUSE + PROMPT
    assert HEAD_SECONDS - 1 < ended["head"][0] < HEAD_SECONDS + late
    assert BODY_SECONDS - 1 < ended["body"][0] < BODY_SECONDS + late
    assert ended["head"][1] == b""
    assert ended["body"][1].startswith(b"HTTP/1.1 400")
    assert ended["body"][1].count(b"HTTP/1.1") == 1
    assert b"the body was not here within 10 seconds" in ended["body"][1]
