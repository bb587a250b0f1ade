"""The directories of a running service, made before its processes start."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from sqlalchemy.engine import make_url

from pipeline.settings import Settings, SettingsError

_PRIVATE = 0o700


def make_state_dir(settings: Settings) -> str | None:
    """Make STATE_DIR if the journal lies there; a warning if it will not survive a reboot.

    Raises ``SettingsError``, also if the journal's file is to lie where nothing can be written.
    """
    url = make_url(settings.journal_url)
    if url.get_backend_name() != "sqlite":
        return None
    directory = settings.state_dir.absolute()
    file = Path(url.database or "").absolute()
    if file != directory / "journal.db":
        _expect_folder(file)
        return None
    directory = directory.resolve()
    _make_private("STATE_DIR", directory)
    if directory.is_relative_to("/tmp"):  # noqa: S108 - that is what is warned of
        return f"STATE_DIR {directory} lies under /tmp: its journal is lost at a reboot"
    return None


def make_temp_dir(settings: Settings) -> Path:
    """Make TEMP_DIR; the directory of the metrics in it, which ``empty_metrics_dir`` makes.

    Several services of one machine may share TEMP_DIR; they listen on different addresses. Raises
    ``SettingsError``.
    """
    _make_private("TEMP_DIR", settings.temp_dir)
    return settings.temp_dir / f"metrics-{settings.server_host}-{settings.service_port}"


def empty_metrics_dir(directory: Path) -> None:
    """Make the directory of the metrics, empty; for the process alone that has the service's port.

    Raises ``SettingsError``.
    """
    shutil.rmtree(directory, ignore_errors=True)
    _make_private("TEMP_DIR", directory)


def _expect_folder(file: Path) -> None:
    if not file.parent.is_dir():
        what = f"lies in {file.parent}, which is no directory; make it, or name another file"
        raise SettingsError("JOURNAL_URL", what)
    if file.is_dir():
        raise SettingsError("JOURNAL_URL", f"names {file}, a directory; name a file")


def _make_private(variable: str, directory: Path) -> None:
    """Make the directory for this user alone; one of theirs that is there stays as it is."""
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise SettingsError(
            variable, f"{directory} can't be made: {error.strerror}; name a directory that can"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise SettingsError(variable, f"{directory} belongs to somebody else; name another one")
