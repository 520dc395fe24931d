"""Links between groups that no rule can name: one rule for the address of each instance of the source."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun_local.api import Group, Instance, Killed

from tests.functional.lab import HOME, MANAGED, PEER, Lab, deaths

Make = Callable[..., tuple[Group, Group]]
SWEPT = pytest.mark.usefixtures("by_account")


def two_vpcs(lab: Lab, account: str = PEER, *accepts: str) -> tuple[Group, Group]:
    """A group of home, and one of the account in another VPC, which accepts it."""
    lab.policy_account(HOME, ranges=["10.0.0.0/16"])
    lab.policy_account(PEER, ranges=["10.1.0.0/16"])
    app = lab.group(vpc=lab.a)
    return app, lab.group(*(accepts or [f"{app.id}@{HOME}"]), account=account, vpc=lab.b if account == PEER else "")


def advanced(lab: Lab) -> tuple[Group, Group]:
    """Two advanced groups of one VPC of home, each of which consents to the other; the target has an instance."""
    app = lab.group(type="enterprise")
    db = lab.group(app.id, type="enterprise")
    lab.tag(app, link_egress=db.id)
    lab.instance(db)
    return app, db


def admitted(*instances: Instance, port: str = "tcp/1") -> list[str]:
    return sorted(f"{instance.private_ip}/32> {port}" for instance in instances)


def tagged(lab: Lab, app: Group, db: Group, ports: str = ":tcp/1", **fields: str) -> Instance:
    suffix = "" if db.account == HOME else f"@{db.account}"
    return lab.instance(app, tags={"link-peer": f"{db.id}{suffix}{ports}"}, **fields)


@pytest.mark.parametrize(
    "make", [two_vpcs, advanced, lambda lab: two_vpcs(lab, HOME)], ids=["accounts", "advanced", "home"]
)
@pytest.mark.parametrize("by", ["events", "sweep"])
@pytest.mark.knobs(request_tags=True)
def test_a_tag_admits_the_instances_that_carry_it(lab: Lab, make: Make, by: str) -> None:
    """Each by its own address; another instance of the group is not admitted. When a tag goes, its rule goes."""
    app, db = make(lab)
    first, two, _plain = tagged(lab, app, db), tagged(lab, app, db), lab.instance(app)

    def settle(*instances: Instance) -> None:
        if by == "sweep":
            lab.sweep()
        else:
            for instance in instances:
                lab.auto_link(lab.tag_event(instance))
            lab.drain()

    settle(first, two)
    assert sorted(lab.rules(db)) == admitted(first, two)
    assert lab.reasons(db) == ["tag", "tag"]
    assert {MANAGED, f"{MANAGED}.instances"} <= lab.tags(db).keys()
    assert all(
        f"from={first.id}" in rule["Description"] or f"from={two.id}" in rule["Description"]
        for rule in lab.raw_rules(db)
    )
    assert f" of={app.id}" in lab.raw_rules(db)[0]["Description"]
    lab.tag(first, link_peer=None)
    settle(first)
    if db.account == PEER and by == "events":
        lab.sweep()  # nothing at home shows where the rule is
    assert sorted(lab.rules(db)) == admitted(two)


@SWEPT
def test_a_request_admits_the_instances_of_its_source_and_follows_them(lab: Lab) -> None:
    """One that joins gets its rule with the sweep, one that leaves loses it, and one whose address changed gets the new
    one."""
    app, db = two_vpcs(lab)
    first, two = lab.instance(app), lab.instance(app)
    assert lab.cross_account(lab.request(app, db, "tcp/1", until="2026-12-20T00:00:00Z")) == {"applied": 1}
    assert sorted(lab.rules(db)) == admitted(first, two)
    assert lab.outcome()["instances"] == "2"
    three = lab.instance(app)
    lab.sweep()
    assert sorted(lab.rules(db)) == admitted(first, two, three)
    assert set(lab.reasons(db)) == {"req:chg-1~20261220T000000Z"}
    lab.release(first)
    lab.sweep()
    assert sorted(lab.rules(db)) == admitted(two, three)
    assert lab.cross_account(lab.request(app, db, action="unlink", request_id="chg-2")) == {"removed": 1}
    assert lab.rules(db) == []
    lab.sweep()
    assert lab.rules(db) == []


@SWEPT
def test_nobody_joins_a_request_beyond_a_hundred_rules(lab: Lab) -> None:
    """Its instances by its ports. Another request for fewer ports has room; one that leaves makes room for the next."""
    app, db = two_vpcs(lab)
    first, *_ = (lab.instance(app) for _ in range(10))
    ports = [f"tcp/{port}" for port in range(1, 11)]
    for number, asked_ports in enumerate((ports, ["tcp/1"])):
        assert lab.cross_account(lab.request(app, db, *asked_ports, request_id=f"chg-{number}")) == {"applied": 1}
    late = lab.instance(app)
    lab.sweep()
    assert (len(lab.rules(db)), lab.reasons(db).count("req:chg-1")) == (101, 1)
    lab.release(first)
    lab.sweep()
    assert len(lab.rules(db)) == 100
    assert set(admitted(late, port="tcp/10")) <= {*lab.rules(db)}


@pytest.mark.knobs(request_tags=True)
def test_an_instance_that_starts_joins_a_link_that_stands_at_home(lab: Lab) -> None:
    app, db = advanced(lab)
    instance = lab.instance(app)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    two = lab.started(app)
    assert sorted(lab.rules(db)) == admitted(instance, two)
    lab.release(two)
    lab.auto_link(lab.event(two, "Deleted"))
    assert sorted(lab.rules(db)) == admitted(instance)


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("place", ["two advanced groups", "two VPCs"])
@pytest.mark.parametrize("claim", ["request", "tag"])
def test_an_instance_that_a_deleted_event_names_loses_its_rule_at_once(lab: Lab, place: str, claim: str) -> None:
    """Whatever the guard holds: the first instance of the link, and the last."""
    lab.policy(limits={"removals_per_run": 0})
    app, db = advanced(lab) if place == "two advanced groups" else two_vpcs(lab, account=HOME)
    lab.instance(lab.group(vpc=lab.a))  # home shows instances
    tags = {"link-peer": f"{db.id}:tcp/1"} if claim == "tag" else {}
    members = [lab.instance(app, tags=tags) for _ in range(2)]
    if claim == "request":
        lab.cross_account(lab.request(app, db, "tcp/1"))
    else:
        lab.auto_link(*map(lab.event, members))
    assert sorted(lab.rules(db)) == admitted(*members)
    for member in members:
        lab.release(member)
        members = [running for running in members if running is not member]
        lab.auto_link(lab.event(member, "Deleted"))
        assert sorted(lab.rules(db)) == admitted(*members)


def test_nothing_is_opened_for_an_ended_request(lab: Lab) -> None:
    """The last instance takes the link with it: one that comes later opens nothing."""
    app, db = two_vpcs(lab)
    last = lab.instance(app)
    lab.instance(lab.group(vpc=lab.a))  # home shows instances
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.release(last)
    lab.sweep()
    assert lab.rules(db) == []
    lab.instance(app)
    lab.sweep()
    assert lab.rules(db) == []


@pytest.mark.parametrize(("accept", "admits"), [("{app}", 2), ("*", 2), ("{one}", 1), ("i-none", 0)])
def test_consent_is_that_of_the_group_or_of_the_very_instance(lab: Lab, accept: str, admits: int) -> None:
    """An instance without consent is left out alone, and the record names it."""
    app, db = two_vpcs(lab)
    first, two = lab.instance(app), lab.instance(app)
    lab.tag(db, link_accept=f"{accept.format(app=app.id, one=first.id)}@{HOME}")
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == ({"applied": 1} if admits else {"denied": 1})
    assert sorted(lab.rules(db)) == admitted(*(first, two)[:admits])
    assert (two.id in lab.outcome()["detail"]) == (admits == 1)
    if not admits:
        assert lab.outcome()["reason"] == "no-consent"
        assert f"{app.id}@{HOME}" in lab.outcome()["advice"]


@SWEPT
def test_requests_of_two_groups_of_an_instance_do_not_share_its_rule(lab: Lab) -> None:
    """The second is left out for it, and the record says so, until the first has ended; nobody follows the wrong
    one."""
    app, db = advanced(lab)
    other_group = lab.group(type="enterprise")
    lab.tag(db, link_accept=f"{app.id} {other_group.id}")
    lab.tag(other_group, link_egress=db.id)
    shared_instance, alone = lab.instance(app, other_group), lab.instance(other_group)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    second = lab.request(other_group, db, "tcp/1", request_id="chg-2")
    assert lab.cross_account(second) == {"applied": 1}
    assert shared_instance.id in lab.outcome()["detail"]
    lab.instance(app)
    lab.sweep()
    assert sorted(lab.reasons(db)) == ["req:chg-1", "req:chg-1", "req:chg-2"]
    lab.cross_account(lab.request(app, db, action="unlink", request_id="chg-3"))
    lab.sweep()
    assert sorted(lab.rules(db)) == admitted(shared_instance, alone)
    assert lab.reasons(db) == ["req:chg-2", "req:chg-2"]


def test_a_lock_and_a_withdrawal_close_at_the_event(lab: Lab) -> None:
    app, db = advanced(lab)
    lab.instance(app)
    for tags in ({"link_lock": "x"}, {"link_accept": None}):
        lab.tag(db, link_lock=None, link_accept=app.id)
        lab.cross_account(lab.request(app, db, "tcp/1"))
        assert len(lab.rules(db)) == 1
        lab.tag(db, **tags)
        lab.auto_link(lab.group_event(db))
        assert lab.rules(db) == []


def test_an_instance_that_never_bars_is_left_out_alone(lab: Lab) -> None:
    """By another group of it; a rule that stands for it goes at the sweep, and the others stay."""
    app, db = advanced(lab)
    dev = lab.group(type="enterprise", tags={"env": "dev"})
    lab.tag(app, env="prod")
    first, two = lab.instance(app), lab.instance(app, dev)
    link = lab.request(app, db, "tcp/1")
    assert lab.cross_account(link) == {"applied": 1}
    assert sorted(lab.rules(db)) == admitted(first, two)
    sets = {"dev": {"account": HOME, "tags": {"env": "dev"}}}
    lab.policy(sets=sets, never=[{"from": "set:dev", "to": f"{db.id}@{HOME}"}], limits={"removals_per_run": 0})
    lab.sweep()
    assert lab.rules(db) == admitted(first)
    assert lab.records(outcome="removed")[0]["reason"] == "not-allowed"
    lab.cross_account(link)
    assert (lab.rules(db), two.id in lab.outcome()["detail"]) == (admitted(first), True)


@SWEPT
@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize("change", ["joins", "leaves", "address"])
@pytest.mark.knobs(request_tags=True)
def test_a_request_follows_moves_and_addresses(lab: Lab, change: str, by: str) -> None:
    """What joins gets its rule, what leaves loses it, and a new address takes the place of the old one."""
    app, db = advanced(lab)
    other_group = lab.group(type="enterprise")
    stays, moves = lab.instance(app), lab.instance(app if change != "joins" else other_group)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    if change == "address":
        lab.call(HOME, "StopInstance", {"InstanceId": moves.id})
        params = {"VSwitchId": moves.vswitch_id, "PrivateIpAddress": "10.2.0.200"}
        action = "ModifyInstanceVpcAttribute"
    else:
        action, params = (
            "ModifyInstanceAttribute",
            {"SecurityGroupIds.1": (app if change == "joins" else other_group).id},
        )
    if by == "event":
        lab.call_and_deliver(moves, action, **params)
    else:
        lab.call(HOME, action, {"InstanceId": moves.id, **params})
        lab.sweep()
    assert sorted(lab.rules(db)) == admitted(stays, *([moves] if change != "leaves" else []))
    assert set(lab.reasons(db)) == {"req:chg-1"}


@SWEPT
def test_the_only_instance_of_a_link_may_change(lab: Lab) -> None:
    """Its link goes on: the rule that stood is the one that the delivery itself took away."""
    app, db = two_vpcs(lab)
    instance = lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    instance.private_ip = "10.0.0.99"
    lab.sweep()
    assert lab.rules(db) == ["10.0.0.99/32> tcp/1"]
    other_group = lab.group(vpc=lab.a)
    lab.call(HOME, "ModifyInstanceAttribute", {"InstanceId": instance.id, "SecurityGroupIds.1": other_group.id})
    two = lab.instance(app)
    lab.sweep()
    assert lab.rules(db) == admitted(two)


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("by", ["request", "event", "sweep"])
@pytest.mark.parametrize("port", ["tcp/1", ""])
@pytest.mark.parametrize("moves", ["source", "target"])
def test_a_rule_for_a_former_address_is_written_anew_with_the_same_claims(
    lab: Lab, by: str, port: str, moves: str
) -> None:
    """The new one is written first: the claims of requests are nowhere else."""
    app_group, db_group = lab.group("*"), lab.group("*")
    app, db = lab.instance(app_group), lab.instance(db_group)
    ports = [port] if port else []
    for number in (1, 2):
        lab.cross_account(lab.request(app, db, *ports, request_id=f"chg-{number}"))
    moved = app if moves == "source" else db
    former, moved.private_ip = moved.private_ip, "10.2.0.99"
    lab.forget()
    first = lab.calls()
    if by == "request":
        assert lab.cross_account(lab.request(app, db, *ports, request_id="chg-1")) == {"applied": 1, "removed": 1}
    elif by == "event":
        lab.auto_link(lab.event(moved))
    else:
        lab.sweep()
    expected = [f"{app.private_ip}/32>{db.private_ip}/32 {port or 'all'}"]
    assert (lab.rules(db_group), lab.reasons(db_group)) == (expected, ["req:chg-1,req:chg-2"])
    assert len(lab.rules(app_group)) == (0 if port else 1)
    assert not any(former in rule for group in (app_group, db_group) for rule in lab.rules(group))
    changes = changes_of(lab, first)
    assert changes == sorted(changes)
    assert {record["outcome"] for record in lab.records("outcome")} == {"applied", "removed"}


def moved_pair(lab: Lab) -> tuple[Instance, Instance, Group]:
    """Two instances that two requests have linked, and the target's group. The source has had another address since."""
    app, db_group = lab.instance(lab.group(), private_ip="10.2.0.10"), lab.group("*")
    db = lab.instance(db_group)
    for number in (1, 2):
        lab.cross_account(lab.request(app, db, "tcp/1", request_id=f"chg-{number}"))
    app.private_ip = "10.2.0.99"
    lab.forget()
    return app, db, db_group


def changes_of(lab: Lab, first: int) -> list[str]:
    """The calls since the first that change rules."""
    actions = [call.action for call in list(lab.cloud.faults.calls)[first:]]
    return [action for action in actions if action in ("AuthorizeSecurityGroup", "RevokeSecurityGroup")]


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("by", ["request", "sweep"])
def test_a_delivery_that_dies_while_an_address_changes_loses_no_claim(make_lab: Callable[[], Lab], by: str) -> None:
    """Wherever it dies, the next one ends as it would have."""

    def deliver(lab: Lab, app: Instance, db: Instance) -> None:
        if by == "request":
            lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1"))
        else:
            lab.sweep()

    lab = make_lab()
    app, db, _ = moved_pair(lab)
    first = lab.calls()
    deliver(lab, app, db)
    for death in deaths(list(lab.cloud.faults.calls)[first:]):
        lab = make_lab()
        app, db, db_group = moved_pair(lab)
        lab.fault(**death)
        with pytest.raises(Killed):
            deliver(lab, app, db)
        lab.forget()
        deliver(lab, app, db)
        rules = [f"10.2.0.99/32>{db.private_ip}/32 tcp/1"]
        assert (death, lab.rules(db_group), lab.reasons(db_group)) == (death, rules, ["req:chg-1,req:chg-2"])


def moved_member(lab: Lab) -> tuple[Instance, list[Group]]:
    """An instance whose group two requests have linked to two groups. It has had another address since."""
    app = lab.group(type="enterprise")
    lab.tag(app, link_egress="*")
    targets = [lab.group(app.id, type="enterprise") for _ in range(2)]
    member = lab.instance(app, private_ip="10.2.0.10")
    for number, target in enumerate(targets):
        lab.instance(target)
        assert lab.cross_account(lab.request(app, target, "tcp/1", request_id=f"chg-{number}")) == {"applied": 1}
    member.private_ip = "10.2.0.99"
    lab.forget()
    return member, targets


def test_a_sweep_that_dies_while_an_address_changes_loses_neither_link_of_a_member(make_lab: Callable[[], Lab]) -> None:
    """Each rule for the former address is removed after the new one of the same link is written, not of another
    link."""
    lab = make_lab()
    moved_member(lab)
    first = lab.calls()
    lab.sweep()
    for death in deaths(list(lab.cloud.faults.calls)[first:]):
        lab = make_lab()
        member, targets = moved_member(lab)
        lab.fault(**death)
        with pytest.raises(Killed):
            lab.sweep()
        lab.forget()
        lab.sweep()
        assert (death, *map(lab.rules, targets)) == (death, admitted(member), admitted(member))


@pytest.mark.knobs(request_tags=True)
def test_a_former_address_that_another_instance_has_is_closed_first(lab: Lab) -> None:
    _, db, db_group = moved_pair(lab)
    stranger = lab.instance(lab.group(), tags={"link-peer": f"{lab.group().id}:tcp/1"})
    stranger.private_ip = "10.2.0.10"
    first = lab.calls()
    lab.sweep()
    assert changes_of(lab, first) == ["RevokeSecurityGroup", "AuthorizeSecurityGroup"]
    assert lab.rules(db_group) == [f"10.2.0.99/32>{db.private_ip}/32 tcp/1"]


@pytest.mark.knobs(request_tags=True, rules_per_group=200)
def test_a_former_address_makes_room_in_a_full_group(lab: Lab) -> None:
    """Which ECS says when the new rule is written."""
    app, db, db_group = moved_pair(lab)
    lab.crowded(db_group, 199)
    first = lab.calls()
    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1")) == {"applied": 1, "removed": 1}
    assert changes_of(lab, first) == ["AuthorizeSecurityGroup", "RevokeSecurityGroup", "AuthorizeSecurityGroup"]
    assert lab.reasons(db_group) == ["req:chg-1,req:chg-2"]


def test_a_request_that_comes_again_leaves_no_rule_for_a_former_address_of_a_member(lab: Lab) -> None:
    app, db = advanced(lab)
    member = lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    member.private_ip = "10.2.0.99"
    lab.cross_account(lab.request(app, db, "tcp/1"))
    assert lab.rules(db) == admitted(member)
