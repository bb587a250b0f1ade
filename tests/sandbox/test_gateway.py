"""The REST gateway: protobuf's JSON form, and almost nothing validated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox import Sandbox
from tests.sandbox.conftest import ABCD, XML, Receiver

NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_RIGHT = (
    'Unauthorized : status: Unauthenticated, message: "Invalid permissions", '
    "details: [], metadata: MetadataMap { headers: {} }"
)
FAILED = "Error while creating hook : "


@dataclass(frozen=True)
class Gateway:
    """The gateway with the owner's token."""

    sandbox: Sandbox
    project: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """One request; ``authorization`` replaces the owner's."""
        default = {"authorization": f"Bearer {self.sandbox.owner_token}"}
        return requests.request(
            method,
            f"{self.sandbox.gateway_url}{path}",
            json=body,
            headers={**default, **headers},
            timeout=10,
        )

    def registration(self, **members: Any) -> dict[str, Any]:
        """The body of a CreateHook with some members replaced (``None``: left out)."""
        external = {
            "url": "http://127.0.0.1:5999/ok",
            "method": "METHOD_POST",
            "credentials": {"token": "receiver-token-0123456789"},
            **members.pop("external", {}),
        }
        label = {"key": "ABCD", "value": "true", "variant": "KEY_VALUE_VARIANT_LABEL"}
        trigger = {"triggerType": "TRIGGER_TYPE_OBJECT_FINISHED", "filters": [{"keyValue": label}]}
        body = {
            "name": "ABCD to Bioschemas",
            "description": "d",
            "projectIds": [self.project],
            "timeout": "1798104455676",
            "trigger": trigger,
            "hook": {"externalHook": external},
            **members,
        }
        return {name: value for name, value in body.items() if value is not None}


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway for requests that leave nothing another test could see."""
    with Sandbox() as sandbox:
        yield Gateway(sandbox, sandbox.create_project("garden"))


@pytest.fixture
def gateway(sandbox: Sandbox) -> Gateway:
    """A gateway of the test's own."""
    return Gateway(sandbox, sandbox.create_project("garden"))


@pytest.mark.parametrize(
    "members",
    [
        {"external": {"url": ""}},
        {"external": {"url": "nonsense"}},
        {"timeout": "1000"},
        {"timeout": None},
        {"timeout": "1798104455"},
        {"timeout": 1798104455676},
        {"projectIds": []},
        {"name": ""},
        {"bogus": 1},
        {"trigger": {"triggerType": "TRIGGER_TYPE_OBJECT_FINISHED", "filters": []}},
        {"trigger": {"triggerType": "TRIGGER_TYPE_OBJECT_FINISHED", "filters": [{"name": "["}]}},
        {"external": {"customTemplate": "{{secret}}{{object_id}}{{hook_id}}{{pubkey_serial}}"}},
    ],
)
def test_nothing_of_this_is_refused(shared: Gateway, members: dict[str, Any]) -> None:
    answer = shared.ask("POST", "/v2/hooks", shared.registration(**members))
    assert answer.status_code == 200
    assert list(answer.json()) == ["hookId"]


@pytest.mark.parametrize(
    ("members", "status", "code", "message"),
    [
        ({"trigger": None}, 500, 13, f"{FAILED}No trigger defined"),
        ({"trigger": {"triggerType": "NOPE"}}, 500, 13, f"{FAILED}Invalid trigger type"),
        ({"hook": {}}, 500, 13, f"{FAILED}Invalid hook provided"),
        (
            {"external": {"method": "METHOD_UNSPECIFIED"}},
            500,
            13,
            f"{FAILED}Unspecified external hook reply method",
        ),
        ({"external": {"customTemplate": "{{token}}"}}, 500, 13, f"{FAILED}Invalid template"),
        (
            {"timeout": "9223372036854775808"},
            500,
            13,
            f"{FAILED}out of range integral type conversion attempted",
        ),
        ({"projectIds": ["x"]}, 400, 3, "invalid parent : Invalid id"),
        ({"projectIds": [NOWHERE]}, 401, 16, NO_RIGHT),
    ],
)
def test_what_aruna_refuses_it_refuses_with_these_words(
    shared: Gateway, members: dict[str, Any], status: int, code: int, message: str
) -> None:
    answer = shared.ask("POST", "/v2/hooks", shared.registration(**members))
    assert answer.status_code == status
    assert answer.json() == {"code": code, "message": message, "details": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", f"/v2/hooks/owner/{NOWHERE}", 401, 16, NO_RIGHT),
        ("GET", "/v2/hooks/owner/x", 400, 3, "Invalid user_id : invalid length"),
        ("GET", "/v2/hooks/projects/x", 400, 3, "invalid parent : invalid length"),
        ("GET", f"/v2/hooks/projects/{NOWHERE}", 401, 16, NO_RIGHT),
        ("GET", f"/v2/hooks/project/{NOWHERE}", 404, 5, "Not Found"),
        ("GET", "/v2/nothing", 404, 5, "Not Found"),
        ("PUT", "/v2/hooks", 501, 12, "Method Not Allowed"),
        ("POST", "/v2/hooks/callback", 500, 13, "HookCallback failed : invalid length"),
        ("POST", f"/v2/hooks/{NOWHERE}", 500, 13, "HookCallback failed : Hook not found"),
        ("DELETE", "/v2/hooks/x", 400, 3, "invalid hook id : invalid length"),
        ("DELETE", f"/v2/hooks/{NOWHERE}", 400, 3, "Hook or parent not found : Hook not found"),
    ],
)
def test_errors_have_code_message_and_details(
    shared: Gateway, method: str, path: str, status: int, code: int, message: str
) -> None:
    answer = shared.ask(method, path, {})
    assert (answer.status_code, answer.json()) == (
        status,
        {"code": code, "message": message, "details": []},
    )


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", "Token authentication error : Authorization flow error"),
        ("bearer {}", "Token authentication error : Authorization flow error"),
        ("{}", "Token authentication error : Authorization flow error"),
        (
            "Bearer nope",
            'Unauthorized : status: Unauthenticated, message: "Unauthorized", '
            "details: [], metadata: MetadataMap { headers: {} }",
        ),
    ],
)
def test_bearer_is_case_sensitive(shared: Gateway, authorization: str, message: str) -> None:
    token = authorization.format(shared.sandbox.owner_token)
    answer = shared.ask("POST", "/v2/hooks", shared.registration(), authorization=token)
    assert (answer.status_code, answer.json()["message"]) == (401, message)
    assert answer.headers["www-authenticate"] == message


def test_a_body_that_is_no_json_is_refused(shared: Gateway) -> None:
    url = f"{shared.sandbox.gateway_url}/v2/hooks"
    headers = {"authorization": f"Bearer {shared.sandbox.owner_token}"}
    answer = requests.post(url, data=b"{nope", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_hooks_are_listed_with_their_token_in_clear(gateway: Gateway) -> None:
    registration = gateway.registration()
    hook_id = gateway.ask("POST", "/v2/hooks", registration).json()["hookId"]
    other = gateway.sandbox.create_project("other")
    for _ in range(2):
        added = gateway.ask("POST", f"/v2/hooks/{hook_id}", {"projectIds": [other]})
        assert (added.status_code, added.text) == (200, "{}")
    expected = {**registration, "hookId": hook_id}
    expected["projectIds"] = [gateway.project, other, other]
    for path in ("owner/", f"owner/{gateway.sandbox.owner.id}", f"projects/{other}"):
        assert gateway.ask("GET", f"/v2/hooks/{path}").json() == {"infos": [expected]}
    assert gateway.ask("DELETE", f"/v2/hooks/{hook_id}").status_code == 200
    assert gateway.ask("GET", "/v2/hooks/owner/").json() == {"infos": []}


def test_a_user_can_do_all_that_is_annotated_over_rest(gateway: Gateway) -> None:
    body = {"name": "plants.xml", "dataClass": "DATA_CLASS_PUBLIC", "projectId": gateway.project}
    made = gateway.ask("POST", "/v2/objects", body).json()["object"]
    added = {"key": "a", "value": "1", "variant": "KEY_VALUE_VARIANT_LABEL"}
    path = f"/v2/objects/{made['id']}"
    assert gateway.ask("POST", path, {"addKeyValues": [added]}).status_code == 200
    assert gateway.ask("GET", path).json()["object"]["keyValues"] == [added]
    hierarchy = gateway.ask("GET", f"/v2/relations/{gateway.project}/hierarchy").json()
    assert hierarchy["project"]["objectChildren"] == [made["id"]]
    assert gateway.ask("DELETE", path).status_code == 200
    assert gateway.sandbox.objects_in(gateway.project) == []


def test_proto_names_are_taken_too(gateway: Gateway) -> None:
    body = {
        "name": "n",
        "project_ids": [gateway.project],
        "trigger": {"trigger_type": "TRIGGER_TYPE_LABEL_ADDED"},
        "hook": {"external_hook": {"url": "http://127.0.0.1:1/", "method": "METHOD_PUT"}},
    }
    assert gateway.ask("POST", "/v2/hooks", body).status_code == 200


def test_pubkeys_need_no_token(shared: Gateway) -> None:
    answer = requests.get(f"{shared.sandbox.gateway_url}/v2/info/pubkeys", timeout=10)
    server, proxy = answer.json()["pubkeys"]
    assert (server["id"], server["location"], proxy["id"]) == (1, "", 1337)
    assert server["key"].startswith("MCowBQYDK2VwAyEA")


def test_a_callback_over_rest(gateway: Gateway, receiver: Receiver) -> None:
    sandbox = gateway.sandbox
    hook_id = sandbox.register_hook(url=receiver.url, projects=[gateway.project])
    source = sandbox.upload("plants.xml", XML, parent=gateway.project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    added = {"key": "PROCESSING_STATUS", "value": "success", "variant": "KEY_VALUE_VARIANT_LABEL"}
    body = {
        "finished": {"addKeyValues": [added]},
        "secret": receiver.last.payload["secret"],
        "hookId": hook_id,
        "objectId": source,
        "pubkeySerial": 1,
    }
    url = f"{sandbox.gateway_url}/v2/hooks/callback"
    assert requests.patch(url, json=body, timeout=10).text == "{}"
    assert ("PROCESSING_STATUS", "success") in sandbox.labels(source)
    refused = requests.patch(url, json={**body, "secret": "AAAA"}, timeout=10)
    assert (refused.status_code, refused.json()) == (
        499,
        {
            "code": 1,
            "message": "stream terminated by RST_STREAM with error code: CANCEL",
            "details": [],
        },
    )
    seen = gateway.ask("GET", f"/v2/objects/{source}").json()["object"]
    assert seen["contentLen"] == str(len(XML))
