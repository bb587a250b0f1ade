"""Connections that go only where ``Addresses`` permits, for `requests` and `boto3` alike.

A name is looked up once, all of its addresses have to be permitted, and the connection goes to one
of exactly those.
"""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import Timeout
from urllib3.util.connection import create_connection
from urllib3.util.ssl_ import create_urllib3_context

from pipeline.net.addresses import Addresses

#: Seconds until a connection is there; seconds without a byte on it.
CONNECT_TIMEOUT = 10
IDLE_TIMEOUT = 60
#: Bytes handed to a socket at once: its timeout counts for all of them together.
_SEND_SIZE = 1 << 20


class Connections(urllib3.PoolManager):
    """A pool of connections that go only where ``addresses`` permits.

    ``shut`` ends all of them, from any thread.
    """

    def __init__(self, addresses: Addresses, **options: Any) -> None:
        super().__init__(
            ssl_context=_tls_context(),
            timeout=Timeout(connect=IDLE_TIMEOUT, read=IDLE_TIMEOUT),
            retries=False,
            **options,
        )
        self.addresses = addresses
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._shut = False

    def shut(self) -> None:
        """Wake whoever waits for one of the connections with an error; none is made any more."""
        with self._lock:
            self._shut = True
            sockets = list(self._sockets)
        for sock in sockets:
            _shut_down(sock)

    def watch(self, sock: socket.socket) -> None:
        """Let ``shut`` end ``sock`` too, at once if it was called before."""
        with self._lock:
            self._sockets.add(sock)
            if self._shut:
                _shut_down(sock)

    def _new_pool(
        self,
        scheme: str,
        host: str,
        port: int,
        request_context: dict[str, Any] | None = None,
    ) -> urllib3.HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        kind = _HTTPS if scheme == "https" else _HTTP
        pool.ConnectionCls = functools.partial(kind, connections=self)  # type: ignore[assignment]
        return pool


class Session(requests.Session):
    """An HTTP session over ``Connections``: no proxies or passwords from the environment."""

    def __init__(self, addresses: Addresses) -> None:
        super().__init__()
        self.connections = Connections(addresses)
        self.trust_env = False
        self.headers = requests.structures.CaseInsensitiveDict(
            {"User-Agent": "abcd2bioschema", "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        self.mount("https://", _Adapter(self.connections))
        self.mount("http://", _Adapter(self.connections))

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """None: who asks follows redirects, and checks where they lead.

        requests would read the whole body of one into memory, and fail at a bad location.
        """
        return None

    def shut(self) -> None:
        """Wake whoever waits for an answer, from any thread; the session is of no use then."""
        self.connections.shut()


def session(addresses: Addresses) -> Session:
    """A session for downloads that go where ``addresses`` permits."""
    return Session(addresses)


class _Adapter(HTTPAdapter):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *_sizes: int, **_options: Any) -> None:
        self.poolmanager = self._connections

    def cert_verify(self, *_arguments: Any) -> None:
        """Nothing to add: the connections have their certificates and verify by them."""

    def send(
        self, request: requests.PreparedRequest, *arguments: Any, **options: Any
    ) -> requests.Response:
        options["timeout"] = options.get("timeout") or IDLE_TIMEOUT
        return super().send(request, *arguments, **options)


class _Answer(http.client.HTTPResponse):
    """An answer whose chunks have a length: CPython and urllib3 take «-1» for «all there is»."""

    def _safe_read(self, amt: int) -> bytes:
        if amt < 0:
            raise http.client.HTTPException("a chunk of negative length")
        return super()._safe_read(amt)  # type: ignore[misc, no-any-return]


class _Guarded(HTTPConnection):
    """A connection to one of the addresses that were checked, and to no other."""

    scheme = "http"
    response_class = _Answer

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections = connections
        self._connecting: socket.socket | None = None

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._connecting is not None:
                self._connecting.close()
        if self.sock is not None:
            self._connections.watch(self.sock)

    def _new_conn(self) -> socket.socket:
        addresses = self._connections.addresses
        addresses.check_host(self.scheme, self.host, self.port)
        try:
            checked = addresses.resolve(self._dns_host, self.port)
            sock = self._connect_to(checked)
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "no connection in time") from exc
        except OSError as exc:
            raise NewConnectionError(self, "no connection") from exc
        # TLS takes the socket over: this handle ends a handshake that takes too long.
        self._connecting = sock.dup()
        self._connections.watch(self._connecting)
        return sock

    def send(self, data: Any) -> None:
        if not isinstance(data, bytearray):
            super().send(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), _SEND_SIZE):
                super().send(view[start : start + _SEND_SIZE])

    def _connect_to(self, checked: list[str]) -> socket.socket:
        """A connection to the first of the addresses that answers."""
        until = time.monotonic() + CONNECT_TIMEOUT
        failure: OSError | None = None
        for address in checked:
            left = until - time.monotonic()
            if left <= 0:
                break
            seconds = left if address == checked[-1] else left / 2
            try:
                sock = create_connection(
                    (address, self.port), seconds, socket_options=self.socket_options
                )
            except OSError as exc:
                failure = exc
            else:
                sock.settimeout(IDLE_TIMEOUT)
                return sock
        raise failure or OSError("no address")


class _HTTP(_Guarded):
    pass


class _HTTPS(_Guarded, HTTPSConnection):
    scheme = "https"


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Verifies against the system's certificates (``SSL_CERT_FILE`` too) and certifi's."""
    context = create_urllib3_context()
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    return context


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket's own: that one takes the TLS layer away from a thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
