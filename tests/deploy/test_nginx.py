"""The reverse proxy's example, read by nginx itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.deploy.conftest import Tool

EXAMPLE = Path(__file__).parents[2] / "deploy/nginx.conf"


def test_nginx_finds_no_fault_in_the_example(tool: Tool, tmp_path: Path) -> None:
    certificate, key = tmp_path / "pem", tmp_path / "key"
    subprocess.run(
        [
            *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=abcd2bioschema.example.org"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    text = (
        EXAMPLE.read_text()
        .replace("/etc/ssl/certs/abcd2bioschema.pem", str(certificate))
        .replace("/etc/ssl/private/abcd2bioschema.key", str(key))
        .replace("/var/log/nginx", str(tmp_path))
    )
    (tmp_path / "service.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include service.conf; }}"
    )
    said = subprocess.run(
        [tool("nginx"), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    assert "[warn]" not in said.stderr
