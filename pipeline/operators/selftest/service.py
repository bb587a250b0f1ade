"""What the service says of itself: whether it is there, and what it has counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import JobFailed
from pipeline.operators.selftest.report import StageFailed
from pipeline.settings import Settings
from pipeline.transform.gfbio import session_for

#: Seconds an answer may take.
TIMEOUT = 10.0
_HOOKS = "abcd2bioschema_hooks_total"
_STAGE_COUNT = "abcd2bioschema_stage_seconds_count"
_STAGE_SUM = "abcd2bioschema_stage_seconds_sum"


@dataclass(frozen=True)
class Counters:
    """Hooks by the answer they got; how often each stage of a job was timed, and its seconds."""

    hooks: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def refused_since(self, before: Counters) -> set[str]:
        """The answers that were given since then and refuse a hook."""
        taken = {"accepted", "duplicate", "ignored"}
        return {
            answer
            for answer, count in self.hooks.items()
            if answer not in taken and count > before.hooks.get(answer, 0)
        }

    def timed_since(self, before: Counters) -> dict[str, float]:
        """Seconds of each stage that only one job had since then: it was ours."""
        return {
            stage: self.seconds[stage] - before.seconds.get(stage, 0)
            for stage, count in self.stages.items()
            if count - before.stages.get(stage, 0) == 1
        }


@dataclass(frozen=True)
class Instance:
    """The service as it was found: where it answers, its version, and where it was not found."""

    url: str
    version: str
    unanswered: tuple[str, ...] = ()


def find(settings: Settings) -> Instance:
    """Where the service answers; raises ``StageFailed``."""
    urls = list(_urls(settings))
    for url in urls:
        health = health_at(url)
        if health is None:
            continue
        if health.get("status") != "ok":
            raise StageFailed(
                f"{url}/health says that the service is unavailable",
                likely="it can't write its journal, or one of its threads has ended",
                to_do="python -m pipeline check; then restart the service",
            )
        return Instance(url, str(health.get("version")), tuple(urls[: urls.index(url)]))
    raise StageFailed(
        f"it answers neither at {' nor at '.join(urls)}",
        likely="it does not run, or these settings are not its own",
        to_do="start it, and run this command in its environment",
    )


def health_at(url: str) -> dict[str, Any] | None:
    """What the service at that base URL says of its health; ``None`` if none is there."""
    answer = _get(f"{url}/health")
    try:
        said = answer.json() if answer is not None else None
    except requests.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and "version" in said else None


def counters(settings: Settings) -> Counters | None:
    """What the service has counted so far; ``None`` if it does not show it here.

    This machine's own service is asked first: a proxy in front may hide ``/metrics``.
    """
    for url in reversed(list(_urls(settings))):
        answer = _get(f"{url}/metrics")
        if answer is not None and answer.status_code == requests.codes.ok and _HOOKS in answer.text:
            return _parsed(answer.text)
    return None


def _parsed(text: str) -> Counters:
    found: dict[str, dict[str, float]] = {_HOOKS: {}, _STAGE_COUNT: {}, _STAGE_SUM: {}}
    labels = {_HOOKS: "answer", _STAGE_COUNT: "stage", _STAGE_SUM: "stage"}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found:
                found[sample.name][sample.labels[labels[sample.name]]] = sample.value
    return Counters(found[_HOOKS], found[_STAGE_COUNT], found[_STAGE_SUM])


def _urls(settings: Settings) -> Iterator[str]:
    """Where the service can be asked: by its public URL, and on this machine."""
    if settings.public_url is not None:
        yield settings.public_url
    host = settings.server_host
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    shown = f"[{host}]" if ":" in host else host
    yield f"http://{shown}:{settings.service_port}"


def _get(url: str) -> requests.Response | None:
    try:
        with session_for(url) as http:
            return http.get(url, timeout=TIMEOUT, allow_redirects=False)
    except (JobFailed, requests.RequestException):
        return None
