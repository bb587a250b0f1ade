"""How gunicorn runs the application: everything from the environment, see README."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import structlog

from pipeline.settings import Settings, SettingsError
from pipeline.settings.directories import empty_metrics_dir, make_state_dir, make_temp_dir
from pipeline.telemetry import logs
from pipeline.telemetry.redaction import hide, secrets_of_settings

# Names with an underscore: gunicorn takes any other that is also one of its settings.
try:
    _settings = Settings.from_environment(os.environ)
    _state_warning = make_state_dir(_settings)
    _metrics_dir = make_temp_dir(_settings)
except SettingsError as _error:
    print(f"abcd2bioschema: {_error}", file=sys.stderr)  # noqa: T201 - there is no log yet
    sys.exit(1)

_log = structlog.get_logger("abcd2bioschema")

# prometheus_client looks for it when it is imported, which happens after the fork.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_dir)

_host = f"[{_settings.server_host}]" if ":" in _settings.server_host else _settings.server_host
bind = f"{_host}:{_settings.service_port}"
workers = _settings.web_concurrency
worker_class = "pipeline.web.worker.WebWorker"
# GFBio fetches twice for each job; the rest answers hooks, probes and what strangers ask.
threads = 2 * _settings.worker_threads + 64
# With what the jobs have open, below the 1024 descriptors that a process usually may have.
worker_connections = 512
keepalive = 5
timeout = 60
graceful_timeout = 40
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 4094
worker_tmp_dir = str(_settings.temp_dir)
# One path for all instances of a user, and an error on a read-only root.
control_socket_disable = True
proc_name = "abcd2bioschema"
accesslog = "-"
logconfig_dict = logs.gunicorn_logconfig(_settings.log_level, _settings.log_format)


def on_starting(_server: Any) -> None:
    """Say once, in the master, what an operator should know of this start."""
    logs.configure(_settings.log_level, _settings.log_format)
    hide(secrets_of_settings(_settings))
    if _settings.allow_insecure:
        _log.warning("ALLOW_INSECURE is set: http, private addresses and unknown callers may pass")
    if _state_warning:
        _log.warning(_state_warning)


def when_ready(_server: Any) -> None:
    """Begin with empty metrics; not before this process has the port, which another may have."""
    try:
        empty_metrics_dir(_metrics_dir)
    except SettingsError as error:
        sys.exit(f"abcd2bioschema: {error}")


def post_worker_init(worker: Any) -> None:
    """Begin to run jobs in a worker, and end them with it."""
    service = worker.wsgi.service
    service.start()

    def terminate(number: int, frame: Any) -> None:
        service.begin_stop()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, terminate)


def worker_exit(_server: Any, worker: Any) -> None:
    """Put back into the queue what could not be finished."""
    if worker.wsgi is not None:
        worker.wsgi.service.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the live gauges of a worker that has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
