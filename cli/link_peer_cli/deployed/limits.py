"""What the policy alone shows, before anything is made: limits of the platform that it exceeds, and queues that are not
an account's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from link_peer.domain.platform_limits import QUEUES, ROLE_POLICIES, PlatformLimit
from link_peer.domain.policy import Policy
from link_peer.runtime.settings import tag_prefix
from link_peer_deploy.description import queues_of, roles_of
from link_peer_deploy.names import DEFAULT_PREFIX, Names

from link_peer_cli.access import forms
from link_peer_cli.answers.deployment import Caution, Fault

RAISED_QUEUES, RAISED_POLICIES = "LINK_PEER_QUOTA_QUEUES", "LINK_PEER_QUOTA_POLICIES"
"""The settings that say to how many a quota was raised."""


def raised(limit: PlatformLimit, name: str, env: Mapping[str, str]) -> PlatformLimit:
    """The limit, or what the setting `name` says that it was raised to. Raises BadInput for a setting that is no
    number."""
    quota = forms.value(name, env)
    return PlatformLimit(int(quota), int(quota), (name,)) if quota else limit


def judged(limit: PlatformLimit, count: int, subject: str, problem: str, remedy: str) -> Iterator[Fault | Caution]:
    """A fault where every document refuses so many, a caution where one does. The problem has `{limit}` where the
    number comes."""
    if limit.is_exceeded(count):
        yield Fault(subject, problem.replace("{limit}", str(limit.high)), remedy)
    elif limit.is_in_doubt(count):
        yield Caution(subject, problem.replace("{limit}", str(limit)), f"if it is refused: {remedy}")


def exceeded(policy: Policy, env: Mapping[str, str]) -> Iterator[Fault | Caution]:
    """Every limit that the policy exceeds, by one document or by all, with the number and what to do; and each account
    whose queue is one of the deployment itself."""
    names = Names(policy.home, env.get("LINK_PEER_PREFIX") or DEFAULT_PREFIX)
    for queue in sorted(policy.bound_queues.keys() & {*names.queues}):
        uid = policy.bound_queues[queue]
        problem = f"is {queue}, a queue of the deployment itself, so it cannot prove that {uid} asks"
        yield Fault(f"accounts.{uid}.queue", problem, f"name another, such as {names.queue_of(uid)}")
    yield from queues(queues_of(names, policy.bound_queues), env)
    peers = [account.role for account in policy.accounts.values() if account.role]
    for role in roles_of(names, policy.deployment, tag_prefix(env), peers, policy.keys.sets):
        yield from policies(f"role {role.name}", sum(map(len, role.policies.values())), (), env)


def queues(needed: Sequence[str], env: Mapping[str, str]) -> Iterator[Fault | Caution]:
    """More queues than SMQ allows; those of others in the region count, too, and are not known here."""
    count, limit = len(needed), raised(QUEUES, RAISED_QUEUES, env)
    remedy = (
        f"take `queue` from {count - limit.low} accounts, or raise the quota in Quota Center and set {RAISED_QUEUES}"
    )
    yield from judged(limit, count, "queues", f"the policy needs {count}, and SMQ allows {{limit}} a region", remedy)


def policies(
    role: str, ours: int, extra_policies: tuple[str, ...], env: Mapping[str, str]
) -> Iterator[Fault | Caution]:
    """More custom policies than RAM attaches to a role. `extra_policies` are those that a person attached besides."""
    count, limit = ours + len(extra_policies), raised(ROLE_POLICIES, RAISED_POLICIES, env)
    detach = f"detach {', '.join(extra_policies)}, or " if extra_policies else ""
    same_name = "give the roles of the other accounts the same name, or raise the quota in Quota Center and set"
    problem = f"it would have {count} custom policies, and RAM attaches {{limit}}"
    yield from judged(limit, count, role, problem, f"{detach}{same_name} {RAISED_POLICIES}")
