"""What a callback changes on the source, and what an attempt's failure leads to."""

from __future__ import annotations

import random

import pytest
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.objects import label
from pipeline.jobs.callback import labels_for
from pipeline.jobs.runner import BACKOFF_MOST, backoff
from pipeline.journal import IGNORED, Outcome


def a_source(*labels: models_pb2.KeyValue) -> models_pb2.Object:
    return models_pb2.Object(key_values=labels)


SUCCESS = Outcome(None)
FAILURE = Outcome("invalid_input", "not ABCD")


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


@pytest.mark.parametrize("attempts", [1, 2, 5, 10, 1000])
def test_the_backoff_grows_with_full_jitter_up_to_its_most(attempts: int) -> None:
    chance = random.Random(1)
    seconds = [backoff(attempts, BACKOFF_MOST, chance) for _ in range(200)]

    most = min(BACKOFF_MOST, 5.0 * 2 ** min(attempts, 30))
    assert 0 <= min(seconds) < most / 10
    assert most * 0.9 < max(seconds) <= most
