"""Functions and records of asynchronous invocations, as FC 3.0 and FC 2.0 show them; JSON documents and pages of
listings."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response
from aliyun_local.fc.backend import Deployed, FcBackend
from aliyun_local.fc.tasks import Task, new_request_id


def render_function(backend: FcBackend, account: str, deployed: Deployed, v2: bool) -> dict[str, Any]:
    function = deployed.function
    row: dict[str, Any] = {
        "functionName": function.name,
        "functionId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{account}/{function.name}")),
        "description": function.description,
        "runtime": function.runtime,
        "handler": function.handler,
        "timeout": function.timeout,
        "memorySize": function.memory,
        "cpu": function.cpu,
        "diskSize": function.disk,
        "instanceConcurrency": 1,
        "environmentVariables": dict(function.env),
        "createdTime": utc(deployed.created),
        "lastModifiedTime": utc(deployed.created),
    }
    if not v2:  # in FC 2.0 these belong to the service
        row |= {
            "functionArn": f"acs:fc:{backend.region}:{account}:functions/{function.name}",
            "role": function.role,
            "logConfig": {
                "project": function.log_project,
                "logstore": function.log_store,
                "enableRequestMetrics": function.request_metrics,
            },
            "state": "Active",
            "lastUpdateStatus": "Successful",
        }
    return row


def render_task(task: Task, backend: FcBackend, v2: bool, payload: bool) -> dict[str, Any]:
    started = task.started or task.enqueued
    row: dict[str, Any] = {
        "invocationId" if v2 else "taskId": task.id,
        "invocationErrorMessage" if v2 else "taskErrorMessage": task.error,
        "requestId": task.request_id,
        "qualifier": task.qualifier,
        "status": task.status,
        "alreadyRetriedTimes": task.retries,
        "destinationStatus": task.destination_status,
        "startedTime": round(started * 1000),
        "endTime": round((task.ended or 0) * 1000),
        "durationMs": round(((task.ended or started) - started) * 1000),
        "returnPayload": task.answer,
        "events": [
            {"eventId": number, "timestamp": round(at * 1000), "status": status, "eventDetail": detail}
            for number, (at, status, detail) in enumerate(task.events, 1)
        ],
    }
    if v2:
        row |= {"serviceName": backend.service, "functionName": task.function.name}
    else:
        row["functionArn"] = f"acs:fc:{backend.region}:{task.account}:functions/{task.function.name}"
    if payload:
        row["invocationPayload" if v2 else "taskPayload"] = task.payload.decode(errors="replace")
    return row


def answer(document: Mapping[str, Any]) -> Response:
    """A JSON document, with 200."""
    headers = {"Content-Type": "application/json", "X-Fc-Request-Id": new_request_id()}
    return Response(200, headers, json.dumps(document).encode())


def no_content() -> Response:
    """204, for what is deleted."""
    return Response(204, {"X-Fc-Request-Id": new_request_id()})


def page(items: list[Any], query: Mapping[str, str]) -> tuple[list[Any], str]:
    """20 by default, 100 at most [src ListAsyncTasksRequest]."""
    limit = number(query, "limit", 20)
    if not 1 <= limit <= 100:
        raise ApiError("InvalidArgument", 400, f"limit {limit} is invalid (allowed values: 1 to 100)")
    start = number(query, "nextToken", 0)
    end = start + limit
    return items[start:end], str(end) if end < len(items) else ""


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that is a number."""
    text = query.get(name) or str(default)
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII):
        raise ApiError("InvalidArgument", 400, f"{name} '{text}' is invalid")
    return int(text)
