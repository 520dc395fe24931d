"""Members of linked groups that the policy's `never` bars by themselves, or by another group of theirs. Pure.

A link between groups is judged by the groups, and admits every member: the platform knows no exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.model import Instance, Party
from link_peer.planning.guardrails import never_denial
from link_peer.planning.standing import Standing

from link_peer_cli.checks.finding import WARNING, CheckFinding, few
from link_peer_cli.checks.seen import CloudSeen


def check(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each link between groups with such members, in the account of the first, which names the entry."""
    for link in seen.links if seen.policy.never else ():
        found = list(_barred(seen, link)) if link.source.is_group else []
        if found:
            first, why = found[0]
            what = f"members of {link.source} to {link.target} {link.ports_text}"
            advice = "take them out of the linked group, or link instances (i-…) instead of the groups"
            yield CheckFinding(
                WARNING, first.account, what, f"{few(party for party, _ in found)} are in a linked group: {why}", advice
            )


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
