"""The relay: the download of one running job, piped through to GFBio as it arrives.

The presigned URL never leaves the house. A token opens one job's download while that job waits
for GFBio; whoever answers need not be the process that runs the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.aruna.download import Source, download
from pipeline.attempt import Attempt, Watch
from pipeline.errors import JobError
from pipeline.journal import Journal, RelayGrant
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics
from pipeline.transform.recognise import Kind

#: GFBio: fetches twice for each job, so a few are enough and many are an attack.
FETCHES = 8
CONTENT_TYPES = {Kind.XML: "application/xml", Kind.ZIP: "application/zip"}


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
            yield from self._blocks(granted)
        except JobError as error:
            self.metrics.relay_fetches.labels("broken_off").inc()
            self.journal.relay_passed(token, error=getattr(error, "message", str(error)))
            raise
        self.metrics.relay_fetches.labels("passed").inc()
        self.journal.relay_passed(token, error=None)

    def _blocks(self, granted: RelayGrant) -> Iterator[bytes]:
        attempt = Attempt(self.settings.processing_timeout)
        source = Source(granted.download, granted.content_len, granted.sha256, granted.name)
        limit = self.settings.max_input_bytes
        with (
            self.watch.over(attempt),
            session(self.addresses) as http,
            download(source, attempt, session=http, max_bytes=limit) as blocks,
        ):
            for block in blocks:
                self.metrics.bytes.labels("in").inc(len(block))
                yield block
