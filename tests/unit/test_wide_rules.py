"""Which rules of people are wide, and what is said of those whose sources or ports are not read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import ALL, Group, Instance, Party, Port, Rule, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso
from link_peer.views.reach import Scene
from link_peer_cli.answers.usage import TightenedRule
from link_peer_cli.inventory.flow_log import FlowRow, Flows
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Period
from link_peer_cli.usage.answers import Tightening, _ranges, answer_of
from link_peer_cli.usage.proposal import Proposal
from link_peer_cli.usage.rules import Rules, RuleUse
from link_peer_cli.usage.written import SeenPackets, _quoted, evidence_of
from msgspec.structs import replace

from tests.unit.snapshots import HOME, PEER, POLICY, REGION, key, ours

DAY, DAYS = 86_400, 3
SINCE = 1_795_564_800
UNTIL = SINCE + DAYS * DAY
APP, DB, LOCKED_DOWN = Party(HOME, "sg-app"), Party(HOME, "sg-db"), Party(HOME, "sg-adv")
PAIR = Party(HOME, "sg-pair")
SQL, EVERY_TCP = Port("tcp", 3306, 3306), Port("tcp", 1, 65_535)
ALL_HOURS = (1 << 24 * DAYS) - 1


def rule(peer: str, port: Port | None, *, on: Party = DB, **fields: Any) -> Rule:
    """One of a person."""
    rare_fields = {name: fields.pop(name) for name in ("source_ports", "prefix_list") if name in fields}
    traffic = Traffic(fields.pop("direction", "ingress"), peer, fields.pop("own_range", ""), port, **rare_fields)
    return Rule(
        on, fields.pop("id", "sgr-1"), None, fields.pop("policy", "accept"), 1, unmanaged_traffic=traffic, **fields
    )


def judged(
    *rules: Rule, ports: Sequence[int] = (3306,), extra_rows: Sequence[FlowRow] = ()
) -> tuple[Rules, Snapshot, Period]:
    """What is known of rules where i-app sent packets to i-db, on these ports of TCP, and what `extra_rows` have."""
    interfaces = [
        Interface(
            HOME,
            f"eni-{group.id[3:]}",
            frozenset({group}),
            Party(HOME, f"i-{group.id[3:]}"),
            True,
            True,
            (),
            (ip,),
            "vpc",
        )
        for group, ip in ((APP, "10.0.0.1"), (DB, "10.0.0.2"), (LOCKED_DOWN, "10.0.0.3"))
    ]
    interfaces += [Interface(HOME, f"eni-pair-{number}", frozenset({PAIR}), None, True, True) for number in range(2)]
    rows = {"in": [FlowRow("in", "eni-db", "10.0.0.2", "10.0.0.1", port, 1, 1, SINCE, False) for port in ports]}
    rows["in"] += extra_rows
    names = {("vpc", "10.0.0.1"): {("i-app", "eni-app"): ALL_HOURS}}
    flows = Flows(rows, names, {interface.id: ALL_HOURS for interface in interfaces})
    snapshot = Snapshot(
        groups={APP: Group(APP, "vpc"), DB: Group(DB, "vpc"), LOCKED_DOWN: Group(LOCKED_DOWN, "vpc", advanced=True)},
        rules={group: tuple(rule for rule in rules if rule.group == group) for group in (APP, DB, LOCKED_DOWN)},
        inner_access={},
        instances={Party(HOME, "i-app"): Instance(Party(HOME, "i-app"), "vpc", ("sg-app",), name="web-1")},
    )
    period = Period(SINCE, UNTIL, {HOME: flows}, {HOME: list(interfaces)})
    return Rules(snapshot, POLICY, REGION, period), snapshot, period


@pytest.mark.parametrize(
    ("candidate", "is_wide"),
    [
        (rule("10.0.0.0/8", SQL), True),
        (rule("10.0.0.1/32", SQL), False),
        (rule("10.0.0.1/32", Port("tcp", 3306, 3307)), True),
        (rule(str(APP), SQL), False),
        (rule(str(APP), Port("icmp")), False),
        (rule(str(APP), ALL), True),
        (rule(str(APP), Port("gre")), True),
        (rule(str(APP), None), True),
        (rule("", SQL, prefix_list="pl-1"), True),
        (rule("10.0.0.0/8", SQL, policy="drop"), False),
        (rule("10.0.0.0/8", SQL, direction="egress"), False),
        (rule("10.0.0.0/8", SQL, direction="egress", on=LOCKED_DOWN), True),
        (rule("10.0.0.0/8", SQL, direction="egress", on=Party(HOME, "sg-unread")), False),
        (Rule(DB, "sgr-1", None, "accept", 1), False),  # of no traffic that is read
        (ours(key(DB, APP)), False),
        (replace(ours(key(DB, APP)), description=ours(key(LOCKED_DOWN, APP)).description), True),  # a damaged marker
    ],
)
def test_a_rule_is_wide_that_admits_more_than_one_party_on_one_port(candidate: Rule, is_wide: bool) -> None:
    """Of people, and accepted; an egress rule only where a group lets nothing out by default."""
    rules, _, _ = judged(candidate)
    assert rules.is_wide(candidate) is is_wide
    assert rules.wide([APP, DB, LOCKED_DOWN]) == [candidate] * is_wide


def test_the_widest_rule_comes_first() -> None:
    """By how many addresses it admits on how many ports; what is not read is the widest."""
    ranges = [
        rule("", None, prefix_list="pl-1"),
        rule("10.0.0.0/8", ALL),
        rule("10.0.0.0/8", EVERY_TCP),
        rule("10.0.0.0/8", SQL),
        rule(str(APP), EVERY_TCP),
        rule(str(PAIR), Port("tcp", 5, 13)),
        rule("10.0.0.1/32", Port("tcp", 5, 14)),
        rule(str(Party(HOME, "sg-empty")), Port("tcp", 5, 13)),
        rule("10.0.0.1/29", SQL),
        rule("10.0.0.1/32", Port("tcp", 5, 11)),
    ]
    assert judged(*reversed(ranges))[0].wide([DB]) == ranges


@pytest.mark.parametrize("candidate", [rule("", EVERY_TCP, prefix_list="pl-1"), rule("10.0.0.0/8", None)])
def test_a_rule_that_may_admit_packets_is_unknown_and_stays(candidate: Rule) -> None:
    """So does another whose packets it may admit; without packets, it may go, if it is known how to put it back."""
    wide = rule("10.0.0.0/16", EVERY_TCP)
    rules, _, _ = judged(candidate, wide)
    assert (rules.use(candidate).word, rules.use(wide).word) == ("unknown", "used")
    assert "is not known" in rules.use(candidate).unknown[0]
    assert rules.use(wide).unknown == ("whether another rule admits tcp/3306 from 10.0.0.1 is not known",)
    answer = answer_without_packets(candidate)
    assert (answer.use, bool(answer.revoke)) == ("unused", answer.peer == "pl-1")
    assert answer.ports == ("tcp/1-65535" if answer.revoke else "a port list")
    assert ("SourcePrefixListId pl-1" in answer.put_back) == bool(answer.revoke)


PUT_BACK = {"SecurityGroupId": "sg-db", "Permissions.1.IpProtocol": "TCP", "Permissions.1.PortRange": "3306/3306"}
PUT_BACK |= {"Permissions.1.NicType": "intranet", "Permissions.1.Priority": "1"}
RANGE, ACCEPT = {"Permissions.1.SourceCidrIp": "10.0.0.0/8"}, {"Permissions.1.Policy": "accept"}


@pytest.mark.parametrize(
    ("candidate", "parameters"),
    [
        (rule("10.0.0.0/8", SQL), RANGE | ACCEPT),
        (rule("10.0.0.0/8", SQL, description="for now"), RANGE | ACCEPT | {"Permissions.1.Description": "for now"}),
        (
            rule("10.0.0.0/8", SQL, own_range="10.0.0.2/32", source_ports=(1, 99)),
            RANGE | ACCEPT | {"Permissions.1.DestCidrIp": "10.0.0.2/32", "Permissions.1.SourcePortRange": "1/99"},
        ),
        (rule("10.0.0.0/8", SQL, on=LOCKED_DOWN), RANGE | {"SecurityGroupId": "sg-adv"}),
        (
            rule(str(APP), EVERY_TCP),
            ACCEPT | {"Permissions.1.PortRange": "1/65535", "Permissions.1.SourceGroupId": "sg-app"},
        ),
        (
            rule(str(Party(PEER, "sg-app")), ALL),
            ACCEPT
            | {"Permissions.1.IpProtocol": "ALL", "Permissions.1.PortRange": "-1/-1"}
            | {"Permissions.1.SourceGroupId": "sg-app", "Permissions.1.SourceGroupOwnerId": PEER},
        ),
    ],
)
def test_the_command_that_puts_a_rule_back_makes_an_equal_one(candidate: Rule, parameters: dict[str, str]) -> None:
    """With all that it says, and nothing else; ECS takes no policy on an advanced group."""
    answer = answer_without_packets(candidate)
    words = shlex.split(answer.put_back)
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert {name.removeprefix("--"): value for name, value in options.items()} == {
        **PUT_BACK,
        "RegionId": REGION,
        **parameters,
    }


def answer_without_packets(candidate: Rule) -> TightenedRule:
    """What is said of a rule that nobody used."""
    [answer] = answers(*judged(candidate, ports=()), [candidate])
    return answer


def answers(rules: Rules, snapshot: Snapshot, period: Period, candidates: Sequence[Rule]) -> list[TightenedRule]:
    """What is said of rules, where nothing is proposed."""
    uses = tuple(map(rules.use, candidates))
    cut = rules.removable(uses)
    judgement = Tightening(Scene(snapshot), POLICY, REGION, period, uses, Proposal((), ()), cut)
    return [answer_of(judgement, use) for use in uses]


@pytest.mark.parametrize(
    ("candidate", "fields", "has_command"),
    [
        (rule("10.0.0.0/8", SQL), ("ingress", "10.0.0.0/8", "tcp/3306"), True),
        (rule("", ALL, prefix_list="pl-1"), ("ingress", "pl-1", "all"), True),
        (rule("10.0.0.0/8", SQL, direction="egress", on=LOCKED_DOWN), ("egress", "10.0.0.0/8", "tcp/3306"), True),
        (
            Rule(DB, "sgr-1", None, "accept", 1, ipv6=Traffic("ingress", "fd00::/8", "", SQL)),
            ("ingress", "fd00::/8", "tcp/3306"),
            False,
        ),
    ],
)
def test_a_rule_is_told_by_its_direction_its_peer_and_its_ports(
    candidate: Rule, fields: tuple[str, str, str], has_command: bool
) -> None:
    """Of IPv6, no command is known that puts it back."""
    answer = answer_without_packets(candidate)
    assert (answer.direction, answer.peer, answer.ports) == fields
    assert any("it is for IPv6" in text for text in answer.in_the_way) is not has_command


def test_of_each_sender_it_is_said_what_it_used_and_when() -> None:
    """First those whose packets no other rule admits, by their days; and that they are in the way, the first three by
    name."""
    wide, also_wide = rule("10.0.0.0/8", EVERY_TCP), rule(str(APP), EVERY_TCP)
    first_day, last_day = 1, 1 << 24 * (DAYS - 1)
    senders = [
        ("10.0.0.8", 22, last_day, 1, UNTIL - 60),
        ("10.0.0.7", 22, first_day, 1, SINCE),
        ("10.0.0.9", 22, first_day, 2, SINCE),
        ("10.0.0.9", 23, last_day, 3, UNTIL - 60),
        ("10.0.0.1", 23, last_day, 3, UNTIL - 60),
    ]
    extra_rows = [FlowRow("in", "eni-db", "10.0.0.2", *sender, False) for sender in senders]
    [answer] = answers(*judged(wide, replace(also_wide, id="sgr-2"), extra_rows=extra_rows), [wide])
    assert [msgspec.structs.astuple(user) for user in answer.used_by] == [
        ("", "", "", "10.0.0.9", ["i-db@" + HOME], ["tcp/22", "tcp/23"], 2, iso(UNTIL - 60), 1, 5, True),
        ("", "", "", "10.0.0.7", ["i-db@" + HOME], ["tcp/22"], 1, iso(SINCE), 2, 1, True),
        ("", "", "", "10.0.0.8", ["i-db@" + HOME], ["tcp/22"], 1, iso(UNTIL - 60), 2, 1, True),
        ("i-app", HOME, "web-1", "10.0.0.1", ["i-db@" + HOME], ["tcp/23", "tcp/3306"], 2, iso(UNTIL - 60), 1, 4, False),
    ]
    assert (answer.flows, answer.only) == (6, 4)
    in_the_way = f"since {iso(SINCE)}, 4 flows that only this rule admits: from 10.0.0.7, 10.0.0.8, 10.0.0.9"
    assert answer.in_the_way[-1] == in_the_way
    rules, _, period = judged(wide, extra_rows=extra_rows)
    assert evidence_of(rules.use(wide).carried, period) == SeenPackets(2, iso(UNTIL - 60), 11)


def test_what_only_rules_that_go_admit_is_in_the_way_of_the_last_of_them() -> None:
    wide, narrower = rule("10.0.0.0/8", EVERY_TCP), rule("10.0.0.0/16", EVERY_TCP, id="sgr-2")
    first_answer, last_answer = answers(*judged(wide, narrower), [wide, narrower])
    assert (first_answer.in_the_way, first_answer.revoke[-5:]) == ([], "sgr-1")
    assert last_answer.in_the_way == [
        f"since {iso(SINCE)}, 1 flow that only this rule and others that go admit: from i-app@{HOME}"
    ]


def test_a_rule_may_go_beside_one_that_stays() -> None:
    """What that one admits, too, is not cut off, whether it is needed or not known; what it alone admits is."""
    wide, narrower = rule("10.0.0.0/8", EVERY_TCP), rule("10.0.0.0/16", SQL)
    rules, _, _ = judged(wide, narrower, ports=(22, 3306))
    uses = [rules.use(wide), rules.use(narrower)]
    assert cut_ports(rules, uses) == [[22], []]
    assert cut_ports(rules, uses[::-1]) == [[], [22, 3306]]
    assert cut_ports(rules, [replace(uses[1], unknown=("a day without a line",)), uses[0]]) == [[], [22]]


def cut_ports(rules: Rules, uses: list[RuleUse]) -> list[list[int]]:
    """The ports of what the removal of each rule would cut off."""
    return [[part.packet.low for part in parts] for parts in rules.removable(uses).values()]


@pytest.mark.parametrize(
    ("beside", "doubt", "unknown"),
    [
        ([], "", ()),
        ([], "the rules of a group were not read", ("the rules of a group were not read",)),
        ([rule("10.0.0.0/8", None)], "", ("whether another rule admits tcp/3306 from 10.0.0.1 is not known",)),
        ([rule("10.0.0.0/8", None), rule("10.0.0.0/24", SQL)], "", ()),  # the other one admits them, too
    ],
)
def test_it_is_unknown_whether_a_rule_is_needed_where_another_may_admit_its_packets(
    beside: list[Rule], doubt: str, unknown: tuple[str, ...]
) -> None:
    """A rule for other packets has no part in that."""
    wide, elsewhere = rule("10.0.0.0/16", SQL), rule("10.0.0.0/16", Port("tcp", 1, 99))
    rules, _, _ = judged(wide, elsewhere, *beside)
    [part] = rules.use(wide).carried
    part = replace(part, doubt=doubt)
    assert (tuple(rules._doubts(part, wide)), tuple(rules._doubts(part, elsewhere))) == (unknown, ())


def test_what_was_not_read_of_a_group_of_both_ends_is_a_doubt() -> None:
    """Its rules, or whether its members reach each other."""
    wide, unread = rule("10.0.0.0/16", SQL), Party(HOME, "sg-unread")
    _, snapshot, period = judged(wide)
    interfaces = [replace(each, groups=each.groups | {unread}) for each in period.of(APP) + period.of(DB)]
    period = Period(SINCE, UNTIL, period.flows, {HOME: interfaces})
    for rules, doubt in (
        (snapshot.rules, f"the rules of {unread} were not read"),
        ({**snapshot.rules, unread: ()}, "whether members of a group reach each other was not read"),
    ):
        [part] = Rules(replace(snapshot, rules=rules), POLICY, REGION, period).use(wide).carried
        assert part.doubt == doubt


@pytest.mark.parametrize(
    ("advanced", "access", "is_inner"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_what_members_of_a_group_send_each_other_anyway_uses_no_rule_of_that_group(
    advanced: bool, access: bool, is_inner: bool
) -> None:
    """And needs none of another. Members of an advanced group never reach each other by themselves."""
    common, wide = Party(HOME, "sg-common"), rule("10.0.0.0/16", SQL)
    own_rule = replace(wide, group=common)
    _, snapshot, period = judged(wide)
    interfaces = [replace(each, groups=each.groups | {common}) for each in period.of(APP) + period.of(DB)]
    snapshot = replace(
        snapshot,
        groups={**snapshot.groups, common: Group(common, "vpc", advanced=advanced)},
        rules={**snapshot.rules, common: (own_rule,)},
        inner_access={common: access},
    )
    rules = Rules(snapshot, POLICY, REGION, Period(SINCE, UNTIL, period.flows, {HOME: interfaces}))
    assert (rules.use(wide).word, rules.use(own_rule).word) == ("used", "unused" if is_inner else "used")
    [part] = rules.use(wide).carried
    assert (part.inner, part.needs(wide, [own_rule])) == ({common} if is_inner else set(), not is_inner)


@pytest.mark.parametrize(
    ("candidate", "beside", "is_unknown"),
    [
        (rule("10.0.0.0/8", EVERY_TCP), [], True),
        (rule("10.0.0.0/8", EVERY_TCP), [rule("10.0.0.0/16", EVERY_TCP, id="sgr-2")], False),  # which admits it, too
        (rule("172.16.0.0/12", EVERY_TCP), [], False),
        (rule(str(APP), EVERY_TCP), [], True),  # a member may have sent it
        (rule(str(APP), Port("tcp", 1, 9)), [], False),
        (rule("", EVERY_TCP, prefix_list="pl-1"), [rule("10.0.0.0/16", EVERY_TCP, id="sgr-2")], True),
    ],
)
def test_it_is_unknown_whether_a_rule_is_used_by_an_address_of_which_nobody_knows_who_had_it(
    candidate: Rule, beside: list[Rule], is_unknown: bool
) -> None:
    """Where the rule alone admits its packets, or may admit them."""
    packet = FlowRow("in", "eni-db", "10.0.0.2", "10.0.0.9", 22, 1, 1, SINCE, False)
    rules, _, _ = judged(candidate, *beside, ports=(), extra_rows=[packet])
    assert bool(rules.use(candidate).unknown) is is_unknown


def test_addresses_of_one_network_are_a_range_where_there_are_more_than_three() -> None:
    """Of which nobody knows who had them."""
    addresses = [f"10.0.{network}.{host}" for network in (1, 2) for host in range(2 + network)]
    names = _ranges(addresses)
    assert [name for address, name in names.items() if name != address] == ["10.0.2.0/24"] * 4
    assert names.keys() == {*addresses}


def test_a_text_in_the_file_of_a_proposal_is_printable_and_in_quotes() -> None:
    """As the reader of the file takes it."""
    assert _quoted(' ~"\\\x1b\u00e9') == "\" ~''''\""
