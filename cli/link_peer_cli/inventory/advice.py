"""What to do about packets that do not pass: each piece of advice is a command that can be pasted. What a denial advises is its
own, as its record has it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from link_peer.domain import denials
from link_peer.domain.denial import Denial, about, options, parts
from link_peer.domain.model import ALL, Instance, Link, Party, Port, Rule
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.tags import Who
from link_peer.planning.choice import by_size, choose, judge_of, uncounted
from link_peer.planning.claims import candidates, choice_note, links_from_tags
from link_peer.planning.decision import Context
from link_peer.planning.effect import Cause
from link_peer.planning.reach import Reach
from link_peer.planning.standing import Wishes

from link_peer_cli.answers.links import Advice
from link_peer_cli.inventory.reading import View, verdict_if_asked

_FEW = 3  # addresses that are named in one command


def verify_command(source: Party, target: Party, ports: Iterable[Port]) -> str:
    """The command that sends packets from one party to another."""
    tested = [port for port in ports if port.protocol == "icmp" or (port.protocol == "tcp" and port.low == port.high)]
    words = [word for port in tested for word in ("--port", str(port))]
    return shlex.join(["link-peer", "verify", "--from", str(source), "--to", str(target), *words])


def with_consent(policy: Policy, link: Link) -> Policy:
    """The policy as if the owners of a link had consented to it."""
    source, target = (Who(party.account, party.id) for party in (link.source, link.target))
    consents = [Allow(source, target, link.ports, ""), *([Allow(target, source, (), "")] if link.mutual else [])]
    return msgspec.structs.replace(policy, allow=(*policy.allow, *consents))


class Adviser:
    """Advises about packets from one party to another."""

    def __init__(self, view: View, region: str, now: float) -> None:
        self._view = view
        self._scene = view.scene
        self._policy = view.policy
        self._region = region
        self._now = now

    def advise(self, source: Party, target: Party, ports: Sequence[Port], reach: Reach) -> list[Advice]:
        """What would let the packets through; for those that pass, how to test it."""
        if reach.effect.passes:
            return list(self._test(ports, reach))
        causes = reach.effect.causes
        found: list[Advice] = []
        if Cause.RULE in causes:
            found += [self._take_away(rule) for rule in reach.effect.rules]
        if Cause.NO_EGRESS in causes:
            found += self._let_out(source, target, ports, reach)
        if Cause.ISOLATED in causes:
            found += self._isolated(source, target)
        if Cause.NO_INGRESS in causes:
            found += self._link(*self._linkable(source, target, reach, ports), ports)
        return list(dict.fromkeys(found))

    def _test(self, ports: Sequence[Port], reach: Reach) -> Iterator[Advice]:
        if reach.ends:
            command = verify_command(*reach.ends, ports)
            yield Advice("security groups let it through; test it with a packet", command)

    def _take_away(self, rule: Rule) -> Advice:
        egress = "Egress" if rule.traffic and rule.traffic.direction == "egress" else ""
        note = f" ({rule.description})" if rule.description else ""
        return Advice(
            f"in account {rule.group.account}: {rule.id}{note} is a person's rule. If it is not meant for these, remove it",
            self._aliyun(
                f"RevokeSecurityGroup{egress}",
                [("SecurityGroupId", rule.group.id), ("SecurityGroupRuleId.1", rule.id)],
            ),
        )

    def _let_out(self, source: Party, target: Party, ports: Sequence[Port], reach: Reach) -> Iterator[Advice]:
        """An egress rule on the sender's first advanced group."""
        sender = reach.ends[0] if reach.ends else source
        shown = self._scene.snapshot.groups
        groups = [group for group in sorted(self._scene.groups(sender)) if group in shown and shown[group].advanced]
        addresses = [one.ip for one in self._scene.members(target) if one.ip][:_FEW]
        if not groups or not addresses:
            return
        rules = [
            [
                ("IpProtocol", port.protocol.upper()),
                ("PortRange", port.range),
                ("DestCidrIp", f"{address}/32"),
                ("Policy", "accept"),
            ]
            for port in ports
            for address in addresses
        ]
        fields = [(f"Permissions.{n}.{name}", value) for n, rule in enumerate(rules, 1) for name, value in rule]
        yield Advice(
            f"in account {groups[0].account}: an advanced group lets nothing out by default; add an egress rule to {groups[0].id}",
            self._aliyun("AuthorizeSecurityGroupEgress", [("SecurityGroupId", groups[0].id), *fields]),
        )

    def _isolated(self, source: Party, target: Party) -> Iterator[Advice]:
        shown = self._scene.snapshot.groups
        for group in sorted(self._scene.groups(source) & self._scene.groups(target)):
            if group in shown and not shown[group].advanced:
                yield self._remedy(denials.isolated_group(group, advanced=False), Link(group, group))

    # a link

    def _linkable(self, source: Party, target: Party, reach: Reach, ports: Sequence[Port]) -> tuple[Party, Party]:
        """The two parties as a link could name them: both groups, or both instances. Consent chooses the group of A."""
        common = self._scene.groups(source) & self._scene.groups(target)
        if reach.ends and (common or not (source.is_group or target.is_group)):
            return reach.ends
        end = self._groups_of(target, source)[0]
        links = [Link(start, end, () if ALL in ports else tuple(ports)) for start in self._groups_of(source, end)]
        chosen = choose(links, judge_of(self._scene.snapshot, self._policy, self._now))
        self._view.answer(uncounted(self._scene.snapshot, chosen.denied))
        denied = by_size(self._view.scene.snapshot, chosen.denied)
        return next((one.group for one in denied if one.why.lacks_consent), chosen.link.source), end

    def notes(self, source: Party, target: Party) -> list[Advice]:
        """Which groups stand for A, or for the first of its instances whose tags ask for B, and why, where it is not the first."""
        snapshot, ends = self._view.scene.snapshot, {target, *self._scene.groups(target)}
        asking = (one for one in self._scene.members(source) if one.tags)
        found = (one for asker in asking for one in links_from_tags(snapshot, asker, self._now, self._policy))
        wishes = [one for one in found if one.link.target in ends and (one.passed or one.denied)]
        self._view.answer(question for one in wishes[:_FEW] for question in uncounted(snapshot, one.denied))
        snapshot = self._view.scene.snapshot
        return [Advice(note, "") for one in wishes[:_FEW] if (note := choice_note(snapshot, one))]

    def _groups_of(self, party: Party, other: Party) -> list[Party]:
        if party.is_group:
            return [party]
        shown = self._scene.snapshot.groups
        peer = next((shown[group] for group in sorted(self._scene.groups(other)) if group in shown), None)
        instance = self._scene.snapshot.instances.get(party)
        return (candidates(self._scene.snapshot, instance, peer) if instance else []) or [party]

    def _link(self, source: Party, target: Party, ports: Sequence[Port]) -> Iterator[Advice]:
        """What a link between the two still needs, and the request for it."""
        link = Link(source, target, () if ALL in ports else tuple(ports))
        verdict = verdict_if_asked(self._view, Context(self._policy, self._region, self._now), link)
        if verdict.denial:
            consented = Context(with_consent(self._policy, link), self._region, self._now)
            then = verdict_if_asked(self._view, consented, link).denial
            if final := next((one for one in (verdict.denial, then) if one and not one.owners), None):
                remedy = self._remedy(final, link)
                yield msgspec.structs.replace(remedy, why=f"no link can open it: {remedy.why}")
                return
            yield self._remedy(verdict.denial, link)
        self._scene = self._view.scene
        if asking := self._asking(source, target, ports):
            why = f"the tags of {', '.join(str(one.party) for one in asking[:_FEW])} ask for it; this opens it now"
            yield Advice(why, "link-peer sweep")
        else:
            yield Advice("ask for the link", f"link-peer request link {options(link)}")
        if verdict.reachability == "different-vpc":
            yield Advice(denials.NO_ROUTE, "")

    def _remedy(self, denial: Denial, link: Link) -> Advice:
        """What the record of the denial advises."""
        words, command = parts(about(denial, "link", link, self._region).advice)
        return Advice("; ".join(filter(None, [denial.detail, words])), command)

    def _asking(self, source: Party, target: Party, ports: Sequence[Port]) -> list[Instance]:
        """The instances whose tags ask for a link between the two, or between groups of theirs."""
        wishes = Wishes(self._scene.snapshot, self._policy, self._now)
        sides = [sorted({party, *self._scene.groups(party)}) for party in (source, target)]
        return [one for start in sides[0] for end in sides[1] for one in wishes.for_link(start, end, ports)]

    def _aliyun(self, action: str, fields: Iterable[tuple[str, str]]) -> str:
        words = ["aliyun", "ecs", action, "--RegionId", self._region]
        for name, value in fields:
            words += [f"--{name}", value]
        return shlex.join(words)
