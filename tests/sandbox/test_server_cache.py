"""What Aruna 2.0.4's server knows from its cache alone, and loses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import md5, sha256

import pytest
import requests
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2
from aruna.api.storage.services.v2 import relations_service_pb2 as relations_pb2

from sandbox import Sandbox
from tests.sandbox.conftest import ABCD, XML, Receiver, Stubs, bearer, refusal
from tests.sandbox.test_objects import NO_RIGHT

HASHES = {md5(XML, usedforsecurity=False).hexdigest(), sha256(XML).hexdigest()}


@pytest.fixture
def garden(sandbox: Sandbox) -> str:
    """A project."""
    return sandbox.create_project("garden")


def origin(source: str) -> models.Relation:
    return models.Relation(
        internal=models.InternalRelation(
            resource_id=source, resource_variant=4, defined_variant=2, direction=2
        )
    )


def create(name: str, project: str, *sources: str) -> objects_pb2.CreateObjectRequest:
    relations = [origin(source) for source in sources]
    label = models.KeyValue(key="ABCD", value="true", variant=models.KEY_VALUE_VARIANT_LABEL)
    return objects_pb2.CreateObjectRequest(
        name=name, data_class=1, project_id=project, relations=relations, key_values=[label]
    )


@dataclass(frozen=True)
class Scene:
    """A source in a project, whose hook has been delivered, and what can be done there."""

    sandbox: Sandbox
    aruna: Stubs
    receiver: Receiver
    project: str
    source: str


def call_back(scene: Scene) -> None:
    scene.aruna.HookCallback(
        hooks_pb2.HookCallbackRequest(
            finished=hooks_pb2.Finished(),
            secret=scene.receiver.last.payload["secret"],
            hook_id=scene.receiver.last.payload["hook_id"],
            object_id=scene.source,
            pubkey_serial=1,
        )
    )


def give_a_label(scene: Scene) -> None:
    scene.sandbox.add_label(scene.source, "late", "1")


def restart(scene: Scene) -> None:
    scene.sandbox.restart_server()


def create_its_result(scene: Scene) -> None:
    request = create("plants.json", scene.project, scene.source)
    scene.aruna.CreateObject(request, metadata=bearer(scene.sandbox.owner_token))


@pytest.mark.parametrize("wipe", [call_back, give_a_label, restart, create_its_result])
@pytest.mark.parametrize("multipart", [True, False], ids=["multipart", "PutObject"])
def test_the_hashes_of_a_multipart_upload_vanish_and_its_content_stays(
    sandbox: Sandbox,
    aruna: Stubs,
    receiver: Receiver,
    garden: str,
    wipe: Callable[[Scene], None],
    multipart: bool,
) -> None:
    sandbox.register_hook(url=receiver.url, projects=[garden])
    source = sandbox.upload("plants.xml", XML, parent=garden, labels=ABCD, multipart=multipart)
    sandbox.wait_for(lambda: sandbox.object(source).hashes and sandbox.deliveries)
    assert {entry.hash for entry in sandbox.object(source).hashes} == HASHES
    wipe(Scene(sandbox, aruna, receiver, garden, source))
    left = {entry.hash for entry in sandbox.object(source).hashes}
    assert left == (set() if multipart else HASHES)
    assert requests.get(f"{sandbox.s3_url}/garden/plants.xml", timeout=10).content == XML


def test_a_hook_goes_out_while_the_content_is_re_encoded_and_the_hashes_follow(
    sandbox: Sandbox, receiver: Receiver, garden: str
) -> None:
    sandbox.aruna.finalise_seconds = None
    sandbox.register_hook(url=receiver.url, projects=[garden])
    source = sandbox.upload("plants.xml", XML, parent=garden, labels=ABCD, multipart=True)
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert receiver.last.object["hashes"] == []
    assert receiver.last.object["content_len"] == len(XML)
    with requests.get(receiver.last.payload["download"], stream=True, timeout=10) as answer:
        assert answer.headers["content-length"] == str(len(XML))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            answer.content  # noqa: B018 - read
    sandbox.release()
    sandbox.wait_for(lambda: sandbox.object(source).hashes)
    assert requests.get(receiver.last.payload["download"], timeout=10).content == XML


def test_a_hook_that_another_receiver_holds_up_takes_the_hashes_away(
    sandbox: Sandbox, receiver: Receiver, garden: str
) -> None:
    sandbox.aruna.finalise_seconds = None
    sandbox.register_hook(url=receiver.url, projects=[garden])
    receiver.let_go.clear()
    sandbox.upload("other.xml", XML, parent=garden, labels=ABCD)
    sandbox.wait_for(lambda: receiver.requests)
    source = sandbox.upload("plants.xml", XML, parent=garden, labels=ABCD, multipart=True)
    sandbox.release()
    sandbox.wait_for(lambda: sandbox.object(source).hashes)
    receiver.let_go.set()
    sandbox.wait_for(lambda: len(sandbox.deliveries) == 2)
    assert list(sandbox.object(source).hashes) == []
    assert requests.get(f"{sandbox.s3_url}/garden/plants.xml", timeout=10).content == XML


@pytest.fixture
def lost(sandbox: Sandbox, aruna: Stubs, garden: str) -> str:
    """The object that is lost of two which were created side by side."""
    created = create_at_once(sandbox, aruna, create("one.xml", garden), create("two.xml", garden))
    (missing,) = created - set(listed(sandbox, aruna, garden))
    return missing


def create_at_once(
    sandbox: Sandbox, aruna: Stubs, *asked: objects_pb2.CreateObjectRequest
) -> set[str]:
    """Two CreateObject calls, each under way before the other ends: the objects' ids."""
    begun = threading.Barrier(2, timeout=10)
    sandbox.at("create_object", lambda _: begun.wait(), times=2)
    metadata = bearer(sandbox.owner_token)
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda request: aruna.CreateObject(request, metadata=metadata), asked)
        return {answer.object.id for answer in answers}


def listed(sandbox: Sandbox, aruna: Stubs, project: str) -> list[str]:
    """The objects that GetHierarchy shows; GetProject shows the same."""
    metadata = bearer(sandbox.owner_token)
    request = relations_pb2.GetHierarchyRequest(resource_id=project)
    shown = list(aruna.GetHierarchy(request, metadata=metadata).project.object_children)
    found = aruna.GetProject(projects_pb2.GetProjectRequest(project_id=project), metadata=metadata)
    assert shown == [relation.internal.resource_id for relation in found.project.relations]
    return shown


def test_objects_created_side_by_side_in_one_parent_take_each_other_out_of_the_cache(
    sandbox: Sandbox, aruna: Stubs, garden: str, lost: str
) -> None:
    (overlap,) = sandbox.overlapping_creations
    assert overlap.parent_id == garden
    assert {overlap.name, *overlap.others} == {"one.xml", "two.xml"}
    metadata = bearer(sandbox.create_token(project=garden))
    for token in (metadata, bearer(sandbox.owner_token)):
        get = objects_pb2.GetObjectRequest(object_id=lost)
        assert refusal(aruna.GetObject, get, metadata=token) == NO_RIGHT
    with_origin = create("result.json", garden, lost)
    assert refusal(aruna.CreateObject, with_origin, metadata=metadata) == NO_RIGHT


def test_the_data_proxy_and_the_hooks_know_an_object_that_the_cache_has_lost(
    sandbox: Sandbox, receiver: Receiver, garden: str, lost: str
) -> None:
    sandbox.register_hook(url=receiver.url, projects=[garden])
    sandbox.fill(lost, XML)
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert requests.get(receiver.last.payload["download"], timeout=10).content == XML


def create_another(scene: Scene) -> None:
    request = create("next.xml", scene.project)
    scene.aruna.CreateObject(request, metadata=bearer(scene.sandbox.owner_token))


def upload_another(scene: Scene) -> None:
    scene.sandbox.upload("next.xml", XML, parent=scene.project)


@pytest.mark.parametrize("heal", [create_another, upload_another, restart])
def test_a_lost_object_is_back_with_the_next_one_in_its_parent_and_with_a_restart(
    sandbox: Sandbox,
    aruna: Stubs,
    receiver: Receiver,
    garden: str,
    lost: str,
    heal: Callable[[Scene], None],
) -> None:
    heal(Scene(sandbox, aruna, receiver, garden, lost))
    request = objects_pb2.GetObjectRequest(object_id=lost)
    metadata = bearer(sandbox.owner_token)
    assert aruna.GetObject(request, metadata=metadata).object.id == lost
    assert lost in listed(sandbox, aruna, garden)
    assert len(sandbox.overlapping_creations) == 1


def test_creations_in_different_parents_and_one_after_the_other_lose_nothing(
    sandbox: Sandbox, aruna: Stubs, garden: str
) -> None:
    other = sandbox.create_project("other")
    create_at_once(sandbox, aruna, create("one.xml", garden), create("one.xml", other))
    sandbox.aruna.creation_seconds = 0.01
    for name in ("two.xml", "three.xml"):
        metadata = bearer(sandbox.owner_token)
        aruna.CreateObject(create(name, garden), metadata=metadata)
    sandbox.upload("four.xml", XML, parent=garden)
    assert sandbox.overlapping_creations == []
    assert len(listed(sandbox, aruna, garden)) == 4
