"""The functions, their triggers, and the rules of EventBridge that those of auto_link are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from link_peer.domain.errors import LinkPeerError, PolicyError
from link_peer.domain.grouped import grouped
from link_peer_deploy.manifest import Function, load
from link_peer_deploy.manifest import Trigger as Shipped
from link_peer_deploy.names import ALIAS
from link_peer_deploy.project import ROOT
from msgspec.structs import replace

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.deployed.functions import DeployedFunctions, DeployedTrigger, Live
from link_peer_cli.deployed.policy import difference, running_packages
from link_peer_cli.deployed.rules import Bus, BusRule

DEPLOY = "link-peer package; s deploy -y"
NOT_DEPLOYED = "is not deployed"
IDENTIFYING = ("LINK_PEER_REGION", "LINK_PEER_AUDIT_PROJECT", "LINK_PEER_AUDIT_LOGSTORE", "LINK_PEER_QUEUE")
"""Variables of the functions that say which deployment they are of: its region, prefix and home account."""

_STAMP = re.compile(r"\((deployed .*?, package ([0-9a-f]+))\)$")


def check(env: Environment) -> Iterator[CheckFinding]:
    """Every function of s.yaml with the version behind its alias; each of its triggers; the two rules of auto_link."""
    policy = env.policy
    variables = {"LINK_PEER_REGION": env.settings.region, "LINK_PEER_PREFIX": env.names.prefix}
    shipped = load(ROOT / "s.yaml", env=variables, account=policy.home, queues=policy.bound_queues).functions
    deployed = DeployedFunctions(env.settings, policy.home)
    packages: dict[str, str] = {}
    findings = [finding for function in shipped for finding in _function(deployed, function, packages)]
    if all(finding.detail == NOT_DEPLOYED for finding in findings):
        findings = [replace(finding, advice=DEPLOY.replace("package", "package --first")) for finding in findings]
    yield from findings
    if len(set(packages.values())) > 1:
        summary = ", ".join(f"{name}: {package}" for name, package in sorted(packages.items()))
        yield CheckFinding(DIFFERS, "", "package", f"the functions run different packages: {summary}", DEPLOY)
    yield from _policy(env)
    yield from _rules(env, shipped)


def _policy(env: Environment) -> Iterator[CheckFinding]:
    """Whether the functions run the policy file in use, and which version of link-peer; nothing where none is
    deployed."""
    subject = "deployed policy"
    try:
        packages = running_packages(env.settings, env.names)
    except PolicyError as error:
        yield CheckFinding(DIFFERS, "", subject, str(error), DEPLOY)
        return
    except LinkPeerError as error:
        yield unreadable("", subject, error)
        return
    path = env.settings.policy_path
    if differing := difference(env, [package.policy for package in packages]):
        advice = f"{DEPLOY}; or, if the deployed one is right, take that file"
        yield CheckFinding(DIFFERS, "", subject, differing, advice)
    elif packages:
        yield CheckFinding(OK, "", subject, f"{env.policy.digest}: as in {path}")
    for running, functions in grouped((p.version, name) for p in packages for name in p.functions).items():
        yield _version(running, functions)


def _version(running: str, functions: Sequence[str]) -> CheckFinding:
    """Whether the version of link-peer that built the package of functions is that of this command, and if not, which
    is newer."""
    own_version, subject = version("link-peer"), "version"
    if running == own_version:
        return CheckFinding(OK, "", subject, f"{own_version}: here and in the package")
    of = ", ".join(functions)
    if not running:
        detail = f"the package of {of} does not say its version, and is older than {own_version}, which is here"
        return CheckFinding(WARNING, "", subject, detail, DEPLOY)
    if _order(running) < _order(own_version):
        return CheckFinding(
            WARNING, "", subject, f"{running} runs ({of}), and {own_version}, which is here, is newer", DEPLOY
        )
    detail = f"{running} runs ({of}), and is newer than {own_version}, which is here: what it finds may be of no use"
    return CheckFinding(WARNING, "", subject, detail, f"install {running} here, then: link-peer --version")


def _order(text: str) -> tuple[tuple[int, ...], bool, str]:
    """What orders versions: their numbers; before the same numbers alone, those with a letter (1.0rc1)."""
    numbers, letters = re.fullmatch(r"([0-9.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matches any text
    return tuple(int(part) for part in numbers.split(".") if part), not letters, letters


def _function(deployed: DeployedFunctions, function: Function, packages: dict[str, str]) -> Iterator[CheckFinding]:
    subject = f"function {function.name}"
    try:
        live = deployed.live(function.name)
        triggers = deployed.triggers(function.name) if live else {}
    except LinkPeerError as error:
        yield unreadable("", subject, error)
        return
    if live is None:
        yield CheckFinding(MISSING, "", subject, NOT_DEPLOYED, DEPLOY)
        return
    yield _live(subject, live)
    if wrong := [name for name in IDENTIFYING if live.environment.get(name, "") != function.env.get(name, "")]:
        detail = f"was deployed with other settings than those here: {', '.join(wrong)}"
        yield CheckFinding(DIFFERS, "", subject, detail, f"set them as they were at the deploy, or: {DEPLOY}")
    if stamp := _STAMP.search(live.description):
        packages[function.name] = stamp[2]
    for trigger in function.triggers:
        yield _trigger(function, trigger, triggers.get(trigger.name))


def _live(subject: str, live: Live) -> CheckFinding:
    if not live.version:
        return CheckFinding(MISSING, "", subject, f"{live.runtime}, but there is no alias {ALIAS}", DEPLOY)
    stamp = _STAMP.search(live.description)
    detail = f"version {live.version} is {ALIAS}, {live.runtime}" + (f", {stamp[1]}" if stamp else "")
    if live.weights:
        shares = ", ".join(f"{share:.0%} of the calls go to version {n}" for n, share in sorted(live.weights.items()))
        return CheckFinding(WARNING, "", subject, f"{detail}; {shares}", "end the canary release: docs/deploy.md")
    if not live.recorded:
        blind = "no record of its requests is kept: the alert link-peer-function-errors does not see it"
        return CheckFinding(WARNING, "", subject, f"{detail}; {blind}", DEPLOY)
    return CheckFinding(OK, "", subject, detail)


def _trigger(function: Function, shipped: Shipped, deployed_trigger: DeployedTrigger | None) -> CheckFinding:
    subject = f"trigger {shipped.name} of {function.name}"
    resource = function.handler.partition(".")[0]
    advice = f"s {resource} deploy --trigger {shipped.name} -y"
    if deployed_trigger is None:
        return CheckFinding(MISSING, "", subject, "does not exist", advice)
    if not deployed_trigger.config.get("triggerEnable", deployed_trigger.config.get("enable", True)):
        return CheckFinding(MISSING, "", subject, "is disabled", advice)
    compared = [
        ("type", shipped.kind, deployed_trigger.kind),
        ("qualifier", shipped.qualifier, deployed_trigger.qualifier),
    ]
    compared += [(field, value(shipped.config), value(deployed_trigger.config)) for field, value in _FIELDS.items()]
    if differing := [name for name, expected, deployed in compared if expected != deployed]:
        return CheckFinding(DIFFERS, "", subject, f"differs from s.yaml in: {', '.join(differing)}", advice)
    return CheckFinding(OK, "", subject, f"invokes {deployed_trigger.qualifier}")


def _queue(config: Mapping[str, Any]) -> Any:
    source = config.get("eventSourceConfig", {}).get("eventSourceParameters", {}) or {}
    return (source.get("sourceMNSParameters") or {}).get("QueueName")


_FIELDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "filter pattern": lambda config: parsed(config.get("eventRuleFilterPattern", "{}")),
    "queue": _queue,
    "schedule": lambda config: config.get("cronExpression"),
}
"""What is compared of a trigger's configuration; the platform adds fields of its own."""


def parsed(text: str) -> Any:
    """A filter pattern, without its layout; the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _rules(env: Environment, shipped: Sequence[Function]) -> Iterator[CheckFinding]:
    """How the platform names the rule of a trigger is not documented: it is known by its pattern and its target."""
    bus_triggers = [
        (function.name, trigger)
        for function in shipped
        for trigger in function.triggers
        if trigger.config.get("eventSourceConfig", {}).get("eventSourceType") == "Default"
    ]
    try:
        rules = list(Bus(env.settings).rules())
    except LinkPeerError as error:
        yield unreadable("", "rules of EventBridge", error)
        return
    for function, trigger in bus_triggers:
        yield _rule(rules, function, trigger)


def _rule(rules: Sequence[BusRule], function: str, trigger: Shipped) -> CheckFinding:
    subject = f"rule for {trigger.name} on the bus default"
    pattern = parsed(trigger.config["eventRuleFilterPattern"])
    to_us = re.compile(rf"functions/{re.escape(function)}(?![A-Za-z0-9_-])")
    ours = [rule for rule in rules if any(to_us.search(endpoint) for endpoint in rule.endpoints)]
    rule = next((rule for rule in ours if parsed(rule.pattern) == pattern), None)
    advice = f"s auto_link deploy --trigger {trigger.name} -y"
    if rule is None:
        names = ", ".join(rule.name for rule in ours)
        detail = f"none invokes {function} with the pattern of s.yaml" + (f" (others do: {names})" if ours else "")
        return CheckFinding(MISSING, "", subject, detail, advice)
    if not rule.enabled:
        return CheckFinding(MISSING, "", subject, f"{rule.name} is disabled", advice)
    return CheckFinding(OK, "", subject, f"{rule.name} is enabled")
