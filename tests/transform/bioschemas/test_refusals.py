"""What is not ABCD, not whole or not harmless ends in ``invalid_input``, with line and column."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

import pytest

from pipeline.errors import Code, JobFailed
from pipeline.transform.bioschemas import reader, transform
from pipeline.transform.bioschemas.dataset import Dataset
from pipeline.transform.recognise import MAX_HEAD, Kind, recognise
from tests.transform.bioschemas.documents import ABCD, abcd, elements
from tests.transform.bioschemas.generate import document

WHOLE = abcd(elements("KindOfUnit", "leaves"))
DOCTYPE = '<!DOCTYPE DataSets [<!ENTITY a "b">]>'


def refusal(pieces: Iterable[bytes]) -> str:
    """The message with which the document ``pieces`` is refused."""
    with pytest.raises(JobFailed) as caught:
        for _ in transform(pieces):
            pass
    assert caught.value.code is Code.INVALID_INPUT
    assert not caught.value.again
    return caught.value.message


@pytest.mark.parametrize("length", range(7, len(WHOLE), 7))
def test_a_document_cut_off_anywhere(length: int) -> None:
    message = refusal([WHOLE[:length].encode()])
    assert re.fullmatch(r"cut off: .* \(line 1, column \d+\): upload it again", message)


def test_a_document_without_a_byte() -> None:
    assert refusal([]) == refusal([b""]) == "the document is empty: upload it again"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (WHOLE.replace("</Unit>", "</Unity>"), "mismatched tag (line 1, column"),
        (WHOLE + "<more/>", "junk after document element (line 1, column"),
        ("<a>\n\n  <b></a>", "not ABCD"),
        (WHOLE.replace("<DataSet>", "\n\n <DataSet><&"), "(line 3, column 12)"),
        (WHOLE.replace("leaves", "&leaves;"), "undefined entity &leaves; (line 1, column"),
        (WHOLE.replace("leaves", "\x01"), "the control character 0x01 (line 1, column"),
        (WHOLE.replace("leaves", "salt & pepper"), "a bare & (line 1, column"),
        (WHOLE.replace("leaves", "salt &"), "a bare & (line 1, column"),
        (WHOLE.replace("leaves", "a < b"), "a bare < (line 1, column"),
        (WHOLE.replace("<KindOfUnit>", "<a:b>"), "unbound prefix of a:b (line 1, column"),
        ("no XML at all", "text before the root element (line 1, column 1)"),
    ],
)
def test_malformed_documents(text: str, place: str) -> None:
    assert place in refusal([text.encode()])


def test_bytes_that_are_not_of_the_encoding() -> None:
    latin = WHOLE.replace("leaves", "Gr\u00fc\u00dfe").encode("latin-1")
    assert "not well-formed: bytes that are not UTF-8 (line 1, column" in refusal([latin])
    declared = b'<?xml version="1.0" encoding="US-ASCII"?>' + WHOLE.replace("l", "\u00e9").encode()
    assert "bytes that are not US-ASCII (line 1, column" in refusal([declared])


@pytest.mark.parametrize(
    "encoding", ["utf-7", "shift_jis", "none-such", "rot13", "undefined", "punycode"]
)
def test_encodings_that_cannot_be_read(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{WHOLE}'
    for mark in (b"", b"\xef\xbb\xbf"):
        assert "encoding" in refusal([mark + text.encode()])


def test_an_error_of_our_own_is_not_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_unit: object, _record: object) -> None:
        raise KeyError

    monkeypatch.setattr(Dataset, "add_unit", broken)
    with pytest.raises(KeyError):
        list(transform([WHOLE.encode()]))


_NOT = "not ABCD 2.06 or 2.1: "
_PLACE = "(line 1, column 1)"


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (
            "<DataSets/>",
            f"{_NOT}the namespace of <DataSets> is missing {_PLACE}: it must be {ABCD}",
        ),
        (
            '<DataSets xmlns="http://www.tdwg.org/schemas/abcd/1.2"/>',
            f"{_NOT}the document is ABCD 1.2 {_PLACE}: export it as ABCD 2.06",
        ),
        (
            f'<x:DataSets xmlns="{ABCD}" xmlns:x="urn:x"/>',
            f"{_NOT}the namespace of <DataSets> is urn:x {_PLACE}: it must be {ABCD}",
        ),
        (f'<DataSet xmlns="{ABCD}"/>', f"not ABCD: the root element is <DataSet> {_PLACE}"),
        ("<html></html>", f"not ABCD: the root element is <html> {_PLACE}"),
    ],
)
def test_other_roots_are_named(root: str, message: str) -> None:
    assert refusal([root.encode()]) == message


@pytest.mark.parametrize("doctype", [DOCTYPE, '<!DOCTYPE DataSets SYSTEM "http://x/">'])
def test_a_doctype_is_refused(doctype: str) -> None:
    message = refusal([(doctype + WHOLE).encode()])
    assert re.fullmatch(
        r"DOCTYPE and entity declarations are not accepted \(line 1, column \d+\): remove them",
        message,
    )


def endless(start: str, repeated: str) -> Iterator[bytes]:
    """``start`` and then the same without end."""
    yield start.encode()
    while True:
        yield repeated.encode() * 10_000


@pytest.mark.parametrize(
    ("start", "repeated", "reason"),
    [
        ("<DataSet><!--", "endless ", "tag or comment"),
        ("<DataSet x='", "endless ", "tag or comment"),
        ("<DataSet><Units><Unit><KindOfUnit>", "endless ", "metadata, is longer"),
        ("<DataSet><Units><Unit>", "<KindOfUnit>x</KindOfUnit><y/>", "metadata, is longer"),
        ("<DataSet>", "<DatasetGUID>x</DatasetGUID>", "metadata, is longer"),
        ("<DataSet>", "<Deep>", "elements are open"),
    ],
)
def test_what_does_not_end_is_refused(
    start: str, repeated: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_UNIT", 3_000_000)
    monkeypatch.setattr(reader, "MAX_TOKEN", 1_000_000)
    message = refusal(endless(f'<DataSets xmlns="{ABCD}">{start}', repeated))
    assert reason in message
    assert re.search(r"\(line 1, column \d+\)$", message)


def test_many_small_units_are_no_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_UNIT", 300_000)
    units = [elements("KindOfUnit", "x" * 1000)] * 1000
    assert b'"value": 1000' in b"".join(transform([abcd(*units).encode()]))


def test_what_recognises_reads_no_more_than_the_root() -> None:
    pieces = iter([b"<?xml version='1.0'?>", f'<DataSets xmlns="{ABCD}">'.encode(), b"<rest>"])
    kind, chunks = recognise(pieces)
    assert kind is Kind.XML
    assert next(pieces) == b"<rest>"
    assert b"".join(chunks) == f"<?xml version='1.0'?><DataSets xmlns=\"{ABCD}\">".encode()


def test_recognised_bytes_are_all_there() -> None:
    data = document(3).encode()
    _kind, chunks = recognise(data[at : at + 3] for at in range(0, len(data), 3))
    assert b"".join(chunks) == data


@pytest.mark.parametrize("head", [b"PK\x03\x04rest", b"PK\x05\x06"])
def test_archives_are_recognised(head: bytes) -> None:
    kind, chunks = recognise(bytes([byte]) for byte in head)
    assert kind is Kind.ZIP
    assert b"".join(chunks) == head


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([], "is empty"),
        ([b""], "is empty"),
        ([b"<?xml"], "cut off"),
        ([b'{"a": 1}'], "not well-formed"),
        ([b"\x1f\x8b\x08\x00"], "not well-formed"),
        ([DOCTYPE.encode()], "DOCTYPE"),
        ([b"<html>"], "not ABCD"),
        ([b" " * MAX_HEAD, b"<DataSets/>"], "no root element"),
        ([b"<!--", *[b"x" * 100_000] * 20], "no root element"),
    ],
)
def test_what_is_neither_is_refused_at_its_head(pieces: list[bytes], reason: str) -> None:
    with pytest.raises(JobFailed, match=reason) as caught:
        recognise(iter(pieces))
    assert caught.value.code is Code.INVALID_INPUT


def test_single_bytes_of_an_unfinished_head_take_no_long_time() -> None:
    head = b"<!--" + b"x" * MAX_HEAD
    begun = time.process_time()
    with pytest.raises(JobFailed, match="no root element"):
        recognise(bytes([byte]) for byte in head)
    assert time.process_time() - begun < 5


def test_ten_thousands_of_different_roles_take_no_long_time() -> None:
    roles = elements("Roles/Role", *map(str, range(40_000)))
    begun = time.process_time()
    owner = elements("Owners/Owner", "<Person/>" + roles)
    assert b'"39999"' in b"".join(transform([abcd(metadata=owner).encode()]))
    assert time.process_time() - begun < 3


def test_errors_of_the_source_pass_through() -> None:
    def broken() -> Iterator[bytes]:
        yield WHOLE[:40].encode()
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        recognise(broken())
    with pytest.raises(ConnectionResetError):
        list(transform(broken()))
