"""The web side: one Bottle application that takes hooks and says how it is.

``gunicorn app:app`` finds the application under the name ``app``, which is built from the
environment when it is asked for; importing this module makes nothing.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import structlog
from bottle import Bottle, HTTPResponse, request
from gunicorn.http.errors import ParseException

from pipeline import __version__
from pipeline.aruna.hook import Hook
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobError
from pipeline.jobs import callback
from pipeline.journal import IGNORED, JournalUnavailable, Outcome, State
from pipeline.operators.status import HEADERS as STATUS_HEADERS
from pipeline.operators.status import authorised, status_page
from pipeline.service import Service
from pipeline.settings import Settings
from pipeline.telemetry.redaction import redact
from pipeline.transform.recognise import Kind
from pipeline.web.payload import HookRefused, parse_hook
from pipeline.web.relay import CONTENT_TYPES

#: Bytes of a hook's body, and seconds until it is here.
MAX_BODY = 1024 * 1024
BODY_SECONDS = 10.0

_REFUSALS = {
    "unauthorized": 401,
    Code.INVALID_SECRET: 403,
    "payload_too_large": 413,
    Code.JOURNAL_UNAVAILABLE: 503,
}
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed"}

log = structlog.get_logger(__name__)


class Application:
    """A WSGI application that carries its service, for whoever starts and stops it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._routes = build_routes(service)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """WSGI."""
        try:
            answer: Iterable[bytes] = self._routes(environ, start_response)
        except Exception:
            # The boundary of the web side: what nobody foresaw is told to the log alone.
            log.exception("request.defect")
            body = str(_error(500).body).encode()
            start_response("500 Internal Server Error", [("Content-Type", "application/json")])
            return [body]
        return answer


def __getattr__(name: str) -> Application:
    if name == "app":
        return Application(Service(Settings.from_environment(os.environ)))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_routes(service: Service) -> Bottle:
    """The routes over a service."""
    routes = Bottle()
    routes.default_error_handler = _error_as_json
    # Bottle's own catching writes tracebacks past the log, where nothing is redacted.
    routes.catchall = False
    routes.route("/webhook", ["POST", "PUT"], lambda: webhook(service))
    routes.get("/health", callback=lambda: health(service))
    routes.get("/metrics", callback=lambda: metrics(service))
    routes.get("/status", callback=lambda: status(service))
    routes.get("/relay/<token>/<name>", callback=lambda token, name: relay(service, token, name))
    return routes


def webhook(service: Service) -> HTTPResponse:
    """Take a hook: check who calls and what, put it into the journal, wake the pool."""
    try:
        _check_caller(service.settings)
        hook = parse_hook(_body(service))
        _check_secret(service.settings, hook)
        word, answer = _accept(service, hook)
    except HookRefused as refusal:
        word, answer = _refuse(service, refusal)
    service.metrics.hooks.labels(word).inc()
    return answer


def _check_caller(settings: Settings) -> None:
    """Raise ``HookRefused`` unless the request carries one of the webhook's tokens."""
    if not settings.webhook_token:
        return
    # Not by bottle, which takes it for UTF-8 and fails at any other byte.
    given = request.environ.get("HTTP_AUTHORIZATION", "").encode("latin-1")
    genuine = [
        hmac.compare_digest(given, f"Bearer {token}".encode()) for token in settings.webhook_token
    ]
    if not any(genuine):
        raise HookRefused("unauthorized", "the bearer token is missing or wrong")


def _body(service: Service) -> bytes:
    """The request's body; ``HookRefused`` if it is too large, broken, or not here in time."""
    if max(request.content_length, 0) > MAX_BODY:
        raise _too_large()
    attempt = Attempt(BODY_SECONDS)
    try:
        with service.watch.over(attempt), attempt.aborting(partial(_hang_up, request.environ)):
            body: bytes = request.environ["wsgi.input"].read(MAX_BODY + 1)
            attempt.check()
    except JobError as error:
        message = f"the body was not here within {BODY_SECONDS:g} seconds"
        raise HookRefused("invalid_json", message) from error
    except (OSError, ParseException) as error:
        raise HookRefused("invalid_json", "the body broke off") from error
    if len(body) > MAX_BODY:
        raise _too_large()
    return body


def _hang_up(environ: dict[str, Any]) -> None:
    """Read no more of a request, in whatever thread somebody waits for it.

    gunicorn 27.0.1: a connection whose body ``failed`` has no other request.
    """
    environ["wsgi.input"].failed = True
    with suppress(OSError):
        environ["gunicorn.socket"].shutdown(socket.SHUT_RD)


def _too_large() -> HookRefused:
    return HookRefused("payload_too_large", f"the body is larger than {MAX_BODY} bytes")


def _check_secret(settings: Settings, hook: Hook) -> None:
    expected = settings.webhook_secret
    if expected is None:
        return
    if not hmac.compare_digest(expected.encode(), hook.credentials.secret.encode()):
        raise HookRefused(Code.INVALID_SECRET, "secret: not the one this service expects")


def _accept(service: Service, hook: Hook) -> tuple[str, HTTPResponse]:
    """Answer only once the job, or the callback that is all there is to do, is in the journal."""
    ignored = hook.why_ignored
    outcome = Outcome(IGNORED, ignored) if ignored else None
    try:
        receipt = service.journal.enqueue(hook, outcome=outcome)
    except JournalUnavailable as error:
        raise HookRefused(
            Code.JOURNAL_UNAVAILABLE, "the journal can't be written", hook=hook
        ) from error
    service.pool.wake()
    if ignored:
        return "ignored", _json(200, status="ignored", message=ignored)
    if receipt.duplicate:
        return "duplicate", _json(
            202, status="duplicate", message="Processing already", job_id=receipt.job_id
        )
    return "accepted", _json(
        202, status="accepted", message="Processing started", job_id=receipt.job_id
    )


def _refuse(service: Service, refusal: HookRefused) -> tuple[str, HTTPResponse]:
    """Answer the sender, and tell Aruna if the hook said enough to do so.

    Aruna 2.0.4: looks at no answer; without a callback the object stays at RUNNING for ever.
    """
    if refusal.code == Code.JOURNAL_UNAVAILABLE:
        service.metrics.journal_errors.inc()
        log.error("hook.not_written", message=refusal.message)
    if refusal.hook is not None:
        _tell_aruna(service, refusal, refusal.hook)
    answer = _json(_REFUSALS.get(refusal.code, 400), error=refusal.code, message=refusal.message)
    return refusal.code, answer


def _tell_aruna(service: Service, refusal: HookRefused, hook: Hook) -> None:
    """The error callback: by the journal if it can be written, else once, from memory."""
    outcome = Outcome(refusal.code, refusal.message)
    if refusal.code != Code.JOURNAL_UNAVAILABLE:
        try:
            service.journal.enqueue(hook, outcome=outcome)
        except JournalUnavailable:
            log.error("hook.not_written", message=refusal.message)
        else:
            service.pool.wake()
            return
    service.later(lambda: _send_once(service, hook, outcome))


def _send_once(service: Service, hook: Hook, outcome: Outcome) -> None:
    try:
        callback.send(service.aruna, hook, callback.labels_for(outcome, hook.object))
    except JobError as error:
        log.error("callback.lost", object_id=hook.object.id, message=str(error))


def health(service: Service) -> HTTPResponse:
    """Whether hooks can be taken: the journal is written and counted."""
    try:
        service.journal.probe()
        counts = service.journal.counts()
    except JournalUnavailable:
        return _json(503, status="unavailable", version=__version__)
    jobs = {state: counts.get(state, 0) for state in (State.QUEUED, State.RUNNING, State.FAILED)}
    return _json(200, status="ok", version=__version__, jobs=jobs)


def metrics(service: Service) -> HTTPResponse:
    """The text that Prometheus reads."""
    return HTTPResponse(
        service.metrics.exposition(service.journal),
        content_type="text/plain; version=0.0.4; charset=utf-8",
    )


def status(service: Service) -> HTTPResponse:
    """The page for operators."""
    token = service.settings.status_token
    if token is None:
        return _error(404)
    if not authorised(request.environ.get("HTTP_AUTHORIZATION"), token):
        answer = _json(401, error="unauthorized", message="the status page needs its password")
        answer.set_header("WWW-Authenticate", 'Basic realm="abcd2bioschema", charset="UTF-8"')
        return answer
    page = status_page(service.journal, refreshing="still" not in request.query)
    return HTTPResponse(page, headers=STATUS_HEADERS)


def relay(service: Service, token: str, name: str) -> HTTPResponse:
    """The download of the running job whose token it is, as often as GFBio asks while it runs."""
    try:
        granted = service.relay.grant(token)
    except JournalUnavailable:
        return _json(503, error=Code.JOURNAL_UNAVAILABLE, message="try again")
    if granted is None or not name.endswith((".xml", ".zip")):
        return _error(404)
    answer = HTTPResponse(content_type=CONTENT_TYPES[Kind(granted.kind)])
    if granted.content_len:
        answer.set_header("Content-Length", str(granted.content_len))
    if request.method == "HEAD":
        return answer
    try:
        answer.body = _opened(service.relay.stream(token, granted))
    except JobError as error:
        log.warning("relay.failed", job_id=granted.job_id, message=str(error))
        return _json(502, error=Code.DOWNLOAD_FAILED, message="the source could not be fetched")
    return answer


def _opened(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same stream once its first block is there, so that a failure is no half answer."""
    first = next(stream)
    return chain([first], stream)


def _error(status: int) -> HTTPResponse:
    code = _STATUS_CODES.get(status, "internal_error" if status >= 500 else "bad_request")
    texts = {
        "not_found": "there is nothing here",
        "method_not_allowed": "this is asked for with another method",
        "internal_error": "the service made a mistake; its log tells more",
        "bad_request": "the request can't be understood",
    }
    return _json(status, error=code, message=texts[code])


def _error_as_json(error: HTTPResponse) -> str:
    """Bottle's own errors, in the shape of all others."""
    answer = _error(error.status_code)
    error.content_type = answer.content_type
    return str(answer.body)


def _json(code: int, /, **members: object) -> HTTPResponse:
    if "message" in members:
        members["message"] = redact(str(members["message"]))
    return HTTPResponse(json.dumps(members), status=code, content_type="application/json")
