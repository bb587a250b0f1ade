"""Archives: a document out for each document in, a clear word about those that are not right."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Code, JobFailed
from pipeline.transform.bioschemas import archive, transform_archive
from tests.transform.bioschemas.documents import abcd, elements, result

ONE = abcd(elements("KindOfUnit", "leaves"))
TWO = abcd(elements("KindOfUnit", "seeds"))


def packed(*files: tuple[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP file."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as made:
        for name, content in files:
            made.writestr(name, content)
    return memory.getvalue()


def pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    """``data`` in pieces."""
    return (data[at : at + size] for at in range(0, len(data), size))


def unpacked(data: bytes) -> dict[str, object]:
    """The results in the archive that ``data`` becomes, checked by Python's own reader."""
    made = zipfile.ZipFile(io.BytesIO(b"".join(transform_archive(pieces(data)))))
    assert made.testzip() is None
    return {name: json.loads(made.read(name)) for name in made.namelist()}


def refusal(data: bytes) -> str:
    """The message with which the archive is refused."""
    with pytest.raises(JobFailed) as caught:
        for _ in transform_archive(pieces(data)):
            pass
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value.message


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_each_document_becomes_one_named_after_it(compression: int) -> None:
    data = packed(
        ("a.xml", ONE),
        ("readme.txt", "read me"),
        ("é/b.v2.XML", TWO),
        ("__MACOSX/._a.xml", b"\x00\x05"),
        compression=compression,
    )
    assert unpacked(data) == {"a.json": result(ONE), "é/b.v2.json": result(TWO)}


def test_the_same_archive_becomes_the_same_bytes() -> None:
    data = packed(("a.xml", ONE))
    assert b"".join(transform_archive([data])) == b"".join(transform_archive(pieces(data, 1)))


@pytest.mark.parametrize("length", [1, 4, 30, 100])
def test_a_truncated_archive(length: int) -> None:
    assert "damaged" in refusal(packed(("a.xml", ONE))[:length])


def test_a_damaged_archive() -> None:
    data = bytearray(packed(("a.xml", ONE), compression=zipfile.ZIP_STORED))
    data[data.index(b"leaves")] ^= 1
    assert "damaged" in refusal(bytes(data))


def test_an_encrypted_archive() -> None:
    data = bytearray(packed(("a.xml", ONE)))
    data[6] |= 1
    assert refusal(bytes(data)) == "the archive is encrypted: upload it without a password"


def test_an_archive_without_documents() -> None:
    assert "no .xml document" in refusal(packed(("a.txt", "text")))
    assert "no .xml document" in refusal(packed())


@pytest.mark.parametrize("name", ["inner.zip", "inner.xml", "inner"])
def test_an_archive_inside_an_archive(name: str) -> None:
    assert "another archive" in refusal(packed(("a.xml", ONE), (name, packed(("b.xml", TWO)))))


@pytest.mark.parametrize(
    "name", ["../a.xml", "/a.xml", "x/../../a.xml", "C:\\a.xml", "..\\a.xml", "a\x1b[2J.xml"]
)
def test_names_that_lead_outside(name: str) -> None:
    assert "leads outside" in refusal(packed((name, ONE)))


def test_two_documents_that_would_become_one() -> None:
    assert "two members of the archive would both become a.json" in refusal(
        packed(("a.xml", ONE), ("a.XML", TWO))
    )


def test_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 1_000_000)
    space = ONE.replace("leaves", " " * 20_000_000)
    assert "unpacks to more than 200 times" in refusal(packed(("a.xml", space)))
    assert "unpacks to more than 200 times" in refusal(packed(("a.bin", b"\0" * 20_000_000)))


def test_too_many_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_DOCUMENTS", 2)
    assert "more than 2 documents" in refusal(packed(*[(f"{n}.xml", ONE) for n in range(3)]))


def test_an_error_names_the_document() -> None:
    message = refusal(packed(("a.xml", ONE), ("b.xml", TWO[:-5])))
    assert message.startswith("in b.xml: cut off: ")
    assert "(line 1, column" in message


def test_the_result_begins_before_the_archive_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed(*[(f"{n}.xml", ONE) for n in range(3000)]))
    with path.open("rb") as file:
        next(transform_archive(iter(lambda: file.read(1000), b"")))
        assert file.tell() < path.stat().st_size / 2
