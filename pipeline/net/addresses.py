"""Which addresses the service may reach on behalf of a request.

A hook names URLs; what they may lead to is decided here. ``pipeline.net.connections`` applies the
decision to the address that is really connected to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from pipeline.errors import Code, JobFailed

#: What parsers of URLs understand differently.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f\ud800-\udfff]")
_PORTS = {"http": 80, "https": 443}

_LONGEST_HOST = 253

#: What ``ipaddress`` of Python 3.11 calls global though no public service lives there.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo: an IPv4 address in disguise
        "2002::/16",  # 6to4: the same
        "3fff::/20",  # documentation
    )
]
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Addresses:
    """Which URLs may be fetched.

    ``allowed_hosts`` are hosts (``s3.example.org``, ``*.s3.example.org``), each with a port or
    without (any port): nothing else may be reached, and these whatever their addresses are. With
    none, any https host may be reached all of whose addresses are public. ``insecure`` permits
    http and private addresses too.
    """

    allowed_hosts: tuple[str, ...] = ()
    insecure: bool = False

    def check(self, url: str) -> None:
        """Raise ``JobFailed`` (``download_failed``, final) if ``url`` itself may not be fetched.

        What its host resolves to is checked when a connection is made.
        """
        self.check_host(*origin(url))

    def check_host(self, scheme: str, host: str, port: int) -> None:
        """Raise ``JobFailed`` (``download_failed``, final) if that host may not be spoken to."""
        if scheme != "https" and not self.insecure:
            raise _refused("the URL is not an https URL")
        if self.allowed_hosts and not self.lists(host, port):
            raise _refused(f"the host {_shown(host)} is not one this service may fetch from")

    def lists(self, host: str, port: int) -> bool:
        """Whether ``allowed_hosts`` names that host."""
        return is_listed(host, port, self.allowed_hosts)

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of ``host``, all permitted; raises ``JobFailed`` or ``gaierror``."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        any_address = self.insecure or self.lists(host, port)
        if not any_address and not all(is_public(address) for address in addresses):
            raise _refused(f"the host {_shown(host)} has an address that is not public")
        return addresses


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http or https URL; raises ``JobFailed`` if it is no such URL."""
    if _AMBIGUOUS.search(url):
        raise _refused("the URL is not valid")
    try:
        parts = parse_url(url)
    except LocationParseError as exc:
        raise _refused("the URL is not valid") from exc
    if parts.scheme not in _PORTS or not parts.host:
        raise _refused("the URL is not an https URL")
    if parts.auth is not None:
        raise _refused("the URL holds a user name")
    host = parts.host.strip("[]").rstrip(".")
    if not _is_host(host):
        raise _refused("the URL's host name is not valid")
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]


def is_public(text: str) -> bool:
    """Whether an IP address is reachable by anybody, so that nothing internal answers there.

    An IPv4 address in an IPv6 one counts as itself if it is mapped, and as not public in any other
    disguise (NAT64, 6to4, Teredo).
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address not in _GLOBAL_UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )


def is_listed(host: str, port: int, entries: tuple[str, ...]) -> bool:
    """Whether one of ``entries`` names that host: ``s3.example.org``, ``*.s3.example.org`` (any
    host below), each with a port or without (any port)."""
    return any(_matches(entry.lower(), host.lower(), port) for entry in entries)


def _is_host(host: str) -> bool:
    """Whether a host can be looked up: DNS takes labels of 1 to 63 characters, 253 in all."""
    try:
        return 0 < len(host.encode("idna")) <= _LONGEST_HOST
    except UnicodeError:
        return False


def _matches(entry: str, host: str, port: int) -> bool:
    name, wanted_port = _host_and_port(entry)
    if wanted_port not in (None, port):
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if entry.count(":") > 1 and not entry.startswith("["):
        return entry, None
    name, _, port = entry.rpartition(":")
    if name and port.isdecimal():
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None


def _shown(host: str) -> str:
    return host if len(host) <= 100 else f"{host[:100]}…"


def _refused(why: str) -> JobFailed:
    return JobFailed(Code.DOWNLOAD_FAILED, f"the source could not be fetched: {why}")
