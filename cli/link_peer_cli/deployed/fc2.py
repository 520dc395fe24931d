"""FC 2.0 (API 2021-04-06), through alibabacloud-fc-open20210406. Functions belong to a service."""

from __future__ import annotations

from typing import Any

from link_peer.alicloud.sdk import call
from link_peer.runtime.settings import Settings

from link_peer_cli.deployed.common import PAGE, READ_TIMEOUT_MS, answer, config, invocation_headers, pages, task
from link_peer_cli.deployed.port import InvocationAnswer, Task


class Fc2:
    """The `Functions` of a service on FC 2.0."""

    def __init__(self, settings: Settings, account: str, service: str) -> None:
        from alibabacloud_fc_open20210406 import models
        from alibabacloud_fc_open20210406.client import Client
        from alibabacloud_tea_util.models import RuntimeOptions

        self._models: Any = models
        self._client: Any = Client(config(settings, account))
        self._runtime: Any = RuntimeOptions(read_timeout=READ_TIMEOUT_MS)
        self._service = service

    def invoke(self, function: str, event: bytes, *, wait: bool = True, qualifier: str = "") -> InvocationAnswer:
        """Call InvokeFunction, by default of the code that was uploaded last: versions are those of the service."""
        headers = self._models.InvokeFunctionHeaders(**invocation_headers(wait))
        request = self._models.InvokeFunctionRequest(body=event, qualifier=qualifier or None)
        response = call(
            lambda: self._client.invoke_function_with_options(self._service, function, request, headers, self._runtime)
        )
        return answer(response.headers, response.body or b"")

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
