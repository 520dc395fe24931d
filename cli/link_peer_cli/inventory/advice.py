"""What to do about packets that do not pass: each piece of advice is a command that can be pasted. What a denial
advises is its own, as its record has it."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from link_peer.domain import denials
from link_peer.domain.denials import Denial, about, options, parts
from link_peer.domain.model import ALL, Instance, Link, Party, Port, Rule, ports_text
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.tags import Grantee
from link_peer.planning.claims import candidates, choice_note, choose, links_from_tags
from link_peer.planning.decision import Context, DesiredLink, Verdict
from link_peer.planning.effect import EffectCause
from link_peer.planning.verdict.answers import most_members, wish_denial
from link_peer.planning.verdict.single_link import by_size, permitted, uncounted
from link_peer.planning.writing import note, part
from link_peer.views.reach import Reach, reach
from link_peer.views.standing import Wishes, standing

from link_peer_cli.answers.links import Advice
from link_peer_cli.consent.entries import asking as asking_tags
from link_peer_cli.inventory.reading import View, verdict_if_asked
from link_peer_cli.ui.aliyun import ecs_call, set_tags

_FEW = 3  # addresses that are named in one command


def verify_command(source: Party, target: Party, ports: Iterable[Port]) -> str:
    """The command that sends packets from one party to another."""
    tested = [port for port in ports if port.protocol == "icmp" or (port.protocol == "tcp" and port.low == port.high)]
    words = [word for port in tested for word in ("--port", str(port))]
    return shlex.join(["link-peer", "verify", "--from", str(source), "--to", str(target), *words])


def name_ports(source: Party, target: Party) -> Advice:
    """What to do about two parties between which nobody asks for anything: no command opens what nobody asked for."""
    explain = f"link-peer explain {source} {target} tcp/…"
    request = f"link-peer request link --from {source} --to {target} --port tcp/…"
    return Advice(
        f"nobody asks for a link from {source} to {target}: name the ports ({explain}), or ask for them ({request})", ""
    )


def with_consent(policy: Policy, link: Link) -> Policy:
    """The policy as if the owners of a link had consented to it."""
    source, target = (Grantee(party.account, party.id) for party in (link.source, link.target))
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

    def advise(
        self, source: Party, target: Party, ports: Sequence[Port], passed: Reach, wish: Link | None = None
    ) -> list[Advice]:
        """What would let the packets through; for those that pass, how to test it. It opens these ports alone, and
        `wish` if that is the link which was asked for."""
        if passed.effect.passes:
            return list(self._test(ports, passed))
        causes = passed.effect.causes
        advice: list[Advice] = []
        if EffectCause.RULE in causes:
            advice += [self._take_away(rule) for rule in passed.effect.rules]
        if EffectCause.ISOLATED in causes:
            advice += self._isolated(source, target)
        if causes & {EffectCause.NO_INGRESS, EffectCause.NO_EGRESS}:  # a link opens both ends
            link = wish or Link(*self._linkable(source, target, passed, ports), () if ALL in ports else tuple(ports))
            advice += self._link(link, passed, source)
        return list(dict.fromkeys(advice))

    def _test(self, ports: Sequence[Port], passed: Reach) -> Iterator[Advice]:
        if passed.ends:
            command = verify_command(*passed.ends, ports)
            yield Advice("security groups let it through; test it with a packet", command)

    def _take_away(self, rule: Rule) -> Advice:
        egress = "Egress" if rule.traffic and rule.traffic.direction == "egress" else ""
        note = f" ({rule.description})" if rule.description else ""
        return Advice(
            f"in account {rule.group.account}: {rule.id}{note} is a person's rule. If it is not meant for these, remove it",
            ecs_call(
                f"RevokeSecurityGroup{egress}",
                self._region,
                [("SecurityGroupId", rule.group.id), ("SecurityGroupRuleId.1", rule.id)],
            ),
        )

    def _isolated(self, source: Party, target: Party) -> Iterator[Advice]:
        by_party = self._scene.snapshot.groups
        for group in sorted(self._scene.groups(source) & self._scene.groups(target)):
            if group in by_party and not by_party[group].advanced:
                remedy = self._remedy(denials.isolated_group(group, advanced=False), Link(group, group))
                yield msgspec.structs.replace(remedy, command="")  # it opens all ports, to all members

    # a link

    def _linkable(self, source: Party, target: Party, passed: Reach, ports: Sequence[Port]) -> tuple[Party, Party]:
        """The two parties as a link could name them: both groups, or both instances. Consent chooses the group of A."""
        common = self._scene.groups(source) & self._scene.groups(target)
        if passed.ends and (common or not (source.is_group or target.is_group)):
            return passed.ends
        end = self._groups_of(target, source)[0]
        links = [Link(start, end, () if ALL in ports else tuple(ports)) for start in self._groups_of(source, end)]
        chosen = choose(links, functools.partial(permitted, self._scene.snapshot, self._policy, now=self._now))
        return self._advised(chosen.link, chosen.denied).source, end

    def wishes(self, source: Party, target: Party) -> list[Link]:
        """The links with B that tags of A's instances ask for, and those for everything, both ways, that tags of B's
        ask for with A; whatever denies them."""
        wished = [*self._wishes(source, target), *(wish for wish in self._wishes(target, source) if wish.link.mutual)]
        return list(dict.fromkeys(self._advised(wish.link.whole, wish.denied) for wish in wished))

    def _wishes(self, source: Party, target: Party) -> list[DesiredLink]:
        snapshot = self._view.scene.snapshot
        ends = {target, *self._scene.groups(target), *(member.party for member in self._scene.members(target))}
        askers = (member for member in self._scene.members(source) if member.tags)
        wishes = (wish for asker in askers for wish in links_from_tags(snapshot, asker, self._now, self._policy))
        return [wish for wish in wishes if wish.link.target in ends]

    def _advised(self, link: Link, denied: Sequence[Verdict]) -> Link:
        """The link that advice is about: where all groups of the instance are denied, that of the smallest which lacks
        consent."""
        self._view.answer(uncounted(self._scene.snapshot, denied))
        candidates = by_size(self._view.scene.snapshot, denied)
        return next(
            (
                Link(candidate.group, link.target, link.ports)
                for candidate in candidates
                if candidate.denial.lacks_consent
            ),
            link,
        )

    def notes(self, source: Party, target: Party) -> list[Advice]:
        """Which groups stand for A, or for the first of its instances whose tags ask for B, and why, where it is not
        the first."""
        snapshot = self._view.scene.snapshot
        wishes = [wish for wish in self._wishes(source, target) if wish.passed or wish.denied]
        wishes = [wish for wish in wishes if not wish_denial(snapshot, self._policy, wish)]
        self._view.answer(question for wish in wishes[:_FEW] for question in uncounted(snapshot, wish.denied))
        snapshot = self._view.scene.snapshot
        notes = dict.fromkeys(choice_note(snapshot, wish) for wish in wishes[:_FEW])  # the same at both ends of a link
        return [Advice(note, "") for note in notes if note]

    def _groups_of(self, party: Party, counterpart: Party) -> list[Party]:
        if party.is_group:
            return [party]
        by_party = self._scene.snapshot.groups
        peer = next((by_party[group] for group in sorted(self._scene.groups(counterpart)) if group in by_party), None)
        instance = self._scene.snapshot.instances.get(party)
        return (candidates(self._scene.snapshot, instance, peer) if instance else []) or [party]

    def _link(self, link: Link, outcome: Reach, source: Party) -> Iterator[Advice]:
        """What a link between the two still needs, and the request for it. Of a link by address, its part is judged
        that is for the instance of A which is stopped."""
        written = note(self._scene.snapshot, link)
        stopped = self._stopped(link, outcome, source) if written else None
        judged = part(link, stopped) if stopped else link
        verdict = verdict_if_asked(self._view, Context(self._policy, self._region, self._now), judged)
        if verdict.denial:
            consented = Context(with_consent(self._policy, link), self._region, self._now)
            then = verdict_if_asked(self._view, consented, judged).denial
            if final := next((denial for denial in (verdict.denial, then) if denial and not denial.owners), None):
                remedy = self._remedy(final, link)
                yield msgspec.structs.replace(remedy, reason=f"no link can open it: {remedy.reason}")
                return
            yield self._remedy(verdict.denial, link)
        self._scene = self._view.scene
        yield from self._ask(link, judged, written)
        if verdict.reachability == "different-vpc":
            yield Advice(denials.NO_ROUTE, "")

    def _stopped(self, link: Link, outcome: Reach, source: Party) -> Party | None:
        """The instance of A that is stopped, as a member of the link's group: of a group, one whose tag asks for the
        link, if there is such a one."""
        asking = self._asking(link.source, link.target, link.ports) if source.is_group else ()
        unheard = (
            asker.party
            for asker in asking
            if not reach(self._scene, asker.party, link.target, link.ports).effect.passes
        )
        party = next(unheard, outcome.ends[0] if outcome.ends else None)
        return party if party and link.source in self._scene.groups(party) else None

    def _ask(self, link: Link, judged: Link, written: str) -> Iterator[Advice]:
        """How the link comes to be asked for, or is; of a link by address, for its one instance."""
        asking = self._asking(link.source, link.target, link.ports or (ALL,))
        asks = [asker for asker in asking if not judged.member or asker.party == judged.asker]
        existing_links = standing(self._scene.snapshot, self._policy, self._region, self._now) if judged.member else []
        stands = [
            existing_link
            for existing_link in existing_links
            if (existing_link.source, existing_link.target) == (link.source, link.target)
        ]
        follows = [existing_link for existing_link in stands if existing_link.requests]
        members, limit = (
            {member for existing_link in stands for member in existing_link.members},
            most_members(self._policy, len(link.ports)),
        )
        if judged.member and judged.asker not in members and len(members) >= limit:
            yield self._remedy(denials.too_many_members(len(members) + 1, limit), link)
        elif follows and set(link.ports) <= {port for existing_link in follows for port in existing_link.ports}:
            requests = ", ".join(request for existing_link in follows for request in existing_link.requests)
            yield Advice(f"{requests} is for all of {link.source.id}: this admits it now", "link-peer sweep")
        elif asks:
            reason = f"the tags of {', '.join(str(asker.party) for asker in asks[:_FEW])} ask for it; this opens it now"
            yield Advice(reason, "link-peer sweep")
        elif asking and (instance := self._scene.snapshot.instances.get(judged.asker)):
            elsewhere = link.target.account != judged.asker.account
            tag_value = f"{link.target if elsewhere else link.target.id}:{ports_text(link.ports)}"
            tags = asking_tags(instance.tags, tag_value, self._policy.keys)
            reason = f"the link is written {written}, and {judged.asker} does not ask for it: tag it like the others if it should"
            yield Advice(reason, set_tags(self._region, [judged.asker.id], tags))
        else:
            reason = "ask for the link" + (f", which is written {written}" if written else "")
            yield Advice(reason, f"link-peer request link {options(link)}")

    def _remedy(self, denial: Denial, link: Link) -> Advice:
        """What the record of the denial advises."""
        words, command = parts(about(denial, "link", link, self._region).advice)
        return Advice("; ".join(filter(None, [denial.detail, words])), command)

    def _asking(self, source: Party, target: Party, ports: Sequence[Port]) -> list[Instance]:
        """The instances whose tags ask for a link between the two, or between groups of theirs."""
        wishes = Wishes(self._scene.snapshot, self._policy, self._now)
        sides = [sorted({party, *self._scene.groups(party)}) for party in (source, target)]
        return [instance for start in sides[0] for end in sides[1] for instance in wishes.for_link(start, end, ports)]
