"""One run: the forgotten objects are found, and become jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.aruna import ArunaRefused
from pipeline.journal import Journal
from pipeline.reconcile.account import Account
from pipeline.reconcile.course import Course, why_refused
from pipeline.reconcile.coverage import Coverage
from pipeline.reconcile.judging import Criteria, Forgotten, is_known, why_forgotten
from pipeline.reconcile.payload import hook_for
from pipeline.reconcile.walking import Page, walk

#: Seconds after which an object without a callback counts as forgotten.
OLDER_THAN = 900.0


def find(
    account: Account, journal: Journal, coverage: Coverage, criteria: Criteria, course: Course
) -> Iterator[Forgotten]:
    """What was forgotten, each object once, a page of objects in memory at a time.

    Raises ``JournalUnavailable``, and ``ArunaRefused`` if Aruna does not answer at all.
    """
    found = set()
    for project_id in coverage:
        for page in walk(account, project_id, course):
            for forgotten in _unknown(journal, _forgotten(page, project_id, coverage, criteria)):
                if forgotten.object.id not in found:  # an object with two parents comes twice
                    found.add(forgotten.object.id)
                    yield forgotten


def take_up(
    account: Account, journal: Journal, forgotten: Forgotten, criteria: Criteria, course: Course
) -> str | None:
    """The id of the job that is now in the journal; ``None`` if something else was faster, or
    Aruna refuses what the job needs.

    Raises as ``find`` does.
    """
    try:
        source = account.get_object(forgotten.object.id)
        why = why_forgotten(source, forgotten.hook, criteria)
        if why is None:
            return None
        hook = hook_for(account, forgotten.hook.hook_id, source)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            raise
        course.trouble(f"object {forgotten.object.id}", why_refused(refusal))
        return None
    if not _unknown(journal, [replace(forgotten, object=source, why=why)]):
        return None
    return journal.enqueue(hook).job_id


def _forgotten(
    page: Page, project_id: str, coverage: Coverage, criteria: Criteria
) -> list[Forgotten]:
    return [
        Forgotten(hook, source, project_id, f"{page.path}/{source.name}", why)
        for source in page.objects
        for hook in coverage[project_id]
        if (why := why_forgotten(source, hook, criteria))
    ]


def _unknown(journal: Journal, forgotten: list[Forgotten]) -> list[Forgotten]:
    """Those that the journal has no job for."""
    known = journal.known([one.object.id for one in forgotten]) if forgotten else {}
    return [one for one in forgotten if not any(is_known(one, job) for job in known[one.object.id])]
