"""Rules of a bus and their targets, as the API shows them: ListRules, GetRule, ListTargets.

Fields are those of the SDK's models [src eventbridge20200401 8.7.0].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from aliyun_local.core.errors import ApiError
from aliyun_local.eventbridge.pattern import Pattern

Event = dict[str, Any]
Target = Callable[[Event], None]

RULE_ACTIONS = frozenset({"ListRules", "GetRule", "ListTargets"})
MAX_PAGE = 100  # [doc ListRules]


class Rule(Struct, frozen=True):
    """A rule of a bus: while it is enabled, every matching event is passed to the target. `created` in epoch seconds.

    `endpoint` is the ARN of the target, and `dead_letters` that of the queue for what the target does not take.
    """

    name: str
    pattern: Pattern
    target: Target
    text: str
    endpoint: str
    dead_letters: str
    enabled: bool
    created: float


def answer(action: str, params: Mapping[str, str], rules: Sequence[Rule], bus: str) -> dict[str, Any]:
    """The `Data` of one of RULE_ACTIONS. `bus` is the ARN of the bus."""
    if action == "ListRules":
        prefix = params.get("RuleNamePrefix", "")
        return _page("Rules", [_rendered(rule, bus) for rule in rules if rule.name.startswith(prefix)], params)
    name = params.get("RuleName", "")
    rule = next((rule for rule in rules if rule.name == name), None)
    if rule is None:
        raise ApiError("EventRuleNotExisted", 404, f"The event rule [{name}] not existed!")
    if action == "ListTargets":
        return _page("Targets", [{**_target(rule), "RuleName": name, "EventBusName": _name(bus)}], params)
    letters = {"DeadLetterQueue": {"Arn": rule.dead_letters}} if rule.dead_letters else {}
    return {**_rendered(rule, bus), "Targets": [{**_target(rule), **letters}]}


def _rendered(rule: Rule, bus: str) -> dict[str, Any]:
    return {
        "RuleName": rule.name,
        "RuleARN": f"{bus}/rule/{rule.name}",
        "EventBusName": _name(bus),
        "Description": "",
        "Status": "ENABLE" if rule.enabled else "DISABLE",
        "FilterPattern": rule.text,
        "CreatedTimestamp": round(rule.created * 1000),
        "Targets": [_target(rule)],
    }


def _target(rule: Rule) -> dict[str, Any]:
    return {"Id": "1", "Type": "acs.fc.function", "Endpoint": rule.endpoint, "ErrorsTolerance": "ALL"}


def _name(bus: str) -> str:
    return bus.rpartition("/")[2]


def _page(field: str, rows: list[dict[str, Any]], params: Mapping[str, str]) -> dict[str, Any]:
    limit, start = params.get("Limit") or str(MAX_PAGE), params.get("NextToken") or "0"
    if not (re.fullmatch(r"[0-9]{1,9}", start) and re.fullmatch(r"[0-9]{1,3}", limit) and 1 <= int(limit) <= MAX_PAGE):
        raise ApiError("InvalidArgument", 400, f"Limit is 1 to {MAX_PAGE}, and NextToken is that of a page before.")
    end = int(start) + int(limit)
    next_page = {"NextToken": str(end)} if end < len(rows) else {}
    return {field: rows[int(start) : end], "Total": len(rows), **next_page}
