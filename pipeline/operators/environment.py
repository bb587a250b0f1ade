"""What every command needs first: the settings and the journal of the service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from pipeline.aruna.hook import token_expiry
from pipeline.journal import Journal, JournalUnavailable, UnknownJob
from pipeline.operators import CommandFailed, units
from pipeline.settings import Settings, SettingsError
from pipeline.telemetry import logs, redaction

_WRONG_SETTING = 2


def settings_of_service() -> Settings:
    """The settings in the environment, their secrets hidden; raises ``CommandFailed``."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as wrong:
        raise CommandFailed(str(wrong), status=_WRONG_SETTING) from wrong
    redaction.hide(redaction.secrets_of_settings(settings))
    logs.configure("error", "text")
    return settings


@contextmanager
def journal_of_service() -> Iterator[Journal]:
    """The service's journal, open; its errors become ``CommandFailed``."""
    settings = settings_of_service()
    _expect_file(settings.journal_url)
    journal = Journal(
        settings.journal_url,
        keys=settings.journal_key,
        retention=settings.journal_retention_days,
    )
    try:
        journal.open()
        try:
            yield journal
        finally:
            journal.close()
    except (JournalUnavailable, UnknownJob) as trouble:
        raise CommandFailed(str(trouble)) from trouble


def _expect_file(url: str) -> None:
    """A journal that a command would have to create is not the service's."""
    file = make_url(url).database
    if url.startswith("sqlite:") and not Path(file or "").is_file():
        raise CommandFailed(
            f"there is no journal at {file}; set STATE_DIR or JOURNAL_URL as the service has it",
            status=_WRONG_SETTING,
        )


def operators_token(settings: Settings) -> str:
    """The operator's own API token; raises ``CommandFailed`` if it is missing or has expired."""
    token = settings.aruna_token
    if token is None:
        raise CommandFailed(
            "ARUNA_TOKEN is missing; set it to a personal API token with the right APPEND on the "
            "hooks' projects",
            status=_WRONG_SETTING,
        )
    expires = token_expiry(token)
    if expires is not None and expires <= time.time():
        raise CommandFailed(f"ARUNA_TOKEN expired on {units.moment(expires)}; set a new one")
    return token
