"""Function Compute in both of its generations.

FC 3.0 (API 2023-03-30), through alibabacloud-fc20230330, addresses a function by its name. FC 2.0 (API 2021-04-06),
through alibabacloud-fc-open20210406, has it in a service.
"""

from __future__ import annotations

from typing import Any

from link_peer.alicloud.sdk import call
from link_peer.runtime.settings import Settings
from link_peer_deploy.names import ALIAS

from link_peer_cli.deployed.port import (
    ASYNC,
    PAGE,
    Task,
    config,
    fc3,
    pages,
    request_id,
    task,
)


class Fc2:
    """The `Functions` of a service on FC 2.0."""

    def __init__(self, settings: Settings, account: str, service: str) -> None:
        from alibabacloud_fc_open20210406 import models  # an SDK: when it is asked, since help needs none
        from alibabacloud_fc_open20210406.client import Client
        from alibabacloud_tea_util.models import RuntimeOptions

        self._models: Any = models
        self._client: Any = Client(config(settings, account))
        self._runtime: Any = RuntimeOptions()
        self._service = service

    def invoke(self, function: str, event: bytes, qualifier: str = "") -> str:
        """Call InvokeFunction, by default of the code that was uploaded last: versions are those of the service."""
        headers = self._models.InvokeFunctionHeaders(**ASYNC)
        request = self._models.InvokeFunctionRequest(body=event, qualifier=qualifier or None)
        response = call(
            lambda: self._client.invoke_function_with_options(self._service, function, request, headers, self._runtime)
        )
        return request_id(response.headers)

    def tasks(self, function: str) -> list[Task]:
        """Call ListStatefulAsyncInvocations until its last page."""

        def page(token: str | None) -> Any:
            request = self._models.ListStatefulAsyncInvocationsRequest(
                include_payload=True, limit=PAGE, next_token=token
            )
            return call(lambda: self._client.list_stateful_async_invocations(self._service, function, request)).body

        return [
            task(function, item, item.invocation_id, item.invocation_error_message, item.invocation_payload)
            for body in pages(page)
            for item in body.invocations or []
        ]


LATEST = "LATEST"
"""The code that was uploaded last, published as a version or not."""


class Fc3:
    """The `Functions` of an account on FC 3.0."""

    def __init__(self, settings: Settings, account: str) -> None:
        from darabonba.runtime import RuntimeOptions  # an SDK: when it is asked, since help needs none

        self._client, self._models = fc3(settings, account)
        self._runtime: Any = RuntimeOptions()

    def invoke(self, function: str, event: bytes, qualifier: str = "") -> str:
        """Call InvokeFunction, by default through the alias that every deployment moves."""
        headers = self._models.InvokeFunctionHeaders(**ASYNC)
        request = self._models.InvokeFunctionRequest(body=event, qualifier=qualifier or ALIAS)
        response = call(lambda: self._client.invoke_function_with_options(function, request, headers, self._runtime))
        return request_id(response.headers)

    def tasks(self, function: str) -> list[Task]:
        """Call ListAsyncTasks until its last page, for each qualifier through which the function may have been
        invoked."""
        tasks = [task for qualifier in (ALIAS, LATEST) for task in self._tasks(function, qualifier)]
        return list({task.id: task for task in tasks}.values())

    def _tasks(self, function: str, qualifier: str) -> list[Task]:
        def page(token: str | None) -> Any:
            request = self._models.ListAsyncTasksRequest(
                include_payload=True, limit=PAGE, next_token=token, qualifier=qualifier
            )
            return call(lambda: self._client.list_async_tasks(function, request)).body

        return [
            task(function, item, item.task_id, item.task_error_message, item.task_payload)
            for body in pages(page)
            for item in body.tasks or []
        ]
