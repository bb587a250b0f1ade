"""The result goes into its object: a stream in, one object or a multipart upload out.

Memory stays below (``concurrency`` + 1) × ``part_size`` bytes whatever the result's length: the
buffers are filled in place and used again. Nothing is completed before the result has ended well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any

from pipeline.aruna.read_back import can_be_read, comes_to_be_read
from pipeline.aruna.s3 import (
    NO_UPLOAD,
    PAUSES,
    S3,
    Head,
    Place,
    S3Error,
    ask,
    head,
    insist,
    object_id_of,
    upload_failed,
)
from pipeline.aruna.s3_client import BUCKET
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed

#: S3: a multipart upload has at most that many parts.
MAX_PARTS = 10_000

#: Seconds that CompleteMultipartUpload may take, and bytes a second that it re-encodes at least.
#: Aruna 2.0.4: 20 MB in 10 s, in a debug build on two busy cores.
COMPLETE_SECONDS = 600.0
COMPLETE_RATE = 1_000_000

#: Bytes the first part begins with, so that a small result costs little.
_FIRST_SIZE = 256 * 1024


def upload(
    result: Iterator[bytes],
    s3: S3,
    place: Place,
    object_id: str,
    attempt: Attempt,
    *,
    part_size: int,
    concurrency: int,
    before_write: Callable[[], None],
    sending: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> int:
    """Store ``result`` in the object ``object_id`` at ``place``; its length in bytes.

    Parts of ``part_size`` bytes are sent, ``concurrency`` at a time, while the result is still
    being read. ``before_write`` is called before each request that writes, and raises if this
    process may not any more; each part is sent within ``sending()``. Raises ``JobFailed``
    (``upload_failed``), or whatever ends the result or the attempt.
    """
    to = _Destination(s3, place, object_id, attempt, before_write, sending)
    with attempt.aborting(s3.shut), _Window(to, part_size, concurrency) as window:
        parts = window.filled(result)
        first, is_whole = next(parts)
        if not first:
            raise JobFailed(Code.UPLOAD_FAILED, "the result is empty")
        try:
            if is_whole:
                _verify(to, _put(to, first), len(first))
            else:
                _multipart(to, window, first, parts)
        except S3Error as error:
            raise upload_failed(error) from error
        return window.length


@dataclass(frozen=True)
class _Destination:
    s3: S3
    place: Place
    object_id: str
    attempt: Attempt
    before_write: Callable[[], None]
    sending: Callable[[], AbstractContextManager[object]]


class _Window:
    """The part being filled and those being sent: where the memory of an upload is."""

    def __init__(self, to: _Destination, part_size: int, concurrency: int) -> None:
        self.length = 0
        self._to = to
        self._part_size = part_size
        self._concurrency = concurrency
        self._free: list[bytearray] = []
        self._sending: dict[Future[None], bytearray] = {}
        self._count = 0
        self._etags: dict[int, str] = {}
        self._stopped = False
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="part")

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def filled(self, result: Iterator[bytes]) -> Iterator[tuple[bytearray, bool]]:
        """``result`` in parts, each with whether it is the last; the last may be short or empty.

        A part is given away only when another byte follows it, so the last one is known as such.
        """
        part = self._buffer()
        filled = 0
        for block in result:
            self.length += len(block)
            rest = memoryview(block)
            while rest:
                if filled == self._part_size:
                    yield part, False
                    part, filled = self._buffer(), 0
                taken = rest[: self._part_size - filled]
                _put_into(part, filled, taken, self._part_size)
                filled += len(taken)
                rest = rest[len(taken) :]
        del part[filled:]
        yield part, True

    def send(self, part: bytearray, upload_id: str) -> None:
        """Send ``part`` as the next one, in another thread; its buffer is used again after."""
        self._count += 1
        if self._count > MAX_PARTS:
            raise JobFailed(
                Code.UPLOAD_FAILED,
                f"the result has more than {MAX_PARTS} parts: PART_SIZE must be larger",
            )
        names_of_the_job = copy_context()
        future = self._threads.submit(
            names_of_the_job.run, self._send, part, self._count, upload_id
        )
        self._sending[future] = part

    def sent(self) -> dict[int, str]:
        """The parts' ETags by number, once all of them are stored."""
        while self._sending:
            self._collect(self._to.attempt.seconds_left())
        return self._etags

    def stop(self) -> None:
        """Send no part any more; those under way have ended when this returns."""
        self._stopped = True
        self._threads.shutdown(cancel_futures=True)

    def _send(self, part: bytearray, number: int, upload_id: str) -> None:
        with self._to.sending():
            answer = insist(
                self._to.s3.client.upload_part,
                self._to.place,
                self._to.attempt,
                before=self._before_sending,
                Body=part,
                PartNumber=number,
                UploadId=upload_id,
            )
        self._etags[number] = answer["ETag"]

    def _before_sending(self) -> None:
        # Aruna 2.0.4: the upload id of a part is not looked at, so that one of a process that was
        # paused would go into the upload of its successor.
        if self._stopped:
            raise CancelledError
        self._to.before_write()

    def _buffer(self) -> bytearray:
        self._collect(0)
        while not self._free and len(self._sending) > self._concurrency:
            self._collect(self._to.attempt.seconds_left())
        if self._free:
            return self._free.pop()
        return bytearray(self._part_size if self._count else min(_FIRST_SIZE, self._part_size))

    def _collect(self, seconds: float) -> None:
        """Take back what was stored, waiting for some of it; raises what went wrong with it."""
        for future in wait(self._sending, seconds, return_when=FIRST_COMPLETED).done:
            self._free.append(self._sending.pop(future))
            future.result()


def _put_into(part: bytearray, at: int, taken: memoryview, part_size: int) -> None:
    """Write ``taken`` at ``at`` into a part, which grows to its full size if it must."""
    if len(part) < at + len(taken):
        part.extend(bytes(part_size - len(part)))
    with memoryview(part) as target:
        target[at : at + len(taken)] = taken


def _put(to: _Destination, body: bytearray) -> str | None:
    """PutObject: the object's ETag, ``None`` if no answer was seen but the content is there.

    It is looked at before it is sent again: one that has worked is not overwritten.
    """

    def is_there() -> bool:
        digest = sha256(body).hexdigest()
        return _head_is(to, len(body)) and can_be_read(
            to.s3, to.place, to.attempt, length=len(body), sha256=digest
        )

    with to.sending():
        return _write(to, to.s3.client.put_object, is_there, Body=body)


def _multipart(
    to: _Destination, window: _Window, first: bytearray, rest: Iterator[tuple[bytearray, bool]]
) -> None:
    """A multipart upload, from its creation to the stored object."""
    answer = insist(
        to.s3.client.create_multipart_upload, to.place, to.attempt, before=to.before_write
    )
    upload_id = answer["UploadId"]
    try:
        for part, _ in chain([(first, False)], rest):
            window.send(part, upload_id)
        etags = window.sent()
    except Exception:
        window.stop()
        _abort(to, upload_id)
        raise
    with to.attempt.shielded(COMPLETE_SECONDS + window.length / COMPLETE_RATE):
        _verify(to, _complete(to, upload_id, etags, window.length), window.length)


def _complete(to: _Destination, upload_id: str, etags: dict[int, str], length: int) -> str | None:
    """CompleteMultipartUpload: the object's ETag, ``None`` if no answer was seen but the content
    is there.

    Aruna 2.0.4: the content is re-encoded while the answer is on its way, and stays broken if the
    connection ends before. Asked once more, the data proxy says "Upload id must be specified" if
    it had worked, and 500 while it had not.
    """

    def is_there() -> bool:
        if not _head_is(to, length):
            return False
        if comes_to_be_read(to.s3, to.place, to.attempt, length=length):
            return True
        message = "Aruna's storage broke off while it finished the result"
        raise JobFailed(Code.UPLOAD_FAILED, message, again=True)

    parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
    return _write(
        to,
        to.s3.client.complete_multipart_upload,
        is_there,
        UploadId=upload_id,
        MultipartUpload={"Parts": parts},
    )


def _write(
    to: _Destination,
    operation: Callable[..., Any],
    is_there: Callable[[], bool],
    **parameters: Any,
) -> str | None:
    """The ETag that a write of the whole content is answered with.

    After a try that may have worked without a good answer, ``None`` if the content ``is_there``.
    Raises ``S3Error`` if no try works.
    """
    pauses = iter(PAUSES)
    while True:
        try:
            return str(ask(operation, to.place, to.before_write, parameters)["ETag"])
        except S3Error as error:
            unsure = error.may_have_worked or error.code in NO_UPLOAD
            if unsure and is_there():
                return None
            pause = next(pauses, None)
            if pause is None or not error.again:
                raise
        to.attempt.wait(pause)


def _head_is(to: _Destination, length: int) -> bool:
    return head(to.s3, to.place, to.attempt) == Head(to.object_id, length)


def _abort(to: _Destination, upload_id: str) -> None:
    """Best effort. Aruna 2.0.4: an APPEND token may not, and the first error is what counts.

    Whoever may not write any more leaves it alone: it would be the successor's upload that ends.
    """
    with suppress(Exception):
        to.before_write()
        to.s3.client.abort_multipart_upload(Bucket=BUCKET, Key=to.place.key, UploadId=upload_id)


def _verify(to: _Destination, etag: str | None, length: int) -> None:
    """The object is the one that was created, and as long as what was streamed."""
    if etag is not None and object_id_of(etag) != to.object_id:
        raise JobFailed(Code.UPLOAD_FAILED, "the result went into another object than its own")
    if not _head_is(to, length):
        raise JobFailed(
            Code.UPLOAD_FAILED, "Aruna's storage does not show the whole result", again=True
        )
