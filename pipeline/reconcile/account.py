"""What an operator's token may ask of Aruna: hooks, projects, objects, and what a job needs.

Aruna 2.0.4 (source): a personal token is needed; one made for a project may list neither its
owner's hooks nor its S3 credentials.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aruna.api.hooks.services.v2 import hooks_service_pb2, hooks_service_pb2_grpc
from aruna.api.storage.models.v2 import models_pb2
from aruna.api.storage.services.v2 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    info_service_pb2,
    info_service_pb2_grpc,
    object_service_pb2,
    object_service_pb2_grpc,
    project_service_pb2,
    project_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)

from pipeline.aruna.client import (
    CALL_TIMEOUT,
    FORGETFUL_PAUSE,
    FORGETFUL_TRIES,
    ArunaRefused,
    authorization,
    calling,
    open_channel,
)
from pipeline.errors import Stopping

#: What holds objects.
Container: TypeAlias = models_pb2.Project | models_pb2.Collection | models_pb2.Dataset


@dataclass(frozen=True)
class S3Credentials:
    """The S3 credentials of a token at one data proxy."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


class Account:
    """One channel to Aruna for the owner of ``token``; closed by ``close``.

    Every call raises ``ArunaRefused``, or ``Stopping`` if ``stopping`` is set while it waits for
    another try.
    """

    def __init__(self, address: str, token: str, *, stopping: threading.Event) -> None:
        self.token = token
        self._stopping = stopping
        self._channel = open_channel(address)
        self._hooks = hooks_service_pb2_grpc.HooksServiceStub(self._channel)
        self._projects = project_service_pb2_grpc.ProjectServiceStub(self._channel)
        self._collections = collection_service_pb2_grpc.CollectionServiceStub(self._channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(self._channel)
        self._objects = object_service_pb2_grpc.ObjectServiceStub(self._channel)
        self._users = user_service_pb2_grpc.UserServiceStub(self._channel)
        self._status = info_service_pb2_grpc.StorageStatusServiceStub(self._channel)
        self._credentials: dict[str, S3Credentials] = {}
        self._key: models_pb2.Pubkey | None = None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def owned_hooks(self) -> Sequence[hooks_service_pb2.HookInfo]:
        """The hooks that the token's owner has registered (no user id: the caller's own)."""
        request = hooks_service_pb2.ListOwnedHooksRequest()
        infos: Sequence[hooks_service_pb2.HookInfo]
        infos = self._ask(self._hooks.ListOwnedHooks, request).infos
        return infos

    def project_hooks(self, project_id: str) -> Sequence[hooks_service_pb2.HookInfo]:
        """All hooks on a project, whoever registered them; needs the right ADMIN."""
        request = hooks_service_pb2.ListProjectHooksRequest(project_id=project_id)
        infos: Sequence[hooks_service_pb2.HookInfo]
        infos = self._ask(self._hooks.ListProjectHooks, request).infos
        return infos

    def get_project(self, project_id: str) -> Container:
        """A project, its relations to what it holds among them."""
        request = project_service_pb2.GetProjectRequest(project_id=project_id)
        return self._ask(self._projects.GetProject, request).project

    def get_collection(self, collection_id: str) -> Container:
        """A collection, as ``get_project``."""
        request = collection_service_pb2.GetCollectionRequest(collection_id=collection_id)
        return self._ask(self._collections.GetCollection, request).collection

    def get_dataset(self, dataset_id: str) -> Container:
        """A dataset, as ``get_project``."""
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id)
        return self._ask(self._datasets.GetDataset, request).dataset

    def get_objects(
        self, object_ids: Sequence[str], *, tries: int = FORGETFUL_TRIES
    ) -> Sequence[models_pb2.Object]:
        """These objects; Aruna 2.0.4 refuses all of them if one may not be read."""
        request = object_service_pb2.GetObjectsRequest(object_ids=object_ids)
        found: Sequence[models_pb2.Object]
        found = self._ask(self._objects.GetObjects, request, tries).objects
        return found

    def get_object(self, object_id: str) -> models_pb2.Object:
        """The object as Aruna has it now."""
        request = object_service_pb2.GetObjectRequest(object_id=object_id)
        return self._ask(self._objects.GetObject, request).object

    def download_url(self, object_id: str) -> str:
        """A presigned URL of the object's content.

        Aruna 2.0.4 (source): the token's owner must trust the data proxy, as they do once they
        have credentials there: ask for those first.
        """
        request = object_service_pb2.GetDownloadURLRequest(object_id=object_id)
        return str(self._ask(self._objects.GetDownloadURL, request).url)

    def credentials(self, endpoint_id: str) -> S3Credentials:
        """The token's S3 credentials at a data proxy, made if there are none; asked for once.

        Making them anew would end those that earlier jobs still use (source), so a data proxy that
        is merely busy is no reason for it.
        """
        if endpoint_id not in self._credentials:
            try:
                request = user_service_pb2.GetS3CredentialsUserTokenRequest(endpoint_id=endpoint_id)
                given = self._ask(self._users.GetS3CredentialsUserToken, request)
            except ArunaRefused as refusal:
                if "Unauthenticated" not in refusal.message:
                    raise
                request = user_service_pb2.CreateS3CredentialsUserTokenRequest(
                    endpoint_id=endpoint_id
                )
                given = self._ask(self._users.CreateS3CredentialsUserToken, request)
            self._credentials[endpoint_id] = S3Credentials(given.s3_access_key, given.s3_secret_key)
        return self._credentials[endpoint_id]

    def server_key(self) -> models_pb2.Pubkey:
        """The newest public key of the server itself (those of data proxies have a location)."""
        if self._key is None:
            request = info_service_pb2.GetPubkeysRequest()
            keys = self._ask(self._status.GetPubkeys, request).pubkeys
            self._key = max(keys, key=lambda key: (not key.location, key.id))
        return self._key

    def _ask(self, call: Callable[..., Any], request: object, tries: int = FORGETFUL_TRIES) -> Any:
        """The answer; a busy Aruna forgets rights for a moment, so a refusal is asked again."""
        while True:
            tries -= 1
            try:
                with calling():
                    return call(request, timeout=CALL_TIMEOUT, metadata=authorization(self.token))
            except ArunaRefused as refusal:
                if not tries or not refusal.unauthenticated:
                    raise
            if self._stopping.wait(FORGETFUL_PAUSE):
                raise Stopping("the service is stopping")
