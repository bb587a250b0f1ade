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
class Upload:
    """The multipart upload of a key: Aruna 2.0.4 knows only the last one begun."""

    id: str
    parts: dict[int, StoredPart] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)
    completed: bool = False


@dataclass
class Content:
    """What the data proxy has of an object.

    ``upload`` is the multipart upload that it comes from, until its parts have been re-encoded.
    """

    parts: list[StoredPart] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)
    upload: Upload | None = None

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


@dataclass(eq=False)
class Creation:
    """A CreateObject call under way, and the children of its parent as the call has read them."""

    name: str
    children: set[str]


@dataclass
class Resource:
    """A project, collection, dataset or object.

    ``message`` is what Aruna's database holds, without the internal relations. ``cached_hashes``
    are in the server's cache alone; ``uncached`` are the children that it lacks there, and
    ``creations`` the CreateObject calls under way. ``proxy_knows_at`` is when the data proxy has
    heard of the object, ``stale`` a former state that GetObject still answers until ``stale_until``
    (monotonic seconds).
    """

    message: Any
    variant: int
    parents: list[str] = field(default_factory=list)
    children: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    cached_hashes: list[models.Hash] = field(default_factory=list)
    uncached: set[str] = field(default_factory=set)
    creations: list[Creation] = field(default_factory=list)
    proxy_knows_at: float = 0.0
    stale: Any = None
    stale_until: float = 0.0
    content: Content | None = None

    @property
    def id(self) -> str:
        """The resource's ULID."""
        return str(self.message.id)

    @property
    def name(self) -> str:
        """The resource's name within its parents."""
        return str(self.message.name)

    @property
    def cached_children(self) -> list[str]:
        """The ids of the children that the server shows and derives rights for."""
        return [child for child in self.children.values() if child not in self.uncached]


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
