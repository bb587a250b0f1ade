"""Sources that are made to do harm end in the right code, in little memory, and lead nowhere else.

The service goes by its default rules here: https alone, public addresses alone. A server listens
on an address that is not public; whatever a source says, that server never sees a connection.
"""

from __future__ import annotations

import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pipeline.aruna.download import Source, download
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.transform.recognise import recognise
from tests.aruna.scripted import Connection, Script, Scripted, answering, ok, response, serving
from tests.network import PUBLIC, Lookups

MAX_BYTES = 20_000_000
#: Bytes that a hostile download may cost at its peak, of Python's own memory.
MEMORY = 8 * 1024 * 1024
ROOT = b'<DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06"/>'
ZEROS = b"0" * 65536


@dataclass(frozen=True)
class Case:
    """What a server says, and what becomes of it."""

    name: str
    script: Script
    code: Code
    again: bool = False
    content_len: int = 0
    sha256: str | None = None


def body(content: bytes, *headers: str) -> Script:
    return answering(ok(content, *headers))


def endless(begin: bytes, more: bytes, end: Callable[[bytes], bytes] = bytes) -> Script:
    """A body that begins and then goes on and on, until the client has had enough."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(begin)
        while not connection.ending.is_set():
            connection.send(end(more))

    return script


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def bomb(compress: Callable[[bytes], bytes], encoding: str) -> Script:
    return body(compress(ROOT + b" " * 10_000_000), f"Content-Encoding: {encoding}")


def redirect(location: str) -> Script:
    """To a location in which PORT is that of the forbidden server, which is this one's too."""

    def script(connection: Connection) -> None:
        port = connection.sock.getsockname()[1]
        connection.read_request()
        where = location.replace("PORT", str(port))
        connection.send(response("302 Found", b"", f"Location: {where}", "Content-Length: 0"))

    return script


def doctype(declaration: str, encoding: str = "utf-8") -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE {declaration}><DataSets/>'
    return text.encode(encoding)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))

ENCODED = [
    Case("gzip bomb", bomb(gzip.compress, "gzip"), Code.DOWNLOAD_FAILED),
    Case("x-gzip bomb", bomb(gzip.compress, "x-gzip"), Code.DOWNLOAD_FAILED),
    Case("deflate bomb", bomb(zlib.compress, "deflate"), Code.DOWNLOAD_FAILED),
    Case("bomb in a bomb", bomb(gzip.compress, "gzip, gzip"), Code.DOWNLOAD_FAILED),
    Case("unknown encoding", body(ROOT, "Content-Encoding: br"), Code.DOWNLOAD_FAILED),
    Case("gzip undeclared", body(gzip.compress(ROOT)), Code.INVALID_INPUT),
    Case(
        "gzip declared as transfer",
        answering(
            response("200 OK", gzip.compress(b" " * 10_000_000), "Transfer-Encoding: gzip, chunked")
        ),
        Code.DOWNLOAD_FAILED,
        again=True,
    ),
]

LENGTHS = [
    Case("endless, no length", endless(response("200 OK", ROOT), ZEROS), Code.INVALID_INPUT),
    Case(
        "endless chunks",
        endless(response("200 OK", chunk(ROOT), "Transfer-Encoding: chunked"), ZEROS, chunk),
        Code.INVALID_INPUT,
    ),
    Case(
        "endless, length known to Aruna",
        endless(response("200 OK", ROOT), ZEROS),
        Code.DOWNLOAD_FAILED,
        again=True,
        content_len=100_000,
    ),
    Case("announced too long", body(b"x" * 200), Code.DOWNLOAD_FAILED, True, content_len=100),
    Case("announced too short", body(b"x" * 50), Code.DOWNLOAD_FAILED, True, content_len=100),
    Case("huge announced", answering(response("200 OK", b"", f"Content-Length: {10**15}")),
         Code.INVALID_INPUT),
    Case("negative length", answering(response("200 OK", b"", "Content-Length: -1")),
         Code.INVALID_INPUT),
    Case("two lengths", answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n"),
        Code.DOWNLOAD_FAILED, True),
    Case("another content", body(ROOT), Code.DOWNLOAD_FAILED, True, len(ROOT), "0" * 64),
    Case("empty", body(b""), Code.INVALID_INPUT),
    Case("breaks off in the head", answering(response("200 OK", b"<Data", "Content-Length: 100")),
         Code.DOWNLOAD_FAILED, True),
    Case("a chunk that never ends", endless(
        response("200 OK", b"f" * 10, "Transfer-Encoding: chunked"), b"f" * 100),
        Code.DOWNLOAD_FAILED, True),
    Case("a chunk of negative size", endless(
        response("200 OK", b"-1\r\n", "Transfer-Encoding: chunked"), ZEROS),
        Code.DOWNLOAD_FAILED, True),
]  # fmt: skip

HEADERS = [
    Case("endless header line", endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
         Code.DOWNLOAD_FAILED, True),
    Case("endless headers", endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 50),
         Code.DOWNLOAD_FAILED, True),
    Case("endless status line", endless(b"HTTP/1.1 200 ", b"O" * 1000),
         Code.DOWNLOAD_FAILED, True),
    Case("no HTTP at all", endless(b"", b"SSH-2.0-OpenSSH_9.2\r\n"), Code.DOWNLOAD_FAILED, True),
    Case("endless error body", endless(response("403 Forbidden"), ZEROS), Code.DOWNLOAD_FAILED),
]  # fmt: skip

REDIRECTS = [
    Case(f"redirect to {location}", redirect(location), Code.DOWNLOAD_FAILED)
    for location in (
        "https://127.0.0.1:PORT/",
        "http://127.0.0.1:PORT/",
        "https://localhost:PORT/",
        "https://2130706433:PORT/",
        "https://0x7f000001:PORT/",
        "https://0177.0.0.1:PORT/",
        "https://127.1:PORT/",
        "https://[::1]:PORT/",
        "https://[::ffff:127.0.0.1]:PORT/",
        "https://[::ffff:7f00:1]:PORT/",
        "https://[64:ff9b::7f00:1]:PORT/",
        "https://two-faced.example:PORT/",
        "https://rebinding.example:PORT/",
        "//127.0.0.1:PORT/",
        "https://source.example:PORT@127.0.0.1:PORT/",
        "https://source.example:PORT\\@127.0.0.1:PORT/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:PORT/",
        "https://169.254.169.254/latest/meta-data/",
        "https://source.example:1/",
        "",
    )
]

REDIRECTS.append(
    Case(
        "redirect with a body without end",
        endless(response("302 Found", b"", "Location: https://127.0.0.1/"), ZEROS),
        Code.DOWNLOAD_FAILED,
    )
)

DOCUMENTS = [
    Case(f"document: {name}", body(content), Code.INVALID_INPUT)
    for name, content in {
        "a DOCTYPE": doctype("DataSets"),
        "a DTD of a forbidden server": doctype('DataSets SYSTEM "https://127.0.0.1/x.dtd"'),
        "an external entity": doctype('x [<!ENTITY e SYSTEM "file:///etc/passwd">]'),
        "a parameter entity": doctype('x [<!ENTITY % e SYSTEM "https://127.0.0.1/"> %e;]'),
        "a billion laughs": doctype(f'x [<!ENTITY l0 "ha">{LAUGHS}]'),
        "a DOCTYPE in UTF-16": doctype("DataSets", "utf-16"),
        "a DOCTYPE in UTF-16BE": b"\xfe\xff" + doctype("DataSets", "utf-16-be"),
        "a DOCTYPE in Latin-1": doctype("DataSets", "iso-8859-1"),
        "a DOCTYPE in UTF-7": doctype("DataSets", "utf-7"),
        "a DOCTYPE in EBCDIC": doctype("DataSets", "cp037"),
        "UTF-32": doctype("DataSets", "utf-32"),
        "an encoding of its own": b'<?xml version="1.0" encoding="x-evil"?>' + ROOT,
        "UTF-8 that says UTF-16": b'<?xml version="1.0" encoding="utf-16"?>' + ROOT,
        "an endless head": b" " * 5_000_000,
        "an endless comment": b"<!--" + b"x" * 5_000_000,
        "an endless instruction": b"<?x " + b"x" * 5_000_000,
        "an endless attribute": b'<DataSets x="' + b"x" * 5_000_000,
        "an endless name": b"<" + b"x" * 5_000_000,
        "another root": b"<html/>",
        "a root without the namespace": b"<DataSets/>",
        "JSON": b'{"a": 1}',
        "NULs": bytes(5_000_000),
        "three bytes of a ZIP file": b"PK\x03",
    }.items()
]

CASES = ENCODED + LENGTHS + HEADERS + REDIRECTS + DOCUMENTS


@pytest.fixture(autouse=True)
def _names(lookups: Lookups, public_loopback: str) -> None:
    lookups["source.example"] = [[public_loopback]]
    lookups["two-faced.example"] = [[public_loopback, "127.0.0.1"]]
    lookups["rebinding.example"] = [["127.0.0.1"], [public_loopback]]


@pytest.fixture
def forbidden(tls: ssl.SSLContext) -> Iterator[Scripted]:
    """Answers on 127.0.0.1 whatever it is asked; nobody may ask."""
    with serving(answering(ok(ROOT)), tls=tls) as server:
        yield server
        assert server.connections == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_source_does_no_harm(
    case: Case, forbidden: Scripted, tls: ssl.SSLContext, attempt: Attempt
) -> None:
    with serving(case.script, address=PUBLIC, port=forbidden.port, tls=tls) as server:
        tracemalloc.start()
        url = f"https://source.example:{server.port}/a.xml"
        source = Source(url, case.content_len, case.sha256)
        with pytest.raises(JobFailed) as failure:
            consume(source, attempt)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (failure.value.code, failure.value.again) == (case.code, case.again)
    assert peak < MEMORY


def consume(source: Source, attempt: Attempt) -> None:
    """All of a source that is recognised, as a job reads it."""
    with (
        session(Addresses()) as http,
        download(source, attempt, session=http, max_bytes=MAX_BYTES) as blocks,
    ):
        for _ in recognise(blocks)[1]:
            pass


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:PORT/",
        "https://localhost:PORT/",
        "https://2130706433:PORT/",
        "https://017700000001:PORT/",
        "https://[::1]:PORT/",
        "https://[::ffff:127.0.0.1]:PORT/",
        "https://two-faced.example:PORT/",
        "http://source.example:PORT/",
        "https://user@127.0.0.1:PORT/",
        "https://source.example\t@127.0.0.1:PORT/",
    ],
)
def test_a_hook_cannot_name_a_forbidden_address(
    url: str, forbidden: Scripted, attempt: Attempt
) -> None:
    where = url.replace("PORT", str(forbidden.port))
    with pytest.raises(JobFailed) as failure:
        consume(Source(where, 0, None), attempt)
    assert failure.value.code is Code.DOWNLOAD_FAILED
    assert not failure.value.again


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "us-ascii"])
def test_an_honest_source_passes_the_same_checks(
    encoding: str, forbidden: Scripted, tls: ssl.SSLContext, attempt: Attempt
) -> None:
    declared = encoding.removesuffix("-sig")
    document = f'<?xml version="1.0" encoding="{declared}"?>{ROOT.decode()}'.encode(encoding)
    with serving(body(document), address=PUBLIC, tls=tls) as server:
        url = f"https://source.example:{server.port}/a.xml"
        consume(Source(url, len(document), None), attempt)
    assert forbidden.connections == []
