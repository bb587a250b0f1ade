"""Empty databases for services of the tests: an SQLite file, a schema in a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")
DATABASES = ("sqlite", "postgresql")


@contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """The URL of an empty database of that kind, which is gone after the block."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/journal.db"
        return
    schema = f"abcd2bioschema_{secrets.token_hex(6)}"
    with closing(_postgresql()) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        separator = "&" if "?" in POSTGRESQL_URL else "?"
        try:
            yield f"{POSTGRESQL_URL}{separator}options=-csearch_path%3D{schema}"
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def _postgresql() -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(POSTGRESQL_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL answers at TEST_POSTGRESQL_URL")
