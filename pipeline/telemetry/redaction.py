"""The one place that keeps secrets out of what the service says: logs, answers, labels.

Two nets. Known values: the settings' secrets are hidden for good, a job's own while it runs, in
every thread. Patterns: what looks like a credential is masked whoever wrote it, since the
exceptions of boto3, urllib3 and requests contain whole URLs and headers.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from pipeline.aruna.hook import Hook
    from pipeline.settings import Settings

MASK = "***"
#: A shorter value can't be told from ordinary text: masking it would blank out whole lines.
SHORTEST_SECRET = 4
#: A presigned query's parameters from this length on are credentials, not dates or counts.
_SHORTEST_PARAMETER = 20

_NAMED = "token|secret|access_key|secret_key|access_key_id|secret_access_key|password"
_SLASH = "/|%(?:25)*2F"
#: Each rule: a text that must be there (in lower case) before the pattern is tried at all.
_RULES = tuple(
    (marker, re.compile(pattern, re.IGNORECASE), replacement)
    for marker, pattern, replacement in (
        ("x-amz-", r"\?[^\s\"'<>]*X-Amz-[^\s\"'<>]*", f"?{MASK}"),
        (
            "x-amz-",
            r"(X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D))[^&\s\"'<>]+",
            rf"\1{MASK}",
        ),
        # Two parts of a header or a tuple, or one line: up to the quote or the line's end.
        ("authorization", r"(authorization[\"']?\s*[:=]\s*b?[\"']?)[^\"'\r\n]+", rf"\1{MASK}"),
        ("authorization", r"(authorization[\"']\s*,\s*b?[\"'])[^\"'\r\n]+", rf"\1{MASK}"),
        ("bearer", r"\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", rf"\1{MASK}"),
        ("credential=", r"(Credential=|Signature=)[^,\s\"'&]+", rf"\1{MASK}"),
        ("eyj", r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*", MASK),
        # As it stands, or as the parameter of another URL.
        ("relay", rf"((?:{_SLASH})relay(?:{_SLASH}))(?:(?!{_SLASH})[^\s\"'?&])+", rf"\1{MASK}"),
        ("://", r"://[^\s/?#\"'<>]+@", f"://{MASK}@"),
        # Payloads and protobuf messages as their repr shows them.
        ('"', rf"(\b(?:{_NAMED})[\"']?\s*[:=]\s*b?\")[^\"]*", rf"\1{MASK}"),
        ("'", rf"(\b(?:{_NAMED})[\"']?\s*[:=]\s*b?')[^']*", rf"\1{MASK}"),
        # SQLAlchemy cuts long parameters in the middle, so that neither half is a known value.
        ("characters truncated", r"\S* \.\.\. \(\d+ characters truncated\) \.\.\. \S*", MASK),
    )
)


def _shortness(text: str) -> int:
    return -len(text)


class _Known:
    """The values to hide, with how many running jobs each belongs to; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: Counter[str] = Counter()
        self.spellings: tuple[str, ...] = ()

    def add(self, values: Iterable[str]) -> None:
        with self._lock:
            self._uses.update(values)
            self._spell()

    def remove(self, values: Iterable[str]) -> None:
        with self._lock:
            self._uses.subtract(values)
            self._uses = +self._uses
            self._spell()

    def _spell(self) -> None:
        """Longest first: a value that contains another one is masked whole."""
        spellings = {spelling for value in self._uses for spelling in _spellings(value)}
        self.spellings = tuple(sorted(spellings, key=_shortness))


_known = _Known()


def redact(text: str) -> str:
    """``text`` with every known secret and everything that looks like one masked."""
    spellings = _known.spellings
    # Longer ones than the text come first, and most texts of a log line are short.
    for spelling in spellings[bisect_left(spellings, -len(text), key=_shortness) :]:
        if spelling in text:
            text = text.replace(spelling, MASK)
    lowered = text.lower()
    for marker, pattern, replacement in _RULES:
        if marker in lowered:
            text = pattern.sub(replacement, text)
    return text


def hide(values: Iterable[str | None]) -> None:
    """Mask these values from now on, for as long as the process lives."""
    _known.add(_long_enough(values))


@contextmanager
def hiding(values: Iterable[str | None]) -> Iterator[None]:
    """Mask these values while the block runs, in all threads."""
    secrets = _long_enough(values)
    _known.add(secrets)
    try:
        yield
    finally:
        _known.remove(secrets)


def secrets_of_settings(settings: Settings) -> list[str | None]:
    """What of the settings nobody may read in a log."""
    return [
        *settings.webhook_token,
        settings.webhook_secret,
        *settings.journal_key,
        settings.status_token,
        settings.aruna_token,
        urlsplit(settings.journal_url).password,
    ]


def secrets_of_hook(hook: Hook) -> list[str | None]:
    """What of a delivery nobody may read in a log, the presigned URL's parameters one by one."""
    query = urlsplit(hook.credentials.download or "").query
    parameters = [value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_PARAMETER]
    return [
        hook.credentials.token,
        hook.credentials.access_key,
        hook.credentials.secret_key,
        hook.credentials.secret,
        query,
        *parameters,
    ]


def _long_enough(values: Iterable[str | None]) -> list[str]:
    return [value for value in values if value is not None and len(value) >= SHORTEST_SECRET]


def _spellings(value: str) -> set[str]:
    """The value as texts, URLs, JSON and Python's ``repr`` write it."""
    return {
        value,
        quote(value),
        quote(value, safe=""),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
    }
