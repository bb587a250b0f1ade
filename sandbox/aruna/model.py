"""Aruna's tokens, resources, contents, hooks and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from aruna.api.hooks.services.v2 import hooks_service_pb2 as hooks_pb2
from aruna.api.storage.models.v2 import models_pb2 as models

PROJECT = models.RESOURCE_VARIANT_PROJECT
COLLECTION = models.RESOURCE_VARIANT_COLLECTION
DATASET = models.RESOURCE_VARIANT_DATASET
OBJECT = models.RESOURCE_VARIANT_OBJECT


class Right(IntEnum):
    """What a token may do, each including the ones before it."""

    READ = 1
    APPEND = 2
    WRITE = 3
    ADMIN = 4


@dataclass(frozen=True)
class Token:
    """An API token: a personal one, or one with a right on a single project, as hooks get it."""

    id: str
    user_id: str
    project_id: str | None = None
    right: Right = Right.ADMIN


@dataclass(frozen=True)
class Link:
    """A relation between resources other than BELONGS_TO, as one of them sees it."""

    resource_id: str
    resource_variant: int
    defined_variant: int
    direction: int


@dataclass(frozen=True)
class StoredPart:
    """Bytes that were uploaded in one request; ``key`` is where the store has them, if it does."""

    key: str | None
    size: int
    sha256: str


@dataclass
class Content:
    """What was uploaded to an object; ``whole`` once the data proxy has finished with it."""

    parts: list[StoredPart] = field(default_factory=list)
    whole: bool = True
    checksums: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


@dataclass
class Upload:
    """The multipart upload of a key: Aruna 2.0.4 knows only the last one begun."""

    id: str
    parts: dict[int, StoredPart] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)


@dataclass
class Resource:
    """A project, collection, dataset or object.

    ``message`` holds all but the internal relations. ``proxy_knows_at`` is when the data proxy has
    heard of it, ``stale`` a former state that GetObject still answers until ``stale_until``
    (monotonic seconds).
    """

    message: Any
    variant: int
    parents: list[str] = field(default_factory=list)
    children: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    proxy_knows_at: float = 0.0
    stale: Any = None
    stale_until: float = 0.0
    content: Content | None = None
    upload: Upload | None = None

    @property
    def id(self) -> str:
        """The resource's ULID."""
        return str(self.message.id)

    @property
    def name(self) -> str:
        """The resource's name within its parents."""
        return str(self.message.name)


@dataclass(frozen=True)
class Hook:
    """A registration: what CreateHook was asked for, and by whom."""

    id: str
    owner: str
    request: hooks_pb2.CreateHookRequest
    project_ids: list[str]


@dataclass(frozen=True)
class Credentials:
    """S3 credentials, those of one token; they do not expire with it."""

    access_key: str
    secret_key: str = field(repr=False)
    token: Token
