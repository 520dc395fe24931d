"""May this link exist, and as which rules? Pure: everything comes from the snapshot and the policy.

tag of an instance  ─┐
request             ─┼─▶ desired link (a link and a claim) ─▶ evaluate ─▶ Verdict: the rules it needs, or a denial
claims on our rules ─┘
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from link_peer.domain import denial as denials
from link_peer.domain.denial import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import accepts
from link_peer.planning import consent


class Need(msgspec.Struct, frozen=True):
    """One rule that a link needs; `ends` are the source's and destination's instance on instance rules."""

    key: RuleKey
    ends: tuple[Party, Party] | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`needs` are the rules of the link as far as they could be worked out, also when it is denied. `consent` names the
    tags and allow entries that cover it. `reachability` is same-vpc, different-vpc or unknown."""

    link: Link
    needs: tuple[Need, ...] = ()
    denial: Denial | None = None
    reachability: str = "unknown"
    consent: tuple[str, ...] = ()
    advice: str = ""


def evaluate(snapshot: Snapshot, policy: Policy, link: Link) -> Verdict:
    """Whether a link may exist as things are now. Where several checks fail, the first one is reported."""
    needs = _group_needs(link) if link.source.is_group else ()
    if denial := unknown_account(policy, link):
        return Verdict(link, needs, denial)
    if why := consent.denied_by_policy(policy, link.ports):
        return Verdict(link, needs, denials.not_allowed(why))
    if denial := no_access(snapshot, link):
        return Verdict(link, needs, denial)
    if link.source.is_group:
        return _evaluate_groups(snapshot, policy, link, needs)
    return _evaluate_instances(snapshot, policy, link)


def unknown_account(policy: Policy, link: Link) -> Denial | None:
    """An account that the policy does not list has no links."""
    for account in (link.source.account, link.target.account):
        if account not in policy.accounts:
            return denials.unknown_account(account)
    return None


def no_access(snapshot: Snapshot, link: Link) -> Denial | None:
    """An account that refuses access, or could not be read: nothing can be decided about its side."""
    for account in (link.source.account, link.target.account):
        if error := snapshot.refused_accounts.get(account):
            return denials.no_access(account, error.code)
        if account in snapshot.failed_accounts:
            return denials.unreadable(account, snapshot.failed_accounts[account])
    return None


def consent_withdrawn(snapshot: Snapshot, policy: Policy, key: RuleKey, link: Link) -> Denial | None:
    """Whether the group that holds a rule no longer accepts its source. Needs no look at the other side, so that a peer
    which cannot be read keeps nothing open (fail closed). An instance that is not shown may be in any group, so consent to
    any group of its account counts."""
    group = snapshot.groups.get(key.group)
    if group is None:
        return None
    source: Party | Instance = link.source
    if not link.source.is_group:
        named = [entry.who.id for entry in accepts(group.tags, group.party.account)]
        named += [allow.source.id for allow in policy.allow]
        source = snapshot.instances.get(link.source) or Instance(link.source, "", tuple(named))
    return _with_consent(policy, Verdict(link), [(group, source)]).denial


def _evaluate_groups(snapshot: Snapshot, policy: Policy, link: Link, needs: tuple[Need, ...]) -> Verdict:
    for party in (link.source, link.target):
        if denial := _group_denial(snapshot.groups.get(party), party):
            return Verdict(link, needs, denial)
    source, target = snapshot.groups[link.source], snapshot.groups[link.target]
    if source.vpc != target.vpc:
        one_account = source.party.account == target.party.account
        denial = denials.different_vpc(source.party, source.vpc, target.party, target.vpc, one_account=one_account)
        return Verdict(link, needs, denial, "different-vpc")
    return _with_consent(policy, Verdict(link, needs, None, "same-vpc"), [(target, link.source), (source, link.target)])


def _group_denial(group: Group | None, party: Party) -> Denial | None:
    """Why a group cannot be one side of a link between groups."""
    if group is None:
        return denials.peer_not_found(party)
    if not group.vpc:
        return denials.classic_group(party)
    if group.managed:
        return denials.managed_group(party)
    return denials.advanced_group(party) if group.advanced else None


def _evaluate_instances(snapshot: Snapshot, policy: Policy, link: Link) -> Verdict:
    for party in (link.source, link.target):
        instance = snapshot.instances.get(party)
        if instance is None:
            return Verdict(link, (), denials.instance_gone(party))
        if instance.classic or not instance.vpc:
            return Verdict(link, (), denials.classic_instance(party))
    source, target = snapshot.instances[link.source], snapshot.instances[link.target]
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    sides: list[tuple[Group, Instance, Instance]] = []  # the group that is given the rule, who is let in, to whom
    for to, other in ((target, source), (source, target))[: 2 if link.mutual else 1]:
        group = next((group for group in snapshot.groups_of(to) if not group.managed), None)
        if group is None:
            return Verdict(link, (), denials.no_group_takes_rules(to.party), reachability)
        sides.append((group, other, to))
    advice = denials.NO_ROUTE if reachability == "different-vpc" else ""
    verdict = Verdict(link, _instance_needs(link, sides), None, reachability, advice=advice)
    verdict = _with_consent(policy, verdict, [(group, other) for group, other, _ in sides])
    if verdict.denial is None and not verdict.needs:
        lacking = source if not source.ip else target
        return msgspec.structs.replace(verdict, denial=denials.no_private_ip(lacking.party))
    return verdict


def _instance_needs(link: Link, sides: Sequence[tuple[Group, Instance, Instance]]) -> tuple[Need, ...]:
    """A five-part rule for each side and port; none while an address is missing."""
    if not all(other.ip and to.ip for _, other, to in sides):
        return ()
    return tuple(
        Need(RuleKey(group.party, f"{other.ip}/32", f"{to.ip}/32", port), (other.party, to.party))
        for group, other, to in sides
        for port in link.ports or (ALL,)
    )


def _with_consent(policy: Policy, verdict: Verdict, sides: Sequence[tuple[Group, Party | Instance]]) -> Verdict:
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
    verdict = msgspec.structs.replace(verdict, consent=tuple(used))
    if not missing:
        return verdict
    return msgspec.structs.replace(verdict, denial=denials.no_consent(missing, tags, by_tag=policy.accept_tags))


def _group_needs(link: Link) -> tuple[Need, ...]:
    if link.mutual:
        return (
            Need(RuleKey(link.target, str(link.source), "", ALL)),
            Need(RuleKey(link.source, str(link.target), "", ALL)),
        )
    return tuple(Need(RuleKey(link.target, str(link.source), "", port)) for port in link.ports)
