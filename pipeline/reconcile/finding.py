"""One run: the forgotten objects are found, and become jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.aruna.client import ArunaRefused
from pipeline.journal import Journal
from pipeline.reconcile.account import Account
from pipeline.reconcile.course import Course, why_refused
from pipeline.reconcile.coverage import Coverage, Ours, covered
from pipeline.reconcile.judging import Criteria, Forgotten, is_known, why_forgotten
from pipeline.reconcile.payload import hook_for
from pipeline.reconcile.walking import Page, walk

#: Seconds after which an object without a callback counts as forgotten.
OLDER_THAN = 900.0


@dataclass(frozen=True)
class Search:
    """What one run looks for: ``projects`` names those to look through, none: all of ours.

    Both methods raise ``JournalUnavailable``, ``ArunaRefused`` if Aruna does not answer at all,
    and what those raise who watch the ``course``.
    """

    account: Account
    journal: Journal
    ours: Ours
    criteria: Criteria
    course: Course
    projects: tuple[str, ...] = ()

    def find(self) -> Iterator[Forgotten]:
        """What was forgotten, each object once, a page of objects in memory at a time."""
        found = set()
        coverage = covered(self.account, self.ours, self.projects, self.course)
        for project_id in coverage:
            for page in walk(self.account, project_id, self.course):
                for forgotten in self._unknown(self._forgotten(page, project_id, coverage)):
                    if forgotten.object.id not in found:  # an object with two parents comes twice
                        found.add(forgotten.object.id)
                        yield forgotten

    def take_up(self, forgotten: Forgotten) -> str | None:
        """The id of the job that is now in the journal; ``None`` if something else was faster, or
        Aruna refuses what the job needs."""
        try:
            source = self.account.get_object(forgotten.object.id)
            why = why_forgotten(source, forgotten.hook, self.criteria)
            if why is None:
                return None
            hook = hook_for(self.account, forgotten.hook.hook_id, source)
        except ArunaRefused as refusal:
            if refusal.unreachable:
                raise
            self.course.trouble(f"object {forgotten.object.id}", why_refused(refusal))
            return None
        if not self._unknown([replace(forgotten, object=source, why=why)]):
            return None
        return self.journal.enqueue(hook).job_id

    def _forgotten(self, page: Page, project_id: str, coverage: Coverage) -> list[Forgotten]:
        return [
            Forgotten(hook, source, project_id, f"{page.path}/{source.name}", why)
            for source in page.objects
            for hook in coverage[project_id]
            if (why := why_forgotten(source, hook, self.criteria))
        ]

    def _unknown(self, forgotten: list[Forgotten]) -> list[Forgotten]:
        """Those that the journal has no job for."""
        known = self.journal.known([one.object.id for one in forgotten]) if forgotten else {}
        return [
            one for one in forgotten if not any(is_known(one, job) for job in known[one.object.id])
        ]
