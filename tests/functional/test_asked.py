"""A link that is asked for, by a tag whose event is delivered, by a request, or by a tag that a sweep finds: what
decides about it is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aliyun_local.api import Group, Instance, may_reach

from tests.functional.lab import HOME, MANAGED, PEER, Lab


class Ask:
    """`ask(app, db, "tcp/1")` asks for a link, a mutual one without ports, and returns its outcome and reason. An event
    asks within home, a sweep within the other account, and a request from home to the other account."""

    def __init__(self, lab: Lab, way: str) -> None:
        self.lab, self.way = lab, way
        self.source_account = PEER if way == "sweep" else HOME
        self.target_account = HOME if way == "event" else PEER

    def source(self, *accepts: str, **fields: Any) -> Group:
        """A group of the account that asks."""
        return self.lab.group(*accepts, account=self.source_account, **fields)

    def target(self, *accepts: str, **fields: Any) -> Group:
        """A group of the account that is asked."""
        return self.lab.group(*accepts, account=self.target_account, **fields)

    def pair(self) -> tuple[Group, Group]:
        """A group of each, which accepts everything from the other's account."""
        return self.source(f"*@{self.target_account}"), self.target(f"*@{self.source_account}")

    def deliver(self, source: Group | Instance, target: Group | Instance, *ports: str) -> dict[str, int]:
        """Asks, and returns the outcomes of the delivery."""
        if self.way == "request":
            return self.lab.cross_account(self.lab.request(source, target, *ports))
        asking = source if isinstance(source, Instance) else self.lab.instance(source)
        self.lab.tag(asking, link_peer=target.id + (f":{'+'.join(ports)}" if ports else ""))
        return self.lab.sweep() if self.way == "sweep" else self.lab.auto_link(self.lab.event(asking))

    def __call__(self, *link: Any) -> tuple[str, str]:
        self.deliver(*link)
        if self.way == "sweep":
            (counted,) = json.loads(self.lab.summary()["counts"])
            outcome, _, reason = counted.partition(" ")
            return outcome, reason
        record = self.lab.outcome()
        return record["outcome"], record["reason"]

    def refused(self, reason: str, *link: Any, outcome: str = "denied") -> str:
        """Asks for a link that must be refused for this reason before anything is written or intended. Returns the
        record's detail and advice; a sweep records none."""
        before = self.lab.changes()
        assert self(*link) == (outcome, reason)
        assert self.lab.changes() == before
        assert self.lab.records("intent") == []
        if self.way == "sweep":
            return ""
        record = self.lab.outcome()
        assert record["detail"]
        assert record["advice"]
        return f"{record['detail']} {record['advice']}"


@pytest.fixture(name="ask", params=["event", "request", "sweep"])
def _ask(lab: Lab, request: pytest.FixtureRequest) -> Ask:
    return Ask(lab, request.param)


RECORDED = pytest.mark.parametrize("ask", ["event", "request"], indirect=True)
"""For what a record says: a sweep counts its denials."""
APPLIED = ("applied", "")


# the rules


PORTS = ["icmp", "tcp/3306", "tcp/8000-8010", "udp/53"]


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ports", [[], PORTS])
def test_a_link_of_groups_is_a_rule_for_each_port_or_a_mutual_pair(ask: Ask, ports: list[str]) -> None:
    """Without ports, one for all traffic on each side. The groups that hold a rule have the managed tag."""
    app, db = ask.pair()
    assert ask(app, db, *ports) == APPLIED
    assert ask.lab.rules(db) == [f"{app.id} {port}" for port in ports or ["all"]]
    assert ask.lab.rules(app) == ([] if ports else [f"{db.id} all"])
    assert ask.lab.tags(db)[MANAGED] == "true"
    assert (MANAGED in ask.lab.tags(app)) == (not ports)


@pytest.mark.parametrize("ports", [[], PORTS])
def test_a_link_of_instances_admits_one_address_to_another(ask: Ask, ports: list[str]) -> None:
    """The marker names both, seen from the group that holds the rule."""
    app, db = ask.pair()
    instance, two = ask.lab.instance(app), ask.lab.instance(db)
    assert ask(instance, two, *ports) == APPLIED
    rule_text, back = (f"{a.private_ip}/32>{b.private_ip}/32" for a, b in ((instance, two), (two, instance)))
    assert ask.lab.rules(db) == [f"{rule_text} {port}" for port in ports or ["all"]]
    assert ask.lab.rules(app) == ([] if ports else [f"{back} all"])
    far = "" if ask.source_account == ask.target_account == HOME else f"@{ask.target_account}"
    near = "" if ask.source_account == HOME else f"@{ask.source_account}"
    assert all(
        rule["Description"].endswith(f" from={instance.id}{near} to={two.id}{far}") for rule in ask.lab.raw_rules(db)
    )
    assert all(
        rule["Description"].endswith(f" from={two.id}{far} to={instance.id}{near}") for rule in ask.lab.raw_rules(app)
    )


# consent


@pytest.mark.parametrize("accepting", ["app", "db", ""])
def test_a_mutual_link_needs_both_consents(ask: Ask, accepting: str) -> None:
    """If one group has not consented, neither side is opened, and the advice names the missing tag and its group."""
    app, db = ask.pair()
    for name, group in (("app", app), ("db", db)):
        if accepting != name:
            ask.lab.tag(group, link_accept=None)
    advice = ask.refused("no-consent", app, db)
    assert ask.lab.rules(db) == ask.lab.rules(app) == []
    if ask.way != "sweep":
        assert (f"tag {db.id}@{ask.target_account} link-accept={app.id}" in advice) == (accepting != "db")
        assert (f"tag {app.id}@{ask.source_account} link-accept={db.id}" in advice) == (accepting != "app")


# what the policy forbids


@pytest.mark.parametrize(
    ("policy", "ports"),
    [
        ({"deny": {"ports": ["tcp/22"]}}, ["tcp/3306", "tcp/20-30"]),
        ({"deny": {"ports": ["tcp/22"]}}, []),  # no mutual link while the list is not empty
    ],
)
def test_ports_that_the_policy_forbids_are_never_opened(ask: Ask, policy: dict[str, Any], ports: list[str]) -> None:
    """Regardless of consent."""
    app, db = ask.pair()
    ask.lab.policy(**policy)
    ask.refused("not-allowed", app, db, *ports)


@pytest.mark.parametrize("ends", ["{app}@{here} {db}@{there}", "*@{here} set:prod", "set:not-read *@{there}"])
@pytest.mark.parametrize("ports", [["tcp/20-30"], []])
def test_what_never_forbids_is_not_opened_whoever_consents(ask: Ask, ends: str, ports: list[str]) -> None:
    """A pair by its groups, its accounts or the tags of groups. Another port, and a group that is not in the set, may
    be opened."""
    app, db, dev = *ask.pair(), ask.target(f"*@{ask.source_account}", tags={"env": "dev"})
    source, target = ends.format(app=app.id, db=db.id, here=ask.source_account, there=ask.target_account).split()
    sets = {"prod": {"account": ask.target_account, "tags": {"env": "prod"}}}
    sets["not-read"] = {"account": ask.source_account, "tags": {"team": "x"}}
    ask.lab.policy(sets=sets, never=[{"from": source, "to": target, "ports": ["tcp/22"]}])
    ask.refused("not-allowed", app, db, *ports)
    ask.deliver(app, db, "tcp/31")
    ask.deliver(app, dev, "tcp/22")
    assert (ask.lab.rules(db), bool(ask.lab.rules(dev))) == ([f"{app.id} tcp/31"], "not-read" not in ends)


@pytest.mark.parametrize("ask", ["event", "sweep"], indirect=True)
def test_a_name_of_the_policy_asks_and_consents(ask: Ask) -> None:
    """Markers and records have ids. An unknown name denies its peer alone, and is named."""
    app, db = ask.source(), ask.target("app:tcp/1")
    ask.lab.policy(names={"app": f"{app.id}@{app.account}", "ledger": f"{db.id}@{db.account}"})
    asking = ask.lab.instance(app, tags={"link-peer": "ledger:tcp/1 ledgers:tcp/1"})
    if ask.way == "sweep":
        ask.lab.sweep()
    else:
        ask.lab.auto_link(ask.lab.event(asking))
        assert "'ledgers' is not" in ask.lab.records(reason="bad-tag")[0]["detail"]
    assert ask.lab.rules(db) == [f"{app.id} tcp/1"]
    record = ask.lab.records(outcome="applied")[0]
    assert (record["from"], record["to"], "=app:tcp/1" in record["consent"]) == (app.id, db.id, True)


def test_a_request_may_give_a_name_of_the_policy(lab: Lab) -> None:
    """Its queue proves the account that the name stands for."""
    app, db = lab.pair()
    lab.policy(names={"ledger": f"{db.id}@{PEER}"})
    assert lab.cross_account({**lab.request(app, db, "tcp/1"), "to": {"party": "ledger"}}) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.cross_account({**lab.request(app, db, "tcp/2"), "to": {"party": "ledgers"}}) == {"denied": 1}
    record = lab.outcome()
    assert (record["reason"], "'ledgers' is not a name in the policy" in record["detail"]) == ("bad-request", True)


def test_nothing_is_opened_on_a_locked_group(ask: Ask) -> None:
    app, db = ask.pair()
    ask.lab.tag(db, link_lock="x")
    advice = ask.refused("locked", app, db, "tcp/1")
    assert ask.way == "sweep" or f"link-lock from {db.id}" in advice


# room


@pytest.mark.knobs(group_sources="rules")
@pytest.mark.parametrize("full", [0, 1])
def test_twenty_rules_of_fewer_source_groups_are_for_the_api_to_judge(ask: Ask, full: int) -> None:
    """The documents disagree whether the limit counts rules or groups. The link is tried; where the API refuses it,
    what was written is taken back, and where it does not, the link is made."""
    pair = ask.pair()
    ask.lab.fill(pair[full], 20, sources=1)
    assert ask(*pair) == ("failed", "quota")
    assert (len(ask.lab.rules(pair[full])), ask.lab.rules(pair[1 - full])) == (20, [])
    ask.lab.cloud.ecs.quotas.group_source_rules = 100
    assert ask(*pair) == APPLIED
    assert (len(ask.lab.rules(pair[full])), len(ask.lab.rules(pair[1 - full]))) == (21, 1)


# rules that a person made


def by_hand(ask: Ask, source: Group, target: Group, **fields: str) -> dict[str, Any]:
    """A person's rule on TCP 1, as read back."""
    permission = {
        "IpProtocol": "TCP",
        "PortRange": "1/1",
        "SourceGroupId": source.id,
        "SourceGroupOwnerId": source.account,
    }
    rule_id = ask.lab.authorize(target, **{**permission, **fields})
    return next(rule for rule in ask.lab.raw_rules(target) if rule["SecurityGroupRuleId"] == rule_id)


@RECORDED
@pytest.mark.parametrize(
    "fields", [{}, {"Priority": "100"}, {"Priority": "50", "Description": "made for the audit"}, {"IpProtocol": "tcp"}]
)
def test_a_persons_equal_rule_counts_as_present(ask: Ask, fields: dict[str, str]) -> None:
    """Equal except for priority and description: `unchanged`, `human-rule`, no changing call."""
    app, db = ask.pair()
    before = by_hand(ask, app, db, **fields)
    assert ask(app, db, "tcp/1") == ("unchanged", "human-rule")
    assert ask.lab.raw_rules(db) == [before]
    assert ask.lab.changes() == 0


def test_an_operators_drop_rule_stays_and_wins(ask: Ask) -> None:
    """It does not count as present, and our rule beside it, at priority 100, never beats it."""
    app, db = ask.pair()
    drop = by_hand(ask, app, db, Policy="drop", Priority="100")
    assert ask(app, db, "tcp/1") == APPLIED
    assert (drop in ask.lab.raw_rules(db), len(ask.lab.rules(db))) == (True, 2)
    instance, two = ask.lab.instance(app), ask.lab.instance(db)
    assert not may_reach(ask.lab.cloud.ecs, ask.source_account, instance.id, ask.target_account, two.id, "tcp", 1).ok


# refusals of the platform

REFUSALS = [
    ("AuthorizedGroupRule.LimitExceed", 400, "failed", "quota"),
    ("InvalidSourceGroupId.NotFound", 404, "denied", "peer-not-found"),
    ("Forbidden.RAM", 403, "denied", "no-access"),
    ("InvalidParam.Unheard", 400, "denied", "not-allowed"),
]


@pytest.mark.parametrize(
    ("code", "status", "outcome", "reason", "written"), [(*row, n % 2) for n, row in enumerate(REFUSALS)]
)
def test_a_permanent_refusal_is_the_outcome_of_the_link(
    ask: Ask, code: str, status: int, outcome: str, reason: str, written: int
) -> None:
    """Of the first side, and the second is not started; of the second, in turn, and the first is taken back. One record
    says why, and what to do."""
    app, db = ask.pair()
    ask.lab.fault(service="ecs", action="AuthorizeSecurityGroup", code=code, status=status, skip=written, times=None)
    ask(app, db)
    (record,) = ask.lab.records(outcome=outcome)
    assert (record["reason"], code in record["detail"], bool(record["advice"])) == (reason, True, True)
    assert ask.lab.rules(db) == ask.lab.rules(app) == []
    assert ask.lab.records(outcome="applied") == []
    assert ask.lab.cloud.faults.count("ecs", "AuthorizeSecurityGroup") == 1 + written
    assert ask.lab.cloud.faults.count("ecs", "RevokeSecurityGroup") == written


# transient errors


@RECORDED
@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "AuthorizeSecurityGroup"])
def test_a_throttled_call_is_given_up_at_once(ask: Ask, action: str) -> None:
    """ECS rejects it until the minute is over: waiting for that would hold up what is behind. Two accounts are asked at
    the same time."""
    app, db = ask.pair()
    ask.lab.cloud.clock.sleep((10 - ask.lab.cloud.clock.now()) % 60)
    ask.lab.fault(service="ecs", action=action, kind="throttle")
    moment = ask.lab.cloud.clock.now()
    if action == "DescribeInstances" and ask.way == "request":
        app, db = ask.lab.instance(app), ask.lab.instance(db)  # type: ignore[assignment]
    assert ask.deliver(app, db, "tcp/1") == {}
    assert ask.lab.cloud.clock.now() - moment < 5
    assert ask.lab.cloud.faults.count("ecs", action) <= 1 + (ask.way == "request" and action.startswith("Describe"))
    assert "Throttling" in ask.lab.records("attempt")[-1]["detail"]
    assert ask.lab.queued() == []
    assert ask.lab.drain(60) == {"applied": 1}


@RECORDED
@pytest.mark.parametrize("kind", ["error", "throttle", "html", "reset", "no-answer"])
def test_without_the_audit_log_no_rule_is_written(ask: Ask, kind: str) -> None:
    """The intent cannot be written. The managed tag, which may be written beside it, opens nothing."""
    app, db = ask.pair()
    ask.lab.fault(service="sls", kind=kind, times=None)
    assert ask.deliver(app, db, "tcp/1") == {}
    assert (ask.lab.rules(app), ask.lab.rules(db), ask.lab.records()) == ([], [], [])
    ask.lab.cloud.faults.clear()
    assert ask.lab.drain(60) == {"applied": 1}
    assert ask.lab.rules(db) == [f"{app.id} tcp/1"]
