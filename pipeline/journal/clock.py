"""The database's clock, with which hosts that share a journal compare theirs."""

from __future__ import annotations

import time
from contextlib import closing

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.journal.database import Database


def seconds_ahead(url: str) -> float | None:
    """How far PostgreSQL's clock is ahead of this machine's; ``None`` if it can't be read, and for
    SQLite, which has none of its own."""
    if url.startswith("sqlite:"):
        return None
    try:
        with closing(Database(url)) as database, database.reading.connect() as connection:
            asked = time.time()
            now = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
            return float(now or 0) - (asked + time.time()) / 2
    except SQLAlchemyError:
        return None
