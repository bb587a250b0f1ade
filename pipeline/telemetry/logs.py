"""Logs: one line for each event, ours, the libraries' and gunicorn's alike, with secrets masked.

``info`` tells the life of a job, ``warning`` that something is tried again, ``error`` that a job
failed or an operator must act, ``debug`` each step of a job and each request of the libraries.
Every line is redacted at one point, just before it is written.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor

from pipeline.telemetry.redaction import hiding, redact, secrets_of_hook

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.aruna.hook import Hook

#: Loggers whose lower levels say nothing an operator needs. boto3 prints the bodies of its
#: requests at ``debug`` (whole parts of a document), SQLAlchemy each statement at ``info``, urllib3
#: whole URLs in warnings that a stage says in its own words.
_AT_LEAST = {
    "boto3": logging.INFO,
    "botocore": logging.INFO,
    "s3transfer": logging.INFO,
    "sqlalchemy": logging.WARNING,
    "urllib3": logging.ERROR,
}
#: Paths that machines ask for every few seconds.
_PROBES = ("/health", "/metrics")


def configure(level: str, form: str) -> None:
    """Send every log line of this process to standard error.

    ``level`` is ``debug``, ``info``, ``warning`` or ``error``; ``form`` is ``json`` (one object a
    line) or ``text`` (for people). Also takes over Python's warnings and what threads die of.
    """
    logging.config.dictConfig(gunicorn_logconfig(level, form))
    logging.captureWarnings(True)
    # What logging says of an event that it failed to write is not redacted.
    logging.raiseExceptions = False
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_first(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def gunicorn_logconfig(level: str, form: str) -> dict[str, Any]:
    """The configuration of Python's ``logging``, as gunicorn's ``logconfig_dict`` takes it."""
    loggers: dict[str, Any] = {
        name: {"level": max(least, _number(level))} for name, least in _AT_LEAST.items()
    }
    for name in ("gunicorn.error", "gunicorn.access"):
        loggers[name] = {"level": _number(level), "handlers": ["stderr"], "propagate": False}
    if level != "debug":
        loggers["gunicorn.access"]["filters"] = ["no_probes"]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "root": {"level": _number(level), "handlers": ["stderr"]},
        "loggers": loggers,
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "line",
            }
        },
        "filters": {"no_probes": {"()": lambda: _is_no_probe}},
        "formatters": {"line": {"()": _formatter, "form": form}},
    }


def job_ended(log: BoundLogger, state: str, **facts: object) -> None:
    """The one line about an ended job that says everything: ``facts`` are its fields.

    ``info`` for a job that succeeded, ``error`` for one that failed.
    """
    log.log(logging.INFO if state == "succeeded" else logging.ERROR, f"job.{state}", **facts)


@contextmanager
def job_context(hook: Hook, *, job_id: str, attempt: int) -> Iterator[None]:
    """While this block runs, lines of this thread name the job, and its secrets are masked.

    The masking holds in every thread; the names do in threads started with this one's context
    (``contextvars.copy_context``).
    """
    with (
        hiding(secrets_of_hook(hook)),
        structlog.contextvars.bound_contextvars(
            job_id=job_id, hook_id=hook.hook_id, object_id=hook.object.id, attempt=attempt
        ),
    ):
        yield


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _first() -> list[Processor]:
    """What is added to an event where it happens, in the thread that logs it."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]


def _formatter(form: str) -> ProcessorFormatter:
    """The formatter of the one handler; the redaction stands just before the rendering."""
    return ProcessorFormatter(
        foreign_pre_chain=_first()[:-1],
        pass_foreign_args=True,
        processors=[
            _access_fields,
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _redacted,
            *_renderers(form),
        ],
    )


def _renderers(form: str) -> list[Processor]:
    if form == "json":
        return [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", pad_event_to=0)]


def _access_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    """gunicorn's access line as fields: its format's text, with query and headers, is dropped."""
    arguments = event.pop("positional_args", None)
    if event["_record"].name != "gunicorn.access" or not isinstance(arguments, Mapping):
        return event
    event["event"] = "request"
    event["method"] = arguments["m"]
    event["path"] = arguments["U"]
    event["status"] = int(arguments["s"])
    event["duration"] = float(arguments["L"])
    event["bytes"] = arguments["B"]
    event["remote"] = arguments["h"]
    return event


def _is_no_probe(record: logging.LogRecord) -> bool:
    """Whether an access line is of more interest than a probe that was answered well."""
    atoms = record.args
    return not (
        isinstance(atoms, Mapping) and atoms["U"] in _PROBES and str(atoms["s"]).startswith("2")
    )


def _redacted(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The redaction point: every text of the event, its names and its traceback included."""
    return {redact(name): _clean(value) for name, value in event.items()}


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(name)): _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return redact(str(value))


def _in_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first: lines are read from the left."""
    leading = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return leading | dict(event)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("pipeline").critical("uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None:
        _log_uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)
