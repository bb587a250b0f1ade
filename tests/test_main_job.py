"""The main job, end to end over sockets: every way of transforming, every place and name."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
import requests

import app
from pipeline.aruna.objects import parents_of
from pipeline.service import Service
from pipeline.settings import Settings
from pipeline.transform.bioschemas import transform
from sandbox import Sandbox, generated_result
from tests.conftest import SAMPLE
from tests.running import ROOT, TOKEN, Running, running
from tests.whole import Whole

EXPECTED = b"".join(transform([SAMPLE]))
WAYS: dict[str, dict[str, str]] = {
    "embedded": {"TRANSFORMER": "embedded"},
    "relay": {},
    "direct": {"GFBIO_TRANSPORT": "direct"},
    "upload": {"GFBIO_TRANSPORT": "upload"},
}
#: GFBio chokes on other names if it is handed the presigned URL itself.
PLAIN = ["plants.xml", "sub/dir/plants-2.XML", "no-ending"]
ODD = ["Herbarium (Berlin).xml", "it's.xml", "a-b/c d (2).xml", "what!.xml", "star*.xml"]


@pytest.fixture(scope="module")
def aruna() -> Iterator[Sandbox]:
    """One sandbox for the tests of this module, each with projects of its own."""
    with Sandbox() as sandbox:
        sandbox.gfbio.post = "result"
        yield sandbox


@pytest.fixture(scope="module")
def services(
    aruna: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Running]]:
    """One service for each way of transforming, started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[str, Running] = {}

        def service(way: str) -> Running:
            if way not in started:
                settings = {
                    **aruna.environment(),
                    "WEBHOOK_TOKEN": TOKEN,
                    "PYTHONPATH": str(ROOT / "tests" / "resolver"),
                    **WAYS[way],
                }
                directory = tmp_path_factory.mktemp(way)
                started[way] = stack.enter_context(running(directory, settings))
            return started[way]

        yield service


@pytest.fixture
def whole(
    aruna: Sandbox, services: Callable[[str], Running], request: pytest.FixtureRequest
) -> Whole:
    """A project of the test's own whose hook calls the service of the test's way."""
    way = getattr(request, "param", "embedded")
    name = f"p{abs(hash(request.node.name)) % 10**12}"
    return Whole.of(aruna, services(way), name=name)


EVERY_WAY = pytest.mark.parametrize("whole", list(WAYS), indirect=True)


def names_for(whole: Whole) -> list[str]:
    direct = whole.service.environment.get("GFBIO_TRANSPORT") == "direct"
    return PLAIN if direct else PLAIN + ODD


@EVERY_WAY
def test_every_place_and_name_gets_its_result_beside_it(whole: Whole) -> None:
    collection = whole.sandbox.create_collection("trees", whole.project)
    places = [
        whole.project,
        collection,
        whole.sandbox.create_dataset("shrubs", whole.project),
        whole.sandbox.create_dataset("oaks", collection),
    ]
    wanted = [("everywhere.xml", place) for place in places]
    wanted += list(zip(names_for(whole), itertools.cycle(places), strict=False))
    sources = [whole.upload(name, SAMPLE, parent=place) for name, place in wanted]

    whole.wait_for_callback(*sources)

    for source in sources:
        before, result = whole.sandbox.object(source), whole.result(source)
        stem = before.name[:-4] if before.name.lower().endswith(".xml") else before.name
        assert whole.labels(source) == [("PROCESSING_STATUS", "success")]
        assert result.name == f"{stem}.json"
        assert parents_of(result.relations) == parents_of(before.relations)
        assert result.title == f"Title of {before.name} (Processed)"
        assert list(result.authors) == list(before.authors)
        assert whole.sandbox.content(result.id) == EXPECTED


@EVERY_WAY
def test_a_multipart_source_is_waited_for_until_it_is_complete(whole: Whole) -> None:
    whole.sandbox.aruna.finalise_seconds = None
    big = SAMPLE.replace(b"</DataSets>", b" " * (6 * 1024 * 1024) + b"</DataSets>")
    try:
        source = whole.upload("big.xml", big, multipart=True)
        whole.sandbox.wait_for(
            lambda: any(
                c.details.get("object_id") == source for c in asked(whole, "grpc.GetObject")
            )
        )
        assert whole.results_of(source) == []
    finally:
        whole.sandbox.release()

    whole.wait_for_callback(source)

    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]
    assert whole.sandbox.content(whole.result(source).id) == EXPECTED


def asked(whole: Whole, operation: str) -> list[Any]:
    return whole.sandbox.requests(operation)


def test_a_source_with_two_parents_has_one_result_on_its_path(whole: Whole) -> None:
    shrubs = whole.sandbox.create_dataset("shrubs", whole.project)
    trees = whole.sandbox.create_collection("trees", whole.project)

    source = whole.upload("two.xml", SAMPLE, parent=shrubs, second_parent=trees)
    whole.wait_for_callback(source)

    (parent,) = parents_of(whole.result(source).relations)
    assert parent.resource_id in (shrubs, trees)
    assert len(whole.results_of(source)) == 1
    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]


def test_a_label_at_creation_is_answered_and_the_upload_done_later(
    aruna: Sandbox, services: Callable[[str], Running]
) -> None:
    whole = Whole.of(aruna, services("embedded"), name="early-label", trigger="LABEL_ADDED")
    aruna.register_hook(
        url=f"{whole.service.url}/webhook", projects=[whole.project], token=TOKEN, name="finished"
    )

    source = whole.sandbox.create_object("early.xml", parent=whole.project, labels={"ABCD": "true"})
    whole.sandbox.wait_for(lambda: whole.is_called_back(source))
    assert (whole.labels(source), whole.results_of(source)) == ([], [])

    whole.sandbox.fill(source, SAMPLE)
    whole.sandbox.wait_for(lambda: ("PROCESSING_STATUS", "success") in whole.labels(source))
    assert whole.sandbox.content(whole.result(source).id) == EXPECTED


def test_a_label_added_later_starts_the_job(
    aruna: Sandbox, services: Callable[[str], Running]
) -> None:
    whole = Whole.of(aruna, services("embedded"), name="late-label", trigger="LABEL_ADDED")
    source = aruna.upload("late.xml", SAMPLE, parent=whole.project)
    assert aruna.deliveries == [] or aruna.deliveries[-1].object_id != source

    aruna.add_label(source, "ABCD", "true")
    labelled = max(o.id for o in aruna.objects_in(whole.project) if o.name == "late.xml")
    whole.wait_for_callback(labelled)

    assert whole.labels(labelled) == [("PROCESSING_STATUS", "success")]
    assert whole.sandbox.content(whole.result(labelled).id) == EXPECTED


def test_the_guides_spelling_of_a_payload_makes_the_same_result(
    aruna: Sandbox, services: Callable[[str], Running]
) -> None:
    whole = Whole.of(aruna, services("embedded"), name="lower-case")
    nobody = aruna.create_project("unheard")
    aruna.register_hook(url="http://127.0.0.1:1/webhook", projects=[nobody], token=TOKEN)
    source = aruna.upload("lower.xml", SAMPLE, parent=nobody, labels={"ABCD": "true"})
    aruna.wait_for(lambda: not aruna.delivering)
    sent = json.loads(next(d.body for d in aruna.deliveries if d.object_id == source))

    lower = {**sent, "object": {"object": sent["object"]["Object"]}}
    answer = whole.service.post(json.dumps(lower).encode())
    aruna.wait_for(lambda: ("PROCESSING_STATUS", "success") in whole.labels(source))

    assert answer.status_code == 202
    results = [o for o in aruna.objects_in(nobody) if o.id != source]
    assert [aruna.content(o.id) for o in results] == [EXPECTED]


def test_a_hook_with_a_template_of_its_own_works_without_relations(
    aruna: Sandbox, services: Callable[[str], Running]
) -> None:
    template = {
        "hook_id": "{{hook_id}}",
        "object": {
            "Object": {
                "id": "{{object_id}}",
                "name": "{{name}}",
                "description": "{{description}}",
                "status": 3,
                "data_class": 1,
            }
        },
        "secret": "{{secret}}",
        "download": "{{download_url}}",
        "token": "{{token}}",
        "access_key": "{{access_key}}",
        "secret_key": "{{secret_key}}",
        "pubkey_serial": 1,
    }
    text = json.dumps(template).replace('"pubkey_serial": 1', '"pubkey_serial": {{pubkey_serial}}')
    whole = Whole.of(aruna, services("embedded"), name="templated", template=text)

    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)

    assert whole.sandbox.content(whole.result(source).id) == EXPECTED


def test_virtual_hosted_urls_lead_to_the_same_places(whole: Whole) -> None:
    whole.sandbox.aruna.virtual_host = "s3.sandbox.test"
    try:
        shrubs = whole.sandbox.create_dataset("shrubs", whole.project)
        source = whole.upload("sub/virtual (host).xml", SAMPLE, parent=shrubs)
        whole.wait_for_callback(source)
    finally:
        whole.sandbox.aruna.virtual_host = None

    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]
    assert whole.result(source).name == "sub/virtual (host).json"


def test_a_busy_data_proxy_is_waited_for(whole: Whole) -> None:
    whole.sandbox.aruna.upload_window = 1.5
    try:
        source = whole.upload("patient.xml", SAMPLE)
        whole.wait_for_callback(source)
    finally:
        whole.sandbox.aruna.upload_window = 0.05

    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]


def test_names_that_are_taken_give_way(whole: Whole) -> None:
    whole.sandbox.upload("plants.json", b'{"mine": true}', parent=whole.project)

    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)

    assert whole.result(source).name == f"plants.{source[-8:]}.json"
    (mine,) = [o for o in whole.sandbox.objects_in(whole.project) if o.name == "plants.json"]
    assert whole.sandbox.content(mine.id) == b'{"mine": true}'


def test_results_trigger_nothing_and_are_left_alone(whole: Whole) -> None:
    whole.sandbox.register_hook(
        url=f"{whole.service.url}/webhook",
        projects=[whole.project],
        token=TOKEN,
        key="PROCESSED",
        name="too wide",
    )

    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)
    result = whole.result(source)
    whole.sandbox.wait_for(
        lambda: any(c.object_id == result.id and c.accepted for c in whole.sandbox.callbacks)
    )

    assert whole.sandbox.content(result.id) == EXPECTED
    answers = [json.loads(d.answer) for d in whole.sandbox.deliveries if d.object_id == result.id]
    assert {answer["status"] for answer in answers} == {"ignored"}
    assert len(whole.sandbox.objects_in(whole.project)) == 2


def test_an_archive_becomes_an_archive(whole: Whole) -> None:
    source = whole.upload("plants.zip", archive_of({"one.xml": SAMPLE, "two.xml": SAMPLE}))
    whole.wait_for_callback(source)

    result = whole.result(source)
    assert result.name == "plants.bioschemas.zip"
    assert members_of(whole.sandbox.content(result.id)) == {
        "one.json": EXPECTED,
        "two.json": EXPECTED,
    }


@pytest.mark.parametrize("whole", ["relay", "direct"], indirect=True)
def test_gfbio_transforms_archives_too(whole: Whole) -> None:
    source = whole.upload("plants.zip", archive_of({"one.xml": SAMPLE}))
    whole.wait_for_callback(source)

    assert whole.labels(source) == [("PROCESSING_STATUS", "success")]
    assert members_of(whole.sandbox.content(whole.result(source).id)) == {"one.json": EXPECTED}


@pytest.mark.parametrize("whole", ["relay"], indirect=True)
def test_gfbios_job_is_deleted_and_its_log_holds_no_presigned_url(whole: Whole) -> None:
    deleted = threading.Event()
    before = set(whole.sandbox.gfbio_jobs)
    whole.sandbox.at("gfbio.delete", lambda _: deleted.set(), after=True)

    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)

    assert deleted.wait(20)
    assert set(whole.sandbox.gfbio_jobs) <= before
    url = asked(whole, "gfbio.transform")[-1].details["url"]
    assert url.startswith(f"{whole.service.url}/relay/")
    assert "X-Amz" not in url


@pytest.mark.parametrize("whole", ["relay"], indirect=True)
def test_a_relay_is_for_one_running_job_only(whole: Whole) -> None:
    source = whole.upload("plants.xml", SAMPLE)
    whole.wait_for_callback(source)
    used = [
        c.details["url"] for c in asked(whole, "gfbio.transform") if "/relay/" in c.details["url"]
    ]

    for url in (used[-1], f"{whole.service.url}/relay/{'x' * 43}/plants.xml"):
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 404
        assert answer.json()["error"] == "not_found"
        assert requests.post(url, timeout=10).status_code == 405


@pytest.mark.parametrize("whole", ["upload"], indirect=True)
def test_a_service_that_answers_uploads_with_a_job_will_do(whole: Whole) -> None:
    whole.sandbox.gfbio.post = "job"
    try:
        source = whole.upload("plants.xml", SAMPLE)
        whole.wait_for_callback(source)
    finally:
        whole.sandbox.gfbio.post = "result"

    assert whole.sandbox.content(whole.result(source).id) == EXPECTED


@pytest.mark.parametrize("whole", ["relay"], indirect=True)
def test_a_large_result_is_sent_in_parts(whole: Whole) -> None:
    whole.sandbox.gfbio.big = 23 * 1024 * 1024
    try:
        source = whole.upload("large.xml", SAMPLE)
        whole.wait_for_callback(source)
    finally:
        whole.sandbox.gfbio.big = None

    result = whole.result(source)
    sizes = [size for size, _ in whole.sandbox.part_digests(result.id)]
    assert sizes == [10 * 1024 * 1024, 10 * 1024 * 1024, 3 * 1024 * 1024]
    assert whole.sandbox.content(result.id) == b"".join(generated_result(23 * 1024 * 1024))


def test_importing_the_application_makes_nothing(tmp_path: Path) -> None:
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, threading\n"
            "before = os.listdir('/proc/self/fd')\n"
            "import app\n"
            "assert os.listdir('/proc/self/fd') == before\n"
            "print(threading.active_count(), os.listdir('.'))\n",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (made.stdout, made.returncode) == ("1 []\n", 0), made.stderr


def test_two_applications_with_different_settings_live_in_one_process(tmp_path: Path) -> None:
    tokens = ("first-token-of-the-test", "second-token-of-the-test")
    applications = [
        app.Application(
            Service(
                Settings.from_environment(
                    {
                        "ARUNA_SERVER_ADDRESS": "http://127.0.0.1:1",
                        "ALLOW_INSECURE": "true",
                        "WEBHOOK_TOKEN": token,
                        "STATE_DIR": str(tmp_path / token),
                    }
                )
            )
        )
        for token in tokens
    ]

    for application in applications:
        statuses = [status_of(application, token) for token in tokens]
        own = application.service.settings.webhook_token[0]
        assert statuses == [400 if token == own else 401 for token in tokens]


def status_of(application: app.Application, token: str) -> int:
    """The status of the answer to an empty hook with that token."""
    environ: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {token}", "REQUEST_METHOD": "POST"}
    environ["PATH_INFO"] = "/webhook"
    setup_testing_defaults(environ)
    statuses: list[str] = []
    list(application(environ, lambda status, *_: statuses.append(status)))
    return int(statuses[0][:3])


def archive_of(members: dict[str, bytes]) -> bytes:
    """A ZIP file of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    """The files of a ZIP file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
