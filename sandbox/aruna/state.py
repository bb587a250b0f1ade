"""The state of the sandbox's Aruna: users, resources, hooks and where they belong. One lock."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aruna.api.storage.models.v2 import models_pb2 as models

from sandbox.aruna.model import PROJECT, Creation, Credentials, Hook, Link, Resource, Right, Token
from sandbox.aruna.tokens import KeyPair
from sandbox.aruna.ulid import new_ulid
from sandbox.errors import forbidden, unauthenticated
from sandbox.failpoints import Failpoints
from sandbox.switches import ArunaSwitches

_SERVER_KEY = 1
_PROXY_KEY = 1337


@dataclass(frozen=True)
class Overlap:
    """A CreateObject call that arrived while others were under way in the same parent."""

    parent_id: str
    name: str
    others: tuple[str, ...]


class State:
    """All that Aruna knows. Change it only while holding ``changed``, the one lock."""

    def __init__(self, switches: ArunaSwitches) -> None:
        self.switches = switches
        self.changed = threading.Condition(threading.RLock())
        self.closing = threading.Event()
        self.failpoints = Failpoints(self.changed)
        self.key = KeyPair(_SERVER_KEY)
        self.proxy_key = KeyPair(_PROXY_KEY)
        self.endpoint_id = new_ulid()
        self.s3_url = ""
        self.resources: dict[str, Resource] = {}
        self.buckets: dict[str, str] = {}
        self.hooks: dict[str, Hook] = {}
        self.overlaps: list[Overlap] = []
        self.rights_forgotten_until = 0.0
        self._tokens: dict[str, Token] = {}
        self._credentials: dict[str, Credentials] = {}

    @property
    def pubkeys(self) -> dict[int, str]:
        """The public keys by serial number: the server's and the data proxy's."""
        return {pair.serial: pair.public_text for pair in (self.key, self.proxy_key)}

    def issue_token(
        self, user_id: str, *, project_id: str | None, right: Right, expires: int
    ) -> tuple[Token, str]:
        """A new token and its text; ``expires`` in seconds since the epoch."""
        token = Token(new_ulid(), user_id, project_id, right)
        with self.changed:
            self._tokens[token.id] = token
        return token, self.key.sign(user_id, token.id, expires)

    def authenticate(self, authorization: str | None) -> Token:
        """Whose call this is, by the ``authorization`` header; raises ``Refused``."""
        if authorization is None:
            raise unauthenticated("Token authentication error : Metadata token not found")
        if not authorization.startswith("Bearer "):
            raise unauthenticated("Token authentication error : Authorization flow error")
        claims = self.key.read(authorization.removeprefix("Bearer "))
        with self.changed:
            token = self._tokens.get(claims.token_id) if claims else None
        if token is None:
            raise forbidden("Unauthorized")
        return token

    def issue_credentials(self, token: Token) -> Credentials:
        """S3 credentials for a token: its id is the access key, as in Aruna 2.0.4."""
        with self.changed:
            credentials = Credentials(token.id, secrets.token_hex(15), token)
            self._credentials[token.id] = credentials
            return credentials

    def credentials(self, access_key: str) -> Credentials | None:
        """The credentials with that access key."""
        with self.changed:
            return self._credentials.get(access_key)

    def require(
        self, token: Token, resource_id: str, right: Right, prefix: str = "Unauthorized :"
    ) -> None:
        """Raise ``Refused`` unless ``token`` has ``right`` on a resource (that may not exist)."""
        forgotten = token.project_id and time.monotonic() < self.rights_forgotten_until
        if forgotten or not self.allows(token, resource_id, right):
            raise forbidden(prefix=prefix)

    def allows(self, token: Token, resource_id: str, right: Right) -> bool:
        """Whether ``token`` has ``right`` on a resource."""
        with self.changed:
            for path in self.paths(resource_id, cached=True):
                project = self.resources[path[0]]
                if token.project_id is None and project.message.created_by == token.user_id:
                    return True
                if token.project_id == project.id and token.right >= right:
                    return True
            return False

    def require_personal(self, token: Token) -> None:
        """Raise ``Refused`` unless this is a personal token."""
        if token.project_id is not None:
            raise forbidden()

    def paths(self, resource_id: str, *, cached: bool = False) -> list[list[str]]:
        """Every path from a project down to the resource, as ids, the newest parent's first.

        ``cached``: only those that the server finds in its cache.
        """
        resource = self.resources.get(resource_id)
        if resource is None:
            return []
        if resource.variant == PROJECT:
            return [[resource_id]]
        return [
            [*path, resource_id]
            for parent in reversed(resource.parents)
            if not (cached and resource_id in self.resources[parent].uncached)
            for path in self.paths(parent, cached=cached)
        ]

    def add(self, resource: Resource, parent_id: str | None) -> None:
        """Add a resource, and to its parent."""
        with self.changed:
            self.resources[resource.id] = resource
            if parent_id is None:
                self.buckets[resource.name] = resource.id
            else:
                self.attach(resource, parent_id)
            self.changed.notify_all()

    def attach(self, resource: Resource, parent_id: str) -> None:
        """Give a resource one more parent, which the server reads anew."""
        with self.changed:
            parent = self.resources[parent_id]
            resource.parents.append(parent_id)
            parent.children[resource.name] = resource.id
            parent.uncached.clear()
            for creation in parent.creations:
                creation.children.add(resource.id)
            self.reload(resource)
            self.changed.notify_all()

    @contextmanager
    def creating(self, parent: Resource, name: str) -> Iterator[None]:
        """CreateObject from its arrival to its answer; the object is made within the block.

        Aruna 2.0.4: each call ends by putting the parent, as it has read it, into the cache. Of
        calls that overlap the last one's parent stays there, without the objects of the others.
        """
        with self.changed:
            creation = Creation(name, set(parent.children.values()))
            if parent.creations:
                others = tuple(other.name for other in parent.creations)
                self.overlaps.append(Overlap(parent.id, name, others))
            parent.creations.append(creation)
        try:
            with self.failpoints.call("create_object", parent_id=parent.id, name=name):
                self.closing.wait(self.switches.creation_seconds)
            with self.changed:
                yield
                made = parent.children[name]
                for other in parent.creations:
                    other.children.discard(made)
                parent.uncached = {*parent.children.values()} - creation.children - {made}
        finally:
            with self.changed:
                parent.creations.remove(creation)
                self.changed.notify_all()

    def reload(self, resource: Resource) -> None:
        """The server reads a resource from its database: hashes that were only cached are gone."""
        resource.cached_hashes = []

    def reload_all(self) -> None:
        """The server starts anew."""
        with self.changed:
            for resource in self.resources.values():
                self.reload(resource)
                resource.uncached.clear()
                resource.stale_until = 0.0
            self.changed.notify_all()

    def detach(self, resource: Resource) -> None:
        """Take a resource out of its parents: its name is free again."""
        with self.changed:
            for parent_id in resource.parents:
                self.resources[parent_id].children.pop(resource.name, None)
            self.changed.notify_all()

    def keep_stale(self, resource: Resource) -> None:
        """Before a change: GetObject goes on answering the present state for ``cache_lag``."""
        if self.switches.cache_lag and time.monotonic() >= resource.stale_until:
            resource.stale = self.snapshot_of(resource)
            resource.stale_until = time.monotonic() + self.switches.cache_lag

    def cached(self, resource: Resource) -> Any:
        """What GetObject answers: with a cache that lags, not always the truth."""
        with self.changed:
            if time.monotonic() < resource.stale_until:
                return resource.stale
            return self.snapshot_of(resource)

    def snapshot_of(self, resource: Resource) -> Any:
        """A copy of the resource's message, with all its relations."""
        with self.changed:
            message = type(resource.message)()
            message.CopyFrom(resource.message)
            message.relations.extend(self._relations(resource))
            if resource.cached_hashes:
                message.hashes.extend(resource.cached_hashes)
            return message

    def _relations(self, resource: Resource) -> Iterator[models.Relation]:
        inbound = models.RELATION_DIRECTION_INBOUND
        outbound = models.RELATION_DIRECTION_OUTBOUND
        yield from (_relation(link) for link in resource.links if link.direction == inbound)
        yield from (self._belongs(parent, inbound) for parent in resource.parents)
        yield from (_relation(link) for link in resource.links if link.direction == outbound)
        yield from (self._belongs(child, outbound) for child in resource.cached_children)

    def _belongs(self, resource_id: str, direction: int) -> models.Relation:
        variant = self.resources[resource_id].variant
        belongs_to = models.INTERNAL_RELATION_VARIANT_BELONGS_TO
        return _relation(Link(resource_id, variant, belongs_to, direction))


def _relation(link: Link) -> models.Relation:
    return models.Relation(
        internal=models.InternalRelation(
            resource_id=link.resource_id,
            resource_variant=link.resource_variant,
            defined_variant=link.defined_variant,
            direction=link.direction,
        )
    )
