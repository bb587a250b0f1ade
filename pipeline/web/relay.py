"""The relay: the download of one running job, piped through to GFBio as it arrives.

The presigned URL never leaves the house. A token opens one job's download while that job waits
for GFBio; whoever answers need not be the process that runs the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from pipeline.aruna.download import Source, download
from pipeline.attempt import Attempt, Watch
from pipeline.errors import JobError
from pipeline.journal import Journal, JournalUnavailable, RelayGrant
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.transform.recognise import Kind

#: GFBio: fetches twice for each job, so a few are enough and many are an attack.
FETCHES = 8
#: Seconds between two notes of how far a fetch is.
NOTE_EVERY = 2.0
CONTENT_TYPES = {Kind.XML: "application/xml", Kind.ZIP: "application/zip"}


log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Relay:
    """What answers relay requests, of any job in the journal."""

    settings: Settings
    journal: Journal
    addresses: Addresses
    watch: Watch
    metrics: Metrics

    def grant(self, token: str) -> RelayGrant | None:
        """What the token opens; ``None`` for any that is not open, or was used too often."""
        granted = self.journal.relay_fetch(token, FETCHES)
        if granted is None:
            self.metrics.relay_fetches.labels("not_found").inc()
        return granted

    def stream(self, token: str, granted: RelayGrant) -> Iterator[bytes]:
        """The download, whole; the last block only if it is what the source was announced as.

        Raises ``JobError`` (``download_failed`` and the like), which the journal keeps for the job.
        """
        try:
            yield from self._blocks(token, granted)
        except JobError as error:
            self.metrics.relay_fetches.labels("broken_off").inc()
            self._note(self.journal.relay_ended, token, granted.number, error=_message(error))
            raise
        self.metrics.relay_fetches.labels("passed").inc()
        self._note(self.journal.relay_ended, token, granted.number)

    def _blocks(self, token: str, granted: RelayGrant) -> Iterator[bytes]:
        attempt = Attempt(self.settings.processing_timeout)
        source = Source(granted.download, granted.content_len, granted.sha256)
        limit = self.settings.max_input_bytes
        passed, noted_at = 0, time.monotonic()
        with (
            self.watch.over(attempt),
            session(self.addresses) as http,
            download(source, attempt, session=http, max_bytes=limit) as blocks,
        ):
            for block in blocks:
                self.metrics.bytes.labels("in").inc(len(block))
                yield block
                passed += len(block)
                if time.monotonic() - noted_at > NOTE_EVERY:
                    noted_at = time.monotonic()
                    self._note(self.journal.relay_moved, token, passed)
        self._note(self.journal.relay_moved, token, passed)

    def _note(self, write: Callable[..., None], *what: object, **how: object) -> None:
        """The answer to GFBio does not depend on whether the journal takes a note of it."""
        try:
            write(*what, **how)
        except JournalUnavailable as error:
            self.metrics.journal_errors.inc()
            log.warning("relay.not_noted", why=str(error))


def _message(error: JobError) -> str:
    return str(getattr(error, "message", error))
