"""A file that names each resource before it is created, so that a crash leaves none that nobody knows of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class Resource(msgspec.Struct):
    """A throw-away resource. `id` is empty until the cloud has told it: then only the name finds it again."""

    kind: str  # group | instance | interface | queue | project
    name: str
    account: str
    region: str
    run: str
    id: str = ""


class Journal:
    """One JSON object a line, each on disk before the call that it is about: `plan`, then `made`, at last `gone`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[str, Resource] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._apply(line)

    def plan(self, resource: Resource) -> Resource:
        """Note a resource that is about to be created."""
        self._write("plan", msgspec.to_builtins(resource))
        self._open[resource.name] = resource
        return resource

    def note_created(self, resource: Resource, resource_id: str) -> None:
        """Note the id of a resource that was created."""
        resource.id = resource_id
        self._write("made", {"name": resource.name, "id": resource_id})

    def note_deleted(self, resource: Resource) -> None:
        """Note that a resource no longer exists. With the last one, the file is deleted."""
        self._write("gone", {"name": resource.name})
        self._open.pop(resource.name, None)
        if not self._open:
            self.path.unlink(missing_ok=True)

    def remaining(self) -> list[Resource]:
        """What may still exist, newest first: later resources use earlier ones."""
        return list(reversed(self._open.values()))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.remaining())

    def _write(self, event: str, about: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": event, **about}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _apply(self, line: str) -> None:
        """Read one line back. A last line that was cut short by a crash had not been followed by its call."""
        try:
            about = json.loads(line)
        except ValueError:
            return
        event, name = about.pop("what", ""), about.get("name", "")
        if event == "plan":
            self._open[name] = msgspec.convert(about, Resource)
        elif event == "made" and name in self._open:
            self._open[name].id = about["id"]
        elif event == "gone":
            self._open.pop(name, None)
