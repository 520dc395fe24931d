"""Evaluates a ROS template as ROS would, as far as ours use it.

Functions, conditions, Count and pseudo parameters: [doc ROS template syntax]. Anything else raises KeyError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Value = Any


class Stack:
    """A template with values for its parameters, in an account and a region."""

    def __init__(self, template: Mapping[str, Any], account: str, region: str, parameters: Mapping[str, Any]) -> None:
        defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
        if unknown := set(parameters) - set(defaults):
            raise KeyError(unknown)
        self._template = template
        self._pseudo = {"ALIYUN::Region": region, "ALIYUN::TenantId": account}
        self._values = {
            name: self._typed(template["Parameters"][name]["Type"], value)
            for name, value in {**defaults, **parameters}.items()
        }
        self._index: int | None = None
        self.used: set[str] = set()
        """The parameters and conditions that were read."""

    @staticmethod
    def _typed(kind: str, value: Value) -> Value:
        if value is None:
            raise KeyError("a parameter without default needs a value")
        return [item for item in value.split(",") if item] if kind == "CommaDelimitedList" else value

    def resources(self) -> list[tuple[str, dict[str, Value]]]:
        """Type and properties of every resource that is created."""
        found = []
        for name, resource in self._template["Resources"].items():
            if "Condition" in resource and not self.holds(resource["Condition"]):
                continue
            for other in resource.get("DependsOn", []):
                self._template["Resources"][other]
            for index in range(self.value(resource["Count"]) if "Count" in resource else 1):
                self._index = index if "Count" in resource else None
                found.append((resource["Type"], self.properties(name)))
        self._index = None
        return found

    def properties(self, name: str) -> dict[str, Value]:
        """The properties of a resource, evaluated."""
        found: dict[str, Value] = self.value(self._template["Resources"][name]["Properties"])
        return found

    def holds(self, condition: Value) -> bool:
        """Whether a condition holds."""
        if isinstance(condition, str):
            self.used.add(condition)
            return self.holds(self._template["Conditions"][condition])
        [(function, argument)] = condition.items()
        if function == "Fn::Equals":
            left, right = argument
            return bool(self.value(left) == self.value(right))
        if function == "Fn::Not":
            return not self.holds(argument)
        combine = {"Fn::And": all, "Fn::Or": any}[function]
        return combine([self.holds(part) for part in argument])

    def value(self, part: Value) -> Value:
        """A part of the template with its functions evaluated."""
        if isinstance(part, list):
            return [self.value(item) for item in part]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            [(function, argument)] = part.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._functions[function](argument)
        return {key: self.value(item) for key, item in part.items()}

    @property
    def _functions(self) -> dict[str, Callable[[Value], Value]]:
        return {
            "Ref": self._ref,
            "Fn::Sub": self._sub,
            "Fn::GetAtt": self._attribute,
            "Fn::If": lambda a: self.value(a[1] if self.holds(a[0]) else a[2]),
            "Fn::Join": lambda a: a[0].join(self.value(a[1])),
            "Fn::Split": lambda a: self.value(a[1]).split(a[0]),
            "Fn::Select": lambda a: self.value(a[1])[self.value(a[0])],
            "Fn::Length": lambda a: len(self.value(a)),
            "Fn::ListMerge": lambda a: [item for items in a for item in self.value(items)],
            "Fn::Jq": self._jq,
        }

    def _ref(self, name: str) -> Value:
        if name == "ALIYUN::Index":
            if self._index is None:
                raise KeyError(name)
            return self._index
        if name in self._pseudo:
            return self._pseudo[name]
        self.used.add(name)
        return self._values[name]

    def _sub(self, argument: Value) -> str:
        text, given = argument if isinstance(argument, list) else (argument, {})
        return re.sub(r"\$\{([^}]+)\}", lambda m: self.value(given[m[1]]) if m[1] in given else self._ref(m[1]), text)

    def _attribute(self, argument: list[str]) -> Value:
        name, attribute = argument
        resource = self._template["Resources"][name]
        if "Condition" in resource and not self.holds(resource["Condition"]):
            raise KeyError(name)
        return self.properties(name)[attribute]

    def _jq(self, argument: list[Value]) -> Value:
        method, script, text = argument
        if (method, script) != ("First", "."):
            raise KeyError(script)
        return json.loads(self.value(text))
