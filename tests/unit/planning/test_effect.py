"""Whether a packet passes, as far as security groups decide: each rule of the semantics on the smallest world."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.model import Group, Instance, Link, Party, Port, Rule, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning import effect_text
from link_peer.planning.effect import Effect, End, between, end_in, end_of, of_link

from tests.unit.small_world import APP, CACHE, DB, HOME, A, B
from tests.unit.views import group, instance, key, ours, theirs, view

IN_A, IN_B = "10.0.0.1", "10.0.0.2"
SQL = parse_ports("tcp/3306")
OURS = key(DB, APP, "tcp/3306")


PAIR = [instance(A, APP, ip=IN_A), instance(B, DB, ip=IN_B)]


def world(*rules: Rule) -> Snapshot:
    """A is in sg-app, B in sg-db; both groups are basic, and read."""
    return view([group(APP), group(DB)], PAIR, rules)


def said(effect: Effect) -> tuple[str, str]:
    """Its word and its text."""
    return effect.word, effect_text.detail(effect)


def reach(snapshot: Snapshot, ports: str = "tcp/3306", source: Party = A, dest: Party = B) -> Effect:
    ends = [end_of(snapshot.instances[party]) for party in (source, dest)]
    return between(snapshot, *ends, parse_ports(ports))


def rule(
    on: Party,
    peer: str,
    *,
    direction: str = "ingress",
    act: str = "accept",
    priority: int = 1,
    port: Port | None = SQL[0],
    own: str = "",
    source_ports: tuple[int, int] | None = None,
) -> Rule:
    """A rule of a person, of any kind."""
    traffic = Traffic(direction, peer, own, port, source_ports)
    return Rule(on, f"sgr-{act}", None, act, priority, other=traffic)


def egress(on: Party, peer: str, **fields: Any) -> Rule:
    return rule(on, peer, direction="egress", **fields)


# one gate


def test_an_ipv6_rule_does_not_apply() -> None:
    assert reach(world(Rule(DB, "sgr-6", None, "accept", 1))).passes is False


# egress


def test_an_advanced_group_lets_nothing_out_unless_a_rule_accepts_it() -> None:
    groups, rules = [group(CACHE, advanced=True), group(DB)], [rule(DB, "10.0.0.1/32")]
    instances = [instance(A, CACHE, ip=IN_A), PAIR[1]]
    assert said(reach(view(groups, instances, rules))) == (
        "blocked",
        f"no egress rule of {CACHE} lets out tcp/3306 (an advanced group lets nothing out by default)",
    )
    assert reach(view(groups, instances, [*rules, egress(CACHE, "10.0.0.0/8")])).passes is True


def test_both_ends_that_block_are_named() -> None:
    effect = reach(world(egress(APP, "0.0.0.0/0", act="drop")))
    assert effect_text.detail(effect) == (
        f"sgr-drop of {APP} drops tcp/3306 (egress, priority 1); no ingress rule of {DB} admits tcp/3306"
    )


# one group


def neighbours(*rules: Rule, access: bool | None, advanced: bool = False) -> Snapshot:
    """A and B are both in sg-db."""
    instances = [instance(A, DB, ip=IN_A), instance(B, CACHE, DB, ip=IN_B)]
    groups = [group(DB, advanced=advanced), group(CACHE, advanced=advanced)]
    return view(groups, instances, rules, inner_access={} if access is None else {DB: access})


def test_members_of_a_basic_group_reach_each_other_whatever_ingress_rules_say() -> None:
    """Also where their rules were not read."""
    assert said(reach(neighbours(rule(DB, "0.0.0.0/0", act="drop"), access=True))) == (
        "open",
        f"members of {DB} reach each other (InnerAccessPolicy Accept): tcp/3306",
    )
    snapshot = neighbours(access=True)
    groups = {party: group(party, rule_count=1) for party in (DB, CACHE)}
    assert reach(Snapshot(groups=groups, instances=snapshot.instances, inner_access={DB: True})).word == "open"


def test_whether_an_egress_drop_stops_members_of_one_group_is_not_known() -> None:
    """Two official texts disagree. Without inner access it does."""
    drop = egress(DB, "10.0.0.2/32", act="drop"), rule(DB, "0.0.0.0/0")
    effect = reach(neighbours(*drop, access=True))
    assert (effect.word, effect.rules) == ("unknown", (drop[0],))
    assert effect_text.detail(effect) == (
        f"it is not known whether InnerAccessPolicy Accept of {DB} comes before this: "
        f"sgr-drop of {DB} drops tcp/3306 (egress, priority 1)"
    )
    assert reach(neighbours(*drop, access=False)).word == "blocked"


@pytest.mark.parametrize("advanced", [False, True])
def test_members_of_an_isolated_group_reach_each_other_by_rules_only(advanced: bool) -> None:
    """InnerAccessPolicy Drop, or an advanced group, of which the policy need not be read."""
    access = None if advanced else False
    effect = reach(neighbours(access=access, advanced=advanced))
    assert effect.passes is False
    assert f"members of {DB} are isolated: tcp/3306" in effect_text.detail(effect)
    opened = rule(DB, "10.0.0.1/32"), egress(DB, "0.0.0.0/0")
    assert reach(neighbours(*opened, access=access, advanced=advanced)).passes is True


def test_an_unread_inner_access_policy_leaves_open_what_the_rules_do_not_admit() -> None:
    """A drop decides nothing then, and an accept is enough."""
    effect = reach(neighbours(rule(DB, "0.0.0.0/0", act="drop"), access=None))
    assert (effect.word, effect.unread) == ("unknown", {DB})
    assert reach(neighbours(rule(DB, "0.0.0.0/0"), access=None)).passes is True


# what is not known


def unread(*rules: Rule, app: Group | None = None) -> Snapshot:
    """The rules of sg-app were not read."""
    groups = {APP: app or group(APP, rule_count=3), DB: group(DB)}
    return Snapshot(groups=groups, instances={one.party: one for one in PAIR}, rules={DB: rules})


def test_rules_that_were_not_read_leave_open_what_they_could_stop() -> None:
    effect = reach(unread(ours(OURS)))
    assert (effect.word, effect.unread) == ("unknown", {APP})
    assert effect_text.detail(effect) == f"the rules of {APP} were not read (egress): tcp/3306"


@pytest.mark.parametrize(("count", "passes"), [(0, True), (-1, None), (1, None)])
def test_a_group_without_rules_need_not_be_read(count: int, passes: bool | None) -> None:
    """Where the cloud gives no number, it may have some."""
    assert reach(unread(ours(OURS), app=group(APP, rule_count=count))).passes is passes


@pytest.mark.parametrize(
    ("doubtful", "why"),
    [
        (rule(DB, "", act="drop"), "its prefix list is not read"),
        (rule(DB, "0.0.0.0/0", act="drop", port=None), "its port list is not read"),
        (rule(DB, "nonsense", act="drop"), "nonsense cannot be read"),
        (rule(DB, "0.0.0.0/0", act="drop", source_ports=(1, 40000)), "it is restricted to the source ports 1-40000"),
    ],
)
def test_a_rule_whose_addresses_or_ports_are_not_read_may_apply(doubtful: Rule, why: str) -> None:
    """A prefix list or a port list. It decides nothing where the next rule comes to the same."""
    detail = f"it is not known whether sgr-drop of {DB} drops tcp/3306 (ingress): {why}"
    assert said(reach(world(doubtful, ours(OURS)))) == ("unknown", detail)
    assert reach(world(doubtful)).passes is False
    assert reach(world(doubtful, ours(OURS), theirs(OURS, act="drop"))).passes is False


def test_a_group_whose_type_was_not_read_may_let_nothing_out() -> None:
    effect = reach(view([group(DB)], PAIR, [ours(OURS), egress(APP, "::/0")]))
    assert (effect.word, effect.unread) == ("unknown", {APP})
    assert effect_text.detail(effect) == f"the type of {APP} was not read (egress): tcp/3306"


# ends whose address is not known


def test_between_groups_a_range_of_addresses_decides_only_if_it_holds_all() -> None:
    """An instance of sg-app may have any address."""

    def effect(peer: str) -> Effect:
        return of_link(world(ours(OURS), rule(DB, peer, act="drop")), Link(APP, DB, SQL))

    assert effect("10.0.0.0/8").word == "unknown"
    assert effect_text.detail(effect("10.0.0.0/8")).endswith("(ingress): it depends on an address that was not read")
    assert effect("0.0.0.0/0").word == "blocked"
    assert effect(str(APP)).word == "blocked"
    assert effect(str(CACHE)).word == "open"


def test_the_instance_that_asked_stands_for_its_group() -> None:
    """With its address, and all of its groups."""
    snapshot = world(ours(OURS), rule(DB, "10.0.0.0/31", act="drop"))
    assert of_link(snapshot, Link(APP, DB, SQL), A).word == "blocked"
    other = world(ours(OURS), rule(DB, "10.0.0.2/31", act="drop"))
    assert of_link(other, Link(APP, DB, SQL), A).word == "open"
    two = view(
        [group(APP), group(DB), group(CACHE)],
        [instance(A, APP, CACHE, ip=IN_A)],
        [ours(OURS), egress(CACHE, "0.0.0.0/0", act="drop")],
    )
    assert of_link(two, Link(APP, DB, SQL), A).word == "blocked"
    assert of_link(two, Link(APP, DB, SQL), B).word == "open"
    assert of_link(two, Link(APP, DB, SQL)).word == "open"


def test_the_instance_that_asked_is_one_end_of_a_link_of_its_own_group() -> None:
    """The other is any other member, which is in none of its other groups."""
    groups, asker = [group(DB), group(CACHE)], [instance(A, DB, CACHE, ip=IN_A)]
    inside = f"members of {DB} reach each other (InnerAccessPolicy Accept): all"
    effect = of_link(view(groups, asker, inner_access={DB: True, CACHE: False}), Link(DB, DB), A)
    assert said(effect) == ("open", inside)
    isolated = view(groups, asker, inner_access={DB: False, CACHE: True})
    assert of_link(isolated, Link(DB, DB, SQL), A).word == "blocked"


# links


def test_a_mutual_link_passes_if_it_does_both_ways() -> None:
    one, other = ours(key(DB, APP)), ours(key(APP, DB))
    effect = of_link(world(one, other), Link(APP, DB))
    assert effect_text.detail(effect) == (
        f"{one.id} of {DB} accepts all (ingress, priority 100); {other.id} of {APP} accepts all (ingress, priority 100)"
    )
    half = of_link(world(one), Link(APP, DB))
    assert said(half) == ("partly", f"no ingress rule of {APP} admits all; the other way, it passes")


def test_a_mutual_link_is_unknown_if_one_way_is_and_the_other_does_not_pass() -> None:
    """A prefix list leaves open whether sg-db admits sg-app. What is known is said, too."""
    doubtful = rule(DB, "", act="drop", port=Port("all"))
    one_way = of_link(world(ours(key(DB, APP)), doubtful), Link(APP, DB))
    assert (one_way.word, effect_text.detail(one_way).split("; ")[-1]) == (
        "unknown",
        f"no ingress rule of {APP} admits all",
    )
    both = world(ours(key(DB, APP)), ours(key(APP, DB)), doubtful)
    assert of_link(both, Link(APP, DB)).word == "unknown"


def test_a_drop_of_one_port_blocks_a_link_of_everything_and_is_all_that_is_named() -> None:
    """The rest passes."""
    rules = ours(key(DB, APP)), ours(key(APP, DB)), theirs(key(DB, APP, "tcp/22"), act="drop")
    effect = of_link(world(*rules), Link(APP, DB))
    assert (effect.word, effect.blocked) == ("partly", (Port("tcp", 22, 22),))
    assert effect_text.detail(effect) == (
        f"sgr-drop-1 of {DB} drops tcp/22 (ingress, priority 1); tcp/1-21+tcp/23-65535+udp and 2 more passes"
    )


def test_ports_in_a_row_are_one_range_of_their_protocol() -> None:
    ports = parse_ports("tcp/22+tcp/23+udp/24")
    assert effect_text.detail(of_link(world(), Link(APP, DB, ports))) == (
        f"no ingress rule of {DB} admits tcp/22-23+udp/24"
    )


def test_a_drop_inside_a_range_of_ports_blocks_that_part() -> None:
    rules = ours(key(DB, APP, "tcp/80-90")), rule(DB, "0.0.0.0/0", act="drop", port=Port("tcp", 85, 100))
    effect = of_link(world(*rules), Link(APP, DB, parse_ports("tcp/80-90")))
    assert (effect.blocked, effect.passed) == ((Port("tcp", 85, 90),), (Port("tcp", 80, 84),))
    assert effect_text.detail(effect) == f"sgr-drop of {DB} drops tcp/85-90 (ingress, priority 1); tcp/80-84 passes"


@pytest.mark.parametrize("dropped", [80, 85, 90])
def test_a_drop_of_one_port_of_a_range_blocks_that_port(dropped: int) -> None:
    """Where nothing is known of the others, the link's state is not, either."""
    drop = rule(DB, "0.0.0.0/0", act="drop", port=Port("tcp", dropped, dropped))
    rules = [ours(key(DB, APP, "tcp/80-90")), drop]
    ports = parse_ports("tcp/80-90")
    assert of_link(world(*rules), Link(APP, DB, ports)).blocked == (Port("tcp", dropped, dropped),)
    rules.append(rule(DB, "", act="drop", priority=50, port=ports[0]))
    effect = of_link(world(*rules), Link(APP, DB, ports))
    assert (effect.word, effect.passed, effect.blocked) == ("unknown", (), (Port("tcp", dropped, dropped),))


def test_packets_that_one_rule_decides_are_named_together() -> None:
    """Though another rule, which decides nothing, divides them."""
    weaker = theirs(key(DB, APP, "tcp/85"), act="drop", priority=100)
    rules = rule(DB, str(APP), port=Port("tcp", 80, 90)), weaker
    assert effect_text.detail(of_link(world(*rules), Link(APP, DB, parse_ports("tcp/80-90")))) == (
        f"sgr-accept of {DB} accepts tcp/80-90 (ingress, priority 1)"
    )


def test_a_drop_of_a_numbered_protocol_blocks_a_link_of_everything() -> None:
    rules = ours(key(DB, APP)), ours(key(APP, DB)), rule(DB, "0.0.0.0/0", act="drop", port=Port("50"))
    assert of_link(world(*rules), Link(APP, DB)).blocked == (Port("50"),)


def test_every_port_of_a_link_counts() -> None:
    effect = of_link(world(ours(OURS)), Link(APP, DB, parse_ports("tcp/3306+udp/53")))
    assert said(effect) == ("partly", f"no ingress rule of {DB} admits udp/53; tcp/3306 passes")


def test_a_link_between_instances_is_judged_with_all_of_their_groups() -> None:
    standing = rule(DB, "10.0.0.1/32", own="10.0.0.2/32")
    assert of_link(world(standing), Link(A, B, SQL)).word == "open"
    assert of_link(world(standing, egress(APP, "10.0.0.2/32", act="drop")), Link(A, B, SQL)).word == "blocked"


@pytest.mark.parametrize(("link", "detail"), [(Link(A, Party(HOME, "i-x"), SQL), f"i-x@{HOME} was not read"),
    (Link(Party(HOME, "sg-x"), DB, SQL), f"sg-x@{HOME} was not read"), (Link(APP, Party(HOME, ""), SQL), "")])  # fmt: skip
def test_a_party_that_was_not_read_leaves_it_open(link: Link, detail: str) -> None:
    """A peer that could not be parsed has no name."""
    assert said(of_link(world(), link)) == ("unknown", detail)


def test_an_end_in_a_group_is_in_that_group_only() -> None:
    assert end_in(world(), APP) == End((APP,), "vpc-1")
    assert end_in(world(), CACHE) is None


def test_an_instance_without_groups_admits_nothing() -> None:
    """As one looks right after its creation."""
    bare = Instance(B, "vpc-1", (), IN_B)
    snapshot = view([group(APP)], [instance(A, APP, ip=IN_A), bare])
    assert effect_text.detail(reach(snapshot)) == "no ingress rule of an instance without groups admits tcp/3306"
