"""What the policy alone says about its `tests`, without the tags of any group. Pure; no function imports it.

| the policy                                                                                       | says     |
|--------------------------------------------------------------------------------------------------|----------|
| denies the ports, a limit forbids them, or `never` the pair                                      | DENIED   |
| has entries of `allow` that cover every port (for a mutual link: in both directions)             | ALLOWED  |
| counts tags as consent; or an entry names a group or a set, and only what is read could tell     | OPEN     |
| counts the list alone, which does not cover it                                                   | DENIED   |

ALLOWED is consent: a lock or a missing route may still prevent the link.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, Party, Ports, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Grantee, covers
from link_peer.planning import consent
from link_peer.planning.guardrails import never_denial

Names = Callable[[Grantee, Party], bool]


class PolicyVerdict(Enum):
    """What the policy alone says about a link."""

    ALLOWED = "allowed"
    DENIED = "denied"
    OPEN = "unknown"  # it depends on tags


class Finding(msgspec.Struct, frozen=True):
    """One link of a test."""

    at: str  # its place in the file, such as `tests[0].deny[1]`
    source: Party
    target: Party
    ports: Ports
    expected: PolicyVerdict
    verdict: PolicyVerdict
    reason: str  # the fact that decided

    @property
    def failed(self) -> bool:
        """Whether the policy contradicts its test."""
        return self.verdict not in (self.expected, PolicyVerdict.OPEN)

    def __str__(self) -> str:
        link = f"{self.source} -> {self.target}:{ports_text(self.ports)}"
        return f"{self.at}: {link} must be {self.expected.value}, and is {self.verdict.value}: {self.reason}"


def judge(policy: Policy, now: float) -> list[Finding]:
    """A finding for each link of each test, in the file's order. `now` (epoch seconds) decides which entries have
    ended."""
    findings = []
    for number, test in enumerate(policy.tests):
        for word, expected, links in (
            ("accept", PolicyVerdict.ALLOWED, test.accept),
            ("deny", PolicyVerdict.DENIED, test.deny),
        ):
            for index, (target_party, ports) in enumerate(links):
                source, target = (
                    Party(test.source.account, test.source.id),
                    Party(target_party.account, target_party.id),
                )
                verdict, detail = _judge(policy, source, target, ports, now)
                findings.append(
                    Finding(f"tests[{number}].{word}[{index}]", source, target, ports, expected, verdict, detail)
                )
    return findings


def _judge(policy: Policy, source: Party, target: Party, ports: Ports, now: float) -> tuple[PolicyVerdict, str]:
    if source.is_group != target.is_group:
        return PolicyVerdict.DENIED, "a link joins two groups or two instances"
    barred = consent.denied_by_policy(policy, ports) or never_denial(Snapshot(), policy, source, target, ports)
    if barred:
        return PolicyVerdict.DENIED, barred.detail
    if _covered(policy, source, target, ports, now, consent.names):
        maybe = never_denial(_nothing_read(source, target), policy, source, target, ports)
        but = f", unless this forbids it: {maybe.detail}" if maybe else ""
        return PolicyVerdict.OPEN if maybe else PolicyVerdict.ALLOWED, f"entries of `allow` consent to it{but}"
    if policy.accept_tags:
        return PolicyVerdict.OPEN, "it depends on the tags of groups"
    if _covered(policy, source, target, ports, now, _may_name):
        return PolicyVerdict.OPEN, "it depends on the groups of the instances"
    return PolicyVerdict.DENIED, "`accept_tags` is false, and no entry of `allow` covers it"


def _nothing_read(*parties: Party) -> Snapshot:
    """Whatever `never` may match, it matches."""
    return Snapshot(refused_accounts={party.account: NoAccess("not read", "") for party in parties})


def _covered(policy: Policy, source: Party, target: Party, ports: Ports, now: float, names: Names) -> bool:
    """Whether single entries of `allow` that have not ended cover each port, in both directions of a mutual link."""
    current = [allow for allow in policy.allow if allow.until is None or now < allow.until]
    for start, end in [(source, target)] if ports else [(source, target), (target, source)]:
        entries = [allow for allow in current if names(allow.source, start) and names(allow.target, end)]
        if not all(any(covers(entry.ports, port) for entry in entries) for port in ports or (ALL,)):
            return False
    return True


def _may_name(entry_end: Grantee, party: Party) -> bool:
    """Consent that names a group covers the instances in it."""
    of_it = entry_end.id.startswith(SET) or (entry_end.id.startswith("sg-") and not party.is_group)
    return consent.names(entry_end, party) or (entry_end.account == party.account and of_it)
