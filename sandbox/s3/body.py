"""The body of an upload: received, unwrapped, throttled, hashed, and kept if it is right."""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from sandbox.aruna.model import StoredPart
from sandbox.aruna.state import State
from sandbox.http_server import Exchange
from sandbox.s3.errors import s3_error
from sandbox.s3.signature import Signed, plain_chunks
from sandbox.s3.store import Store

_SPOOLED = 16 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    """An upload's bytes, stored; checksums as S3 headers write them, hashes in hex."""

    part: StoredPart
    md5: str
    crc32: str
    sha256_base64: str

    def echoed(self, exchange: Exchange) -> dict[str, str]:
        """The checksum headers that the answer repeats."""
        algorithm = exchange.headers.get("x-amz-sdk-checksum-algorithm", "").upper()
        if "x-amz-checksum-sha256" in exchange.headers or algorithm == "SHA256":
            return {"x-amz-checksum-sha256": self.sha256_base64}
        if "x-amz-checksum-crc32" in exchange.headers or algorithm == "CRC32":
            return {"x-amz-checksum-crc32": self.crc32}
        return {}


def receive(exchange: Exchange, signed: Signed, state: State, store: Store) -> Received:
    """Take in the whole body; raises an S3 error if it is cut short or not what was signed."""
    _check_headers(exchange)
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED) as spool:
        trailers: dict[str, str] = {}
        hashed = _Hashed()
        try:
            for block in _content(exchange, signed, state, trailers):
                hashed.update(block)
                if not state.switches.sink:
                    spool.write(block)
        except ValueError as exc:
            raise _broken() from exc
        _check(exchange, hashed, trailers)
        key = None if state.switches.sink else _saved(spool, store)
    state.closing.wait(state.switches.part_delay)
    part = StoredPart(key, hashed.size, hashed.sha256.hexdigest())
    return Received(part, hashed.md5.hexdigest(), hashed.crc32_base64, hashed.sha256_base64)


class _Hashed:
    def __init__(self) -> None:
        self.size = 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()
        self._crc32 = 0

    def update(self, block: bytes) -> None:
        self.size += len(block)
        self.md5.update(block)
        self.sha256.update(block)
        self._crc32 = zlib.crc32(block, self._crc32)

    @property
    def crc32_base64(self) -> str:
        return base64.b64encode(self._crc32.to_bytes(4, "big")).decode()

    @property
    def sha256_base64(self) -> str:
        return base64.b64encode(self.sha256.digest()).decode()


def _content(
    exchange: Exchange, signed: Signed, state: State, trailers: dict[str, str]
) -> Iterator[bytes]:
    blocks: Iterator[bytes] = _throttled(exchange.body(), state)
    mode = exchange.headers.get("x-amz-content-sha256", "")
    if mode.startswith("STREAMING-"):
        blocks = plain_chunks(blocks, mode, signed, trailers)
    yield from blocks


def _throttled(blocks: Iterator[bytes], state: State) -> Iterator[bytes]:
    for block in blocks:
        if state.switches.bytes_per_second:
            state.closing.wait(len(block) / state.switches.bytes_per_second)
        yield block


def _check_headers(exchange: Exchange) -> None:
    if "content-length" not in exchange.headers:
        exchange.close_connection = True
        raise s3_error(411, "MissingContentLength", "Missing content-length")
    if "x-amz-checksum-sha1" in exchange.headers:
        message = "Sha1 checksum integrity validation is not supported"
        raise s3_error(501, "NotImplemented", message)


def _check(exchange: Exchange, hashed: _Hashed, trailers: dict[str, str]) -> None:
    headers = exchange.headers
    mode = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    announced = headers.get("x-amz-decoded-content-length") or headers["content-length"]
    if hashed.size != int(announced):
        raise _broken()
    if len(mode) == 64 and mode != hashed.sha256.hexdigest():
        raise _broken()
    checksums = {
        "x-amz-checksum-crc32": hashed.crc32_base64,
        "x-amz-checksum-sha256": hashed.sha256_base64,
    }
    for name, right in checksums.items():
        if trailers.get(name, headers.get(name, right)) != right:
            raise s3_error(400, "BadDigest", "Checksum validation failed")


def _broken() -> Exception:
    return s3_error(500, "InternalError", "Internal data transformer processing error")


def _saved(spool: IO[bytes], store: Store) -> str:
    spool.seek(0)
    return store.save(spool)
