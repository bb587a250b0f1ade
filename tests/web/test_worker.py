"""The worker replaces methods of gunicorn's that are nobody's promise: it fits one version."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable

import pytest
from gunicorn.http.body import LengthReader
from gunicorn.http.message import Message
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import TConn, ThreadWorker

from pipeline.web.worker import WebWorker

#: What of gunicorn 27.0.1 ``WebWorker`` replaces or takes for granted, by the hash of its source.
RELIED_ON: list[tuple[type | Callable[..., object], str]] = [
    (ThreadWorker.init_process, "e4fc63a1a68e"),
    (ThreadWorker.enqueue_req, "c9f428953d24"),
    (ThreadWorker.finish_request, "616e7bb15a00"),
    (ThreadWorker.murder_pending, "7bf11f464542"),
    (ThreadWorker._cap_keepalive, "745c8ac37108"),
    (ThreadWorker.accept, "f8dcead3dce5"),
    (ThreadWorker.run, "f92c7394d857"),
    (ThreadWorker.handle, "ca85c9be3df7"),
    (ThreadWorker.handle_request, "6d0de5b91910"),
    (ThreadWorker.on_client_socket_readable, "aead1a3ea7b7"),
    (TConn, "e3a2878ba952"),
    (Worker.handle_error, "75426448389b"),
    (Message.should_close, "37c454bfb3e3"),
    (Parser, "3a9c06e348c7"),
    (Unreader, "84aaa8f91fcd"),
    (LengthReader, "3b01bc7c21a2"),
]


@pytest.mark.parametrize(
    ("part", "known"), RELIED_ON, ids=[part.__qualname__ for part, _ in RELIED_ON]
)
def test_what_the_worker_rests_on_in_gunicorn_is_as_it_was_read(
    part: type | Callable[..., object], known: str
) -> None:
    """It has changed: read it again beside pipeline/web/worker.py, then renew the hash."""
    assert hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12] == known


def test_every_method_that_is_replaced_is_watched() -> None:
    replaced = {name for name in vars(WebWorker) if hasattr(ThreadWorker, name)} - set(vars(object))
    watched = {part.__name__ for part, _ in RELIED_ON}
    assert replaced - {"__module__", "__firstlineno__", "__static_attributes__"} <= watched
