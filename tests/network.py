"""Names and certificates that exist in these tests alone."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.attempt import Attempt
from pipeline.net import connections
from pipeline.net.addresses import is_public

#: Stands for a public address in these tests; 127.0.0.1 stays the private one it is.
PUBLIC = "127.0.0.2"
#: Names the test certificate is for.
NAMES = ("source.example", "other.example", "two-faced.example", "rebinding.example")

Lookups = dict[str, list[list[str]]]


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(30)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    """What names resolve to: for each a list of answers, the last of them for ever."""
    answers: Lookups = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        found = answers.get(host)
        if found is None:
            return real(host, port, *arguments, **options)
        now = found.pop(0) if len(found) > 1 else found[0]
        return [
            (
                socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in now
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def public_loopback(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of this machine that counts as public."""
    monkeypatch.setattr(
        "pipeline.net.addresses.is_public", lambda text: text == PUBLIC or is_public(text)
    )
    return PUBLIC


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for the names above, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in NAMES]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's TLS that this process trusts, as an operator would make it: SSL_CERT_FILE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connections._tls_context.cache_clear()
    yield context
    connections._tls_context.cache_clear()
