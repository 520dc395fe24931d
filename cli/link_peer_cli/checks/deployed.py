"""Everything that is deployed, asked side by side: the functions, what setup makes, and whether they do their work."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from msgspec.structs import replace

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.deployment import Fault
from link_peer_cli.checks import functions, running
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.checks.runs import Runs
from link_peer_cli.checks.settings import other_deployments, queue_endpoint
from link_peer_cli.setup import alerts, events, faults, logs, prefixes, queues, roles
from link_peer_cli.setup.resource import Action, Resource, ResourceChange, SetupTarget, change_of

SECONDS = 20.0  # for which a resource is asked again while a service is in trouble
ADVICE = "link-peer setup"
SILENT = 2  # resources in a row without an answer, after which a service is not asked again


Check = Callable[[], Iterable[CheckFinding]]


def check(env: Environment, runs: Runs) -> Iterator[list[CheckFinding]]:
    """The findings by service, always in the same order. The services are asked side by side, each by one thread, since
    not every SDK may be used by several."""
    of_roles, of_queues, *service_checks = _made_by_setup(env)
    # the queues are read by `running`, too, and the SDK of MNS needs warnings to be off, which is no matter of one
    # thread
    lanes: Sequence[Sequence[Check]] = (
        [lambda: [*functions.check(env), *other_deployments(env)]],
        [of_roles],
        [of_queues, lambda: [*queue_endpoint(env), *running.check(env, runs)]],
        *([service_check] for service_check in service_checks),
    )
    with ThreadPoolExecutor(len(lanes)) as pool:
        futures = [pool.submit(_run, lane) for lane in lanes]
        (of_functions,), (made_roles,), (made_queues, last), *service_findings = (future.result() for future in futures)
        yield from (of_functions, made_roles, made_queues, *(part for lane in service_findings for part in lane), last)


def _run(lane: Sequence[Check]) -> list[list[CheckFinding]]:
    return [list(check()) for check in lane]


def _made_by_setup(env: Environment) -> list[Check]:
    """A check for each service, of whether its resources are as they are shipped; in the order in which setup makes
    them."""
    deployment = SetupTarget(env.settings, env.policy, env.names, env.clock)
    by_service = (module.resources(deployment) for module in (queues, logs, alerts))
    checks = [functools.partial(_findings, resources, env.clock) for resources in by_service]
    return [functools.partial(_of_ram, deployment), *checks, functools.partial(_faults, deployment)]


def _of_ram(deployment: SetupTarget) -> Iterator[CheckFinding]:
    """Whether the roles are as they are shipped, and may not write the consent of other deployments beside a tag of
    their own."""
    clock, home, other_prefixes = deployment.clock, deployment.policy.home, prefixes.OtherPrefixes()
    with contextlib.suppress(LinkPeerError):  # the finding about the policy says so
        other_prefixes = Retry(clock, clock.now() + SECONDS)(lambda: prefixes.of_home(deployment))
    deployment = replace(deployment, other_prefixes=other_prefixes.denied)
    yield from _findings([*roles.resources(deployment), *events.resources(deployment)], clock)
    for prefix in other_prefixes.missing:
        detail = f"is used by another deployment, and our roles are not denied its consent: {prefixes.ACCEPTED}"
        yield CheckFinding(DIFFERS, home, f"tags {prefix}-…", detail, ADVICE)
    for caution in other_prefixes.cautions(home):
        yield CheckFinding(WARNING, home, "tag prefixes", caution.problem, caution.remedy)


def _faults(deployment: SetupTarget) -> list[CheckFinding]:
    """A region where the functions cannot be, queues that their role does not cover, and too little room on the event
    bus for the rules that they lack."""
    problems = [*faults.region(deployment), *faults.bound_queues(deployment)]
    with contextlib.suppress(LinkPeerError):  # the check of the rules says so
        problems += faults.bus(deployment)
    return [
        CheckFinding(
            MISSING if isinstance(problem, Fault) else WARNING, "", problem.fault, problem.problem, problem.remedy
        )
        for problem in problems
    ]


def _findings(resources: Iterable[Resource], clock: Clock) -> Iterator[CheckFinding]:
    """One finding for each resource of a service. What gives no answer is asked again; the next one then only once, and
    those behind it not at all."""
    silent: list[Transient] = []
    for resource in resources:
        if len(silent) >= SILENT:
            yield unreadable("", resource.label, silent[-1])
            continue
        read = functools.partial(change_of, resource)
        try:
            change = read() if silent else Retry(clock, clock.now() + SECONDS)(read)
        except LinkPeerError as error:
            silent = [*silent, error] if isinstance(error, Transient) else []
            yield unreadable("", resource.label, error)
            continue
        silent = []
        yield _finding(change)
        yield from _attached(resource)


def _attached(resource: Resource) -> Iterator[CheckFinding]:
    """What a role may do besides: policies that are not ours; and a role that link-peer did not make."""
    if isinstance(resource, roles.RamRole) and (foreign := resource.foreign()):
        yield CheckFinding(DIFFERS, "", resource.label, f"{roles.NOT_OURS}: it {foreign}", roles.take_over(roles.SETUP))
    foreign_policies = resource.foreign_policies() if isinstance(resource, roles.RamRole) else []
    if foreign_policies:
        detach = "aliyun ram DetachPolicyFromRole --PolicyType {1} --PolicyName {0} --RoleName {2}"
        detail = (
            f"has policies that are not shipped: {', '.join(f'{name} ({kind})' for name, kind in foreign_policies)}"
        )
        advice = "; ".join(detach.format(*policy, resource.name) for policy in foreign_policies)
        yield CheckFinding(DIFFERS, "", resource.label, detail, advice)


def _finding(change: ResourceChange) -> CheckFinding:
    label, differs = change.resource.label, f"differs from what is shipped in: {', '.join(change.fields)}"
    if change.action is Action.CREATE:
        without = f": without it, {change.resource.without}" if change.resource.without else ""
        state = MISSING if change.resource.is_needed else WARNING
        return CheckFinding(state, "", label, f"does not exist{without}", ADVICE)
    if change.action is Action.UPDATE:
        return CheckFinding(DIFFERS, "", label, differs, ADVICE)
    if change.fields:
        return CheckFinding(WARNING, "", label, differs, change.detail)
    if change.action is Action.SKIP:
        return CheckFinding(
            WARNING, "", label, f"does not exist: {change.detail}", f"{ADVICE} {change.resource.option}"
        )
    return CheckFinding(OK, "", label, change.detail or "as shipped")
