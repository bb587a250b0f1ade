"""What an object's key-values say of a hook, in all the forms in which Aruna writes them."""

from __future__ import annotations

import json

import pytest
from aruna.api.hooks.services.v2 import hooks_service_pb2
from aruna.api.storage.models.v2 import models_pb2

from pipeline.reconcile.lost import Criteria, Why, why_lost

HOOK_ID = "01JHHKABCDEFGHJKMNPQRSTVW0"
MADE = 1_700_000_000
REFUSED = {"ERROR": "error sending request for url (http://127.0.0.1:5/none)"}


def source(*statuses: object, hook_id: str = HOOK_ID, **members: object) -> models_pb2.Object:
    """An object with these statuses of a hook, oldest first; a text stands there as it is."""
    made = models_pb2.Object(
        **{"name": "plants.xml", "status": models_pb2.STATUS_AVAILABLE, **members}
    )
    made.created_at.FromSeconds(MADE)
    for status in statuses:
        text = status if isinstance(status, str) else json.dumps(status)
        made.key_values.add(
            key=hook_id, value=text, variant=models_pb2.KEY_VALUE_VARIANT_HOOK_STATUS
        )
    return made


def judged(
    one: models_pb2.Object, *, before: float = MADE, filters: tuple[object, ...] | None = None
) -> Why | None:
    """What is said of it; with ``filters`` unseen objects are asked for too."""
    hook = hooks_service_pb2.HookInfo(hook_id=HOOK_ID)
    hook.trigger.filters.extend(filters or ())
    return why_lost(one, hook, Criteria(before, unseen=filters is not None))


def label_filter(key: str, value: str = ".*", variant: int = 1) -> hooks_service_pb2.Filter:
    """A filter for a key-value, as a hook is registered with."""
    wanted = models_pb2.KeyValue(key=key, value=value, variant=variant)
    return hooks_service_pb2.Filter(key_value=wanted)


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        ([{"name": "h", "status": "RUNNING", "trigger": {}}], Why.RUNNING),
        ([{"status": REFUSED}], Why.ERROR),
        ([{"status": "FINISHED"}], None),
        ([{"status": {"ERROR": "rules were not met"}}], None),
        ([{"status": {"ERROR": None}}], None),
        ([{"status": 1}], None),
        ([{}], None),
        ([[]], None),
        (["no JSON"], None),
        ([{"status": "FINISHED"}, {"status": "RUNNING"}], Why.RUNNING),
        ([{"status": "RUNNING"}, {"status": "FINISHED"}], None),
        ([], None),
    ],
)
def test_the_newest_status_of_the_hook_decides(statuses: list[object], why: Why | None) -> None:
    assert judged(source(*statuses)) is why


def test_another_hooks_status_says_nothing() -> None:
    assert judged(source({"status": "RUNNING"}, hook_id="01JHHKABCDEFGHJKMNPQRSTVW9")) is None


def test_the_time_it_was_made_is_the_limit() -> None:
    one = source({"status": "RUNNING"})
    assert judged(one, before=MADE) is Why.RUNNING
    assert judged(one, before=MADE - 1) is None


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ([label_filter("^ABCD$")], True),
        ([label_filter("BC", "ru")], True),
        ([label_filter("^ABCD$", "false")], False),
        ([label_filter("^ABCD$", variant=2)], False),
        ([label_filter("(")], False),
        ([label_filter("("), hooks_service_pb2.Filter(name=r"\.xml$")], True),
        ([hooks_service_pb2.Filter(name="json")], False),
        ([], False),
    ],
)
def test_filters_match_as_arunas_do(filters: list[object], matches: bool) -> None:
    one = source()
    one.key_values.add(key="ABCD", value="true", variant=models_pb2.KEY_VALUE_VARIANT_LABEL)
    assert judged(one, filters=tuple(filters)) is (Why.UNSEEN if matches else None)
