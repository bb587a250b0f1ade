"""For services started by tests: names below ``sandbox.test`` are this machine."""

import socket

_resolve = socket.getaddrinfo


def _getaddrinfo(host, *arguments, **options):  # type: ignore[no-untyped-def]
    local = isinstance(host, str) and host.endswith(".sandbox.test")
    return _resolve("127.0.0.1" if local else host, *arguments, **options)


socket.getaddrinfo = _getaddrinfo
