"""GFBio's transformation service: its API, its traps, and how it can fail."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.parsers import expat

from pipeline.errors import JobFailed
from pipeline.transform.bioschemas import transform, transform_archive
from sandbox.errors import Answered, Dropped
from sandbox.failpoints import Failpoints
from sandbox.gfbio.generated import generated_result
from sandbox.gfbio.source import Input, InputRefused, checked, fetch
from sandbox.http_server import Exchange
from sandbox.switches import GfbioSwitches

_BLOCK = 256 * 1024
_LATEST = "2"
_SHELL = b'{"@context": "https://schema.org/", "@type": "Dataset", "name": null}'
#: A namespace that the embedded transformation takes and GFBio's does not.
_ABCD_21 = b"http://www.tdwg.org/schemas/abcd/2.1"
_NOT_JSON = b"<!DOCTYPE html><html><body>It works!</body></html>"
_TRANSFORMATION = {
    "transformation_id": "5",
    "name": "ABCD to Bioschemas",
    "input_format": "ABCD 2.06",
    "output_format": "JSON-LD",
    "engine": "python",
}


@dataclass
class Job:
    """A finished job and its result, ``None`` if the transformation failed."""

    described: dict[str, str]
    result: bytes | None = field(repr=False)


class Gfbio:
    """Answers requests below ``/api``. ``jobs`` are those that have not been deleted."""

    def __init__(
        self, switches: GfbioSwitches, failpoints: Failpoints, closing: threading.Event
    ) -> None:
        self._switches = switches
        self._failpoints = failpoints
        self._closing = closing
        self._lock = threading.Lock()
        self.jobs: dict[str, Job] = {}

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        if self._switches.down:
            raise Dropped
        self._fail_if_asked()
        path = urlsplit(exchange.path).path.removeprefix("/api/").strip("/")
        query = dict(parse_qsl(urlsplit(exchange.path).query, keep_blank_values=True))
        service, _, rest = path.partition("/")
        job_id, _, file = rest.partition("/")
        match exchange.command, service, job_id, file:
            case (("GET" | "POST"), "transform", "", ""):
                self._transform(exchange, query)
            case "GET", "results", _, "":
                self._job(exchange, job_id)
            case "GET", "results", _, _:
                self._result(exchange, job_id, file)
            case "DELETE", "results", _, "":
                self._delete(exchange, job_id)
            case "GET", "transformations", _, _:
                self._transformations(exchange, job_id)
            case "GET", _, _, _:
                raise _error("Service not found")
            case _:
                raise _error("Method not allowed", 405)

    def _transform(self, exchange: Exchange, query: dict[str, str]) -> None:
        posted = exchange.command == "POST"
        if posted and self._switches.post is None:
            raise _error("Method not allowed", 405)
        with self._failpoints.call("gfbio.transform", url=query.get("input_file_url", "")):
            _check_transformation(query)
            source = self._source(exchange, query, posted=posted)
            job = self._work(exchange, query, source)
        if posted and self._switches.post == "result":
            self._send(exchange, job.result)
        else:
            exchange.answer(302, headers={"location": f"results/{job.described['job_id']}/"})

    def _source(self, exchange: Exchange, query: dict[str, str], *, posted: bool) -> Input:
        try:
            if posted:
                kind = exchange.headers.get("content-type", "")
                return checked("posted", b"".join(exchange.body()), kind)
            return fetch(query.get("input_file_url", ""))
        except InputRefused as refused:
            url = f": {query.get('input_file_url')}" if self._switches.quotes_url else ""
            raise _error(f"{refused}{url}") from refused

    def _work(self, exchange: Exchange, query: dict[str, str], source: Input) -> Job:
        started = datetime.now(UTC)
        zipped = query.get("input_file_zipped", "false") == "true"
        self._closing.wait(self._switches.seconds)
        result = None
        if source.is_shell_safe and not self._switches.big:
            result = _transformed(source.content, zipped=zipped)
        finished = datetime.now(UTC)
        job_id = f"{secrets.randbelow(10**10):010}"
        described = {
            "job_id": job_id,
            "transformation_id": query["transformation"],
            "version_id": query.get("version", _LATEST),
            "input_file_url": query.get("input_file_url", "").replace(" ", "%20"),
            "input_file_zipped": str(zipped).lower(),
            "query": f"http://{exchange.headers['host']}{exchange.path}",
            "input_file": f"input/{source.name}",
            "status": "complete",
            "start_time": started.isoformat(timespec="seconds"),
            "result_file": f"output/result.{'zip' if zipped else 'json'}",
            "finish_time": finished.isoformat(timespec="seconds"),
            "combined_download": f"{job_id}.zip",
            "job_expiration_date": (finished + timedelta(days=1)).isoformat(timespec="seconds"),
        }
        job = Job(described, result)
        with self._lock:
            self.jobs[job_id] = job
        return job

    def _job(self, exchange: Exchange, job_id: str) -> None:
        with self._failpoints.call("gfbio.job", job_id=job_id):
            job = self._found(job_id)
        _answer(exchange, {"job": job.described})

    def _result(self, exchange: Exchange, job_id: str, file: str) -> None:
        with self._failpoints.call("gfbio.result", job_id=job_id):
            job = self._found(job_id)
            if file != job.described["result_file"]:
                raise _error("Not Found")
        self._send(exchange, job.result)

    def _delete(self, exchange: Exchange, job_id: str) -> None:
        with self._failpoints.call("gfbio.delete", job_id=job_id):
            self._found(job_id)
            self._closing.wait(self._switches.deletion_seconds)
            with self._lock:
                self.jobs.pop(job_id, None)
        _answer(exchange, {"job_id": job_id, "status": "deleted"})

    def _transformations(self, exchange: Exchange, transformation: str) -> None:
        with self._failpoints.call("gfbio.transformations", transformation=transformation):
            if transformation not in ("", "5"):
                raise _error("Transformation ID not found")
        versions = [{**_TRANSFORMATION, "version_id": number} for number in ("1", _LATEST)]
        if transformation:
            _answer(exchange, {"transformation": {**_TRANSFORMATION, "versions": versions}})
        else:
            _answer(exchange, {"transformations": versions[-1:]})

    def _found(self, job_id: str) -> Job:
        with self._lock:
            job = self.jobs.get(job_id)
        if job is None:
            raise _error("Job not found")
        return job

    def _fail_if_asked(self) -> None:
        with self._lock:
            failing = self._switches.failures > 0
            self._switches.failures -= failing
        if failing:
            raise Answered(500, b"Internal Server Error", {"content-type": "text/plain"})

    def _send(self, exchange: Exchange, result: bytes | None) -> None:
        size, blocks = self._stored(result)
        headers = {"content-type": "application/json"}
        if self._switches.gzip and "gzip" in exchange.headers.get("accept-encoding", ""):
            packed = gzip.compress(b"".join(blocks))
            size, blocks = len(packed), _blocks(packed)
            headers["content-encoding"] = "gzip"
        broken = self._switches.result in ("truncated", "cut")
        if self._switches.result != "cut":
            headers["content-length"] = str(size)
        exchange.start(200, headers)
        self._write(exchange, blocks, size // 2 if broken else size)
        if broken or self._switches.result == "cut":
            raise Dropped

    def _stored(self, result: bytes | None) -> tuple[int, Iterable[bytes]]:
        if self._switches.result == "empty":
            return 0, []
        if self._switches.result == "not_json":
            return len(_NOT_JSON), [_NOT_JSON]
        if self._switches.result != "missing" and self._switches.big:
            return self._switches.big, generated_result(self._switches.big)
        if self._switches.result == "missing" or result is None:
            raise Answered(404, b"<h1>Not Found</h1>", {"content-type": "text/html"})
        return len(result), _blocks(result)

    def _write(self, exchange: Exchange, blocks: Iterable[bytes], limit: int) -> None:
        sent = 0
        for block in blocks:
            self._switches.sent(sent)
            exchange.wfile.write(block[: limit - sent])
            sent += len(block)
            if sent >= limit:
                return


def _check_transformation(query: dict[str, str]) -> None:
    if not query.get("transformation"):
        raise _error("No transformation ID specified")
    if query["transformation"] != "5":
        raise _error("Transformation ID not found")
    if query.get("version", _LATEST) != _LATEST:
        raise _error("Version not found")


def _transformed(content: bytes, *, zipped: bool) -> bytes | None:
    if not zipped and _ABCD_21 in content:
        return _SHELL
    try:
        return b"".join((transform_archive if zipped else transform)(_blocks(content)))
    except JobFailed:
        return _SHELL if not zipped and _well_formed(content) else None


def _well_formed(content: bytes) -> bool:
    try:
        expat.ParserCreate().Parse(content, True)
    except expat.ExpatError:
        return False
    return True


def _blocks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _BLOCK):
        yield content[start : start + _BLOCK]


def _answer(exchange: Exchange, content: dict[str, Any], status: int = 200) -> None:
    exchange.answer(status, _json(content), _JSON)


def _error(message: str, status: int = 404) -> Answered:
    return Answered(status, _json({"error_code": status, "error_message": message}), _JSON)


def _json(content: dict[str, Any]) -> bytes:
    # PHP's way: slashes escaped; GFBio's: two spaces before everything.
    return b"  " + json.dumps(content, separators=(",", ":")).replace("/", "\\/").encode()


_JSON = {"content-type": "application/json; charset=utf-8"}
