"""The reverse proxy's example, read and run by nginx itself."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.deploy.conftest import Tool
from tests.running import free_port

EXAMPLE = Path(__file__).parents[2] / "deploy/nginx.conf"
#: Stands where the service would: it answers all hooks at once.
SERVICE = "server { listen 127.0.0.1:PORT; location / { return 202; } }"


def example(tool: Tool, directory: Path) -> str:
    """The example with a certificate that is there, and its log in ``directory``."""
    certificate, key = directory / "pem", directory / "key"
    subprocess.run(
        [
            *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=abcd2bioschema.example.org"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return (
        EXAMPLE.read_text()
        .replace("/etc/ssl/certs/abcd2bioschema.pem", str(certificate))
        .replace("/etc/ssl/private/abcd2bioschema.key", str(key))
        .replace("/var/log/nginx", str(directory))
    )


def command(tool: Tool, directory: Path, configuration: str) -> list[str]:
    """nginx with these lines in its block ``http``, all its files in ``directory``."""
    (directory / "service.conf").write_text(configuration)
    (directory / "nginx.conf").write_text(
        f"pid {directory}/pid; error_log stderr error; daemon off; events {{}} "
        f"http {{ access_log off; client_body_temp_path {directory}/body; include service.conf; }}"
    )
    return [tool("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf")]


def test_nginx_finds_no_fault_in_the_example(tool: Tool, tmp_path: Path) -> None:
    nginx = command(tool, tmp_path, example(tool, tmp_path))
    said = subprocess.run([*nginx, "-t"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "[warn]" not in said.stderr


@contextmanager
def proxy(tool: Tool, directory: Path, *changes: tuple[str, str]) -> Iterator[int]:
    """The port of a running nginx with the example, changed where it listens and as asked for."""
    http, https, service = free_port(), free_port(), free_port()
    text = example(tool, directory)
    for old, new in (
        ("listen [::]:80;", ""),
        ("listen [::]:443 ssl;", ""),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;"),
        ("server 127.0.0.1:5000;", f"server 127.0.0.1:{service};"),
        *changes,
    ):
        assert old in text, old
        text = text.replace(old, new)
    nginx = command(tool, directory, text + SERVICE.replace("PORT", str(service)))
    with subprocess.Popen(nginx, stderr=subprocess.DEVNULL) as process:
        try:
            yield https
        finally:
            process.terminate()


def hooks(port: int, number: int) -> Counter[int]:
    """What so many hooks are answered, sent one after the other as Aruna does."""
    context = ssl._create_unverified_context()  # noqa: S323 - made for this test
    statuses: Counter[int] = Counter()
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context)) as connection:
        while connection.sock is None:
            try:
                connection.connect()
            except ConnectionRefusedError:
                continue  # nginx is about to listen
        for _ in range(number):
            connection.request("POST", "/webhook", b"{}")
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
    return statuses


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([("192.0.2.1 0;", "127.0.0.1 0;")], id="its address is filled in"),
        pytest.param([("rate=50r/s", "rate=600r/s")], id="its address is not known"),
    ],
)
def test_no_hook_of_arunas_is_refused_however_many_there_are(
    tool: Tool, tmp_path: Path, changes: list[tuple[str, str]]
) -> None:
    with proxy(tool, tmp_path, *changes) as port:
        assert hooks(port, 1500) == {202: 1500}
