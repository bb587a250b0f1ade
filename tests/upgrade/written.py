"""The journal that version 1.0.0 has written, put into a database and fitted to a sandbox.

What holds for one Aruna and one moment alone is exchanged: times, ids and what deliveries lend.
The rows and their form stay those of 1.0.0.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import Connection, create_engine, make_url, text

from pipeline.aruna.objects import fingerprint
from pipeline.web.payload import parse_hook

DATA = Path(__file__).with_name("1.0.0")
KEY = "dGhlIGtleSBvZiB0aGUgMS4wLjAgam91cm5hbCAuLi4="
WRITTEN = 1795000024.0  # what its clock said at the end
_TIMES = {
    "jobs": (
        *("created_at", "started_at", "ended_at", "next_at", "waiting_since", "lease_until"),
        *("callback_since", "callback_sent_at", "token_expires"),
    ),
    "attempts": ("started_at", "ended_at", "next_at"),
    "leases": ("until",),
}


def restore(url: str) -> None:
    """Write the journal into the empty database at ``url``, as if an hour ago."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(make_url(url).database or "")) as sqlite:
            sqlite.executescript((DATA / "sqlite.sql").read_text())
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            (schema,) = connection.execute("SELECT current_schema()").fetchone() or ("",)
            dump = (DATA / "postgresql.sql").read_text().replace("journal_1_0_0", schema)
            connection.execute(dump.encode())
    with opened(url) as connection:
        for table, columns in _TIMES.items():
            moved = ", ".join(f"{column} = {column} + :by" for column in columns)
            connection.execute(
                text(f"UPDATE {table} SET {moved}"),  # noqa: S608 - of the constants above
                {"by": time.time() - 3600 - WRITTEN},
            )


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """One transaction on the database."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def lend(url: str, bodies: Mapping[str, bytes]) -> None:
    """Give the jobs, by the name of their source, what Aruna lends with these deliveries."""
    with opened(url) as connection:
        rows = connection.execute(
            text("SELECT id, name, object_id, content, credentials FROM jobs")
        ).all()
        for row in rows:
            if row.credentials is not None:
                _lend(connection, row, bodies[row.name])


def _lend(connection: Connection, row: Any, body: bytes) -> None:
    hook = parse_hook(body)
    assert row.content == fingerprint(hook.object)
    sealed = not bytes(row.credentials).startswith(b"{")
    plain = Fernet(KEY).decrypt(bytes(row.credentials)) if sealed else bytes(row.credentials)
    delivered = json.loads(body)
    lent = json.dumps({name: delivered[name] for name in json.loads(plain)}).encode()
    connection.execute(
        text(
            "UPDATE jobs SET object = :object, credentials = :lent, token_expires = :expires"
            " WHERE id = :id"
        ),
        {
            "id": row.id,
            "object": hook.object.SerializeToString(),
            "lent": Fernet(KEY).encrypt(lent) if sealed else lent,
            "expires": time.time() + 86400,
        },
    )
    connection.execute(
        text("UPDATE jobs SET object_id = :new, hook_id = :hook WHERE object_id = :old"),
        {"new": hook.object.id, "hook": hook.hook_id, "old": row.object_id},
    )


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A receiver of hooks in the service's place: its URL, and the bodies that have come."""
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webhook", bodies
        finally:
            server.shutdown()
            thread.join()
