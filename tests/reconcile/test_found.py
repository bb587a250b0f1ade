"""What counts as lost, and what is left alone."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import requests
from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna
from pipeline.aruna.hook import Credentials, Hook, secret_is_genuine
from pipeline.journal import Journal, Outcome, State
from sandbox import forbidden, internal
from tests.conftest import SAMPLE
from tests.reconcile.conftest import ABCD, SERVICE_URL, Office
from tests.running import TOKEN


def delivery(office: Office, source: str, *, hashes: bool = True) -> Hook:
    """The hook for that source as Aruna would have sent it."""
    message = office.sandbox.object(source)
    if not hashes:
        del message.hashes[:]
    lent = Credentials("c2VjcmV0", 1, "https://a.example", "t", "a", "s")
    return Hook(office.hook_id, message, lent)


def test_a_lost_hook_becomes_a_job_with_all_that_a_delivery_brings(office: Office) -> None:
    source = office.lose("plants.xml")
    result = office.reconcile("--json")

    assert (result.status, result.objects) == (0, [source])
    (job,) = office.jobs()
    assert (job.state, job.id) == (State.QUEUED, result.found[0]["job_id"])
    hook = job.hook
    assert hook is not None
    assert (hook.hook_id, hook.object) == (office.hook_id, office.sandbox.object(source))
    assert hook.credentials.token == office.sandbox.owner_token
    assert (hook.credentials.access_key, hook.credentials.secret_key) == (
        office.sandbox.owner.credentials.access_key,
        office.sandbox.owner.credentials.secret_key,
    )
    assert requests.get(hook.credentials.download or "", timeout=10).content == SAMPLE
    aruna = Aruna(office.sandbox.grpc_url)
    try:
        assert secret_is_genuine(hook, aruna.public_key(hook.credentials.pubkey_serial) or "")
    finally:
        aruna.close()


def test_the_second_run_finds_nothing(office: Office) -> None:
    office.lose("plants.xml")
    assert len(office.reconcile("--json").objects) == 1
    assert office.reconcile("--json").objects == []
    assert len(office.jobs()) == 1


def test_a_hook_that_did_not_reach_the_service_is_found(office: Office) -> None:
    office.sandbox.aruna.loses = lambda *_: False
    source = office.lose("plants.xml")
    (found,) = office.reconcile("--json", "--dry-run").found
    assert (found["object_id"], found["why"]) == (source, "ERROR")


def test_all_places_of_a_project_are_looked_through(office: Office) -> None:
    sandbox, project = office.sandbox, office.project
    collection = sandbox.create_collection("herbarium", project)
    dataset = sandbox.create_dataset("mosses", collection)
    other = sandbox.create_dataset("ferns", project)
    office.lose("a.xml")
    office.lose("sub/dir/b.xml", parent=collection)
    office.lose("c.xml", parent=dataset, second_parent=other)
    found = office.reconcile("--json", "--dry-run").found

    paths = {record["path"] for record in found}
    assert len(found) == 3
    assert {"garden/a.xml", "garden/herbarium/sub/dir/b.xml"} < paths
    assert paths & {"garden/herbarium/mosses/c.xml", "garden/ferns/c.xml"}


def test_what_is_younger_is_left_for_later(office: Office) -> None:
    office.lose("plants.xml")
    assert office.reconcile("--json", older_than="1h").objects == []
    assert len(office.reconcile("--json", older_than="0").objects) == 1


def test_hooks_that_call_somebody_else_are_left_alone(office: Office) -> None:
    sandbox = office.sandbox
    url = "https://elsewhere.example/webhook"
    sandbox.register_hook(url=url, projects=[office.project], key="^OTHER$")
    source = sandbox.upload("theirs.xml", SAMPLE, parent=office.project, labels={"OTHER": "1"})
    sandbox.wait_for(lambda: not sandbox.delivering)
    before = sandbox.object(source)

    assert office.reconcile("--json").objects == []
    assert (office.jobs(), sandbox.object(source)) == ([], before)


def test_other_peoples_registrations_are_left_alone(office: Office) -> None:
    sandbox, colleague = office.sandbox, office.sandbox.create_user()
    own = sandbox.create_project("own", user=colleague)
    sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[own], user=colleague)
    office.lose("a.xml")
    office.environment.setenv("ARUNA_TOKEN", colleague.token_text)
    result = office.reconcile("--json")
    assert (result.status, result.objects, office.jobs()) == (0, [], [])


def test_without_a_public_url_our_hooks_are_those_with_our_bearer_token(office: Office) -> None:
    office.environment.delenv("PUBLIC_URL")
    office.environment.setenv("GFBIO_TRANSPORT", "direct")
    ours = office.lose("plants.xml")
    office.sandbox.register_hook(
        url=f"{SERVICE_URL}/webhook", projects=[office.project], token="x" * 20, key="^OTHER$"
    )
    office.sandbox.upload("b.xml", SAMPLE, parent=office.project, labels={"OTHER": "1"})
    office.sandbox.wait_for(lambda: not office.sandbox.delivering)
    assert office.reconcile("--json", "--dry-run").objects == [ours]


def test_named_hooks_and_projects_alone_are_looked_at(office: Office) -> None:
    sandbox = office.sandbox
    second = sandbox.create_project("meadow")
    elsewhere = sandbox.register_hook(
        url="https://old.example/webhook", projects=[second], token=TOKEN
    )
    first, other = office.lose("a.xml"), office.lose("b.xml", parent=second)

    assert office.reconcile("--json", "--dry-run", "--hook", elsewhere).objects == [other]
    assert office.reconcile("--json", "--dry-run", "--project", office.project).objects == [first]


def test_a_colleagues_hook_is_found_through_its_project(office: Office) -> None:
    sandbox = office.sandbox
    colleague = sandbox.create_user()
    shared = sandbox.create_project("shared")
    sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[shared], user=sandbox.owner)
    source = office.lose("a.xml", parent=shared)
    for_the_project = sandbox.create_token(project=shared, user=colleague)
    office.environment.setenv("ARUNA_TOKEN", for_the_project)
    assert office.reconcile("--json", "--dry-run", "--project", shared).objects == [source]


def test_a_job_that_is_at_work_is_not_disturbed(office: Office) -> None:
    running, queued = office.lose("a.xml"), office.lose("b.xml")
    with office.journal() as journal:
        # Delivered while Aruna did not know the hashes yet: the content looks like another one.
        journal.enqueue(delivery(office, running, hashes=False))
        journal.claim("another host", 1, 60)
        journal.enqueue(delivery(office, queued))
        before = journal.jobs()
    assert office.reconcile("--json").objects == []
    assert office.jobs() == before


def succeeded(journal: Journal, hook: Hook) -> None:
    """A job of that delivery that has succeeded."""
    job_id = journal.enqueue(hook).job_id
    (held,) = journal.claim("host", 1, 60)
    assert held.job.id == job_id
    held.end(State.SUCCEEDED, Outcome(None))


def test_a_hook_that_was_lost_after_a_success_is_found(office: Office) -> None:
    source = office.lose("a.xml")
    with office.journal() as journal:
        succeeded(journal, delivery(office, source))
    assert office.reconcile("--json").objects == [source]
    assert [job.state for job in office.jobs()] == [State.QUEUED, State.SUCCEEDED]


def test_a_source_that_was_overwritten_since_its_success_is_found(office: Office) -> None:
    source = office.lose("a.xml")
    with office.journal() as journal:
        succeeded(journal, delivery(office, source))
    office.sandbox.overwrite(source, SAMPLE + b"<!-- more -->")
    office.sandbox.wait_for(lambda: not office.sandbox.delivering)
    assert office.reconcile("--json").objects == [source]


def test_a_new_content_whose_hook_was_lost_takes_the_place_of_the_old_ones_job(
    office: Office,
) -> None:
    source = office.lose("a.xml")
    with office.journal() as journal:
        journal.enqueue(delivery(office, source))
    office.sandbox.overwrite(source, SAMPLE + b"<!-- more -->")
    office.sandbox.wait_for(lambda: not office.sandbox.delivering)
    assert office.reconcile("--json").objects == [source]
    codes = [job.outcome and job.outcome.code for job in office.jobs()]
    assert codes == [None, "superseded"]


def test_a_job_that_ended_a_moment_ago_is_left_to_the_next_run(office: Office) -> None:
    source = office.lose("a.xml")
    clock = time.time() + 60
    journal = Journal(office.journal_url, clock=lambda: clock)
    journal.open()
    with closing(journal):
        succeeded(journal, delivery(office, source))
    # Aruna's cache may still show what was before the callback.
    assert office.reconcile("--json").objects == []


@pytest.mark.parametrize("ended", [True, False])
def test_a_job_of_another_hook_hides_no_lost_one(office: Office, ended: bool) -> None:
    source = office.lose("a.xml")
    other = replace(delivery(office, source), hook_id="01JHHKABCDEFGHJKMNPQRSTVW0")
    with office.journal() as journal:
        if ended:
            succeeded(journal, other)
        else:
            journal.enqueue(other)
    assert office.reconcile("--json").objects == [source]


def test_both_hooks_of_an_object_are_found_at_once(office: Office) -> None:
    url = f"{SERVICE_URL}/webhook"
    added = office.sandbox.register_hook(url=url, projects=[office.project], trigger="LABEL_ADDED")
    source = office.lose("a.xml")
    found = office.reconcile("--json").found
    assert {one["object_id"] for one in found} == {source}
    assert {one["hook_id"] for one in found} == {office.hook_id, added}
    assert {job.hook_id for job in office.jobs()} == {office.hook_id, added}


def test_a_job_that_failed_without_a_callback_is_tried_once_more(office: Office) -> None:
    source = office.lose("a.xml")
    with office.journal() as journal:
        journal.enqueue(delivery(office, source))
        (held,) = journal.claim("host", 1, 60)
        outcome = Outcome("callback_failed", "refused")
        held.end(State.FAILED, outcome)
    assert office.reconcile("--json").objects == [source]


def test_results_and_unfinished_objects_are_never_taken_for_sources(office: Office) -> None:
    sandbox = office.sandbox
    sandbox.register_hook(
        url=f"{SERVICE_URL}/webhook",
        projects=[office.project],
        trigger="RESOURCE_CREATED",
    )
    sandbox.upload("a.json", b"{}", parent=office.project, labels={**ABCD, "PROCESSED": "true"})
    sandbox.create_object("later.xml", parent=office.project, labels=ABCD)
    sandbox.wait_for(lambda: not sandbox.delivering)
    result = office.reconcile("--json", "--include-unseen")
    assert (result.objects, office.jobs()) == ([], [])


def test_labelled_before_the_hook_was_there_counts_only_when_asked(office: Office) -> None:
    sandbox = office.sandbox
    early = sandbox.create_project("early")
    source = sandbox.upload("a.xml", SAMPLE, parent=early, labels=ABCD)
    sandbox.upload("b.xml", SAMPLE, parent=early, labels={"ABCDE": "true"})
    sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[early], token=TOKEN)

    assert office.reconcile("--json").objects == []
    (found,) = office.reconcile("--json", "--include-unseen").found
    assert (found["object_id"], found["why"]) == (source, "unseen")
    with office.journal() as journal:
        (held,) = journal.claim("host", 1, 60)
        outcome = Outcome("callback_failed", "the hook's status is gone")
        held.end(State.FAILED, outcome)
    assert office.reconcile("--json", "--include-unseen").objects == []


def test_an_unseen_source_whose_hashes_are_gone_is_still_recognised(office: Office) -> None:
    sandbox = office.sandbox
    sandbox.aruna.finalise_seconds = None
    early = sandbox.create_project("early")
    source = sandbox.upload("a.xml", SAMPLE, parent=early, labels=ABCD, multipart=True)
    assert not sandbox.object(source).hashes
    hook_id = sandbox.register_hook(url=f"{SERVICE_URL}/webhook", projects=[early], token=TOKEN)
    hook = replace(delivery(office, source), hook_id=hook_id)
    hook.object.hashes.add(alg=models_pb2.HASHALGORITHM_SHA256, hash="ab" * 32)
    with office.journal() as journal:
        succeeded(journal, hook)
    assert office.reconcile("--json", "--include-unseen").objects == []


def test_a_delivery_that_was_faster_keeps_its_job(office: Office) -> None:
    source = office.lose("a.xml")

    def arrives(_: Any) -> None:
        with office.journal() as journal:
            journal.enqueue(delivery(office, source))

    office.sandbox.at("grpc.GetDownloadURL", arrives)
    (found,) = office.reconcile("--json").found
    assert found["job_id"] is None
    (job,) = office.jobs()
    assert (job.deliveries, job.hook and job.hook.credentials.token) == (1, "t")


def test_credentials_are_made_only_if_there_are_none(office: Office) -> None:
    office.lose("a.xml")
    office.reconcile()
    assert office.sandbox.requests("grpc.CreateS3CredentialsUserToken") == []

    office.lose("b.xml"), office.lose("c.xml")
    office.environment.setenv("ARUNA_TOKEN", office.sandbox.create_token())
    office.reconcile()
    assert len(office.sandbox.requests("grpc.CreateS3CredentialsUserToken")) == 1
    assert len(office.jobs()) == 3


def test_rights_that_aruna_forgets_for_a_moment_are_asked_for_again(office: Office) -> None:
    source = office.lose("a.xml")

    def forgets(_: Any) -> None:
        raise forbidden()

    for operation in ("ListOwnedHooks", "GetProject", "GetObjects", "GetObject", "GetDownloadURL"):
        office.sandbox.at(f"grpc.{operation}", forgets)
    result = office.reconcile("--json")
    assert (result.status, result.objects) == (0, [source])


def test_one_object_that_may_not_be_read_hides_no_other(office: Office) -> None:
    sources = [office.lose(f"{number}.xml") for number in range(5)]

    def refused(_: Any) -> None:
        raise forbidden()

    # The whole page three times, then its first half, and of that its first object.
    office.sandbox.at("grpc.GetObjects", refused, times=5)
    result = office.reconcile("--json", "--dry-run")
    assert result.status == 1
    assert set(sources) - set(result.objects) == {sources[0]}
    assert result.lines[0].startswith(f"object {sources[0]}: ")


def test_a_data_proxy_that_does_not_answer_is_named_once(office: Office) -> None:
    for number in range(3):
        office.lose(f"{number}.xml")

    def away(_: Any) -> None:
        raise internal("Failed to add endpoint to user : transport error")

    office.sandbox.at("grpc.GetS3CredentialsUserToken", away, times=None)
    result = office.reconcile("--json")
    endpoint = office.sandbox.object(result.objects[0]).endpoints[0].id
    assert (result.status, office.jobs()) == (1, [])
    assert result.lines == [
        f"data proxy {endpoint}: Aruna does not reach the data proxy (Aruna says: Failed to add "
        "endpoint to user : transport error)",
        "Looked at: 3, lost: 3, queued: 0.",
    ]
    assert len(office.sandbox.requests("grpc.GetS3CredentialsUserToken")) == 1


def test_the_token_is_kept_no_longer_than_a_hooks(office: Office) -> None:
    office.lose("a.xml")
    office.reconcile()
    (job,) = office.jobs()
    assert job.token_expires is not None
    assert job.token_expires - time.time() < 366 * 24 * 3600


def test_the_public_key_is_the_servers_own(office: Office) -> None:
    office.lose("a.xml")
    office.reconcile()
    hook = office.jobs()[0].hook
    assert hook is not None
    assert hook.credentials.pubkey_serial == 1
