"""The public entrance of the local cloud: what programs and tests import. Everything else may change without notice.

- A cloud: `LocalCloud(clock, region, knobs)`, empty until `load` fills it from a world; `describe` names what it holds. Its services
  are `cloud.ecs`, `.vpc`, `.ram`, `.sts`, `.sls`, `.mns`, `.events`, `.trail`, `.tag` and `.fc`; `cloud.region_at` is another region.
- How clients reach it: `serve` on loopback, over TLS with an `Authority`, or `mount` in this process.
- Worlds: `load`, `World`, `WorldError`, `WORLDS`; with names of their own, `path_of`, `loaded` and `fill`.
- Time: `SystemClock`, `VirtualClock` that a test advances, `PastClock` that begins in the past.
- What goes wrong: `cloud.faults.add(Fault(…))`, of `KINDS`; `Killed` ends a function. What nobody knows: `Knobs`, `readings`,
  `mixed`, `opposite`.
- Functions: `install_functions` puts `Function`s with `Trigger`s into a `WorkerRuntime` or an `InProcessRuntime`; `Triggers` runs them.
- Identities: `Caller`, `Role`, `User`, `ManagedPolicy`, `trust_text`, `policy_text`.
- State as values: `Group`, `Instance`, `Rule`, `LogGroup`, `LogRecord`, `QueueAttributes`; `may_reach` says whether a packet passes.
"""  # noqa: W505

from __future__ import annotations

from typing import TYPE_CHECKING

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import Clock, PastClock, SystemClock, VirtualClock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.faults import KINDS, Call, Fault, Killed
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import ADMINISTRATOR, Caller, Identity, Key
from aliyun_local.core.knobs import Knobs, mixed, opposite, readings
from aliyun_local.core.policy import Access, like
from aliyun_local.core.principals import ManagedPolicy, Role, User, Version, policy_text, trust_text
from aliyun_local.core.tls import VARIABLES, Authority
from aliyun_local.coverage import OFFERED
from aliyun_local.ecs import may_reach
from aliyun_local.ecs.events import on_bus
from aliyun_local.ecs.state import Group, Instance, Rule, block
from aliyun_local.ecs.store import Store
from aliyun_local.eventbridge import linked_roles
from aliyun_local.eventbridge.pattern import Pattern
from aliyun_local.fc.definition import unpack
from aliyun_local.fc.runtime import InProcessRuntime, Runtime, WorkerRuntime
from aliyun_local.fc.state import FunctionState
from aliyun_local.fc.triggers import Cloud, Triggers
from aliyun_local.fc.triggers import install as install_functions
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.mns.state import QueueAttributes
from aliyun_local.server import Server, serve
from aliyun_local.sls import analysis, flow_logs, index
from aliyun_local.sls.backend import SlsBackend
from aliyun_local.sls.flow_logs import INDEX, Capture, Flow, Ports, conversation, lines
from aliyun_local.sls.query import compile_query
from aliyun_local.sls.state import LogGroup, LogRecord
from aliyun_local.world import WORLDS, World, WorldError, describe, fill, load, loaded, path_of

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

__all__ = [
    "ADMINISTRATOR",
    "INDEX",
    "KINDS",
    "OFFERED",
    "VARIABLES",
    "WORLDS",
    "Access",
    "ApiError",
    "Authority",
    "Call",
    "Caller",
    "Capture",
    "Clock",
    "Cloud",
    "Fault",
    "Flow",
    "Function",
    "FunctionState",
    "Group",
    "Identity",
    "InProcessRuntime",
    "Instance",
    "Key",
    "Killed",
    "Knobs",
    "LocalCloud",
    "LogGroup",
    "LogRecord",
    "ManagedPolicy",
    "PastClock",
    "Pattern",
    "Ports",
    "QueueAttributes",
    "Request",
    "Response",
    "Role",
    "Rule",
    "Runtime",
    "Server",
    "SlsBackend",
    "Store",
    "SystemClock",
    "Trigger",
    "Triggers",
    "User",
    "Version",
    "VirtualClock",
    "WorkerRuntime",
    "World",
    "WorldError",
    "analysis",
    "block",
    "compile_query",
    "conversation",
    "describe",
    "fill",
    "flow_logs",
    "index",
    "install_functions",
    "like",
    "lines",
    "linked_roles",
    "load",
    "loaded",
    "may_reach",
    "mixed",
    "mount",
    "on_bus",
    "opposite",
    "path_of",
    "policy_text",
    "readings",
    "serve",
    "trust_text",
    "unpack",
    "utc",
]


def mount(mocker: MockerFixture, cloud: LocalCloud) -> None:
    """Send every request that an official client makes in this process to `cloud`, whatever its host name, until the
    mocker (of pytest-mock) undoes it. Needs the clients: the extra `clients`."""
    from aliyun_local import inprocess  # imports the clients that it changes: a server needs none

    inprocess.install(mocker, cloud)
