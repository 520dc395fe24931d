"""A function and a trigger of Function Compute, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

TRIGGERS = 10
"""Of a function [doc FC "Trigger Management", 2026-03]; the page of limits has 50. Here the least holds."""


class Trigger(Struct, frozen=True):
    """One trigger; `config` keeps the platform's spelling."""

    name: str
    kind: str  # eventbridge | timer
    config: Mapping[str, Any]
    qualifier: str = "LATEST"  # the version or alias that it invokes
    description: str = ""


class Function(Struct, frozen=True):
    """One function. The defaults are those of the fc3 component [src fc3 schema.json], e.g. a timeout of 3 seconds."""

    name: str
    handler: str
    runtime: str = "python3.10"
    description: str = ""
    memory: int = 512
    cpu: float = 0.35
    disk: int = 512
    timeout: int = 3
    role: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    log_project: str = ""
    log_store: str = ""
    request_metrics: bool = True  # into the log, where there is one [doc FC LogConfig]
    async_task: bool = False
    max_retries: int = 3
    max_age: int = 18000
    on_failure: str | None = None
    async_qualifier: str = "LATEST"  # the version or alias that the four settings above are for
    triggers: tuple[Trigger, ...] = ()
    code: str = ""  # the folder of an unpacked package; empty: the code folders of the runtime
