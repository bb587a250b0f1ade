"""``python -m sandbox`` and the end of a sandbox."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import requests

from sandbox import Sandbox
from tests.sandbox.conftest import ABCD, XML, Receiver


def test_it_says_where_everything_is_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "sandbox", "--project", "garden", "--service-url", "http://x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        exports: dict[str, str] = {}
        while "ARUNA_API_URL" not in exports:
            line = process.stdout.readline()
            assert line, "it ended too early"
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                exports[name] = value
        keys = requests.get(f"{exports['ARUNA_API_URL']}/v2/info/pubkeys", timeout=10).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert keys["pubkeys"][0]["id"] == 1
    assert exports["PUBLIC_URL"] == "http://x"
    assert exports["ALLOW_INSECURE"] == "true"


def test_nothing_is_left_behind(receiver: Receiver) -> None:
    before = set(threading.enumerate())
    with Sandbox() as sandbox:
        receiver.let_go.clear()
        project = sandbox.create_project("garden")
        sandbox.register_hook(url=receiver.url, projects=[project])
        sandbox.aruna.finalise_seconds = None
        sandbox.upload("plants.xml", XML, parent=project, labels=ABCD, multipart=True)
        sandbox.wait_for(lambda: receiver.requests)
        urls = [sandbox.grpc_url, sandbox.gateway_url, sandbox.s3_url, sandbox.gfbio_url]
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert {name for name in left if name.startswith("sandbox")} == set()
    for url in urls:
        port = urlsplit(url).port
        assert port is not None
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
