"""The record of each request that Function Compute writes into the function's logstore: its request-level metrics.

Topic and fields are the platform's, as far as they are known here: of memory, instances and cold starts nothing is [doc
functioncompute/fc/request-level-metric-logs, sls/function-compute-3-0-log-field-details].
"""

from __future__ import annotations

import contextlib

from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Identity, Key
from aliyun_local.core.policy import Access
from aliyun_local.fc.runtime import Result
from aliyun_local.fc.values import Function
from aliyun_local.fc.worker import Context
from aliyun_local.sls import LogGroup, LogRecord, SlsBackend


class RequestLog:
    """Writes with the keys of the function's role. What RAM or SLS refuses is lost, and the request is not affected."""

    def __init__(self, sls: SlsBackend, identity: Identity) -> None:
        self._sls = sls
        self._identity = identity

    def write(
        self, key: Key, function: Function, context: Context, result: Result, *, kind: str, seconds: float
    ) -> None:
        """Write the record of one request that has just ended; `kind` is `Sync` or `Async`."""
        if not (function.request_metrics and function.log_project and function.log_store):
            return
        project = f"acs:log:{context.region}:{context.account_id}:project/{function.log_project}"
        access = Access("log:PostLogStoreLogs", [f"{project}/logstore/{function.log_store}"])
        if not self._identity.permitted(key.caller, access):
            return
        now = self._sls.now()
        record = LogRecord(int(now), int(now % 1 * 1e9), _fields(function, context, result, kind, seconds))
        group = LogGroup((record,), topic=f"FCRequestMetrics:/{function.name}")
        with contextlib.suppress(ApiError):
            self._sls.put(context.account_id, function.log_project, function.log_store, group)


def _fields(function: Function, context: Context, result: Result, kind: str, seconds: float) -> dict[str, str]:
    fields = {
        "functionName": function.name,
        "qualifier": context.service.qualifier,
        "versionId": context.service.version_id,
        "requestId": context.request_id,
        "operation": "InvokeFunction",
        "invocationType": kind,
        "resourceMode": "OnDemand",
        "memoryMB": str(function.memory),
        "durationMs": f"{seconds * 1000:.2f}",
        "hasFunctionError": "true" if result.error_type else "false",
    }
    if result.error_type:
        fields["errorType"] = "FunctionTimeoutError" if seconds >= function.timeout else "FunctionUnhandledError"
    return fields
