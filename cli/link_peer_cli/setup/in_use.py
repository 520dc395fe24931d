"""What of a deployment still works with its resources: its functions, the rules on security groups, and other
regions."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Group, Party
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import Fetch
from link_peer.planning.actual import owned_rules
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings
from link_peer_deploy.regions import FUNCTION_COMPUTE
from msgspec.structs import replace

from link_peer_cli.access.identity import identified
from link_peer_cli.access.roles import PersonsAccounts, acting
from link_peer_cli.answers.deployment import Fault
from link_peer_cli.deployed.port import fc3
from link_peer_cli.inventory.reading import rules_first
from link_peer_cli.setup.entrances import entrances
from link_peer_cli.setup.queues import QueueResource
from link_peer_cli.setup.resource import SetupTarget
from link_peer_cli.setup.sdk import unless
from link_peer_cli.setup.services import SERVICES

SECONDS = 1800.0
THREADS = 8
UNKNOWN = "no answer"
_NOT_THERE = ("its name cannot be resolved", *(text for service in SERVICES for text in service.not_active))
"""A region without the service, or where the account does not use it."""

_OF_ITS_OWN = re.compile("finance|acdr")
"""Regions that other accounts than ordinary ones use."""


class InUse(msgspec.Struct, frozen=True):
    """What is in the way of a removal, and the groups that have the managed tag, but no rule of ours."""

    faults: list[Fault]
    tagged: list[Group]


def in_use(deployment: SetupTarget) -> InUse:
    """What is left in this region. Only reads, and the rules of every group: one may have lost its managed tag."""
    functions = [Fault(f"function {name}", "exists", "run `s remove -y`") for name in functions_of(deployment)]
    owned_groups, tagged, unread = _groups(deployment)
    accounts = sorted({party.account for party in owned_groups} | unread.keys())
    faults = [
        _fault(deployment, uid, [p.id for p in owned_groups if p.account == uid], unread.get(uid, ""))
        for uid in accounts
    ]
    return InUse([*functions, *faults], tagged)


def clean(deployment: SetupTarget, groups: list[Group]) -> Iterator[str]:
    """Take the managed tags off groups without a rule of ours. Yields a sentence for each group."""
    policy = deployment.policy
    keys = policy.keys.of_group(instances=True)
    cloud = _accounts(deployment, deployment.names.operator_role, reading=False)
    for group in groups:
        try:
            cloud.ecs(group.party.account).untag(group.party.id, [key for key in keys if key in group.tags])
            yield f"{group.party}: removed its managed tag; no rule of link-peer was left"
        except LinkPeerError as error:
            yield f"{group.party}: its managed tag stays ({error}); no rule of link-peer is left"


def elsewhere(deployment: SetupTarget, *, sure: bool) -> str:
    """Which other regions have functions or a queue of the deployment, as a sentence; empty if none has. Unless `sure`,
    also those that give no answer."""
    try:
        places = _other_regions(deployment)
    except LinkPeerError as error:
        return "" if sure else f"which other regions have it is not known ({error}); --force deletes it all the same"
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda settings: _remaining_parts(replace(deployment, settings=settings)), places)
        uses_by_region = {settings.region: use for settings, use in zip(places, answers, strict=True) if use}
    return ", ".join(f"{region} has {use}" for region, use in uses_by_region.items() if not (sure and use == UNKNOWN))


def _other_regions(deployment: SetupTarget) -> list[Settings]:
    """The settings for each other region in which the deployment may be; of a local cloud, for those that are in use.
    An endpoint of FC or MNS is that of one region alone. Raises LinkPeerError if a local cloud does not answer."""
    settings, urls = deployment.settings, entrances(deployment)
    shared_endpoints = {name: url for name, url in settings.endpoints.items() if name not in ("fc", "mns")}
    return [
        replace(
            settings,
            region=region,
            endpoints=dict.fromkeys(settings.endpoints, urls[region]) if urls else shared_endpoints,
        )
        for region in sorted(FUNCTION_COMPUTE - {settings.region})
        if not _OF_ITS_OWN.search(region) and (urls is None or region in urls)
    ]


def _remaining_parts(deployment: SetupTarget) -> str:
    """What there is of the deployment in a region; empty if nothing."""
    name = deployment.names.functions["sweep"]
    try:
        if functions_of(deployment, [name]):
            return f"the function {name}"
        queue = QueueResource(deployment, deployment.names.queue)
        return f"the {queue.label}" if queue.read() is not None else ""
    except LinkPeerError as error:
        return "" if any(text in str(error) for text in _NOT_THERE) else UNKNOWN


def _fault(deployment: SetupTarget, uid: str, groups: list[str], unread: str) -> Fault:
    """What a person does about rules that are left in an account, or about one that cannot be read."""
    remove = f"link-peer account remove {uid} --yes"
    policy_step = f'then delete "{uid}" from `accounts` and `allow` of the policy file'
    problem, advice = f"rules of link-peer are left on {', '.join(groups)}", f"close them: `{remove}`, {policy_step}"
    if unread:
        problem = f"cannot be read ({unread}), so rules of link-peer may be left there"
        only = "or only the latter, if its links were closed before"
        advice = f"close its links with keys of it: `{remove} --profile PROFILE`, {policy_step}; {only}"
    elif uid == deployment.policy.home:
        advice = f"close them: `link-peer close {' '.join(groups)} --yes`"
    return Fault(f"account {uid}", problem, advice)


def _accounts(deployment: SetupTarget, role: str, *, reading: bool) -> PersonsAccounts:
    settings, policy, clock = deployment.settings, deployment.policy, deployment.clock
    keys = acting(identified(settings), settings, policy, clock, role)
    retry = Retry(clock, clock.now() + SECONDS, longest_wait=SECONDS)
    return PersonsAccounts(settings, policy, clock, retry, "setup", keys, reading=reading)


def _groups(deployment: SetupTarget) -> tuple[list[Party], list[Group], dict[str, str]]:
    """The groups with rules of ours, those that have only a managed tag, and why accounts could not be read."""
    policy, region = deployment.policy, deployment.settings.region
    cloud = _accounts(deployment, deployment.names.reader_role, reading=True)
    fetch = Fetch(cloud, policy, deployment.clock, TOLERANT, threads=THREADS)
    groups = {group.party: group for group in fetch.all_groups(sorted(policy.accounts))}
    fetch.rules(rules_first(groups.values()))
    snapshot = fetch.store.snapshot()
    owned_groups = sorted({rule.group for rule, _ in owned_rules(snapshot, policy, region)})
    keys = set(policy.keys.of_group(instances=True))
    unread = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    tagged = [
        group
        for party, group in sorted(groups.items())
        if keys & group.tags.keys() and party not in owned_groups and party.account not in unread
    ]
    return owned_groups, tagged, {uid: str(error) for uid, error in unread.items()}


def functions_of(deployment: SetupTarget, names: Collection[str] = ()) -> list[str]:
    """The functions of a deployment that exist, or those of these."""
    client, models = fc3(deployment.settings, deployment.policy.home)
    request = models.GetFunctionRequest()
    missing_codes = {"FunctionNotFound"}
    names = names or sorted(deployment.names.functions.values())
    return [
        name
        for name in names
        if unless(missing_codes, functools.partial(client.get_function, name, request)) is not None
    ]
