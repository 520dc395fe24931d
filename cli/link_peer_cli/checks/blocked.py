"""Links that stand and whose packets do not get through: which rule or setting stops them, and who can change that. Pure.

What is closing is not among them: the next sweep removes it. And members of linked groups that the policy's `never` bars by
themselves, or by another group of theirs: a link between groups admits every member, since the platform knows no exceptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from link_peer.domain.denials import about, isolated_group
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Instance, Link, Party, Rule, ports_text
from link_peer.planning.effect import EffectCause
from link_peer.planning.guardrails import never_denial
from link_peer.runtime.ports import Record
from link_peer.views.reach import Reach
from link_peer.views.standing import Standing, link_reach, state_of

from link_peer_cli.checks.finding import OK, WARNING, CheckFinding, few
from link_peer_cli.checks.seen import CloudSeen

FEW = 3  # links that are named, of many that one rule stops

Judged = tuple[Standing, Reach]


def check(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each rule that stops links, and one for each link that is stopped by something else."""
    judged = [(link, link_reach(seen.scene, link)) for link in seen.links if link.half is None and not link.closing]
    words = Counter(reach.word for _, reach in judged)
    others = (link for link in seen.links if link.half is not None or link.closing)
    words += Counter(state_of(seen.scene, link)[0] for link in (*others, *seen.renamed))
    by_rule = grouped((one[1].effect.rules, one) for one in judged if one[1].effect.passes is False)
    for rules, stopped in sorted(by_rule.items(), key=lambda item: [rule.id for rule in item[0]]):
        if rules:
            yield _stopped(rules, stopped)
        else:
            yield from (_other(one) for one in stopped)
    if words:
        counted = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        yield CheckFinding(OK, "", "state of links", f"{counted}, as far as security groups decide")


def _stopped(rules: Sequence[Rule], stopped: Sequence[Judged]) -> CheckFinding:
    names = " and ".join(f"{rule.id} on {rule.group}" for rule in rules)
    accounts = sorted({rule.group.account for rule in rules})
    listed = [_named(link) + (", in part" if reach.passing or reach.effect.passed else "") for link, reach in stopped]
    rest = f"; and {len(listed) - FEW} more" if len(listed) > FEW else ""
    detail = f"{_does(rules)}: it stops {'; '.join(listed[:FEW])}{rest}"
    who = f"who may change security groups in account {' and '.join(accounts)} can remove it"
    advice = f"{names} is a person's: {who}; {_explain(stopped[0])}"
    return CheckFinding(WARNING, accounts[0], f"drop {names}", detail, advice)


def _other(one: Judged) -> CheckFinding:
    link, reach = one
    account = link.source.account if EffectCause.NO_EGRESS in reach.effect.causes else link.target.account
    return CheckFinding(WARNING, account, f"blocked {_named(link)}", reach.detail, _explain(one))


def _does(rules: Sequence[Rule]) -> str:
    def one(rule: Rule) -> str:
        traffic = rule.traffic
        ports = ports_text([traffic.port]) if traffic and traffic.port else "a port list"
        note = f" {rule.description!r}" if rule.description else ""
        return f"{rule.policy} {ports} priority {rule.priority}{note}"

    return " and ".join(map(one, rules))


def _named(link: Standing) -> str:
    return f"{link.source} to {link.target} {link.ports_text}"


def _explain(one: Judged) -> str:
    link, reach = one
    port = "" if link.mutual else f" {ports_text(reach.effect.blocked[:1] or link.ports[:1])}"
    return f"link-peer explain {link.source} {link.target}{port}"


def isolated(seen: CloudSeen, records: Sequence[Record]) -> Iterator[CheckFinding]:
    """One finding for each such group, as far as its policy was read: the sweep asks where both ends of a wish are in it."""
    for party, access in sorted(seen.scene.snapshot.inner_access.items()):
        if access:
            continue
        inside = {"from": party.id, "from_account": party.account, "to": party.id, "to_account": party.account}
        denied = sum({"outcome": "denied", **inside}.items() <= record.items() for record in records)
        detail = (
            f"InnerAccessPolicy Drop: its members reach each other by rules only; {denied} links inside it are denied"
        )
        advice = about(isolated_group(party, advanced=False), "link", Link(party, party), seen.region).advice
        yield CheckFinding(WARNING, party.account, f"isolated group {party}", detail, advice)


def barred(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each link between groups with such members, in the account of the first, which names the entry."""
    for link in seen.links if seen.policy.never else ():
        found = list(_barred(seen, link)) if link.source.is_group else []
        if found:
            first, why = found[0]
            what = f"members of {link.source} to {link.target} {link.ports_text}"
            detail = f"{few(party for party, _ in found)} are in a linked group: {why}"
            advice = "take them out of the linked group, or link instances (i-…) instead of the groups"
            yield CheckFinding(WARNING, first.account, what, detail, advice)


def _barred(seen: CloudSeen, link: Standing) -> Iterator[tuple[Party, str]]:
    """The members of either group, each with the entry that bars it, if the groups themselves are not barred. Of a link by
    address, no such member of its source is admitted."""
    snapshot, ports = seen.scene.snapshot, () if link.mutual else link.ports
    if never_denial(snapshot, seen.policy, link.source, link.target, ports):
        return
    by_reference = any(rule.key and rule.key.source.startswith("sg-") for rule in link.rules)
    ends: list[tuple[Instance, Party | Instance, Party | Instance]] = [
        *((one, one, link.target) for one in (seen.scene.members(link.source) if by_reference else ())),
        *((one, link.source, one) for one in seen.scene.members(link.target)),
    ]
    for member, source, target in ends:
        denial = never_denial(snapshot, seen.policy, source, target, ports)
        if denial and not denial.undecided:
            yield member.party, denial.detail
