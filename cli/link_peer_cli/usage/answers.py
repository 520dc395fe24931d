"""What `tighten` says of each wide rule, and the commands that it prints."""

from __future__ import annotations

import functools
import ipaddress
import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Party, Rule, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.tags import iso
from link_peer.views.reach import Scene

from link_peer_cli.answers.usage import ProposedCommand, RuleUser, TightenedRule
from link_peer_cli.audit.log import PROPOSED
from link_peer_cli.inventory.period import Period
from link_peer_cli.ui import aliyun
from link_peer_cli.ui.console import number
from link_peer_cli.usage.proposal import Leftover, Proposal, ProposedLink
from link_peer_cli.usage.rules import Carried, RuleUse
from link_peer_cli.usage.written import evidence_of

FEW = 3  # addresses of a /24 that are named one by one


class Tightening(msgspec.Struct, frozen=True, dict=True):  # a dict, so that what is found by may be worked out once
    """What was judged: the use of the wide rules, the proposal for them, and what the removal of each would cut off."""

    scene: Scene
    policy: Policy
    region: str
    period: Period
    uses: tuple[RuleUse, ...]
    proposal: Proposal
    cut: dict[Rule, list[Carried]]

    def becomes(self, use: RuleUse) -> list[ProposedLink | Leftover]:
        """The links that would carry what a rule carries, and what none does."""
        return list(dict.fromkeys(self._by_part[part] for part in use.carried if part in self._by_part))

    @functools.cached_property
    def _by_part(self) -> dict[Carried, ProposedLink | Leftover]:
        subjects: tuple[ProposedLink | Leftover, ...] = (*self.proposal.links, *self.proposal.leftovers)
        return {part: subject for subject in subjects for part in subject.carried}


def answer_of(judged: Tightening, use: RuleUse) -> TightenedRule:
    """What is said of one rule."""
    rule, scene = use.rule, judged.scene
    traffic = rule.traffic or rule.ipv6
    assert traffic is not None  # noqa: S101  # a wide rule has some
    in_the_way = list(_in_the_way(judged, use))
    subjects = judged.becomes(use)
    return TightenedRule(
        account=rule.group.account,
        group=rule.group.id,
        group_name=scene.name(rule.group),
        rule_id=rule.id,
        direction="egress" if rule.is_egress else "ingress",
        peer=traffic.peer or traffic.prefix_list,
        ports="all" if traffic.port == ALL else str(traffic.port or "a port list"),
        priority=rule.priority,
        description=rule.description,
        use=use.word,
        since=iso(judged.period.since),
        until=iso(judged.period.until),
        used_by=_users(judged, use),
        flows=len({part.flow for part in use.carried}),
        only=len({part.flow for part in use.only}),
        unknown=list(use.unknown),
        becomes=[_link_text(subject) for subject in subjects if isinstance(subject, ProposedLink)],
        leftovers=[_leftover_text(subject) for subject in subjects if isinstance(subject, Leftover)],
        in_the_way=in_the_way,
        revoke="" if in_the_way else aliyun.revoke(judged.region, rule.group.id, [rule.id]),
        put_back="" if in_the_way else put_back(judged, rule),
    )  # fmt: skip


def commands_of(judged: Tightening, account: str = "") -> list[ProposedCommand]:
    """The commands by which the links of the proposal come to be: consent first, by account, then what asks for
    them."""
    accepts: list[ProposedCommand] = []
    requests: list[ProposedCommand] = []
    for proposed in judged.proposal.links:
        for consent in (consent for consent in proposed.consents if not consent.is_there):
            words = [
                "link-peer",
                "accept",
                str(consent.group),
                consent.entry,
                *(["--egress"] if consent.is_egress else []),
            ]
            accepts.append(ProposedCommand(consent.group.account, shlex.join(words)))
        requests.append(ProposedCommand(proposed.link.source.account, _request(judged, proposed)))
    commands = [command for part in (accepts, requests) for command in sorted(set(part), key=msgspec.structs.astuple)]
    return [command for command in commands if account in ("", command.account)]


def put_back(judged: Tightening, rule: Rule) -> str:
    """The command that makes an equal rule: source, ports, priority, policy and description."""
    traffic, group = rule.traffic, judged.scene.snapshot.groups.get(rule.group)
    assert traffic is not None  # noqa: S101  # else something is in the way
    assert traffic.port is not None  # noqa: S101  # likewise
    source, _, owner = traffic.peer.partition("@")
    peer = [("SourceGroupId", source), *([("SourceGroupOwnerId", owner)] if owner != rule.group.account else [])]
    ports = [("SourcePortRange", "{}/{}".format(*traffic.source_ports))] if traffic.source_ports else []
    fields = [
        ("IpProtocol", traffic.port.protocol.upper()),
        ("PortRange", traffic.port.range),
        *(peer if owner else [("SourceCidrIp", traffic.peer)] if traffic.peer else []),
        *([("SourcePrefixListId", traffic.prefix_list)] if traffic.prefix_list else []),
        *([("DestCidrIp", traffic.own_range)] if traffic.own_range else []),
        *ports,
        ("NicType", "intranet"),
        *([] if group and group.advanced else [("Policy", "accept")]),
        ("Priority", str(rule.priority)),
        *([("Description", rule.description)] if rule.description else []),
    ]
    parameters = [("SecurityGroupId", rule.group.id), *((f"Permissions.1.{name}", value) for name, value in fields)]
    return aliyun.ecs_call("AuthorizeSecurityGroup", judged.region, parameters)


def _request(judged: Tightening, proposed: ProposedLink) -> str:
    link, days = proposed.link, judged.policy.limits.max_days
    words = ["link-peer", "request", "link", "--from", str(link.source), "--to", str(link.target)]
    words += ["--port", ports_text(link.ports), "--request-id", f"{PROPOSED}{link.id(judged.region)}"]
    evidence = evidence_of(proposed.carried, judged.period)
    words += [
        "--reason",
        f"seen on {number(evidence.days, 'day')}, last {evidence.last}, in {number(evidence.lines, 'line')} of the flow log",
    ]
    return shlex.join([*words, *(["--until", f"{days}d"] if days else [])])


def _in_the_way(judged: Tightening, use: RuleUse) -> Iterator[str]:
    """Why a rule is not to be removed."""
    if use.rule.is_egress:
        yield "it is an egress rule: link-peer tells its use alone"
    yield from (f"not known: {text}" for text in use.unknown)
    if use.rule.traffic is None or use.rule.traffic.port is None:
        yield "it is for IPv6, or names a port list: link-peer does not know the command that puts it back"
    if parts := judged.cut.get(use.rule):
        flows = {part.flow for part in parts}
        senders = sorted({str(flow.party or flow.address) for flow in flows})
        omitted = f" and {len(senders) - FEW} more" if len(senders) > FEW else ""
        alone = "only this rule admits" if {*parts} <= {*use.only} else "only this rule and others that go admit"
        since = iso(judged.period.since)
        yield f"since {since}, {number(len(flows), 'flow')} that {alone}: from {', '.join(senders[:FEW])}{omitted}"


def _users(judged: Tightening, use: RuleUse) -> list[RuleUser]:
    """Who used a rule: each instance, and the addresses of which nobody knows who had them, as ranges."""
    ranges = _ranges({part.flow.address for part in use.carried if part.flow.party is None})
    parts_by_user = grouped(((part.flow.party or ranges[part.flow.address]), part) for part in use.carried)
    users = [_user(judged, user, parts, set(use.only)) for user, parts in parts_by_user.items()]
    return sorted(users, key=lambda user: (not user.only, -user.days, user.party, user.address))


def _user(judged: Tightening, user: Party | str, parts: Sequence[Carried], only: set[Carried]) -> RuleUser:
    flows = {part.flow for part in parts}
    hours = 0
    for flow in flows:
        hours |= flow.hours
    party = None if isinstance(user, str) else user
    return RuleUser(
        party=party.id if party else "",
        account=party.account if party else "",
        name=judged.scene.name(party) if party else "",
        address=", ".join(sorted({flow.address for flow in flows})) if party else str(user),
        to=sorted({str(flow.target.instance or flow.target.id) for flow in flows}),
        ports=sorted({str(part.packet) for part in parts}),
        days=judged.period.day_count(hours),
        last=iso(max(flow.last for flow in flows)),
        longest_gap=judged.period.longest_gap(hours),
        lines=sum(flow.lines for flow in flows),
        only=any(part in only for part in parts),
    )


def _ranges(addresses: Iterable[str]) -> dict[str, str]:
    """What each address is called: the /24 that it is in, where that has more than a few of them."""
    by_network = grouped(
        (str(ipaddress.ip_network(f"{address}/24", strict=False)), address) for address in sorted(addresses)
    )
    return {
        address: network if len(members) > FEW else address
        for network, members in by_network.items()
        for address in members
    }


def _link_text(proposed: ProposedLink) -> str:
    missing = [
        f"{consent.group} has to accept {consent.entry}" for consent in proposed.consents if not consent.is_there
    ]
    unseen = f"; admits {number(len(proposed.unseen), 'instance')} not seen" if proposed.unseen else ""
    link = proposed.link
    return f"{link.source} -> {link.target} {ports_text(link.ports)}{unseen}" + "".join(f"; {text}" for text in missing)


def _leftover_text(leftover: Leftover) -> str:
    return f"{leftover.source} -> {leftover.target} {leftover.port}: {leftover.reason}"
