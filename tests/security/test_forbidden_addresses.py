"""Where a hook's URL may lead, from the request to the label: the forbidden server sees nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog

from pipeline.net.addresses import Addresses
from pipeline.service import Service
from pipeline.settings import Settings
from pipeline.web.payload import parse_hook
from sandbox import Answered, Call, Sandbox
from tests.aruna.scripted import Scripted, answering, ok, serving
from tests.conftest import SAMPLE
from tests.payloads import as_bytes
from tests.running import TOKEN, Running, free_port, running
from tests.whole import Whole

#: In each, PORT is that of a server on this machine that nobody may reach.
FORBIDDEN = [
    "https://127.0.0.1:PORT/garden/plants.xml",
    "https://localhost:PORT/garden/plants.xml",
    "https://garden.localhost:PORT/plants.xml",
    "https://0.0.0.0:PORT/garden/plants.xml",
    "https://0:PORT/garden/plants.xml",
    "https://127.1:PORT/garden/plants.xml",
    "https://2130706433:PORT/garden/plants.xml",
    "https://0x7f000001:PORT/garden/plants.xml",
    "https://0177.0.0.1:PORT/garden/plants.xml",
    "https://[::1]:PORT/garden/plants.xml",
    "https://[::]:PORT/garden/plants.xml",
    "https://[::ffff:127.0.0.1]:PORT/garden/plants.xml",
    "https://[::ffff:7f00:1]:PORT/garden/plants.xml",
    "https://[64:ff9b::7f00:1]:PORT/garden/plants.xml",
    "https://[2002:7f00:1::]:PORT/garden/plants.xml",
    "https://169.254.169.254/latest/meta-data/plants.xml",
    "https://[fd00:ec2::254]/latest/plants.xml",
    "https://10.0.0.1:PORT/garden/plants.xml",
    "http://127.0.0.1:PORT/garden/plants.xml",
    "https://user@127.0.0.1:PORT/garden/plants.xml",
    "file:///etc/passwd/plants.xml",
    "gopher://127.0.0.1:PORT/garden/plants.xml",
]


@pytest.fixture
def forbidden() -> Iterator[Scripted]:
    """A server on this machine that would answer anybody."""
    with serving(answering(ok(SAMPLE))) as server:
        yield server
        assert server.connections == []


@pytest.fixture
def strict(aruna: Sandbox, tmp_path: Path) -> Iterator[Service]:
    """The parts of a service that goes by the default rules: https and public addresses alone.

    Only its way to the Aruna of the tests, which has no certificate, needs ALLOW_INSECURE.
    """
    environment = {
        **aruna.environment(),
        "TRANSFORMER": "embedded",
        "MAX_ATTEMPTS": "1",
        "STATE_DIR": str(tmp_path),
    }
    service = Service(Settings.from_environment(environment))
    service.addresses = Addresses()
    with structlog.testing.capture_logs():
        service.start()
        yield service
        service.stop()


def test_by_default_no_hook_leads_to_an_address_that_is_not_public(
    strict: Service, aruna: Sandbox, forbidden: Scripted
) -> None:
    garden = aruna.create_project("forbidden")
    aruna.register_hook(url=f"http://127.0.0.1:{free_port()}/", projects=[garden], token=TOKEN)
    seen = len(aruna.deliveries)
    for number in range(len(FORBIDDEN)):
        aruna.upload(f"plants-{number}.xml", SAMPLE, parent=garden, labels={"ABCD": "true"})
    aruna.wait_for(lambda: len(aruna.deliveries) == seen + len(FORBIDDEN))
    downloads = len(aruna.requests("s3.get"))
    where: dict[str, str] = {}
    for number, (delivered, url) in enumerate(zip(aruna.deliveries[seen:], FORBIDDEN, strict=True)):
        where[delivered.object_id] = url
        download = url.replace("PORT", str(forbidden.port)).replace("plants", f"plants-{number}")
        hook = parse_hook(as_bytes(json.loads(delivered.body) | {"download": download}))
        strict.journal.enqueue(hook)
    strict.pool.wake()
    aruna.wait_for(lambda: all("ERROR" in dict(aruna.labels(source)) for source in where))

    errors = {url: dict(aruna.labels(source))["ERROR"] for source, url in where.items()}
    assert {url: said for url, said in errors.items() if "download_failed: " not in said} == {}
    assert len(aruna.requests("s3.get")) == downloads


@pytest.fixture
def listing(aruna: Sandbox, tmp_path: Path) -> Iterator[Running]:
    """A service that may go to the data proxy of the tests and nowhere else."""
    settings = {
        **aruna.environment(),
        "WEBHOOK_TOKEN": TOKEN,
        "TRANSFORMER": "embedded",
        "MAX_ATTEMPTS": "1",
        "ALLOWED_HOSTS": urlsplit(aruna.s3_url).netloc,
    }
    with running(tmp_path, settings) as service:
        yield service


def redirecting(location: str) -> Callable[[Call], object]:
    def redirect(_: Call) -> object:
        raise Answered(302, b"", {"location": location})

    return redirect


def test_a_listed_host_leads_nowhere_else(
    listing: Running, aruna: Sandbox, forbidden: Scripted
) -> None:
    whole = Whole.of(aruna, listing, name="listed")
    places = ["http://127.0.0.1:PORT/a", "//127.0.0.1:PORT/a", "http://localhost:PORT/a"]
    for number, place in enumerate(places):
        aruna.at("s3.get", redirecting(place.replace("PORT", str(forbidden.port))))
        source = whole.upload(f"plants-{number}.xml", SAMPLE)
        whole.wait_for_callback(source)
        assert whole.error(source).startswith("download_failed: ")
    body = json.loads(aruna.deliveries[-1].body)
    body["download"] = f"http://127.0.0.1:{forbidden.port}/listed/plants-2.xml"
    listing.post(as_bytes(body))
    good = whole.upload("good.xml", SAMPLE)
    whole.wait_for_callback(source, good)

    assert all(value.startswith("download_failed: ") for _, value in whole.labels(source))
    assert whole.result(good).name == "good.json"
