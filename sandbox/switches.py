"""How unpleasant the sandbox is: every switch can be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: What comes back for a good input instead of its result.
Result = Literal["good", "empty", "missing", "not_json", "truncated", "cut"]


@dataclass
class ArunaSwitches:
    """Aruna and its data proxy. Times are in seconds.

    ``upload_window``: how long the data proxy knows nothing of an object after CreateObject.
    ``cache_lag``: how long GetObject answers an object's former state after a change.
    ``creation_seconds``: how long CreateObject takes; calls of the API that overlap in one parent
    lose objects (``Sandbox.overlapping_creations``).
    ``finalise_seconds``: how long a multipart upload is re-encoded, while CompleteMultipartUpload
    is being answered; ``None``: until ``Sandbox.release``.
    ``complete_error``: the message of an error inside the 200 of CompleteMultipartUpload; the
    object is AVAILABLE and stays broken.
    ``loses``: whether the hook of that number (from 1) for that object id is never sent, as with a
    busy data proxy ("Could not sync with …").
    ``proxy_down``: the data proxy closes its connections, no hook is sent, and calls for S3
    credentials are refused.
    ``virtual_host``: with ``s3.example.test``, download URLs are
    ``http://<bucket>.s3.example.test:<port>/<key>``; unset, ``http://127.0.0.1:<port>/<bucket>/…``.
    ``sink``: parts are counted and hashed but not kept (``Sandbox.part_digests``), for benches.
    ``part_delay``: before a part or object is answered. ``bytes_per_second``: of each connection.
    """

    upload_window: float = 0.05
    cache_lag: float = 0.0
    creation_seconds: float = 0.0
    finalise_seconds: float | None = 0.05
    complete_error: str | None = None
    loses: Callable[[int, str], bool] = lambda number, object_id: False  # noqa: ARG005
    proxy_down: bool = False
    virtual_host: str | None = None
    sink: bool = False
    part_delay: float = 0.0
    bytes_per_second: float | None = None


@dataclass
class GfbioSwitches:
    """The GFBio service. Times are in seconds.

    ``down``: connections are closed without an answer. ``failures``: so many of the next requests
    are answered 500. ``seconds``: how long a transformation takes. ``result``: what the result file
    is like (``truncated``: shorter than its Content-Length; ``cut``: cut off with neither length
    nor chunks). ``big``: bytes of a made-up result, streamed, instead of the input's own.
    ``post``: the answer to a POST with the input as body, ``result`` or ``job``; unset, 405 as the
    public service says. ``gzip``: results are gzip-encoded for clients that accept it.
    ``quotes_url``: the error messages of refused inputs end with the input's URL.
    ``sent`` is called with the number of a result's bytes sent so far, before each block, and may
    wait. ``deletion_seconds``: what a DELETE takes (the public service: 2).
    """

    down: bool = False
    failures: int = 0
    seconds: float = 0.0
    result: Result = "good"
    big: int | None = None
    post: Literal["result", "job"] | None = None
    gzip: bool = False
    quotes_url: bool = False
    sent: Callable[[int], object] = lambda sent: None  # noqa: ARG005
    deletion_seconds: float = 0.0
