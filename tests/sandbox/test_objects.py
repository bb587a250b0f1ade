"""Objects over the API, with the refusals of Aruna 2.0.4 word for word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import requests
from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import collection_service_pb2 as collections_pb2
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2
from aruna.api.storage.services.v2 import project_service_pb2 as projects_pb2
from aruna.api.storage.services.v2 import relations_service_pb2 as relations_pb2
from aruna.api.storage.services.v2 import user_service_pb2 as users_pb2

from sandbox import Right, Sandbox
from tests.sandbox.conftest import XML, Delivered, Refusal, Stubs, bearer, refusal

NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
DATABASE = "Internal database error : "
NO_RIGHT = Refusal(
    "UNAUTHENTICATED",
    'Unauthorized : status: Unauthenticated, message: "Invalid permissions", '
    "details: [], metadata: MetadataMap { headers: {} }",
)
NO_TOKEN = Refusal("UNAUTHENTICATED", "Token authentication error : Metadata token not found")
BAD_TOKEN = Refusal(
    "UNAUTHENTICATED",
    'Unauthorized : status: Unauthenticated, message: "Unauthorized", '
    "details: [], metadata: MetadataMap { headers: {} }",
)
TAKEN = Refusal(
    "INTERNAL",
    f"{DATABASE}Name is invalid: Contains substring that matches same hierarchy object",
)


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Sandbox, Stubs, str]]:
    """A sandbox for all calls that change nothing, its API, and a project."""
    with Sandbox() as sandbox:
        project = sandbox.create_project("garden")
        with grpc.insecure_channel(sandbox.grpc_url.removeprefix("http://")) as channel:
            yield sandbox, Stubs(channel), project


def internal(message: str) -> Refusal:
    return Refusal("INTERNAL", DATABASE + message)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"project_id": NOWHERE}, NO_RIGHT),
        (
            {"project_id": "nonsense"},
            Refusal("INVALID_ARGUMENT", "invalid parent : invalid length"),
        ),
        ({"project_id": None}, Refusal("INVALID_ARGUMENT", "Parent missing.")),
        ({"name": ""}, internal("Invalid object name")),
        ({"name": "plants[1].xml"}, internal("Invalid object name")),
        ({"name": "plänts.xml"}, internal("Invalid object name")),
        ({"name": "a b/plants.xml"}, internal("Invalid path name")),
        (
            {"name": "n" * 512},
            internal("db error: ERROR: value too long for type character varying(511)"),
        ),
        (
            {"title": "t" * 512},
            internal("db error: ERROR: value too long for type character varying(511)"),
        ),
        (
            {"description": "d" * 1024},
            internal("db error: ERROR: value too long for type character varying(1023)"),
        ),
        ({"data_class": 0}, internal("Dataclass not defined")),
        ({"data_class": 3}, internal("Dataclass not defined")),
        ({"data_license_tag": "nope"}, internal("Licenses invalid")),
        ({"authors": [models.Author(first_name="A", id="x")]}, internal("invalid length")),
        (
            {"key_values": [models.KeyValue(key="a", value="b")]},
            internal("KeyValue variant not defined."),
        ),
        (
            {
                "relations": [
                    models.Relation(
                        internal=models.InternalRelation(
                            resource_id=NOWHERE, resource_variant=4, defined_variant=2, direction=2
                        )
                    )
                ]
            },
            NO_RIGHT,
        ),
    ],
)
def test_createobject_refuses_with_aruna_s_words(
    world: tuple[Sandbox, Stubs, str], members: dict[str, Any], expected: Refusal
) -> None:
    sandbox, aruna, project = world
    asked = {"name": "x.json", "data_class": 1, "project_id": project, **members}
    request = objects_pb2.CreateObjectRequest(**asked)
    metadata = bearer(sandbox.owner_token)
    assert refusal(aruna.CreateObject, request, metadata=metadata) == expected
    assert sandbox.objects_in(project) == []


def test_a_taken_name_is_refused_whatever_is_called_so(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    sandbox.create_collection("col1", project)
    sandbox.create_object("first.json", parent=project)
    sandbox.upload("second.json", b"{}", parent=project)
    for name in ("first.json", "second.json", "col1"):
        request = objects_pb2.CreateObjectRequest(name=name, data_class=1, project_id=project)
        metadata = bearer(sandbox.owner_token)
        assert refusal(aruna.CreateObject, request, metadata=metadata) == TAKEN


def test_a_parent_of_another_kind_aborts_the_transaction(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    request = objects_pb2.CreateObjectRequest(name="x", data_class=1, collection_id=project)
    refused = refusal(aruna.CreateObject, request, metadata=bearer(sandbox.owner_token))
    assert refused == internal(
        "db error: ERROR: current transaction is aborted, "
        "commands ignored until end of transaction block"
    )


def test_a_result_and_its_source_know_of_each_other(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered
) -> None:
    origin = models.InternalRelation(
        resource_id=delivered.source, resource_variant=4, defined_variant=2, direction=2
    )
    request = objects_pb2.CreateObjectRequest(
        name="plants.json",
        data_class=1,
        project_id=delivered.project,
        relations=[models.Relation(internal=origin)],
    )
    created = aruna.CreateObject(request, metadata=delivered.token).object
    assert created.status == models.STATUS_INITIALIZING
    assert created.metadata_license_tag == "CC-BY-4.0"
    assert created.endpoints[0].status == models.REPLICATION_STATUS_WAITING
    assert [(r.internal.defined_variant, r.internal.direction) for r in created.relations] == [
        (1, 1),
        (2, 2),
    ]
    seen = sandbox.object(delivered.source).relations
    assert [(r.internal.resource_id, r.internal.defined_variant) for r in seen] == [
        (created.id, 2),
        (delivered.project, 1),
    ]


CALLS: list[tuple[str, Callable[[Delivered], Any], Refusal | None]] = [
    ("GetObject", lambda d: objects_pb2.GetObjectRequest(object_id=d.source), None),
    ("GetObjects", lambda d: objects_pb2.GetObjectsRequest(object_ids=[d.source]), None),
    ("GetDownloadURL", lambda d: objects_pb2.GetDownloadURLRequest(object_id=d.source), None),
    ("GetProject", lambda d: projects_pb2.GetProjectRequest(project_id=d.project), None),
    (
        "CreateCollection",
        lambda d: collections_pb2.CreateCollectionRequest(
            name="hc", data_class=1, project_id=d.project
        ),
        None,
    ),
    (
        "DeleteObject",
        lambda d: objects_pb2.DeleteObjectRequest(object_id=d.source),
        Refusal("UNAUTHENTICATED", NO_RIGHT.message.replace("Unauthorized :", "Unauthorized. :")),
    ),
    ("UpdateObject", lambda d: objects_pb2.UpdateObjectRequest(object_id=d.source), NO_RIGHT),
    (
        "ModifyRelations",
        lambda d: relations_pb2.ModifyRelationsRequest(resource_id=d.source),
        NO_RIGHT,
    ),
    ("ListOwnedHooks", lambda _: hooks_pb2.ListOwnedHooksRequest(), NO_RIGHT),
    (
        "ListProjectHooks",
        lambda d: hooks_pb2.ListProjectHooksRequest(project_id=d.project),
        NO_RIGHT,
    ),
    ("GetObject", lambda _: objects_pb2.GetObjectRequest(object_id=NOWHERE), NO_RIGHT),
    (
        "GetObject",
        lambda _: objects_pb2.GetObjectRequest(object_id="x"),
        Refusal("INVALID_ARGUMENT", "ULID conversion error : invalid length"),
    ),
]


def test_a_hook_s_token_may_append_and_read(aruna: Stubs, delivered: Delivered) -> None:
    for name, request, expected in CALLS:
        call = getattr(aruna, name)
        if expected is None:
            call(request(delivered), metadata=delivered.token)
        else:
            refused = refusal(call, request(delivered), metadata=delivered.token)
            assert (name, refused) == (name, expected)


def test_a_hook_s_token_is_of_no_use_in_another_project(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered
) -> None:
    other = sandbox.create_project("other")
    request = objects_pb2.CreateObjectRequest(name="x.json", data_class=1, project_id=other)
    assert refusal(aruna.CreateObject, request, metadata=delivered.token) == NO_RIGHT


def test_tokens_are_checked(sandbox: Sandbox, aruna: Stubs, delivered: Delivered) -> None:
    request = objects_pb2.GetObjectRequest(object_id=delivered.source)
    token = sandbox.owner_token
    swapped = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    expired = sandbox.create_token(expires_in=-1)
    assert refusal(aruna.GetObject, request) == NO_TOKEN
    for bad in ("garbage", token[:-20], swapped, expired):
        refused = refusal(aruna.GetObject, request, metadata=bearer(bad))
        assert refused == BAD_TOKEN
    without = refusal(aruna.GetObject, request, metadata=[("authorization", token)])
    assert without == Refusal(
        "UNAUTHENTICATED", "Token authentication error : Authorization flow error"
    )


def test_getobject_can_lag(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    source = sandbox.upload("plants.xml", XML, parent=project)
    sandbox.aruna.cache_lag = 60.0
    sandbox.add_label(source, "new", "1")
    answer = aruna.GetObject(
        objects_pb2.GetObjectRequest(object_id=source), metadata=bearer(sandbox.owner_token)
    )
    assert list(answer.object.key_values) == []
    assert sandbox.labels(source) == [("new", "1")]


def test_a_busy_server_can_forget_rights_for_a_moment(
    sandbox: Sandbox, aruna: Stubs, delivered: Delivered, s3_client: Callable[..., Any]
) -> None:
    request = objects_pb2.GetObjectRequest(object_id=delivered.source)
    create = objects_pb2.CreateObjectRequest(
        name="result.json", data_class=1, project_id=delivered.project
    )
    sandbox.forget_rights(60.0)
    assert refusal(aruna.GetObject, request, metadata=delivered.token) == NO_RIGHT
    assert refusal(aruna.CreateObject, create, metadata=delivered.token) == NO_RIGHT
    assert aruna.GetObject(request, metadata=bearer(sandbox.owner_token)).object.name
    assert s3_client(*delivered.keys).head_object(Bucket="garden", Key="plants.xml")
    sandbox.forget_rights(0.0)
    assert aruna.GetObject(request, metadata=delivered.token).object.id == delivered.source
    assert aruna.CreateObject(create, metadata=delivered.token).object.name == "result.json"


def test_with_the_data_proxy_down_there_are_no_s3_credentials(
    sandbox: Sandbox, aruna: Stubs
) -> None:
    project = sandbox.create_project("garden")
    endpoint = sandbox.object(sandbox.upload("plants.xml", XML, parent=project)).endpoints[0].id
    metadata = bearer(sandbox.owner_token)
    sandbox.aruna.proxy_down = True
    for call, request in (
        (aruna.CreateS3CredentialsUserToken, users_pb2.CreateS3CredentialsUserTokenRequest),
        (aruna.GetS3CredentialsUserToken, users_pb2.GetS3CredentialsUserTokenRequest),
    ):
        assert refusal(call, request(endpoint_id=endpoint), metadata=metadata) == Refusal(
            "INTERNAL", "Failed to add endpoint to user : transport error"
        )
    aruna.GetProject(projects_pb2.GetProjectRequest(project_id=project), metadata=metadata)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{sandbox.s3_url}/garden/plants.xml", timeout=10)


def test_a_removed_label_or_a_new_name_makes_a_new_object(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    source = sandbox.upload("plants.xml", XML, parent=project, labels={"a": "1"})
    removed = [models.KeyValue(key="a", value="1", variant=1)]
    answer = aruna.UpdateObject(
        objects_pb2.UpdateObjectRequest(object_id=source, remove_key_values=removed),
        metadata=bearer(sandbox.owner_token),
    )
    assert answer.new_revision
    assert answer.object.id != source
    assert answer.object.name == "plants.xml"
    assert answer.object.relations[0].internal.resource_id == source
    assert answer.object.relations[0].internal.defined_variant == 3
    assert [found.id for found in sandbox.objects_in(project)] == [answer.object.id]
    assert sandbox.content(answer.object.id) == XML


def test_the_hierarchy_repeats_the_resource_s_own_children(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    collection = sandbox.create_collection("col1", project)
    sandbox.create_dataset("ds1", project)
    inside = sandbox.create_object("inside.xml", parent=collection)
    directly = sandbox.create_object("directly.xml", parent=project)
    metadata = bearer(sandbox.owner_token)

    def hierarchy(resource_id: str) -> Any:
        request = relations_pb2.GetHierarchyRequest(resource_id=resource_id)
        return aruna.GetHierarchy(request, metadata=metadata)

    seen = hierarchy(project).project
    assert list(seen.object_children) == [directly]
    assert seen.collection_children[0].origin == project
    assert list(seen.collection_children[0].object_children) == [directly]
    assert seen.dataset_children[0].origin == project
    assert list(hierarchy(collection).collection.object_children) == [inside]


def test_an_operator_gets_download_and_credentials_for_what_they_may_read(
    sandbox: Sandbox, aruna: Stubs, s3_client: Callable[..., Any]
) -> None:
    project = sandbox.create_project("garden")
    source = sandbox.upload("plants.xml", XML, parent=project)
    endpoint = sandbox.object(source).endpoints[0].id
    token = bearer(sandbox.create_token())
    asked = users_pb2.GetS3CredentialsUserTokenRequest(endpoint_id=endpoint)
    assert refusal(aruna.GetS3CredentialsUserToken, asked, metadata=token).code == "INTERNAL"
    created = aruna.CreateS3CredentialsUserToken(
        users_pb2.CreateS3CredentialsUserTokenRequest(endpoint_id=endpoint), metadata=token
    )
    assert aruna.GetS3CredentialsUserToken(asked, metadata=token).s3_access_key == (
        created.s3_access_key
    )
    client = s3_client(created.s3_access_key, created.s3_secret_key)
    assert client.get_object(Bucket="garden", Key="plants.xml")["Body"].read() == XML
    url = aruna.GetDownloadURL(
        objects_pb2.GetDownloadURLRequest(object_id=source), metadata=token
    ).url
    assert "/garden/plants.xml?" in url
    assert created.s3_access_key in url


def test_another_user_s_project_is_closed(sandbox: Sandbox, aruna: Stubs) -> None:
    stranger = sandbox.create_user()
    project = sandbox.create_project("theirs", user=stranger)
    request = projects_pb2.GetProjectRequest(project_id=project)
    refused = refusal(aruna.GetProject, request, metadata=bearer(sandbox.owner_token))
    assert refused == NO_RIGHT
    aruna.GetProject(request, metadata=bearer(stranger.token_text))


def test_a_token_for_one_project_reads_it_alone(sandbox: Sandbox, aruna: Stubs) -> None:
    one, other = sandbox.create_project("one"), sandbox.create_project("other")
    token = bearer(sandbox.create_token(project=one, right=Right.READ))
    aruna.GetProject(projects_pb2.GetProjectRequest(project_id=one), metadata=token)
    request = projects_pb2.GetProjectRequest(project_id=other)
    assert refusal(aruna.GetProject, request, metadata=token) == NO_RIGHT


def test_many_objects_are_made_cheaply_and_read_in_bulk(sandbox: Sandbox, aruna: Stubs) -> None:
    project = sandbox.create_project("garden")
    made = sandbox.populate(project, 1000)
    answer = aruna.GetObjects(
        objects_pb2.GetObjectsRequest(object_ids=made), metadata=bearer(sandbox.owner_token)
    )
    assert [found.id for found in answer.objects] == made
    assert {found.status for found in answer.objects} == {models.STATUS_AVAILABLE}
