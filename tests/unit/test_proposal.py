"""What is proposed for the packets of a small estate, and what is said of those that no link carries."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from link_peer.domain.model import Instance, Party, Port, Rule, Traffic
from link_peer.domain.platform_limits import GROUP_RULES
from link_peer.domain.tags import iso
from link_peer.planning.decision import Context
from link_peer.views.reach import Scene
from link_peer_cli.inventory.flow_log import DAY, FlowRow, Flows
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Period
from link_peer_cli.inventory.reading import SavedView
from link_peer_cli.usage.answers import Tightening, _leftover_text, _link_text, commands_of
from link_peer_cli.usage.proposal import Consent, Proposal, Proposer
from link_peer_cli.usage.rules import Rules
from msgspec.structs import replace

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B, C, D
from tests.unit.snapshots import group, key, theirs, view

SINCE = int(NOW) - DAY
WIDE = Rule(
    DB, "sgr-1", None, "accept", 1, unmanaged_traffic=Traffic("ingress", "10.0.0.0/8", "", Port("tcp", 1, 65_535))
)
PRIMARY = {A: "10.0.0.1", B: "10.0.0.2", C: "10.0.0.3", D: "10.0.0.4"}


def proposal(
    *packets: tuple[str, int],
    accept: str = "",
    egress: str = "",
    rules: tuple[Rule, ...] = (WIDE,),
    target: Party | None = B,
    reached: str = PRIMARY[B],
    running: Collection[Party] | None = (A, B, C),
    common: Collection[Party] = (),
    by_group: bool = False,
    **fields: Any,
) -> Proposal:
    """For packets to B in sg-db, each from an address to a port, all answered; A and D, which does not run, are in
    sg-app, and C in sg-cache, an advanced group. `common` are groups that all are in, too. An address that ends in 1 is
    A's, one in 3 is C's, and no log names another one."""
    groups = [group(APP), group(DB, accept), group(CACHE, advanced=True, tags={"link-egress": egress})]
    ends = [(APP, A), (DB, target), (CACHE, C), (APP, D)]
    interfaces = [
        Interface(HOME, f"eni-{number}", frozenset({joined, *common}), end, True, True, (), (), "vpc-1")
        for number, (joined, end) in enumerate(ends, 1)
    ]
    rows = {
        kind: [FlowRow(kind, "eni-2", reached, address, port, 1, 1, SINCE, True) for address, port in packets]
        for kind in ("in", "answer")
    }
    names = {
        ("vpc-1", address): {(end.id, f"eni-{number}"): 1}
        for number, end in ((1, A), (3, C))
        for address, _ in packets
        if address.endswith(str(number))
    }
    instances = [Instance(end, "vpc-1", (joined.id,), PRIMARY[end]) for joined, end in ends if end]
    snapshot = view(groups, instances, rules, inner_access=dict.fromkeys(common, True), **fields)
    judged = Rules(snapshot, POLICY, REGION, Period(SINCE, int(NOW), {HOME: Flows(rows, names)}, {HOME: interfaces}))
    proposer = Proposer(SavedView(snapshot), Context(POLICY, REGION, NOW), judged, running)
    return proposer.propose([judged.use(rule) for rule in judged.wide([DB])], by_group=by_group)


@pytest.mark.parametrize(
    ("accept", "is_there"), [("", False), ("sg-app:tcp/1-9", False), ("*", True), ("sg-app:tcp/80+tcp/443", True)]
)
def test_a_proposed_link_names_the_entry_that_it_needs(accept: str, is_there: bool) -> None:
    """Whether it is there or not."""
    [proposed] = proposal((PRIMARY[A], 443), (PRIMARY[A], 80), accept=accept).links
    assert proposed.consents == (Consent(DB, "sg-app:tcp/443+tcp/80", is_there=is_there),)
    assert ("has to accept" in _link_text(proposed)) is not is_there


def test_of_consent_that_is_there_the_entry_is_that_of_the_target() -> None:
    """Beside that of an advanced group, which lets it out."""
    [proposed] = proposal((PRIMARY[C], 80), accept="*", egress="*", running=[B]).links
    assert proposed.consents == (Consent(DB, "i-c:tcp/80", is_there=True),)


PRIMARY_ONLY = "the packets came from, or went to, an address that is not the instance's primary one"
DROPPED = "a drop rule comes before those of link-peer, which have priority 100"
DROP = replace(WIDE, id="sgr-2", policy="drop", priority=2)
FULL = [
    replace(WIDE, id=f"sgr-{port}", unmanaged_traffic=Traffic("ingress", "10.9.0.1/32", "", Port("tcp", port, port)))
    for port in range(2, GROUP_RULES.high)
]


@pytest.mark.parametrize(
    ("address", "fields", "subject"),
    [
        ("10.0.0.1", {}, (APP, DB)),
        ("10.0.1.1", {}, (APP, DB)),  # a rule that names a group admits every address of a member
        ("10.0.0.1", {"running": {B}}, (A, B)),  # no running instance of the group was seen
        ("10.0.0.1", {"running": {B}, "by_group": True}, (APP, DB)),
        ("10.0.0.1", {"running": [A, B, D]}, (A, B)),
        ("10.0.0.1", {"running": None}, (A, B)),  # all count as running
        ("10.0.0.1", {"running": None, "by_group": True}, (APP, DB, D)),  # which was not seen
        ("10.0.1.1", {"running": {B}}, (A, B, PRIMARY_ONLY)),
        ("10.0.0.1", {"running": {B}, "reached": "10.0.9.2"}, (A, B, PRIMARY_ONLY)),
        ("10.0.0.3", {"reached": "10.0.9.2"}, (CACHE, DB)),  # by address, of the source alone
        ("10.0.1.3", {}, (C, B, PRIMARY_ONLY)),
        ("10.0.1.1", {"rules": (WIDE, DROP)}, (A, B, DROPPED)),
        ("10.0.0.1", {"rules": (WIDE, DROP), "running": {B}}, (A, B, DROPPED)),
        ("10.0.0.9", {}, ("10.0.0.9", B, "unknown: no line of a flow log names who had it then")),
        ("10.0.0.1", {"target": None}, (A, Party(HOME, "eni-2"), "eni-2 belongs to no ECS instance")),
        (
            "10.0.0.1",
            {"accept": "*", "rules": (WIDE, *FULL)},  # which has room for a rule of one port
            (A, B, f"quota: {DB} has 999 rules already (the limit is 1000)"),
        ),
        (
            "10.0.0.1",
            {"accept": "*", "rules": (WIDE, *FULL, replace(WIDE, id="sgr-1000"))},
            (A, B, f"quota: {DB} has 1000 rules already (the limit is 1000)"),
        ),
    ],
)  # fmt: skip
def test_packets_are_in_a_link_or_it_is_said_why_not(
    address: str, fields: dict[str, Any], subject: tuple[Any, ...]
) -> None:
    """Of both ports, between the same ends."""
    proposed = proposal((address, 4080), (address, 4443), **fields)
    subjects = [(each.link.source, each.link.target, *each.unseen) for each in proposed.links]
    subjects += [(each.source, each.target, each.reason) for each in proposed.leftovers]
    assert {*subjects} == {subject}
    assert sum(len(each.carried) for each in (*proposed.links, *proposed.leftovers)) == 2


@pytest.mark.parametrize(
    ("fields", "ports"),
    [
        ({}, [80, 443]),
        ({"rules": (WIDE, replace(FULL[78], id="sgr-0"))}, [80, 443]),  # of another sender
        ({"rules": (WIDE, theirs(key(DB, APP, "tcp/80")))}, [443]),
        ({"common": [Party(HOME, "sg-open")]}, []),  # whose members reach each other
    ],
)
def test_a_link_is_proposed_for_what_wide_rules_alone_admit(fields: dict[str, Any], ports: list[int]) -> None:
    """Nothing else lets it in."""
    proposed = proposal((PRIMARY[A], 80), (PRIMARY[A], 443), **fields)
    assert [port.low for each in proposed.links for port in each.link.ports] == ports
    assert proposed.leftovers == ()


def test_the_commands_of_a_proposal_are_those_of_consent_and_then_the_requests() -> None:
    """Of one account, if it is named; consent that is there takes none."""
    period = Period(SINCE, int(NOW), {}, {})
    expected = [
        f"link-peer accept sg-cache@{HOME} sg-db:tcp/80 --egress",
        f"link-peer accept sg-db@{HOME} sg-cache:tcp/80",
        f"link-peer request link --from {CACHE} --to {DB} --port tcp/80 --request-id",
    ]
    for consent, commands in (("", expected), ("*", expected[-1:])):
        proposed = proposal((PRIMARY[C], 80), accept=consent, egress=consent)
        judged = Tightening(Scene(view()), POLICY, REGION, period, (), proposed, {})
        texts = [command.command for command in commands_of(judged, HOME)]
        assert [text.partition(" tighten-")[0] for text in texts] == commands
        assert texts[-1].endswith(f" --reason 'seen on 1 day, last {iso(SINCE)}, in 1 line of the flow log'")
        assert commands_of(judged, PEER) == []
        assert commands_of(judged) == commands_of(judged, HOME)


def test_a_link_and_what_is_left_are_told_in_a_line_each() -> None:
    """With who would also be admitted, and who has to consent."""
    proposed = proposal((PRIMARY[A], 80), ("10.0.0.9", 22), running=None, by_group=True)
    [link], [leftover] = proposed.links, proposed.leftovers
    link_text = f"{APP} -> {DB} tcp/80; admits 1 instance not seen; {DB} has to accept sg-app:tcp/80"
    assert _link_text(link) == link_text
    assert _leftover_text(leftover) == f"10.0.0.9 -> {B} tcp/22: {leftover.reason}"
