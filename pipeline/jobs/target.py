"""Where the result goes: the names it may take, what stands under each, and the new object.

Nothing in Aruna stops an overwrite, not even of the source: a name is used only if it is free, or
holds an object of our own that has no content yet, or whose content was seen to be broken.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import ArunaRefused
from pipeline.aruna.objects import comes_from, sha256_of, source_sha256_label
from pipeline.aruna.read_back import LOOK_PAUSES, can_be_read
from pipeline.aruna.s3 import S3, Head, Place, head
from pipeline.errors import FORGOTTEN_RIGHTS, Code, JobError, JobFailed
from pipeline.jobs.context import JobContext
from pipeline.jobs.parent import source_folder
from pipeline.jobs.result_object import result_names, result_object
from pipeline.jobs.source import check_token, unreachable
from pipeline.telemetry.redaction import redact
from pipeline.transform.recognise import Kind

#: Seconds after which a taken name that shows no object is believed to be something else's.
#: Aruna 2.0.4: the data proxy hears of objects over a message queue, 1 to 4 s late when busy.
TAKEN_PATIENCE = 10.0
TAKEN_PAUSE = 0.5
#: Seconds until a CreateObject that Aruna did not answer is tried again, while the result waits.
CREATE_PAUSE = 2.0
#: Seconds that an attempt needs after its result has an object; below that it is not waited on.
CREATE_RESERVE = 10.0
_MESSAGE_LIMIT = 160
_NOTHING = Head("", 0)


class Holder(Enum):
    """What stands under a name, as far as this job is concerned."""

    NOBODY = auto()
    OWN_UNFINISHED = auto()
    OWN_BROKEN = auto()
    OWN_FINISHED = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Target:
    """A name for the result, where it lies, what stands there, and what HEAD says of it."""

    name: str
    place: Place
    holder: Holder
    stored: Head = _NOTHING

    @property
    def may_change(self) -> bool:
        """Whether the content may still be on its way: an earlier upload is being finished."""
        unfinished = self.holder is Holder.OWN_UNFINISHED and self.stored.length > 0
        return unfinished or self.holder is Holder.OWN_BROKEN


@dataclass(frozen=True)
class Targets:
    """The names that results of one source may take; ``source`` is ready, ``place`` its own."""

    context: JobContext
    source: models_pb2.Object
    kind: Kind
    place: Place
    s3: S3
    _waited_for: set[str] = field(default_factory=set, init=False)

    def finished(self) -> Target | None:
        """The result of this very content, whole, if it is there: only the callback is missing."""
        for name in result_names(self.source, self.kind):
            target = self._look(name)
            if target.holder is Holder.OWN_FINISHED:
                return target
            if target.holder in (Holder.NOBODY, Holder.OWN_BROKEN):
                return None
        return None

    def take(self, parent: models_pb2.InternalRelation) -> Target:
        """An object for the result: an unfinished or broken one of our own, or a new one.

        ``OWN_FINISHED`` if another attempt was quicker. Raises ``JobFailed`` (``create_failed``),
        or ``NotYet`` while Aruna can't be reached.
        """
        for name in result_names(self.source, self.kind):
            target = self._look(name)
            if target.holder is Holder.NOBODY:
                target = self._create(target, parent)
            if target.holder is not Holder.OTHER:
                return target
        raise JobFailed(
            Code.CREATE_FAILED, "all names the result may take are in use by other objects"
        )

    def _look(self, name: str) -> Target:
        """What stands under that name; what may change by itself is looked at for a while."""
        pauses = () if name in self._waited_for else LOOK_PAUSES
        target = self._stands_at(name)
        for pause in pauses:
            if not target.may_change:
                break
            self.context.attempt.wait(pause)
            target = self._stands_at(name)
        if target.may_change:
            self._waited_for.add(name)
        return target

    def _stands_at(self, name: str) -> Target:
        """What stands under that name now."""
        folder = source_folder(self.place, self.source)
        place = replace(self.place, key=f"{folder}{name}")
        stored = head(self.s3, place, self.context.attempt)
        if stored is None:
            return Target(name, place, Holder.NOBODY)
        return Target(name, place, self._holder(place, stored), stored)

    def _holder(self, place: Place, stored: Head) -> Holder:
        context = self.context
        token = context.hook.credentials.token
        try:
            found = context.deps.aruna.get_object(token, stored.object_id, context.attempt)
        except ArunaRefused as refusal:
            if refusal.unauthenticated and stored.object_id != context.job.result_id:
                return Holder.OTHER
            raise _create_failed(context, refusal) from refusal
        if not comes_from(found, self.source.id) or not self._is_of_this_content(found):
            return Holder.OTHER
        if found.status == models_pb2.STATUS_INITIALIZING:
            return Holder.OWN_UNFINISHED
        if found.status != models_pb2.STATUS_AVAILABLE:
            return Holder.OTHER
        whole = self._is_whole(found, place, stored)
        return Holder.OWN_FINISHED if whole else Holder.OWN_BROKEN

    def _is_whole(self, found: models_pb2.Object, place: Place, stored: Head) -> bool:
        """Whether an AVAILABLE object has its content: by HEAD, and by reading it to its end
        unless this job has made the object and no upload of its own may have been cut off."""
        if not stored.length or stored.length != found.content_len:
            return False
        job = self.context.job
        if found.id == job.result_id and not job.upload_begun:
            return True
        return can_be_read(
            self.s3, place, self.context.attempt, length=stored.length, sha256=sha256_of(found)
        )

    def _is_of_this_content(self, found: models_pb2.Object) -> bool:
        """Made by this very job, or of a content with the same SHA-256.

        An unfinished object says by its label of which content it is to be the result, and an
        APPEND token can't change that: one of an earlier content can't be continued.
        """
        if found.id == self.context.job.result_id:
            return True
        label = source_sha256_label(found)
        if found.status == models_pb2.STATUS_INITIALIZING:
            return label == sha256_of(self.source)
        return label is not None and label == sha256_of(self.source)

    def _create(self, free: Target, parent: models_pb2.InternalRelation) -> Target:
        """The new object; what GFBio has made is kept for as long as the attempt has time."""
        while True:
            try:
                made = self._created(free, parent)
            except ArunaRefused as refusal:
                if refusal.name_taken:
                    return self._look_again(free)
                if not refusal.unreachable or self._time_is_short():
                    raise _create_failed(self.context, refusal) from refusal
                self.context.attempt.wait(CREATE_PAUSE)
            else:
                self.context.held.note_result(made.id, free.name)
                return replace(free, holder=Holder.OWN_UNFINISHED, stored=Head(made.id, 0))

    def _created(self, free: Target, parent: models_pb2.InternalRelation) -> models_pb2.Object:
        context = self.context
        request = result_object(self.source, free.name, parent)
        with context.deps.creations.turn(parent.resource_id, context.attempt):
            context.fence()
            token = context.hook.credentials.token
            return context.deps.aruna.create_object(token, request, context.attempt)

    def _time_is_short(self) -> bool:
        return self.context.attempt.seconds_left() < CREATE_PAUSE + CREATE_RESERVE

    def _look_again(self, taken: Target) -> Target:
        """Who has a name that showed no object: one that the data proxy has not heard of yet?"""
        for _ in range(round(TAKEN_PATIENCE / TAKEN_PAUSE)):
            target = self._look(taken.name)
            if target.holder is not Holder.NOBODY:
                return target
            self.context.attempt.wait(TAKEN_PAUSE)
        return replace(taken, holder=Holder.OTHER)


def _create_failed(context: JobContext, refusal: ArunaRefused) -> JobError:
    check_token(context)
    if refusal.unreachable:
        return unreachable(context)
    if refusal.unauthenticated:
        message = "Aruna does not let the hook's token see or create the result"
        return JobFailed(Code.CREATE_FAILED, message, patience=FORGOTTEN_RIGHTS)
    message = f"Aruna refused the result's object: {redact(refusal.message)[:_MESSAGE_LIMIT]}"
    return JobFailed(Code.CREATE_FAILED, message)
