"""Answers of Function Compute: JSON documents, and pages of listings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Response
from link_peer_local.fc.tasks import new_request_id


def answer(document: Mapping[str, Any]) -> Response:
    """A JSON document, with 200."""
    headers = {"Content-Type": "application/json", "X-Fc-Request-Id": new_request_id()}
    return Response(200, headers, json.dumps(document).encode())


def nothing() -> Response:
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
