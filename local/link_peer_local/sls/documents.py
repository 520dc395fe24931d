"""Dashboards and alert rules as they are sent: what every one needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from link_peer_local.core.errors import ApiError


def wanted(document: Mapping[str, Any], name: str, kind: type) -> Any:
    """What the document says under this name; ApiError where it is of another kind, or an empty text."""
    value = document.get(name)
    if not isinstance(value, kind) or (kind is str and not value):
        raise ApiError("ParameterInvalid", 400, f"{name} is invalid")
    return value


def dashboard(document: Mapping[str, Any]) -> str:
    """The name of a dashboard that has charts."""
    wanted(document, "charts", list)
    return str(wanted(document, "dashboardName", str))


def alert(document: Mapping[str, Any]) -> str:
    """The name of an alert rule that has what every one needs [doc "Data structure of an alert rule"]."""
    if document.get("type") != "Alert":
        raise ApiError("ParameterInvalid", 400, "type is invalid: jobs other than alerts are not offered here")
    wanted(document, "displayName", str)
    wanted(wanted(document, "schedule", dict), "type", str)
    rule = wanted(document, "configuration", dict)
    for name in ("queryList", "severityConfigurations"):
        if not wanted(rule, name, list):
            raise ApiError("ParameterInvalid", 400, f"{name} is empty")
    for name in ("version", "type"):
        wanted(rule, name, str)
    wanted(rule, "groupConfiguration", dict)
    return str(wanted(document, "name", str))
