"""``register_webhook.sh`` against the sandbox's gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import Answered, Sandbox, User
from tests.deploy.conftest import Tool

SCRIPT = Path(__file__).parents[2] / "register_webhook.sh"
WEBHOOK_TOKEN = 'the-service\'s-"own"-token'
URL = "https://abcd2bioschema.example.org/webhook?a=1&b=<2>"
STRANGE = '"Ärger" \\ $(touch x) `y` & <z> %s 🌿'
FINISHED, ADDED = "TRIGGER_TYPE_OBJECT_FINISHED", "TRIGGER_TYPE_LABEL_ADDED"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@dataclass(frozen=True)
class Operator:
    """Somebody with an account at Aruna and a shell in a directory of their own."""

    sandbox: Sandbox
    user: User
    project: str
    directory: Path
    environment: dict[str, str]

    def register(
        self, *arguments: str, **variables: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run the script; a variable that is ``None`` is unset."""
        changed = {**self.environment, **variables}
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            cwd=self.directory,
            env={name: value for name, value in changed.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def new_project(self) -> str:
        """The id of one more project of theirs."""
        return self.sandbox.create_project(f"p-{time.monotonic_ns()}", user=self.user)

    def hooks(self, project: str | None = None) -> list[dict[str, Any]]:
        """What Aruna knows of a project's hooks."""
        answer = requests.get(
            f"{self.sandbox.gateway_url}/v2/hooks/projects/{project or self.project}",
            headers={"Authorization": f"Bearer {self.user.token_text}"},
            timeout=10,
        )
        infos: list[dict[str, Any]] = answer.json()["infos"]
        return infos


@pytest.fixture
def operator(sandbox: Sandbox, tmp_path: Path) -> Operator:
    user = sandbox.create_user()
    project = sandbox.create_project(f"p-{time.monotonic_ns()}", user=user)
    environment = {
        "PATH": os.environ["PATH"],
        "ALLOW_INSECURE": "true",
        "ARUNA_API_URL": sandbox.gateway_url,
        "ARUNA_TOKEN": user.token_text,
        "WEBHOOK_TOKEN": WEBHOOK_TOKEN,
        "WEBHOOK_URL": URL,
        "PROJECT_IDS": project,
    }
    return Operator(sandbox, user, project, tmp_path, environment)


def test_create_registers_all_that_was_asked_for(operator: Operator) -> None:
    second = operator.new_project()
    said = operator.register(
        *("create", "--name", STRANGE, "--project", operator.project, "--project", second),
        *("--label", "A.B=x|y", "--method", "put", "--expires", "2097-01-31"),
    )
    assert said.returncode == 0, said.stderr
    [hook] = operator.hooks()
    assert said.stdout == hook["hookId"] + "\n"
    assert (hook["name"], hook["projectIds"]) == (STRANGE, [operator.project, second])
    assert hook["timeout"] == str(int(datetime(2097, 1, 31, tzinfo=UTC).timestamp()) * 1000)
    label = {"key": r"^A\.B$", "value": r"^x\|y$", "variant": "KEY_VALUE_VARIANT_LABEL"}
    assert hook["trigger"] == {"triggerType": FINISHED, "filters": [{"keyValue": label}]}
    assert hook["hook"]["externalHook"] == {
        "url": URL,
        "method": "METHOD_PUT",
        "credentials": {"token": WEBHOOK_TOKEN},
    }


def test_create_again_reports_the_hook_and_doubles_nothing(operator: Operator) -> None:
    first, again = (operator.register("create", "--project", operator.project) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == again.stdout
    assert "exists already" in again.stderr
    assert [hook["projectIds"] for hook in operator.hooks()] == [[operator.project]]


def test_create_with_both_triggers_makes_one_hook_for_each(operator: Operator) -> None:
    said = operator.register("create", "--trigger", "both")
    assert said.returncode == 0, said.stderr
    hooks = {hook["trigger"]["triggerType"]: hook["hookId"] for hook in operator.hooks()}
    assert said.stdout.split() == [hooks[FINISHED], hooks[ADDED]]


def test_create_gives_a_hook_the_projects_it_lacks_each_once(operator: Operator) -> None:
    second = operator.new_project()
    operator.register("create")
    said = operator.register("create", PROJECT_IDS=f"{operator.project}, {second},{second}")
    assert said.returncode == 0, said.stderr
    assert [hook["projectIds"] for hook in operator.hooks()] == [[operator.project, second]]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (["--method", "PUT"], "trigger, but it calls with POST. Delete it first."),
        (["--method", "PUT", "--label", "X"], "but it calls with POST, its filter is ^ABCD$=^.*$."),
        (["--label", "OTHER"], "its filter is ^ABCD$=^.*$"),
        (["--webhook-token-file", "other"], "it was given another WEBHOOK_TOKEN"),
    ],
)
def test_a_hook_that_differs_is_neither_kept_silently_nor_doubled(
    operator: Operator, changed: list[str], difference: str
) -> None:
    (operator.directory / "other").write_text("another-token-of-the-service\n")
    operator.register("create")
    said = operator.register("create", *changed)
    assert said.returncode == 4
    assert difference in said.stderr
    assert len(operator.hooks()) == 1


def test_a_hook_that_expired_is_no_hook_to_rely_on(operator: Operator) -> None:
    operator.sandbox.register_hook(
        *(), url=URL, projects=[operator.project], token=WEBHOOK_TOKEN, value="^.*$",
        name="ABCD to Bioschemas", timeout=time.time() - 1, user=operator.user,
    )  # fmt: skip
    said = operator.register("create")
    assert (said.returncode, said.stdout) == (4, "")
    assert "has this name, URL and trigger, but it has expired. Delete it first." in said.stderr
    assert "EXPIRED" in operator.register("list").stdout


def test_a_rotated_token_is_known_by_either_of_the_two(operator: Operator) -> None:
    operator.register("create")
    said = operator.register("create", WEBHOOK_TOKEN=f"the-newer-one-of-the-two,{WEBHOOK_TOKEN}")
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("arguments", "variables", "complaint"),
    [
        (["--url", ""], {}, "must be an absolute URL"),
        (["--url", "/webhook"], {}, "must be an absolute URL"),
        (["--url", "host.example.org/webhook"], {}, "must be an absolute URL"),
        (["--url", "https://user:word@host/webhook"], {}, "must be an absolute URL"),
        (["--url", "http://host/webhook"], {"ALLOW_INSECURE": "false"}, "must begin with https"),
        ([], {"ARUNA_API_URL": None}, "ARUNA_API_URL) must be an absolute URL"),
        ([], {"PROJECT_IDS": ""}, "create needs a project"),
        (["--project", "x"], {}, "is not an Aruna id"),
        (["--label", ""], {}, "a hook without a filter never fires"),
        (["--label", "=true"], {}, "a hook without a filter never fires"),
        ([], {"HOOK_LABEL": ""}, "a hook without a filter never fires"),
        (["--expires", "2020-01-01"], {}, "is not in the future"),
        (["--expires", "0d"], {}, "is not in the future"),
        (["--expires", "1798104455"], {}, "must be a duration (90d, 1y) or a date"),
        (["--expires", "1798104455676"], {}, "must be a duration (90d, 1y) or a date"),
        (["--expires", "tomorrow"], {}, "must be a duration (90d, 1y) or a date"),
        (["--expires", "2097-02-30"], {}, "there is no day 2097-02-30"),
        (["--expires", "2097-13-01"], {}, "there is no day 2097-13-01"),
        (["--expires", "2097-01-01T25:00"], {}, "is not a time"),
        (["--expires", "9999y"], {}, "--expires 9999y is later than the year 9999"),
        (["--expires", "9999-12-31T23:59:59-01:00"], {}, "is later than the year 9999"),
        (["--object-name", "("], {}, 'is not a regular expression: "("'),
        (["--object-name", "*"], {}, "is not a regular expression"),
        (["--object-name", "a\nb"], {}, "must be one line"),
        (["--object-name", "(?!a)b"], {}, "have no look-around and no back-references"),
        (["--object-name", r"(a)\1"], {}, "have no look-around and no back-references"),
        (["--object-name", ""], {"HOOK_LABEL": ""}, "a hook without a filter never fires"),
        (["--trigger", "deleted"], {}, "must be finished, label, static-label or both"),
        (["--method", "GET"], {}, "must be POST or PUT"),
        (["--name", ""], {}, "--name must be one line"),
        (["--name", "a\nb"], {}, "--name must be one line"),
        ([], {"WEBHOOK_TOKEN": "short"}, "16 characters or more"),
        ([], {"WEBHOOK_TOKEN": None}, "16 characters or more"),
        ([], {"WEBHOOK_TOKEN_FILE": "token"}, "WEBHOOK_TOKEN and WEBHOOK_TOKEN_FILE are both set"),
        (["--webhook-token-file", "absent"], {}, "cannot read absent"),
        (["--env-file", "absent"], {}, "cannot read absent"),
        (["--nonsense", "x"], {}, "unknown option --nonsense"),
        (["--name"], {}, "--name needs a value"),
        (["operand"], {}, 'create takes no "operand"'),
    ],
)
def test_what_aruna_would_accept_though_it_is_wrong_is_refused_unsent(
    operator: Operator, dry: list[str], arguments: list[str], variables: Any, complaint: str
) -> None:
    before = len(operator.sandbox.requests())
    said = operator.register("create", *dry, *arguments, **variables)
    assert (said.returncode, said.stdout) == (2, "")
    assert complaint in said.stderr
    assert len(operator.sandbox.requests()) == before


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ("2096-02-29", "2096-02-29T00:00:00+00:00"),
        ("2097-03-01T12:30", "2097-03-01T12:30:00+00:00"),
        ("2097-12-31T23:59:08Z", "2097-12-31T23:59:08+00:00"),
        ("2097-01-01T00:30:09+09:30", "2097-01-01T00:30:09+09:30"),
        ("2096-12-31T23:30-0800", "2096-12-31T23:30:00-08:00"),
    ],
)
def test_expiry_is_a_date_in_any_zone(operator: Operator, when: str, meant: str) -> None:
    said = operator.register("create", "--dry-run", "--expires", when)
    timeout = int(json.loads(said.stdout)["timeout"])
    assert timeout == datetime.fromisoformat(meant).timestamp() * 1000


@pytest.mark.parametrize(("when", "hours"), [("12h", 12), ("90d", 2160), ("2w", 336), ("1y", 8760)])
def test_expiry_is_a_duration_from_now(operator: Operator, when: str, hours: int) -> None:
    said = operator.register("create", "--dry-run", HOOK_EXPIRES=when)
    timeout = int(json.loads(said.stdout)["timeout"]) / 1000
    assert timeout - time.time() == pytest.approx(hours * 3600, abs=60)


def test_a_dry_run_prints_what_would_be_sent_and_no_secret(operator: Operator) -> None:
    before = len(operator.sandbox.requests())
    said = operator.register("create", "--dry-run", "--name", STRANGE, ARUNA_TOKEN=None)
    body = json.loads(said.stdout)
    assert (body["name"], body["projectIds"]) == (STRANGE, [operator.project])
    assert body["hook"]["externalHook"]["credentials"] == {"token": "***"}
    added = operator.register("add-project", "--dry-run", operator.project, operator.project)
    assert json.loads(added.stdout) == {"projectIds": [operator.project]}
    deleted = operator.register("delete", "--dry-run", operator.project)
    assert deleted.stdout == f"DELETE /v2/hooks/{operator.project}\n"
    assert len(operator.sandbox.requests()) == before


def test_another_hook_on_the_same_trigger_is_warned_of(operator: Operator) -> None:
    rival = operator.sandbox.register_hook(
        url="https://rival.example.org", projects=[operator.project], user=operator.user
    )
    said = operator.register("create")
    assert said.returncode == 0
    assert f'hook {rival} ("abcd2bioschema", https://rival.example.org) listens' in said.stderr
    assert "same trigger" not in operator.register("create", "--trigger", "label").stderr


def test_several_labels_are_warned_of_because_any_one_is_enough(operator: Operator) -> None:
    said = operator.register("create", HOOK_LABEL="ABCD,SDD=1")
    assert "any one of them is enough" in said.stderr
    filters = [entry["keyValue"] for entry in operator.hooks()[0]["trigger"]["filters"]]
    assert [(f["key"], f["value"]) for f in filters] == [("^ABCD$", "^.*$"), ("^SDD$", "^1$")]


@pytest.mark.parametrize(
    "name", [r"\.xml$", r"(?i)^herbarium.*\.XML$", r"^(?:a|b)/(?P<n>\d{4})\.xml$", "^[^/]+$"]
)
def test_a_hook_can_ask_for_files_by_their_name(operator: Operator, name: str) -> None:
    said = operator.register("create", "--object-name", name)
    assert said.returncode == 0, said.stderr
    assert "--object-name fires for files without a label too" in said.stderr
    assert operator.hooks()[0]["trigger"]["filters"] == [{"name": name}]
    assert f"OBJECT_FINISHED, name {name}\n" in operator.register("list").stdout
    assert "exists already" in operator.register("create", HOOK_OBJECT_NAME=name).stderr


def test_a_name_beside_a_label_is_one_more_way_to_fire(operator: Operator) -> None:
    said = operator.register("create", "--label", "ABCD", "--object-name", r"\.xml$")
    assert "asks for any one of them, not for all" in said.stderr
    label = {"key": "^ABCD$", "value": "^.*$", "variant": "KEY_VALUE_VARIANT_LABEL"}
    filters = operator.hooks()[0]["trigger"]["filters"]
    assert filters == [{"keyValue": label}, {"name": r"\.xml$"}]


def test_a_static_label_can_be_the_trigger(operator: Operator) -> None:
    said = operator.register("create", "--trigger", "static-label")
    assert said.returncode == 0, said.stderr
    [hook] = operator.hooks()
    label = {"key": "^ABCD$", "value": "^.*$", "variant": "KEY_VALUE_VARIANT_STATIC_LABEL"}
    assert hook["trigger"] == {
        "triggerType": "TRIGGER_TYPE_STATIC_LABEL_ADDED",
        "filters": [{"keyValue": label}],
    }
    assert "STATIC_LABEL_ADDED, static ^ABCD$=^.*$" in operator.register("list").stdout
    assert "exists already" in operator.register("create", "--trigger", "static-label").stderr


def test_the_day_a_hook_expires_is_said(operator: Operator) -> None:
    said = operator.register("create", "--expires", "2097-01-31")
    assert "expires on 2097-01-31T00:00:00Z" in said.stderr


def test_create_needs_no_more_than_the_right_to_append(operator: Operator) -> None:
    refusal = b'{"code":16, "message":"Unauthorized : Invalid permissions", "details":[]}'
    operator.sandbox.at("gateway.ListProjectHooks", _answering(refusal, 401))
    said = operator.register("create")
    assert said.returncode == 0, said.stderr
    assert "cannot see other people's hooks" in said.stderr
    assert len(operator.hooks()) == 1


def test_add_project_adds_each_once(operator: Operator) -> None:
    second = operator.new_project()
    hook = operator.register("create").stdout.strip()
    said = operator.register("add-project", hook, second, second)
    again = operator.register("add-project", hook, second, operator.project)
    assert (said.returncode, again.returncode) == (0, 0), said.stderr
    assert again.stderr.count("already") == 2
    assert operator.hooks()[0]["projectIds"] == [operator.project, second]


def test_add_project_warns_of_a_rival_there(operator: Operator) -> None:
    second = operator.new_project()
    operator.sandbox.register_hook(url="https://r.org", projects=[second], user=operator.user)
    hook = operator.register("create").stdout.strip()
    assert "callbacks destroy" in operator.register("add-project", hook, second).stderr


def test_add_project_leaves_other_peoples_hooks_alone(operator: Operator) -> None:
    said = operator.register("add-project", "01ARZ3NDEKTSV4RRFFQ69G5FAV", operator.project)
    assert said.returncode == 1
    assert "is not one of yours" in said.stderr


def test_delete_deletes_and_says_what_aruna_says(operator: Operator) -> None:
    hook = operator.register("create").stdout.strip()
    assert operator.register("delete", hook).returncode == 0
    assert operator.hooks() == []
    again = operator.register("delete", hook)
    assert again.returncode == 1
    assert "HTTP 400: Hook or parent not found : Hook not found" in again.stderr


def test_list_shows_hooks_and_no_token(operator: Operator) -> None:
    names = [f"hook {number}" for number in range(12)]
    ids = [operator.register("create", "--name", name).stdout.strip() for name in names]
    said = operator.register("list")
    heads = [line for line in said.stdout.splitlines() if not line.startswith(" ")]
    assert heads == [f"{hook}  {name}" for hook, name in zip(ids, names, strict=True)]
    assert f"  calls     POST {URL}\n" in said.stdout
    assert "  when      OBJECT_FINISHED, ^ABCD$=^.*$\n" in said.stdout
    assert WEBHOOK_TOKEN not in said.stdout
    assert operator.register("list", "--project", operator.project).stdout == said.stdout


def test_missing_rights_are_said_with_arunas_words(operator: Operator) -> None:
    foreign = operator.sandbox.create_project(f"p-{time.monotonic_ns()}")
    for said in (
        operator.register("create", PROJECT_IDS=foreign),
        operator.register("list", "--project", foreign),
        operator.register("list", ARUNA_TOKEN="nonsense"),
    ):
        assert said.returncode == 1
        assert "HTTP 401: Unauthorized" in said.stderr


def test_an_aruna_that_cannot_be_reached_has_an_exit_status_of_its_own(operator: Operator) -> None:
    said = operator.register("list", ARUNA_API_URL="http://127.0.0.1:1")
    assert said.returncode == 3
    assert "cannot reach Aruna at http://127.0.0.1:1" in said.stderr


@pytest.mark.parametrize("page", [b"<html>Bad Gateway</html>", b'{"infos": ["', b""])
def test_what_is_no_aruna_is_not_taken_for_one(operator: Operator, page: bytes) -> None:
    operator.sandbox.at("gateway.ListOwnedHooks", _answering(page))
    said = operator.register("create")
    assert said.returncode == 3
    assert "is http://127.0.0.1" in said.stderr
    assert operator.hooks() == []


def _answering(page: bytes, status: int = 200) -> Any:
    def answer(_call: Any) -> None:
        raise Answered(status, page)

    return answer


AWKS = ("awk", "gawk", "mawk", "busybox")


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_awk_reads_any_json_and_jq_is_not_needed(
    operator: Operator, tool: Tool, awk: str, ascii_only: bool
) -> None:
    programs = operator.directory / "programs"
    programs.mkdir()
    for name, program in (("awk", awk), ("curl", "curl"), ("cat", "cat"), ("bash", "bash")):
        (programs / name).symlink_to(tool(program))
    names = [STRANGE, "\\", '\\"', "a\\u0041", "]}{[,:", "  null", "0", "\x7f\x1b[31m\t\x9b", "/"]
    infos: list[dict[str, Any]] = [
        {"name": name, "hookId": f"id-{number}", "timeout": "1", "unknown": [[], {}, None, 1.5, ""]}
        for number, name in enumerate(names)
    ]
    page = json.dumps({"other": {"infos": True}, "infos": infos}, ensure_ascii=ascii_only)
    operator.sandbox.at("gateway.ListOwnedHooks", _answering(page.encode()))
    said = operator.register("list", PATH=str(programs))
    heads = [line for line in said.stdout.splitlines() if not line.startswith(" ")]
    clean = [name.translate(dict.fromkeys([*range(32), *range(127, 160)], " ")) for name in names]
    assert heads == [f"id-{number}  {name}" for number, name in enumerate(clean)], said.stderr


def test_nothing_an_answer_holds_is_executed(operator: Operator) -> None:
    trap = "a[$(touch trapped)]"
    hook = {"hookId": trap, "name": trap, "timeout": trap, "projectIds": [trap]}
    page = json.dumps({"infos": [hook]}).encode()
    operator.sandbox.at("gateway.ListOwnedHooks", _answering(page))
    assert operator.register("list").returncode == 0
    assert list(operator.directory.iterdir()) == []


def test_no_secret_is_in_the_arguments_of_any_process(operator: Operator) -> None:
    programs = operator.directory / "programs"
    programs.mkdir()
    seen = operator.directory / "seen"
    for name in ("curl", "awk"):
        wrapper = programs / name
        spy = f"cat /proc/[0-9]*/cmdline >>{seen} 2>/dev/null"
        wrapper.write_text(f'#!/bin/sh\n{spy}\nexec {shutil.which(name)} "$@"\n')
        wrapper.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    secret = "a-token-that-is-only-of-this-test"
    hook = operator.register("create", PATH=path, WEBHOOK_TOKEN=secret).stdout.strip()
    for arguments in (["list"], ["add-project", hook, operator.new_project()], ["delete", hook]):
        assert operator.register(*arguments, PATH=path).returncode == 0
    listed = seen.read_text(errors="replace")
    assert "register_webhook.sh\0add-project" in listed
    assert secret not in listed
    assert operator.user.token_text not in listed


def test_settings_come_from_arguments_then_environment_then_the_file(operator: Operator) -> None:
    (operator.directory / ".env").write_text(
        "# settings\r\n"
        "export HOOK_NAME='from the file' # why\n"
        'HOOK_METHOD="put"\n'
        "HOOK_TRIGGER=label # of the file\n"
        "HOOK_LABEL=$(touch executed)`touch executed`\n"
        "PATH=/nonexistent\n"
        "not a setting\n"
        "HOOK_EXPIRES=2097-01-31"
    )
    said = operator.register("create", "--dry-run", "--trigger", "finished", HOOK_METHOD="POST")
    body = json.loads(said.stdout)
    assert body["trigger"]["triggerType"] == FINISHED
    assert body["hook"]["externalHook"]["method"] == "METHOD_POST"
    assert body["timeout"] == str(int(datetime(2097, 1, 31, tzinfo=UTC).timestamp()) * 1000)
    assert "touch executed" in body["trigger"]["filters"][0]["keyValue"]["key"]
    assert not (operator.directory / "executed").exists()
    assert body["name"] == "from the file"


def test_secrets_come_from_files_too(operator: Operator) -> None:
    (operator.directory / "webhook").write_text(f"{WEBHOOK_TOKEN}\n")
    (operator.directory / "aruna").write_text(f"{operator.user.token_text}\n")
    said = operator.register(
        *("create", "--webhook-token-file", "webhook"),
        ARUNA_TOKEN=None,
        ARUNA_TOKEN_FILE="aruna",
    )
    assert said.returncode == 0, said.stderr
    token = operator.hooks()[0]["hook"]["externalHook"]["credentials"]["token"]
    assert token == WEBHOOK_TOKEN


@pytest.mark.parametrize("higher", ["option", "environment"])
def test_a_secrets_file_beats_the_secret_in_the_env_file(operator: Operator, higher: str) -> None:
    (operator.directory / ".env").write_text(
        "ARUNA_TOKEN=stale\nWEBHOOK_TOKEN=stale-one-of-another\n"
    )
    (operator.directory / "webhook").write_text(f"{WEBHOOK_TOKEN}\n")
    (operator.directory / "aruna").write_text(f"{operator.user.token_text}\n")
    files: dict[str, str | None] = {"ARUNA_TOKEN_FILE": "aruna", "WEBHOOK_TOKEN_FILE": "webhook"}
    options = ["--aruna-token-file", "aruna", "--webhook-token-file", "webhook"]
    said = operator.register(
        *("create", *(options if higher == "option" else [])),
        ARUNA_TOKEN=None,
        WEBHOOK_TOKEN=None,
        **(files if higher == "environment" else {}),
    )
    assert said.returncode == 0, said.stderr
    token = operator.hooks()[0]["hook"]["externalHook"]["credentials"]["token"]
    assert token == WEBHOOK_TOKEN


def test_a_missing_curl_is_not_taken_for_an_aruna_that_is_down(operator: Operator) -> None:
    bash = shutil.which("bash") or ""
    (operator.directory / "bash").symlink_to(bash)
    said = operator.register("list", PATH=str(operator.directory))
    assert (said.returncode, said.stderr) == (2, "register_webhook.sh: curl is not installed\n")


def test_help_tells_each_exit_status(operator: Operator) -> None:
    said = operator.register("create", "--help")
    statuses = said.stdout.partition("Exit status\n")[2].splitlines()
    assert [line.split()[0] for line in statuses] == ["0", "1", "2", "3", "4"]
    assert operator.register().returncode == 2


@pytest.mark.parametrize(
    "script",
    [
        "register_webhook.sh",
        "deploy/abcd2bioschema",
        "requirements/install",
        "requirements/resolve",
        "tests/deploy/base.sh",
        "tests/deploy/boot.sh",
        "tests/deploy/container.sh",
        ".ci/run",
    ],
)
def test_shellcheck_finds_nothing(tool: Tool, script: str) -> None:
    said = subprocess.run(
        [tool("shellcheck"), str(SCRIPT.parent / script)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout
