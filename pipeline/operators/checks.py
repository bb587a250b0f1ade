"""Whether everything the service needs is in place, one finding for each thing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
from sqlalchemy.engine import make_url

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import JobFailed
from pipeline.journal import Journal, JournalUnavailable, clock
from pipeline.operators import Finding
from pipeline.operators.data_proxy import data_proxies
from pipeline.settings import Settings, Transformer
from pipeline.transform.embedded import transform_in_child
from pipeline.transform.gfbio import session_for

#: Seconds an answer may take.
TIMEOUT = 10.0
#: Seconds two clocks may differ: well below the 30 seconds of a job's lease, and the 15 minutes at
#: which S3 refuses signatures.
CLOCK_SKEW = 10.0

_ABCD = (
    b'<DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06"><DataSet><Metadata><Description>'
    b'<Representation language="en"><Title>A check</Title></Representation></Description>'
    b"</Metadata></DataSet></DataSets>"
)


@dataclass(frozen=True)
class _Answer:
    """What a peer answered over HTTP, and how far its clock is ahead of ours (seconds)."""

    status: int
    body: object
    ahead: float | None


def findings(settings: Settings) -> Iterator[Finding]:
    """All checks that these settings call for, one after the other."""
    yield Finding("configuration", True, "read from the environment")
    yield _journal(settings)
    with closing(Aruna(settings.aruna_server_address)) as aruna:
        reached = _aruna(settings, aruna)
        yield reached
        if reached.ok:
            yield from data_proxies(settings, aruna)
    answers = {}
    if settings.transformer is Transformer.EMBEDDED:
        yield _embedded()
    else:
        finding, answers["GFBio"] = _gfbio(settings)
        yield finding
    if settings.public_url is not None:
        finding, answers["PUBLIC_URL"] = _public_url(settings.public_url)
        yield finding
    ahead = {name: answer.ahead for name, answer in answers.items() if answer is not None}
    ahead["the database"] = clock.seconds_ahead(settings.journal_url)
    yield from _clock({name: skew for name, skew in ahead.items() if skew is not None})


def _journal(settings: Settings) -> Finding:
    url = make_url(settings.journal_url)
    where = url.render_as_string(hide_password=True)
    if url.database and url.drivername.startswith("sqlite") and not Path(url.database).exists():
        return Finding(
            "journal",
            False,
            f"{url.database} does not exist",
            "start the service, which creates it, or set STATE_DIR or JOURNAL_URL as there",
        )
    journal = Journal(settings.journal_url, keys=settings.journal_key)
    try:
        journal.open()
        try:
            journal.probe()
        finally:
            journal.close()
    except JournalUnavailable as trouble:
        return Finding(
            "journal",
            False,
            str(trouble),
            f"check that {where} is writable for this user, its disk is not full, or it is up",
        )
    return Finding("journal", True, f"{where} is writable")


def _aruna(settings: Settings, aruna: Aruna) -> Finding:
    address = settings.aruna_server_address
    try:
        aruna.public_key(0)
    except ArunaRefused as refusal:
        return Finding(
            "Aruna",
            False,
            f"{address} can't be reached" if refusal.unreachable else f"{address}: {refusal}",
            "check that ARUNA_SERVER_ADDRESS is its gRPC address and no firewall is in between",
        )
    return Finding("Aruna", True, f"{address} answers")


def _embedded() -> Finding:
    try:
        result = b"".join(transform_in_child(iter([_ABCD]), Attempt(TIMEOUT)))
    except JobFailed as failure:
        return Finding("transformer", False, failure.message, "check the free memory, and the log")
    return Finding(
        "transformer", True, f"embedded: {len(result)} bytes of JSON-LD from a test document"
    )


def _gfbio(settings: Settings) -> tuple[Finding, _Answer | None]:
    wanted, version = settings.transformation_id, settings.transformation_version
    url = f"{settings.gfbio_base_url}/transformations/{wanted}"
    answer, trouble = _get(url)
    if answer is None or answer.status != 200:
        said = trouble or f"{url} answered {answer.status if answer else 'nothing'}"
        return Finding(
            "GFBio", False, said, "check GFBIO_BASE_URL; jobs wait until GFBio is back"
        ), answer
    latest = _latest_version(answer.body, wanted)
    if latest is None:
        return (
            Finding("GFBio", False, f"has no transformation {wanted}", "check TRANSFORMATION_ID"),
            answer,
        )
    if version is not None and version != latest:
        # GFBio: a version is accepted only if it names the latest.
        to_do = f"set TRANSFORMATION_VERSION={latest}, or leave it unset"
        return Finding("GFBio", False, f"takes version {latest}, not {version}", to_do), answer
    return Finding("GFBio", True, f"knows transformation {wanted}, version {latest}"), answer


def _latest_version(body: object, wanted: str) -> str | None:
    """GFBio: answers an unknown id with the list of all transformations, and 200."""
    known = body.get("transformation") if isinstance(body, dict) else None
    if not isinstance(known, dict) or str(known.get("transformation_id")) != wanted:
        return None
    versions = known.get("versions")
    newest = versions[-1] if isinstance(versions, list) and versions else None
    return str(newest.get("version_id", "unknown")) if isinstance(newest, dict) else "unknown"


def _public_url(url: str) -> tuple[Finding, _Answer | None]:
    answer, trouble = _get(f"{url}/health")
    health = answer.body if answer else None
    if answer is None or not isinstance(health, dict) or "jobs" not in health:
        said = trouble or f"{url}/health does not answer as this service does"
        to_do = "start the service; check that the reverse proxy passes PUBLIC_URL on to it"
        return Finding("PUBLIC_URL", False, said, to_do), answer
    if health.get("status") != "ok":
        to_do = "the service there can't write its journal; see the line about the journal"
        return Finding(
            "PUBLIC_URL", False, f"{url}/health says that it is unavailable", to_do
        ), answer
    return Finding("PUBLIC_URL", True, f"{url} leads to this service"), answer


def _clock(ahead: dict[str, float]) -> Iterator[Finding]:
    """The clock that differs most from this machine's, if any could be read."""
    if not ahead:
        return
    name = max(ahead, key=lambda peer: abs(ahead[peer]))
    skew = abs(ahead[name])
    said = f"differs by {skew:.0f} s from {name}'s"
    if skew > CLOCK_SKEW:
        yield Finding(
            "clock", False, said, "turn on time synchronisation (timedatectl set-ntp true)"
        )
    else:
        yield Finding("clock", True, said)


def _get(url: str) -> tuple[_Answer | None, str]:
    """What ``url`` answers, or why it does not."""
    try:
        with session_for(url) as http:
            response = http.get(url, timeout=TIMEOUT, allow_redirects=False)
    except JobFailed as failure:
        return None, f"{url}: {failure.message}"
    except requests.RequestException as error:
        return None, f"{url} can't be reached ({type(error).__name__})"
    return _Answer(response.status_code, _json(response), _date_ahead(response)), ""


def _json(response: requests.Response) -> object:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _date_ahead(response: requests.Response) -> float | None:
    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return None
    return date.timestamp() - time.time()
