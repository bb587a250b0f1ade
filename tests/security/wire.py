"""Requests byte for byte, as no HTTP library would send them."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.parse import urlsplit

from tests.running import Running


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The code of an error in the contract's shape, which has a message and nothing else."""
        assert self.headers["Content-Type"] == "application/json"
        said = json.loads(self.body)
        assert set(said) == {"error", "message"}
        assert said["message"]
        return str(said["error"])


def connect(service: Running, *, seconds: float = 5.0) -> socket.socket:
    """A connection; nothing on it may take longer than ``seconds``."""
    where = urlsplit(service.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=seconds)


def ask(service: Running, request: bytes, *, seconds: float = 5.0, ended: bool = False) -> Answer:
    """The answer to ``request``, which is all that is sent, or even said to be (``ended``)."""
    with connect(service, seconds=seconds) as sock:
        sock.sendall(request)
        if ended:
            sock.shutdown(socket.SHUT_WR)
        return answer_on(sock, method=request.split(b" ")[0].decode("latin-1"))


def answer_on(sock: socket.socket, *, method: str = "POST") -> Answer:
    """The next answer on a connection."""
    response = HTTPResponse(sock, method=method)
    response.begin()
    with response:
        return Answer(response.status, dict(response.getheaders()), response.read())


def head(line: str, *fields: str) -> bytes:
    """The head of a request, after which the connection is to be closed."""
    return "\r\n".join([line, "Host: service", "Connection: close", *fields, "", ""]).encode(
        "latin-1"
    )
