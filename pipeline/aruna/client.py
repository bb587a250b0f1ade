"""Aruna over gRPC: the calls that jobs and operators' commands make.

gRPC's errors become ``ArunaRefused`` in one place; what a refusal means is for the caller to say.
A channel is made with the object, so make it after the fork.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
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

from pipeline.aruna.hook import Hook
from pipeline.attempt import Attempt

#: What holds objects.
Container: TypeAlias = models_pb2.Project | models_pb2.Collection | models_pb2.Dataset

#: Seconds a call may take. Aruna 2.0.4: twelve CreateObject at once went unanswered for a minute.
CALL_TIMEOUT = 30.0
#: Bytes of an answer: a project tells of each thing in it, some 40 bytes a thing.
MOST_OF_A_MESSAGE = 64 * 1024 * 1024
#: Aruna 2.0.4: eight to ten CreateObject at once did no harm, twelve did.
CREATES_AT_ONCE = 2
#: Aruna 2.0.4: a busy server forgets a valid token's rights for about a second. So UNAUTHENTICATED
#: is believed after so many tries, with so many seconds between them.
TRIES = 3
TRY_AGAIN_AFTER = 1.0

_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_HOOKS = "aruna.api.hooks.services.v2.HooksService"
# HookCallback is left out: sent twice it sets its labels twice.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [
                    {"service": "aruna.api.storage.services.v2.ObjectService"},
                    {"service": "aruna.api.storage.services.v2.CollectionService"},
                    {"service": "aruna.api.storage.services.v2.DatasetService"},
                    {"service": "aruna.api.storage.services.v2.ProjectService"},
                    {"service": "aruna.api.storage.services.v2.UserService"},
                    {"service": "aruna.api.storage.services.v2.StorageStatusService"},
                    {"service": _HOOKS, "method": "ListOwnedHooks"},
                    {"service": _HOOKS, "method": "ListProjectHooks"},
                ],
                "retryPolicy": _RETRY,
            }
        ]
    }
)
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class ArunaRefused(Exception):
    """A call got no good answer: ``status`` is gRPC's code, ``message`` Aruna's own words."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message

    @property
    def unreachable(self) -> bool:
        """Whether Aruna did not answer at all."""
        return self.status in _UNREACHABLE

    @property
    def unauthenticated(self) -> bool:
        """Whether the token, a right or the thing itself is missing, or was forgotten."""
        return self.status == grpc.StatusCode.UNAUTHENTICATED

    @property
    def callback_refused(self) -> bool:
        """Aruna 2.0.4: the handler panicked, since secret, hook and object don't belong together,
        or the serial or an id is unknown."""
        return self.status in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED)

    @property
    def name_taken(self) -> bool:
        """Aruna 2.0.4: CreateObject tells a taken name only by its message."""
        return "Name is invalid" in self.message or "same hierarchy" in self.message

    @property
    def no_credentials(self) -> bool:
        """Aruna 2.0.4 (source): the data proxy has no S3 credentials of this token yet."""
        return "status: Unauthenticated" in self.message

    @property
    def proxy_silent(self) -> bool:
        """Aruna 2.0.4: the server itself answers, but does not reach the data proxy."""
        return "transport error" in self.message

    @property
    def status_gone(self) -> bool:
        """Aruna 2.0.4: another delivery or an update took the hook status away."""
        return "Hook status not found" in self.message

    @property
    def removal_refused(self) -> bool:
        """Aruna 2.0.4: the label to remove is not there; nothing of the callback was done."""
        return "Unable to find key_value" in self.message or "Cannot remove" in self.message


@dataclass(frozen=True)
class S3Credentials:
    """A token's S3 credentials at one data proxy, and that data proxy's S3 address."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    url: str


class Aruna:
    """One gRPC channel to an Aruna server, TLS for ``https`` addresses; closed by ``close``.

    Every call raises ``ArunaRefused``; those that take an ``attempt`` also what ends the attempt.
    """

    def __init__(self, address: str) -> None:
        self._channel = _channel(address)
        self._objects = object_service_pb2_grpc.ObjectServiceStub(self._channel)
        self._projects = project_service_pb2_grpc.ProjectServiceStub(self._channel)
        self._collections = collection_service_pb2_grpc.CollectionServiceStub(self._channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(self._channel)
        self._hooks = hooks_service_pb2_grpc.HooksServiceStub(self._channel)
        self._users = user_service_pb2_grpc.UserServiceStub(self._channel)
        self._status = info_service_pb2_grpc.StorageStatusServiceStub(self._channel)
        self._creates = threading.BoundedSemaphore(CREATES_AT_ONCE)
        self._keys: dict[int, models_pb2.Pubkey] = {}

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def known_key(self, serial: int) -> str | None:
        """The text of the server's public key with that serial, if it was learnt already."""
        key = self._keys.get(serial)
        return None if key is None else str(key.key)

    def learn_keys(self) -> None:
        """Ask for the server's public keys, unless they are known; raises ``ArunaRefused``."""
        if not self._keys:
            self._read_keys()

    def public_key(self, serial: int) -> str | None:
        """The text of the server's public key with that serial; asked for once, then kept."""
        if serial not in self._keys:
            self._read_keys()
        return self.known_key(serial)

    def newest_key(self) -> models_pb2.Pubkey:
        """The newest public key of the server itself (those of data proxies have a location)."""
        self.learn_keys()
        return max(self._keys.values(), key=lambda key: (not key.location, key.id))

    def get_object(self, token: str, object_id: str, attempt: Attempt) -> models_pb2.Object:
        """The object as Aruna's cache has it, which can lag."""
        request = object_service_pb2.GetObjectRequest(object_id=object_id)
        return _patiently(self._objects.GetObject, request, token, attempt).object

    def get_objects(
        self, token: str, object_ids: Sequence[str], attempt: Attempt, *, tries: int = TRIES
    ) -> Sequence[models_pb2.Object]:
        """These objects; Aruna 2.0.4 refuses all of them if one may not be read."""
        request = object_service_pb2.GetObjectsRequest(object_ids=object_ids)
        found: Sequence[models_pb2.Object]
        found = _patiently(self._objects.GetObjects, request, token, attempt, tries).objects
        return found

    def get_project(self, token: str, project_id: str, attempt: Attempt) -> models_pb2.Project:
        """A project with its relations to what it holds."""
        request = project_service_pb2.GetProjectRequest(project_id=project_id)
        return _patiently(self._projects.GetProject, request, token, attempt).project

    def get_collection(
        self, token: str, collection_id: str, attempt: Attempt
    ) -> models_pb2.Collection:
        """A collection with its name and relations."""
        request = collection_service_pb2.GetCollectionRequest(collection_id=collection_id)
        return _patiently(self._collections.GetCollection, request, token, attempt).collection

    def get_dataset(self, token: str, dataset_id: str, attempt: Attempt) -> models_pb2.Dataset:
        """A dataset with its name and relations, its own parents among them."""
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id)
        return _patiently(self._datasets.GetDataset, request, token, attempt).dataset

    def create_object(
        self, token: str, request: object_service_pb2.CreateObjectRequest, attempt: Attempt
    ) -> models_pb2.Object:
        """A new object without content (INITIALIZING)."""
        with self._creates:
            return _patiently(self._objects.CreateObject, request, token, attempt).object

    def download_url(self, token: str, object_id: str, attempt: Attempt) -> str:
        """A presigned URL of the object's content.

        Aruna 2.0.4 (source): the token's owner must trust the data proxy, as they do once they
        have credentials there: ask for those first.
        """
        request = object_service_pb2.GetDownloadURLRequest(object_id=object_id)
        return str(_patiently(self._objects.GetDownloadURL, request, token, attempt).url)

    def upload_url(self, token: str, object_id: str, attempt: Attempt) -> str:
        """A presigned URL to PUT the object's content to; needs the right WRITE.

        Aruna 2.0.4: tokens for one project, which get no S3 credentials, get one too.
        """
        request = object_service_pb2.GetUploadURLRequest(object_id=object_id)
        return str(_patiently(self._objects.GetUploadURL, request, token, attempt).url)

    def add_label(
        self, token: str, object_id: str, added: models_pb2.KeyValue, attempt: Attempt
    ) -> None:
        """UpdateObject with one label more; needs the right WRITE.

        Aruna 2.0.4: it takes the place of all that an AVAILABLE object had.
        """
        request = object_service_pb2.UpdateObjectRequest(
            object_id=object_id, add_key_values=[added]
        )
        _patiently(self._objects.UpdateObject, request, token, attempt)

    def delete_object(self, token: str, object_id: str, attempt: Attempt) -> None:
        """Delete an object with its content; needs the right ADMIN."""
        request = object_service_pb2.DeleteObjectRequest(object_id=object_id)
        _patiently(self._objects.DeleteObject, request, token, attempt)

    def owned_hooks(self, token: str, attempt: Attempt) -> Sequence[hooks_service_pb2.HookInfo]:
        """The hooks that the token's owner has registered.

        Aruna 2.0.4 (source): only for a personal token, not for one made for a project.
        """
        request = hooks_service_pb2.ListOwnedHooksRequest()  # no user id: the caller's own
        infos: Sequence[hooks_service_pb2.HookInfo]
        infos = _patiently(self._hooks.ListOwnedHooks, request, token, attempt).infos
        return infos

    def project_hooks(
        self, token: str, project_id: str, attempt: Attempt
    ) -> Sequence[hooks_service_pb2.HookInfo]:
        """All hooks on a project, whoever registered them; needs the right ADMIN."""
        request = hooks_service_pb2.ListProjectHooksRequest(project_id=project_id)
        infos: Sequence[hooks_service_pb2.HookInfo]
        infos = _patiently(self._hooks.ListProjectHooks, request, token, attempt).infos
        return infos

    def s3_credentials(
        self, token: str, endpoint_id: str, attempt: Attempt, *, create: bool = True
    ) -> S3Credentials:
        """The token's S3 credentials at a data proxy, by default made if there are none.

        Making them anew would end those that earlier jobs still use (Aruna 2.0.4, source), so a
        data proxy that is merely busy is no reason to. Needs a personal token.
        """
        request = user_service_pb2.GetS3CredentialsUserTokenRequest(endpoint_id=endpoint_id)
        try:
            given = _patiently(self._users.GetS3CredentialsUserToken, request, token, attempt)
        except ArunaRefused as refusal:
            if not create or not refusal.no_credentials:
                raise
            request = user_service_pb2.CreateS3CredentialsUserTokenRequest(endpoint_id=endpoint_id)
            given = _patiently(self._users.CreateS3CredentialsUserToken, request, token, attempt)
        return S3Credentials(given.s3_access_key, given.s3_secret_key, given.s3_endpoint_url)

    def finish_hook(
        self,
        hook: Hook,
        add: Sequence[models_pb2.KeyValue] = (),
        remove: Sequence[models_pb2.KeyValue] = (),
    ) -> None:
        """HookCallback ``finished`` on the object that triggered the hook; needs no token.

        ``remove`` holds one key-value at most (Aruna 2.0.4: of two the wrong one goes).
        """
        request = hooks_service_pb2.HookCallbackRequest(
            finished=hooks_service_pb2.Finished(add_key_values=add, remove_key_values=remove),
            secret=hook.credentials.secret,
            hook_id=hook.hook_id,
            object_id=hook.object.id,
            pubkey_serial=hook.credentials.pubkey_serial,
        )
        with _errors():
            self._hooks.HookCallback(request, timeout=CALL_TIMEOUT)

    def _read_keys(self) -> None:
        with _errors():
            request = info_service_pb2.GetPubkeysRequest()
            answer = self._status.GetPubkeys(request, timeout=CALL_TIMEOUT)
        self._keys = {pubkey.id: pubkey for pubkey in answer.pubkeys}


def _channel(address: str) -> grpc.Channel:
    """A channel to ``http(s)://host[:port]``; nothing is connected before the first call."""
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    target = f"[{host}]" if ":" in host else host
    target += f":{parts.port or (443 if secure else 80)}"
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", MOST_OF_A_MESSAGE),
    ]
    if secure:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target, options)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn gRPC's errors into ``ArunaRefused``."""
    try:
        yield
    except grpc.RpcError as error:
        status = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        details = error.details() if isinstance(error, grpc.Call) else None
        raise ArunaRefused(status, details or "no message") from error


def _patiently(
    call: Callable[..., Any], request: object, token: str, attempt: Attempt, tries: int = TRIES
) -> Any:
    """The call's answer; UNAUTHENTICATED is believed only when it is said again."""
    while True:
        tries -= 1
        try:
            with _errors():
                return call(
                    request,
                    timeout=min(CALL_TIMEOUT, attempt.seconds_left()),
                    metadata=[("authorization", f"Bearer {token}")],  # lower case in gRPC
                )
        except ArunaRefused as refusal:
            if not tries or not refusal.unauthenticated:
                raise
        attempt.wait(TRY_AGAIN_AFTER)
