"""HookCallback as Aruna 2.0.4 takes it: no token, a secret, and its own mistakes."""

from __future__ import annotations

import json
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox import Sandbox
from tests.sandbox.conftest import XML, Delivered, Receiver, Refusal, Stubs, refusal

LABEL = models.KEY_VALUE_VARIANT_LABEL
STATIC = models.KEY_VALUE_VARIANT_STATIC_LABEL
SHORT = Refusal("UNAUTHENTICATED", "Unauthorized : invalid length")
RESET = Refusal("CANCELLED", "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))")
NOT_FOUND = Refusal("INTERNAL", "HookCallback failed : Unable to find key_value")


def kv(key: str, value: str, variant: int = LABEL) -> models.KeyValue:
    return models.KeyValue(key=key, value=value, variant=variant)


def request(delivered: Delivered, **members: Any) -> hooks_pb2.HookCallbackRequest:
    default = {
        "finished": hooks_pb2.Finished(),
        "secret": delivered.payload["secret"],
        "hook_id": delivered.hook_id,
        "object_id": delivered.source,
        "pubkey_serial": 1,
    }
    return hooks_pb2.HookCallbackRequest(**{**default, **members})


def finished(
    delivered: Delivered, add: list[models.KeyValue], remove: list[models.KeyValue] | None = None
) -> hooks_pb2.HookCallbackRequest:
    outcome = hooks_pb2.Finished(add_key_values=add, remove_key_values=remove or [])
    return request(delivered, finished=outcome)


REFUSED: list[tuple[dict[str, Any], Refusal]] = [
    ({"secret": "A" * 43 + "="}, RESET),
    ({"secret": "AAAA"}, RESET),
    ({"secret": ""}, RESET),
    (
        {"secret": "???"},
        Refusal("UNAUTHENTICATED", "Unauthorized : Invalid symbol 63, offset 0."),
    ),
    ({"object_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, RESET),
    ({"hook_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, RESET),
    ({"object_id": "x"}, SHORT),
    ({"hook_id": "x"}, SHORT),
    ({"pubkey_serial": 77}, Refusal("UNAUTHENTICATED", "Unauthorized : No pubkey found")),
    ({"pubkey_serial": 1337}, RESET),
    (
        {"pubkey_serial": 40000},
        Refusal(
            "UNAUTHENTICATED",
            "Unauthorized : out of range integral type conversion attempted",
        ),
    ),
    ({"finished": None}, Refusal("INTERNAL", "HookCallback failed : No status provided")),
    (
        {"finished": hooks_pb2.Finished(add_key_values=[models.KeyValue(key="U", value="1")])},
        Refusal("INTERNAL", "HookCallback failed : Unspecified KeyValueVariant"),
    ),
    (
        {"finished": hooks_pb2.Finished(remove_key_values=[kv("ABCD", "true", STATIC)])},
        Refusal("INTERNAL", "HookCallback failed : Cannot remove static labels."),
    ),
    ({"finished": hooks_pb2.Finished(remove_key_values=[kv("ABCD", "false")])}, NOT_FOUND),
    ({"finished": hooks_pb2.Finished(remove_key_values=[kv("ABCD", ".*")])}, NOT_FOUND),
    (
        {
            "finished": hooks_pb2.Finished(
                add_key_values=[kv("Z", "9")], remove_key_values=[kv("Z", "9")]
            )
        },
        NOT_FOUND,
    ),
]


def test_a_refused_callback_changes_nothing(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered
) -> None:
    before = sandbox.object(delivered.source)
    for members, expected in REFUSED:
        refused = refusal(aruna.HookCallback, request(delivered, **members))
        assert (members, refused) == (members, expected)
    assert sandbox.object(delivered.source) == before
    assert [arrived.accepted for arrived in sandbox.callbacks] == [False] * len(REFUSED)


def test_no_token_is_needed_and_it_may_be_sent_again(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered
) -> None:
    aruna.HookCallback(finished(delivered, [kv("PROCESSING_STATUS", "success")]))
    again = finished(delivered, [kv("PROCESSING_STATUS", "success")])
    aruna.HookCallback(again, metadata=[("authorization", "Bearer garbage")])
    assert sandbox.labels(delivered.source) == [
        ("ABCD", "true"),
        ("PROCESSING_STATUS", "success"),
        ("PROCESSING_STATUS", "success"),
    ]
    aruna.HookCallback(request(delivered, error=hooks_pb2.Error(error="went «wrong»")))
    (status,) = sandbox.hook_status(delivered.source, delivered.hook_id)
    assert json.loads(status.value)["status"] == {"ERROR": "went «wrong»"}
    aruna.HookCallback(request(delivered))
    (status,) = sandbox.hook_status(delivered.source, delivered.hook_id)
    assert status.value == (
        '{"name":"abcd2bioschema","status":"FINISHED","trigger":{"variant":"OBJECT_FINISHED",'
        '"filter":[{"KeyValue":{"key":"^ABCD$","value":".*","variant":"LABEL"}}]}}'
    )


def test_of_two_removals_the_second_hits_a_neighbour(
    sandbox: Sandbox, aruna: Stubs, receiver: Receiver
) -> None:
    project = sandbox.create_project("garden")
    hook_id = sandbox.register_hook(url=receiver.url, projects=[project])
    labels = {"ABCD": "true", "A": "1", "B": "2", "C": "3", "D": "4"}
    source = sandbox.upload("plants.xml", XML, parent=project, labels=labels)
    sandbox.wait_for(lambda: sandbox.deliveries)
    delivered = Delivered(project, source, hook_id, receiver.last.payload)
    aruna.HookCallback(finished(delivered, [kv("Z", "9")], [kv("A", "1"), kv("B", "2")]))
    assert [key for key, _ in sandbox.labels(source)] == ["ABCD", "B", "D", "Z"]
    aruna.HookCallback(finished(delivered, [], [kv("D", "4")]))
    assert [key for key, _ in sandbox.labels(source)] == ["ABCD", "B", "Z"]


def test_a_status_that_a_user_s_update_took_away_is_gone_for_good(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered
) -> None:
    sandbox.add_label(delivered.source, "x", "y")
    assert refusal(aruna.HookCallback, request(delivered)) == Refusal(
        "INTERNAL", "HookCallback failed : Hook status not found"
    )


def test_an_earlier_hook_on_the_same_trigger_loses_its_status(
    sandbox: Sandbox, aruna: Stubs, receiver: Receiver
) -> None:
    project = sandbox.create_project("garden")
    first = sandbox.register_hook(url=receiver.url, projects=[project], name="A")
    second = sandbox.register_hook(url=receiver.url, projects=[project], name="B")
    source = sandbox.upload("plants.xml", XML, parent=project, labels={"ABCD": "true"})
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    of_first, of_second = (received.payload for received in receiver.requests)
    lost = request(Delivered(project, source, first, of_first))
    assert refusal(aruna.HookCallback, lost).message.endswith("Hook status not found")
    aruna.HookCallback(request(Delivered(project, source, second, of_second)))
