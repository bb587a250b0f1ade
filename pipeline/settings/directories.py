"""The directories of a running service, made before its processes start."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from pipeline.settings import Settings, SettingsError

_PRIVATE = 0o700


def make_state_dir(settings: Settings) -> str | None:
    """Make STATE_DIR if the journal lies there; a warning if it will not survive a reboot.

    Raises ``SettingsError``.
    """
    directory = settings.state_dir.absolute()
    if not settings.journal_url.startswith("sqlite:") or settings.journal_url != _default(
        directory
    ):
        return None
    directory = directory.resolve()
    _make_private("STATE_DIR", directory)
    if directory.is_relative_to("/tmp"):  # noqa: S108 - that is what is warned of
        return f"STATE_DIR {directory} lies under /tmp: its journal is lost at a reboot"
    return None


def make_temp_dir(settings: Settings) -> Path:
    """Make TEMP_DIR and, empty, the directory of the metrics in it, which is given.

    Several services of one machine may share TEMP_DIR; their ports differ. Raises
    ``SettingsError``.
    """
    _make_private("TEMP_DIR", settings.temp_dir)
    metrics = settings.temp_dir / f"metrics-{settings.service_port}"
    shutil.rmtree(metrics, ignore_errors=True)
    _make_private("TEMP_DIR", metrics)
    return metrics


def _default(directory: Path) -> str:
    return f"sqlite:///{directory / 'journal.db'}"


def _make_private(variable: str, directory: Path) -> None:
    """The directory, this user's own and nobody else's to look into."""
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise SettingsError(variable, f"{directory} belongs to somebody else; name another one")
        directory.chmod(_PRIVATE)
    except OSError as error:
        raise SettingsError(
            variable, f"{directory} can't be made: {error.strerror}; name a directory that can"
        ) from error
