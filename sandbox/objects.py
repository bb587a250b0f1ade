"""Objects: made, read, changed and deleted over the API, finished by an upload."""

from __future__ import annotations

import time
from collections.abc import Iterable

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import object_service_pb2 as objects_pb2

from sandbox.containers import parent_of
from sandbox.delivery import Delivery
from sandbox.object_request import check, message
from sandbox.presigned import download_url, upload_url
from sandbox.refusal import internal, invalid
from sandbox.things import OBJECT, Content, Link, Resource, Right, Token
from sandbox.triggers import OBJECT_FINISHED, RESOURCE_CREATED, fired, triggers_of
from sandbox.ulid import fault_of, new_ulid
from sandbox.world import World

_STATIC = models.KEY_VALUE_VARIANT_STATIC_LABEL


class Objects:
    """ObjectService, and what the data proxy tells Aruna about uploads."""

    def __init__(self, world: World, delivery: Delivery) -> None:
        self._world = world
        self._delivery = delivery

    def create(
        self, world: World, token: Token, request: objects_pb2.CreateObjectRequest
    ) -> objects_pb2.CreateObjectResponse:
        """CreateObject: INITIALIZING until its content is uploaded."""
        parent = parent_of(request, world, token)
        related = [r.internal for r in request.relations if r.HasField("internal")]
        for relation in related:
            world.demand(token, relation.resource_id, Right.READ)
        with world.changed:
            links = [_link(world, relation) for relation in related]
            check(request, parent)
            resource = Resource(message(world, token, request, parent), OBJECT, links=links)
            self._add(resource, parent)
            return objects_pb2.CreateObjectResponse(object=world.full(resource))

    def create_bare(self, token: Token, parent: Resource, name: str) -> Resource:
        """What an upload to a key without an object makes of it: PRIVATE, with empty metadata."""
        request = objects_pb2.CreateObjectRequest(
            name=name,
            data_class=models.DATA_CLASS_PRIVATE,
            metadata_license_tag="AllRightsReserved",
            data_license_tag="AllRightsReserved",
        )
        resource = Resource(message(self._world, token, request, parent), OBJECT)
        self._add(resource, parent)
        resource.known_at = time.monotonic()
        return resource

    def add_finished(self, parent_id: str, name: str) -> str:
        """An AVAILABLE object out of nothing, its id; no hook fires."""
        parent = self._world.resources[parent_id]
        owner = Token("", parent.message.created_by)
        request = objects_pb2.CreateObjectRequest(name=name, data_class=parent.message.data_class)
        finished = message(self._world, owner, request, parent)
        finished.status = models.STATUS_AVAILABLE
        self._world.add(Resource(finished, OBJECT), parent_id)
        return str(finished.id)

    def get(
        self, world: World, token: Token, request: objects_pb2.GetObjectRequest
    ) -> objects_pb2.GetObjectResponse:
        """GetObject, from a cache that can lag."""
        resource = self._demand(token, request.object_id, Right.READ, "ULID conversion error")
        return objects_pb2.GetObjectResponse(object=world.shown(resource))

    def get_many(
        self, world: World, token: Token, request: objects_pb2.GetObjectsRequest
    ) -> objects_pb2.GetObjectsResponse:
        """GetObjects: all of them, or none if one may not be read."""
        found = [
            self._demand(token, object_id, Right.READ, "ULID conversion error")
            for object_id in request.object_ids
        ]
        return objects_pb2.GetObjectsResponse(objects=[world.shown(resource) for resource in found])

    def download(
        self, world: World, token: Token, request: objects_pb2.GetDownloadURLRequest
    ) -> objects_pb2.GetDownloadURLResponse:
        """GetDownloadURL, signed with the credentials of the calling token."""
        self._demand(token, request.object_id, Right.READ, "Invalid id")
        credentials = world.credentials(token.id) or world.issue_credentials(token)
        url = download_url(world, world.paths(request.object_id)[0], credentials)
        return objects_pb2.GetDownloadURLResponse(url=url)

    def give_upload_url(
        self, world: World, token: Token, request: objects_pb2.GetUploadURLRequest
    ) -> objects_pb2.GetUploadURLResponse:
        """GetUploadURL: a PUT of the whole, signed with credentials of the calling token."""
        self._demand(token, request.object_id, Right.WRITE, "Invalid id")
        credentials = world.credentials(token.id) or world.issue_credentials(token)
        url = upload_url(world, world.paths(request.object_id)[0], credentials)
        return objects_pb2.GetUploadURLResponse(url=url)

    def delete(
        self,
        world: World,
        token: Token,
        request: objects_pb2.DeleteObjectRequest,
    ) -> objects_pb2.DeleteObjectResponse:
        """DeleteObject: not with a hook's token."""
        fault = fault_of(request.object_id)
        if fault:
            raise invalid(f"Invalid object id : {fault}")
        world.demand(token, request.object_id, Right.ADMIN, "Unauthorized. :")
        self.remove(world.resources[request.object_id])
        return objects_pb2.DeleteObjectResponse()

    def remove(self, resource: Resource) -> None:
        """The object is DELETED and its key is free."""
        with self._world.changed:
            self._world.keep_shown(resource)
            resource.message.status = models.STATUS_DELETED
            self._world.detach(resource)

    def update(
        self, world: World, token: Token, request: objects_pb2.UpdateObjectRequest
    ) -> objects_pb2.UpdateObjectResponse:
        """UpdateObject.

        Aruna 2.0.4: added key-values of an AVAILABLE object replace all it had, the hooks' statuses
        too; a removal or a new name makes a new object that takes the place of the old one.
        """
        resource = self._demand(token, request.object_id, Right.WRITE, "Invalid object id")
        with world.changed:
            initialising = resource.message.status == models.STATUS_INITIALIZING
            revised = not initialising and bool(
                request.remove_key_values or request.HasField("name") or request.force_revision
            )
            if revised:
                resource = self._revise(token, resource, request)
            elif request.add_key_values:
                world.keep_shown(resource)
                if not initialising:
                    del resource.message.key_values[:]
                resource.message.key_values.extend(request.add_key_values)
            if request.HasField("description"):
                resource.message.description = request.description
            self._updated(resource, request, revised=revised)
            return objects_pb2.UpdateObjectResponse(
                object=world.full(resource), new_revision=revised
            )

    def finish(
        self, resource: Resource, content: Content, metadata: Iterable[models.KeyValue]
    ) -> None:
        """The data proxy has received the content: AVAILABLE, and OBJECT_FINISHED fires.

        ``metadata`` replaces the static labels that an upload's ``x-amz-meta-*`` headers made.
        """
        with self._world.changed:
            self._world.keep_shown(resource)
            resource.content, resource.upload = content, None
            resource.message.status = models.STATUS_AVAILABLE
            resource.message.content_len = content.size
            resource.message.endpoints[0].status = models.REPLICATION_STATUS_FINISHED
            kept = [kv for kv in resource.message.key_values if not _is_metadata(kv)]
            del resource.message.key_values[:]
            resource.message.key_values.extend([*kept, *metadata])
            self.set_hashes(resource)
            self._fire(resource, {OBJECT_FINISHED})
            self._world.changed.notify_all()

    def set_hashes(self, resource: Resource) -> None:
        """Aruna learns the content's hashes once the data proxy is done with it."""
        with self._world.changed:
            self._world.keep_shown(resource)
            del resource.message.hashes[:]
            content = resource.content
            for algorithm in ("md5", "sha256"):
                if content and content.whole and algorithm in content.checksums:
                    resource.message.hashes.add(
                        alg=models.Hashalgorithm.Value(f"HASHALGORITHM_{algorithm.upper()}"),
                        hash=content.checksums[algorithm],
                    )
            self._world.changed.notify_all()

    def empty(self, resource: Resource) -> None:
        """CreateMultipartUpload on an AVAILABLE object takes its content away, for good."""
        with self._world.changed:
            resource.content = Content()
            resource.message.content_len = 0
            del resource.message.hashes[:]

    def _add(self, resource: Resource, parent: Resource) -> None:
        resource.known_at = time.monotonic() + self._world.switches.upload_window
        self._world.add(resource, parent.id)
        for link in resource.links:
            _mirror(self._world, resource, link)
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
        self._world.detach(old)
        parents, old.parents = old.parents, []
        self._world.add(resource, parents[0])
        for parent_id in parents[1:]:
            self._world.attach(resource, parent_id)
        _mirror(self._world, resource, newer)
        return resource

    def _updated(
        self, resource: Resource, request: objects_pb2.UpdateObjectRequest, *, revised: bool
    ) -> None:
        triggers = triggers_of(request.add_key_values) | ({RESOURCE_CREATED} if revised else set())
        self._fire(resource, triggers, request.add_key_values or None)
        self._world.changed.notify_all()

    def _fire(
        self,
        resource: Resource,
        triggers: set[int],
        labels: Iterable[models.KeyValue] | None = None,
    ) -> None:
        snapshot = self._world.full(resource)
        for firing in fired(self._world, snapshot, triggers, labels):
            self._delivery.enqueue(firing)

    def _demand(self, token: Token, object_id: str, right: Right, complaint: str) -> Resource:
        fault = fault_of(object_id)
        if fault:
            raise invalid(f"{complaint} : {fault}")
        self._world.demand(token, object_id, right)
        return self._world.resources[object_id]


def _link(world: World, relation: models.InternalRelation) -> Link:
    # Aruna 2.0.4 looks up what the other resource is, whatever the request says.
    variant = world.resources[relation.resource_id].variant
    return Link(relation.resource_id, variant, relation.defined_variant, relation.direction)


def _mirror(world: World, resource: Resource, link: Link) -> None:
    other = world.resources[link.resource_id]
    inbound = models.RELATION_DIRECTION_INBOUND
    back = inbound if link.direction != inbound else models.RELATION_DIRECTION_OUTBOUND
    other.links.append(Link(resource.id, OBJECT, link.defined_variant, back))


def _is_metadata(kv: models.KeyValue) -> bool:
    return bool(kv.variant == _STATIC and kv.key.startswith("x-amz-meta-"))
