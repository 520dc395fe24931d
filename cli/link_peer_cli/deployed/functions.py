"""The deployed functions: how to reach them, their failed asynchronous invocations, what of them is deployed, and what
other deployments there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from link_peer.alicloud.sdk import call
from link_peer.domain.errors import CloudError
from link_peer.domain.policy import Policy
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, tag_keys
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings
from link_peer_deploy.names import ALIAS, Names

from link_peer_cli.access.identity import identified
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.deployed.fc import LATEST, Fc2, Fc3
from link_peer_cli.deployed.port import PAGE, WITH_TASKS, Functions, Task, config, fc3, pages


def deployed_functions(settings: Settings, account: str, service: str = "") -> Functions:
    """Return a client of FC 2.0 if a service is given, else of FC 3.0."""
    if service:
        return Fc2(settings, account, service)
    return Fc3(settings, account)


FAILED = ("Failed", "Expired", "Invalid")
"""Final task states without success [doc task states]."""


def failed_tasks(functions: Functions, names: Names) -> list[Task]:
    """Return the failed invocations of all functions that have tasks, newest first."""
    deployed = [names.functions[handler] for handler in WITH_TASKS]
    tasks = [task for name in deployed for task in functions.tasks(name) if task.status in FAILED]
    return sorted(tasks, key=lambda task: -task.started)


def error_message(error: str) -> str:
    """Return the message in the platform's JSON error document, or the text itself if it is something else."""
    try:
        return str(json.loads(error)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return error


class Live(msgspec.Struct, frozen=True):
    """The version of a function that its triggers invoke."""

    version: str  # empty if the alias does not exist
    runtime: str
    description: str  # ends with the time of the deployment and the digest of the package
    weights: Mapping[str, float]  # the shares of the calls (0 to 1) that go to other versions
    recorded: bool  # the log gets a record of each request
    environment: Mapping[str, str]  # its variables
    since: str = ""  # when the version was made, in RFC 3339; empty where the platform does not say


class DeployedTrigger(msgspec.Struct, frozen=True):
    """A trigger as it is deployed; `config` keeps the platform's spelling."""

    name: str
    kind: str
    qualifier: str
    config: Mapping[str, Any]


class DeployedFunctions:
    """The functions of an account on FC 3.0. Raises the errors of link_peer.domain.errors."""

    def __init__(self, settings: Settings, account: str) -> None:
        self._client, self._models = fc3(settings, account)

    def live(self, function: str) -> Live | None:
        """What is behind the alias of a function; None if there is no such function."""
        try:
            alias = call(lambda: self._client.get_alias(function, ALIAS)).body
        except CloudError as error:
            if error.code == "FunctionNotFound":
                return None
            if error.code != "AliasNotFound":
                raise
            alias = None
        request = self._models.GetFunctionRequest(qualifier=alias.version_id if alias else None)
        definition = call(lambda: self._client.get_function(function, request)).body
        version, weights = (alias.version_id, alias.additional_version_weight or {}) if alias else ("", {})
        log = definition.log_config
        recorded = bool(log and log.logstore and log.enable_request_metrics)
        variables = definition.environment_variables or {}
        since = definition.last_modified_time or ""
        return Live(
            version, definition.runtime or "", definition.description or "", weights, recorded, variables, since
        )

    def code(self, function: str, version: str) -> tuple[str, str]:
        """The checksum of a version's package, and an address for its download, which is valid for a while."""
        request = self._models.GetFunctionCodeRequest(qualifier=version or None)
        body = call(lambda: self._client.get_function_code(function, request)).body
        return body.checksum, body.url

    def triggers(self, function: str) -> dict[str, DeployedTrigger]:
        """The triggers of a function by name."""

        def page(token: str | None) -> Any:
            request = self._models.ListTriggersRequest(limit=PAGE, next_token=token)
            return call(lambda: self._client.list_triggers(function, request)).body

        triggers = [item for body in pages(page) for item in body.triggers or []]
        configs = [json.loads(item.trigger_config or "{}") for item in triggers]
        return {
            item.trigger_name: DeployedTrigger(item.trigger_name, item.trigger_type, item.qualifier or "LATEST", config)
            for item, config in zip(triggers, configs, strict=True)
        }


class ServiceFunctions:
    """The functions of a service on FC 2.0, whose triggers invoke the code that was deployed last. Raises the errors of
    link_peer.domain.errors."""

    def __init__(self, settings: Settings, account: str, service: str) -> None:
        from alibabacloud_fc_open20210406 import models  # an SDK: when it is asked, since help needs none
        from alibabacloud_fc_open20210406.client import Client

        self._client: Any = Client(config(settings, account))
        self._models: Any = models
        self._service = service

    def live(self, function: str) -> Live | None:
        """What the triggers of a function invoke; None if there is no such function, or no such service."""
        request = self._models.GetFunctionRequest()
        try:
            body = call(lambda: self._client.get_function(self._service, function, request)).body
        except CloudError as error:
            if error.code in ("FunctionNotFound", "ServiceNotFound"):
                return None
            raise
        variables = body.environment_variables or {}
        return Live(LATEST, body.runtime or "", body.description or "", {}, recorded=True, environment=variables)

    def code(self, function: str, version: str) -> tuple[str, str]:
        """As that of DeployedFunctions [src fc-open20210406 2.0.12, get_function_code]."""
        request = self._models.GetFunctionCodeRequest(qualifier=version)
        body = call(lambda: self._client.get_function_code(self._service, function, request)).body
        return body.checksum, body.url


_FUNCTION = "-auto-link"
"""What follows the prefix of a deployment in the name of its first function."""


class OtherDeployment(msgspec.Struct, frozen=True):
    """A deployment: what its names and its tag keys begin with."""

    prefix: str
    tag_prefix: str


def deployments(settings: Settings, home: str) -> list[OtherDeployment]:
    """Those that have an auto_link function in the region, with the tag prefix that the newest version has. Raises the
    errors of link_peer.domain.errors."""
    client, models = fc3(settings, home)

    def page(token: str | None) -> Any:
        return call(lambda: client.list_functions(models.ListFunctionsRequest(limit=PAGE, next_token=token))).body

    neighbours = []
    for candidate in (function for body in pages(page) for function in body.functions or []):
        if candidate.handler == "auto_link.handler" and candidate.function_name.endswith(_FUNCTION):
            tag_prefix = (candidate.environment_variables or {}).get("LINK_PEER_TAG_PREFIX") or DEFAULT_TAG_PREFIX
            neighbours.append(OtherDeployment(candidate.function_name.removesuffix(_FUNCTION), tag_prefix))
    return neighbours


NEIGHBOUR_SECONDS = 60.0


def conflicts(settings: Settings, policy: Policy, prefix: str, clock: Clock) -> Iterator[tuple[str, str]]:
    """Why the deployment with this prefix would share tags or rules with another one, each of which would undo what the
    other does, and the remedy. Raises the errors of link_peer.domain.errors."""
    for neighbour in deployments(settings, policy.home):
        if neighbour.prefix == prefix:
            continue
        if neighbour.tag_prefix == settings.tag_prefix:
            problem = f"the deployment {neighbour.prefix} in account {policy.home} acts on the same tags, {neighbour.tag_prefix}-…"
            yield problem, "give each a LINK_PEER_TAG_PREFIX of its own"
            continue
        retry = Retry(clock, clock.now() + NEIGHBOUR_SECONDS)
        keys = identified(settings)
        accounts = PersonsAccounts(settings, policy, clock, retry, "neighbours", keys, reading=True)
        home = accounts.ecs(policy.home)
        managed = tag_keys(neighbour.tag_prefix, policy.deployment, policy.home).managed
        if groups := sorted(group.party.id for group in home.tagged_groups(managed)):
            problem = (
                f"the deployment {neighbour.prefix} in account {policy.home} is called {policy.deployment} in its policy file, too, "
                f"so each takes the rules of the other for its own ({', '.join(groups[:3])})"
            )
            yield problem, "change `deployment` in this policy file before it has rules"
