"""Reads s.yaml as Serverless Devs does: resolves variables, then returns a plain value per function and trigger.

`make test-deploy` compares it with what the CLI gives its component [src @serverless-devs/parse-spec 0.0.29].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from link_peer.domain.platform_limits import TRIGGERS
from msgspec import Struct, field, yaml

from link_peer_deploy.names import ALIAS
from link_peer_deploy.project import ROOT

REQUEST_TRIGGERS = "build/request-triggers.json"
"""The file that `link-peer package` writes: the triggers of cross_account, which s.yaml includes."""

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_CALL = re.compile(r"(env|config)\(\s*'([^']*)'\s*(?:,\s*'([^']*)'\s*)?\)")
_JSON_FILE = re.compile(r"json\(file\('([^']*)'\)\)")


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
    code: str = ""  # the folder of an unpacked package; empty: the code of this checkout


class Manifest(Struct, frozen=True):
    """The functions of one s.yaml and their region."""

    region: str
    functions: tuple[Function, ...]


class _Resolver:
    """Replaces `${…}`. A value that is a single variable keeps its type, as in Serverless Devs."""

    def __init__(
        self, document: Mapping[str, Any], env: Mapping[str, str], account: str, files: Mapping[str, Any]
    ) -> None:
        self._document = document
        self._env = env
        self._account = account
        self._files = files

    def resolve(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self.resolve(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.resolve(value) for value in node]
        if not isinstance(node, str):
            return node
        whole = _VARIABLE.fullmatch(node)
        if whole:
            return self._value(whole[1].strip())
        return _VARIABLE.sub(lambda match: str(self._value(match[1].strip())), node)

    def _value(self, expression: str) -> Any:
        call = _CALL.fullmatch(expression)
        if call and call[1] == "env":
            value = self._env.get(call[2]) or call[3]  # the CLI takes an empty variable for one that is not set
            if value is None:
                raise ValueError(f"environment variable {call[2]} is not set and has no default")
            return value
        if call and call[2] == "AccountID":
            return self._account
        if (file := _JSON_FILE.fullmatch(expression)) and file[1] in self._files:
            return self.resolve(self._files[file[1]])
        head, *path = expression.split(".")
        if head not in ("vars", "resources") or not path:
            raise ValueError(f"${{{expression}}}: not a variable that is supported here")
        node: Any = self._document.get(head)
        for step in path:
            if not isinstance(node, dict) or step not in node:
                raise ValueError(f"${{{expression}}}: there is no {step}")
            node = node[step]
        return self.resolve(node)


OWN_TRIGGERS = TRIGGERS.low - 2
"""Queues of single accounts with a trigger each, beside the shared queue's and the timer's: Serverless Devs deletes
none."""

OWN_QUEUES = {
    "triggerName": "own-queues",
    "triggerType": "timer",
    "qualifier": ALIAS,
    "triggerConfig": {"cronExpression": "@every 1m", "enable": True, "payload": "own-queues"},
}
"""The one trigger for any number of queues: cross_account reads them itself. The shortest interval [doc FC timer
trigger]."""


def request_triggers(queues: Iterable[str]) -> list[dict[str, Any]]:
    """The triggers of cross_account, as REQUEST_TRIGGERS holds them: on the shared queue, and on each of `queues`;
    where they are more than OWN_TRIGGERS, one timer for all of them, before what fc3 stops at.

    `queues` are the names of those that the policy gives accounts. Variables are left for Serverless Devs to replace.
    """
    text = (ROOT / "deploy" / "request-trigger.yaml").read_text(encoding="utf-8")
    triggers: list[dict[str, Any]] = [yaml.decode(text)]
    queue_names = sorted(queues)
    if len(queue_names) > OWN_TRIGGERS:
        return [OWN_QUEUES, *triggers]
    for queue in queue_names:
        trigger = yaml.decode(text)
        trigger["triggerName"] += f"-{queue}"
        trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"] = (
            queue
        )
        triggers.append(trigger)
    return triggers


def resolved(path: Path, *, env: Mapping[str, str], account: str, queues: Iterable[str] = ()) -> dict[str, Any]:
    """The whole document with its variables replaced. `account` is the value of `${config('AccountID')}`.

    `queues` are the names of those that the policy gives accounts: REQUEST_TRIGGERS is taken to be written for them.
    """
    document = yaml.decode(path.read_text(encoding="utf-8"))
    files = {REQUEST_TRIGGERS: request_triggers(queues)}
    result = _Resolver(document, env, account, files).resolve(document)
    if not isinstance(result, dict):
        raise ValueError(f"{path}: must be a mapping")
    return result


def load(path: Path, *, env: Mapping[str, str], account: str, queues: Iterable[str] = ()) -> Manifest:
    """The functions of an s.yaml (edition 3.0.0, component fc3). Arguments as for `resolved`."""
    functions = []
    regions = set()
    for resource in resolved(path, env=env, account=account, queues=queues)["resources"].values():
        if not str(resource["component"]).startswith("fc3"):
            continue
        props = resource["props"]
        regions.add(props["region"])
        functions.append(_function(props, account))
    if len(regions) != 1:
        raise ValueError(f"{path}: the functions must share one region, found {sorted(regions)}")
    return Manifest(regions.pop(), tuple(functions))


def _function(props: Mapping[str, Any], account: str) -> Function:
    role = str(props.get("role", ""))
    if role and not role.startswith("acs:"):
        role = f"acs:ram::{account}:role/{role}"
    env = props.get("environmentVariables") or {}
    for key, value in env.items():
        if not isinstance(value, str):
            raise ValueError(f"{props['functionName']}: environment variable {key} must be a string")
    log = props.get("logConfig") or {}
    asynchronous = props.get("asyncInvokeConfig") or {}
    destinations = asynchronous.get("destinationConfig") or {}
    return Function(
        name=props["functionName"],
        handler=props["handler"],
        runtime=props["runtime"],
        description=props.get("description", ""),
        memory=props.get("memorySize", 512),
        cpu=props.get("cpu", 0.35),
        disk=props.get("diskSize", 512),
        timeout=props.get("timeout", 3),
        role=role.lower(),
        env=env,
        log_project=log.get("project", ""),
        log_store=log.get("logstore", ""),
        request_metrics=log.get("enableRequestMetrics", True),
        async_task=asynchronous.get("asyncTask", False),
        max_retries=asynchronous.get("maxAsyncRetryAttempts", 3),
        max_age=asynchronous.get("maxAsyncEventAgeInSeconds", 18000),
        async_qualifier=asynchronous.get("qualifier") or "LATEST",
        on_failure=(destinations.get("onFailure") or {}).get("destination"),
        triggers=tuple(
            Trigger(item["triggerName"], item["triggerType"], item["triggerConfig"], item.get("qualifier") or "LATEST")
            for item in props.get("triggers") or []
        ),
    )
