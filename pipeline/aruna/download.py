"""The source's content as a stream: fetched once, from its beginning, and checked as it passes.

The last block is handed on only once length and SHA-256 are the source's, so that a download
that was cut off never looks complete downstream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import requests
from requests.exceptions import InvalidSchema, InvalidURL
from urllib3.exceptions import HTTPError

from pipeline.attempt import Attempt
from pipeline.errors import OUTAGE, Code, JobFailed
from pipeline.net.addresses import origin
from pipeline.net.connections import Session
from pipeline.streams import last_block_held_back

#: Bytes read at a time: half as many reach two thirds of the rate, 8 KiB a sixth of that.
BLOCK_SIZE = 512 * 1024

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_GONE = {
    403: "its storage refuses the download (403)",
    404: "it is not there any more (404)",
    410: "it is not there any more (410)",
}
_TRY_AGAIN = (408, 425)
_ERROR_BODY_LIMIT = 4096


@dataclass(frozen=True)
class Source:
    """What is to be fetched: a presigned ``url``, and what it must turn out to be.

    ``content_len`` in bytes (0 if Aruna does not know it), ``sha256`` in lower-case hex if known.
    """

    url: str
    content_len: int
    sha256: str | None


@contextmanager
def download(
    source: Source, attempt: Attempt, *, session: Session, max_bytes: int | None = None
) -> Iterator[Iterator[bytes]]:
    """The content of ``source`` in blocks of ``BLOCK_SIZE``, the last one only if all was right.

    Aruna 2.0.4: a range that starts past the end hangs the data proxy, so none is ever asked for;
    a multipart upload that is not finalised answers 200 and breaks off. Raises ``JobFailed``:
    ``download_failed``, or ``invalid_input`` for more than ``max_bytes`` bytes.
    """
    _limit(source.content_len, max_bytes)
    with attempt.aborting(session.shut), _open(source.url, session) as response:
        _raise_for_status(response)
        with closing(_checked(response, source, attempt, max_bytes)) as blocks:
            yield blocks


def is_whole(stored: Source, attempt: Attempt, *, session: Session) -> bool:
    """Whether all of ``stored`` can be read, to its end, and is what it must be.

    Raises ``JobFailed`` (``download_failed``) if its storage can't be asked.
    """
    with attempt.aborting(session.shut), _open(stored.url, session) as response:
        if response.status_code == requests.codes.not_found:
            return False
        _raise_for_status(response)
        try:
            for _ in _checked(response, stored, attempt, None):
                pass
        except JobFailed as failure:
            attempt.check()
            if failure.code is not Code.DOWNLOAD_FAILED:
                raise
            return False
        return True


@contextmanager
def _open(url: str, session: Session) -> Iterator[requests.Response]:
    """The answer to a GET, redirects followed within what the session's addresses permit."""
    for _ in range(_MAX_REDIRECTS + 1):
        response = _get(url, session)
        if response.status_code not in _REDIRECTS:
            break
        response.close()
        url = _next_url(url, response, session)
    else:
        raise _failed("its storage redirects in circles")
    try:
        yield response
    finally:
        response.close()


def _get(url: str, session: Session) -> requests.Response:
    session.connections.addresses.check(url)
    try:
        return session.get(url, stream=True, allow_redirects=False)
    except (InvalidURL, InvalidSchema) as exc:
        raise _failed("its URL is not valid") from exc
    except requests.ReadTimeout as exc:
        raise _failed("its storage does not answer", again=True) from exc
    except requests.RequestException as exc:
        raise _failed("its storage can't be reached", patience=OUTAGE) from exc


def _next_url(url: str, response: requests.Response, session: Session) -> str:
    """Where a redirect leads: the same host, or one that the operator lists."""
    try:
        target = urljoin(url, response.headers.get("Location", ""))
    except ValueError as exc:
        raise _failed("its storage redirects to a URL that is not valid") from exc
    here, there = origin(url)[1:], origin(target)[1:]
    if here != there and not session.connections.addresses.lists(*there):
        raise _failed("its storage redirects to another host")
    return target


def _raise_for_status(response: requests.Response) -> None:
    status = response.status_code
    if status == requests.codes.ok:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise _failed("its storage sends it compressed, which was not asked for")
        return
    if status >= 500 or status == requests.codes.too_many_requests:
        raise _failed(f"its storage answered {status}", patience=OUTAGE)
    if status in _TRY_AGAIN:
        raise _failed(f"its storage answered {status}", again=True)
    if status == requests.codes.forbidden and b"expired" in _error_body(response):
        raise _failed("its download URL has expired; trigger the hook anew")
    raise _failed(_GONE.get(status, f"its storage answered {status}"))


def _error_body(response: requests.Response) -> bytes:
    try:
        return next(response.raw.stream(_ERROR_BODY_LIMIT, decode_content=False), b"")
    except (HTTPError, OSError):
        return b""


def _checked(
    response: requests.Response, source: Source, attempt: Attempt, max_bytes: int | None
) -> Generator[bytes, None, None]:
    """The body's blocks; the last one only if all of it is the source's."""
    announced = _announced(response, source)
    _limit(announced, max_bytes)
    blocks = _counted(_blocks(response), announced, attempt, max_bytes)
    if source.sha256 is not None:
        blocks = _hashed(blocks, source.sha256)
    return last_block_held_back(blocks)


def _hashed(blocks: Iterator[bytes], wanted: str) -> Iterator[bytes]:
    """``blocks``, which must have the SHA-256 ``wanted`` in the end.

    A thread computes it (hashlib lets go of the GIL) while the block is passed on.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(1, thread_name_prefix="sha256") as thread:
        hashing = thread.submit(digest.update, b"")
        for block in blocks:
            hashing.result()
            hashing = thread.submit(digest.update, block)
            yield block
        hashing.result()
    if digest.hexdigest() != wanted:
        raise _failed("it does not match the source's SHA-256", again=True)


def _counted(
    blocks: Iterator[bytes], announced: int, attempt: Attempt, max_bytes: int | None
) -> Iterator[bytes]:
    """``blocks``, which must have ``announced`` bytes in the end (0: any number)."""
    length = 0
    for block in blocks:
        attempt.check()
        length += len(block)
        _limit(length, max_bytes)
        if announced and length > announced:
            raise _failed("more bytes came than the source has", again=True)
        yield block
    attempt.check()
    if length < announced:
        raise _failed(f"it broke off after {length} of {announced} bytes", again=True)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it was sent; a short one is an error of urllib3's."""
    try:
        yield from response.raw.stream(BLOCK_SIZE, decode_content=False)
    except (HTTPError, OSError) as exc:
        raise _failed("it broke off", again=True) from exc


def _announced(response: requests.Response, source: Source) -> int:
    """Bytes to expect, 0 if neither Aruna nor its storage says."""
    header = response.headers.get("Content-Length", "")
    length = int(header) if header.isdecimal() else 0
    if source.content_len and length and length != source.content_len:
        raise _failed(
            f"{length} bytes are announced where the source has {source.content_len}", again=True
        )
    return source.content_len or length


def _limit(length: int, max_bytes: int | None) -> None:
    if max_bytes is not None and length > max_bytes:
        raise JobFailed(
            Code.INVALID_INPUT, f"the source is larger than {max_bytes} bytes, the most accepted"
        )


def _failed(what: str, *, again: bool = False, patience: float = 0.0) -> JobFailed:
    message = f"the source could not be fetched: {what}"
    return JobFailed(Code.DOWNLOAD_FAILED, message, again=again, patience=patience)
