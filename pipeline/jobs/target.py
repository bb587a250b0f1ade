"""Where the result goes: the names it may take, and the object it becomes.

Nothing in Aruna stops an overwrite, of the source neither: a name is used only if it is free, or
holds an object of our own that has no content yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.objects import comes_from, sha256_of, source_sha256_label
from pipeline.aruna.s3 import S3, Place, head
from pipeline.errors import Code, JobFailed
from pipeline.jobs import result_object as names
from pipeline.jobs.claim import Claim
from pipeline.jobs.parent import source_folder
from pipeline.jobs.source import check_token
from pipeline.telemetry.redaction import redact
from pipeline.transform.recognise import Kind

#: Seconds after which a taken name that shows no object is believed to be something else's.
#: Aruna 2.0.4: the data proxy hears of objects over a message queue, 1 to 4 s late when busy.
LOOK_PATIENCE = 10.0
LOOK_PAUSE = 0.5
_MESSAGE_LIMIT = 160


class Standing(Enum):
    """What a name holds, as far as this job is concerned."""

    FREE = auto()
    UNFINISHED = auto()
    FINISHED = auto()
    FOREIGN = auto()


@dataclass(frozen=True)
class Target:
    """A name for the result, where it lies, what stands there, and that object's id."""

    name: str
    place: Place
    standing: Standing
    object_id: str = ""


@dataclass(frozen=True)
class Shelf:
    """Where results of one source may stand; ``source`` is ready, ``place`` its own."""

    claim: Claim
    source: models_pb2.Object
    kind: Kind
    place: Place
    s3: S3

    def finished(self) -> Target | None:
        """The result of this very content, if it is there: only the callback is missing then."""
        for name in self._names():
            target = self._look(name)
            if target.standing is Standing.FINISHED:
                return target
            if target.standing is Standing.FREE:
                return None
        return None

    def take(self, parent: models_pb2.InternalRelation) -> Target:
        """An object for the result: an unfinished one continued, or a new one.

        FINISHED if another attempt was quicker. Raises ``JobFailed`` (``create_failed``).
        """
        for name in self._names():
            target = self._look(name)
            if target.standing is Standing.FREE:
                target = self._create(target, parent)
            if target.standing is not Standing.FOREIGN:
                return target
        raise JobFailed(
            Code.CREATE_FAILED, "all names the result may take are in use by other objects"
        )

    def _names(self) -> list[str]:
        return names.result_names(self.source, self.kind)

    def _look(self, name: str) -> Target:
        """What stands under that name now."""
        folder = source_folder(self.place, self.source)
        place = replace(self.place, key=f"{folder}{name}")
        standing = head(self.s3, place, self.claim.attempt)
        if standing is None:
            return Target(name, place, Standing.FREE)
        try:
            found = self.claim.peers.aruna.get_object(
                self.claim.hook.credentials.token, standing.object_id, self.claim.attempt
            )
        except ArunaRefused as refusal:
            if refusal.unauthenticated:
                return Target(name, place, Standing.FOREIGN)
            raise _create_failed(self.claim, refusal) from refusal
        return Target(name, place, self._judge(found, standing.length), found.id)

    def _judge(self, found: models_pb2.Object, length: int) -> Standing:
        if not comes_from(found, self.source.id) or not self._is_of_this_content(found):
            return Standing.FOREIGN
        if found.status == models_pb2.STATUS_AVAILABLE:
            return Standing.FINISHED
        if found.status != models_pb2.STATUS_INITIALIZING:
            return Standing.FOREIGN
        if length:
            raise JobFailed(
                Code.UPLOAD_FAILED, "the result is still being finalised by Aruna", again=True
            )
        return Standing.UNFINISHED

    def _is_of_this_content(self, found: models_pb2.Object) -> bool:
        """Made by this very job, or of a content with the same SHA-256.

        An unfinished object says by its label of which content it is to be the result, and an
        APPEND token can't change that: one of an earlier content can't be continued.
        """
        if found.id == self.claim.job.result_id:
            return True
        said = source_sha256_label(found)
        if found.status == models_pb2.STATUS_INITIALIZING:
            return said == sha256_of(self.source)
        return said is not None and said == sha256_of(self.source)

    def _create(self, free: Target, parent: models_pb2.InternalRelation) -> Target:
        request = names.result_object(self.source, free.name, parent)
        self.claim.fence()
        try:
            made = self.claim.peers.aruna.create_object(
                self.claim.hook.credentials.token, request, self.claim.attempt
            )
        except ArunaRefused as refusal:
            if refusal.name_taken:
                return self._look_again(free)
            raise _create_failed(self.claim, refusal) from refusal
        job = self.claim.job
        self.claim.peers.journal.note_result(job.id, self.claim.lease, made.id, free.name)
        return replace(free, standing=Standing.UNFINISHED, object_id=made.id)

    def _look_again(self, taken: Target) -> Target:
        """Who has a name that showed no object: one that the data proxy has not heard of yet?"""
        for _ in range(round(LOOK_PATIENCE / LOOK_PAUSE)):
            target = self._look(taken.name)
            if target.standing is not Standing.FREE:
                return target
            self.claim.attempt.wait(LOOK_PAUSE)
        return replace(taken, standing=Standing.FOREIGN)


def _create_failed(claim: Claim, refusal: ArunaRefused) -> JobFailed:
    check_token(claim)
    again = refusal.unreachable or refusal.unauthenticated
    if refusal.unreachable:
        message = "Aruna did not answer in time"
    elif refusal.unauthenticated:
        message = "Aruna does not let the hook's token create the result"
    else:
        message = f"Aruna refused the result's object: {redact(refusal.message)[:_MESSAGE_LIMIT]}"
    return JobFailed(Code.CREATE_FAILED, message, again=again)
