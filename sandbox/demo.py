"""``make demo``: the main job on one machine, shown step by step.

A sandbox (Aruna, its S3, GFBio), the service under gunicorn, a hook registered by the script, a
labelled upload; then what each of them says. Last, a hook that Aruna loses, and how it is found.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from aruna.api.storage.models.v2 import models_pb2
from google.protobuf.json_format import MessageToDict

from sandbox import Sandbox

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-for-the-demo-alone"  # noqa: S105 - of the demo, on loopback
PATIENCE = 120.0
HEAD = 900


def main() -> int:
    """Run the demo with the file that the arguments name; the exit status."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "sandbox" / "sample.xml"
    document = path.read_bytes()
    with _workplace() as directory, Sandbox() as sandbox:
        port = _free_port()
        environment = _environment(sandbox, port, directory)
        with _service(environment, directory / "service.log") as log:
            demo = Demo(sandbox, environment, log)
            try:
                demo.show(path.name, document)
            except TimeoutError:
                print(log.read_text(), file=sys.stderr)
                print("the demo's job did not come to its end; above is the log", file=sys.stderr)
                return 1
    return 0


class Demo:
    """What is shown, in its order."""

    def __init__(self, sandbox: Sandbox, environment: dict[str, str], log: Path) -> None:
        self._sandbox = sandbox
        self._environment = environment
        self._log = log

    def show(self, name: str, document: bytes) -> None:
        """All of it."""
        say(f"Aruna, its S3 and GFBio on {self._sandbox.grpc_url}, …; the service on {self._url}")
        project = self._sandbox.create_project("demo")
        self._register(project)
        say(f"a researcher uploads {name} ({len(document):,} bytes) with the label ABCD")
        source = self._upload(name, document, project)
        self._show_log()
        self._show_source(source)
        self._show_result(source, project)
        self._lose_and_find(name, document, project)
        say("python -m pipeline selftest sends one small document the whole way")
        self._sandbox.aruna.loses = lambda *_: False
        self._run([sys.executable, "-m", "pipeline", "selftest", "--project", project])
        say("done")

    @property
    def _url(self) -> str:
        return self._environment["PUBLIC_URL"]

    def _register(self, project: str) -> None:
        say("an operator registers the hook: ./register_webhook.sh create")
        self._run(
            [
                str(ROOT / "register_webhook.sh"),
                *("create", "--aruna-url", self._sandbox.gateway_url),
                *("--url", f"{self._url}/webhook", "--project", project),
            ]
        )

    def _upload(self, name: str, document: bytes, project: str) -> str:
        source = self._sandbox.upload(
            name, document, parent=project, labels={"ABCD": "true", "garden": "Examplestadt"}
        )
        self._wait_for_callback(source)
        return source

    def _wait_for_callback(self, source: str) -> None:
        self._sandbox.wait_for(
            lambda: any(
                call.accepted and call.object_id == source for call in self._sandbox.callbacks
            ),
            PATIENCE,
        )

    def _show_log(self) -> None:
        say("python -m pipeline jobs")
        self._run([sys.executable, "-m", "pipeline", "jobs"])
        say("what the service logged: the acknowledgement, GFBio at the relay, the job's end")
        for line in self._log.read_text().splitlines():
            if any(word in line for word in ("/webhook", "job.succeeded", "job.failed", "/relay/")):
                print(f"   {line}")

    def _show_source(self, source: str) -> None:
        say("the labels on the source")
        for key, value in self._sandbox.labels(source):
            print(f"   {key} = {value}")

    def _show_result(self, source: str, project: str) -> None:
        for result in self._sandbox.objects_in(project):
            if result.id != source:
                say(f"the new object {result.name}")
                self._show_metadata(result)
                self._show_content(self._sandbox.content(result.id))

    def _show_metadata(self, result: models_pb2.Object) -> None:
        shown = MessageToDict(result, preserving_proto_field_name=True)
        for member in ("title", "description", "status", "data_license_tag"):
            print(f"   {member}: {shown.get(member)}")
        for entry in result.key_values:
            print(f"   label {entry.key} = {entry.value}")
        for relation in shown.get("relations", []):
            inner: dict[str, Any] = relation.get("internal", {})
            print(f"   {inner.get('defined_variant')} {inner.get('resource_id')}")

    def _show_content(self, content: bytes) -> None:
        dataset = json.loads(content)
        size = dataset.get("size", {})
        say(f"its content: {len(content):,} bytes of JSON-LD")
        print(f"   {dataset.get('@type')} of {size.get('value')} {size.get('unitText')}")
        text = json.dumps(dataset, ensure_ascii=False, indent=2)
        print("\n".join(f"   {line}" for line in text[:HEAD].splitlines()))
        print("   …")

    def _lose_and_find(self, name: str, document: bytes, project: str) -> None:
        say("Aruna loses a hook (its data proxy was busy): the source stays at RUNNING")
        self._sandbox.aruna.loses = lambda *_: True
        source = self._sandbox.upload(
            f"lost-{name}", document, parent=project, labels={"ABCD": "true"}
        )
        self._sandbox.wait_for(lambda: not self._sandbox.delivering)
        say("python -m pipeline reconcile --older-than 0s finds and does it")
        self._run([sys.executable, "-m", "pipeline", "reconcile", "--older-than", "0s"])
        self._wait_for_callback(source)
        for key, value in self._sandbox.labels(source):
            print(f"   {key} = {value}")

    def _run(self, command: list[str]) -> None:
        """A command as an operator would give it, its output shown."""
        done = subprocess.run(  # noqa: S603 - the demo's own commands
            command,
            cwd=ROOT,
            env={
                **_bare_environment(),
                **self._environment,
                "COLUMNS": "100",
                "ARUNA_TOKEN": self._sandbox.owner_token,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print("\n".join(f"   {line}" for line in done.stdout.splitlines()))
        if done.returncode:
            raise SystemExit(f"{command[0]} ended with {done.returncode}")


def say(text: str) -> None:
    """A heading."""
    print(f"\n=> {text}", flush=True)


@contextmanager
def _workplace() -> Iterator[Path]:
    """A directory for the service's state that goes with the demo."""
    directory = Path(tempfile.mkdtemp(prefix="abcd2bioschema-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _environment(sandbox: Sandbox, port: int, directory: Path) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return {
        **sandbox.environment(url),
        "SERVER_HOST": "127.0.0.1",
        "SERVICE_PORT": str(port),
        "WEBHOOK_TOKEN": TOKEN,
        "STATE_DIR": str(directory / "state"),
        "TEMP_DIR": str(directory / "temp"),
        "LOG_FORMAT": "text",
        "NO_COLOR": "1",
    }


def _bare_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@contextmanager
def _service(environment: dict[str, str], log: Path) -> Iterator[Path]:
    """The service under gunicorn, as README says; ended by SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
            cwd=ROOT,
            env={**_bare_environment(), **environment},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_healthy(f"{environment['PUBLIC_URL']}/health", process, log)
        yield log
    finally:
        process.terminate()
        process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    retries = requests.adapters.Retry(total=20, backoff_factor=0.05, backoff_max=1)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        try:
            session.get(url, timeout=10).raise_for_status()
        except requests.RequestException as error:
            print(log.read_text(), file=sys.stderr)
            raise SystemExit(f"the service did not start ({process.poll()})") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
