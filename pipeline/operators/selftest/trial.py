"""The stages of one selftest, from top to bottom, and the deletion of what they made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.attempt import Attempt
from pipeline.errors import JobFailed
from pipeline.journal import Job, Journal, State
from pipeline.net.addresses import Addresses
from pipeline.operators import units
from pipeline.operators.selftest import failures, service, source
from pipeline.operators.selftest.following import Follower
from pipeline.operators.selftest.hooks import ASSUMED, Hook, Listening, hooks_on, listening
from pipeline.operators.selftest.place import Spot, spot_of
from pipeline.operators.selftest.report import Report, StageFailed, wait_for
from pipeline.reconcile.run import said_by
from pipeline.settings import Settings

T = TypeVar("T")

#: Seconds for the deletion of what was made, and of these until a running job has ended.
CLEANING = 60.0
SETTLING = 10.0


@dataclass
class Trial:
    """One run: whom it asks, and what it has made so far.

    ``uninterrupted()`` gives a block that no signal ends early.
    """

    settings: Settings
    token: str = field(repr=False)
    journal: Journal
    aruna: Aruna
    uninterrupted: Callable[[], AbstractContextManager[None]]
    report: Report = field(default_factory=Report)
    made: source.Made = field(default_factory=source.Made)
    attempt: Attempt = field(default_factory=lambda: Attempt(math.inf))
    follower: Follower | None = None

    def run(self, resource_id: str) -> None:
        """The stages, up to the first that leaves the next ones nothing to look at."""
        with suppress(StageFailed):
            spot, own = self._stage("token", lambda: self._token(resource_id))
            name = source.new_name()
            plan = self._hook(spot, own, name)
            self._stage("service", self._service)
            follower = self._stage("upload", lambda: self._upload(spot, name, plan))
            job = self._stage("delivery", follower.delivery)
            job = self._stage("job", lambda: follower.work(job))
            with suppress(StageFailed):
                self._stage("callback", lambda: follower.callback(job))
            self._stage("result", lambda: follower.result(job))

    def clean_up(self, *, keep: bool) -> None:
        """Delete source and result; what is left, or may come yet, is named."""
        self.attempt = Attempt(CLEANING)
        names = dict(self.made.objects)
        # Without its source a job that still runs, or is tried again, makes nothing more.
        reasons = {} if keep else self._undeleted(names)
        job = None if self.follower is None else self._settled(self.follower)
        if job is not None and job.result_id and job.result_name:
            result = {job.result_id: job.result_name}
            names |= result
            reasons |= {} if keep else self._undeleted(result)
        doubts = self._doubts(job)
        if keep and names:
            kept = [f"{name} ({key})" for key, name in names.items()]
            self.report.skipped("cleaned up", f"kept: {', '.join([*kept, *doubts])}")
        elif reasons or doubts:
            self.report.fail("cleaned up", failures.left_behind(names, reasons, doubts))
        elif names:
            self.report.ok("cleaned up", f"deleted: {', '.join(names.values())}")

    def _stage(self, name: str, look: Callable[[], tuple[T, str]]) -> T:
        """What a stage gives on to the next; its line is printed."""
        try:
            try:
                found, said = look()
            except ArunaRefused as refusal:
                raise failures.unanswered(refusal, self.settings) from refusal
        except StageFailed as failure:
            self.report.fail(name, failure)
            raise
        self.report.ok(name, said)
        return found

    def _token(self, resource_id: str) -> tuple[tuple[Spot, Sequence[Hook] | None], str]:
        """Where the document goes, and the hooks of the token's owner, if it lists them."""
        try:
            spot = spot_of(self.aruna, self.token, resource_id, self.attempt)
        except ArunaRefused as refusal:
            if refusal.unreachable:
                raise
            raise failures.no_place(resource_id, refusal) from refusal
        try:
            own = self.aruna.owned_hooks(self.token, self.attempt)
        except ArunaRefused as refusal:
            if refusal.unreachable:
                raise
            return (spot, None), f"shows {spot.title}, no hooks of its owner: it is no personal one"
        return (spot, own), f"shows {spot.title} and your hooks"

    def _hook(self, spot: Spot, own: Sequence[Hook] | None, name: str) -> Listening:
        hooks = None
        with suppress(ArunaRefused):
            hooks = hooks_on(self.aruna, self.token, own, spot, self.attempt)
        if hooks is None:
            self.report.skipped("hook", ASSUMED.described)
            return ASSUMED
        return self._stage("hook", lambda: listening(hooks, self.settings, spot, name))

    def _service(self) -> tuple[None, str]:
        found = service.find(self.settings)
        nowhere = "".join(f", not at {url}" for url in found.unanswered)
        return None, f"version {found.version} answers at {found.url}{nowhere}"

    def _upload(self, spot: Spot, name: str, plan: Listening) -> tuple[Follower, str]:
        before = service.counters(self.settings)
        with self.uninterrupted():
            object_id = source.create(
                self.aruna, self.token, spot, name, plan, self.made, self.attempt
            )
        content = source.document(name)
        addresses = Addresses(self.settings.allowed_hosts, self.settings.allow_insecure)
        source.fill(self.aruna, self.token, object_id, content, addresses, self.attempt)
        if plan.late:
            source.label(self.aruna, self.token, object_id, plan, self.attempt)
        self.follower = Follower(
            self.settings,
            self.aruna,
            self.token,
            self.journal,
            self.attempt,
            plan,
            object_id,
            time.time(),
            before,
        )
        labelled = f", {plan.shown_label}" if plan.label is not None else ""
        return self.follower, f"{name}, {units.size(len(content))}{labelled}"

    def _settled(self, follower: Follower) -> Job | None:
        """The job, once nothing works on it any more, or after a while."""

        def look() -> Job | None:
            job = follower.job()
            return None if job is not None and job.state is State.RUNNING else job

        if follower.job() is None:
            return None
        return wait_for("the job's end", look, SETTLING, self.attempt) or follower.job()

    def _doubts(self, job: Job | None) -> list[str]:
        """What may be in Aruna, or come there, without our knowing its id."""
        doubts = [self.made.in_doubt] if self.made.in_doubt else []
        if job is not None and job.state is State.RUNNING and job.result_id is None:
            doubts.append(f"a result of {job.id}, which still runs")
        return doubts

    def _undeleted(self, names: Iterable[str]) -> dict[str, str]:
        """Deletes objects; the ids of those that were not deleted, with the reason."""
        reasons = {}
        for object_id in names:
            try:
                self.aruna.delete_object(self.token, object_id, self.attempt)
            except ArunaRefused as refusal:
                reasons[object_id] = said_by(refusal)
            except JobFailed as failure:
                reasons[object_id] = failure.message
        return reasons
