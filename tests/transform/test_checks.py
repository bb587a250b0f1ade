"""A result passes unchanged, or its last block is never handed on."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, JobFailed
from pipeline.transform.checks import checked_json, checked_zip

Check = Callable[[Iterable[bytes]], Iterator[bytes]]

DOCUMENT = json.dumps(
    {"@context": "https://schema.org", "name": 'Bär "x" \\ \n 𝄞', "n": [1, -2.5e3, True, None, {}]},
    ensure_ascii=False,
).encode()

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

GOOD = [
    b"{}",
    b'  {"a": 1}',
    b'\t\r\n {"a":[[],{},"",0,-0,1.5,1E+5,true,false,null]} \n\n',
    b'{"a":"start_map","end_array":"[{"}',
    b'{"\\u00e4\\ud834\\udd1e":"\\"\\\\\\/\\b\\f\\n\\r\\t"}',
    b'{"a":123456789012345678901234567890,"b":-1.7e999,"c":' + b"1" * 4000 + b"}",
    b'{"a":' + b"[" * 190 + b"{}" + b"]" * 190 + b"}",
    b'{"a":1,"a":2}',
]

BAD = {
    "empty": b"",
    "white space": b" \n\t ",
    "a list": b"[{}]",
    "a text": b'"{}"',
    "a number": b"1",
    "null": b"null",
    "an HTML page": b"<html>Bad gateway</html>",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16-le"),
    "two objects": b"{}{}",
    "two objects and a comma": b"{},{}",
    "half a text after the object": b'{}"',
    "half a number after the object": b"{}1",
    "half an escape after the object": b"{}\\",
    "a text among members": b'{"a","b":{}}',
    "a value among members": b'{"a":1,{}}',
    "a value after a list among members": b'{"a":[],1}',
    "a text after a list among members": b'{"a":[],"b",1}',
    "members in a list": b'{"a":["b":1]}',
    "members in a list after a value": b'{"a":[1,"b":{}]}',
    "a value as a key": b'{"a":1,[]:2}',
    "two colons": b'{"a":"b":"c"}',
    "two commas": b'{"a":1,,"b":2}',
    "a leading comma": b'{"a":[,1]}',
    "a trailing comma in a list": b'{"a":[1,]}',
    "numbers apart": b'{"a":1 2}',
    "a name apart": b'{"a":tr ue}',
    "a name too many": b'{"a":truefalse}',
    "texts apart": b'{"a":"b" "c"}',
    "the check's own bytes": b'{"a":\x01}',
    "the check's own root": b'\x03"a":1}',
    "a vertical tab": b'{"a":\x0b1}',
    "a form feed": b"{}\x0c",
    "a backslash outside": b'{"a":\\n1}',
    "an escaped quote outside": b'{\\"a":1}',
    "a letter outside": '{"a":ä}'.encode(),
    "two lines of JSON": b'{"a":1}\n{"a":2}\n',
    "trailing garbage": b'{"a":1} x',
    "a trailing NUL": b"{}\0",
    "a closing bracket too many": b'{"a":1}}',
    "a closing bracket too few": b'{"a":{"b":1}',
    "the wrong bracket": b'{"a":[1}',
    "a trailing comma": b'{"a":1,}',
    "no comma": b'{"a":1 "b":2}',
    "no colon": b'{"a" 1}',
    "no value": b'{"a":}',
    "a key that is no text": b"{1:2}",
    "single quotes": b"{'a':1}",
    "a comment": b'{"a":1}/* that is all */',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "a leading zero": b'{"a":01}',
    "a plus": b'{"a":+1}',
    "a bare point": b'{"a":1.}',
    "a bare exponent": b'{"a":1e}',
    "Python's True": b'{"a":True}',
    "an unknown escape": b'{"a":"\\x41"}',
    "half an escape": b'{"a":"\\u00"}',
    "a line break in a text": b'{"a":"1\n2"}',
    "Latin-1": '{"a":"Bär"}'.encode("latin-1"),
    "an overlong encoding": b'{"a":"\xc0\x80"}',
    "an encoded surrogate": b'{"a":"\xed\xa0\x80"}',
    "a number without end": b'{"a":' + b"9" * 200_000,
    "nesting without end": b'{"a":' * 200_000,
    "lists without end": b'{"a":' + b"[" * 1_000_000,
}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def seen_of(check: Check, blocks: Iterable[bytes]) -> tuple[bytes, JobFailed]:
    seen = bytearray()
    with pytest.raises(JobFailed) as failure:
        for block in check(blocks):
            seen += block
    return bytes(seen), failure.value


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("document", [*GOOD, DOCUMENT])
def test_a_json_object_passes_unchanged(document: bytes, size: int) -> None:
    assert b"".join(checked_json(pieces(document, size))) == document


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES), st.integers(1, 50), st.booleans())
def test_whatever_json_can_say_passes(value: object, size: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    document = text.encode("utf-8", "surrogatepass")
    assert b"".join(checked_json(pieces(document, size))) == document


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("document", BAD.values(), ids=BAD)
def test_what_is_not_one_json_object_is_refused(document: bytes, size: int) -> None:
    seen, failure = seen_of(checked_json, pieces(document, size if len(document) < 9999 else 65536))
    assert failure.code is Code.TRANSFORMATION_FAILED
    assert not failure.again
    assert len(seen) < max(len(document), 1)


def test_a_result_cut_short_anywhere_never_looks_complete() -> None:
    for length in range(len(DOCUMENT)):
        seen, failure = seen_of(checked_json, pieces(DOCUMENT[:length], 10))
        assert failure.code is Code.TRANSFORMATION_FAILED
        assert len(seen) < max(length, 1)


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(DOCUMENT)), st.integers(0, 20))
def test_a_mutated_document_is_judged_as_pythons_parser_does(
    inserted: bytes, at: int, removed: int
) -> None:
    document = DOCUMENT[:at] + inserted + DOCUMENT[at + removed :]
    try:
        good = isinstance(json.loads(document.decode(), parse_constant=int), dict)
    except ValueError:
        good = False
    if good:
        assert b"".join(checked_json(pieces(document, 9))) == document
    else:
        seen_of(checked_json, pieces(document, 9))


def test_a_result_that_breaks_off_ends_with_its_own_error() -> None:
    def breaking() -> Iterator[bytes]:
        yield b'{"a":1}'
        raise ConnectionError("broke off")

    seen: list[bytes] = []
    with pytest.raises(ConnectionError, match="broke off"):
        seen.extend(checked_json(breaking()))
    assert seen == []


def test_a_result_is_not_gathered_while_it_passes() -> None:
    asked = 0

    def result() -> Iterator[bytes]:
        nonlocal asked
        yield b'{"a":['
        for number in range(1, 1000):
            asked = number
            yield b'"' + b"x" * 1000 + b'",'
        yield b"0]}"

    passing = checked_json(result())
    next(passing)
    next(passing)
    assert asked < 3


def archive(*names: str, comment: bytes = b"") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as into:
        for name in names:
            into.writestr(name, bytes(range(256)) * 2000)
        into.comment = comment
    return made.getvalue()


ARCHIVES = [archive("a.json"), archive("a.json", "b.json"), archive("a", comment=b"PK\x05\x06" * 9)]


@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
@pytest.mark.parametrize("whole", ARCHIVES)
def test_an_archive_passes_unchanged(whole: bytes, size: int) -> None:
    assert b"".join(checked_zip(pieces(whole, size))) == whole


def test_a_large_archive_is_not_gathered_while_it_passes() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as into:
        into.writestr("a", bytes(5_000_000))
    longest = 0
    passed = 0
    for block in checked_zip(pieces(made.getvalue(), 10_000)):
        longest = max(longest, len(block))
        passed += len(block)
    assert passed == len(made.getvalue())
    assert longest < 200_000


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"PK",
        b"PK\x03\x04",
        b'{"a": 1}',
        b"<html>",
        archive(),
        ARCHIVES[0][:-1],
        ARCHIVES[0] + b"!",
        b"!" + ARCHIVES[0],
        ARCHIVES[0][:100] + ARCHIVES[0][101:],
        ARCHIVES[0][:-22],
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_is_not_a_whole_archive_is_refused(broken: bytes, size: int) -> None:
    seen, failure = seen_of(checked_zip, pieces(broken, size))
    assert failure.code is Code.TRANSFORMATION_FAILED
    assert not failure.again
    assert len(seen) < max(len(broken), 1)
