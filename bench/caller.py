"""Senders of hooks, as cheap as Python has them: one thread, sockets that do not block, no library.

``python -m bench.caller PORT CLIENTS SECONDS`` delivers hooks of new objects over ``CLIENTS``
connections, on each the next one as soon as the last is answered, and prints the milliseconds that
each took as a JSON list. It takes 20 to 30 microseconds of CPU time for a hook, where
the cheapest server takes 250 and more.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from itertools import count

from tests import payloads
from tests.running import TOKEN

_ANSWER = 65536


def hook_request(port: int) -> tuple[bytes, bytes]:
    """A delivery as Aruna sends it, 2 KB, as what stands before and after the object's id."""
    body = payloads.as_bytes(payloads.payload())
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before, after = body.split(payloads.OBJECT_ID.encode())
    return head.encode() + before, after


def deliver(port: int, clients: int, seconds: float) -> list[float]:
    """The milliseconds from each hook's first byte to the end of its answer.

    Raises ``RuntimeError`` for any answer but «accepted».
    """
    before, after = hook_request(port)
    poll = select.epoll()
    senders: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    taken: list[float] = []
    numbers = count(time.time_ns())
    until = time.perf_counter() + seconds

    def send(number: int) -> None:
        sent[number] = time.perf_counter()
        senders[number].send(b"".join((before, b"%026d" % next(numbers), after)))

    for _ in range(clients):
        sender = socket.create_connection(("127.0.0.1", port))
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        senders[sender.fileno()] = sender
        poll.register(sender, select.EPOLLIN)
        send(sender.fileno())
    while sent:
        for number, _ in poll.poll():
            answer = senders[number].recv(_ANSWER)
            now = time.perf_counter()
            if not answer.endswith(b"}"):
                continue  # gunicorn sends the head by itself
            if b'"accepted"' not in answer:
                raise RuntimeError(answer.decode(errors="replace"))
            taken.append((now - sent.pop(number)) * 1000)
            if now < until:
                send(number)
    for sender in senders.values():
        sender.close()
    return taken


if __name__ == "__main__":
    print(json.dumps(deliver(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
