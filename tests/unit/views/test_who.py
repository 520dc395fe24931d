"""Who can reach sg-db, which has B: the sources that no random world has, and what was not read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import CloudError
from link_peer.domain.model import ALL, Instance, Party, Port, Rule, Traffic
from link_peer.views.reach import Scene
from link_peer.views.who import _parts, parties_in_rules, sources_reaching

from tests.unit.planning.test_effect import rule
from tests.unit.small_world import APP, CACHE, DB, HOME, PEER, A, B
from tests.unit.snapshots import group, instance, view

C = Party(HOME, "i-c")
WEB = Port("tcp", 80, 89)
FAR = instance(C, APP, ip="10.0.0.1", vpc="vpc-2")
LIST = Rule(DB, "sgr-accept", None, "accept", 1, unmanaged_traffic=Traffic("ingress", "", "", WEB, prefix_list="pl-1"))
IPV6 = Rule(DB, "sgr-6", None, "accept", 1, ipv6=Traffic("ingress", "2001:db8::/32", "", WEB))
AT_APP = instance(A, APP, ip="10.0.0.1")
RANGE = rule(DB, "10.0.0.0/24")
ADVANCED = {APP: group(APP, advanced=True), DB: group(DB)}
REFUSED = {"refused_accounts": {HOME: CloudError("Forbidden.RAM", "no")}}
DROP = rule(DB, "0.0.0.0/0", act="drop", port=Port("tcp", 80, 80))


@pytest.mark.parametrize(
    ("rules", "read", "ports", "expected"),
    [
        ([LIST], {}, [], ["- pl-1 unknown None"]),
        ([LIST], {}, [Port("udp", 80, 80)], []),
        ([LIST, DROP], {}, [Port("tcp", 80, 80)], ["- pl-1 blocked None"]),
        ([rule(DB, str(APP), port=None), rule(DB, str(APP)), DROP], {}, [], ["sg-app - unknown 1", "sg-app - open 1"]),
        ([rule(DB, str(APP), port=WEB), DROP], {}, [Port("tcp", 1, 80)], ["sg-app - blocked 1"]),
        ([rule(DB, str(APP), port=WEB), DROP], {}, [Port("tcp", 81, 999)], ["sg-app - open 1"]),
        ([rule(DB, str(APP), port=WEB), DROP], {}, [Port("tcp", 1, 999)], ["sg-app - partly 1"]),
        ([rule(DB, str(APP), port=Port("6", 80, 80))], {}, [WEB], ["sg-app - open 1"]),
        ([rule(DB, str(APP), port=Port("6")), DROP], {}, [Port("tcp", 80, 80)], ["sg-app - blocked 1"]),
        ([rule(DB, str(APP), port=Port("6")), DROP], {}, [WEB], ["sg-app - partly 1"]),
        ([rule(DB, str(APP), port=ALL), DROP], {}, [Port("tcp", 80, 80)], ["sg-app - blocked 1"]),
        ([rule(DB, str(APP), port=WEB)], {}, [Port("tcp", 89, 99)], ["sg-app - open 1"]),
        ([rule(DB, str(APP), port=WEB)], {}, [Port("tcp", 90, 99)], []),
        ([rule(DB, str(APP), port=WEB)], {}, [Port("udp", 80, 80)], []),
        ([rule(DB, str(APP), port=WEB)], {}, [Port("udp", 80, 80), Port("tcp", 1, 80)], ["sg-app - open 1"]),
        ([rule(DB, "10.0.0.1/32")], {"more": FAR}, [], ["i-a 10.0.0.1/32 open 1", "i-c 10.0.0.1/32 open 1"]),
        ([rule(DB, "10.0.0.2/32")], {}, [], ["- 10.0.0.2/32 open None"]),
        (
            [rule(DB, "10.0.0.7/32")],
            {"more": msgspec.structs.replace(FAR, ip="10.0.0.7")},
            [],
            ["i-c 10.0.0.7/32 open 1"],
        ),
        ([rule(DB, "10.0.0.9/32")], {}, [], ["- 10.0.0.9/32 open None"]),
        (
            [rule(DB, "10.0.0.1/32")],
            {"more": instance(C, DB, ip="10.0.0.1")},
            [],
            ["i-a 10.0.0.1/32 open 1", "i-c 10.0.0.1/32 open 1"],
        ),
        ([rule(DB, str(APP))], {"more": FAR}, [], ["sg-app - unknown 2"]),
        ([rule(DB, str(APP))], {"more": instance(C, APP, ip="10.0.0.3")}, [], ["sg-app - open 2"]),
        # each group's rules are about its own members
        (
            [rule(CACHE, str(APP))],
            {
                "more": instance(C, DB, CACHE, ip="10.0.0.3"),
                "groups": {party: group(party) for party in (APP, DB, CACHE)},
                "inner_access": {DB: False, CACHE: False},
            },
            [],
            ["sg-app - open 1"],
        ),
        ([], {"more": instance(C, DB, ip="10.0.0.3"), "inner_access": {DB: True}}, [], ["sg-db - open 2"]),
        ([IPV6], {}, [], ["- 2001:db8::/32 unknown None"]),
        # other ranges and drops tell the addresses of a range apart; those of instances count where a drop names their
        # group
        ([RANGE, rule(DB, "10.0.0.128/25", act="drop")], {}, [], ["- 10.0.0.0/24 partly None"]),
        ([RANGE, rule(DB, "10.0.0.255/32", act="drop")], {}, [], ["- 10.0.0.0/24 partly None"]),
        ([RANGE, rule(DB, "10.0.0.0/32", act="drop")], {}, [], ["- 10.0.0.0/24 partly None"]),
        ([RANGE, rule(DB, "10.0.1.0/24", act="drop")], {}, [], ["- 10.0.0.0/24 open None"]),
        ([RANGE, rule(DB, "10.0.0.0/16", act="drop")], {}, [], ["- 10.0.0.0/24 blocked None"]),
        ([RANGE, rule(DB, str(APP), act="drop")], {}, [], ["- 10.0.0.0/24 partly None"]),
        ([RANGE, rule(DB, str(APP), act="drop"), DROP], {"groups": ADVANCED}, [Port("udp", 1, 1)], []),
        ([RANGE, rule(DB, str(APP))], {"groups": ADVANCED}, [], ["- 10.0.0.0/24 open None", "sg-app - blocked 1"]),
        (
            [RANGE, rule(DB, str(APP), act="drop")],
            {"more": FAR, "instances": {C: FAR}},
            [],
            ["- 10.0.0.0/24 open None"],
        ),
        (
            [RANGE, rule(DB, str(APP), act="drop"), rule(DB, "10.0.0.1/32", act="drop")],
            {},
            [],
            ["- 10.0.0.0/24 partly None"],
        ),
        ([rule(DB, "10.9.0.0/24"), rule(DB, str(APP), act="drop")], {}, [], ["- 10.9.0.0/24 open None"]),
        ([rule(DB, str(APP), direction="egress")], {}, [], []),
        ([rule(DB, str(APP), own_cidr="10.0.0.2/32")], {"instances": {A: AT_APP}}, [], ["sg-app - open 1"]),
        ([rule(DB, str(APP), own_cidr="10.0.0.3/32")], {}, [], ["sg-app - open 1"]),
        ([rule(DB, "10.0.0.0/24", source_ports=(1, 40_000))], {}, [], ["- 10.0.0.0/24 unknown None"]),
        ([rule(DB, str(APP), port=Port("icmp"))], {}, [Port("icmp")], ["sg-app - open 1"]),
        ([rule(DB, "10.0.0.x/8")], {}, [], ["- 10.0.0.x/8 unknown None"]),
        ([rule(DB, f"sg-x@{PEER}")], {}, [], ["sg-x - unknown None"]),
        ([rule(DB, str(APP))], {"whole_accounts": {}, "complete_groups": {DB}}, [], ["sg-app - unknown None"]),
        ([rule(DB, str(APP))], {"whole_accounts": {}}, [], ["- - unknown None", "sg-app - unknown None"]),
        (
            [rule(DB, str(APP)), rule(DB, "10.0.0.1/32", act="drop")],
            {"whole_accounts": {}, "complete_groups": {DB}, "more": instance(C, APP, ip="10.0.0.3")},
            [],
            ["sg-app - partly None"],
        ),
        ([rule(DB, str(APP))], {"rules": {}, "groups": {DB: group(DB, rule_count=1)}}, [], ["- - unknown None"]),
        ([], {"rules": {}, "groups": {}, "instances": {}, **REFUSED}, [], ["- - unknown None", "- - unknown None"]),
        ([], {"inner_access": {}}, [], ["sg-db - unknown 1"]),
    ],
)
def test_what_is_listed(rules: list[Rule], read: dict[str, Any], ports: list[Port], expected: list[str]) -> None:
    """Source, address, state and number of instances. What was not read is unknown, never nothing. Without the members
    of its own groups, only what needs a rule is listed."""
    extra_instances: list[Instance] = [extra_instance] if (extra_instance := read.get("more")) else []
    instances = [AT_APP, instance(B, DB, ip="10.0.0.2"), *extra_instances]
    fields = {"inner_access": {DB: False}, **{name: value for name, value in read.items() if name != "more"}}
    scene = Scene(msgspec.structs.replace(view([group(APP), group(DB)], instances, rules), **fields))
    sources = sources_reaching(scene, DB, ports)
    texts = [
        f"{source.source.id if source.source else '-'} {source.address or '-'} {source.state} {source.instances}"
        for source in sources
    ]
    assert texts == expected
    assert sources_reaching(scene, DB, ports, members=False) == [
        source for source in sources if source.rule or source.source is None
    ]


@pytest.mark.parametrize(
    ("cidr", "addresses", "parts"),
    [
        ("10.0.0.0/24", [], ["10.0.0.0"]),
        ("10.0.0.0/24", ["10.0.0.128/25"], ["10.0.0.0", "10.0.0.128"]),
        ("10.0.0.0/24", ["10.0.0.0/25"], ["10.0.0.0", "10.0.0.128"]),
        ("10.0.0.0/24", ["10.0.0.16/28", "10.0.0.16/28"], ["10.0.0.0", "10.0.0.16", "10.0.0.32"]),
        ("10.0.0.0/24", ["10.0.0.255/32"], ["10.0.0.0", "10.0.0.255"]),
        ("10.0.1.0/24", ["10.0.0.0/24", "10.0.2.0/24"], ["10.0.1.0"]),
        ("10.0.1.0/24", ["10.0.0.0/16", "9.0.0.0/8"], ["10.0.1.0"]),
        ("10.0.1.0/24", ["sg-app", "10.0.1.x/32", "10.0.1.9/32"], ["10.0.1.0", "10.0.1.9", "10.0.1.10"]),
        ("10.0.1.x/24", ["10.0.1.9/32"], [""]),
    ],
)
def test_a_range_has_an_address_for_each_part_that_others_tell_apart(
    cidr: str, addresses: list[str], parts: list[str]
) -> None:
    """The first of each part, and none of outside."""
    assert _parts(cidr, addresses) == parts


def test_an_instance_is_no_source_of_itself() -> None:
    """Of its group, the others are; the rules of all of its groups count, and those for its own address."""
    instances = [instance(party, DB, ip=f"10.0.0.{n}") for n, party in enumerate((A, B, C))]
    snapshot = view([group(DB)], instances, [rule(DB, "10.9.0.0/16", own_cidr="10.0.0.1/32")], inner_access={DB: True})
    sources = [
        [
            (source.source, source.address, source.state, source.instances)
            for source in sources_reaching(Scene(snapshot), x)
        ]
        for x in (A, B)
    ]
    dropped = view([group(DB)], instances, [RANGE, rule(DB, "10.0.0.128/25", act="drop")], inner_access={DB: False})
    (reason,) = [source.reason for source in sources_reaching(Scene(dropped), B) if source.address]
    assert reason.startswith("from 10.0.0.128 to i-b: sgr-drop of ")
    assert sources == [[(DB, "", "open", 2)], [(None, "10.9.0.0/16", "open", None), (DB, "", "open", 2)]]


def test_the_parties_that_rules_name_are_read_before() -> None:
    """Groups by their id, and instances by their address."""
    rules = [rule(DB, str(APP)), rule(DB, "10.0.0.2/32"), LIST]
    scene = Scene(view([group(APP), group(DB)], [instance(A, APP, ip="10.0.0.2")], rules))
    assert parties_in_rules(scene, DB) == {APP, A}


def test_it_is_said_that_not_every_instance_of_a_source_was_read() -> None:
    """Unless what decides is known whatever the others are."""
    instances = [AT_APP, instance(B, DB, ip="10.0.0.2"), instance(C, APP, ip="10.0.0.3")]
    for extra_rules, message in (
        ([], f"not every instance of {APP} was read"),
        ([rule(DB, "10.0.0.1/32", act="drop")], "from i-a to i-b"),
    ):
        snapshot = view(
            [group(APP), group(DB)], instances, [rule(DB, str(APP)), *extra_rules], inner_access={DB: False}
        )
        (source,) = sources_reaching(
            Scene(msgspec.structs.replace(snapshot, whole_accounts=frozenset(), complete_groups={DB})), DB
        )
        assert source.reason.startswith(message)
