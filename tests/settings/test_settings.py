"""Settings: read from the environment, refused in one line that names the variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pipeline.settings import Settings, SettingsError, Transformer, Transport
from tests.running import ROOT

ENOUGH = {"ARUNA_SERVER_ADDRESS": "https://aruna.example.org", "WEBHOOK_TOKEN": "t" * 16}


def read(**environment: str) -> Settings:
    return Settings.from_environment({**ENOUGH, **environment})


def test_the_defaults_are_those_of_the_table() -> None:
    settings = read()

    assert settings.transformer is Transformer.GFBIO
    assert settings.gfbio_transport is Transport.DIRECT
    assert settings.max_input_bytes == 100_000_000
    assert settings.journal_url == f"sqlite:///{Path('state').absolute()}/journal.db"
    assert (settings.worker_threads, settings.part_size, settings.upload_concurrency) == (
        8,
        10 * 1024 * 1024,
        4,
    )


def test_defaults_follow_what_they_depend_on() -> None:
    assert read(PUBLIC_URL="https://hooks.example.org/").gfbio_transport is Transport.RELAY
    assert read(TRANSFORMER="embedded").max_input_bytes is None
    assert read(STATE_DIRECTORY="/var/lib/x").state_dir == Path("/var/lib/x")
    assert read(STATE_DIRECTORY="/var/lib/x", STATE_DIR="/srv/y").state_dir == Path("/srv/y")


def test_two_webhook_tokens_are_good_while_one_is_changed() -> None:
    assert read(WEBHOOK_TOKEN=f"{'a' * 16}, {'b' * 16}").webhook_token == ("a" * 16, "b" * 16)


WRONG = [
    ("ARUNA_SERVER_ADDRESS", "", "is missing"),
    ("ARUNA_SERVER_ADDRESS", "aruna.example.org", "https://host"),
    ("ARUNA_SERVER_ADDRESS", "https://aruna.example.org/api", "without a path"),
    ("ARUNA_SERVER_ADDRESS", "http://aruna.example.org", "https://"),
    ("ARUNA_SERVER_ADDRESS", "https://aruna.example.org:99999", "must be a URL such as"),
    ("ARUNA_SERVER_ADDRESS", "https://aruna.example.org:grpc", "must be a URL such as"),
    ("ARUNA_SERVER_ADDRESS", "https://[::1", "must be a URL such as"),
    ("ARUNA_SERVER_ADDRESS", "https://aruna.example.org:0", "must be a URL such as"),
    ("PUBLIC_URL", "https://hooks.example.org:99999/x", "must be a URL such as"),
    ("PUBLIC_URL", "https://hooks.example.org#x", "without user name, password, query"),
    ("GFBIO_BASE_URL", "https://gfbio.example.org:-1", "must be a URL such as"),
    ("GFBIO_BASE_URL", "https://user:word@gfbio.example.org", "without user name, password, query"),
    ("GFBIO_BASE_URL", "https://gfbio.example.org/a b", "without user name, password, query"),
    ("WEBHOOK_TOKEN", "", "is missing"),
    ("WEBHOOK_TOKEN", "short", "16 characters"),
    ("WEBHOOK_TOKEN", ",".join(["t" * 16] * 3), "two"),
    ("SERVICE_PORT", "http", "TCP port"),
    ("ALLOWED_HOSTS", "https://s3.example.org", "hosts such as"),
    ("SERVICE_PORT", "70000", "65535"),
    ("SERVER_HOST", "::g", "a host or an IP address"),
    ("SERVER_HOST", "unix:/run/x", "a host or an IP address"),
    ("SERVER_HOST", "127.0.0.1 ::1", "a host or an IP address"),
    ("ARUNA_TOKEN", "two words", "one token"),
    ("ARUNA_TOKEN", "tök", "one token"),
    ("ALLOW_INSECURE", "maybe", "true or false"),
    ("TRANSFORMER", "xslt", "gfbio or embedded"),
    ("GFBIO_TRANSPORT", "carrier", "relay or direct or upload"),
    ("GFBIO_BASE_URL", "ftp://gfbio", "must be a URL"),
    ("GFBIO_BASE_URL", "http://gfbio.example.org", "https://"),
    ("MAX_INPUT_BYTES", "0", "1 or more"),
    ("PROCESSING_TIMEOUT", "5 minutes", "seconds"),
    ("PROCESSING_TIMEOUT", "99999999999", "1000000000 seconds or less"),
    ("PART_SIZE", "6000000000", "5368709120 bytes or less"),
    ("MAX_ATTEMPTS", "0", "1 or more"),
    ("WEB_CONCURRENCY", "-1", "1 or more"),
    ("WORKER_THREADS", "many", "1 or more"),
    ("PART_SIZE", "1048576", "5242880"),
    ("UPLOAD_CONCURRENCY", "0", "1 or more"),
    ("JOURNAL_URL", "mysql://x", "sqlite:///"),
    ("JOURNAL_URL", "sqlite://", "sqlite:///"),
    ("JOURNAL_URL", "sqlite:///:memory:", "sqlite:///"),
    ("JOURNAL_URL", "postgresql://db.example.org:port/x", "postgresql://user@host:port/"),
    ("JOURNAL_URL", "postgresql://u:wo[rd@db.example.org/x", "as %XX"),
    ("JOURNAL_URL", "nonsense", "sqlite:///"),
    ("JOURNAL_KEY", "not-a-key", "Fernet"),
    ("JOURNAL_RETENTION_DAYS", "x", "days"),
    ("RECONCILE_EVERY", "0", "1 or more"),
    ("LOG_LEVEL", "loud", "debug, info, warning, error"),
    ("LOG_FORMAT", "xml", "json, text"),
]


@pytest.mark.parametrize(("variable", "value", "what"), WRONG)
def test_a_wrong_setting_is_named_with_what_would_be_right(
    variable: str, value: str, what: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**{variable: value})

    said = str(refused.value)
    assert said.startswith(f"{variable} ")
    assert what in said
    assert "\n" not in said


@pytest.mark.parametrize(("given", "meant"), [("::1", "::1"), ("[::1]", "::1"), ("a.b", "a.b")])
def test_the_host_to_listen_on_may_be_an_ipv6_address(given: str, meant: str) -> None:
    assert read(SERVER_HOST=given).server_host == meant


def test_relay_needs_the_url_under_which_gfbio_reaches_us() -> None:
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        read(GFBIO_TRANSPORT="relay")


def test_secrets_come_from_files_without_their_last_line_break(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    (tmp_path / "key").write_text(f"{key}\n")

    assert read(JOURNAL_KEY_FILE=str(tmp_path / "key")).journal_key == (key,)


def test_a_secret_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x" * 16)

    with pytest.raises(SettingsError, match="WEBHOOK_TOKEN and WEBHOOK_TOKEN_FILE are both set"):
        read(WEBHOOK_TOKEN_FILE=str(tmp_path / "token"))


def test_a_missing_or_empty_secret_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    for path in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(SettingsError, match="STATUS_TOKEN_FILE"):
            read(STATUS_TOKEN_FILE=str(path))


def test_settings_show_no_secret_of_theirs() -> None:
    assert "t" * 16 not in repr(read())


def refused(environment: dict[str, str]) -> str:
    """What a start says that must fail: one line."""
    start = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
        cwd=ROOT,
        env={**ENOUGH, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert start.returncode != 0
    (line,) = start.stderr.splitlines()
    return line


def test_a_wrong_setting_stops_the_start_with_one_line() -> None:
    assert refused({"PART_SIZE": "7"}).startswith("abcd2bioschema: PART_SIZE must be")


def test_a_journal_in_a_directory_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    environment = {
        "JOURNAL_URL": f"sqlite:///{tmp_path}/none/journal.db",
        "TEMP_DIR": str(tmp_path / "temp"),
    }
    assert refused(environment).startswith(
        f"abcd2bioschema: JOURNAL_URL lies in {tmp_path}/none, which is no directory; make it"
    )
    environment["JOURNAL_URL"] = f"sqlite:///{tmp_path}"
    assert refused(environment).startswith(f"abcd2bioschema: JOURNAL_URL names {tmp_path}, a dir")
