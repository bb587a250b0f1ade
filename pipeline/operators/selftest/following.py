"""What comes of the upload: its delivery, its job, the callback, and the result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.download import Source, download
from pipeline.aruna.objects import comes_from, hook_statuses
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed
from pipeline.jobs.callback import SUCCESS
from pipeline.jobs.result_object import STATUS_LABEL
from pipeline.journal import Job, Journal, State, Step
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.operators import units
from pipeline.operators.selftest import failures, service
from pipeline.operators.selftest.hooks import Listening
from pipeline.operators.selftest.report import wait_for
from pipeline.reconcile.run import said_by
from pipeline.settings import Settings

#: Seconds until the delivery is in the journal, and those in which it may still come once the
#: service has refused a hook, which may be a stranger's.
DELIVERY_PATIENCE = 60.0
REFUSAL_PATIENCE = 5.0
#: Seconds until Aruna has the callback, and until it shows it: its cache can lag.
CALLBACK_PATIENCE = 15.0
#: Attempts of the job that may fail before it counts as failed.
ATTEMPTS = 2
#: Bytes of a result that are read; that of the document has some two thousand.
_MOST_OF_A_RESULT = 1_000_000
#: The stages of a job whose times are shown, and what they are called.
_TIMED = {"download": "download", "transform": "transformation", "upload": "upload"}


@dataclass(frozen=True)
class Follower:
    """Watches what becomes of one object.

    ``uploaded_at`` is in seconds since the epoch; ``before`` is what the service had counted until
    then. Each method that names a stage gives what was found and a line to say, or raises
    ``StageFailed``; all raise ``JournalUnavailable`` and ``ArunaRefused``.
    """

    settings: Settings
    aruna: Aruna
    token: str = field(repr=False)
    journal: Journal
    attempt: Attempt
    plan: Listening
    object_id: str
    uploaded_at: float
    before: service.Counters | None

    def delivery(self) -> tuple[Job, str]:
        """The job that the delivery has become."""
        answers: set[str] = set()

        def look() -> bool | None:
            answers.update(self._refusals())
            not_sent = isinstance(self._hook_status(), dict)
            return bool(self.job() or answers or not_sent) or None

        wait_for("the delivery", look, DELIVERY_PATIENCE, self.attempt)
        seconds = REFUSAL_PATIENCE if answers else 0.0
        found = wait_for("the delivery", self.job, seconds, self.attempt)
        if found is not None:
            return found, f"arrived after {_shown(found.created_at - self.uploaded_at)}"
        if answers:
            raise failures.refused(answers)
        hook = self.plan.hook
        url = str(hook.hook.external_hook.url) if hook else "the hook's URL"
        counted = self.before is not None
        status = self._hook_status()
        raise failures.not_delivered(DELIVERY_PATIENCE, status, url, counted=counted)

    def work(self, job: Job) -> tuple[Job, str]:
        """The job once its result is made."""
        seconds = float(self.settings.processing_timeout)
        found = wait_for(f"job {job.id}", self._decided, seconds, self.attempt)
        if found is None:
            raise failures.not_ended(self.job() or job, seconds)
        if not _has_worked(found):
            raise failures.not_worked(found, self.settings)
        return found, f"{found.id} succeeded{self._times()}"

    def callback(self, job: Job) -> tuple[None, str]:
        """Aruna has the callback, and shows it."""
        called = wait_for("the callback", self._called_back, CALLBACK_PATIENCE, self.attempt)
        if called is None or called.state is not State.SUCCEEDED:
            raise failures.not_called_back(called or job, self.plan.rivals, CALLBACK_PATIENCE)
        label = f"{STATUS_LABEL}={SUCCESS}"
        if not wait_for(label, self._is_labelled, CALLBACK_PATIENCE, self.attempt):
            raise failures.not_labelled(label, self.plan.rivals)
        return None, f"{label} on the source"

    def result(self, job: Job) -> tuple[None, str]:
        """The result's object is whole, JSON-LD, and tied to the source."""
        if job.result_id is None:
            raise failures.bad_result(job, "the journal names none", "the service made none")
        try:
            found = self.aruna.get_object(self.token, job.result_id, self.attempt)
        except ArunaRefused as refusal:
            said = f"Aruna does not show {job.result_name} ({said_by(refusal)})"
            raise failures.bad_result(job, said, "Aruna lost it in its cache") from refusal
        if found.status != models_pb2.STATUS_AVAILABLE or not found.content_len:
            raise failures.bad_result(job, f"{found.name} is empty", "its upload was cut off")
        if not comes_from(found, self.object_id):
            said = f"{found.name} has no ORIGIN relation to the source"
            raise failures.bad_result(job, said, "Aruna lost the relation")
        content = self._judged(job, found)
        return None, f"{found.name}, {found.content_len:,} bytes{content}, ORIGIN the source"

    def job(self) -> Job | None:
        """The upload's job as the journal has it now."""
        known = self.journal.known([self.object_id])[self.object_id]
        hook = self.plan.hook
        ours = [one for one in known if hook is None or one.hook_id == hook.hook_id]
        if ours:
            return self.journal.job(ours[-1].job_id)
        waiting = self.journal.unverified()
        return next((job for job in waiting if job.object_id == self.object_id), None)

    def _decided(self) -> Job | None:
        """The job if its work is done, or has failed too often."""
        job = self.job()
        if job is None:
            return None
        decided = job.ended_at is not None or job.step is Step.CALLBACK
        return job if decided or job.attempt >= ATTEMPTS else None

    def _called_back(self) -> Job | None:
        """The job if its callback has been taken, or refused once."""
        job = self.job()
        if job is None or (job.ended_at is None and not job.callback_attempt):
            return None
        return job

    def _times(self) -> str:
        """How long the stages of the job took, as far as the service's counters tell."""
        now = service.counters(self.settings) if self.before is not None else None
        if now is None or self.before is None:
            return ""
        times = now.timed_since(self.before)
        known = [
            f"{name} {_shown(times[stage])}" for stage, name in _TIMED.items() if stage in times
        ]
        return f": {', '.join(known)}" if known else ""

    def _refusals(self) -> set[str]:
        """How the service has refused hooks since the upload."""
        now = service.counters(self.settings) if self.before is not None else None
        return set() if now is None or self.before is None else now.refused_since(self.before)

    def _hook_status(self) -> object:
        """What Aruna says of the hook on the object, ``None`` if nothing."""
        try:
            source = self.aruna.get_object(self.token, self.object_id, self.attempt)
        except ArunaRefused:
            return None
        variant = models_pb2.KEY_VALUE_VARIANT_HOOK_STATUS
        all_of_them = {kv.key for kv in source.key_values if kv.variant == variant}
        hooks = [self.plan.hook.hook_id] if self.plan.hook else sorted(all_of_them)
        statuses = [status for hook in hooks for status in hook_statuses(source, hook)]
        return statuses[-1] if statuses else None

    def _is_labelled(self) -> bool | None:
        """``True`` once Aruna shows the label of a success on the source, else ``None``."""
        try:
            source = self.aruna.get_object(self.token, self.object_id, self.attempt)
        except ArunaRefused:
            return None
        wanted = (STATUS_LABEL, SUCCESS)
        return any((kv.key, kv.value) == wanted for kv in source.key_values) or None

    def _judged(self, job: Job, found: models_pb2.Object) -> str:
        """What the result's content turned out to be; raises ``StageFailed``."""
        try:
            url = self._download_url(found)
        except ArunaRefused as refusal:
            return f" (not read: Aruna gives ARUNA_TOKEN no download, {said_by(refusal)})"
        try:
            content = self._content(Source(url, found.content_len, None))
        except JobFailed as failure:
            raise failures.bad_result(job, failure.message, "its upload was cut off") from failure
        if not _is_json_ld(content):
            said = f"{found.name} is no JSON-LD"
            raise failures.bad_result(job, said, "the transformation makes something else")
        return " of JSON-LD"

    def _download_url(self, found: models_pb2.Object) -> str:
        try:
            return self.aruna.download_url(self.token, found.id, self.attempt)
        except ArunaRefused:
            # Aruna 2.0.4 (source): who has no S3 credentials there yet may not download either.
            self.aruna.s3_credentials(self.token, found.endpoints[0].id, self.attempt)
            return self.aruna.download_url(self.token, found.id, self.attempt)

    def _content(self, wanted: Source) -> bytes:
        addresses = Addresses(self.settings.allowed_hosts, self.settings.allow_insecure)
        limit = _MOST_OF_A_RESULT
        with (
            session(addresses) as http,
            download(wanted, self.attempt, session=http, max_bytes=limit) as blocks,
        ):
            return b"".join(blocks)


def _has_worked(job: Job) -> bool:
    """Whether the result is there, whatever becomes of the callback."""
    if job.outcome is None:
        return job.state is State.SUCCEEDED
    return job.outcome.code in (None, Code.CALLBACK_FAILED)


def _shown(seconds: float) -> str:
    return units.duration(seconds) if seconds >= 0.1 else "less than 0.1 s"


def _is_json_ld(content: bytes) -> bool:
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, dict) and "@context" in value and "@type" in value
