"""``make demo``: the main job on one machine, shown step by step.

A sandbox (Aruna, its S3, GFBio), the service under gunicorn, a hook registered by the script, a
labelled upload; then what each of them says. Last, a hook that Aruna loses, and how it is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from aruna.api.storage.models.v2 import models_pb2
from google.protobuf.json_format import MessageToDict

from sandbox import Sandbox
from sandbox.service import ROOT, Service, bare_environment

PATIENCE = 120.0
HEAD = 900


def main() -> int:
    """Run the demo with the file that the arguments name; the exit status."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "sandbox" / "sample.xml"
    document = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="abcd2bioschema-demo-") as directory, Sandbox() as box:
        settings = {**box.environment(), "LOG_FORMAT": "text", "NO_COLOR": "1"}
        with closing(Service(Path(directory), settings)) as service:
            try:
                service.start()
                Demo(box, service).show(path.name, document)
                service.stop()
            except (RuntimeError, TimeoutError) as error:
                print(service.logged(), error, "Above is the service's log.", file=sys.stderr)
                return 1
    return 0


class Demo:
    """What is shown, in its order."""

    def __init__(self, sandbox: Sandbox, service: Service) -> None:
        self._sandbox = sandbox
        self._service = service

    def show(self, name: str, document: bytes) -> None:
        """All of it."""
        aruna, service = self._sandbox.grpc_url, self._service.url
        say(f"Aruna, its S3 and GFBio on {aruna}, …; the service on {service}")
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

    def _register(self, project: str) -> None:
        say("an operator registers the hook: ./register_webhook.sh create")
        self._run(
            [
                str(ROOT / "register_webhook.sh"),
                *("create", "--aruna-url", self._sandbox.gateway_url),
                *("--url", f"{self._service.url}/webhook", "--project", project),
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
        for line in self._service.logged().splitlines():
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
                **bare_environment(),
                **self._service.environment,
                "COLUMNS": "100",
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


if __name__ == "__main__":
    sys.exit(main())
