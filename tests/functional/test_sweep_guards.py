"""sweep's guards: what it does not believe, does not touch, does not try for ever, and how it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sweep as function

from local.ecs.state import Group, Instance
from shared.accounts import CACHE
from shared.errors import Transient
from tests.functional.lab import HOME, PEER, Lab

ROLE = f"acs:ram::{PEER}:role/link-peer"
READS = ["ecs:Describe*"]


@pytest.fixture(name="lab")
def _living(lab: Lab) -> Lab:
    """In each account an instance runs that has nothing to do with us: so that what is not seen is believed to be gone."""
    lab.instance(lab.group())
    lab.instance(lab.group(account=PEER))
    return lab


def linked(lab: Lab, account: str = HOME, ports: str = ":tcp/1") -> tuple[Instance, Group, Group]:
    """A tag link within one account that stands."""
    app, db = lab.group("*", account=account), lab.group("*", account=account)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}{ports}"})
    lab.sweep()
    assert lab.rules(db) != []
    return instance, app, db


def summary(lab: Lab) -> dict[str, str]:
    """The last run's."""
    return lab.records("summary")[-1]


# reads that cannot be believed


@pytest.mark.parametrize("kind", ["throttle", "error", "html", "reset", "truncated"])
@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"])
@pytest.mark.parametrize("account", [HOME, PEER])
def test_a_failed_read_removes_nothing_in_that_account(lab: Lab, account: str, action: str, kind: str) -> None:
    """And the other account is swept as ever."""
    other = PEER if account == HOME else HOME
    instance, _, db = linked(lab, account)
    elsewhere, _, other_db = linked(lab, other)
    before = lab.raw_rules(db)
    lab.tag(instance, link_peer=None)
    lab.tag(elsewhere, link_peer=None)
    lab.fault(service="ecs", action=action, account=account, kind=kind, times=None)
    lab.sweep()
    assert lab.raw_rules(db) == before
    assert lab.rules(other_db) == []
    assert account in summary(lab)["detail"]
    lab.cloud.faults.clear()
    lab.sweep()
    assert lab.rules(db) == []


def test_a_partial_read_removes_nothing(lab: Lab) -> None:
    """The second page of the instances does not come: those on it are not gone."""
    app, db = lab.group(), lab.group("*")
    for _ in range(100):
        lab.instance(app)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.sweep()
    lab.fault(service="ecs", action="DescribeInstances", account=HOME, kind="error", skip=1, times=4)
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert HOME in summary(lab)["detail"]


def test_an_empty_read_removes_nothing(lab: Lab) -> None:
    """A role that may not describe instances is shown none, without an error."""
    _, _, db = linked(lab, PEER)
    lab.cloud.identity.roles[ROLE].allowed_actions = [
        "ecs:DescribeSecurityGroup*", "ecs:RevokeSecurityGroup", "ecs:UntagResources",
    ]  # fmt: skip
    lab.sweep()
    assert len(lab.rules(db)) == 1
    assert f"{PEER}: shows no instances" in summary(lab)["detail"]


def test_an_empty_read_removes_what_is_over_for_another_reason(lab: Lab) -> None:
    """An end that is past and consent that is withdrawn are not a matter of what is seen."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1", until=lab.iso(60)), lab.request(b, a, "tcp/2", request_id="chg-2"))
    for account in (HOME, PEER):
        for instance in list(lab.cloud.ecs.account(account).instances.values()):
            lab.call(account, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})
    lab.cloud.clock.advance(60)
    lab.tag(a, link_accept=None)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


@pytest.mark.parametrize("cause", ["no role", "sts down"])
def test_an_account_that_cannot_be_entered_is_told_and_the_others_are_swept(lab: Lab, cause: str) -> None:
    instance, _, db = linked(lab, PEER)
    own, _, home_db = linked(lab)
    lab.tag(instance, link_peer=None)
    lab.tag(own, link_peer=None)
    lab.cloud.clock.advance(3600)
    if cause == "no role":
        del lab.cloud.identity.roles[ROLE]
    else:
        lab.fault(service="sts", kind="error", times=None)
    lab.sweep()
    assert lab.rules(home_db) == []
    assert len(lab.rules(db)) == 1
    assert PEER in summary(lab)["detail"]
    denied = lab.records(reason="no-access")
    assert len(denied) == (1 if cause == "no role" else 0)


def test_links_with_an_account_that_cannot_be_read_stay(lab: Lab) -> None:
    """On the side that can be read nothing is taken away for what the other side does not show."""
    a, b = lab.pair()
    instance = lab.instance(b, tags={"link-peer": f"{a.id}@{HOME}:tcp/1"})
    lab.cross_account(lab.request(a, b, request_id="chg-2"))
    lab.sweep()
    before = lab.raw_rules(a)
    lab.tag(instance, link_peer=None)
    del lab.cloud.identity.roles[ROLE]
    lab.cloud.clock.advance(3600)
    lab.sweep()
    assert lab.raw_rules(a) == before


@pytest.mark.parametrize("over", ["until", "deny", "consent"])
def test_what_is_over_is_closed_here_though_the_other_account_cannot_be_read(lab: Lab, over: str) -> None:
    """Expiry, policy and the group's own consent need no look at the other side."""
    a, b = lab.pair()
    lab.cross_account(lab.request(b, a, "tcp/22", until=lab.iso(60)))
    assert lab.rules(a) == [f"{b.id} tcp/22"]
    del lab.cloud.identity.roles[ROLE]
    lab.cloud.clock.advance(3600 if over == "until" else 0)
    lab.policy(deny={"ports": ["tcp/22"] if over == "deny" else []})
    if over == "consent":
        lab.tag(a, link_accept=None)
    CACHE.sessions.clear()
    lab.sweep()
    assert lab.rules(a) == []


@pytest.mark.parametrize("way", ["no role", "no instances"])
@pytest.mark.parametrize("accept", [None, "*@1000000000000001", "{other}@{peer}:tcp/2"])
def test_an_account_that_hides_keeps_no_way_in_open_for_its_instances(lab: Lab, way: str, accept: str | None) -> None:
    """The group that admits has withdrawn its consent: whether the other account lets itself be read is no matter."""
    a, b = lab.pair()
    one, two = lab.instance(b), lab.instance(a)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    lab.tag(a, link_accept=accept and accept.format(other=b.id, peer=PEER))
    hide(lab, way)
    lab.sweep()
    assert lab.rules(a) == []


@pytest.mark.parametrize("way", ["no role", "no instances"])
@pytest.mark.parametrize("accept", ["{one}@{peer}", "*@{peer}:tcp/1", "{group}@{peer}:tcp/1+tcp/2"])
def test_a_link_that_is_still_accepted_stays_while_the_other_account_hides(lab: Lab, way: str, accept: str) -> None:
    """It may have been the role's fault; an instance that cannot be seen may be in the group that is accepted."""
    a, b = lab.pair()
    one, two = lab.instance(b), lab.instance(a)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    lab.tag(a, link_accept=accept.format(one=one.id, group=b.id, peer=PEER))
    hide(lab, way)
    lab.sweep()
    assert len(lab.rules(a)) == 1


def hide(lab: Lab, way: str) -> None:
    """The other account lets nothing be read any more: refused, or shown as empty."""
    CACHE.sessions.clear()
    if way == "no role":
        del lab.cloud.identity.roles[ROLE]
    else:
        lab.cloud.identity.roles[ROLE].allowed_actions = ["ecs:DescribeSecurityGroup*"]


def test_trouble_of_one_accounts_groups_is_not_the_others(lab: Lab) -> None:
    """Home's rules cannot be read; there are many groups to read besides."""
    linked(lab, HOME)
    elsewhere = [linked(lab, PEER) for _ in range(8)]
    for instance, _, _ in elsewhere:
        lab.tag(instance, link_peer=None)
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", account=HOME, kind="error", times=None)
    lab.sweep()
    assert [lab.rules(db) for _, _, db in elsewhere] == [[]] * 8


# how much may go at once


def test_more_removals_than_the_policy_allows_are_held_and_told_loudly(lab: Lab) -> None:
    """None of them is done; what is explicit goes all the same, and adds are made."""
    one, _, first = linked(lab)
    two, _, second = linked(lab)
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/9", until=lab.iso(60)))
    lab.cloud.clock.advance(60)
    for instance in (one, two):
        lab.tag(instance, link_peer=None)
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.policy(limits={"removals_per_run": 1})
    lab.sweep()
    assert (len(lab.rules(first)), len(lab.rules(second))) == (1, 1)
    assert lab.rules(b) == []
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    record = summary(lab)
    assert (record["outcome"], record["reason"], record["held"]) == ("failed", "removals-held", "2")
    told = " ".join(r.get("detail", "") + r.get("advice", "") for r in lab.records("summary"))
    assert "2 rules" in told
    assert "removals_per_run" in told


def test_as_many_as_the_policy_allows_go(lab: Lab) -> None:
    one, _, first = linked(lab)
    two, _, second = linked(lab)
    for instance in (one, two):
        lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 2})
    lab.sweep()
    assert lab.rules(first) == lab.rules(second) == []


def test_rules_count_not_links(lab: Lab) -> None:
    """A mutual link's two."""
    instance, app, db = linked(lab, HOME, "")
    lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    lab.sweep()
    assert len(lab.rules(app)) == len(lab.rules(db)) == 1


# what is not ours


def test_nothing_that_a_person_made_is_touched(lab: Lab) -> None:
    """Neither plain rules, nor forged, copied or another deployment's markers, also in a group that holds ours."""
    instance, app, db = linked(lab)
    (ours,) = lab.raw_rules(db)
    base = {"IpProtocol": "TCP", "SourceGroupId": app.id, "Priority": "100"}
    lab.authorize(db, **base, PortRange="2/2", Description="by hand")
    lab.authorize(db, **base, PortRange="3/3", Description=ours["Description"])
    lab.authorize(db, **base, PortRange="4/4", Description="link-peer/1 dep=prod id=0123456789abcdef by=req:x")
    lab.authorize(
        db, **base, PortRange="5/5", Description=f"link-peer/1 dep=test id={lab.rule_id(db, app, 'tcp/5')} by=tag"
    )
    lab.authorize(
        db, **base, PortRange="6/6", Description=f"link-peer/1 dep=prod id={lab.rule_id(db, app, 'tcp/6')} by="
    )
    lab.authorize(db, IpProtocol="TCP", PortRange="1/1", SourceGroupId=app.id, Policy="drop", Priority="1")
    lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="0.0.0.0/0")
    before = _sorted(lab.raw_rules(db))
    lab.sweep()
    assert _sorted(lab.raw_rules(db)) == before
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert _sorted(lab.raw_rules(db)) == [rule for rule in before if rule != ours]


def _sorted(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rules, key=lambda rule: str(rule["SecurityGroupRuleId"]))


def test_paused_reads_and_audits_and_changes_nothing(lab: Lab) -> None:
    """Adds, removals, repairs and tags: all wait."""
    instance, _, db = linked(lab)
    _, _, other = linked(lab)
    lab.modify(other, lab.raw_rules(other)[0], Priority="1")
    lab.tag(instance, link_peer=None)
    waiting = lab.group("*")
    lab.instance(lab.group(), tags={"link-peer": f"{waiting.id}:tcp/1"})
    empty = lab.group(tags={"link-managed.prod": "true"})
    lab.policy(paused=True)
    before = lab.changes()
    outcomes = lab.sweep()
    assert lab.changes() == before
    assert set(outcomes) == {"denied"}
    assert {record["reason"] for record in lab.records(outcome="denied")} == {"paused"}
    assert (len(lab.rules(db)), lab.rules(waiting)) == (1, [])
    assert lab.tags(empty)["link-managed.prod"] == "true"
    lab.policy()
    lab.sweep()
    assert (lab.rules(db), len(lab.rules(waiting))) == ([], 1)


@pytest.mark.parametrize("lacking", ["everything", "rules", "tag"])
def test_a_group_where_we_may_not_write_is_reported_and_not_tried_for_ever(lab: Lab, lacking: str) -> None:
    """One `no-access` a run, no redelivery; the other links are made."""
    app, db = lab.group(account=PEER), lab.group("*", account=PEER)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    home_app, home_db = lab.group(), lab.group("*")
    lab.instance(home_app, tags={"link-peer": f"{home_db.id}:tcp/1"})
    allowed = {"everything": [], "rules": ["ecs:TagResources"], "tag": ["ecs:AuthorizeSecurityGroup"]}
    lab.cloud.identity.roles[ROLE].allowed_actions = [*READS, *allowed[lacking]]
    outcomes = lab.sweep()
    assert outcomes == {"applied": 1, "denied": 1}
    (record,) = lab.records(outcome="denied")
    assert (record["reason"], record["to"]) == ("no-access", db.id)
    assert lab.rules(home_db) == [f"{home_app.id} tcp/1"]
    assert lab.rules(db) == []
    refused = sum(lab.cloud.faults.count("ecs", action) for action in ("TagResources", "AuthorizeSecurityGroup"))
    assert refused <= 2 + 3


def test_a_removal_that_we_may_not_make_is_reported(lab: Lab) -> None:
    instance, _, db = linked(lab, PEER)
    lab.tag(instance, link_peer=None)
    lab.cloud.identity.roles[ROLE].allowed_actions = READS
    lab.sweep()
    assert lab.records(outcome="denied")[-1]["reason"] == "no-access"
    assert len(lab.rules(db)) == 1


def test_rules_that_we_may_not_read_are_reported(lab: Lab) -> None:
    """The account shows its instances and groups, but not its rules: one `no-access` record."""
    linked(lab, PEER)
    lab.cloud.identity.roles[ROLE].allowed_actions = ["ecs:DescribeInstances", "ecs:DescribeSecurityGroups"]
    lab.sweep()
    (record,) = lab.records(reason="no-access")
    assert record["from_account"] == PEER


# order and idempotence


def test_adds_come_before_removals(lab: Lab) -> None:
    """So that a changed wish never leaves a gap."""
    instance, _, db = linked(lab)
    lab.tag(instance, link_peer=f"{db.id}:tcp/2")
    start = lab.calls()
    lab.sweep()
    order = [call.action for call in list(lab.cloud.faults.calls)[start:]]
    assert order.index("AuthorizeSecurityGroup") < order.index("RevokeSecurityGroup")


def test_a_full_group_has_what_goes_go_first(lab: Lab) -> None:
    """Where only that makes room."""
    instance, app, db = linked(lab)
    source = lab.group()
    for port in range(1, 20):
        lab.authorize(db, IpProtocol="UDP", PortRange=f"{port}/{port}", SourceGroupId=source.id)
    lab.tag(instance, link_peer=f"{db.id}:tcp/2")
    lab.sweep()
    assert f"{app.id} tcp/2" in lab.rules(db)
    assert len(lab.rules(db)) == 20


def test_a_second_sweep_changes_nothing(lab: Lab) -> None:
    """No mutating call, no outcome: tags, requests, instances, a denied link, and one that has no room."""
    linked(lab)
    linked(lab, PEER, "")
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(
        lab.request(a, b),
        lab.request(a, b, "tcp/1", "udp/2", request_id="chg-2", until=lab.iso(86400)),
        lab.request(one, two, request_id="chg-3"),
    )
    lab.instance(a, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    lab.sweep()
    before, rules = lab.changes(), (lab.raw_rules(a), lab.raw_rules(b))
    assert set(lab.sweep()) <= {"denied"}
    assert lab.changes() == before
    assert (lab.raw_rules(a), lab.raw_rules(b)) == rules
    assert summary(lab)["outcome"] == "unchanged"


# trouble and time


def test_a_change_that_fails_for_the_moment_raises_after_the_others(lab: Lab) -> None:
    """The platform calls again; the other links are settled meanwhile."""
    first, second = lab.group("*"), lab.group("*")
    for db in (first, second):
        lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", times=4)
    with pytest.raises(Transient):
        lab.sweep()
    assert sorted([len(lab.rules(first)), len(lab.rules(second))]) == [0, 1]
    assert lab.records("attempt")
    lab.sweep()
    assert len(lab.rules(first)) == len(lab.rules(second)) == 1


def test_while_the_log_is_down_nothing_is_changed(lab: Lab) -> None:
    instance, _, db = linked(lab)
    lab.tag(instance, link_peer=None)
    before = lab.changes()
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        lab.sweep()
    assert lab.changes() == before
    assert len(lab.rules(db)) == 1


def test_the_tag_is_not_taken_off_while_the_log_is_down(lab: Lab) -> None:
    group = lab.group(tags={"link-managed.prod": "true"})
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        lab.sweep()
    assert lab.tags(group)["link-managed.prod"] == "true"


def test_what_the_time_does_not_allow_is_continued_by_the_next_run(lab: Lab) -> None:
    """Reading stops in time, nothing unread is judged, and the next run begins there: two runs see every group."""
    lab.context.function.timeout = 100
    groups: list[tuple[Instance, Group]] = []
    app = lab.group()
    for _ in range(70):
        db = lab.group("*")
        groups.append((lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}), db))
    lab.sweep()
    assert all(lab.rules(db) for _, db in groups)
    for instance, _ in groups:
        lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 100})
    for left in (70 - 64, 0):
        lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", kind="slow", seconds=1.0, times=64)
        lab.sweep()
        lab.cloud.faults.clear()
        assert sum(bool(lab.rules(db)) for _, db in groups) == left
        assert ("groups: no time was left" in summary(lab).get("detail", "")) == bool(left)
    assert function._stopped_at is None


def test_no_change_is_begun_when_the_time_is_nearly_over(lab: Lab) -> None:
    """It would be killed in the middle: raised instead, and made by the next run."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    before = lab.changes()
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", kind="slow", seconds=110)
    with pytest.raises(Transient, match="nearly over"):
        lab.sweep()
    assert lab.changes() == before
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]


# the summary and the event


def test_the_summary_tells_what_was_done_at_what_cost(lab: Lab) -> None:
    """One a run: counts, calls, seconds, what was skipped and why."""
    instance, _, _ = linked(lab)
    lab.tag(instance, link_peer=None)
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    runs = len(lab.records("summary"))
    start = lab.calls()
    lab.sweep()
    assert len(lab.records("summary")) == runs + 1
    record = summary(lab)
    expected = {
        "function": "sweep",
        "deployment": "prod",
        "outcome": "applied",
        "changed": "3",  # a rule that comes, one that goes, and the tag of the group that it leaves
        "removed": "1",
        "held": "0",
        "denied": "1",
        "instances": "5",
        "event_id": f"sweep-{lab.iso()}",
    }
    assert {name: record[name] for name in expected} == expected
    assert float(record["seconds"]) >= 0
    counted: dict[str, int] = json.loads(record["api_calls"])
    made: dict[str, int] = {}
    for call in list(lab.cloud.faults.calls)[start:]:
        if call.service in ("ecs", "sts"):
            made[call.action] = made.get(call.action, 0) + 1
    assert counted == made


def test_the_cost_does_not_grow_with_instances_that_ask_for_nothing(lab: Lab) -> None:
    """A hundred a page, groups by tag, the rules of each managed group once."""
    linked(lab)
    app = lab.group()
    for _ in range(150):
        lab.instance(app)
    start = lab.calls()
    lab.sweep()
    calls = [call.action for call in list(lab.cloud.faults.calls)[start:] if call.service == "ecs"]
    assert calls.count("DescribeInstances") == 3
    assert calls.count("DescribeSecurityGroupAttribute") == 1
    assert len(calls) <= 8


@pytest.mark.parametrize(
    "event", [b"", b"null", b"{}", b"[]", b'{"triggerTime": 7}', b'{"triggerTime": "' + b"x" * 99 + b'"}']
)
def test_whatever_the_timer_says_it_sweeps(lab: Lab, event: bytes) -> None:
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    answer: dict[str, Any] = json.loads(function.handler(event, lab.context))
    assert answer == {"outcomes": {"applied": 1}}
