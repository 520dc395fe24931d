"""Links that stand and whose packets do not get through: which rule or setting stops them, and who can change that.
Pure.

What is closing is not among them: the next sweep removes it. And members of linked groups that the policy's `never`
bars by themselves, or by another group of theirs: a link between groups admits every member, since the platform knows
no exceptions.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from link_peer.domain.denials import about, isolated_group
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Instance, Link, Party, Rule, ports_text
from link_peer.planning.effect import EffectCause
from link_peer.planning.guardrails import forbidden
from link_peer.runtime.ports import Record
from link_peer.views.reach import Reach
from link_peer.views.standing import Standing, link_reach, state_of

from link_peer_cli.checks.finding import OK, WARNING, CheckFinding, few
from link_peer_cli.checks.seen import CloudSeen

FEW = 3  # links that are named, of many that one rule stops

Judged = tuple[Standing, Reach]


def check(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each rule that stops links, and one for each link that is stopped by something else."""
    judged = [(link, link_reach(view.scene, link)) for link in view.links if link.half is None and not link.closing]
    words = Counter(reach.word for _, reach in judged)
    unjudged_links = (link for link in view.links if link.half is not None or link.closing)
    words += Counter(state_of(view.scene, link)[0] for link in (*unjudged_links, *view.renamed))
    by_rule = grouped(
        (judged_link[1].effect.rules, judged_link) for judged_link in judged if judged_link[1].effect.passes is False
    )
    for rules, stopped in sorted(by_rule.items(), key=lambda item: [rule.id for rule in item[0]]):
        if rules:
            yield _stopped_by_rules(rules, stopped)
        else:
            yield from (_stopped_by_no_rule(judged_link) for judged_link in stopped)
    if words:
        counted = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        yield CheckFinding(OK, "", "state of links", f"{counted}, as far as security groups decide")


def _stopped_by_rules(rules: Sequence[Rule], stopped: Sequence[Judged]) -> CheckFinding:
    names = " and ".join(f"{rule.id} on {rule.group}" for rule in rules)
    accounts = sorted({rule.group.account for rule in rules})
    listed = [
        _link_text(link) + (", in part" if reach.passing or reach.effect.passed else "") for link, reach in stopped
    ]
    remainder = f"; and {len(listed) - FEW} more" if len(listed) > FEW else ""
    detail = f"{_does(rules)}: it stops {'; '.join(listed[:FEW])}{remainder}"
    removal_hint = f"who may change security groups in account {' and '.join(accounts)} can remove it"
    advice = f"{names} is a person's: {removal_hint}; {_explain(stopped[0])}"
    return CheckFinding(WARNING, accounts[0], f"drop {names}", detail, advice)


def _stopped_by_no_rule(judged_link: Judged) -> CheckFinding:
    link, reach = judged_link
    account = link.source.account if EffectCause.NO_EGRESS in reach.effect.causes else link.target.account
    return CheckFinding(WARNING, account, f"blocked {_link_text(link)}", reach.detail, _explain(judged_link))


def _does(rules: Sequence[Rule]) -> str:
    def rule_text(rule: Rule) -> str:
        traffic = rule.traffic
        ports = ports_text([traffic.port]) if traffic and traffic.port else "a port list"
        note = f" {rule.description!r}" if rule.description else ""
        return f"{rule.policy} {ports} priority {rule.priority}{note}"

    return " and ".join(map(rule_text, rules))


def _link_text(link: Standing) -> str:
    return f"{link.source} to {link.target} {link.ports_text}"


def _explain(judged_link: Judged) -> str:
    link, reach = judged_link
    port = "" if link.mutual else f" {ports_text(reach.effect.blocked[:1] or link.ports[:1])}"
    return f"link-peer explain {link.source} {link.target}{port}"


def isolated(view: CloudSeen, records: Sequence[Record]) -> Iterator[CheckFinding]:
    """One finding for each such group, as far as its policy was read: the sweep asks where both ends of a wish are in
    it."""
    for party, access in sorted(view.scene.snapshot.inner_access.items()):
        if access:
            continue
        inside = {"from": party.id, "from_account": party.account, "to": party.id, "to_account": party.account}
        denied = sum({"outcome": "denied", **inside}.items() <= record.items() for record in records)
        detail = (
            f"InnerAccessPolicy Drop: its members reach each other by rules only; {denied} links inside it are denied"
        )
        advice = about(isolated_group(party, advanced=False), "link", Link(party, party), view.region).advice
        yield CheckFinding(WARNING, party.account, f"isolated group {party}", detail, advice)


def beside_locks(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each locked group whose instances are in other groups, too, which are not locked: these may admit
    what the lock keeps off."""
    groups, lock_on = view.scene.snapshot.groups, view.policy.keys.lock_on
    for party in sorted(party for party, group in groups.items() if lock_on(group.tags)):
        open_groups = {
            group
            for member in view.scene.members(party)
            for group in member.own_groups
            if group in groups and not lock_on(groups[group].tags)
        }
        if open_groups:
            detail = f"its instances are also in {few(sorted(open_groups))}, which may admit what the lock keeps off"
            advice = (
                f"if they should be closed too: {shlex.join(['link-peer', 'close', *map(str, sorted(open_groups))])}"
            )
            yield CheckFinding(WARNING, party.account, f"lock of {party}", detail, advice)


def barred(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each link between groups with such members, in the account of the first, which names the
    entry."""
    groups, refusing = view.scene.snapshot.groups.values(), view.policy.keys.refusing
    forbids = view.policy.never or any(refusing(group.tags) for group in groups)
    for link in view.links if forbids else ():
        barred_members = list(_barred(view, link)) if link.source.is_group else []
        if barred_members:
            first, reason = barred_members[0]
            subject = f"members of {link.source} to {link.target} {link.ports_text}"
            detail = f"{few(party for party, _ in barred_members)} are in a linked group: {reason}"
            advice = "take them out of the linked group, or link instances (i-…) instead of the groups"
            yield CheckFinding(WARNING, first.account, subject, detail, advice)


def _barred(view: CloudSeen, link: Standing) -> Iterator[tuple[Party, str]]:
    """The members of either group, each with the entry that bars it, if the groups themselves are not barred. Of a link
    by address, no such member of its source is admitted."""
    snapshot, ports = view.scene.snapshot, () if link.mutual else link.ports
    if forbidden(snapshot, view.policy, link.source, link.target, ports):
        return
    by_reference = any(rule.key and rule.key.source.startswith("sg-") for rule in link.rules)
    ends: list[tuple[Instance, Party | Instance, Party | Instance]] = [
        *((member, member, link.target) for member in (view.scene.members(link.source) if by_reference else ())),
        *((member, link.source, member) for member in view.scene.members(link.target)),
    ]
    for member, source, target in ends:
        denial = forbidden(snapshot, view.policy, source, target, ports)
        if denial and not denial.undecided:
            yield member.party, denial.detail
