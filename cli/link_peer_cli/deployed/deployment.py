"""What is deployed of a function on FC 3.0: the version behind the alias, and the triggers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from link_peer.alicloud.sdk import call
from link_peer.domain.errors import CloudError
from link_peer.runtime.settings import Settings
from link_peer_deploy.names import ALIAS

from link_peer_cli.deployed.common import PAGE, config, pages


class Live(msgspec.Struct, frozen=True):
    """The version of a function that its triggers invoke; `version` is empty if the alias does not exist.

    `weights` are the shares of the calls (0 to 1) that go to other versions. `description` ends with the time of the
    deployment and the digest of the package. `recorded` says whether the log gets a record of each request. `environment`: its variables.
    """

    version: str
    runtime: str
    description: str
    weights: Mapping[str, float]
    recorded: bool
    environment: Mapping[str, str]


class DeployedTrigger(msgspec.Struct, frozen=True):
    """A trigger as it is deployed; `config` keeps the platform's spelling."""

    name: str
    kind: str
    qualifier: str
    config: Mapping[str, Any]


class DeployedFunctions:
    """The functions of an account on FC 3.0. Raises the errors of link_peer.domain.errors."""

    def __init__(self, settings: Settings, account: str) -> None:
        from alibabacloud_fc20230330 import models
        from alibabacloud_fc20230330.client import Client

        self._models: Any = models
        self._client: Any = Client(config(settings, account))

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
        found = call(lambda: self._client.get_function(function, request)).body
        version, weights = (alias.version_id, alias.additional_version_weight or {}) if alias else ("", {})
        log = found.log_config
        recorded = bool(log and log.logstore and log.enable_request_metrics)
        variables = found.environment_variables or {}
        return Live(version, found.runtime or "", found.description or "", weights, recorded, variables)

    def triggers(self, function: str) -> dict[str, DeployedTrigger]:
        """The triggers of a function by name."""

        def page(token: str | None) -> Any:
            request = self._models.ListTriggersRequest(limit=PAGE, next_token=token)
            return call(lambda: self._client.list_triggers(function, request)).body

        found = [item for body in pages(page) for item in body.triggers or []]
        return {
            item.trigger_name: DeployedTrigger(
                item.trigger_name,
                item.trigger_type,
                item.qualifier or "LATEST",
                json.loads(item.trigger_config or "{}"),
            )
            for item in found
        }
