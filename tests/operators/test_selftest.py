"""``python -m pipeline selftest`` against a sandbox and a real service: what it proves, and what it
says when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from pipeline.__main__ import main
from pipeline.aruna import client
from pipeline.operators.selftest import following, matching, source
from pipeline.transform.bioschemas import transform
from pipeline.transform.bioschemas.profile import lacks
from sandbox import Answered, Call, Dropped, Refused, Right, Sandbox
from tests.running import ROOT, TOKEN, Running, running

OTHER_TOKEN = "another-token-of-the-tests"
_TIME = r"(?:less than 0\.1|[\d.]+) s"
_NAMES = iter(f"garden-{number}" for number in range(1, 1000))


@dataclass
class Operator:
    """Somebody who runs the command: their environment, and what the last run printed."""

    sandbox: Sandbox
    environment: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    lines: list[str] = field(default_factory=list)

    def run(self, place: str, *arguments: str, **settings: str) -> int:
        """Run the command in this process; its exit status."""
        for name, value in {**self.environment, **settings}.items():
            self.monkeypatch.setenv(name, value)
        self.capture.readouterr()
        status = main(["selftest", "--project", place, *arguments])
        self.lines = self.capture.readouterr().out.splitlines()
        return status

    def says(self, stage: str) -> str:
        """The line of a stage, without its name."""
        (line,) = [line for line in self.lines if line[8:21].strip() == stage]
        return f"{line[:8].strip()} {line[21:]}"

    @property
    def failure(self) -> tuple[str, str, str, str]:
        """The one failed stage: its name, what was seen, what it means, what to do."""
        (at,) = [at for at, line in enumerate(self.lines) if line.startswith("failed ")]
        said, likely, to_do = (line[21:] for line in self.lines[at : at + 3])
        return self.lines[at][8:21].strip(), said, likely, to_do

    def stages(self) -> list[tuple[str, str]]:
        """State and name of each stage."""
        return [(line[:8].strip(), line[8:21].strip()) for line in self.lines if line[0] != " "]


@pytest.fixture(scope="module")
def world() -> Iterator[Sandbox]:
    """One sandbox for all: each test has a project of its own."""
    with Sandbox() as made:
        yield made


@pytest.fixture(scope="module")
def start(world: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts services that work with the sandbox; settings as keywords."""
    with ExitStack() as services:

        def started(**settings: str) -> Running:
            environment = {**world.environment(), "WEBHOOK_TOKEN": TOKEN, **settings}
            service = services.enter_context(
                running(tmp_path_factory.mktemp("service"), environment)
            )
            wait_until_healthy(service)
            return service

        yield started


def wait_until_healthy(service: Running) -> None:
    """Its worker is up, and its journal is there."""
    service.session.get(f"{service.url}/health", timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def service(start: Callable[..., Running]) -> Running:
    """The service of most tests: with GFBio, by relay."""
    return start(TRANSFORMER="gfbio")


@pytest.fixture
def operator_of(
    world: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Running], Operator]:
    """An operator of a service, who is impatient."""
    monkeypatch.setattr(client, "TRY_AGAIN_AFTER", 0.01)
    monkeypatch.setattr(following, "DELIVERY_PATIENCE", 2.0)
    monkeypatch.setattr(following, "REFUSAL_PATIENCE", 0.2)
    monkeypatch.setattr(following, "ATTEMPTS", 1)
    monkeypatch.setattr("pipeline.telemetry.logs.configure", lambda *_: None)
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def made(service: Running) -> Operator:
        return Operator(world, service.environment, monkeypatch, capsys)

    return made


@pytest.fixture
def operator(service: Running, operator_of: Callable[[Running], Operator]) -> Operator:
    """The operator of the service of most tests."""
    return operator_of(service)


@pytest.fixture
def project(world: Sandbox) -> str:
    """A project of the test's own."""
    return world.create_project(next(_NAMES))


def hooked(service: Running, world: Sandbox, project: str, **hook: Any) -> str:
    """A hook of the service on a project: its id."""
    how = {"url": f"{service.url}/webhook", "token": TOKEN, **hook}
    return world.register_hook(projects=[project], **how)


def _answered(status: int, body: bytes) -> Answered:
    return Answered(status, body, {"content-type": "application/xml"})


def _denying(_call: Call) -> None:
    raise _answered(403, b"<Error><Code>AccessDenied</Code></Error>")


def _dropping(_call: Call) -> None:
    raise Dropped


def test_the_built_in_document_lacks_nothing_that_bioschemas_requires() -> None:
    content = source.document("selftest-20261124T203000Z.xml")
    assert len(content) < 3000
    assert not [lack for lack in lacks(transform([content])) if lack.required]


def test_the_whole_way_is_proven_and_nothing_is_left(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hook = hooked(service, world, project)
    assert operator.run(project) == 0
    name = world.object(project).name
    stages = ("token", "hook", "service", "upload", "delivery", "job", "callback", "result")
    assert operator.stages() == [("ok", stage) for stage in (*stages, "cleaned up")]
    assert operator.says("token") == f"ok shows project {name} and your hooks"
    assert operator.says("hook").startswith(
        f"ok abcd2bioschema {hook} listens here for finished uploads, until 2"
    )
    assert re.fullmatch(
        r"ok selftest-\d{8}T\d{6}Z\.xml, \d\.\d kB, label ABCD=true", operator.says("upload")
    )
    assert re.fullmatch(rf"ok arrived after {_TIME}", operator.says("delivery"))
    assert re.fullmatch(
        rf"ok \w{{16}} succeeded: download {_TIME}, transformation {_TIME}, upload {_TIME}",
        operator.says("job"),
    )
    assert operator.says("callback") == "ok PROCESSING_STATUS=success on the source"
    assert re.fullmatch(
        r"ok selftest-\d+T\d+Z\.json, [\d,]+ bytes of JSON-LD, ORIGIN the source",
        operator.says("result"),
    )
    assert re.fullmatch(
        r"ok deleted: selftest-\d+T\d+Z\.xml, selftest-\d+T\d+Z\.json", operator.says("cleaned up")
    )
    assert world.objects_in(project) == []


@pytest.mark.parametrize("inner", [True, False])
def test_a_dataset_or_a_collection_will_do_too(
    operator: Operator, service: Running, world: Sandbox, project: str, inner: bool
) -> None:
    hooked(service, world, project)
    collection = world.create_collection("plants", project)
    place = world.create_dataset("ferns", collection) if inner else collection
    assert operator.run(place) == 0, operator.lines
    title = "dataset ferns" if inner else "collection plants"
    assert operator.says("token") == f"ok shows {title} and your hooks"
    assert world.objects_in(project) == []


def test_what_it_made_can_be_kept(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    assert operator.run(project, "--keep") == 0
    found = world.objects_in(project)
    assert len(found) == 2
    assert all(f"{one.name} ({one.id})" in operator.says("cleaned up") for one in found)


@pytest.mark.parametrize(
    ("hook", "label"),
    [
        ({"key": "^ABC", "value": "^(ja|yes)$"}, "label ABCD=ja"),
        ({"key": r"^data\.type$", "value": "[a-z]+"}, "label data.type=true"),
        ({"key": "^ABCD$", "value": r"^v\d+$", "trigger": "LABEL_ADDED"}, "label ABCD=v1"),
    ],
)
def test_the_document_gets_the_label_that_the_hook_asks_for(
    operator: Operator,
    service: Running,
    world: Sandbox,
    project: str,
    hook: Mapping[str, str],
    label: str,
) -> None:
    hooked(service, world, project, **hook)
    assert operator.run(project) == 0, operator.lines
    assert operator.says("upload").endswith(f", {label}")


def test_a_token_for_one_project_goes_as_far_as_aruna_lets_it(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    admin = world.create_token(project=project)
    assert operator.run(project, ARUNA_TOKEN=admin) == 0, operator.lines
    assert operator.says("token").endswith("no hooks of its owner: it is no personal one")
    assert operator.says("hook").startswith("ok abcd2bioschema ")
    writer = world.create_token(project=project, right=Right.WRITE)
    assert operator.run(project, ARUNA_TOKEN=writer) == 1
    assert operator.says("hook").startswith("skipped ARUNA_TOKEN shows no hooks there")
    stage, said, likely, to_do = operator.failure
    assert stage == "cleaned up"
    left = world.objects_in(project)
    assert len(left) == 2
    assert all(f"{one.name} ({one.id})" in said for one in left)
    assert likely == "ARUNA_TOKEN has no right ADMIN there"
    assert to_do == "delete them by hand, on Aruna's website for instance"


@pytest.mark.parametrize(
    ("hook", "said", "likely"),
    [
        (
            {"url": "http://127.0.0.1:1/webhook"},
            "calls http://127.0.0.1:1/webhook, where this service does not answer",
            "its URL is wrong or out of date",
        ),
        (
            {"token": OTHER_TOKEN},
            "was registered with another bearer token than WEBHOOK_TOKEN",
            "the service refuses what it sends with 401",
        ),
        ({"token": None}, "was registered with no bearer token", "with 401"),
        (
            {"timeout": 1_700_000_000.0},
            "ended on 2023-11-14 22:13:20 UTC",
            "the token it hands out has expired",
        ),
        (
            {"timeout": 4_000_000_000.0 / 1000},
            "ended on 1970-02-16 07:06:40 UTC",
            "its timeout was given in seconds; Aruna takes milliseconds",
        ),
        (
            {"trigger": "RESOURCE_CREATED"},
            "has the trigger RESOURCE_CREATED, which brings no finished upload",
            "another trigger than OBJECT_FINISHED or LABEL_ADDED",
        ),
        (
            {"key": "^ABCD$", "value": "^(?=a)b"},
            "its filter: label ^ABCD$=^(?=a)b",
            "no label and no file name that was tried matches it",
        ),
    ],
)
def test_a_hook_that_cannot_bring_the_document_is_found_before_anything_is_uploaded(
    operator: Operator,
    service: Running,
    world: Sandbox,
    project: str,
    hook: dict[str, Any],
    said: str,
    likely: str,
) -> None:
    hook_id = hooked(service, world, project, **hook)
    assert operator.run(project) == 1
    stage, seen, meaning, to_do = operator.failure
    assert (stage, said in seen, likely in meaning) == ("hook", True, True)
    assert to_do == (
        f"./register_webhook.sh delete {hook_id}, then ./register_webhook.sh create "
        f"--url {service.url}/webhook --project {project} --trigger finished"
    )
    assert operator.stages() == [("ok", "token"), ("failed", "hook")]
    assert world.objects_in(project) == []


def test_a_project_without_a_hook_is_told_from_one_whose_hooks_are_other_peoples(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    name = world.object(project).name
    assert operator.run(project) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, said) == ("hook", f"no hook of this service covers project {name}")
    assert likely.startswith("none was registered for its project, it was deleted")
    assert to_do.startswith(f"./register_webhook.sh create --url {service.url}/webhook --project")
    other = hooked(service, world, project, url="http://127.0.0.1:1/other", token="x" * 20)
    assert operator.run(project) == 1
    assert operator.failure[1].endswith(f" ({other} calls http://127.0.0.1:1/other)")


def test_an_unknown_id_and_an_aruna_that_is_away_are_told_apart(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operator.run("01HZZZZZZZZZZZZZZZZZZZZZZZ") == 1
    stage, said, likely, _ = operator.failure
    assert (stage, said.partition(" (")[0]) == (
        "token",
        "ARUNA_TOKEN does not show 01HZZZZZZZZZZZZZZZZZZZZZZZ",
    )
    assert "the token has no right there" in likely
    monkeypatch.setattr(client, "CALL_TIMEOUT", 1.0)
    address = "http://127.0.0.1:1"
    assert operator.run("01HZZZZZZZZZZZZZZZZZZZZZZZ", ARUNA_SERVER_ADDRESS=address) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, said.startswith(f"{address}: ")) == ("token", True)
    assert likely.startswith("Aruna is down")
    assert to_do == "python -m pipeline check"


def test_a_missing_right_is_named_where_it_is_missing(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    reader = world.create_token(project=project, right=Right.READ)
    assert operator.run(project, ARUNA_TOKEN=reader) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, likely) == ("upload", "it has no right APPEND there")
    assert said.startswith("ARUNA_TOKEN may not create an object in project garden-")
    assert to_do == "take a token with the right WRITE, or ADMIN so that all is deleted again"
    appender = world.create_token(project=project, right=Right.APPEND)
    assert operator.run(project, ARUNA_TOKEN=appender) == 1
    failed = [line for line in operator.lines if line.startswith("failed ")]
    assert "upload       ARUNA_TOKEN may not write the object it created" in failed[0]
    assert "cleaned up   not deleted: selftest-" in failed[1]


def test_an_upload_that_is_refused_or_forbidden(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    world.at("s3.put", _denying)
    assert operator.run(project) == 1
    stage, said, likely, _ = operator.failure
    assert (stage, said) == ("upload", "Aruna's storage answered 403 AccessDenied")
    assert likely.startswith("a proxy before it changes the request")
    assert operator.run(project, ALLOWED_HOSTS="s3.example.org") == 1
    stage, said, likely, to_do = operator.failure
    assert stage == "upload"
    assert said.startswith("the address of Aruna's storage is not permitted: ")
    assert likely.startswith("ALLOWED_HOSTS does not name it")
    assert to_do.startswith("add its host to ALLOWED_HOSTS")
    assert world.objects_in(project) == []


def test_a_delivery_that_aruna_dropped_or_could_not_send(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    world.aruna.loses = lambda *_: True
    try:
        assert operator.run(project) == 1
    finally:
        world.aruna.loses = lambda *_: False
    stage, said, likely, to_do = operator.failure
    assert (stage, said) == (
        "delivery",
        "no delivery within 2 s: Aruna says RUNNING, and the service has not seen it",
    )
    assert likely.startswith("Aruna dropped it, as it does when its data proxy is busy")
    assert "python -m pipeline reconcile" in to_do
    world.at("hook", _dropping)
    assert operator.run(project) == 1
    stage, said, likely, _ = operator.failure
    sending = f"error sending request for url ({service.url}/webhook)"
    assert (stage, said) == ("delivery", f"Aruna could not send it: {sending}")
    assert likely.startswith(f"Aruna can't reach {service.url}/webhook: its name, a firewall")
    assert world.objects_in(project) == []


def test_a_hook_that_never_fires_is_told_from_one_that_gets_lost(
    operator: Operator, service: Running, world: Sandbox, project: str, monkeypatch: Any
) -> None:
    hooked(service, world, project, key="ABCD(?i)x")
    monkeypatch.setattr("pipeline.operators.selftest.matching._found", lambda *_: True)
    assert operator.run(project) == 1
    stage, said, _, to_do = operator.failure
    assert stage == "delivery"
    assert said == "no delivery within 2 s: Aruna shows no trace of the hook on the object"
    assert "./register_webhook.sh list shows the filter" in to_do


def test_a_delivery_that_the_service_refuses(
    start: Callable[..., Running],
    operator_of: Callable[[Running], Operator],
    world: Sandbox,
    project: str,
) -> None:
    service = start(WEBHOOK_TOKEN=OTHER_TOKEN)
    hooked(service, world, project)
    operator = operator_of(service)
    assert operator.run(project, WEBHOOK_TOKEN=TOKEN) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, said) == ("delivery", "the service refused a hook: unauthorized")
    assert likely.startswith("the hook carries another bearer token than the running service has")
    assert to_do.startswith("restart the service with the token of the hook")
    service.stop()
    service.environment |= {"WEBHOOK_TOKEN": TOKEN, "WEBHOOK_SECRET": "a-secret-of-ones-own"}
    service.start()
    wait_until_healthy(service)
    assert operator.run(project, WEBHOOK_TOKEN=TOKEN) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, said) == ("delivery", "the service refused a hook: invalid_secret")
    assert likely.startswith("the running service has WEBHOOK_SECRET set")
    assert to_do.startswith("unset WEBHOOK_SECRET")
    service.stop()
    assert operator.run(project, WEBHOOK_TOKEN=TOKEN) == 1
    stage, said, likely, to_do = operator.failure
    assert (stage, said) == ("service", f"it answers neither at {service.url} nor at {service.url}")
    assert likely == "it does not run, or these settings are not its own"
    assert to_do == "start it, and run this command in its environment"


def test_a_job_that_fails_says_whose_fault_it_most_likely_is(
    start: Callable[..., Running],
    operator_of: Callable[[Running], Operator],
    world: Sandbox,
    project: str,
) -> None:
    service = start(TRANSFORMER="gfbio", PUBLIC_URL="http://127.0.0.1:1")
    hooked(service, world, project)
    operator = operator_of(service)
    assert operator.run(project) == 1
    stage, said, likely, to_do = operator.failure
    assert stage == "job"
    answers = operator.says("service")
    assert answers.endswith(f" answers at {service.url}, not at http://127.0.0.1:1")
    assert re.match(r"\w{16} failed: download_failed: GFBio did not get the whole file; ", said)
    assert said.endswith("; GFBio did not ask for it at PUBLIC_URL")
    assert likely.startswith("GFBio can't reach http://127.0.0.1:1: its name, a firewall, its cert")
    assert "GFBIO_TRANSPORT=direct or TRANSFORMER=embedded" in to_do
    world.gfbio.down = True
    try:
        assert operator.run(project) == 1
    finally:
        world.gfbio.down = False
    stage, said, likely, _ = operator.failure
    assert (stage, "failed: gfbio_unavailable: " in said) == ("job", True)
    assert likely == "the service does not reach GFBIO_BASE_URL, or GFBio is down"
    assert world.objects_in(project) == []


def test_a_result_that_may_not_be_created(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    refused = Refused(grpc.StatusCode.INTERNAL, "Internal database error : a rule says no")

    def refuse(call: Call) -> None:
        if call.details["name"].endswith(".json"):
            raise refused

    world.at("grpc.CreateObject", refuse, times=2)
    assert operator.run(project) == 1
    stage, said, likely, _ = operator.failure
    assert (stage, "failed: create_failed: " in said) == ("job", True)
    assert likely == "whoever the hook acts for has no right APPEND on the project"


def test_a_callback_that_aruna_refuses_because_of_a_second_hook(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    rival = hooked(service, world, project, url="http://127.0.0.1:1/rival", token="x" * 20)
    assert operator.run(project) == 1
    assert f"; beside {rival} on the same trigger" in operator.says("hook")
    stage, said, likely, to_do = operator.failure
    assert stage == "callback"
    assert said in (
        "Aruna refused the callback: another delivery or an update took the hook's status away",
        "Aruna took the callback, but does not show PROCESSING_STATUS=success on the source",
    )
    assert likely.endswith(f": {rival}")
    assert to_do.startswith("delete one of the two hooks")
    assert operator.says("result").startswith("ok selftest-")


def test_a_result_that_is_not_what_it_should_be(
    operator: Operator, service: Running, world: Sandbox, project: str
) -> None:
    hooked(service, world, project)
    bucket = world.object(project).name

    def spoil(call: Call) -> None:
        if call.details["bucket"] == bucket and call.details["key"].endswith(".json"):
            raise _answered(200, b"[1, 2]")

    world.at("s3.get", spoil, times=None)
    assert operator.run(project) == 1
    stage, said, _, to_do = operator.failure
    assert (stage, "fetched" in said) == ("result", True)
    assert re.fullmatch(r"python -m pipeline show \w{16}", to_do)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_is_left(
    service: Running, world: Sandbox, project: str, number: signal.Signals
) -> None:
    hooked(service, world, project)
    world.aruna.loses = lambda *_: True
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "selftest", "--project", project],
            cwd=ROOT,
            env={**{n: os.environ[n] for n in ("PATH", "HOME")}, **service.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        world.wait_for(lambda: any(d.lost for d in deliveries_in(world, project)), 30)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        world.aruna.loses = lambda *_: False
    assert (process.returncode, err) == (128 + number, "")
    assert re.search(r"^ok      cleaned up   deleted: selftest-\w+\.xml$", out, re.MULTILINE)
    assert world.objects_in(project) == []


def deliveries_in(world: Sandbox, project: str) -> list[Any]:
    """The deliveries of objects in a project."""
    ids = {found.id for found in world.objects_in(project)}
    return [delivered for delivered in world.deliveries if delivered.object_id in ids]


@pytest.mark.parametrize(
    ("expression", "preferred", "text"),
    [
        ("^ABCD$", "ABCD", "ABCD"),
        ("BC", "ABCD", "ABCD"),
        (".*", "true", "true"),
        ("^$", "true", None),
        ("^(data|meta)$", "true", "data"),
        (r"^x\.y\+$", "true", "x.y+"),
        (r"^[A-Z]\d{4}$", "true", None),
        (r"^v\d$", "true", "v1"),
        ("^(?i)yes$", "true", None),
        ("^(?:only)?this$", "true", "onlythis"),
        ("(unclosed", "true", None),
    ],
)
def test_a_text_is_found_for_common_expressions(
    expression: str, preferred: str, text: str | None
) -> None:
    assert matching.text_for(expression, preferred) == text
