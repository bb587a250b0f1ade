"""ABCD archives: a ZIP file of ABCD documents in, one of JSON-LD documents out, as a stream."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain

from pipeline.errors import Code, JobFailed
from pipeline.transform.bioschemas.dataset import transform
from pipeline.transform.recognise import ZIP_SIGNATURES

MAX_DOCUMENTS = 100_000
MAX_RATIO = 200  # bytes out for one in; real ABCD has 10 to 40, a bomb up to 1032
FREE_BYTES = 64 * 1024 * 1024  # bytes out before the ratio counts
MODIFIED = datetime(1980, 1, 1)  # ZIP has no time zones; equal input, equal output
MODE = 0o644

Member = tuple[bytes, int | None, Iterable[bytes]]
Document = tuple[str, Iterator[bytes]]


def transform_archive(archive: Iterable[bytes]) -> Iterator[bytes]:
    """The ZIP file of the JSON-LD documents that the ABCD documents in ``archive`` become.

    One ``.json`` for each ``.xml``, named after it; other files are passed over. Raises
    ``invalid_input`` for a damaged or encrypted archive, one inside another, one that unpacks to
    far more than it should, names that lead outside, and for what ``transform`` refuses.
    """
    # Imported here, as below: together they take 0.15 s, and most sources are no archives.
    from stream_zip import ZIP_64, stream_zip

    results = transform_members(archive)
    yield from stream_zip((name, MODIFIED, MODE, ZIP_64, content) for name, content in results)


def transform_members(archive: Iterable[bytes]) -> Iterator[Document]:
    """The name and the content of each JSON-LD document, in the order of ``archive``.

    Each content must be read before the next is asked for. Raises as ``transform_archive`` does.
    """
    results: set[str] = set()
    for name, content in abcd_documents(archive):
        result = f"{name[:-4]}.json"
        if result in results:
            raise invalid(f"two members of the archive would both become {result}: rename one")
        results.add(result)
        if len(results) > MAX_DOCUMENTS:
            raise invalid(f"the archive holds more than {MAX_DOCUMENTS} documents: split it")
        yield result, transform_member(name, content)


def abcd_documents(archive: Iterable[bytes]) -> Iterator[Document]:
    """The name and the content of each ABCD document, in the order of ``archive``.

    Each content must be read before the next is asked for. Raises ``invalid_input``.
    """
    from stream_unzip import stream_unzip

    limit = SizeLimit()
    empty = True
    with zip_errors():
        for name, content in documents(stream_unzip(limit.packed(archive)), limit):
            empty = False
            yield name, _with_zip_errors(content)
    if empty:
        raise invalid("not ABCD: the archive holds no .xml document")


def documents(members: Iterable[Member], limit: SizeLimit) -> Iterator[Document]:
    """The name and the content of each ABCD document; what else there is, is passed over."""
    for raw_name, _size, packed in members:
        name = safe_name(raw_name)
        content = no_archive(name, limit.unpacked(packed))
        if is_document(name):
            yield name, content
        else:
            for _ in content:
                pass


def transform_member(name: str, content: Iterator[bytes]) -> Iterator[bytes]:
    """What the document ``content`` becomes; an error names it."""
    try:
        yield from transform(content)
    except JobFailed as exc:
        raise JobFailed(exc.code, f"in {name}: {exc.message}", again=exc.again) from exc


@contextmanager
def zip_errors() -> Iterator[None]:
    """Says in our words what is wrong with an archive."""
    from stream_unzip import MissingPasswordError, UnzipError

    try:
        yield
    except MissingPasswordError as exc:
        raise invalid("the archive is encrypted: upload it without a password") from exc
    except UnzipError as exc:
        raise invalid(
            "the archive is damaged, or its ZIP format is not supported: pack it anew"
        ) from exc


def _with_zip_errors(content: Iterator[bytes]) -> Iterator[bytes]:
    with zip_errors():
        yield from content


def is_document(name: str) -> bool:
    """Whether the member is an ABCD document, not the shadow that macOS keeps of one."""
    own = name.rpartition("/")[2]
    return own.lower().endswith(".xml") and not own.startswith("._")


def safe_name(raw: bytes) -> str:
    """The name of a member; one that leads outside the archive is refused."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("cp437")
    parts = re.split(r"[/\\]", name)
    if ".." in parts or not parts[0] or ":" in parts[0] or not name.isprintable():
        raise invalid(f"a name in the archive leads outside it, {name[:80]!a}: rename it")
    return name


def no_archive(name: str, content: Iterator[bytes]) -> Iterator[bytes]:
    """The same ``content``; refused if it is an archive itself."""
    head = b""
    for piece in content:
        head += piece
        if len(head) >= len(ZIP_SIGNATURES[0]):
            break
    if head.startswith(ZIP_SIGNATURES):
        raise invalid(f"the archive holds another archive, {name[:80]}: unpack that one")
    yield from chain([head], content)


class SizeLimit:
    """Counts the bytes of an archive, packed and unpacked, and refuses a bomb."""

    def __init__(self) -> None:
        self._in = 0
        self._out = 0

    def packed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same ``pieces``, counted."""
        for piece in pieces:
            self._in += len(piece)
            yield piece

    def unpacked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same ``pieces``, counted; ``invalid_input`` once there are far too many."""
        for piece in pieces:
            self._out += len(piece)
            if self._out > FREE_BYTES + MAX_RATIO * self._in:
                raise invalid(f"the archive unpacks to more than {MAX_RATIO} times its size")
            yield piece


def invalid(message: str) -> JobFailed:
    """The error for an archive that is not as it should be."""
    return JobFailed(Code.INVALID_INPUT, message)
