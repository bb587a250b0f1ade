"""A service at work, watched: what stands in its log and its metrics after real jobs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.running import Running
from tests.whole import Whole


def lines(service: Running) -> list[dict[str, Any]]:
    """The service's log, each line an object."""
    return [json.loads(line) for line in service.logged().splitlines()]


def secrets(sandbox: Sandbox) -> set[str]:
    """All that the sandbox lent the service."""
    lent = set()
    for delivered in sandbox.deliveries:
        payload = json.loads(delivered.body)
        lent |= {payload[name] for name in ("token", "access_key", "secret_key", "secret")}
        lent.add(payload["download"].partition("?")[2])
    return lent


def test_the_log_of_jobs_that_go_well_and_badly_tells_all_and_no_secret(
    sandbox: Sandbox, start_service: Any
) -> None:
    service = start_service(TRANSFORMER="gfbio", LOG_LEVEL="debug", STATUS_TOKEN="status-token")
    whole = Whole.of(sandbox, service)
    good = whole.upload("plants.xml", SAMPLE)
    bad = whole.upload("page.xml", b"<html>no specimens here</html>")
    whole.wait_for_callback(good, bad)
    service.session.get(f"{service.url}/relay/{'x' * 43}/plants.xml?secret=in-a-query", timeout=5)
    service.session.get(f"{service.url}/status", auth=("a", "wrong-password"), timeout=5)
    service.post(b'{"token": "broken-off-token')
    service.stop()
    logged = service.logged()
    transformations = sandbox.requests("gfbio.transform")
    mine = {*secrets(sandbox), service.environment["WEBHOOK_TOKEN"], "status-token"}
    mine |= {urlsplit(call.details["url"]).path.split("/")[2] for call in transformations}
    mine |= {"x" * 43, "in-a-query", "wrong-password", "broken-off-token"}
    assert len(mine) >= 14
    assert {secret for secret in mine if secret in logged} == set()
    assert "X-Amz-Signature=" not in logged
    ends = {line["object_id"]: line for line in lines(service) if line["event"].startswith("job.")}
    assert ends[good]["event"] == "job.succeeded"
    assert ends[bad]["event"] == "job.failed"
    assert ends[bad]["code"] == "invalid_input"
    for line in ends.values():
        assert {"time", "level", "logger", "job_id", "hook_id", "attempt"} <= set(line)


def test_the_metrics_tell_what_the_jobs_did(whole: Whole) -> None:
    whole.wait_for_callback(whole.upload("plants.xml", SAMPLE))
    answer = whole.service.session.get(f"{whole.service.url}/metrics", timeout=5)
    found = {
        (sample.name.removeprefix("abcd2bioschema_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["hooks_total", "accepted"] == 1
    assert found["bytes_total", "in"] == len(SAMPLE)
    assert found["bytes_total", "out"] > 0
    assert found["parts_in_flight",] == 0
    stages = ("ready", "download", "transform", "create", "upload")
    assert {stage: found["stage_seconds_count", stage] for stage in stages} == dict.fromkeys(
        stages, 1
    )
