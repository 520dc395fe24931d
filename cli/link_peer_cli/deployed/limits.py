"""Limits of the platform that a policy of many accounts may exceed, told from the policy alone, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from link_peer.domain.policy import Policy
from link_peer.runtime.settings import tag_prefix
from link_peer_deploy.description import queues_of, roles_of
from link_peer_deploy.names import DEFAULT_PREFIX, Names

from link_peer_cli.access import forms
from link_peer_cli.answers.deployment import Fault

QUEUES, POLICIES = "LINK_PEER_QUOTA_QUEUES", "LINK_PEER_QUOTA_POLICIES"
LIMITS = {QUEUES: 1000, POLICIES: 5}
"""Queues of a region [doc SMQ limits], and custom policies of a role [doc RAM error codes, LimitExceeded.Role.Policy; the page
of limits has 10, 2025-12]. Both can be raised: these settings then say to how many."""


def limit(name: str, env: Mapping[str, str]) -> int:
    """The number of LIMITS that holds. Raises BadInput for one that is no number."""
    return int(forms.value(name, env) or LIMITS[name])


def exceeded(policy: Policy, env: Mapping[str, str]) -> Iterator[Fault]:
    """Every limit that the policy exceeds, with the number and what to do."""
    names = Names(policy.home, env.get("LINK_PEER_PREFIX") or DEFAULT_PREFIX)
    yield from queues(queues_of(names, policy.bound_queues), env)
    peers = [account.role for account in policy.accounts.values() if account.role]
    for role in roles_of(names, policy.deployment, tag_prefix(env), peers, policy.keys.sets):
        yield from policies(f"role {role.name}", sum(map(len, role.policies.values())), (), env)


def queues(needed: Sequence[str], env: Mapping[str, str]) -> Iterator[Fault]:
    """More queues than SMQ allows; those of others in the region count, too, and are not known here."""
    count, most = len(needed), limit(QUEUES, env)
    if count > most:
        remedy = f"take `queue` from {count - most} accounts, or raise the quota in Quota Center and set {QUEUES}"
        yield Fault("queues", f"the policy needs {count}, and SMQ allows {most} a region", remedy)


def policies(role: str, ours: int, extra_policies: tuple[str, ...], env: Mapping[str, str]) -> Iterator[Fault]:
    """More custom policies than RAM attaches to a role. `extra_policies` are those that a person attached besides."""
    count, most = ours + len(extra_policies), limit(POLICIES, env)
    if count > most:
        remedy = (
            f"give the roles of the other accounts the same name, or raise the quota in Quota Center and set {POLICIES}"
        )
        detach = f"detach {', '.join(extra_policies)}, or " if extra_policies else ""
        yield Fault(role, f"it would have {count} custom policies, and RAM attaches {most}", f"{detach}{remedy}")
