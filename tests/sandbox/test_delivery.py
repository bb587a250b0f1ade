"""The sandbox delivers hooks as Aruna 2.0.4 does."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import md5, sha256
from typing import Any

import pytest
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import info_service_pb2 as info_pb2

from sandbox import Dropped, Sandbox
from tests.sandbox.conftest import ABCD, XML, Delivered, Receiver, Stubs


def statuses(sandbox: Sandbox, source: str, hook_id: str) -> list[Any]:
    return [json.loads(kv.value)["status"] for kv in sandbox.hook_status(source, hook_id)]


@pytest.mark.usefixtures("delivered")
def test_the_request_has_aruna_s_headers_and_nothing_else(receiver: Receiver) -> None:
    host = receiver.url.split("/")[2]
    assert receiver.last.headers == [
        ("authorization", "Bearer sandbox-webhook-token"),
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("host", host),
        ("content-length", str(len(receiver.last.body))),
    ]


def test_the_payload_is_what_serde_writes(delivered: Delivered, receiver: Receiver) -> None:
    payload, source = delivered.payload, receiver.last.object
    assert list(payload) == [
        *("hook_id", "object", "secret", "download", "pubkey_serial"),
        *("token", "access_key", "secret_key"),
    ]
    assert list(source) == [
        *("id", "name", "title", "description", "key_values", "relations", "content_len"),
        *("data_class", "created_at", "created_by", "authors", "status", "dynamic", "endpoints"),
        *("hashes", "metadata_license_tag", "data_license_tag", "rule_bindings"),
    ]
    assert source["relations"] == [
        {
            "relation": {
                "Internal": {
                    "resource_id": delivered.project,
                    "resource_variant": 1,
                    "defined_variant": 1,
                    "custom_variant": None,
                    "direction": 1,
                }
            }
        }
    ]
    assert source["authors"][0]["id"] is None
    assert source["endpoints"][0]["variant"] == {"FullSync": {}}
    assert source["hashes"] == [
        {"alg": 1, "hash": md5(XML, usedforsecurity=False).hexdigest()},
        {"alg": 2, "hash": sha256(XML).hexdigest()},
    ]
    assert b", " not in receiver.last.body.replace(b"Title of", b"")


def test_the_secret_is_an_hmac_with_the_public_key_s_text(
    aruna: Stubs, delivered: Delivered
) -> None:
    keys = {key.id: key.key for key in aruna.GetPubkeys(info_pb2.GetPubkeysRequest()).pubkeys}
    message = f"{delivered.source}{delivered.hook_id}".encode()
    digest = hmac.digest(keys[1].encode(), message, sha256)
    assert delivered.payload["secret"] == base64.b64encode(digest).decode()


def test_the_token_s_expiry_is_the_hook_s_timeout(sandbox: Sandbox, receiver: Receiver) -> None:
    project = sandbox.create_project("garden")
    sandbox.register_hook(url=receiver.url, projects=[project], timeout=2_000_000_000.0)
    sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    header, claims, _ = receiver.last.payload["token"].split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {
        "typ": "JWT",
        "alg": "EdDSA",
        "kid": "1",
    }
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"] == 2_000_000_000


def test_deliveries_wait_for_each_other(sandbox: Sandbox, receiver: Receiver) -> None:
    project = sandbox.create_project("garden")
    sandbox.register_hook(url=receiver.url, projects=[project])
    receiver.let_go.clear()
    for name in ("one.xml", "two.xml"):
        sandbox.upload(name, XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.requests("hook"))
    assert len(sandbox.requests("hook")) == 1
    receiver.let_go.set()
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)


@pytest.mark.parametrize("status", [204, 401, 500, 503])
def test_no_status_makes_it_try_again(sandbox: Sandbox, receiver: Receiver, status: int) -> None:
    receiver.status = status
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project])
    source = sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: not sandbox.delivering)
    assert len(receiver.requests) == 1
    assert statuses(sandbox, source, hook_id) == ["RUNNING"]


def test_a_broken_connection_is_the_only_error(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.status = 0
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project])
    source = sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: not sandbox.delivering)
    assert statuses(sandbox, source, hook_id) == [
        {"ERROR": f"error sending request for url ({receiver.url})"}
    ]


def test_two_parents_mean_two_deliveries_with_other_tokens(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    project = sandbox.create_project("garden")
    collection = sandbox.create_collection("col1", project)
    dataset = sandbox.create_dataset("ds1", project)
    sandbox.register_hook(url=receiver.url, projects=[project])
    sandbox.upload("t.xml", XML, parent=collection, second_parent=dataset, labels=ABCD)
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    first, second = (request.payload for request in receiver.requests)
    assert first["secret"] == second["secret"]
    assert first["token"] != second["token"]
    assert first["access_key"] != second["access_key"]
    assert [
        r["relation"]["Internal"]["resource_variant"] for r in receiver.last.object["relations"]
    ] == [2, 3]


def test_a_project_listed_twice_means_two_deliveries(sandbox: Sandbox, receiver: Receiver) -> None:
    project = sandbox.create_project("garden")
    sandbox.register_hook(url=receiver.url, projects=[project, project])
    sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)


def test_a_second_delivery_wipes_what_a_callback_between_them_set(
    sandbox: Sandbox, receiver: Receiver, aruna: Stubs
) -> None:
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project, project])
    added = [models.KeyValue(key="FIRST", value="1", variant=models.KEY_VALUE_VARIANT_LABEL)]
    seen: list[list[Any]] = []

    def call_back(_: object) -> None:
        payload = receiver.last.payload
        aruna.HookCallback(
            hooks_pb2.HookCallbackRequest(
                finished=hooks_pb2.Finished(add_key_values=added),
                secret=payload["secret"],
                hook_id=hook_id,
                object_id=payload["object"]["Object"]["id"],
                pubkey_serial=1,
            )
        )
        seen.append(statuses(sandbox, payload["object"]["Object"]["id"], hook_id))

    sandbox.at("hook", call_back, after=True)
    source = sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    assert seen == [["FINISHED"]]
    assert statuses(sandbox, source, hook_id) == ["RUNNING"]
    assert sandbox.labels(source) == [("ABCD", "true")]


def test_an_overwritten_source_is_delivered_again_under_its_id(
    sandbox: Sandbox, delivered: Delivered, receiver: Receiver
) -> None:
    sandbox.overwrite(delivered.source, XML + b"<!-- -->")
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    assert receiver.last.object["id"] == delivered.source
    assert receiver.last.object["content_len"] == len(XML) + 8
    assert receiver.last.payload["secret"] == delivered.payload["secret"]
    kinds = [kv["variant"] for kv in receiver.last.object["key_values"]]
    assert kinds == [1, 4]
    assert len(sandbox.hook_status(delivered.source, delivered.hook_id)) == 2


def test_a_label_given_at_creation_fires_before_there_is_content(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    project = sandbox.create_project("garden")
    sandbox.register_hook(url=receiver.url, projects=[project], trigger="LABEL_ADDED")
    sandbox.create_object("plants.xml", parent=project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert receiver.last.payload["download"] is None
    assert receiver.last.object["status"] == models.STATUS_INITIALIZING
    assert receiver.last.object["content_len"] == 0


def test_a_label_added_later_replaces_all_key_values(sandbox: Sandbox, receiver: Receiver) -> None:
    project = sandbox.create_project("garden")
    sandbox.register_hook(url=receiver.url, projects=[project], trigger="LABEL_ADDED")
    source = sandbox.upload("plants.xml", XML, parent=project, labels={"garden": "Berlin"})
    sandbox.add_label(source, "ABCD", "true")
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert sandbox.labels(source) == [("ABCD", "true")]
    assert receiver.last.object["key_values"] == [{"key": "ABCD", "value": "true", "variant": 1}]
    assert receiver.last.payload["download"].startswith(sandbox.s3_url)


def test_a_lost_hook_leaves_running_and_sends_nothing(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.aruna.loses = lambda number, _: number == 2
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project])
    sources = [sandbox.upload(f"{n}.xml", XML, parent=project, labels=ABCD) for n in range(3)]
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 3)
    assert [delivery.lost for delivery in sandbox.deliveries] == [False, True, False]
    assert [request.object["id"] for request in receiver.requests] == [sources[0], sources[2]]
    assert statuses(sandbox, sources[1], hook_id) == ["RUNNING"]


def test_with_the_data_proxy_down_no_hook_is_sent_and_none_comes_later(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project], trigger="LABEL_ADDED")
    source = sandbox.upload("plants.xml", XML, parent=project)
    sandbox.aruna.proxy_down = True
    sandbox.add_label(source, "ABCD", "true")
    sandbox.wait_for(lambda: sandbox.deliveries)
    sandbox.aruna.proxy_down = False
    assert [delivery.lost for delivery in sandbox.deliveries] == [True]
    assert statuses(sandbox, source, hook_id) == ["RUNNING"]
    sandbox.add_label(source, "ABCD", "again")
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    assert len(receiver.requests) == 1


def test_a_template_is_filled_in_without_escaping(sandbox: Sandbox, receiver: Receiver) -> None:
    project = sandbox.create_project("garden")
    template = "{{secret}} {{object_id}} {{hook_id}} {{pubkey_serial}} {{name}} {{size}} {{token}}"
    hook_id = sandbox.register_hook(
        url=receiver.url, projects=[project], template=template, method="PUT"
    )
    source = sandbox.upload("plants.xml", XML, parent=project, labels=ABCD)
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert dict(receiver.last.headers)["content-type"] == "text/plain"
    assert receiver.last.method == "PUT"
    assert receiver.last.body.split()[1:6] == [
        source.encode(),
        hook_id.encode(),
        b"1",
        b"plants.xml",
        str(len(XML)).encode(),
    ]


def test_a_hook_status_change_fires_its_hooks(
    sandbox: Sandbox, receiver: Receiver, aruna: Stubs, delivered: Delivered
) -> None:
    follower = sandbox.register_hook(
        url=receiver.url,
        projects=[delivered.project],
        trigger="HOOK_STATUS_CHANGED",
        key="PROCESSING_STATUS",
    )
    added = models.KeyValue(key="PROCESSING_STATUS", value="success", variant=1)
    aruna.HookCallback(
        hooks_pb2.HookCallbackRequest(
            finished=hooks_pb2.Finished(add_key_values=[added]),
            secret=delivered.payload["secret"],
            hook_id=delivered.hook_id,
            object_id=delivered.source,
            pubkey_serial=1,
        )
    )
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    assert receiver.last.payload["hook_id"] == follower


FILTERS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"key_value": {"key": "ABCD", "value": "true", "variant": 1}}, {"name": r"\.xml$"}], "or"),
    ([], "none"),
    ([{"key_value": {"key": "BC", "value": "ru", "variant": 1}}], "part"),
    ([{"key_value": {"key": "^ABCD$", "value": "^true$", "variant": 1}}], "anchored"),
    (
        [
            {"key_value": {"key": "ABCD[", "value": "true", "variant": 1}},
            {"key_value": {"key": "ABCD", "value": "true", "variant": 1}},
        ],
        "broken",
    ),
    ([{"key_value": {"key": "ABCD", "value": "true", "variant": 2}}], "static"),
    ([{"key_value": {"variant": 1}}], "empty"),
]


@pytest.mark.parametrize(
    ("name", "key", "value", "variant", "fired"),
    [
        ("noabcd.xml", None, "", 1, {"or"}),
        ("noabcd.txt", None, "", 1, set()),
        ("abcd.txt", "ABCD", "true", 1, {"or", "part", "anchored", "empty", "broken"}),
        ("xabcdx.txt", "XABCDX", "untrue", 1, {"or", "part", "empty", "broken"}),
        ("stat.txt", "ABCD", "true", 2, {"static"}),
    ],
)
def test_filters_match_anywhere_and_are_ored(
    sandbox: Sandbox,
    aruna: Stubs,
    name: str,
    key: str | None,
    value: str,
    variant: int,
    fired: set[str],
) -> None:
    project = sandbox.create_project("garden")
    sandbox.at("hook", lambda _: (_ for _ in ()).throw(Dropped), times=None)
    names = {}
    for filters, hook_name in FILTERS:
        external = hooks_pb2.ExternalHook(url="http://127.0.0.1:9/", method=hooks_pb2.METHOD_POST)
        request = hooks_pb2.CreateHookRequest(
            name=hook_name,
            trigger=hooks_pb2.Trigger(
                trigger_type=hooks_pb2.TRIGGER_TYPE_OBJECT_FINISHED,
                filters=[hooks_pb2.Filter(**chosen) for chosen in filters],
            ),
            hook=hooks_pb2.Hook(external_hook=external),
            project_ids=[project],
        )
        metadata = [("authorization", f"Bearer {sandbox.owner_token}")]
        names[aruna.CreateHook(request, metadata=metadata).hook_id] = hook_name
    key_values = [models.KeyValue(key=key, value=value, variant=variant)] if key else []
    sandbox.upload(name, b"x", parent=project, key_values=key_values)
    sandbox.wait_for(lambda: not sandbox.delivering)
    assert {names[delivery.hook_id] for delivery in sandbox.deliveries} == fired
