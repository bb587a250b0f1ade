"""Where a request may lead the service: only there, whatever names and servers say."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
import requests

from pipeline.errors import Code, JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import Session, session
from tests.aruna.scripted import Connection, answering, ok, serving
from tests.network import PUBLIC, Lookups

NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::7f00:1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_connection_is_made_to_an_address_that_is_not_public(
    address: str, lookups: Lookups
) -> None:
    lookups["source.example"] = [[address]]
    with pytest.raises(JobFailed, match="not public") as failure:
        Addresses().resolve("source.example", 443)
    assert failure.value.code is Code.DOWNLOAD_FAILED
    assert not failure.value.again


@pytest.mark.parametrize("address", ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are_permitted(address: str, lookups: Lookups) -> None:
    lookups["source.example"] = [[address]]
    assert Addresses().resolve("source.example", 443) == [address]


def test_one_private_address_among_public_ones_is_enough_to_refuse(lookups: Lookups) -> None:
    lookups["source.example"] = [["1.1.1.1", "10.0.0.1"]]
    with pytest.raises(JobFailed, match="not public"):
        Addresses().resolve("source.example", 443)


def test_a_listed_host_may_have_any_address(lookups: Lookups) -> None:
    lookups["s3.internal"] = [["10.0.0.1"]]
    assert Addresses(("s3.internal",)).resolve("s3.internal", 443) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("s3.example.org", "https://s3.example.org/a"),
        ("s3.example.org", "https://S3.Example.ORG./a"),
        ("s3.example.org", "https://s3.example.org:9000/a"),
        ("S3.example.org:443", "https://s3.example.org/a"),
        ("s3.example.org:9000", "https://s3.example.org:9000/a"),
        ("*.s3.example.org", "https://bucket.s3.example.org/a"),
        ("*.s3.example.org", "https://a.b.s3.example.org/a"),
        ("*.s3.example.org:9000", "https://bucket.s3.example.org:9000/a"),
        ("::1", "https://[::1]:9000/a"),
        ("[::1]:9000", "https://[::1]:9000/a"),
        ("127.0.0.1", "https://127.0.0.1:9000/a"),
    ],
)
def test_a_listed_host_is_permitted(entry: str, url: str) -> None:
    Addresses(("elsewhere.example", entry)).check(url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("s3.example.org", "https://evil.example/a"),
        ("s3.example.org", "https://s3.example.org.evil.example/a"),
        ("s3.example.org", "https://bucket.s3.example.org/a"),
        ("s3.example.org:443", "https://s3.example.org:9000/a"),
        ("*.s3.example.org", "https://s3.example.org/a"),
        ("*.s3.example.org", "https://evils3.example.org/a"),
        ("127.0.0.1", "https://2130706433/a"),
        ("s3.example.org", r"https://s3.example.org\@evil.example/a"),
        ("s3.example.org", "https://evil.example#@s3.example.org/a"),
    ],
)
def test_a_host_that_is_not_listed_is_refused(entry: str, url: str) -> None:
    with pytest.raises(JobFailed) as failure:
        Addresses((entry,)).check(url)
    assert failure.value.code is Code.DOWNLOAD_FAILED
    assert not failure.value.again


def test_a_list_holds_with_allow_insecure_too() -> None:
    with pytest.raises(JobFailed, match="not one this service"):
        Addresses(("s3.example.org",), insecure=True).check("http://127.0.0.1/a")


@pytest.mark.parametrize(
    "url",
    [
        "http://source.example/a",
        "ftp://source.example/a",
        "file:///etc/passwd",
        "gopher://source.example/a",
        "https:///a",
        "source.example/a",
        "",
        "https://user:word@source.example/a",
        "https://source.example:0x1bb/a",
        "https://source.example:99999/a",
        "https://[::1/a",
    ],
)
def test_only_https_urls_without_a_user_are_fetched(url: str) -> None:
    with pytest.raises(JobFailed) as failure:
        Addresses().check(url)
    assert failure.value.code is Code.DOWNLOAD_FAILED


def test_http_is_permitted_by_allow_insecure_alone() -> None:
    Addresses(insecure=True).check("http://127.0.0.1:9000/a")
    with pytest.raises(JobFailed, match="https"):
        Addresses(("127.0.0.1",)).check("http://127.0.0.1:9000/a")


def test_the_name_is_looked_up_once_and_verified_by_its_certificate(
    lookups: Lookups, public_loopback: str, tls: ssl.SSLContext
) -> None:
    lookups["rebinding.example"] = [[public_loopback], ["127.0.0.1"]]
    with (
        serving(answering(ok(b"public")), address=PUBLIC, tls=tls) as public,
        serving(answering(ok(b"private")), port=public.port, tls=tls) as private,
        session(Addresses()) as http,
    ):
        answer = http.get(f"https://rebinding.example:{public.port}/")
        assert answer.content == b"public"
        with pytest.raises(JobFailed, match="not public"):
            http.get(f"https://rebinding.example:{public.port}/")
    assert private.connections == []


def test_a_certificate_for_another_name_is_refused(
    lookups: Lookups, public_loopback: str, tls: ssl.SSLContext
) -> None:
    lookups["stranger.example"] = [[public_loopback]]
    with (
        serving(answering(ok(b"x")), address=PUBLIC, tls=tls) as server,
        session(Addresses()) as http,
        pytest.raises(requests.exceptions.SSLError),
    ):
        http.get(f"https://stranger.example:{server.port}/")


def test_the_next_address_is_tried_if_one_does_not_answer(
    lookups: Lookups, public_loopback: str
) -> None:
    lookups["source.example"] = [["127.0.0.3", public_loopback]]
    with (
        serving(answering(ok(b"here")), address=PUBLIC) as server,
        session(Addresses(insecure=True)) as http,
    ):
        assert http.get(f"http://source.example:{server.port}/").content == b"here"


def test_proxies_and_passwords_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        serving(answering(ok(b"proxy"))) as proxy,
        serving(answering(ok(b"source"))) as source,
        session(Addresses(insecure=True)) as http,
    ):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert http.get(f"http://127.0.0.1:{source.port}/").content == b"source"
    assert proxy.connections == []
    assert b"authorization" not in source.connections[0].asked.lower()


def shut_after(event: threading.Event, http: Session) -> None:
    event.wait()
    http.shut()


def test_shut_wakes_a_tls_handshake_that_never_ends(lookups: Lookups, public_loopback: str) -> None:
    lookups["source.example"] = [[public_loopback]]
    begun = threading.Event()

    def silent(connection: Connection) -> None:
        connection.sock.recv(1)
        begun.set()
        connection.ending.wait()

    with (
        serving(silent, address=PUBLIC) as server,
        session(Addresses()) as http,
    ):
        waker = threading.Thread(target=shut_after, args=(begun, http))
        waker.start()
        with pytest.raises(requests.ConnectionError):
            http.get(f"https://source.example:{server.port}/")
        waker.join()


def test_after_shut_no_answer_is_had_any_more() -> None:
    with serving(answering(ok(b"x"))) as server, session(Addresses(insecure=True)) as http:
        http.shut()
        with pytest.raises(requests.ConnectionError):
            http.get(f"http://127.0.0.1:{server.port}/")


def test_a_name_that_does_not_resolve_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with session(Addresses()) as http, pytest.raises(requests.ConnectionError):
        http.get("https://source.example/")
