"""What would make setup or `s deploy` fail, found before anything is created: every fault with its remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from link_peer.domain.errors import CloudError, Transient
from link_peer.domain.platform_limits import BUS_RULES
from link_peer_deploy import regions
from link_peer_deploy.runtime_python import runtime_in_use

from link_peer_cli.answers.deployment import Caution, Fault
from link_peer_cli.deployed import limits
from link_peer_cli.deployed.functions import conflicts
from link_peer_cli.deployed.rules import Bus
from link_peer_cli.setup import roles
from link_peer_cli.setup.engine import Wait, patiently
from link_peer_cli.setup.events import of_functions
from link_peer_cli.setup.logs import ANOTHER_NAME, NO_PROJECT, Logs
from link_peer_cli.setup.queues import misnamed
from link_peer_cli.setup.resource import SetupTarget
from link_peer_cli.setup.sdk import log_call
from link_peer_cli.setup.services import SERVICES, Service


def faults(deployment: SetupTarget, wait: Wait) -> Iterator[Fault | Caution]:
    """Every fault, and what one document of the platform refuses. Only reads."""
    yield from region(deployment)
    yield from bound_queues(deployment)
    yield from limits.queues(deployment.description.queues, os.environ)
    checks = {"RAM": _roles, "Function Compute": _neighbours, "EventBridge": bus, "SLS": _project}
    for service in SERVICES:
        if service.global_ or regions.has_functions(deployment.settings.region):  # elsewhere no answer would come
            refused = list(_refused(deployment, service, wait))
            yield from refused
            if not refused and service.name in checks:
                yield from _checked(deployment, service.name, checks[service.name], wait)


def region(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """A region where the functions cannot be."""
    name = deployment.settings.region
    problem, remedy = regions.unsuitable(name, runtime_in_use())
    if problem:
        yield Fault(f"region {name}", problem, remedy)


def bound_queues(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """Queues of single accounts that the functions' role does not cover."""
    for uid, name, start in misnamed(deployment):
        yield Fault(f"accounts.{uid}.queue", f"is {name}", f"its name must begin with {start}")


def _neighbours(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """Other deployments that act on the same tags or rules."""
    for problem, remedy in conflicts(deployment.settings, deployment.policy, deployment.names.prefix, deployment.clock):
        yield Fault("another deployment", problem, remedy)


def bus(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """Too little room for the rules of the functions on the default event bus; those that exist count as there."""
    rules = list(Bus(deployment.settings).rules())
    lacking = len(deployment.description.event_rules) - len(of_functions(deployment, rules))
    if lacking > 0:
        problem = f"it has {len(rules)} rules, the functions need {lacking} more, and EventBridge allows {{limit}}"
        remedy = f"raise the quota in Quota Center; its rules are {', '.join(rule.name for rule in rules)}"
        yield from limits.judged(BUS_RULES, len(rules) + lacking, "default event bus", problem, remedy)


def _roles(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """More policies than RAM attaches to a role, an operator role that more people may assume than are named, and roles
    that somebody made before setup, whose trust policy and policies are not ours."""
    resources = roles.resources(deployment)
    yield from roles.not_ours(resources, roles.SETUP, adopts=deployment.adopt)
    for role in resources:
        if not isinstance(role, roles.RamRole):
            continue
        if role.lacks and (standing := role.read()) and "trust" in role.differing(standing):
            yield Fault(role.label, "trusts a whole account, or a user without MFA", role.lacks)
        extra_policies = tuple(name for name, kind in role.foreign_policies() if kind == "Custom")
        yield from limits.policies(role.label, len(role.policies), extra_policies, os.environ)


def _project(deployment: SetupTarget) -> Iterator[Fault | Caution]:
    """A log project of another customer: it is refused to us, or read as one that does not exist [neither is
    documented]."""
    logs = Logs(deployment)
    try:
        log_call(lambda: logs.client.get_project(logs.project), {NO_PROJECT})
    except CloudError as error:
        remedy = f"give the keys log:GetProject, or if another customer holds the name, {ANOTHER_NAME}"
        yield Fault(f"log project {logs.project}", str(error), remedy)


def _refused(deployment: SetupTarget, service: Service, wait: Wait) -> Iterator[Fault | Caution]:
    """Whether a harmless read of a service is refused."""
    try:
        patiently(lambda: service.read(deployment), deployment.clock, wait)
    except (CloudError, Transient) as error:
        if any(text in str(error) for text in service.not_active):
            yield Fault(service.name, "not activated", f"activate it at {service.page}")
        else:
            advice = f"give the keys permission, or if it is not activated, activate it at {service.page}"
            yield Fault(service.name, str(error), advice)


def _checked(
    deployment: SetupTarget, service: str, check: Callable[[SetupTarget], Iterator[Fault | Caution]], wait: Wait
) -> list[Fault | Caution]:
    """What a check finds; what it may not read is a fault, too."""
    try:
        return patiently(lambda: list(check(deployment)), deployment.clock, wait)
    except (CloudError, Transient) as error:
        return [Fault(service, str(error), "give the keys permission (docs/permissions.md#setup)")]
