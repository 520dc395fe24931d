"""What a test with a packet showed, beside what the rules say. Pure."""

from __future__ import annotations

import msgspec
from link_peer.domain.denials import NO_ROUTE
from link_peer.domain.model import Port, Rule
from link_peer.domain.tags import clean
from link_peer.planning.effect import Effect

from link_peer_cli.answers.links import DecidingRule
from link_peer_cli.inventory.probe import ProbeResult
from link_peer_cli.inventory.shown import rule_answer

ELSEWHERE = "routes, network ACLs, the instance's own firewall, or whether something listens"


class ProbeVerdict(msgspec.Struct, frozen=True):
    """One port: what the command said, and what the rules say, also in words. `ours` are the ids of rules of
    link-peer."""

    port: Port
    result: ProbeResult
    output: str
    effect: Effect
    detail: str
    ours: frozenset[str] = frozenset()
    different_vpc: bool = False

    @property
    def contradiction(self) -> bool:
        """Whether a packet arrived although the rules stop it."""
        return bool(self.result.reached) and self.effect.passes is False

    @property
    def explanation(self) -> str:
        """What explains the result, for people."""
        if self.result is ProbeResult.NOT_TESTED:
            return f"not tested: {last_line(self.output)}. The rules say: {self.effect.word}"
        return self._of_arrival() if self.result.reached else self._of_loss()

    def _of_arrival(self) -> str:
        if self.contradiction:
            return (
                f"CONTRADICTION: the packet arrived, and the rules say that it is {blocked_by(self)}. The rules were "
                "changed during the test, or it took another path than between these two addresses"
            )
        if self.result is ProbeResult.REFUSED:
            return f"it arrived, and was refused: nothing listens on {self.port}, or the instance's own firewall refuses it"
        return f"as the rules say: {self.detail}" if self.effect.passes else self._not_known()

    def _of_loss(self) -> str:
        if self.effect.passes is False:
            return blocked_by(self)
        if self.effect.passes is None:
            return self._not_known()
        unreachable = "there is no route to it; " if self.result is ProbeResult.UNREACHABLE else ""
        vpcs = f" (they are in different VPCs: {NO_ROUTE})" if self.different_vpc else ""
        return f"{unreachable}the rules admit it: look at {ELSEWHERE}{vpcs}"

    def _not_known(self) -> str:
        return f"what the rules say is not known: {self.detail}"


def blocked_by(tested: ProbeVerdict) -> str:
    """The rules that stop a packet, each with who made it; what else does, if no rule does."""
    if not tested.effect.rules:
        return f"blocked: {tested.detail}"
    return "blocked by " + " and ".join(_rule(rule, tested.ours) for rule in tested.effect.rules)


def rules_of(tested: ProbeVerdict) -> list[DecidingRule]:
    """The rules that decide, each with who made it."""
    rule_answers = [(msgspec.structs.asdict(rule_answer(rule, decides=True)), rule) for rule in tested.effect.rules]
    return [DecidingRule(**fields, by=_by(rule, tested.ours)) for fields, rule in rule_answers]


def last_line(output: str) -> str:
    """The last line of a command's output, which is the instance's own: nothing in it may act on a terminal."""
    return clean((output.strip().splitlines() or [""])[-1])


def _rule(rule: Rule, ours: frozenset[str]) -> str:
    ports = rule_answer(rule, decides=True).ports
    note = f", {rule.description!r}" if rule.description and rule.id not in ours else ""
    summary = f"{rule.policy} {ports} priority {rule.priority}, by {_by(rule, ours)}{note}"
    return f"rule {rule.id} on {rule.group} ({summary})"


def _by(rule: Rule, ours: frozenset[str]) -> str:
    return "link-peer" if rule.id in ours else "a person"
