"""What a callback changes on the source."""

from __future__ import annotations

import pytest
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.objects import label
from pipeline.jobs.callback import labels_for
from pipeline.journal import IGNORED, Outcome


def a_source(*labels: models_pb2.KeyValue) -> models_pb2.Object:
    return models_pb2.Object(key_values=labels)


SUCCESS = Outcome(None)
FAILURE = Outcome("invalid_input", "not ABCD")
DONE, ERROR = label("PROCESSING_STATUS", "success"), label("ERROR", "invalid_input: not ABCD")


def test_success_is_one_label() -> None:
    labels = labels_for(SUCCESS, a_source(label("ABCD", "true")))

    assert labels.add == [label("PROCESSING_STATUS", "success")]
    assert labels.remove == []


def test_a_label_the_source_holds_already_is_not_added_again() -> None:
    labels = labels_for(SUCCESS, a_source(label("PROCESSING_STATUS", "success")))

    assert labels.add == []


def test_a_stale_error_goes_with_the_success_and_only_one_is_removed() -> None:
    stale = [label("ERROR", "timeout: x"), label("ERROR", "download_failed: y")]

    assert labels_for(SUCCESS, a_source(*stale)).remove == stale[:1]


def test_a_failure_names_code_and_message_in_256_characters() -> None:
    labels = labels_for(Outcome("invalid_input", "x" * 1000), a_source())

    (error,) = labels.add
    assert error.key == "ERROR"
    assert error.value.startswith("invalid_input: xxx")
    assert len(error.value) == 256


def test_a_failure_takes_an_older_error_or_success_away() -> None:
    old = label("ERROR", "timeout: x")
    success = label("PROCESSING_STATUS", "success")

    assert labels_for(FAILURE, a_source(success, old)).remove == [old]
    assert labels_for(FAILURE, a_source(success)).remove == [success]


def test_an_ignored_hook_gets_an_empty_callback() -> None:
    labels = labels_for(Outcome(IGNORED, "why"), a_source(label("ERROR", "old")))

    assert (labels.add, labels.remove) == ([], [])


def test_static_labels_are_left_alone() -> None:
    static = models_pb2.KeyValue(
        key="ERROR", value="x", variant=models_pb2.KEY_VALUE_VARIANT_STATIC_LABEL
    )

    assert labels_for(SUCCESS, a_source(static)).remove == []


def test_no_secret_reaches_a_label() -> None:
    leaky = "see https://x.s3.example.org/a?X-Amz-Signature=0123456789abcdef&X-Amz-Date=1"

    (error,) = labels_for(Outcome("upload_failed", leaky), a_source()).add

    assert "0123456789abcdef" not in error.value


@pytest.mark.parametrize(
    ("outcome", "held", "told", "add", "remove"),
    [
        # A job that was put back: the delivery does not show what its first end has told.
        (SUCCESS, [], FAILURE, [DONE], [ERROR]),
        (FAILURE, [], SUCCESS, [ERROR], [DONE]),
        (SUCCESS, [], SUCCESS, [], []),
        (FAILURE, [], FAILURE, [], []),
        (FAILURE, [], Outcome("timeout", "x"), [ERROR], [label("ERROR", "timeout: x")]),
        # What the delivery shows goes first: one removal is all there is.
        (SUCCESS, [label("ERROR", "timeout: x")], FAILURE, [DONE], [label("ERROR", "timeout: x")]),
        (SUCCESS, [], Outcome(IGNORED, "a result"), [DONE], []),
    ],
)
def test_what_aruna_was_told_since_the_delivery_counts_as_held(
    outcome: Outcome,
    held: list[models_pb2.KeyValue],
    told: Outcome,
    add: list[models_pb2.KeyValue],
    remove: list[models_pb2.KeyValue],
) -> None:
    labels = labels_for(outcome, a_source(*held), told)

    assert (labels.add, labels.remove) == (add, remove)
