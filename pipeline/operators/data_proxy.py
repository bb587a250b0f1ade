"""Whether the data proxies behind this service's projects answer, Aruna and this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.operators import Finding
from pipeline.reconcile.hooks import OwnHooks
from pipeline.reconcile.run import said_by, why_refused
from pipeline.reconcile.search import endpoint_of
from pipeline.settings import Settings

#: Seconds that all questions to Aruna may take, and an answer of a data proxy.
PATIENCE = 30.0
TIMEOUT = 10.0


def data_proxies(settings: Settings, aruna: Aruna) -> Iterator[Finding]:
    """Each data proxy of the projects that this service's hooks cover."""
    token, attempt = settings.aruna_token, Attempt(PATIENCE)
    if token is None:
        yield _skipped("set ARUNA_TOKEN to check it")
        return
    try:
        infos = OwnHooks.of(settings).among(aruna.owned_hooks(token, attempt))
        seen = set()
        for project_id in dict.fromkeys(one for info in infos for one in info.project_ids):
            project = aruna.get_project(token, project_id, attempt)
            if endpoint_of(project) not in seen:
                seen.add(endpoint_of(project))
                yield _data_proxy(settings, aruna, project, attempt)
        if not infos:
            yield _skipped("the owner of ARUNA_TOKEN has registered no hook for this service")
    except ArunaRefused as refusal:
        yield _skipped(f"ARUNA_TOKEN does not suffice (Aruna says: {said_by(refusal)})")
    except JobFailed as failure:
        yield _skipped(failure.message)


def _skipped(why: str) -> Finding:
    return Finding("data proxy", None, why)


def _data_proxy(
    settings: Settings, aruna: Aruna, project: models_pb2.Project, attempt: Attempt
) -> Finding:
    """Whether Aruna reaches the data proxy of a project, and this machine its S3 address."""
    where = f"of project {project.name}"
    try:
        s3 = aruna.s3_credentials(
            settings.aruna_token or "", endpoint_of(project), attempt, create=False
        )
    except ArunaRefused as refusal:
        if refusal.no_credentials:
            return Finding("data proxy", True, f"Aruna reaches the one {where}")
        to_do = (
            "check that it runs: without it Aruna sends no hooks" if refusal.proxy_silent else ""
        )
        return Finding("data proxy", False, f"the one {where}: {why_refused(refusal)}", to_do)
    url = _bucket_url(s3.url, project.name)
    trouble = _no_answer(url, Addresses(settings.allowed_hosts, settings.allow_insecure))
    if trouble:
        to_do = (
            "check that ALLOWED_HOSTS names it, that it runs, and that no firewall is in between"
        )
        return Finding("data proxy", False, trouble, to_do)
    return Finding("data proxy", True, f"{url} answers")


def _bucket_url(url: str, bucket: str) -> str:
    """A bucket's URL, as in a download's: its name is a label before a host that has labels."""
    parts = urlsplit(url)
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return f"{parts.scheme}://{bucket}.{parts.netloc}"
    return f"{url.rstrip('/')}/{bucket}"


def _no_answer(url: str, addresses: Addresses) -> str:
    """Why nothing answers at ``url``; empty if something does, whatever it says."""
    try:
        with session(addresses) as http:
            http.head(url, timeout=TIMEOUT, allow_redirects=False).close()
    except JobFailed as failure:
        return f"{url}: {failure.message.removeprefix('the source is not fetched: ')}"
    except requests.RequestException as error:
        return f"{url} can't be reached ({type(error).__name__})"
    return ""
