"""The rules of EventBridge's default bus, to which ECS and ActionTrail publish."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import CloudError
from link_peer.runtime.settings import Settings

from link_peer_cli.deployed.port import PAGE, pages

BUS = "default"


class BusRule(msgspec.Struct, frozen=True):
    """A rule of the bus. `pattern` is JSON text, `endpoints` are the ARNs of its targets."""

    name: str
    pattern: str
    enabled: bool
    endpoints: tuple[str, ...]


class Bus:
    """The default bus of the keys' account. Raises the errors of link_peer.domain.errors."""

    def __init__(self, settings: Settings) -> None:
        from alibabacloud_eventbridge20200401 import client, models  # an SDK: when it is asked, since help needs none

        config = client_config(settings, "eventbridge", settings.credentials)
        config.endpoint = config.endpoint or f"eventbridge-console.{settings.region}.aliyuncs.com"
        self._models: Any = models
        self._client: Any = client.Client(config)

    def rules(self) -> Iterator[BusRule]:
        """Every rule, page by page."""

        def page(token: str | None) -> Any:
            request = self._models.ListRulesRequest(event_bus_name=BUS, limit=PAGE, next_token=token)
            return self._ask(functools.partial(self._client.list_rules, request))

        for rule in (rule for data in pages(page) for rule in data.rules or []):
            endpoints = tuple(target.endpoint or "" for target in rule.targets or [])
            yield BusRule(rule.rule_name, rule.filter_pattern or "", rule.status == "ENABLE", endpoints)

    def buses(self) -> Any:
        """The account's first bus, to see that EventBridge answers."""
        return self._ask(functools.partial(self._client.list_event_buses, self._models.ListEventBusesRequest(limit=1)))

    def let(self, linked_role: str) -> None:
        """Create a service-linked role by its name."""
        request = self._models.CreateServiceLinkedRoleForProductRequest(product_name=linked_role)
        self._body(functools.partial(self._client.create_service_linked_role_for_product, request))

    def _ask(self, send: Callable[[], Any]) -> Any:
        return self._body(send).data

    def _body(self, send: Callable[[], Any]) -> Any:
        body = call(send).body
        if body.success is False:  # a refusal may come with 200
            raise CloudError(str(body.code), str(body.message))
        return body
