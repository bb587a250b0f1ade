"""Times and sizes as people say them, the same in the commands and on the status page."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.aruna.hook import LAST_SECOND

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: From this many of the smaller unit on the larger one is easier to read: ``90 min``, but ``2 h``.
_STEPS = ((2 * _DAY, _DAY, "d"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "min"))
_KILO = 1000


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two: ``0.4 s``, ``95 s``, ``3 min``."""
    for least, unit, name in _STEPS:
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(round(seconds, 1), 0):g} s"


def ago(then: float | None, now: float) -> str:
    """How long ago a time was (both in seconds since the epoch); ``–`` if it never was."""
    if then is None:
        return "–"
    return "just now" if now - then < 1 else f"{duration(int(now - then))} ago"


def left(until: float | None, now: float) -> str:
    """How long something still lasts: ``6 d``, ``expired``, or ``–`` if nobody knows."""
    if until is None:
        return "–"
    return duration(_datable(until) - now) if until > now else "expired"


def size(count: int) -> str:
    """Bytes in decimal units, three digits or so: ``512 B``, ``1.4 MB``."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < _KILO:
            break
        number, unit = number / _KILO, larger
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def moment(seconds: float) -> str:
    """A time in seconds since the epoch as ``2026-11-24 08:49:15 UTC``."""
    return _date(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def rfc3339(seconds: float | None) -> str | None:
    """A time in seconds since the epoch as ``2026-11-24T08:49:15.483Z``."""
    if seconds is None:
        return None
    return _date(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_left(until: float | None, now: float) -> int | None:
    """Whole seconds that something still lasts; ``None`` if nobody knows."""
    return None if until is None else max(0, int(_datable(until) - now))


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(_datable(seconds), UTC)


def _datable(seconds: float) -> float:
    """The next time that a date can hold: journals of version 1.0.0 may have others."""
    return min(max(seconds, 0.0), LAST_SECOND)
