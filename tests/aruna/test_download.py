"""A download is whole and the source's own, or it is an error, and says which."""

from __future__ import annotations

import threading
import time
from hashlib import sha256

import pytest

from pipeline.aruna.download import BLOCK_SIZE, Source, download, is_whole
from pipeline.attempt import Attempt
from pipeline.errors import OUTAGE, Code, Interrupted, JobFailed, LeaseLost, Stopping
from pipeline.net import connections
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from tests.aruna.scripted import Connection, Script, Scripted, answering, ok, response, serving

CONTENT = bytes(range(256)) * (BLOCK_SIZE // 64)  # four blocks
SHA256 = sha256(CONTENT).hexdigest()
QUERY = "X-Amz-Signature=marked-secret"


def source_of(
    server: Scripted, *, content_len: int = len(CONTENT), digest: str | None = SHA256
) -> Source:
    url = f"http://127.0.0.1:{server.port}/a%20b.xml?{QUERY}"
    return Source(url, content_len, digest)


def fetch(source: Source, attempt: Attempt, *, max_bytes: int | None = None) -> list[bytes]:
    with (
        session(Addresses(insecure=True)) as http,
        download(source, attempt, session=http, max_bytes=max_bytes) as blocks,
    ):
        return list(blocks)


def seen_of(source: Source, attempt: Attempt) -> tuple[bytes, JobFailed]:
    """What a failing download handed on, and how it failed."""
    seen = bytearray()
    with (
        pytest.raises(JobFailed) as failure,
        session(Addresses(insecure=True)) as http,
        download(source, attempt, session=http) as blocks,
    ):
        for block in blocks:
            seen += block
    return bytes(seen), failure.value


def test_a_download_is_the_source_byte_for_byte_in_large_blocks(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as server:
        blocks = fetch(source_of(server), attempt)
    assert b"".join(blocks) == CONTENT
    assert {len(block) for block in blocks[:-1]} == {BLOCK_SIZE}


def test_it_is_asked_for_whole_and_uncompressed(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as server:
        fetch(source_of(server), attempt)
    asked = server.connections[0].asked.lower()
    assert asked.startswith(b"get /a%20b.xml?x-amz-signature=marked-secret http/1.1\r\n")
    assert b"\r\naccept-encoding: identity\r\n" in asked
    assert b"\r\nrange:" not in asked


def test_an_empty_source_has_no_blocks(attempt: Attempt) -> None:
    with serving(answering(ok(b""))) as server:
        assert fetch(source_of(server, content_len=0, digest=None), attempt) == []


def test_a_chunked_answer_is_read(attempt: Attempt) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (1000, CONTENT[i : i + 1000]) for i in range(0, 9000, 1000))
    answer = response("200 OK", chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked")
    with serving(answering(answer)) as server:
        source = source_of(server, content_len=9000, digest=sha256(CONTENT[:9000]).hexdigest())
        assert b"".join(fetch(source, attempt)) == CONTENT[:9000]


FINAL = (204, 206, 304, 400, 401, 403, 404, 410, 416)
AWAY = (429, 500, 502, 503)


@pytest.mark.parametrize(
    ("status", "again", "patience"),
    [(408, True, 0.0), *((s, False, 0.0) for s in FINAL), *((s, True, OUTAGE) for s in AWAY)],
)
def test_each_status_is_final_or_not(
    status: int, again: bool, patience: float, attempt: Attempt
) -> None:
    answer = response(f"{status} Whatever", b"", "Content-Length: 0")
    with serving(answering(answer)) as server:
        seen, failure = seen_of(source_of(server), attempt)
    assert seen == b""
    assert failure.code is Code.DOWNLOAD_FAILED
    assert (failure.again, failure.patience) == (again, patience)
    assert str(status) in failure.message


def test_an_expired_url_is_called_so(attempt: Attempt) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    answer = response("403 Forbidden", body, f"Content-Length: {len(body)}")
    with serving(answering(answer)) as server:
        _, failure = seen_of(source_of(server), attempt)
    assert "expired" in failure.message
    assert not failure.again


def cut_off(connection: Connection) -> None:
    connection.read_request()
    connection.send(ok(CONTENT)[:-1])


def cut_off_without_length(connection: Connection) -> None:
    connection.read_request()
    connection.send(response("200 OK", CONTENT[:-1]))


def cut_off_in_a_chunk(connection: Connection) -> None:
    connection.read_request()
    connection.send(response("200 OK", b"fffff\r\n" + CONTENT[:-1], "Transfer-Encoding: chunked"))


def reset(connection: Connection) -> None:
    connection.read_request()


BREAKING_OFF = [cut_off, cut_off_without_length, cut_off_in_a_chunk]


@pytest.mark.parametrize("script", BREAKING_OFF)
def test_a_download_that_breaks_off_never_looks_complete(script: Script, attempt: Attempt) -> None:
    with serving(script) as server:
        seen, failure = seen_of(source_of(server), attempt)
    assert len(seen) < len(CONTENT) - 1
    assert failure.code is Code.DOWNLOAD_FAILED
    assert (failure.again, failure.patience) == (True, 0.0)


def test_another_content_of_the_same_length_is_held_back(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT[1:] + b"!"))) as server:
        seen, failure = seen_of(source_of(server), attempt)
    assert len(seen) == len(CONTENT) - BLOCK_SIZE
    assert failure.again
    assert "SHA-256" in failure.message


@pytest.mark.parametrize("body", [CONTENT + b"!", CONTENT[:-1]])
def test_an_announced_length_that_is_not_the_sources_costs_nothing(
    body: bytes, attempt: Attempt
) -> None:
    with serving(answering(ok(body))) as server:
        seen, failure = seen_of(source_of(server), attempt)
    assert seen == b""
    assert failure.code is Code.DOWNLOAD_FAILED
    assert failure.again


def test_a_server_that_is_not_there_is_waited_for(attempt: Attempt) -> None:
    with serving(answering(b"")) as server:
        pass
    _, failure = seen_of(source_of(server), attempt)
    assert (failure.code, failure.patience) == (Code.DOWNLOAD_FAILED, OUTAGE)


def test_a_server_that_closes_without_an_answer_is_waited_for(attempt: Attempt) -> None:
    with serving(reset) as server:
        _, failure = seen_of(source_of(server), attempt)
    assert (failure.code, failure.patience) == (Code.DOWNLOAD_FAILED, OUTAGE)


def test_a_server_that_does_not_answer_is_tried_again(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_TIMEOUT", 0.1)
    with serving(silent_from_the_start) as server:
        _, failure = seen_of(source_of(server), attempt)
    assert (failure.code, failure.again, failure.patience) == (Code.DOWNLOAD_FAILED, True, 0.0)


NO_URLS = [
    "https://[bad/x",
    "http://[::1",
    f"https://{'a' * 64}.example/x",
    f"https://{'a.' * 130}example/x",
    "https://a..example/x",
    "https://./x",
    "http://host:port/x",
    "https://example/\ud800",
    "",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_is_refused_at_once(url: str, attempt: Attempt) -> None:
    _, failure = seen_of(Source(url, 0, None), attempt)
    assert (failure.code, failure.again) == (Code.DOWNLOAD_FAILED, False)


@pytest.mark.parametrize("url", NO_URLS[:-1])
def test_a_redirect_to_what_is_no_url_is_refused_at_once(url: str, attempt: Attempt) -> None:
    location = "Location: " + url.encode("utf-8", "surrogatepass").decode("latin-1")
    answer = response("302 Found", b"", location, "Content-Length: 0")
    with serving(answering(answer)) as server:
        _, failure = seen_of(source_of(server), attempt)
    assert (failure.code, failure.again) == (Code.DOWNLOAD_FAILED, False)


def read_back(stored: Source, attempt: Attempt) -> bool:
    with session(Addresses(insecure=True)) as http:
        return is_whole(stored, attempt, session=http)


def test_what_is_stored_is_whole_if_all_of_it_can_be_read(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as server:
        assert read_back(source_of(server), attempt)
        assert read_back(source_of(server, digest=None), attempt)
        assert not read_back(source_of(server, digest="0" * 64), attempt)
        assert not read_back(source_of(server, content_len=len(CONTENT) + 1), attempt)


@pytest.mark.parametrize(
    "script", [*BREAKING_OFF, answering(response("404 Not Found", b"", "Content-Length: 0"))]
)
def test_what_breaks_off_or_is_not_there_is_not_whole(script: Script, attempt: Attempt) -> None:
    with serving(script) as server:
        assert not read_back(source_of(server), attempt)


@pytest.mark.parametrize("status", [403, 500])
def test_a_storage_that_refuses_says_nothing_of_what_it_holds(
    status: int, attempt: Attempt
) -> None:
    answer = response(f"{status} Whatever", b"", "Content-Length: 0")
    with serving(answering(answer)) as server, pytest.raises(JobFailed, match=str(status)):
        read_back(source_of(server), attempt)


def test_reading_back_ends_with_the_attempt(attempt: Attempt) -> None:
    with serving(silent_in_the_body) as server:
        cutter = threading.Timer(0.1, attempt.cut, [Stopping("shutdown")])
        cutter.start()
        with pytest.raises(Stopping):
            read_back(source_of(server), attempt)
        cutter.join()


def test_a_source_over_the_limit_is_not_even_asked_for(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as server:
        with pytest.raises(JobFailed) as failure:
            fetch(source_of(server), attempt, max_bytes=len(CONTENT) - 1)
        assert server.connections == []
    assert failure.value.code is Code.INVALID_INPUT
    assert not failure.value.again


@pytest.mark.parametrize("answer", [ok(CONTENT), response("200 OK", CONTENT)])
def test_a_source_of_unknown_length_is_held_to_the_limit_too(
    answer: bytes, attempt: Attempt
) -> None:
    with serving(answering(answer)) as server, pytest.raises(JobFailed) as failure:
        fetch(source_of(server, content_len=0, digest=None), attempt, max_bytes=len(CONTENT) - 1)
    assert failure.value.code is Code.INVALID_INPUT


def test_the_limit_itself_is_accepted(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as server:
        assert b"".join(fetch(source_of(server), attempt, max_bytes=len(CONTENT))) == CONTENT


def test_redirects_within_the_host_are_followed(attempt: Attempt) -> None:
    def script(connection: Connection) -> None:
        if b"/a%20b.xml" in connection.read_request():
            connection.send(response("307 Temporary Redirect", b"", "Location: /moved?x=1"))
        else:
            connection.send(ok(CONTENT))

    with serving(script) as server:
        assert b"".join(fetch(source_of(server), attempt)) == CONTENT
    assert server.connections[1].asked.startswith(b"GET /moved?x=1 ")


def test_redirects_without_end_are_not_followed_for_ever(attempt: Attempt) -> None:
    answer = response("302 Found", b"", "Location: /again", "Content-Length: 0")
    with serving(answering(answer)) as server:
        _, failure = seen_of(source_of(server), attempt)
    assert len(server.connections) == 6
    assert not failure.again


def test_a_redirect_to_another_host_is_followed_only_if_it_is_listed(attempt: Attempt) -> None:
    with serving(answering(ok(CONTENT))) as other:
        location = f"Location: http://localhost:{other.port}/"
        with serving(answering(response("302 Found", b"", location))) as server:
            _, failure = seen_of(source_of(server), attempt)
            assert "another host" in failure.message
            assert other.connections == []
            listed = Addresses(("127.0.0.1", f"localhost:{other.port}"), insecure=True)
            with (
                session(listed) as http,
                download(source_of(server), attempt, session=http) as blocks,
            ):
                assert b"".join(blocks) == CONTENT


def test_what_fails_downstream_keeps_its_own_reason(attempt: Attempt) -> None:
    with (
        serving(answering(ok(CONTENT))) as server,
        session(Addresses(insecure=True)) as http,
        pytest.raises(OSError, match="of the consumer"),
        download(source_of(server), attempt, session=http) as blocks,
    ):
        next(blocks)
        raise OSError("of the consumer")


def silent_from_the_start(connection: Connection) -> None:
    connection.read_request()
    connection.ending.wait()


def silent_in_the_body(connection: Connection) -> None:
    connection.read_request()
    connection.send(ok(CONTENT)[:-1])
    connection.ending.wait()


def dripping(connection: Connection) -> None:
    connection.read_request()
    connection.send(ok(CONTENT)[:300])
    while not connection.ending.wait(0.01):
        connection.send(b"x")


def dripping_headers(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while not connection.ending.wait(0.01):
        connection.send(b"x: y\r\n")


def always_about_to_answer(connection: Connection) -> None:
    connection.read_request()
    while not connection.ending.is_set():
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    "script",
    [
        silent_from_the_start,
        silent_in_the_body,
        dripping,
        dripping_headers,
        always_about_to_answer,
    ],
)
@pytest.mark.parametrize("reason", [LeaseLost("paused"), Stopping("shutdown")])
def test_a_download_that_blocks_ends_when_the_attempt_is_cut(
    script: Script, reason: Interrupted, attempt: Attempt
) -> None:
    with serving(script) as server:
        cutter = threading.Timer(0.1, attempt.cut, [reason])
        cutter.start()
        began = time.monotonic()
        with pytest.raises(type(reason)):
            fetch(source_of(server), attempt)
        assert time.monotonic() - began < 5
        cutter.join()


def test_a_drip_ends_with_the_attempts_time() -> None:
    attempt = Attempt(0.2)
    with serving(dripping) as server:
        watch = threading.Timer(0.25, attempt.cut_if_due)
        watch.start()
        with pytest.raises(JobFailed) as failure:
            fetch(source_of(server), attempt)
        watch.join()
    assert failure.value.code is Code.TIMEOUT
    assert failure.value.again


def test_no_message_holds_the_url(attempt: Attempt) -> None:
    for script in (reset, cut_off, answering(response("500 Oops", b"", "Content-Length: 0"))):
        with serving(script) as server:
            _, failure = seen_of(source_of(server), attempt)
        assert "marked-secret" not in failure.message
        assert "127.0.0.1" not in failure.message


def test_an_abandoned_download_lets_go_of_its_connection(attempt: Attempt) -> None:
    gone = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        try:
            connection.send(ok(CONTENT)[:-1])
            connection.sock.recv(1)
        finally:
            gone.set()

    with serving(script) as server, session(Addresses(insecure=True)) as http:
        with download(source_of(server), attempt, session=http) as blocks:
            next(blocks)
        assert gone.wait(5)
