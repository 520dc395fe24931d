"""Links from advanced groups, which let nothing out by default: rules at both ends, or at neither."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from aliyun_local.api import Group, Instance, Killed, may_reach
from link_peer.alicloud import ecs_shapes
from link_peer.domain.denials import parts
from link_peer.domain.model import Link, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Verdict
from link_peer.planning.verdict import single_link

from tests.functional.lab import HOME, PEER, Lab

ADVANCED = {"type": "enterprise"}


class Ends:
    """A source group with two instances and a target group with two, which consent to each other."""

    def __init__(self, lab: Lab, source: bool = True, target: bool = True, where: str = "same vpc") -> None:
        self.lab = lab
        lab.policy_account(HOME, ranges=["10.0.0.0/16", "10.2.0.0/16"])
        lab.policy_account(PEER, ranges=["10.1.0.0/16"])
        account = PEER if where == "other account" else HOME
        far = {"same vpc": lab.shared, "other vpc": lab.shared, "other account": lab.b}[where]
        near = lab.shared if where == "same vpc" else lab.a
        self.app = lab.group(vpc=near, **(ADVANCED if source else {}))
        self.db = lab.group(account=account, vpc=far, **(ADVANCED if target else {}))
        self.consent()
        self.senders = [lab.instance(self.app) for _ in range(2)]
        self.targets = [lab.instance(self.db) for _ in range(2)]
        lab.cloud.ecs.peerings.add(frozenset({near, far}))

    def consent(self, *, ingress: bool = True, egress: bool = True) -> None:
        self.lab.tag(self.db, link_accept=f"{self.app.id}@{self.app.account}" if ingress else None)
        self.lab.tag(self.app, link_egress=f"{self.db.id}@{self.db.account}" if egress else None)

    def passing(self, port: int = 1) -> list[tuple[int, int]]:
        """The pairs of instances between which packets pass, by their numbers."""
        return [
            (n, m)
            for n, sender in enumerate(self.senders)
            for m, target in enumerate(self.targets)
            if self.passes(sender, target, port)
        ]

    def passes(self, sender: Instance, target: Instance, port: int = 1) -> bool:
        ids = (sender.account, sender.id, target.account, target.id)
        return may_reach(self.lab.cloud.ecs, *ids, "tcp", port).ok

    def link(self, **fields: str) -> dict[str, int]:
        return self.lab.cross_account(self.lab.request(self.app, self.db, "tcp/1", **fields))

    def tag(self, *senders: Instance) -> None:
        """The instances ask by tag."""
        for sender in senders or self.senders:
            self.lab.tag(sender, link_peer=f"{self.db.id}@{self.db.account}:tcp/1")
            self.lab.auto_link(self.lab.tag_event(sender))
        self.lab.drain()

    @property
    def rules(self) -> tuple[list[str], list[str]]:
        """What the source's group lets out to, and whom the target's admits."""
        return egress(self.lab, self.app), self.lab.rules(self.db)

    def are_open(self) -> bool:
        return (len(self.rules[0]), len(self.rules[1])) == (2, 2)


ALL = [(0, 0), (0, 1), (1, 0), (1, 1)]
SWEPT = pytest.mark.usefixtures("by_account")


def egress(lab: Lab, group: Group) -> list[str]:
    """The egress rules of a group, as `10.0.0.1/32 tcp 1/1 <claims>`, sorted."""
    rules = lab.raw_rules(group, "egress")
    claims = [rule["Description"].partition(" by=")[2].split(" ")[0] for rule in rules]
    return sorted(
        f"{rule['DestCidrIp'].partition('/')[0]}/32 {rule['IpProtocol'].lower()} {rule['PortRange']} {claim}"
        for rule, claim in zip(rules, claims, strict=True)
    )


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("where", ["same vpc", "other vpc", "other account"])
@pytest.mark.parametrize("of", ["groups", "instances"])
@pytest.mark.parametrize("target", [False, True], ids=["to basic", "to advanced"])
@pytest.mark.parametrize("source", [False, True], ids=["from basic", "from advanced"])
def test_a_link_that_is_applied_lets_packets_through(lab: Lab, source: bool, target: bool, of: str, where: str) -> None:
    """From an advanced group also by egress rules there; from a basic one there are none. The unlink takes both
    ends."""
    ends = Ends(lab, source, target, where)
    parties = (ends.app, ends.db) if of == "groups" else (ends.senders[0], ends.targets[0])
    assert lab.cross_account(lab.request(*parties, "tcp/1")) == {"applied": 1}
    assert lab.outcome()["effect"] == "passes"
    assert ends.passing() == (ALL if of == "groups" else [(0, 0)])
    assert ends.passing(2) == []
    assert len(ends.rules[0]) == (source and len({target for _, target in ends.passing()}))
    assert lab.cross_account(lab.request(*parties, "tcp/1")) == {"applied": 1}
    unlink = lab.request(*parties, action="unlink", request_id="chg-2")
    assert lab.cross_account(unlink)["removed"] >= 1
    assert ends.rules == ([], [])


@SWEPT
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("by", ["events", "sweep"])
@pytest.mark.parametrize("where", ["same vpc", "other vpc", "other account"])
def test_a_tag_opens_both_ends_and_closes_them(lab: Lab, where: str, by: str) -> None:
    """The last instance that asks takes the egress rules with it; one before it leaves them."""
    ends = Ends(lab, where=where)

    def settle(*senders: Instance) -> None:
        if by == "sweep":
            lab.sweep()
        else:
            for sender in senders:
                lab.auto_link(lab.tag_event(sender))
            lab.drain()
        lab.sweep() if where == "other account" else None

    for sender in ends.senders:
        lab.tag(sender, link_peer=f"{ends.db.id}@{ends.db.account}:tcp/1")
    settle(*ends.senders)
    assert ends.passing() == ALL
    lab.tag(ends.senders[0], link_peer=None)
    settle(ends.senders[0])
    assert ends.passing() == [(1, 0), (1, 1)]
    assert len(ends.rules[0]) == 2
    lab.tag(ends.senders[1], link_peer=None)
    settle(ends.senders[1])
    assert ends.rules == ([], [])


@pytest.mark.parametrize("of", ["groups", "instances"])
def test_a_tag_that_is_removed_closes_a_link_to_another_account_at_its_event(lab: Lab, of: str) -> None:
    """The egress rule on the instance's own group tells of the link. On a basic group nothing does: the sweep closes
    it."""
    ends = Ends(lab, where="other account")
    target = ends.db if of == "groups" else ends.targets[0]
    for sender, tag in [(ends.senders[0], f"{target.id}@{PEER}:tcp/1"), (ends.senders[0], None)]:
        lab.tag(sender, link_peer=tag)
        lab.auto_link(lab.tag_event(sender))
        lab.drain()
        assert [bool(rules) for rules in ends.rules] == [bool(tag)] * 2


def test_a_start_looks_at_no_link_between_instances_of_others(lab: Lab) -> None:
    """Though its group has the egress rules of such links."""
    ends = Ends(lab, where="other account")
    lab.tag(ends.senders[0], link_peer=f"{ends.targets[0].id}@{PEER}:tcp/1")
    lab.auto_link(lab.tag_event(ends.senders[0]))
    lab.drain()
    lab.auto_link(lab.event(ends.senders[1]))
    assert lab.queued() == []


@pytest.mark.parametrize(("ingress", "outwards"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("of", ["groups", "instances"])
def test_without_consent_at_either_end_nothing_is_opened(lab: Lab, of: str, ingress: bool, outwards: bool) -> None:
    """One denial names the ends that are missing, and the commands by which their owners consent."""
    ends = Ends(lab)
    ends.consent(ingress=ingress, egress=outwards)
    parties = (ends.app, ends.db) if of == "groups" else (ends.senders[0], ends.targets[0])
    assert lab.cross_account(lab.request(*parties, "tcp/1")) == {"denied": 1}
    record = lab.outcome()
    _, commands = parts(record["advice"])
    assert record["reason"] == "no-consent"
    assert (f"{ends.db.id}@{HOME} has not accepted" in record["detail"]) is not ingress
    assert (f"{ends.app.id}@{HOME} has not consented to reach" in record["detail"]) is not outwards
    assert (f"link-peer accept {ends.app.id}" in commands, "--egress" in commands) == (not outwards, not outwards)
    assert ends.rules == ([], [])


def test_an_allow_entry_consents_at_both_ends(lab: Lab) -> None:
    ends = Ends(lab)
    ends.consent(ingress=False, egress=False)
    lab.policy(allow=[{"from": f"{ends.app.id}@{HOME}", "to": f"{ends.db.id}@{HOME}", "ports": ["tcp/1"]}])
    assert ends.link() == {"applied": 1}
    assert ends.passing() == ALL


def test_a_target_without_consent_of_its_own_is_left_out(lab: Lab) -> None:
    """Where consent to reach names instances. The record names the other one."""
    ends = Ends(lab)
    lab.tag(ends.app, link_egress=ends.targets[0].id)
    assert ends.link() == {"applied": 1}
    assert ends.passing() == [(0, 0), (1, 0)]
    assert ends.targets[1].id in lab.outcome()["detail"]


@pytest.mark.parametrize("dest", ["0.0.0.0/0", "10.0.0.0/8"])
def test_what_a_person_lets_out_needs_no_egress_rule_and_no_consent(lab: Lab, dest: str) -> None:
    ends = Ends(lab)
    ends.consent(egress=False)
    lets_out(ends, DestCidrIp=dest)
    assert ends.link() == {"applied": 1}
    assert ends.passing() == ALL
    assert len(ends.rules[0]) == 1


@SWEPT
@pytest.mark.parametrize("claim", ["request", "tag"])
def test_a_person_may_let_out_by_another_group_of_the_instance(lab: Lab, claim: str) -> None:
    """All of its groups decide about packets. Once that rule is removed, a request's link is half-open."""
    ends = Ends(lab)
    ends.consent(egress=False)
    bastion, group = lab.group(**ADVANCED), ends.app
    for sender in ends.senders:
        lab.call(HOME, "JoinSecurityGroup", {"InstanceId": sender.id, "SecurityGroupId": bastion.id})
    ends.app = bastion
    lets_out(ends, DestCidrIp="10.2.0.0/16")
    ends.app = group
    ends.link() if claim == "request" else ends.tag()
    assert (ends.passing(), egress(lab, ends.app)) == (ALL, [])
    lab.sweep()
    assert (ends.passing(), egress(lab, ends.app)) == (ALL, [])
    revoke_egress(lab, bastion, 1)
    lab.cloud.clock.advance(1801)
    lab.sweep()
    assert ends.rules == ([], [])


def lets_out(ends: Ends, **fields: str) -> None:
    """A person's egress rule."""
    rule_fields = {"IpProtocol": "TCP", "PortRange": "1/1", "NicType": "intranet", **fields}
    permission = {f"Permissions.1.{name}": value for name, value in rule_fields.items()}
    ends.lab.call(HOME, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": ends.app.id, **permission})


@SWEPT
def test_a_rule_of_ours_stays_beside_that_of_a_person(lab: Lab) -> None:
    """As long as it is wanted."""
    ends = Ends(lab)
    ends.link()
    lets_out(ends, DestCidrIp="0.0.0.0/0")
    lab.sweep()
    assert len(ends.rules[0]) == 3
    assert lab.cross_account(lab.request(ends.app, ends.db, action="unlink", request_id="chg-2")) == {"removed": 1}
    assert len(ends.rules[0]) == 1


@SWEPT
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize("asking", ["request", "tag"])
@pytest.mark.parametrize("change", ["joins", "leaves", "address", "released"])
def test_egress_follows_the_instances_of_the_target(lab: Lab, change: str, asking: str, by: str) -> None:
    """At their events, and at the sweep."""
    ends = Ends(lab)
    other_group = lab.group(**ADVANCED)
    moves = lab.instance(other_group if change == "joins" else ends.db)
    ends.link() if asking == "request" else ends.tag()
    before = f"{moves.private_ip}/32 tcp 1/1"
    assert any(rule.startswith(before) for rule in ends.rules[0]) is (change != "joins")
    group, fields = {"joins": ends.db, "leaves": other_group}.get(change), {}
    if group:
        fields = {"SecurityGroupIds.1": group.id}
        outcomes = lab.call_and_deliver(moves, "ModifyInstanceAttribute", **fields) if by == "event" else None
        if by == "sweep":
            lab.call(HOME, "ModifyInstanceAttribute", {"InstanceId": moves.id, **fields})
        assert outcomes is None or outcomes
    elif change == "address":
        moves.private_ip = "10.2.0.99"
        lab.auto_link(lab.event(moves)) if by == "event" else None
    else:
        lab.release(moves)
        lab.auto_link(lab.event(moves, "Deleted")) if by == "event" else None
    lab.sweep() if by == "sweep" else lab.drain()
    after = f"{moves.private_ip}/32 tcp 1/1"
    assert any(rule.startswith(after) for rule in ends.rules[0]) is (change in ("joins", "address"))
    assert len(ends.rules[0]) == {"joins": 3, "address": 3}.get(change, 2)
    assert ends.passing() == ALL


@SWEPT
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("asking", ["request", "tag"])
@pytest.mark.parametrize("cause", ["accept", "egress", "lock target", "lock source"])
@pytest.mark.parametrize("by", ["event", "sweep"])
def test_what_one_end_no_longer_allows_closes_both(lab: Lab, asking: str, cause: str, by: str) -> None:
    ends = Ends(lab)
    ends.link() if asking == "request" else ends.tag()
    assert ends.are_open()
    group = ends.db if cause in ("accept", "lock target") else ends.app
    key = {"accept": "link_accept", "egress": "link_egress"}.get(cause, "link_lock")
    lab.tag(group, **{key: "" if "lock" in cause else None})
    if by == "event":
        lab.auto_link(lab.group_event(group))
        lab.drain()
    else:
        lab.sweep()
    assert ends.rules == ([], [])


@SWEPT
@pytest.mark.parametrize("port", ["1/1", "443/443"], ids=["the port", "another port"])
def test_a_lock_closes_both_ends_whatever_a_person_lets_out_elsewhere(lab: Lab, port: str) -> None:
    """While the instances of the target cannot be read, the egress rules are gone, so that nothing passes."""
    ends = Ends(lab, where="other account")
    ends.tag()
    lets_out(ends, PortRange=port, DestCidrIp="203.0.113.0/24")
    lab.tag(ends.app, link_lock="")
    lab.fault(service="ecs", action="DescribeInstances", account=ends.db.account, times=None, kind="throttle")
    lab.sweep()
    assert (len(lab.raw_rules(ends.app, "egress")), ends.passing()) == (1, [])
    lab.cloud.faults.clear()
    lab.sweep()
    assert lab.rules(ends.db) == []


@SWEPT
@pytest.mark.parametrize("asking", ["request", "tag"])
def test_a_half_is_completed_for_a_tag_and_removed_for_a_request(lab: Lab, asking: str) -> None:
    """Once a delivery cannot be writing it any more. Where one egress rule is left, a request's are written again
    too."""
    ends = Ends(lab)
    ends.link() if asking == "request" else ends.tag()
    revoke_egress(lab, ends.app, 1)
    lab.sweep()
    assert ends.are_open()
    revoke_egress(lab, ends.app, 2)
    lab.sweep()
    assert ends.are_open() == (asking == "tag")
    lab.cloud.clock.advance(1801)
    lab.sweep()
    assert (ends.rules == ([], [])) == (asking == "request")


def revoke_egress(lab: Lab, group: Group, count: int) -> None:
    """A person removes some egress rules."""
    rules = lab.raw_rules(group, "egress")
    for rule in rules[:count]:
        rule_ids = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
        lab.call(group.account, "RevokeSecurityGroupEgress", rule_ids)


@SWEPT
def test_egress_ends_with_the_ingress_rules_of_its_request(lab: Lab) -> None:
    """A person removes those: once no delivery can be writing them, the other end goes."""
    ends = Ends(lab)
    ends.link()
    lab.revoke(ends.db)
    lab.revoke(ends.db)
    lab.sweep()
    lab.cloud.clock.advance(1801)
    lab.sweep()
    assert ends.rules == ([], [])


@pytest.mark.parametrize("asking", ["request", "tag"])
def test_a_target_without_instances_has_no_link(lab: Lab, asking: str) -> None:
    """A request is denied; a tag waits, and its link opens once there are some."""
    ends = Ends(lab)
    for target in ends.targets:
        lab.release(target)
    if asking == "request":
        assert ends.link() == {"denied": 1}
        assert lab.outcome()["reason"] == "no-members"
    else:
        ends.tag()
    assert ends.rules == ([], [])
    ends.targets = [lab.instance(ends.db)]
    lab.sweep()
    assert (ends.passing() == [(0, 0), (1, 0)]) == (asking == "tag")


@SWEPT
@pytest.mark.parametrize("asking", ["request", "tag"])
def test_the_last_instance_of_the_target_ends_a_request_and_no_tag(lab: Lab, asking: str) -> None:
    ends = Ends(lab)
    lab.instance(lab.group())
    ends.link() if asking == "request" else ends.tag()
    for target in ends.targets:
        lab.release(target)
    lab.sweep()
    assert (len(ends.rules[0]), len(ends.rules[1])) == (0, 0 if asking == "request" else 2)


def test_two_instances_may_share_an_egress_rule(lab: Lab) -> None:
    """The request that goes takes its own claim alone, and the last one the rule."""
    ends = Ends(lab)
    for number, sender in enumerate(ends.senders):
        request = lab.request(sender, ends.targets[0], "tcp/1", request_id=f"r-{number}")
        assert lab.cross_account(request) == {"applied": 1}
    assert [rule.split(" ")[-1] for rule in ends.rules[0]] == ["req:r-0,req:r-1"]
    lab.cross_account(lab.request(ends.senders[0], ends.targets[0], action="unlink", request_id="r-2"))
    assert [rule.split(" ")[-1] for rule in ends.rules[0]] == ["req:r-1"]
    assert ends.passing() == [(1, 0)]
    lab.cross_account(lab.request(ends.senders[1], ends.targets[0], action="unlink", request_id="r-3"))
    assert ends.rules == ([], [])


@pytest.mark.parametrize("refused", ["AuthorizeSecurityGroup", "AuthorizeSecurityGroupEgress"])
def test_what_one_end_refuses_is_taken_back_at_the_other(lab: Lab, refused: str) -> None:
    ends = Ends(lab)
    lab.fault(service="ecs", action=refused, kind="error", code="AuthorizationLimitExceed", status=403, times=None)
    assert ends.link() == {"failed": 1}
    assert ends.rules == ([], [])


@pytest.mark.knobs(advanced_policy="accept")
@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_rule_that_the_cloud_writes_as_a_drop_is_removed_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, end: str, is_killed: bool
) -> None:
    """Policy is not sent for either end of such a link, so that another default would make a drop of it. A delivery
    that dies right after the write leaves the drop; the next one cannot tell it from a person's, and names it in the
    denial."""
    ends = Ends(lab)
    write = ecs_shapes.permission

    def dropping(party: Party, key: RuleKey, description: str, **kinds: bool) -> object:
        permission = write(party, key, description, **kinds)
        permission.policy = "drop" if key.is_egress == (end == "source") else None
        return permission

    monkeypatch.setattr(ecs_shapes, "permission", dropping)
    action = "AuthorizeSecurityGroupEgress" if end == "source" else "AuthorizeSecurityGroup"
    if is_killed:
        lab.fault(service="ecs", action=action, kind="kill-after")
        with contextlib.suppress(Killed):
            ends.link()
    assert ends.link() == {"denied": 1}
    assert lab.outcome()["reason"] == "not-allowed"
    assert ("as drop instead of accept" in lab.outcome()["detail"]) is not is_killed
    dropping_rules = ends.rules[0] if end == "source" else lab.raw_rules(ends.db)
    assert len(dropping_rules) == (2 if is_killed else 0)
    assert is_killed or ends.rules == ([], [])


@pytest.mark.knobs(advanced_policy="accept")
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_persons_drop_with_our_description_stays(lab: Lab, end: str) -> None:
    """Someone changed a rule of ours to a drop. A request for its link writes an accept beside it, which loses."""
    ends = Ends(lab)
    ends.link()
    group, change = {
        "source": (ends.app, "ModifySecurityGroupEgressRule"),
        "target": (ends.db, "ModifySecurityGroupRule"),
    }[end]
    params = {"SecurityGroupId": group.id, "Direction": "egress" if end == "source" else "ingress"}
    rule = lab.call(HOME, "DescribeSecurityGroupAttribute", params)["Permissions"]["Permission"][0]
    fields = {"SecurityGroupId": group.id, "SecurityGroupRuleId": rule["SecurityGroupRuleId"], "Policy": "drop"}
    lab.call(HOME, change, fields)
    ends.link()
    policies = [
        permission["Policy"]
        for permission in lab.call(HOME, "DescribeSecurityGroupAttribute", params)["Permissions"]["Permission"]
    ]
    assert sorted(policies) == ["Accept", "Accept", "Drop"]


def test_without_ports_a_link_with_an_advanced_group_is_denied(lab: Lab) -> None:
    ends = Ends(lab)
    for parties in ((ends.app, ends.db), (ends.senders[0], ends.targets[0])):
        assert lab.cross_account(lab.request(*parties)) == {"denied": 1}
        assert lab.outcome()["reason"] == "advanced-group"


@pytest.mark.knobs(request_tags=True, advanced_policy="accept", no_direction="all")
@pytest.mark.parametrize("count", [2, 12])
def test_calls_do_not_depend_on_the_number_of_instances(lab: Lab, count: int) -> None:
    """As docs/performance.md has them."""
    ends = Ends(lab)
    for _ in range(count - 2):
        lab.instance(ends.app), lab.instance(ends.db)

    def calls(run: Callable[[], object]) -> int:
        before = lab.calls()
        run()
        return sum(call.service == "ecs" for call in list(lab.cloud.faults.calls)[before:])

    counts = [calls(ends.link), calls(ends.link)]
    for group in (ends.db, ends.app):
        event = lab.event(lab.instance(group))
        counts.append(calls(functools.partial(lab.auto_link, event)))
    unlink = lab.request(ends.app, ends.db, action="unlink", request_id="chg-2")
    counts.append(calls(lambda: lab.cross_account(unlink)))
    ends.consent(egress=False)
    counts.append(calls(ends.link))
    page = (Path(__file__).parents[2] / "docs/performance.md").read_text("utf-8")
    rows = re.findall(r"^\| link from an advanced group, (.*?) \| [^|]+ \| (\d+) \|$", page, re.MULTILINE)
    assert counts == [int(number) for _, number in rows]


def test_a_denial_costs_no_comparison_of_each_source_with_each_target(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no consent at one end covers any of them."""
    judged = single_link._part_alone
    parts_judged: list[Link] = []

    def counting(snapshot: Snapshot, policy: Policy, link: Link, *args: object) -> Verdict:
        parts_judged.append(link)
        return judged(snapshot, policy, link, *args)

    monkeypatch.setattr(single_link, "_part_alone", counting)
    ends = Ends(lab)
    ends.consent(egress=False)
    numbers = []
    for _ in range(2):
        for _ in range(8):
            lab.instance(ends.app), lab.instance(ends.db)
        parts_judged.clear()
        assert ends.link() == {"denied": 1}
        numbers.append(len(parts_judged))
    assert numbers[1] < 2 * numbers[0]
