"""What the groups of a link say, and the policy: access, locks, refusals and consent. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Group, Instance, Link, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import TagKeys
from link_peer.planning.consent import Gate, consent_to, groups_named_at
from link_peer.planning.guardrails import forbidden, with_sets


def no_access(snapshot: Snapshot, link: Link) -> Denial | None:
    """An account that refuses access, or could not be read: nothing can be decided about its side."""
    for account in (link.source.account, link.target.account):
        if error := snapshot.refused_accounts.get(account):
            return denials.no_access(account, error.code)
        if account in snapshot.failed_accounts:
            return denials.unreadable(account, snapshot.failed_accounts[account])
    return None


def barred(snapshot: Snapshot, policy: Policy, link: Link) -> Denial | None:
    """Why a refusal or `never` forbids a link; of a part of a link by address, its groups or its instance."""
    sources, targets = (dict.fromkeys(ends) for ends in ((link.source, link.asker), (link.target, link.reached)))
    barring = (forbidden(snapshot, policy, source, target, link.ports) for source in sources for target in targets)
    return next(filter(None, barring), None)


def closed_by_group(snapshot: Snapshot, policy: Policy, key: RuleKey, link: Link, now: float) -> Denial | None:
    """Whether the group that holds a rule is locked, or no longer accepts the rule's source, or a refusal or `never`
    forbids the link. Needs no look at the other side, so that a peer which cannot be read keeps nothing open (fail
    closed).

    An instance that is not shown may be in any group, so consent to any group of its account counts; but where the
    source's account refuses access, only consent that names that very party, or `*` of its account, does.
    """
    group = snapshot.groups.get(key.group)
    if group is None:
        return None
    if (denial := barred(snapshot, policy, link)) and not denial.undecided:
        return denial
    policy = with_sets(snapshot, policy, link, standing=True)
    end, refused = link.reached if key.is_egress else link.asker, snapshot.refused_accounts
    near: Party | Instance = link.target
    if key.is_egress:
        near = any_member(snapshot, link.source, unseen_senders(snapshot, policy, link.source))
    peer: Party | Instance = end
    if end.account not in refused and not end.is_group:
        gate = Gate(group, end, near, key.is_egress)
        unseen = Instance(end, "", groups_named_at(policy, gate))
        peer = snapshot.instances.get(end, as_member(link) if link.followed.is_group else unseen)
    return accepted(policy, link, [Gate(group, peer, near, key.is_egress)], now)[1]


def as_member(link: Link) -> Instance:
    """The instance of a part of a link by address as its consent sees it: in the link's group alone."""
    return Instance(link.represented, "", (link.followed.id,))


def any_member(snapshot: Snapshot, group: Party, unseen: Sequence[Party] = ()) -> Instance:
    """A group, whichever of its instances is meant, as consent sees it: an entry may name one of them, or of those that
    are not shown."""
    return Instance(group, "", tuple(member.id for member in (*snapshot.members.get(group, ()), *unseen)))


def unseen_senders(snapshot: Snapshot, policy: Policy, group: Party) -> list[Party]:
    """The instances that the policy names and that are not shown: they may be in the group."""
    allowed = policy.allowed_instances.get(group.account, frozenset())
    return sorted(party for party in allowed if party not in snapshot.instances)


def accepted(policy: Policy, link: Link, gates: Sequence[Gate], now: float) -> tuple[tuple[str, ...], Denial | None]:
    """(the entries that consent, why not) by the groups that are to hold the rules, or whose consent they need. All
    that a group says by itself is asked here, so that it is asked too where the other side cannot be read."""
    if denial := _locked([gate.group for gate in gates], policy.keys):
        return (), denial
    return consent_to(policy, link, gates, now)


def _locked(groups: Sequence[Group], keys: TagKeys) -> Denial | None:
    """The first group that is locked, and so may hold no rule."""
    for group in groups:
        if key := keys.lock_on(group.tags):
            return denials.locked(group.party, key, group.tags[key], is_own=key in keys.own_locks(group.tags))
    return None
