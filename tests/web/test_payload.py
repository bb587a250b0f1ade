"""The payload of a hook: read in both spellings, refused with the name of what is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aruna.api.storage.models.v2 import models_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aruna.hook import Hook, secret_for, token_expiry
from pipeline.aruna.objects import fingerprint, sha256_of
from pipeline.web.payload import HookRefused, parse_hook
from tests.payloads import OBJECT_ID, PROJECT_ID, SHA256, as_bytes, payload, source, token


def refusal_of(body: bytes) -> HookRefused:
    with pytest.raises(HookRefused) as refused:
        parse_hook(body)
    return refused.value


def answer_to(body: bytes) -> str:
    """``a hook``, or the code of the refusal."""
    try:
        return "a hook" if isinstance(parse_hook(body), Hook) else "nothing"
    except HookRefused as refusal:
        return refusal.code


def test_a_payload_as_aruna_writes_it_is_read_whole() -> None:
    hook = parse_hook(as_bytes(payload()))

    assert hook.object.id == OBJECT_ID
    assert hook.object.relations[0].internal.resource_id == PROJECT_ID
    assert hook.object.relations[1].external.identifier == "https://example.org/plants"
    assert hook.object.authors[0].orcid == "0000-0002-1825-0097"
    assert not hook.object.authors[0].HasField("id")
    assert hook.object.endpoints[0].HasField("full_sync")
    assert hook.object.created_at.ToJsonString() == "2026-11-24T08:47:31.959374Z"
    assert hook.object.status == models_pb2.STATUS_AVAILABLE
    assert sha256_of(hook.object) == SHA256


def test_the_guides_lower_case_spelling_means_the_same() -> None:
    capital = payload()
    lower = copy.deepcopy(capital)
    lower["object"] = {"object": lower["object"].pop("Object")}
    for relation in lower["object"]["object"]["relations"]:
        relation["relation"] = {k.lower(): v for k, v in relation["relation"].items()}

    assert parse_hook(as_bytes(lower)) == parse_hook(as_bytes(capital))


def test_unknown_members_are_ignored_wherever_they_stand() -> None:
    extended = payload(new=1)
    extended["object"]["Object"]["also_new"] = {"deep": [1, 2]}
    extended["object"]["Object"]["authors"][0]["affiliation"] = "x"

    assert parse_hook(as_bytes(extended)).object == parse_hook(as_bytes(payload())).object


def test_a_hook_says_nothing_secret_of_itself() -> None:
    hook = parse_hook(as_bytes(payload()))

    shown = repr(hook)

    for secret in (
        hook.credentials.secret,
        hook.credentials.token,
        hook.credentials.access_key,
        hook.credentials.secret_key,
        "X-Amz",
    ):
        assert secret not in shown


def test_the_content_is_its_length_and_its_hashes() -> None:
    first = parse_hook(as_bytes(payload()))
    longer = parse_hook(as_bytes(payload(object={"Object": source(content_len=1)})))
    other = parse_hook(as_bytes(payload(object={"Object": source(hashes=[])})))

    assert len({fingerprint(hook.object) for hook in (first, longer, other)}) == 3


def test_the_secret_is_computed_as_aruna_does() -> None:
    made = secret_for(
        "01M86BT92Q7S5788XJDMQZHRW2", "01M86BT93Q7RV2ZMN971CZ9549", "MCowBQYDK2VwAyEA"
    )

    assert made == secret_for(
        "01M86BT92Q7S5788XJDMQZHRW2", "01M86BT93Q7RV2ZMN971CZ9549", "MCowBQYDK2VwAyEA"
    )
    assert made != secret_for(
        "01M86BT93Q7RV2ZMN971CZ9549", "01M86BT92Q7S5788XJDMQZHRW2", "MCowBQYDK2VwAyEA"
    )


def test_a_tokens_end_is_read_and_garbage_has_none() -> None:
    assert token_expiry(token(1798102051)) == 1798102051.0
    for garbage in ("", "a.b.c", "eyJ.eyJ", "x" * 5000, "..", "a.bnVsbA.c"):
        assert token_expiry(garbage) is None


@pytest.mark.parametrize("name", ["Project", "Collection", "Dataset", "project"])
def test_other_resources_are_unsupported_and_answered(name: str) -> None:
    refusal = refusal_of(as_bytes(payload(object={name: {"id": OBJECT_ID, "name": "x"}})))

    assert refusal.code == "unsupported_resource"
    assert refusal.hook is not None
    assert refusal.hook.object.id == OBJECT_ID


def test_content_without_a_url_is_refused_and_answered() -> None:
    refusal = refusal_of(as_bytes(payload(download=None)))

    assert (refusal.code, refusal.message[:9]) == ("missing_download_url", "download:")
    assert refusal.hook is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": 1, "content_len": 0, "hashes": []}, "no content"),
        ({"key_values": [{"key": "PROCESSED", "value": "true", "variant": 1}]}, "result"),
    ],
)
def test_what_needs_no_work_says_why(changes: dict[str, Any], why: str) -> None:
    hook = parse_hook(as_bytes(payload(object={"Object": source(**changes)}, download=None)))

    assert why in (hook.why_ignored or "")


def test_a_static_label_processed_is_no_result_of_ours() -> None:
    labels = [{"key": "PROCESSED", "value": "true", "variant": 2}]

    assert (
        parse_hook(as_bytes(payload(object={"Object": source(key_values=labels)}))).why_ignored
        is None
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b"\xff\xfe{}",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"{} {}",
        b'{"hook_id": "\x00"}',
    ],
)
def test_what_is_no_json_is_invalid_json(body: bytes) -> None:
    assert refusal_of(body).code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_no_hook(body: bytes) -> None:
    assert refusal_of(body).code == "invalid_hook"


#: Members by their path, and what must not stand there.
TEXTS = ["hook_id", "secret", "token", "access_key", "secret_key", "object.id", "object.name"]
OPTIONAL_TEXTS = ["object.title", "object.description", "object.data_license_tag", "download"]
NUMBERS = ["pubkey_serial", "object.content_len"]
ENUMS = ["object.status", "object.data_class"]
LISTS = ["object.key_values", "object.relations", "object.authors", "object.hashes"]
OBJECTS = ["object.key_values[0]", "object.relations[0]", "object.authors[0]", "object.hashes[0]"]
NESTED_TEXTS = [
    "object.key_values[0].key",
    "object.key_values[0].value",
    "object.authors[0].first_name",
    "object.authors[0].email",
    "object.hashes[0].hash",
    "object.relations[0].relation.Internal.resource_id",
    "object.relations[1].relation.External.identifier",
]
NESTED_ENUMS = [
    "object.key_values[0].variant",
    "object.hashes[0].alg",
    "object.relations[0].relation.Internal.direction",
    "object.relations[0].relation.Internal.defined_variant",
]
LONE_SURROGATE, NUL = "\ud800", "a\x00b"
NO_TEXT: list[object] = [1, 1.5, True, [], {}, ["x"], {"x": 1}, LONE_SURROGATE, NUL, "x" * 70_000]
NO_NUMBER: list[object] = ["1", 1.5, True, [], {}, -1, 2**64, 10**40, "NaN"]
NO_ENUM: list[object] = ["nonsense", 1.5, True, [], {}, -1, 99, 2**40]
NO_LIST: list[object] = [1, "x", True, {}, {"0": {}}]
NO_TIME: list[object] = ["yesterday", 5, [], "2026-13-01", ""]
NO_OBJECT: list[object] = [1, "x", True, [], [[]]]


def malformed() -> Iterator[tuple[str, object]]:
    for path in [*TEXTS, *OPTIONAL_TEXTS, *NESTED_TEXTS]:
        yield from ((path, value) for value in NO_TEXT)
    for path in NUMBERS:
        yield from ((path, value) for value in NO_NUMBER)
    for path in [*ENUMS, *NESTED_ENUMS]:
        yield from ((path, value) for value in NO_ENUM)
    for path in LISTS:
        yield from ((path, value) for value in NO_LIST)
    for path in OBJECTS:
        yield from ((path, value) for value in NO_OBJECT)
    for path in [*TEXTS, "pubkey_serial"]:
        yield path, None
        yield path, ...
    for path in TEXTS:
        yield path, ""
    for path in ("hook_id", "object.id"):
        yield from ((path, text) for text in ("a b", "ä", "x" * 65, "../x", "x/y", "'--"))
    for time in NO_TIME:
        yield "object.created_at", time


MALFORMED = list(malformed())


def with_member(path: str, value: object) -> dict[str, Any]:
    """The payload with that member set, or without it if the value is ``...``."""
    made = payload()
    steps = path.replace("object.", "object.Object.").replace("[", ".").replace("]", "").split(".")
    holder: Any = made
    for step in steps[:-1]:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    key: Any = int(steps[-1]) if isinstance(holder, list) else steps[-1]
    if value is ...:
        del holder[key]
    else:
        holder[key] = value
    return made


def test_the_table_of_malformed_hooks_is_long_enough() -> None:
    assert len(MALFORMED) >= 300


@pytest.mark.parametrize(("path", "value"), MALFORMED)
def test_a_malformed_member_is_named(path: str, value: object) -> None:
    refusal = refusal_of(as_bytes(with_member(path, value)))

    assert refusal.code == "invalid_hook"
    named = path.replace(".relation.Internal", "").replace(".relation.External", "")
    last = named.rpartition(".")[2].partition("[")[0]
    assert last in refusal.message.partition(" ")[0]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = sorted({path for path, _ in MALFORMED})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JSON_VALUES), min_size=1, max_size=4))
def test_a_mutated_payload_is_a_hook_or_is_refused_by_name(
    changes: list[tuple[str, object]],
) -> None:
    made = payload()
    for path, value in changes:
        made[path.partition(".")[0]] = with_member(path, value)[path.partition(".")[0]]

    assert answer_to(as_bytes(made)) in (
        "a hook",
        "invalid_hook",
        "missing_download_url",
        "unsupported_resource",
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_payload_with_broken_bytes_never_ends_in_anything_but_a_refusal(
    data: st.DataObject,
) -> None:
    body = bytearray(json.dumps(payload()).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    assert answer_to(bytes(body)).startswith(("a hook", "invalid", "missing", "unsupported"))
