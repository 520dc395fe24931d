"""Which rules are links: what the local cloud does not have, and what one address does not tell."""

from __future__ import annotations

import contextlib

import pytest
from link_peer.domain.model import ALL, Claim, Group, Instance, Link, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer_cli.adoption.expressible import NotAdoptable, link_of_rule
from link_peer_cli.adoption.judge import Adoption, judge

from tests.unit.small_world import APP, NOW, REGION
from tests.unit.snapshots import group, key, ours, theirs, view

HOME, PEER = "1000000000000001", "1000000000000002"
DB = Party(HOME, "sg-db")
TCP = Port("tcp", 1, 1)
POLICY = Policy("prod", {uid: AccountPolicy(uid, ranges=("10.0.0.0/24",)) for uid in (HOME, PEER)})


def rule(key: RuleKey | None = None, plain_traffic: Traffic | None = None) -> Rule:
    return Rule(DB, "sgr-1", key, "accept", 1, unmanaged_traffic=plain_traffic)


def instance(name: str, vpc: str, ip: str, *groups: str, account: str = HOME) -> Instance:
    return Instance(Party(account, name), vpc, groups, ip)


def snapshot(*instances: Instance) -> Snapshot:
    return Snapshot(instances={instance.party: instance for instance in instances}, groups={DB: Group(DB, "vpc-a")})


def linked(snapshot: Snapshot, rule: Rule) -> Link:
    return link_of_rule(snapshot, POLICY, rule)


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        (Traffic("ingress", "", "", TCP), "a prefix list"),
        (Traffic("ingress", "10.0.0.1/32", "", None), "a port list"),
    ],
)
def test_what_names_no_party_or_no_ports_is_no_link(traffic: Traffic, message: str) -> None:
    with pytest.raises(NotAdoptable, match=message):
        linked(snapshot(), rule(plain_traffic=traffic))


def test_an_address_means_the_instance_in_the_groups_own_vpc() -> None:
    """Where addresses are unique. The same address elsewhere is another instance."""
    near, far = instance("i-a", "vpc-a", "10.0.0.1"), instance("i-b", "vpc-b", "10.0.0.1", account=PEER)
    db = instance("i-db", "vpc-a", "10.0.0.9", "sg-db")
    key = RuleKey(DB, "10.0.0.1/32", "10.0.0.9/32", TCP)
    assert linked(snapshot(near, far, db), rule(key)) == Link(near.party, db.party, (TCP,))
    assert linked(snapshot(far, db), rule(key)) == Link(far.party, db.party, (TCP,))


def test_an_address_of_several_instances_elsewhere_means_none() -> None:
    """Nothing tells which is meant."""
    two = [instance(name, f"vpc-{name}", "10.0.0.1") for name in ("i-a", "i-b")]
    with pytest.raises(NotAdoptable, match="several instances have: i-a@1000000000000001, i-b@1000000000000001"):
        linked(snapshot(*two), rule(RuleKey(DB, "10.0.0.1/32", "10.0.0.9/32", TCP)))


def test_the_destination_is_a_member_of_the_group() -> None:
    """An instance that has the address and is not in the group does not receive by its rules."""
    source, other_instance = instance("i-a", "vpc-a", "10.0.0.1"), instance("i-x", "vpc-a", "10.0.0.9", "sg-x")
    with pytest.raises(NotAdoptable, match=r"10\.0\.0\.9/32"):
        linked(snapshot(source, other_instance), rule(RuleKey(DB, "10.0.0.1/32", "10.0.0.9/32", TCP)))


def test_everything_between_two_instances_is_a_mutual_link() -> None:
    source, target = instance("i-a", "vpc-a", "10.0.0.1"), instance("i-b", "vpc-a", "10.0.0.9", "sg-db")
    key = RuleKey(DB, "10.0.0.1/32", "10.0.0.9/32", ALL)
    assert linked(snapshot(source, target), rule(key)) == Link(source.party, target.party)


K1 = key(DB, APP, "tcp/1")
PERSONS = [theirs(K1, priority=priority) for priority in (1, 2)]
OURS = ours(K1)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("rules", "deleted", "remaining"),
    [
        (PERSONS, PERSONS[1], PERSONS[0]),
        ([PERSONS[0], OURS], PERSONS[0], OURS),  # the link stands without it
    ],
)
def test_of_two_equal_rules_the_one_that_is_adopted_or_ours_remains(
    rules: list[Rule], deleted: Rule, remaining: Rule, order: int
) -> None:
    """In whichever order they are shown. The first of `rules` is the one that is to be adopted."""
    snapshot = view([group(APP), group(DB, "*")], rules=rules[::order])
    with pytest.raises(NotAdoptable) as refused:
        judge(snapshot, POLICY, REGION, rules[0], Link(APP, DB, (TCP,)), Claim("adopt-1"), NOW)
    assert str(refused.value).startswith(f"{deleted.id} and {remaining.id} on {DB} are the same rule")
    assert str(refused.value).endswith(f" --SecurityGroupRuleId.1 {deleted.id}")


@pytest.mark.parametrize(
    ("priority", "drop", "is_adoptable"),
    [
        (10, ("ingress", 11, TCP), False),
        (10, ("ingress", 10, TCP), True),  # it comes first already
        (10, ("ingress", 11, Port("tcp", 2, 2)), True),
        (10, ("ingress", 11, ALL), False),
        (10, ("ingress", 11, None), False),  # a port list, which may name any
        (10, ("egress", 11, TCP), True),
        (99, ("ingress", 100, TCP), False),
        (100, ("ingress", 101, TCP), True),  # it keeps its priority
    ],
)
def test_a_rule_is_adopted_where_no_drop_would_come_before_it_by_that(
    priority: int, drop: tuple[str, int, Port | None], is_adoptable: bool
) -> None:
    """Adoption gives it the priority of rules of link-peer, 100."""
    direction, drop_priority, port = drop
    traffic = Traffic(direction, "10.0.0.0/8", "", port)
    persons_rule = theirs(K1, priority=priority)
    rules = [persons_rule, Rule(DB, "sgr-drop", None, "drop", drop_priority, unmanaged_traffic=traffic)]
    refusal = pytest.raises(NotAdoptable, match=r"sgr-drop .* would then come first")
    with contextlib.nullcontext() if is_adoptable else refusal:
        judge(
            view([group(APP), group(DB, "*")], rules=rules),
            *(POLICY, REGION, persons_rule, Link(APP, DB, (TCP,)), Claim("adopt-1"), NOW),
        )


def test_a_rule_that_is_one_end_of_a_link_is_adopted_where_the_other_end_is_open() -> None:
    """An advanced group lets nothing out without a rule, and a person's is enough. Consent is not what lacks."""
    source, target = instance("i-a", "vpc-a", "10.0.0.1", "sg-app"), instance("i-b", "vpc-a", "10.0.0.9", "sg-db")
    groups = [group(APP, vpc="vpc-a", advanced=True), group(DB, vpc="vpc-a")]
    ingress = theirs(RuleKey(DB, "10.0.0.1/32", "10.0.0.9/32", TCP))
    egress = theirs(RuleKey(APP, "", "10.0.0.9/32", TCP))
    arguments = (POLICY, REGION, ingress, Link(source.party, target.party, (TCP,)), Claim("adopt-1"), NOW)
    adoption = judge(view(groups, [source, target], [ingress, egress]), *arguments)
    assert isinstance(adoption, Adoption)
    assert [mark.rule for mark in adoption.marks] == [ingress]
    assert [(party, edit.put) for party, edit in adoption.consent] == [(DB, {"link-accept": "i-a:tcp/1"})]
    message = f"is one end of the link, and {APP}, an advanced group, lets nothing out to 10.0.0.9"
    with pytest.raises(NotAdoptable, match=message):
        judge(view(groups, [source, target], [ingress]), *arguments)


def test_only_the_rules_of_a_person_are_due_to_change() -> None:
    """Where the other direction of a mutual link is a rule of ours already."""
    persons_rule, drop = (theirs(key(DB, APP), act=act, priority=100) for act in ("accept", "drop"))
    snapshot = view([group(APP, "*"), group(DB, "*")], rules=[persons_rule, drop, ours(key(APP, DB))])
    adoption = judge(snapshot, POLICY, REGION, persons_rule, Link(APP, DB), Claim("adopt-1"), NOW)
    assert isinstance(adoption, Adoption)
    assert (len(adoption.marks), [mark.rule for mark in adoption.due]) == (2, [persons_rule])
