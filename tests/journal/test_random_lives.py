"""Random lives of jobs: whatever happens in whichever order, the journal keeps its promises.

Two hosts share two sources, two hooks and a clock that jumps. After every step no job and no
object has two holders that the journal confirms. In the end all jobs have ended, and after the
last delivery for each source and hook there was a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, delete

from pipeline.aruna.hook import Hook
from pipeline.aruna.objects import fingerprint
from pipeline.errors import LeaseLost
from pipeline.journal import IGNORED, HeldJob, Journal, Outcome, State, Step, schema
from tests.journal.conftest import OpenJournal
from tests.journal.deliveries import DAY, DONE, LEASE, NOW, Clock, delivery

T = TypeVar("T")

_EVER = 1e6  # days
_HOURS = 3600.0
_TICK = 1 / 512  # seconds, exact as a float: no two jobs of the same time, in which chance decides

objects = st.integers(0, 1)
hooks = st.sampled_from("AB")
hosts = st.integers(0, 1)
some = st.integers(0, 3)
outcomes = st.sampled_from([DONE, Outcome("invalid_input", "no ABCD")])
pauses = st.sampled_from([0.0, 30.0, 3 * _HOURS])
jumps = st.sampled_from([LEASE / 2, LEASE, 3 * _HOURS, -600.0, -2 * _HOURS, -40 * DAY])


@dataclass(eq=False)
class Holder:
    """What a host believes to hold, at least ``until`` then.

    ``sent`` says whether it has called back since the last delivery it knows of.
    """

    journal: Journal
    held: HeldJob
    until: float
    sent: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Whose callbacks it makes."""
        return self.held.job.object_id, self.held.job.hook_id


class Lives(RuleBasedStateMachine):
    """Deliveries, holders, crashes and clocks, and what must be true of them."""

    def __init__(self, journals: Sequence[Journal], clock: Clock) -> None:
        super().__init__()
        self.journals = journals
        self.clock = clock
        self.clock.now = NOW
        journals[0]._storage.write(_empty)
        self.holders: list[Holder] = []
        self.jobs: set[str] = set()
        self.moment = 0
        self.contents: set[tuple[str, str, str]] = set()
        self.unverified: dict[str, Hook] = {}
        self.delivered: dict[tuple[str, str], int] = {}
        self.called_back: dict[tuple[str, str], int] = {}

    @initialize()
    def start(self) -> None:
        for number in range(2):
            self.deliver(0, number, "A", 1, answer_only=False)
        self.claim(0, 0.0)

    @rule(
        host=hosts,
        number=objects,
        hook_id=hooks,
        content=st.integers(1, 2),
        answer_only=st.booleans(),
    )
    def deliver(
        self, host: int, number: int, hook_id: str, content: int, *, answer_only: bool
    ) -> None:
        length = 0 if answer_only else content
        hook = delivery(number, hook_id=hook_id, content_len=length)
        outcome = Outcome(IGNORED, "no content yet") if answer_only else None
        self._deliver(self.journals[host], hook, outcome)

    @rule(host=hosts, number=objects, hook_id=hooks, content=st.integers(1, 2))
    def deliver_before_arunas_key_is_known(
        self, host: int, number: int, hook_id: str, content: int
    ) -> None:
        self.clock.now += _TICK
        hook = delivery(number, hook_id=hook_id, content_len=content)
        receipt = self.journals[host].enqueue_unverified(hook)
        self.jobs.add(receipt.job_id)
        self.unverified[receipt.job_id] = hook

    @precondition(lambda self: self.unverified)
    @rule(host=hosts, which=some, genuine=st.booleans())
    def judge(self, host: int, which: int, *, genuine: bool) -> None:
        delivery_id = list(self.unverified)[which % len(self.unverified)]
        hook = self.unverified.pop(delivery_id)
        if not genuine:
            assert self.journals[host].refuse(delivery_id, Outcome("invalid_secret"))
            return
        receipt = self.journals[host].admit(delivery_id)
        assert receipt is not None
        if receipt.duplicate:  # by an older job, or a newer one
            self.jobs.discard(delivery_id)
            self.jobs.add(receipt.job_id)
        else:
            self._expects_a_callback(hook)

    @rule(host=hosts, after=st.sampled_from([0.0, LEASE]))
    def claim(self, host: int, after: float) -> None:
        self.clock.now += after
        journal, until = self.journals[host], self.clock.now + LEASE
        for held in journal.claim(str(host), 3, LEASE):
            others = [other for other in self.holders if other.key[0] == held.job.object_id]
            assert not any(other.until > self.clock.now for other in others)
            self.holders.append(Holder(journal, held, until))

    @precondition(lambda self: self.holders)
    @rule(which=some, stages=st.integers(1, 3), outcome=outcomes)
    def go_on(self, which: int, stages: int, outcome: Outcome) -> None:
        holder = self.holders[which % len(self.holders)]
        for _ in range(stages):
            if holder in self.holders:
                self._go_on(holder, outcome)

    @precondition(lambda self: self.holders)
    @rule(which=some, stages=st.integers(0, 2), outcome=outcomes, same_content=st.booleans())
    def deliver_what_is_at_work(
        self, which: int, stages: int, outcome: Outcome, same_content: bool
    ) -> None:
        job = self.holders[which % len(self.holders)].held.job
        self.go_on(which, stages, outcome)
        content = int(job.content[0])
        changed = content if same_content else 3 - content
        hook = delivery(int(job.object_id[-1]), hook_id=job.hook_id, content_len=changed)
        self._deliver(self.journals[0], hook, None)

    @precondition(lambda self: self.holders)
    @rule(which=some, how=st.sampled_from(["crash", "release", "wait", "retry"]), later=pauses)
    def let_go(self, which: int, how: str, later: float) -> None:
        holder = self.holders[which % len(self.holders)]
        if how == "release":
            self._let_go(holder)
        elif how == "wait":
            self._say(holder, lambda held: held.wait(seconds=later, message="not yet"))
        elif how == "retry":
            error = Outcome("timeout", "too long")
            self._say(holder, lambda held: held.retry(seconds=later, error=error))
        if holder in self.holders:
            self.holders.remove(holder)

    @precondition(lambda self: self.holders)
    @rule(host=hosts)
    def renew(self, host: int) -> None:
        journal = self.journals[host]
        # As the pool does: of a job that it lost and claimed again, the newest lease alone.
        mine = {holder.held.job.id: holder for holder in self.holders if holder.journal is journal}
        renewed = journal.renew([holder.held for holder in mine.values()], LEASE)
        for job_id, holder in mine.items():
            if job_id in renewed:
                holder.until = self.clock.now + LEASE
            else:
                self._let_go(holder)

    @rule(host=hosts, seconds=jumps)
    def time_jumps_and_a_host_cleans_up(self, host: int, seconds: float) -> None:
        self.clock.now += seconds
        if seconds < 0:  # the journal may believe that leases are over which are not
            for holder in self.holders:
                holder.until = self.clock.now
        self.journals[host].put_back()
        self.journals[host].housekeeping()

    @invariant()
    def nobody_shares_a_job_or_an_object(self) -> None:
        confirmed = [holder.held.job for holder in self.holders if self._is_confirmed(holder)]
        assert len({job.id for job in confirmed}) == len(confirmed)
        assert len({job.object_id for job in confirmed}) == len(confirmed)

    def teardown(self) -> None:
        """All hosts crash, one comes back: it finishes what there is in a few rounds."""
        self.holders.clear()
        while self.unverified:
            self.judge(0, 0, genuine=True)
        for _ in range(8):
            self.clock.now += DAY
            self.journals[0].housekeeping()
            for held in self.journals[0].claim("survivor", 100, LEASE):
                self._finish(Holder(self.journals[0], held, 0.0))
        ended = {job.id: job for job in self.journals[0].jobs()}
        assert self.jobs <= ended.keys()
        assert {job.state for job in ended.values()} <= {State.SUCCEEDED, State.FAILED}
        assert all(job.lease is None for job in ended.values())
        done = {(job.object_id, job.hook_id, job.content) for job in ended.values()}
        assert self.contents <= done
        for key, moment in self.delivered.items():
            assert self.called_back[key] > moment

    def _deliver(self, journal: Journal, hook: Hook, outcome: Outcome | None) -> None:
        self.clock.now += _TICK
        self._expects_a_callback(hook, to_work_on=outcome is None)
        self.jobs.add(journal.enqueue(hook, outcome=outcome).job_id)

    def _expects_a_callback(self, hook: Hook, *, to_work_on: bool = True) -> None:
        self.moment += 1
        self.delivered[hook.object.id, hook.hook_id] = self.moment
        if to_work_on:
            self.contents.add((hook.object.id, hook.hook_id, fingerprint(hook.object)))

    def _go_on(self, holder: Holder, outcome: Outcome) -> None:
        """One stage of a job's life."""
        if holder.held.job.step == Step.WORK:
            self._say(holder, lambda held: held.worked(outcome))
        elif not holder.sent:
            self._call_back(holder)
        else:
            self._end(holder)

    def _call_back(self, holder: Holder) -> None:
        self._say(holder, HeldJob.callback_sending)
        if holder in self.holders:
            self.moment += 1
            self.called_back[holder.key] = self.moment
            holder.sent = True

    def _end(self, holder: Holder) -> None:
        ended = self._say(holder, _ended)
        holder.sent = False
        if ended:
            assert self.called_back[holder.key] > self.delivered[holder.key]
            self.holders.remove(holder)

    def _finish(self, holder: Holder) -> None:
        self.holders.append(holder)
        self.go_on(0, 3, DONE)
        assert not self.holders

    def _say(self, holder: Holder, say: Callable[[HeldJob], T]) -> T | None:
        try:
            return say(holder.held)
        except LeaseLost:
            self._let_go(holder)
            return None

    def _let_go(self, holder: Holder) -> None:
        holder.held.release()
        self.holders.remove(holder)

    def _is_confirmed(self, holder: Holder) -> bool:
        try:
            holder.held.confirm()
        except LeaseLost:
            return False
        return True


def _ended(held: HeldJob) -> bool:
    outcome = held.job.outcome or DONE
    state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
    return held.end(state, outcome)


def _empty(connection: Connection) -> None:
    connection.execute(delete(schema.jobs))
    connection.execute(delete(schema.attempts))
    connection.execute(delete(schema.unverified))


def test_no_job_is_lost_shared_or_stuck(open_journal: OpenJournal, clock: Clock) -> None:
    journals = [open_journal(retention=_EVER), open_journal(retention=_EVER)]

    class OnThisDatabase(Lives):
        def __init__(self) -> None:
            super().__init__(journals, clock)

    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
