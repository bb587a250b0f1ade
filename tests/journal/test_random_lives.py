"""Random lives of jobs: whatever happens in whichever order, the journal keeps its promises.

Two hosts share two sources, two hooks and a clock that jumps. After every step no job and no
object has two holders that the journal confirms. In the end all jobs have ended, and after the
last delivery for each source and hook there was a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from pipeline.journal import IGNORED, Job, Journal, Outcome, Progress, State, Step, schema
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


@dataclass(frozen=True)
class Holder:
    """What a host believes to hold, at least ``until`` then.

    ``sent`` is the number of deliveries it has called back for.
    """

    journal: Journal
    job: Job
    until: float
    sent: int | None = None

    @property
    def held(self) -> tuple[str, str]:
        """How it names its job to the journal."""
        return self.job.id, self.job.lease or ""


class Lives(RuleBasedStateMachine):
    """Deliveries, holders, crashes and clocks, and what must be true of them."""

    def __init__(self, journals: Sequence[Journal], clock: Clock) -> None:
        super().__init__()
        self.journals = journals
        self.clock = clock
        self.clock.now = NOW
        journals[0]._writer.run(_empty)
        self.holders: list[Holder] = []
        self.jobs: set[str] = set()
        self.moment = 0
        self.contents: set[tuple[str, str, str]] = set()
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

    @rule(host=hosts, after=st.sampled_from([0.0, LEASE]))
    def claim(self, host: int, after: float) -> None:
        self.clock.now += after
        journal, until = self.journals[host], self.clock.now + LEASE
        for job in journal.claim(str(host), 3, LEASE):
            others = [other for other in self.holders if other.job.object_id == job.object_id]
            assert not any(other.until > self.clock.now for other in others)
            self.holders.append(Holder(journal, job, until))

    @precondition(lambda self: self.holders)
    @rule(which=some, stages=st.integers(1, 3), outcome=outcomes)
    def go_on(self, which: int, stages: int, outcome: Outcome) -> None:
        holder = self.holders[which % len(self.holders)]
        for _ in range(stages):
            if holder in self.holders:
                holder = self._go_on(holder, outcome)

    @precondition(lambda self: self.holders)
    @rule(which=some, stages=st.integers(0, 2), outcome=outcomes, same_content=st.booleans())
    def deliver_what_is_at_work(
        self, which: int, stages: int, outcome: Outcome, same_content: bool
    ) -> None:
        job = self.holders[which % len(self.holders)].job
        self.go_on(which, stages, outcome)
        content = int(job.content[0])
        changed = content if same_content else 3 - content
        hook = delivery(int(job.object_id[-1]), hook_id=job.hook_id, content_len=changed)
        self._deliver(self.journals[0], hook, None)

    @precondition(lambda self: self.holders)
    @rule(which=some, how=st.sampled_from(["crash", "release", "wait", "retry"]), later=pauses)
    def let_go(self, which: int, how: str, later: float) -> None:
        holder = self.holders[which % len(self.holders)]
        at = self.clock.now + later
        if how == "release":
            self._let_go(holder)
        elif how == "wait":
            self._say(holder, lambda h: h.journal.wait(*h.held, at=at, message="not yet"))
        elif how == "retry":
            error = {"code": "timeout", "message": "too long"}
            self._say(holder, lambda h: h.journal.retry(*h.held, at=at, **error))
        if holder in self.holders:
            self.holders.remove(holder)

    @precondition(lambda self: self.holders)
    @rule(host=hosts)
    def renew(self, host: int) -> None:
        mine = [holder for holder in self.holders if holder.journal is self.journals[host]]
        leases = {h.job.id: (h.job.lease or "", Progress("transform", 1, 1)) for h in mine}
        held = self.journals[host].renew(leases, LEASE)
        for holder in mine:
            if holder.job.id in held:
                self._becomes(holder, replace(holder, until=self.clock.now + LEASE))
            else:
                self._let_go(holder)

    @rule(host=hosts, seconds=jumps)
    def time_jumps_and_a_host_cleans_up(self, host: int, seconds: float) -> None:
        self.clock.now += seconds
        if seconds < 0:  # the journal may believe that leases are over which are not
            self.holders = [replace(holder, until=self.clock.now) for holder in self.holders]
        self.journals[host].put_back()
        self.journals[host].housekeeping()

    @invariant()
    def nobody_shares_a_job_or_an_object(self) -> None:
        confirmed = [holder.job for holder in self.holders if self._is_confirmed(holder)]
        assert len({job.id for job in confirmed}) == len(confirmed)
        assert len({job.object_id for job in confirmed}) == len(confirmed)

    def teardown(self) -> None:
        """All hosts crash, one comes back: it finishes what there is in a few rounds."""
        self.holders.clear()
        for _ in range(8):
            self.clock.now += DAY
            self.journals[0].housekeeping()
            for job in self.journals[0].claim("survivor", 100, LEASE):
                self._finish(Holder(self.journals[0], job, 0.0))
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
        self.moment += 1
        self.delivered[hook.object.id, hook.hook_id] = self.moment
        if outcome is None:
            self.contents.add((hook.object.id, hook.hook_id, fingerprint(hook.object)))
        self.jobs.add(journal.enqueue(hook, outcome=outcome).job_id)

    def _go_on(self, holder: Holder, outcome: Outcome) -> Holder:
        """One stage of a job's life; the holder as it is then."""
        if holder.job.step == Step.WORK:
            return self._work(holder, outcome)
        return self._call_back(holder) if holder.sent is None else self._end(holder)

    def _work(self, holder: Holder, outcome: Outcome) -> Holder:
        worked = self._say(holder, lambda h: h.journal.worked(*h.held, outcome))
        return holder if worked is None else self._becomes(holder, replace(holder, job=worked))

    def _call_back(self, holder: Holder) -> Holder:
        sending = self._say(holder, lambda h: h.journal.callback_sending(*h.held))
        if sending is None:
            return holder
        self.moment += 1
        self.called_back[sending.object_id, sending.hook_id] = self.moment
        return self._becomes(holder, replace(holder, job=sending, sent=sending.deliveries))

    def _end(self, holder: Holder) -> Holder:
        ended = self._say(holder, _ended)
        if ended is False:
            return self._becomes(holder, replace(holder, sent=None))
        if ended:
            key = holder.job.object_id, holder.job.hook_id
            assert self.called_back[key] > self.delivered[key]
            self.holders.remove(holder)
        return holder

    def _finish(self, holder: Holder) -> None:
        self.holders.append(holder)
        self.go_on(0, 3, DONE)
        assert not self.holders

    def _becomes(self, holder: Holder, changed: Holder) -> Holder:
        self.holders[self.holders.index(holder)] = changed
        return changed

    def _say(self, holder: Holder, say: Callable[[Holder], T]) -> T | None:
        try:
            return say(holder)
        except LeaseLost:
            self._let_go(holder)
            return None

    def _let_go(self, holder: Holder) -> None:
        holder.journal.release(*holder.held)
        self.holders.remove(holder)

    def _is_confirmed(self, holder: Holder) -> bool:
        try:
            holder.journal.confirm(*holder.held)
        except LeaseLost:
            return False
        return True


def _ended(holder: Holder) -> bool:
    outcome = holder.job.outcome or DONE
    state = State.SUCCEEDED if outcome.code in (None, IGNORED) else State.FAILED
    return holder.journal.ended(
        *holder.held, state=state, outcome=outcome, deliveries=holder.sent or 0
    )


def _empty(connection: Connection) -> None:
    connection.execute(delete(schema.jobs))
    connection.execute(delete(schema.attempts))


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
