"""Deliveries of hooks, and journals in which a day has passed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.hook import Credentials, Hook
from pipeline.errors import Code
from pipeline.journal import Job, Journal, Outcome, Progress, State

#: 24 November 2026, 13:00 UTC.
NOON = 1795525200.0
DAY = 86400.0
#: All that must never be read in a log, an answer or a metric; each value holds ``LEAK``.
MARKED = {
    "token": "LEAKtoken-part-two",
    "access_key": "LEAKACCESSKEY01",
    "secret_key": "LEAK/secret+key/02",
    "secret": "LEAKsecret+of/hook03=",
    "signature": "LEAK5164af7e04signature",
    "credential": "LEAKcredential%2F20261124%2FRegionOne%2Fs3%2Faws4_request",
}
LEAK = "leak"
DOWNLOAD = (
    "https://herbarium.s3.example.org/plants/{name}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={MARKED['credential']}&X-Amz-Date=20261124T084915Z"
    f"&X-Amz-Signature={MARKED['signature']}&X-Amz-SignedHeaders=host"
)


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def delivery(name: str = "plants.xml", *, length: int = 846147, expires: float = 6 * DAY) -> Hook:
    """A hook for a source of that name and length (bytes), its token good for ``expires`` s."""
    object_id = f"01J{sha256(name.encode()).hexdigest()[:20].upper()}XYZ"
    return Hook(
        hook_id="01HOOKREGISTRATION00000001",
        object=models_pb2.Object(
            id=object_id,
            name=name,
            content_len=length,
            hashes=[models_pb2.Hash(alg=models_pb2.HASHALGORITHM_SHA256, hash="ab" * 32)],
            status=models_pb2.STATUS_AVAILABLE,
        ),
        credentials=Credentials(
            secret=MARKED["secret"],
            pubkey_serial=1,
            download=DOWNLOAD.format(name=name),
            token=token(NOON + expires),
            access_key=MARKED["access_key"],
            secret_key=MARKED["secret_key"],
        ),
    )


def token(expires: float) -> str:
    """A JWT as Aruna's that ends at ``expires`` (seconds since the epoch)."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(expires)}).encode())
    return f"eyJhbGciOiJFZERTQSJ9.{claims.decode().rstrip('=')}.{MARKED['token']}"


def claimed(journal: Journal, hook: Hook) -> Job:
    """A delivery that came and is worked on now."""
    job_id = journal.enqueue(hook).job_id
    (job,) = [job for job in journal.claim("a worker", 100, 60) if job.id == job_id]
    return job


def held(job: Job) -> tuple[str, str]:
    """A job's id and the lease it is held by."""
    assert job.lease is not None
    return job.id, job.lease


def succeeded(journal: Journal, hook: Hook, clock: Clock, *, took: float, written: int) -> str:
    """A job that went well and took so many seconds; its id."""
    job = claimed(journal, hook)
    length = hook.object.content_len
    journal.renew({job.id: (held(job)[1], Progress("upload", length, written))}, 60)
    journal.note_result(*held(job), f"{hook.object.id[:-3]}RES", f"{hook.object.name[:-4]}.json")
    clock.now += took
    journal.worked(*held(job), Outcome(None))
    journal.ended(*held(job), state=State.SUCCEEDED, outcome=Outcome(None), deliveries=1)
    return job.id


def failed(journal: Journal, hook: Hook, code: Code, message: str) -> str:
    """A job that failed for good; its id."""
    job = claimed(journal, hook)
    outcome = Outcome(code, message)
    journal.worked(*held(job), outcome)
    journal.ended(*held(job), state=State.FAILED, outcome=outcome, deliveries=1)
    return job.id


def waiting(journal: Journal, hook: Hook, code: Code, message: str, *, at: float) -> str:
    """A job whose first attempt failed and whose next one is due ``at``; its id."""
    job = claimed(journal, hook)
    journal.retry(*held(job), at=at, code=code, message=message)
    return job.id


def running(journal: Journal, hook: Hook, stage: str, done: int, written: int) -> str:
    """A job that is in that stage with so many bytes read and written; its id."""
    job = claimed(journal, hook)
    journal.renew({job.id: (held(job)[1], Progress(stage, done, written))}, 3600)
    return job.id


def busy_day(journal: Journal, clock: Clock) -> dict[str, str]:
    """A day of all sorts, which ends at noon; the ids of some of its jobs."""
    clock.now = NOON - 3 * 3600
    for number in range(4):
        hook = delivery(f"Herbarium_{number}.xml", length=4_200_000 + number)
        succeeded(journal, hook, clock, took=4.5 + number, written=3_100_000)
    ids = {"succeeded": succeeded(journal, delivery(), clock, took=2.25, written=612_000)}
    clock.now = NOON - 5400
    ids["invalid"] = failed(
        journal,
        delivery("minutes.xml"),
        Code.INVALID_INPUT,
        "the document's root element is <html>, not DataSets of ABCD 2.06 or 2.1",
    )
    ids["expired"] = failed(
        journal,
        delivery("Old collection (1893).xml", expires=-60.0),
        Code.TOKEN_EXPIRED,
        "the hook's registration ended on 2026-11-24 11:59 UTC; it must be registered anew",
    )
    clock.now = NOON - 1500
    ids["gfbio"] = failed(
        journal,
        delivery("sub/dir/Bryophyta.xml"),
        Code.GFBIO_UNAVAILABLE,
        "GFBio can't be reached, or broke off its answer",
    )
    clock.now = NOON - 95
    ids["waiting"] = waiting(
        journal,
        delivery("Lichenes.xml"),
        Code.UPLOAD_FAILED,
        "the data proxy answered 503 to a part",
        at=NOON + 18,
    )
    clock.now = NOON - 41
    ids["running"] = running(
        journal,
        delivery("HoffmannPlantsV3.xml", length=92_400_000),
        "upload",
        61_300_000,
        41_000_000,
    )
    clock.now = NOON - 3
    ids["early"] = running(
        journal, delivery("Myxomycetes.zip", length=18_500_000), "download", 1_048_576, 0
    )
    clock.now = NOON
    return ids
