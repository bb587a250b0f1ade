"""Objects: made, read, changed and deleted over the API, finished by an upload."""

from __future__ import annotations

import time
from collections.abc import Iterable

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2

from sandbox.aruna.create_object import check, message
from sandbox.aruna.delivery import Delivery
from sandbox.aruna.hierarchy import parent_of
from sandbox.aruna.model import OBJECT, Content, Link, Resource, Right, Token
from sandbox.aruna.presigned import download_url, upload_url
from sandbox.aruna.state import State
from sandbox.aruna.triggers import OBJECT_FINISHED, RESOURCE_CREATED, firings, triggers_of
from sandbox.aruna.ulid import new_ulid, ulid_error
from sandbox.errors import internal, invalid

_STATIC = models.KEY_VALUE_VARIANT_STATIC_LABEL


class Objects:
    """ObjectService, and what the data proxy tells Aruna about uploads."""

    def __init__(self, state: State, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery

    def create(
        self, token: Token, request: objects_pb2.CreateObjectRequest
    ) -> objects_pb2.CreateObjectResponse:
        """CreateObject over the API: what overlaps in one parent takes objects out of the cache."""
        parent = parent_of(self._state, token, request)
        with self._state.creating(parent, request.name):
            return self.create_alone(token, request)

    def create_alone(
        self, token: Token, request: objects_pb2.CreateObjectRequest
    ) -> objects_pb2.CreateObjectResponse:
        """CreateObject, overlapping with none: INITIALIZING until the content is uploaded."""
        parent = parent_of(self._state, token, request)
        related = [r.internal for r in request.relations if r.HasField("internal")]
        for relation in related:
            self._state.require(token, relation.resource_id, Right.READ)
        with self._state.changed:
            links = [_link(self._state, relation) for relation in related]
            check(request, parent)
            resource = Resource(message(self._state, token, request, parent), OBJECT, links=links)
            self._add(resource, parent)
            return objects_pb2.CreateObjectResponse(object=self._state.snapshot_of(resource))

    def create_bare(self, token: Token, parent: Resource, name: str) -> Resource:
        """What an upload to a key without an object makes of it: PRIVATE, with empty metadata."""
        request = objects_pb2.CreateObjectRequest(
            name=name,
            data_class=models.DATA_CLASS_PRIVATE,
            metadata_license_tag="AllRightsReserved",
            data_license_tag="AllRightsReserved",
        )
        resource = Resource(message(self._state, token, request, parent), OBJECT)
        self._add(resource, parent)
        resource.proxy_knows_at = time.monotonic()
        return resource

    def add_finished(self, parent_id: str, name: str) -> str:
        """An AVAILABLE object out of nothing, its id; no hook fires."""
        parent = self._state.resources[parent_id]
        owner = Token("", parent.message.created_by)
        request = objects_pb2.CreateObjectRequest(name=name, data_class=parent.message.data_class)
        finished = message(self._state, owner, request, parent)
        finished.status = models.STATUS_AVAILABLE
        self._state.add(Resource(finished, OBJECT), parent_id)
        return str(finished.id)

    def get(
        self, token: Token, request: objects_pb2.GetObjectRequest
    ) -> objects_pb2.GetObjectResponse:
        """GetObject, from a cache that can lag."""
        resource = self._require(token, request.object_id, Right.READ, "ULID conversion error")
        return objects_pb2.GetObjectResponse(object=self._state.cached(resource))

    def get_many(
        self, token: Token, request: objects_pb2.GetObjectsRequest
    ) -> objects_pb2.GetObjectsResponse:
        """GetObjects: all of them, or none if one may not be read."""
        readable = [
            self._require(token, object_id, Right.READ, "ULID conversion error")
            for object_id in request.object_ids
        ]
        return objects_pb2.GetObjectsResponse(
            objects=[self._state.cached(found) for found in readable]
        )

    def download(
        self, token: Token, request: objects_pb2.GetDownloadURLRequest
    ) -> objects_pb2.GetDownloadURLResponse:
        """GetDownloadURL, signed with the credentials of the calling token."""
        self._require(token, request.object_id, Right.READ, "Invalid id")
        credentials = self._state.credentials(token.id) or self._state.issue_credentials(token)
        url = download_url(self._state, self._state.paths(request.object_id)[0], credentials)
        return objects_pb2.GetDownloadURLResponse(url=url)

    def give_upload_url(
        self, token: Token, request: objects_pb2.GetUploadURLRequest
    ) -> objects_pb2.GetUploadURLResponse:
        """GetUploadURL: a PUT of the whole, signed with credentials of the calling token."""
        self._require(token, request.object_id, Right.WRITE, "Invalid id")
        credentials = self._state.credentials(token.id) or self._state.issue_credentials(token)
        url = upload_url(self._state, self._state.paths(request.object_id)[0], credentials)
        return objects_pb2.GetUploadURLResponse(url=url)

    def delete(
        self,
        token: Token,
        request: objects_pb2.DeleteObjectRequest,
    ) -> objects_pb2.DeleteObjectResponse:
        """DeleteObject: not with a hook's token."""
        fault = ulid_error(request.object_id)
        if fault:
            raise invalid(f"Invalid object id : {fault}")
        self._state.require(token, request.object_id, Right.ADMIN, "Unauthorized. :")
        self.remove(self._state.resources[request.object_id])
        return objects_pb2.DeleteObjectResponse()

    def remove(self, resource: Resource) -> None:
        """The object is DELETED and its key is free."""
        with self._state.changed:
            self._state.keep_stale(resource)
            resource.message.status = models.STATUS_DELETED
            self._state.detach(resource)

    def update(
        self, token: Token, request: objects_pb2.UpdateObjectRequest
    ) -> objects_pb2.UpdateObjectResponse:
        """UpdateObject.

        Aruna 2.0.4: added key-values of an AVAILABLE object replace all it had, the hooks' statuses
        too; a removal or a new name makes a new object that takes the place of the old one.
        """
        resource = self._require(token, request.object_id, Right.WRITE, "Invalid object id")
        with self._state.changed:
            initialising = resource.message.status == models.STATUS_INITIALIZING
            revised = not initialising and bool(
                request.remove_key_values or request.HasField("name") or request.force_revision
            )
            if revised:
                resource = self._revise(token, resource, request)
            elif request.add_key_values:
                self._state.keep_stale(resource)
                if not initialising:
                    del resource.message.key_values[:]
                resource.message.key_values.extend(request.add_key_values)
            if request.HasField("description"):
                resource.message.description = request.description
            self._state.reload(resource)
            self._updated(resource, request, revised=revised)
            return objects_pb2.UpdateObjectResponse(
                object=self._state.snapshot_of(resource), new_revision=revised
            )

    def finish(
        self,
        resource: Resource,
        content: Content,
        metadata: Iterable[models.KeyValue],
        *,
        cut_off: bool = False,
    ) -> None:
        """The data proxy has received the content: AVAILABLE, and OBJECT_FINISHED fires.

        ``metadata`` replaces the static labels that an upload's ``x-amz-meta-*`` headers made.
        The hashes of a multipart upload are not known yet. ``cut_off``: the request ends before the
        data proxy notes where the content lies.
        """
        with self._state.changed:
            self._state.keep_stale(resource)
            self._state.reload(resource)
            if not cut_off:
                resource.content = content
            resource.message.status = models.STATUS_AVAILABLE
            resource.message.content_len = content.size
            resource.message.endpoints[0].status = models.REPLICATION_STATUS_FINISHED
            kept = [kv for kv in resource.message.key_values if not _is_metadata(kv)]
            del resource.message.key_values[:]
            resource.message.key_values.extend([*kept, *metadata])
            del resource.message.hashes[:]
            resource.message.hashes.extend(_hashes(content))
            self._fire(resource, {OBJECT_FINISHED})
            self._state.changed.notify_all()

    def cache_hashes(self, resource: Resource, content: Content) -> None:
        """A multipart upload has been re-encoded: Aruna 2.0.4 keeps its hashes in a cache alone."""
        with self._state.changed:
            self._state.keep_stale(resource)
            resource.cached_hashes = _hashes(content)
            self._state.changed.notify_all()

    def _add(self, resource: Resource, parent: Resource) -> None:
        resource.proxy_knows_at = time.monotonic() + self._state.switches.upload_window
        self._state.add(resource, parent.id)
        for link in resource.links:
            _mirror(self._state, resource, link)
            self._state.reload(self._state.resources[link.resource_id])
        self._fire(resource, {RESOURCE_CREATED, *triggers_of(resource.message.key_values)})

    def _revise(
        self, token: Token, old: Resource, request: objects_pb2.UpdateObjectRequest
    ) -> Resource:
        revision = models.Object()
        revision.CopyFrom(old.message)
        revision.id = new_ulid()
        revision.created_by = token.user_id
        revision.created_at.GetCurrentTime()
        revision.name = request.name or revision.name
        for kv in request.remove_key_values:
            if kv not in revision.key_values:
                raise internal("Internal database error : Unable to find key_value")
            revision.key_values.remove(kv)
        revision.key_values.extend(request.add_key_values)
        version = models.INTERNAL_RELATION_VARIANT_VERSION
        newer = Link(old.id, OBJECT, version, models.RELATION_DIRECTION_INBOUND)
        resource = Resource(revision, OBJECT, links=[newer], content=old.content)
        self._state.detach(old)
        parents, old.parents = old.parents, []
        self._state.add(resource, parents[0])
        for parent_id in parents[1:]:
            self._state.attach(resource, parent_id)
        _mirror(self._state, resource, newer)
        return resource

    def _updated(
        self, resource: Resource, request: objects_pb2.UpdateObjectRequest, *, revised: bool
    ) -> None:
        triggers = triggers_of(request.add_key_values) | ({RESOURCE_CREATED} if revised else set())
        self._fire(resource, triggers, request.add_key_values or None)
        self._state.changed.notify_all()

    def _fire(
        self,
        resource: Resource,
        triggers: set[int],
        labels: Iterable[models.KeyValue] | None = None,
    ) -> None:
        snapshot = self._state.snapshot_of(resource)
        for firing in firings(self._state, snapshot, triggers, labels):
            self._delivery.enqueue(firing)

    def _require(self, token: Token, object_id: str, right: Right, complaint: str) -> Resource:
        fault = ulid_error(object_id)
        if fault:
            raise invalid(f"{complaint} : {fault}")
        self._state.require(token, object_id, right)
        return self._state.resources[object_id]


def _hashes(content: Content) -> list[models.Hash]:
    return [
        models.Hash(
            alg=models.Hashalgorithm.Value(f"HASHALGORITHM_{algorithm.upper()}"),
            hash=content.checksums[algorithm],
        )
        for algorithm in ("md5", "sha256")
        if algorithm in content.checksums
    ]


def _link(state: State, relation: models.InternalRelation) -> Link:
    # Aruna 2.0.4 looks up what the other resource is, whatever the request says.
    variant = state.resources[relation.resource_id].variant
    return Link(relation.resource_id, variant, relation.defined_variant, relation.direction)


def _mirror(state: State, resource: Resource, link: Link) -> None:
    other = state.resources[link.resource_id]
    inbound = models.RELATION_DIRECTION_INBOUND
    back = inbound if link.direction != inbound else models.RELATION_DIRECTION_OUTBOUND
    other.links.append(Link(resource.id, OBJECT, link.defined_variant, back))


def _is_metadata(kv: models.KeyValue) -> bool:
    return bool(kv.variant == _STATIC and kv.key.startswith("x-amz-meta-"))
