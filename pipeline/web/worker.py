"""gunicorn's threaded worker, made proof against slow clients and with answers in JSON.

gunicorn 27.0.1: a thread reads a request's head for as long as the client likes to take, and
drains what is left of a body at the client's pace; a connection that ends holds the one loop that
accepts others for up to two seconds. Here that loop gathers the heads and waits for the ends
itself, so that a client costs a thread only once it has asked something.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from itertools import chain
from selectors import EVENT_READ
from typing import Any

import structlog
from gunicorn.http import Request, get_parser
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

#: Seconds until the head of a request is there; seconds to wait for the client's own close.
HEAD_SECONDS = 10.0
LINGER_SECONDS = 2.0
#: Seconds until a client that reads nothing is given up.
SEND_SECONDS = 60
_READ = 65536

#: The end of a head, or a line end that gunicorn refuses. One empty line may stand before it.
_HEAD_END = re.compile(rb"(?<=[\s\S])\r\n\r\n|(?<!\r)\n")
_REASONS = {
    400: "Bad Request",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}

log = structlog.get_logger(__name__)


class _Request(Request):  # type: ignore[misc]
    """A request whose answer says that the connection ends if the body was not read.

    Whoever sends another request on it otherwise may lose that one.
    """

    def should_close(self) -> bool:
        """Whether this is the connection's last request."""
        return bool(super().should_close()) or self.body.failed or _is_left(self.body.reader)


class WebWorker(ThreadWorker):  # type: ignore[misc]
    """What gunicorn's ``worker_class`` names; each of its methods here replaces one of gthread's.

    All but ``handle_error`` run in the thread of the accepting loop.
    """

    def init_process(self) -> None:
        """Nobody waits yet."""
        self._heads: dict[Any, bytearray] = {}
        self._ending: dict[Any, None] = {}
        self._longest_head = self.cfg.limit_request_line + self.cfg.limit_request_fields * (
            self.cfg.limit_request_field_size + 2
        )
        # However many idle ones are kept, there is room for those that come.
        self.max_keepalived = self.worker_connections // 2
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """A connection is new, or has more to say: a thread has it once a head is whole."""
        if conn.parser is None:
            self._prepare(conn)
        head = bytearray(conn.parser.unreader.take_buffered())
        # Most heads come whole: the poller need not see those. What goes wrong here, it sees again.
        if not _HEAD_END.search(head):
            with suppress(OSError):
                head += conn.sock.recv(_READ, socket.MSG_DONTWAIT)
        if _HEAD_END.search(head):
            self._hand_over(conn, head)
            return
        self._heads[conn] = head
        conn.sock.setblocking(False)
        self._wait(conn, HEAD_SECONDS, self._read_head)

    def finish_request(self, conn: Any, future: Any) -> None:
        """A thread is done with a connection: it is kept, or ended without waiting here."""
        if future.cancelled() or future.exception() is not None or future.result():
            super().finish_request(conn, future)
        else:
            self._end(conn)

    def murder_pending(self) -> None:
        """Close who has waited too long, and the longest waiting if there is no room for others."""
        now = time.monotonic()
        for conn in list(chain(self._ending, self._heads)):
            if conn.timeout <= now or self.nr_conns >= self.worker_connections:
                self._drop(conn)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that is no HTTP, or what nobody foresaw, as everything is answered."""
        if isinstance(exc, ParseException):
            status = {LimitRequestLine: 414, LimitRequestHeaders: 431}.get(type(exc), 400)
            log.warning("request.broken", remote=addr[0], status=status, why=type(exc).__name__)
            answer = {"error": "bad_request", "message": "the request can't be understood"}
        else:
            status = 500
            log.error("request.defect", remote=addr[0], exc_info=exc)
            answer = {"error": "internal_error", "message": "the service made a mistake"}
        with suppress(OSError):
            client.sendall(_broken_off(status, json.dumps(answer).encode()))

    def _cap_keepalive(self, deadline: float) -> None:
        """When the service stops, who has not asked yet is not waited for either."""
        super()._cap_keepalive(deadline)
        for conn in self._heads:
            conn.timeout = min(conn.timeout, deadline)

    def _prepare(self, conn: Any) -> None:
        """A new connection, as gunicorn's own ``init`` makes it for plain HTTP/1."""
        conn.parser = get_parser(self.cfg, conn.sock, conn.client)
        conn.parser.mesg_class = _Request
        conn.initialized = conn.data_ready = True
        # gthread makes the socket blocking, without a timeout; this one stays with it.
        seconds = struct.pack("ll", SEND_SECONDS, 0)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)

    def _read_head(self, conn: Any, sock: socket.socket) -> None:
        head = self._heads[conn]
        seen = len(head)
        try:
            data = sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        head += data
        if not data:
            self._drop(conn)
        elif _HEAD_END.search(head, max(0, seen - 3)):
            self.poller.unregister(sock)
            self._hand_over(conn, self._heads.pop(conn))
        elif len(head) > self._longest_head:
            self._refuse(conn)

    def _hand_over(self, conn: Any, head: bytearray) -> None:
        """A thread answers: the parser finds a whole head in its buffer, or refuses it."""
        conn.parser.unreader.unread(bytes(head))
        super().enqueue_req(conn)

    def _refuse(self, conn: Any) -> None:
        """A head without an end, longer than any that would be taken."""
        self.poller.unregister(conn.sock)
        del self._heads[conn]
        self.handle_error(None, conn.sock, conn.client, LimitRequestHeaders("no end"))
        self._end(conn)

    def _end(self, conn: Any) -> None:
        """No more is sent; what still comes is taken, or the answer would be lost with it."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._close(conn)
            return
        self._wait(conn, LINGER_SECONDS, self._discard)
        self._ending[conn] = None

    def _discard(self, conn: Any, sock: socket.socket) -> None:
        try:
            more = sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self._drop(conn)

    def _wait(self, conn: Any, seconds: float, callback: Any) -> None:
        conn.timeout = time.monotonic() + seconds
        self.poller.register(conn.sock, EVENT_READ, partial(callback, conn))

    def _drop(self, conn: Any) -> None:
        self._heads.pop(conn, None)
        self._ending.pop(conn, None)
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()


def _is_left(reader: Any) -> bool:
    """Whether a body has not been read to its end."""
    if isinstance(reader, LengthReader):
        return bool(reader.length > 0)
    return reader.parser is not None


def _broken_off(status: int, body: bytes) -> bytes:
    """An answer after which the connection ends."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
