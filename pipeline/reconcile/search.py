"""What a run does: it finds the objects whose hooks were lost and queues a job for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.client import S3Credentials
from pipeline.journal import Journal, reconcile_runs
from pipeline.reconcile.hooks import OwnHooks, hooks_by_project
from pipeline.reconcile.lost import Criteria, Lost, delivery, is_dealt_with, why_lost
from pipeline.reconcile.run import Run
from pipeline.reconcile.walk import walk

#: Seconds after which an object without a callback counts as lost.
OLDER_THAN = 900.0


@dataclass(frozen=True)
class Search:
    """What one run looks for: ``projects`` names those to look through, none: all of ours.

    All methods raise ``JournalUnavailable``, ``ArunaRefused`` if Aruna does not answer at all, and
    what ends the run.
    """

    run: Run
    journal: Journal
    own: OwnHooks
    criteria: Criteria
    projects: tuple[str, ...] = ()
    _s3: dict[str, S3Credentials | None] = field(default_factory=dict)

    def find(self) -> Iterator[Lost]:
        """What was lost, each object once for each hook, a page of objects in memory at a time."""
        found = set()
        by_project = hooks_by_project(self.run, self.own, self.projects)
        for project_id, hooks in by_project.items():
            for page in walk(self.run, project_id):
                lost = [
                    Lost(hook, source, project_id, f"{page.path}/{source.name}", why)
                    for source in page.objects
                    for hook in hooks
                    if (why := why_lost(source, hook, self.criteria))
                ]
                for one in self._not_dealt_with(lost):
                    key = (one.object.id, one.hook.hook_id)
                    if key not in found:  # an object with two parents comes twice
                        found.add(key)
                        yield one

    def queue(
        self, before_each: Callable[[], object] = lambda: None
    ) -> Iterator[tuple[Lost, str | None]]:
        """Each lost object with its new job, if it has one; the run is noted once it is through."""
        for lost in self.find():
            before_each()
            job_id = self._take_up(lost)
            self.run.queued += job_id is not None
            yield lost, job_id
            self.run.moved()
        found, skipped = self.run.queued, self.run.skipped
        reconcile_runs.add(self.journal, found=found, unknown=skipped, now=time.time())

    def _take_up(self, lost: Lost) -> str | None:
        """The id of the job that is now in the journal; ``None`` if something else was faster, or
        Aruna refuses what the job needs."""
        run, what = self.run, f"object {lost.object.id}"
        source = run.ask(what, run.aruna.get_object, lost.object.id)
        why = source and why_lost(source, lost.hook, self.criteria)
        if source is None or why is None:
            return None
        s3 = self._credentials(endpoint_of(source))
        if s3 is None:
            return None
        download = run.ask(what, run.aruna.download_url, source.id)
        if download is None:
            return None
        now = replace(lost, object=source, why=why)
        if not self._not_dealt_with([now]):
            return None
        key = run.aruna.newest_key()
        hook = delivery(now, token=run.token, s3=s3, download=download, key=key)
        receipt = self.journal.enqueue(hook)
        self.journal.announce()
        return receipt.job_id

    def _not_dealt_with(self, lost: list[Lost]) -> list[Lost]:
        """Those of which the journal does not know enough to leave them alone."""
        known = self.journal.known([one.object.id for one in lost]) if lost else {}
        left = []
        for one in lost:
            jobs = [job for job in known[one.object.id] if job.hook_id == one.hook.hook_id]
            newest = self.journal.job(jobs[-1].job_id) if jobs else None
            if newest is None or not is_dealt_with(one, newest, self.criteria.before):
                left.append(one)
        return left

    def _credentials(self, endpoint_id: str) -> S3Credentials | None:
        """The operator's S3 credentials at a data proxy, asked for once; why not is said once."""
        if endpoint_id in self._s3:
            if self._s3[endpoint_id] is None:
                self.run.skipped += 1
        else:
            what = f"data proxy {endpoint_id}"
            self._s3[endpoint_id] = self.run.ask(what, self.run.aruna.s3_credentials, endpoint_id)
        return self._s3[endpoint_id]


def endpoint_of(thing: models_pb2.Object | models_pb2.Project) -> str:
    """The data proxy that has all of it (Aruna 2.0.4: the first with a full sync)."""
    full = [endpoint.id for endpoint in thing.endpoints if endpoint.HasField("full_sync")]
    return next(iter(full), "")
