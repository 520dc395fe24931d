"""Whether a packet passes, as far as security groups decide: an example of each rule, and how it is said. Random worlds
are compared with the packets of the local cloud in tests/functional/test_reach_and_effect.py, and with an evaluator in
test_reachable."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Group, Instance, Link, Party, Port, Rule, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning import effect_text
from link_peer.planning.effect import (
    Admission,
    EffectCause,
    End,
    absent,
    admissions,
    applying,
    compared,
    end_of,
    of_link,
)

from tests.unit.small_world import APP, CACHE, DB, HOME, A, B
from tests.unit.snapshots import group, instance, key, ours, theirs, view

SQL = parse_ports("tcp/3306")
OURS = key(DB, APP, "tcp/3306")
PAIR = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
A_TO_B, APP_TO_DB, MUTUAL = Link(A, B, SQL), Link(APP, DB, SQL), Link(APP, DB)
BARE = Instance(B, "vpc-1", (), "10.0.0.2")  # as one looks right after its creation
BOTH = ours(key(DB, APP)), ours(key(APP, DB))


def world(*rules: Rule) -> Snapshot:
    """A is in sg-app, B in sg-db; both groups are basic, and read."""
    return view([group(APP), group(DB)], PAIR, rules)


def rule(
    on: Party,
    peer: str,
    *,
    direction: str = "ingress",
    act: str = "accept",
    priority: int = 1,
    port: Port | None = SQL[0],
    own_cidr: str = "",
    source_ports: tuple[int, int] | None = None,
) -> Rule:
    """A rule of a person, of any kind."""
    traffic = Traffic(direction, peer, own_cidr, port, source_ports)
    return Rule(on, f"sgr-{act}", None, act, priority, unmanaged_traffic=traffic)


def egress(on: Party, peer: str, **fields: Any) -> Rule:
    return rule(on, peer, direction="egress", **fields)


def drop(peer: str, **fields: Any) -> Rule:
    """A drop of sg-db, of everyone by default."""
    return rule(DB, peer, act="drop", **fields)


def neighbours(*rules: Rule, access: bool | None) -> Snapshot:
    """A and B are both in sg-db."""
    instances = [instance(A, DB, ip="10.0.0.1"), instance(B, CACHE, DB, ip="10.0.0.2")]
    return view([group(DB), group(CACHE)], instances, rules, inner_access={} if access is None else {DB: access})


def unread(app: Group) -> Snapshot:
    """The rules of sg-app were not read."""
    return Snapshot(
        groups={APP: app, DB: group(DB)}, instances={member.party: member for member in PAIR}, rules={DB: (ours(OURS),)}
    )


def advanced(*rules: Rule) -> Snapshot:
    """A is in sg-cache, which is advanced."""
    instances = [instance(A, CACHE, ip="10.0.0.1"), PAIR[1]]
    return view([group(CACHE, advanced=True), group(DB)], instances, [rule(DB, "10.0.0.1/32"), *rules])


ALL_DROPPED, LEFT = drop("0.0.0.0/0"), egress(DB, "10.0.0.2/32", act="drop")
DOUBTFUL = f"unknown: it is not known whether sgr-drop of {DB} drops tcp/3306 (ingress): "
RANGE = Link(APP, DB, parse_ports("tcp/80-90"))


@pytest.mark.parametrize(
    ("snapshot", "link", "text"),
    [
        # between instances
        (
            advanced(),
            A_TO_B,
            f"blocked: no egress rule of {CACHE} lets out tcp/3306 (an advanced group lets nothing out by default)",
        ),
        (
            world(egress(APP, "0.0.0.0/0", act="drop")),
            A_TO_B,
            f"blocked: sgr-drop of {APP} drops tcp/3306 (egress, priority 1); no ingress rule of {DB} admits tcp/3306",
        ),
        (
            view([group(APP)], [PAIR[0], BARE]),
            A_TO_B,
            "blocked: no ingress rule of an instance without groups admits tcp/3306",
        ),
        # members of one group: two official texts disagree on an egress drop
        (
            neighbours(ALL_DROPPED, access=True),
            A_TO_B,
            f"open: members of {DB} reach each other (InnerAccessPolicy Accept): tcp/3306",
        ),
        (
            neighbours(LEFT, rule(DB, "0.0.0.0/0"), access=True),
            A_TO_B,
            f"unknown: it is not known whether InnerAccessPolicy Accept of {DB} comes before this: "
            f"sgr-drop of {DB} drops tcp/3306 (egress, priority 1)",
        ),
        (
            neighbours(access=False),
            A_TO_B,
            f"blocked: no ingress rule of {CACHE} and {DB} admits tcp/3306; members of {DB} are isolated: tcp/3306",
        ),
        # what was not read, or is not read
        *(  # RuleCount may leave out egress rules
            (unread(group(APP, rule_count=n)), A_TO_B, f"unknown: the rules of {APP} were not read (egress): tcp/3306")
            for n in (3, 0)
        ),
        (world(drop(""), ours(OURS)), A_TO_B, f"{DOUBTFUL}its prefix list is not read"),
        (world(drop("0.0.0.0/0", port=None), ours(OURS)), A_TO_B, f"{DOUBTFUL}its port list is not read"),
        (world(drop("nonsense"), ours(OURS)), A_TO_B, f"{DOUBTFUL}nonsense cannot be read"),
        (world(drop("10.0.0.1/32", own_cidr="odd"), ours(OURS)), A_TO_B, f"{DOUBTFUL}odd cannot be read"),
        (
            view(
                [group(APP, vpc="vpc-2"), group(DB)],
                [instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), PAIR[1]],
                [drop(str(APP)), rule(DB, "10.0.0.1/32", priority=2)],
            ),
            A_TO_B,
            f"{DOUBTFUL}nothing documents rules that name a group of another VPC",
        ),
        (
            msgspec.structs.replace(neighbours(access=None), groups={CACHE: group(CACHE)}),
            A_TO_B,
            f"unknown: whether members of {DB} reach each other was not read: tcp/3306",
        ),
        (
            world(drop("0.0.0.0/0", source_ports=(1, 40000)), ours(OURS)),
            A_TO_B,
            f"{DOUBTFUL}it is restricted to the source ports 1-40000",
        ),
        (world(drop("10.0.0.0/8"), ours(OURS)), APP_TO_DB, f"{DOUBTFUL}it depends on an address that was not read"),
        (
            view([group(DB)], PAIR, [ours(OURS), egress(APP, "::/0")]),
            A_TO_B,
            f"unknown: the type of {APP} was not read (egress): tcp/3306",
        ),
        (world(), Link(A, Party(HOME, "i-x"), SQL), f"unknown: i-x@{HOME} was not read"),
        # ports: what decides alone is named, ports in a row as one range
        (
            world(),
            Link(APP, DB, parse_ports("tcp/22+tcp/23+udp/24")),
            f"blocked: no ingress rule of {DB} admits tcp/22-23+udp/24",
        ),
        (
            world(ours(OURS)),
            Link(APP, DB, parse_ports("tcp/3306+udp/53")),
            f"partly: no ingress rule of {DB} admits udp/53; tcp/3306 passes",
        ),
        (
            world(ours(key(DB, APP, "tcp/80-90")), drop("0.0.0.0/0", port=Port("tcp", 85, 100))),
            RANGE,
            f"partly: sgr-drop of {DB} drops tcp/85-90 (ingress, priority 1); tcp/80-84 passes",
        ),
        *(
            (
                world(
                    ours(key(DB, APP, "tcp/80-90")),
                    drop("0.0.0.0/0", port=Port("tcp", at, at)),
                    drop("", priority=50, port=RANGE.ports[0]),
                ),
                RANGE,
                f"unknown: it is not known whether sgr-drop of {DB} drops tcp/{undecided_ports} (ingress): its prefix list is not read; "
                f"sgr-drop of {DB} drops tcp/{at} (ingress, priority 1)",
            )
            for at, undecided_ports in ((80, "81-90"), (90, "80-89"))
        ),
        (
            world(
                ours(key(DB, APP, "tcp/80-90")), *(drop("0.0.0.0/0", port=Port("tcp", n, n)) for n in (80, 82, 84, 86))
            ),
            RANGE,
            "partly: "
            + "".join(f"sgr-drop of {DB} drops tcp/{n} (ingress, priority 1); " for n in (80, 82, 84))
            + "and 1 more; tcp/81+tcp/83+tcp/85 and 1 more passes",
        ),
        # mutual links
        (
            world(*BOTH),
            MUTUAL,
            f"open: {BOTH[0].id} of {DB} accepts all (ingress, priority 100); "
            f"{BOTH[1].id} of {APP} accepts all (ingress, priority 100)",
        ),
        (world(BOTH[0]), MUTUAL, f"partly: no ingress rule of {APP} admits all; the other way, it passes"),
        (
            world(*BOTH, theirs(key(DB, APP, "tcp/22"), act="drop")),
            MUTUAL,
            f"partly: sgr-drop-1 of {DB} drops tcp/22 (ingress, priority 1); tcp/1-21+tcp/23-65535+udp and 2 more passes",
        ),
    ],
)
def test_what_becomes_of_the_packets_of_a_link(snapshot: Snapshot, link: Link, text: str) -> None:
    """One word, and what decides."""
    effect = of_link(snapshot, link)
    assert f"{effect.word}: {effect_text.detail(effect)}" == text


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        # what may apply matters only where it would change the answer
        ([rule(DB, "")], "unknown"),
        ([rule(DB, ""), ours(OURS)], "open"),
        ([drop("")], "blocked"),
        ([drop("", priority=100), rule(DB, "10.0.0.1/32", priority=50)], "open"),
        # a drop wins a tie, and an accept of a smaller priority wins over it
        ([drop("0.0.0.0/0"), rule(DB, "10.0.0.1/32")], "blocked"),
        ([drop("0.0.0.0/0", priority=2), rule(DB, "10.0.0.1/32")], "open"),
        # the connection may come from any port that systems choose, and from no other
        ([ours(OURS), drop("0.0.0.0/0", source_ports=(32_768, 65_535))], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", source_ports=(32_769, 65_535))], "unknown"),
        ([ours(OURS), drop("0.0.0.0/0", source_ports=(32_768, 65_534))], "unknown"),
        ([ours(OURS), drop("0.0.0.0/0", source_ports=(1, 32_768))], "unknown"),
        ([ours(OURS), drop("0.0.0.0/0", source_ports=(1, 32_767))], "open"),
        # its peer and its own end, by address; a range may be written with any address in it
        ([ours(OURS), drop("10.0.0.3/30")], "blocked"),
        ([ours(OURS), drop("10.0.0.4/30")], "open"),
        ([ours(OURS), drop("0.0.0.0/0", own_cidr="10.0.0.2/32")], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", own_cidr="10.0.0.1/32")], "open"),
        ([ours(OURS), drop(str(CACHE))], "open"),
        # its protocol, also by number, and its ports
        ([ours(OURS), drop("0.0.0.0/0", port=Port("6"))], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", port=Port("17"))], "open"),
        ([ours(OURS), drop("0.0.0.0/0", port=Port("all"))], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", port=Port("tcp", 3306, 3310))], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", port=Port("tcp", 3300, 3306))], "blocked"),
        ([ours(OURS), drop("0.0.0.0/0", port=Port("tcp", 3307, 3310))], "open"),
        ([ours(OURS), egress(DB, "0.0.0.0/0", act="drop")], "open"),
        ([ours(OURS), rule(APP, "0.0.0.0/0", act="drop")], "open"),
        # IPv6 is another matter
        ([ours(OURS), Rule(DB, "sgr-6", None, "drop", 1, ipv6=Traffic("ingress", "::/0", "", None))], "open"),
    ],
)
def test_the_first_rule_that_applies_decides(rules: list[Rule], word: str) -> None:
    """By priority."""
    assert of_link(world(*rules), A_TO_B).word == word


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ([drop("10.0.0.1/32")], "blocked"),
        ([drop("10.0.0.1/32", priority=2)], "unknown"),
        ([rule(DB, str(APP))], "unknown"),
    ],
)
def test_rules_that_were_not_read_override_all_but_a_drop_of_the_first_priority(rules: list[Rule], word: str) -> None:
    """Those of another group of the target."""
    instances = [PAIR[0], instance(B, DB, CACHE, ip="10.0.0.2")]
    snapshot = view([group(APP), group(DB), group(CACHE, rule_count=1)], instances, rules)
    read = {party: rules_of_party for party, rules_of_party in snapshot.rules.items() if party != CACHE}
    assert of_link(msgspec.structs.replace(snapshot, rules=read), A_TO_B).word == word


@pytest.mark.parametrize(
    ("groups", "rules", "asker", "word"),
    [
        ([APP], [ours(OURS), drop("10.0.0.0/31")], A, "blocked"),
        ([APP], [ours(OURS), drop("10.0.0.2/31")], A, "open"),
        ([APP, CACHE], [ours(OURS), egress(CACHE, "0.0.0.0/0", act="drop")], A, "blocked"),
        ([APP, CACHE], [ours(OURS), egress(CACHE, "0.0.0.0/0", act="drop")], B, "open"),
    ],
)
def test_the_instance_that_asked_stands_for_its_group(
    groups: list[Party], rules: list[Rule], asker: Party, word: str
) -> None:
    """With its address, and all of its groups."""
    snapshot = view([group(APP), group(DB), group(CACHE)], [instance(A, *groups, ip="10.0.0.1")], rules)
    assert of_link(snapshot, APP_TO_DB, asker).word == word


@pytest.mark.parametrize(("inside", "word"), [(True, "open"), (False, "blocked")])
def test_the_instance_that_asked_is_one_end_of_a_link_of_its_own_group(inside: bool, word: str) -> None:
    """The other is any other member, which is in none of its other groups."""
    access = {DB: inside, CACHE: not inside}
    snapshot = view([group(DB), group(CACHE)], [instance(A, DB, CACHE, ip="10.0.0.1")], inner_access=access)
    assert of_link(snapshot, Link(DB, DB, SQL), A).word == word


@pytest.mark.parametrize(
    ("old", "new", "opens"),
    [
        ((LEFT,), (), [True]),
        ((), (LEFT,), [False]),
        ((), (rule(DB, "0.0.0.0/0"),), [True]),  # they pass, whether or not the group lets them
        ((LEFT,), (LEFT, drop("0.0.0.0/0")), []),
    ],
)
def test_packets_of_which_less_is_barred_may_pass_though_it_is_not_known(
    old: tuple[Rule, ...], new: tuple[Rule, ...], opens: list[bool]
) -> None:
    """Whether members of their group reach each other was not read."""
    snapshots = (neighbours(*old, access=None), neighbours(*new, access=None))
    ends = (end_of(snapshots[0].instances[A]), end_of(snapshots[0].instances[B]))
    assert [(may_pass, is_known) for _, may_pass, is_known in compared(snapshots, ends, SQL)] == [
        (each, False) for each in opens
    ]


def test_an_effect_names_the_rules_that_decide_the_ports_and_what_was_not_read() -> None:
    in_range = world(ours(key(DB, APP, "tcp/80-90")), drop("0.0.0.0/0", port=Port("tcp", 85, 100)))
    assert [str(port) for port in (*of_link(in_range, RANGE).blocked, *of_link(in_range, RANGE).passed)] == [
        "tcp/85-90",
        "tcp/80-84",
    ]
    snapshot_left = neighbours(LEFT, rule(DB, "0.0.0.0/0"), access=True)
    assert of_link(snapshot_left, A_TO_B).rules == (LEFT,)
    assert of_link(snapshot_left, A_TO_B).causes == {EffectCause.ORDER_UNKNOWN}
    assert of_link(world(), A_TO_B).rules == ()
    assert effect_text.detail(absent([Party(HOME, "")])) == ""
    assert effect_text.detail(absent([APP, Party(HOME, "")])) == ""
    numbers = of_link(world(*BOTH, *(drop("0.0.0.0/0", port=Port(n)) for n in ("17", "50", "58"))), MUTUAL)
    assert [{str(port) for port in ports} for ports in (numbers.blocked, numbers.passed)] == [
        {"udp/1-65535", "50"},
        {"tcp/1-65535", "udp/1-65535", "icmp", "gre"},
    ]


def test_the_rules_that_apply_are_listed_as_they_count() -> None:
    """Egress before ingress; by priority, a drop first; also one of which it is not known."""
    rules = [
        egress(APP, "0.0.0.0/0"),
        drop("", priority=5),
        rule(DB, str(APP), priority=5),
        drop("0.0.0.0/0", priority=1),
    ]
    extra_rules = [drop("0.0.0.0/0", port=Port("udp", 3306, 3306)), egress(DB, "0.0.0.0/0"), rule(APP, "0.0.0.0/0")]
    rules_in_order = applying(world(*rules[::-1], *extra_rules), end_of(PAIR[0]), end_of(PAIR[1]), SQL)
    assert rules_in_order == [rules[0], rules[3], rules[1], rules[2]]
    assert of_link(neighbours(ALL_DROPPED, access=None), A_TO_B).unread == {DB}
    assert of_link(unread(group(APP, rule_count=3)), A_TO_B).unread == {APP}


def test_each_rule_that_alone_would_admit_a_packet_is_listed() -> None:
    """Those behind a drop are not; behind a drop that may apply, they are doubted, as is a rule that may apply. A range
    of ports is cut where the rules differ."""
    port_50 = Port("tcp", 50, 50)
    wide, narrow = rule(DB, "10.0.0.0/8", port=Port("tcp", 1, 100)), rule(DB, str(APP), port=port_50, priority=2)
    listed, closed = rule(DB, "", port=Port("tcp", 60, 60), priority=3), drop("10.0.0.0/8", port=Port("tcp", 70, 70))
    snapshot = world(wide, narrow, listed, closed, rule(DB, "10.0.0.0/8", port=Port("tcp", 70, 70), priority=4))
    sender, receiver = End((APP,), "vpc-1", "10.0.0.1"), End((DB,), "vpc-1", "10.0.0.2")
    parts = list(admissions(snapshot, "ingress", receiver, sender, Port("tcp", 50, 70)))
    assert [(part.packet, part.rules, part.doubted) for part in parts] == [
        (port_50, (wide, narrow), ()),
        (Port("tcp", 51, 59), (wide,), ()),
        (Port("tcp", 60, 60), (wide,), (listed,)),
        (Port("tcp", 61, 69), (wide,), ()),
        (Port("tcp", 70, 70), (), ()),
    ]
    [part] = admissions(world(drop("", port=port_50), wide), "ingress", receiver, sender, port_50)
    assert part == Admission(port_50, (), (wide,))
    in_two = msgspec.structs.replace(receiver, groups=(DB, CACHE))
    [part] = admissions(world(wide), "ingress", in_two, sender, port_50)
    assert (part.rules, part.unread) == ((wide,), (CACHE,))
