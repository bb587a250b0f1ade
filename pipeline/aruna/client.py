"""Aruna over gRPC: the calls a job makes, and what Aruna's answers mean.

Foreign errors become ``ArunaRefused`` in one place; what a refusal means for a job is for the
caller to say. A channel is made with the object, so make it after the fork.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
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
)

from pipeline.aruna.hook import Hook
from pipeline.attempt import Attempt

T = TypeVar("T")

#: Seconds a call may take. Aruna 2.0.4: twelve CreateObject at once went unanswered for a minute.
CALL_TIMEOUT = 30.0
#: Bytes of an answer: a project tells of each thing in it, some 40 bytes a thing.
MOST_OF_A_MESSAGE = 64 * 1024 * 1024
#: Aruna 2.0.4: eight to ten CreateObject at once did no harm, twelve did.
CREATES_AT_ONCE = 2
#: Aruna 2.0.4: a busy server forgets a valid token's rights for about a second.
FORGETFUL_TRIES = 3
FORGETFUL_PAUSE = 1.0

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
    def name_taken(self) -> bool:
        """Aruna 2.0.4: CreateObject tells a taken name only by its message."""
        return "Name is invalid" in self.message or "same hierarchy" in self.message

    @property
    def status_gone(self) -> bool:
        """Aruna 2.0.4: another delivery or an update took the hook status away."""
        return "Hook status not found" in self.message

    @property
    def removal_refused(self) -> bool:
        """Aruna 2.0.4: the label to remove is not there; nothing of the callback was done."""
        return "Unable to find key_value" in self.message or "Cannot remove" in self.message


class Aruna:
    """One gRPC channel to an Aruna server, TLS for ``https`` addresses; closed by ``close``."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._objects = object_service_pb2_grpc.ObjectServiceStub(self._channel)
        self._collections = collection_service_pb2_grpc.CollectionServiceStub(self._channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(self._channel)
        self._hooks = hooks_service_pb2_grpc.HooksServiceStub(self._channel)
        self._status = info_service_pb2_grpc.StorageStatusServiceStub(self._channel)
        self._creates = threading.BoundedSemaphore(CREATES_AT_ONCE)
        self._keys: dict[int, str] = {}

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def public_key(self, serial: int) -> str | None:
        """The text of the server's public key with that serial; asked for once, then kept."""
        if serial not in self._keys:
            with calling():
                request = info_service_pb2.GetPubkeysRequest()
                answer = self._status.GetPubkeys(request, timeout=CALL_TIMEOUT)
            self._keys = {pubkey.id: pubkey.key for pubkey in answer.pubkeys}
        return self._keys.get(serial)

    def get_object(self, token: str, object_id: str, attempt: Attempt) -> models_pb2.Object:
        """The object as Aruna's cache has it, which can lag."""
        request = object_service_pb2.GetObjectRequest(object_id=object_id)
        answer = _patiently(self._objects.GetObject, request, token, attempt)
        return answer.object

    def get_collection(
        self, token: str, collection_id: str, attempt: Attempt
    ) -> models_pb2.Collection:
        """A collection with its name."""
        request = collection_service_pb2.GetCollectionRequest(collection_id=collection_id)
        return _patiently(self._collections.GetCollection, request, token, attempt).collection

    def get_dataset(self, token: str, dataset_id: str, attempt: Attempt) -> models_pb2.Dataset:
        """A dataset with its name and its own parents."""
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id)
        return _patiently(self._datasets.GetDataset, request, token, attempt).dataset

    def create_object(
        self, token: str, request: object_service_pb2.CreateObjectRequest, attempt: Attempt
    ) -> models_pb2.Object:
        """A new object without content (INITIALIZING)."""
        with self._creates:
            return _patiently(self._objects.CreateObject, request, token, attempt).object

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
        with calling():
            self._hooks.HookCallback(request, timeout=CALL_TIMEOUT)


def open_channel(address: str) -> grpc.Channel:
    """A channel to ``http(s)://host[:port]``; nothing is connected before the first call."""
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")
    target = f"{host}:{parts.port or (443 if secure else 80)}"
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", MOST_OF_A_MESSAGE),
    ]
    if secure:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target, options)


def authorization(token: str) -> list[tuple[str, str]]:
    """The metadata of a call with that token (keys are lower case in gRPC)."""
    return [("authorization", f"Bearer {token}")]


@contextmanager
def calling() -> Iterator[None]:
    """Turn gRPC's errors into ``ArunaRefused``."""
    try:
        yield
    except grpc.RpcError as error:
        status = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        details = error.details() if isinstance(error, grpc.Call) else None
        raise ArunaRefused(status, details or "no message") from error


def _patiently(call: Callable[..., Any], request: object, token: str, attempt: Attempt) -> Any:
    """The call's answer; UNAUTHENTICATED is believed only when it is said again."""
    for _ in range(FORGETFUL_TRIES - 1):
        try:
            return _once(call, request, token, attempt)
        except ArunaRefused as refusal:
            if not refusal.unauthenticated:
                raise
        attempt.wait(FORGETFUL_PAUSE)
    return _once(call, request, token, attempt)


def _once(call: Callable[..., Any], request: object, token: str, attempt: Attempt) -> Any:
    timeout = min(CALL_TIMEOUT, attempt.seconds_left())
    with calling():
        return call(request, timeout=timeout, metadata=authorization(token))
