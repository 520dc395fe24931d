"""FC 3.0 (API 2023-03-30), through alibabacloud-fc20230330. Functions are addressed by name."""

from __future__ import annotations

from typing import Any

from link_peer.alicloud.sdk import call
from link_peer.runtime.settings import Settings

from link_peer_cli.clients.fc.common import PAGE, READ_TIMEOUT_MS, answer, config, invocation_headers, pages, task
from link_peer_cli.clients.fc.port import Answer, Task


class Fc3:
    """The `Functions` of an account on FC 3.0."""

    def __init__(self, settings: Settings, account: str) -> None:
        from alibabacloud_fc20230330 import models
        from alibabacloud_fc20230330.client import Client
        from darabonba.runtime import RuntimeOptions

        self._models: Any = models
        self._client: Any = Client(config(settings, account))
        self._runtime: Any = RuntimeOptions(read_timeout=READ_TIMEOUT_MS)

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        """Call InvokeFunction."""
        headers = self._models.InvokeFunctionHeaders(**invocation_headers(wait))
        request = self._models.InvokeFunctionRequest(body=event)
        response = call(lambda: self._client.invoke_function_with_options(function, request, headers, self._runtime))
        return answer(response.headers, response.body.read() if response.body else b"")

    def tasks(self, function: str) -> list[Task]:
        """Call ListAsyncTasks until its last page."""

        def page(token: str | None) -> Any:
            request = self._models.ListAsyncTasksRequest(include_payload=True, limit=PAGE, next_token=token)
            return call(lambda: self._client.list_async_tasks(function, request)).body

        return [
            task(function, item, item.task_id, item.task_error_message, item.task_payload)
            for body in pages(page)
            for item in body.tasks or []
        ]
