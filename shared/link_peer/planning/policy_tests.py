"""What the policy alone says about its `tests`, without the tags of any group. Pure; no function imports it.

| the policy                                                                                       | says     |
|--------------------------------------------------------------------------------------------------|----------|
| denies the ports, or a limit forbids them                                                        | DENIED   |
| has entries of `allow` that cover every port (for a mutual link: in both directions)             | ALLOWED  |
| counts tags as consent; or an entry names a group, and only the instance's groups could tell     | OPEN     |
| counts the list alone, which does not cover it                                                   | DENIED   |

ALLOWED is consent: a lock or a missing route may still prevent the link.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from link_peer.domain.model import ALL, Party, Ports, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.tags import Who, covers
from link_peer.planning import consent

Names = Callable[[Who, Party], bool]


class Verdict(Enum):
    """What the policy alone says about a link."""

    ALLOWED = "allowed"
    DENIED = "denied"
    OPEN = "open"  # it depends on tags


class Finding(msgspec.Struct, frozen=True):
    """One link of a test: `at` is its place in the file, such as `tests[0].deny[1]`, and `why` the fact that decided."""

    at: str
    source: Party
    target: Party
    ports: Ports
    expected: Verdict
    verdict: Verdict
    why: str

    @property
    def failed(self) -> bool:
        """Whether the policy contradicts its test."""
        return self.verdict not in (self.expected, Verdict.OPEN)

    def __str__(self) -> str:
        link = f"{self.source} -> {self.target}:{ports_text(self.ports)}"
        return f"{self.at}: {link} must be {self.expected.value}, and is {self.verdict.value}: {self.why}"


def judge(policy: Policy, now: float) -> list[Finding]:
    """A finding for each link of each test, in the file's order. `now` (epoch seconds) decides which entries have ended."""
    findings = []
    for number, test in enumerate(policy.tests):
        for word, expected, links in (("accept", Verdict.ALLOWED, test.accept), ("deny", Verdict.DENIED, test.deny)):
            for index, (who, ports) in enumerate(links):
                source, target = Party(test.source.account, test.source.id), Party(who.account, who.id)
                verdict, why = _judge(policy, source, target, ports, now)
                findings.append(
                    Finding(f"tests[{number}].{word}[{index}]", source, target, ports, expected, verdict, why)
                )
    return findings


def _judge(policy: Policy, source: Party, target: Party, ports: Ports, now: float) -> tuple[Verdict, str]:
    if source.is_group != target.is_group:
        return Verdict.DENIED, "a link joins two groups or two instances"
    if denial := consent.denied_by_policy(policy, ports):
        return Verdict.DENIED, denial.detail
    if _covered(policy, source, target, ports, now, _names):
        return Verdict.ALLOWED, "entries of `allow` consent to it"
    if policy.accept_tags:
        return Verdict.OPEN, "it depends on the tags of groups"
    if _covered(policy, source, target, ports, now, _may_name):
        return Verdict.OPEN, "it depends on the groups of the instances"
    return Verdict.DENIED, "`accept_tags` is false, and no entry of `allow` covers it"


def _covered(policy: Policy, source: Party, target: Party, ports: Ports, now: float, names: Names) -> bool:
    """Whether single entries of `allow` that have not ended cover each port, in both directions of a mutual link."""
    current = [allow for allow in policy.allow if allow.until is None or now < allow.until]
    for one, other in [(source, target)] if ports else [(source, target), (target, source)]:
        entries = [allow for allow in current if names(allow.source, one) and names(allow.target, other)]
        if not all(any(covers(entry.ports, port) for entry in entries) for port in ports or (ALL,)):
            return False
    return True


def _names(who: Who, party: Party) -> bool:
    return who.account == party.account and who.id in ("*", party.id)


def _may_name(who: Who, party: Party) -> bool:
    """Consent that names a group covers the instances in it."""
    return _names(who, party) or (who.account == party.account and not party.is_group and who.id.startswith("sg-"))
