"""A sandbox and a service with a hook between them, and what a test looks for in Aruna."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aruna.api.storage.models.v2 import models_pb2

from sandbox import Sandbox
from tests.running import TOKEN, Running

ABCD = {"ABCD": "true"}


@dataclass
class Whole:
    """One project whose hook calls one service."""

    sandbox: Sandbox
    service: Running
    project: str
    hook_id: str

    @classmethod
    def of(cls, sandbox: Sandbox, service: Running, *, name: str = "garden", **hook: Any) -> Whole:
        """A new project with a hook to the service."""
        project = sandbox.create_project(name)
        hook_id = sandbox.register_hook(
            url=f"{service.url}/webhook", projects=[project], token=TOKEN, **hook
        )
        return cls(sandbox, service, project, hook_id)

    def upload(self, name: str, data: bytes, *, parent: str | None = None, **more: Any) -> str:
        """A labelled source: its id."""
        labels = {**ABCD, **more.pop("labels", {})}
        return self.sandbox.upload(name, data, parent=parent or self.project, labels=labels, **more)

    def status(self, source: str) -> str | None:
        """What Aruna says of the hook's newest delivery of it: RUNNING, FINISHED, ERROR."""
        entries = self.sandbox.hook_status(source, self.hook_id)
        return str(json.loads(entries[-1].value)["status"]) if entries else None

    def is_called_back(self, source: str) -> bool:
        """Whether nothing more is to come for that object."""
        return self.status(source) == "FINISHED" and not self.sandbox.delivering

    def wait_for_callback(self, *sources: str, timeout: float = 30.0) -> None:
        """Wait until the service has called back on each of the sources."""
        self.sandbox.wait_for(
            lambda: all(self.is_called_back(source) for source in sources), timeout
        )

    def labels(self, source: str) -> list[tuple[str, str]]:
        """The labels of an object but the trigger's."""
        return [label for label in self.sandbox.labels(source) if label[0] != "ABCD"]

    def error(self, source: str) -> str:
        """The error label of a source, the only label that the service has set."""
        ((key, value),) = self.labels(source)
        assert key == "ERROR"
        return value

    def results_of(self, source: str) -> list[models_pb2.Object]:
        """The objects with ORIGIN to that source."""
        return [
            found
            for found in self.sandbox.objects_in(self.project)
            if any(
                relation.internal.resource_id == source
                and relation.internal.defined_variant == models_pb2.INTERNAL_RELATION_VARIANT_ORIGIN
                and relation.internal.direction == models_pb2.RELATION_DIRECTION_OUTBOUND
                for relation in found.relations
            )
        ]

    def result(self, source: str) -> models_pb2.Object:
        """The one result of that source, complete."""
        (found,) = self.results_of(source)
        assert found.status == models_pb2.STATUS_AVAILABLE
        return found

    def result_json(self, source: str) -> dict[str, Any]:
        """What is in the one result of that source."""
        value = json.loads(self.sandbox.content(self.result(source).id))
        assert isinstance(value, dict)
        return value

    def effective_callbacks(self, source: str) -> int:
        """How many callbacks Aruna took for that object."""
        return sum(
            1 for call in self.sandbox.callbacks if call.object_id == source and call.accepted
        )
