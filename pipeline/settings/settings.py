"""The settings: each variable's default, meaning and check, in one table.

``Settings.from_environment`` reads them all and stops at the first that is wrong, with a sentence
that names the variable, what is wrong and what would be right. README's table is made from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.settings import values

#: GFBio: refuses larger inputs with "File larger than 100MB".
GFBIO_MAX_INPUT_BYTES = 100_000_000
#: S3: every part but the last has at least these bytes.
SMALLEST_PART = 5 * 1024 * 1024
#: S3: and these at most.
LARGEST_PART = 5 * 1024**3
#: What is empty, not ``None``, when it is unset.
_LISTS = (values.hosts, values.tokens, values.keys)


class SettingsError(Exception):
    """A variable is missing or wrong; the text is one line for whoever starts the service."""

    def __init__(self, variable: str, what: str) -> None:
        super().__init__(f"{variable} {what}")
        self.variable = variable


class Transformer(StrEnum):
    """Who makes JSON-LD of ABCD."""

    GFBIO = "gfbio"
    EMBEDDED = "embedded"


class Transport(StrEnum):
    """How GFBio gets at the download."""

    RELAY = "relay"
    DIRECT = "direct"
    UPLOAD = "upload"


def setting(
    parse: Callable[[str], Any],
    default: str | None,
    meaning: str,
    *,
    said: str | None = None,
    secret: bool = False,
) -> Any:
    """A field of ``Settings``: how its text is read, its default as text, and what it means.

    ``said`` is the default as README says it where it depends on others; a ``secret`` may also
    come from the file named by the variable with ``_FILE`` behind its name.
    """
    return dataclasses.field(
        repr=not secret,
        metadata={
            "parse": parse,
            "default": default,
            "meaning": meaning,
            "said": said or (f"`{default}`" if default is not None else "none"),
            "secret": secret,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an operator can set; the names in capitals are the variables."""

    aruna_server_address: str = setting(
        values.address, None, "Aruna's gRPC address, `https://host[:port]`", said="required"
    )
    server_host: str = setting(
        values.host,
        "0.0.0.0",  # noqa: S104 - a container's only way; SECURITY.md says what stands before it
        "address to listen on",
    )
    service_port: int = setting(values.port, "5000", "port to listen on")
    webhook_token: tuple[str, ...] = setting(
        values.tokens,
        None,
        "the bearer token the hook was registered with, 16 characters or more; or two, "
        "comma-separated, while it is changed",
        said="required unless `ALLOW_INSECURE`",
        secret=True,
    )
    webhook_secret: str | None = setting(
        values.text,
        None,
        "if set, the payload's `secret` must also equal it: for senders other than Aruna, whose "
        "secrets differ for each object",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = setting(
        values.hosts,
        None,
        "comma-separated hosts (`*.s3.example.org`, port optional) a download may come from and a "
        "result go to; a listed host may have any address. Unset: any `https` host that resolves "
        "to public addresses alone",
    )
    allow_insecure: bool = setting(
        values.flag,
        "false",
        "development only: permits `http://` addresses, private addresses, and no "
        "`WEBHOOK_TOKEN`; logs a warning at the start",
    )
    transformer: Transformer = setting(
        values.one_of(Transformer),
        "gfbio",
        "`gfbio`, or `embedded`: a child process on this machine, no network",
    )
    gfbio_base_url: str = setting(
        values.url, "https://transformation.gfbio.org/api", "GFBio's transformation service"
    )
    gfbio_transport: Transport = setting(
        values.one_of(Transport),
        None,
        "`relay`: GFBio's request carries a one-job URL of this service, which pipes the download "
        "through. `direct`: GFBio is handed the presigned URL. `upload`: the download is the body "
        "of a POST, for GFBio-compatible services that take one",
        said="`relay` if `PUBLIC_URL` is set, else `direct`",
    )
    public_url: str | None = setting(
        values.url, None, "base URL under which GFBio reaches this service; `relay` needs it"
    )
    transformation_id: str = setting(values.text, "5", "the transformation asked of GFBio")
    transformation_version: str | None = setting(
        values.text, None, "its version; unset: the latest"
    )
    max_input_bytes: int | None = setting(
        values.number(1, "bytes", most=10**15),
        None,
        "larger inputs end in a clear error before they cost anything",
        said="`100000000` for `gfbio`, none for `embedded`",
    )
    processing_timeout: int = setting(
        values.number(1, "seconds"), "300", "seconds one attempt of a job may take in all"
    )
    max_attempts: int | None = setting(
        values.number(1, "attempts"),
        None,
        "attempts of a job whose failures were transient, with exponential backoff and jitter. "
        "Unset: five, but a peer that is unreachable, refuses or answers 5xx at once is waited for "
        "an hour. A number set here bounds both",
        said="`5`, and an hour for a peer that is away",
    )
    web_concurrency: int = setting(values.number(1, "processes"), "1", "gunicorn worker processes")
    worker_threads: int = setting(
        values.number(1, "threads"), "8", "pipeline threads in each process"
    )
    part_size: int = setting(
        values.number(SMALLEST_PART, "bytes", most=LARGEST_PART),
        "10485760",
        "bytes of an S3 part, 5 MiB at least",
    )
    upload_concurrency: int = setting(
        values.number(1, "parts"), "4", "parts in flight for each job"
    )
    state_dir: Path = setting(
        Path,
        None,
        "where the default journal lives; created with mode 0700; a warning at the start if it "
        "lies under `/tmp`",
        said="`$STATE_DIRECTORY` (set by systemd), else `./state`",
    )
    journal_url: str = setting(
        values.journal_url,
        None,
        "the durable list of jobs: an SQLite file, or `postgresql://…` shared by several hosts",
        said="`sqlite:///<STATE_DIR>/journal.db`",
    )
    journal_key: tuple[str, ...] = setting(
        values.keys,
        None,
        "one or more Fernet keys, comma-separated, newest first: credentials in the journal are "
        "encrypted with it",
        secret=True,
    )
    journal_retention_days: int = setting(
        values.number(1, "days"), "30", "how long ended jobs stay listed"
    )
    temp_dir: Path = setting(
        Path,
        "/tmp/webhook-service",  # noqa: S108 - made with mode 0700, checked at the start
        "gunicorn's heartbeat files and metrics, nothing that must last; created with mode 0700",
    )
    status_token: str | None = setting(
        values.text,
        None,
        "switches the status page on: the password of basic auth (any user name)",
        secret=True,
    )
    aruna_token: str | None = setting(
        values.token,
        None,
        "an operator's API token, for `reconcile` and `check` alone",
        secret=True,
    )
    reconcile_every: int | None = setting(
        values.number(1, "seconds"),
        None,
        "seconds between two runs of `reconcile` by the service itself",
    )
    log_level: str = setting(
        values.choice("debug", "info", "warning", "error"), "info", "least level that is logged"
    )
    log_format: str = setting(
        values.choice("json", "text"), "json", "`json` (one object a line) or `text`"
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """All settings from ``environment``; raises ``SettingsError`` for the first wrong one.

        A variable that is empty counts as unset.
        """
        texts = _with_dependent_defaults(_texts(cls, environment), environment)
        settings = cls(
            **{
                entry.name: _parsed(entry, texts.get(entry.name))
                for entry in dataclasses.fields(cls)
            }
        )
        _check_together(settings)
        return settings


def _texts(kind: type[Settings], environment: Mapping[str, str]) -> dict[str, str]:
    """What is set, or has a default of its own, by the field's name."""
    texts = {}
    for entry in dataclasses.fields(kind):
        text = _given(entry, environment)
        if text is None:
            text = entry.metadata["default"]
        if text is not None:
            texts[entry.name] = text
    return texts


def _given(entry: dataclasses.Field[Any], environment: Mapping[str, str]) -> str | None:
    variable = entry.name.upper()
    text = environment.get(variable, "").strip() or None
    file = environment.get(f"{variable}_FILE") if entry.metadata["secret"] else None
    if not file:
        return text
    if text is not None:
        raise SettingsError(variable, f"and {variable}_FILE are both set; keep one of them")
    return _from_file(variable, file)


def _from_file(variable: str, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingsError(
            f"{variable}_FILE", f"must name a file this user can read: {reason}"
        ) from error
    if not text:
        raise SettingsError(f"{variable}_FILE", "names an empty file; write the secret into it")
    return text


def _with_dependent_defaults(
    texts: dict[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    texts.setdefault("gfbio_transport", "relay" if "public_url" in texts else "direct")
    if texts["transformer"].lower() == Transformer.GFBIO:
        texts.setdefault("max_input_bytes", str(GFBIO_MAX_INPUT_BYTES))
    texts.setdefault("state_dir", environment.get("STATE_DIRECTORY") or "state")
    state_dir = Path(texts["state_dir"]).absolute()
    texts.setdefault("journal_url", f"sqlite:///{state_dir / 'journal.db'}")
    return texts


def _parsed(entry: dataclasses.Field[Any], text: str | None) -> Any:
    if text is None:
        return () if entry.metadata["parse"] in _LISTS else None
    try:
        return entry.metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(entry.name.upper(), str(error)) from None


def _check_together(settings: Settings) -> None:
    insecure = settings.allow_insecure
    if not settings.aruna_server_address:
        raise SettingsError(
            "ARUNA_SERVER_ADDRESS",
            "is missing; set it to Aruna's gRPC address, https://host[:port]",
        )
    if not settings.webhook_token and not insecure:
        raise SettingsError(
            "WEBHOOK_TOKEN",
            "is missing; set it to the bearer token the hook was registered with "
            "(or ALLOW_INSECURE=true on a development machine)",
        )
    for name in ("aruna_server_address", "gfbio_base_url", "public_url"):
        address = getattr(settings, name)
        if address and address.startswith("http://") and not insecure:
            raise SettingsError(
                name.upper(), "must begin with https:// (http needs ALLOW_INSECURE)"
            )
    if settings.reconcile_every and not settings.aruna_token:
        raise SettingsError(
            "ARUNA_TOKEN", "is missing; RECONCILE_EVERY needs an operator's API token"
        )
    _check_relay(settings)


def _check_relay(settings: Settings) -> None:
    needs_public_url = (
        settings.transformer == Transformer.GFBIO and settings.gfbio_transport == Transport.RELAY
    )
    if needs_public_url and not settings.public_url:
        raise SettingsError(
            "PUBLIC_URL", "is missing; GFBIO_TRANSPORT=relay needs the URL GFBio reaches us under"
        )


def settings_table() -> str:
    """The table of all variables in Markdown, as README shows it."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for entry in dataclasses.fields(Settings):
        facts = entry.metadata
        names = f"`{entry.name.upper()}`"
        if facts["secret"]:
            names += f", `{entry.name.upper()}_FILE`"
        lines.append(f"| {names} | {facts['said']} | {facts['meaning']} |")
    return "\n".join(lines)
