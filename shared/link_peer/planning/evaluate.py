"""May this link stand, and as which rules? Pure: everything comes from the View, the policy and the time passed in.

wish of an instance's tag ─┐
a request                  ├→ Claim (a link and a reason) → judge → Verdict: the rules it needs, or why not
reasons on standing rules ─┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain.errors import BadInput
from link_peer.domain.model import ALL, TAG, Group, Instance, Link, Party, Reason, RuleKey
from link_peer.domain.tags import Peer, accepts, link_until, peers
from link_peer.engine.reader import View
from link_peer.inbound.policy_file import Policy
from link_peer.planning import consent

UNSEEN = frozenset({"peer-not-found", "instance-gone", "no-private-ip"})
"""Denials that say "the cloud does not show it": removals for their sake are counted and need a living account."""

NO_ROUTE = "in different VPCs a rule gives no route: connect them with CEN, VPC peering, VPN Gateway or Express Connect"


class Denial(msgspec.Struct, frozen=True):
    """Why not: one of the reasons of docs/audit.md, in plain words, and what to do about it."""

    reason: str
    detail: str
    advice: str = ""

    @property
    def unseen(self) -> bool:
        return self.reason in UNSEEN


class Need(msgspec.Struct, frozen=True):
    """One rule that a link needs; `ends` are the source's and destination's instance on instance rules."""

    key: RuleKey
    ends: tuple[Party, Party] | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`needs` are the rules of the link as far as they could be worked out, also when it is denied."""

    link: Link
    needs: tuple[Need, ...] = ()
    denial: Denial | None = None
    reachability: str = "unknown"
    consent: tuple[str, ...] = ()
    advice: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Somebody's reason for a link. `tag` and `instance` say whose tag; `unchanged` that there is nothing to do (same group).

    `denial` is a refusal that needs no look at the link: an unreadable peer, an end that is past.
    """

    link: Link
    reason: Reason
    instance: Party | None = None
    tag: str = ""
    denial: Denial | None = None
    same_group: bool = False
    raw: str = ""  # the peer as written, where it could not be read


def tag_claims(view: View, instance: Instance, now: float) -> list[Claim]:
    """What an instance's tags ask for. The group that stands for it is the first, in the API's order, that can."""
    until = link_until(instance.tags)
    ended: Denial | None = None
    if isinstance(until, BadInput):
        ended = Denial("bad-tag", str(until), "write link-until as 2027-01-01T00:00:00Z, or take it off")
    elif until is not None and until <= now:
        ended = Denial("expired", "link-until is past", "set link-until to a later instant, or take it off")
    claims = []
    for tag, peer in peers(instance.tags, instance.party.account):
        if isinstance(peer, BadInput):
            who = stand_in(view, instance, None) or instance.party
            link = Link(who, Party(instance.party.account, ""))
            advice = "write peers as sg-…, i-… or sg-…@<account uid>, with ports as :tcp/3306+udp/53"
            claims.append(
                Claim(link, TAG, instance.party, tag, Denial("bad-tag", str(peer), advice), raw=tag.partition("=")[2])
            )
            continue
        claim = _claim(view, instance, tag, peer)
        claims.append(msgspec.structs.replace(claim, denial=ended) if ended and not claim.same_group else claim)
    return claims


def _claim(view: View, instance: Instance, tag: str, peer: Peer) -> Claim:
    if not peer.party.is_group:
        link = Link(instance.party, peer.party, peer.ports)
        return Claim(link, TAG, instance.party, tag, same_group=peer.party == instance.party)
    own = peer.party.account == instance.party.account and peer.party.id in instance.groups
    group = peer.party if own else stand_in(view, instance, view.groups.get(peer.party))
    if group is not None:
        return Claim(Link(group, peer.party, peer.ports), TAG, instance.party, tag, same_group=own)
    groups = [view.groups[p] for p in _groups_of(instance) if p in view.groups]
    first = groups[0].party if groups else instance.party
    return Claim(Link(first, peer.party, peer.ports), TAG, instance.party, tag, denial=_no_stand_in(instance, groups))


def stand_in(view: View, instance: Instance, peer: Group | None) -> Party | None:
    """The group that stands for an instance as a group source: basic, not managed, in the peer's VPC where that is known."""
    for party in _groups_of(instance):
        group = view.groups.get(party)
        if group and group.vpc and not group.advanced and not group.managed and (not peer or peer.vpc == group.vpc):
            return party
    if peer is not None:  # none in that VPC: the first that could otherwise, so that the denial names it
        return stand_in(view, instance, None)
    return None


def _no_stand_in(instance: Instance, groups: list[Group]) -> Denial:
    ids = ", ".join(instance.groups) or "none"
    if instance.classic or any(not group.vpc for group in groups):
        return Denial("classic-network", f"{instance.party.id} is in the classic network", "move it into a VPC")
    if any(group.advanced for group in groups):
        advice = "put the instance into a basic group too, or name instances (i-…) instead of groups"
        return Denial("advanced-group", f"no basic group among the instance's groups ({ids})", advice)
    if groups:
        return Denial(
            "managed-group", f"the instance's groups ({ids}) are managed by a cloud product", "use a group of your own"
        )
    return Denial("peer-not-found", f"the groups of {instance.party.id} ({ids}) are not shown", "")


def judge(view: View, policy: Policy, link: Link) -> Verdict:
    """Whether a link may stand as things are now. The order of the checks decides which reason is told when several hold."""
    needs = _group_needs(link) if link.source.is_group else ()
    if denial := unknown_account(policy, link):
        return Verdict(link, needs, denial)
    if why := consent.denied_by_policy(policy, link.ports):
        return Verdict(link, needs, Denial("not-allowed", why, "ask for fewer ports, or have the policy file changed"))
    if denial := no_access(view, link):
        return Verdict(link, needs, denial)
    if link.source.is_group:
        return _judge_groups(view, policy, link, needs)
    return _judge_instances(view, policy, link)


def unknown_account(policy: Policy, link: Link) -> Denial | None:
    """The world is closed: an account that the policy does not list has no links."""
    for account in (link.source.account, link.target.account):
        if account not in policy.accounts:
            advice = f'add "{account}" to accounts in the policy file, with the role that link-peer may assume there'
            return Denial("unknown-account", f"account {account} is not in the policy", advice)
    return None


def no_access(view: View, link: Link) -> Denial | None:
    """An account that could not be read: nothing may be said of its side."""
    for account in (link.source.account, link.target.account):
        if not view.readable(account):
            advice = "check that account's role, its trust policy and external id, and the role's ECS permissions"
            return Denial("no-access", f"account {account}: {view.blocked[account].code}", advice)
    return None


def _judge_groups(view: View, policy: Policy, link: Link, needs: tuple[Need, ...]) -> Verdict:
    groups = []
    for party in (link.source, link.target):
        group = view.groups.get(party)
        if group is None:
            return Verdict(
                link, needs, Denial("peer-not-found", f"{party} is not there", "check the id and the region")
            )
        groups.append(group)
    for group in groups:
        if not group.vpc:
            return Verdict(
                link, needs, Denial("classic-network", f"{group.party} is a classic group", "use a VPC group")
            )
        if group.managed:
            detail = f"{group.party} is managed by a cloud product, which refuses every change"
            return Verdict(link, needs, Denial("managed-group", detail, "use a group of your own"))
        if group.advanced:
            detail = f"{group.party} is an advanced group, which takes no group as a source and cannot be one"
            return Verdict(link, needs, Denial("advanced-group", detail, "use a basic group, or name instances (i-…)"))
    source, target = groups
    if source.vpc != target.vpc:
        detail = f"{source.party} is in {source.vpc}, {target.party} in {target.vpc}"
        instead = "name instances (i-…) instead of groups"
        if source.party.account != target.party.account:
            instead = "post a request between instances (i-…), as a tag names groups of other accounts only"
        denial = Denial("different-vpc", detail, f"{instead}; {NO_ROUTE}")
        return Verdict(link, needs, denial, "different-vpc")
    return _consented(policy, Verdict(link, needs, None, "same-vpc"), [(target, link.source), (source, link.target)])


def _judge_instances(view: View, policy: Policy, link: Link) -> Verdict:
    found = []
    for party in (link.source, link.target):
        instance = view.instances.get(party)
        if instance is None:
            return Verdict(link, (), Denial("instance-gone", f"{party} is not shown", "check the id and the region"))
        if instance.classic or not instance.vpc:
            return Verdict(
                link, (), Denial("classic-network", f"{party} is in the classic network", "move it into a VPC")
            )
        found.append(instance)
    source, target = found
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    sides = []
    for to, other in ((target, source), (source, target))[: 2 if link.mutual else 1]:
        group = next((g for p in _groups_of(to) if (g := view.groups.get(p)) and not g.managed), None)
        if group is None:
            detail = f"{to.party} has no group that takes rules"
            return Verdict(link, (), Denial("managed-group", detail, "put it into a group of your own"), reachability)
        sides.append((group, other, to))
    needs: list[Need] = []
    if source.ip and target.ip:
        for group, other, to in sides:
            for port in link.ports or (ALL,):
                key = RuleKey(group.party, f"{other.ip}/32", f"{to.ip}/32", port)
                needs.append(Need(key, (other.party, to.party)))
    verdict = Verdict(
        link, tuple(needs), None, reachability, advice=NO_ROUTE if reachability == "different-vpc" else ""
    )
    verdict = _consented(policy, verdict, [(group, other) for group, other, _ in sides])
    if verdict.denial is None and not needs:
        lacking = source if not source.ip else target
        denial = Denial("no-private-ip", f"{lacking.party} has no private address", "wait until it runs")
        return msgspec.structs.replace(verdict, denial=denial)
    return verdict


def shut(view: View, policy: Policy, key: RuleKey, link: Link) -> Denial | None:
    """Has the group on which a rule stands not accepted its source? That needs no look at the other side: whoever hides
    keeps nothing open. An instance that is not shown may be in any group, and consent to any of its account counts."""
    group = view.groups.get(key.group)
    if group is None:
        return None
    source: Party | Instance = link.source
    if not link.source.is_group:
        named = [entry.who.id for entry in accepts(group.tags, group.party.account)]
        named += [allow.source.id for allow in policy.allow]
        source = view.instances.get(link.source) or Instance(link.source, "", tuple(named))
    return _consented(policy, Verdict(link), [(group, source)]).denial


def _consented(policy: Policy, verdict: Verdict, sides: Sequence[tuple[Group, Party | Instance]]) -> Verdict:
    """The verdict with the consent of the target's group and, for a mutual link, of the source's group too."""
    link = verdict.link
    ports = link.ports or (ALL,)
    used: list[str] = []
    missing: list[str] = []
    tags: list[str] = []
    targets = (link.target, link.source)
    for (group, source), target in zip(sides[: 2 if link.mutual else 1], targets, strict=False):
        evidence, uncovered = consent.consents(policy, group, source, target, ports)
        used += evidence
        if uncovered:
            party = source.party if isinstance(source, Instance) else source
            what = "everything" if ALL in uncovered else "+".join(sorted(map(str, uncovered)))
            missing.append(f"{group.party} has not accepted {party} on {what}")
            tags.append(f"tag {group.party} {' '.join(consent.tags_for(group, party, ports))}")
    if not missing:
        return msgspec.structs.replace(verdict, consent=tuple(used))
    advice = "; ".join(tags) if policy.accept_tags else "have the pair added to allow in the policy file"
    return msgspec.structs.replace(
        verdict, consent=tuple(used), denial=Denial("no-consent", "; ".join(missing), advice)
    )


def _group_needs(link: Link) -> tuple[Need, ...]:
    if link.mutual:
        return (
            Need(RuleKey(link.target, str(link.source), "", ALL)),
            Need(RuleKey(link.source, str(link.target), "", ALL)),
        )
    return tuple(Need(RuleKey(link.target, str(link.source), "", port)) for port in link.ports)


def _groups_of(instance: Instance) -> Iterable[Party]:
    return (Party(instance.party.account, group) for group in instance.groups)
