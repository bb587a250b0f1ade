"""The project, collection or dataset that the source's key leads through.

A source may have several parents, but its download URL names one path; the result goes there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.objects import parents_of
from pipeline.aruna.s3 import Place
from pipeline.errors import Code, JobFailed
from pipeline.jobs.claim import Claim

Parent: TypeAlias = models_pb2.InternalRelation


def source_folder(place: Place, source: models_pb2.Object) -> str:
    """What stands before the source's name in its key: empty, or segments that end in ``/``.

    The name may contain ``/`` itself. Raises ``JobFailed`` (``create_failed``) if the key does not
    lead to the source.
    """
    folder = place.key.removesuffix(source.name)
    if folder == place.key or (folder and not folder.endswith("/")):
        raise JobFailed(Code.CREATE_FAILED, "the download URL does not lead to the source's name")
    return folder


def parent_of(claim: Claim, source: models_pb2.Object, place: Place) -> Parent:
    """The parent that the source's key leads through.

    Aruna 2.0.4: the key is name, collection/name, dataset/name or collection/dataset/name, so the
    depth alone can't tell a collection from a dataset. Raises ``JobFailed`` (``create_failed``).
    """
    folders = source_folder(place, source).split("/")[:-1]
    parents = parents_of(source.relations) or _parents_at_aruna(claim, source)
    if not parents:
        raise JobFailed(Code.CREATE_FAILED, "the source lies in no project, collection or dataset")
    if len(parents) == 1:
        return parents[0]
    for parent in parents:
        if _Way(claim).leads_through(parent, folders):
            return parent
    raise JobFailed(Code.CREATE_FAILED, "none of the source's parents is on the download's path")


def _parents_at_aruna(claim: Claim, source: models_pb2.Object) -> list[Parent]:
    """What a hook's custom template leaves out."""
    try:
        known = claim.peers.aruna.get_object(claim.hook.credentials.token, source.id, claim.attempt)
    except ArunaRefused as refusal:
        raise _failed(refusal) from refusal
    return parents_of(known.relations)


@dataclass(frozen=True)
class _Way:
    """Compares parents with the folders of a key."""

    claim: Claim

    def leads_through(self, parent: Parent, folders: list[str]) -> bool:
        """Whether ``parent`` is what the folders lead to."""
        try:
            if parent.resource_variant == models_pb2.RESOURCE_VARIANT_PROJECT:
                return not folders
            if parent.resource_variant == models_pb2.RESOURCE_VARIANT_COLLECTION:
                return len(folders) == 1 and self._collection(parent.resource_id) == folders[0]
            return bool(folders) and self._dataset_is_at(parent.resource_id, folders)
        except ArunaRefused as refusal:
            raise _failed(refusal) from refusal

    def _collection(self, collection_id: str) -> str:
        aruna, token = self.claim.peers.aruna, self.claim.hook.credentials.token
        return str(aruna.get_collection(token, collection_id, self.claim.attempt).name)

    def _dataset_is_at(self, dataset_id: str, folders: list[str]) -> bool:
        aruna, token = self.claim.peers.aruna, self.claim.hook.credentials.token
        dataset = aruna.get_dataset(token, dataset_id, self.claim.attempt)
        above = parents_of(dataset.relations)
        if dataset.name != folders[-1]:
            return False
        if len(folders) == 1:
            return any(p.resource_variant == models_pb2.RESOURCE_VARIANT_PROJECT for p in above)
        return any(
            p.resource_variant == models_pb2.RESOURCE_VARIANT_COLLECTION
            and self._collection(p.resource_id) == folders[0]
            for p in above
        )


def _failed(refusal: ArunaRefused) -> JobFailed:
    return JobFailed(
        Code.CREATE_FAILED,
        "Aruna does not show where the source lies",
        again=refusal.unreachable or refusal.unauthenticated,
    )
