"""Hosts as operators list them, and which addresses are anybody's."""

from __future__ import annotations

import ipaddress

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
