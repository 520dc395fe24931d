"""`link-peer audit --verify` finds what the audit log and ActionTrail do not agree about, and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import LogItem, PutLogsRequest
from link_peer.alicloud.sls import client
from link_peer.domain.errors import Transient
from link_peer.runtime import settings
from link_peer_local.core.errors import ApiError
from link_peer_local.core.faults import Killed
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.state import Group

from tests.functional.command import Cli
from tests.functional.lab import HOME, MANAGED, PEER, REGION, Lab

DAY = 86_400


def later(lab: Lab, minutes: float = 20) -> None:
    """Some time after the last change; ActionTrail shows everything by then."""
    lab.cloud.clock.advance(minutes * 60)


def as_role(lab: Lab, account: str, role: str, action: str, params: dict[str, str]) -> str:
    """Makes an ECS call with the keys of a role, outside link-peer. Returns the RequestId."""
    caller = Caller(account, f"acs:ram::{account}:assumed-role/{role}/thief", role=role)
    lab.cloud.ecs.call(caller, action, {"RegionId": REGION, **params})
    return str(lab.cloud.trail.newest(account)["requestId"])


def rule(source: Group, **fields: str) -> dict[str, str]:
    given = {"IpProtocol": "TCP", "PortRange": "22/22", "SourceGroupId": source.id, "Priority": "100", **fields}
    return {f"Permissions.1.{name}": value for name, value in given.items()}


def findings(cli: Cli, *args: str) -> tuple[int, list[dict[str, Any]]]:
    code, found = cli.json("audit", "--verify", *args)
    assert not cli.err, cli.err
    return code, found


@pytest.mark.usefixtures("terminal")
def test_what_link_peer_did_leaves_nothing_to_find(lab: Lab, cli: Cli) -> None:
    """auto_link, cross_account, denials, a second request, unlink, sweeps, closing, and the tag of an emptied group."""
    app, db = lab.pair()
    cache, closed = lab.group("*"), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{cache.id}:tcp/1 {closed.id} {db.id}@{PEER}"})))
    lab.drain()
    lab.instance(db), lab.instance(cache)
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.cross_account(lab.request(app, db, "tcp/3306", request_id="chg-2"))
    lab.cross_account(lab.request(app, db, action="unlink", request_id="chg-3"))
    lab.cross_account(lab.request(app, lab.group(), "tcp/1", request_id="chg-4"))
    assert cli("close", cache.id) == 0, cli.err
    lab.tag(db, link_accept=None)
    assert cli("sweep") == 0, cli.err
    lab.cloud.clock.advance(3600)
    assert cli("sweep") == 0, cli.err
    assert lab.rules(db) == []
    assert cli("reopen", "--all") == 0
    lab.sweep()
    later(lab)
    assert findings(cli) == (0, [])
    assert cli("audit", "--verify") == 0
    assert "calls compared, 0 findings" in cli.out


# changes without an intent


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("account", "role"), [(HOME, "link-peer-fc"), (HOME, "link-peer-operator"), (PEER, "link-peer")]
)
def test_a_rule_that_a_role_of_ours_opened_by_itself_is_found(lab: Lab, cli: Cli, account: str, role: str) -> None:
    """With the RequestId, the session, the address and the rule. Nothing of it is in the log."""
    app, db = lab.group(account=account), lab.group("*", account=account)
    request = as_role(lab, account, role, "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    later(lab)
    code, [found] = findings(cli)
    assert code == 1
    assert (found["finding"], found["pending"]) == ("no-intent", False)
    assert (found["account"], found["what"]) == (account, f"AuthorizeSecurityGroup {db.id}")
    assert (found["request_id"], found["rule"]) == (request, f"{app.id}@{account} tcp/22")
    assert found["who"] == f"{role}:thief from 127.0.0.1"
    assert cli("audit", "--verify") == 1
    assert "1 finding" in cli.out
    assert f"find out who used the role {role} and from where" in cli.out


@pytest.mark.knobs(request_tags=True)
def test_what_a_role_of_ours_never_does_is_found(lab: Lab, cli: Cli) -> None:
    """Whatever its policy allows: an egress rule, a removal by id and by fields, a managed tag. The lock of `link-peer close` is none of it, and neither
    are a role by which nothing is changed, and a call that was refused."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/22", "tcp/23"))
    later(lab, 120)
    opened = next(one for text, one in lab.rules_of(db) if text.endswith("tcp/23"))
    group = {"SecurityGroupId": db.id}
    tag = {"ResourceType": "securitygroup", "ResourceId.1": app.id, "Tag.1.Value": "true"}
    egress = {"IpProtocol": "ALL", "PortRange": "-1/-1", "DestCidrIp": "10.0.0.0/8"}
    egress = {f"Permissions.1.{name}": value for name, value in egress.items()}
    lab.cloud.identity.allow_only(f"acs:ram::{HOME}:role/link-peer-fc", ["ecs:*"])
    for action, params in (
        ("AuthorizeSecurityGroupEgress", {**group, **egress}),
        ("RevokeSecurityGroup", {**group, "SecurityGroupRuleId.1": opened["SecurityGroupRuleId"]}),
        ("RevokeSecurityGroup", {**group, **rule(app)}),
        ("TagResources", {**tag, "Tag.1.Key": MANAGED}),
    ):
        as_role(lab, HOME, "link-peer-fc", action, params)
    as_role(lab, HOME, "link-peer-operator", "TagResources", {**tag, "Tag.1.Key": "link-lock"})
    other = lab.group(account=PEER)
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/link-peer-reader", ["ecs:*", "actiontrail:*"])
    as_role(lab, PEER, "link-peer-reader", "TagResources", {**tag, "ResourceId.1": other.id, "Tag.1.Key": "x"})
    lab.cloud.identity.allow_only(f"acs:ram::{HOME}:role/link-peer-fc", [])
    with pytest.raises(ApiError):
        as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {**group, **rule(app)})
    later(lab)
    code, found = findings(cli, "--since", "1h")
    assert code == 1
    assert sorted((one["finding"], one["what"].split()[0]) for one in found) == [
        ("no-intent", "AuthorizeSecurityGroupEgress"),
        ("no-intent", "RevokeSecurityGroup"),
        ("no-intent", "RevokeSecurityGroup"),
        ("no-intent", "TagResources"),
    ]


# what is no finding


@pytest.mark.parametrize("kind", ["reset-after", "error-after"])
@pytest.mark.parametrize(
    "action", ["AuthorizeSecurityGroup", "ModifySecurityGroupRule", "RevokeSecurityGroup", "TagResources"]
)
def test_a_change_whose_answer_was_lost_is_no_finding(lab: Lab, cli: Cli, action: str, kind: str) -> None:
    """The outcome lacks the RequestId; ActionTrail has the change at the time between intent and outcome."""
    app, db = lab.pair()
    lab.fault(service="ecs", action=action, kind=kind)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-2"))
    lab.cross_account(lab.request(app, db, action="unlink", request_id="chg-3"))
    lab.drain()
    assert lab.rules(db) == []
    assert not lab.cloud.faults.waiting()
    later(lab)
    assert findings(cli) == (0, [])


def test_a_command_with_a_persons_own_keys_is_no_finding(lab: Lab, cli: Cli) -> None:
    """Where the operator's role does not exist, the person's keys change the rules; the log has the RequestIds."""
    _, _, db = lab.linked()
    lab.tag(db, link_accept=None)
    del lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"]
    later(lab)
    cli("sweep")  # the peer's role trusts the operator's role only
    assert lab.rules(db) == []
    assert lab.cloud.trail.newest(HOME)["userIdentity"]["type"] == "root-account"
    later(lab)
    assert findings(cli) == (0, [])


# outcomes without a change


def write(lab: Lab, record: dict[str, str]) -> None:
    """Writes a record into the audit log, as anyone who may write there can."""
    world = lab.cloud.world
    fields = {name: value for name, value in record.items() if name != "key"}
    item = LogItem(int(lab.cloud.clock.now()), list(fields.items()), 1)
    request = PutLogsRequest(world.audit_project, world.audit_logstore, "", "", [item])
    client(settings.load()).put_logs(request)


@pytest.mark.parametrize("outcome", ["applied", "removed"])
@pytest.mark.parametrize("calls", ["", "11111111-2222-3333-4444-555555555555"])
def test_an_outcome_that_was_forged_is_found(lab: Lab, cli: Cli, outcome: str, calls: str) -> None:
    """With its intent and without RequestIds, or with RequestIds that no call of ActionTrail has."""
    app, db = lab.group(), lab.group("*")
    key = {"account": HOME, "group": db.id, "source": f"{app.id}@{HOME}", "dest": "", "protocol": "tcp"}
    rules = json.dumps([{**key, "ports": "1/1", "rule_id": "sgr-forged" if outcome == "removed" else ""}])
    common = {"function": "cross_account", "deployment": "prod", "region": REGION, "request_id": "chg-9"}
    common |= {"from": app.id, "from_account": HOME, "to": db.id, "to_account": HOME, "ports": "tcp/1"}
    common |= {"link": "0123456789abcdef", "rules": rules, "time": lab.iso_millis()}
    write(lab, {**common, "record": "intent"})
    write(lab, {**common, "record": "outcome", "outcome": outcome, "api_requests": calls})
    later(lab)
    code, [found] = findings(cli)
    assert (code, found["finding"], found["account"], found["request_id"]) == (1, "no-change", HOME, calls)
    assert found["what"] == f"{outcome} {app.id}@{HOME} → {db.id}@{HOME} tcp/1"
    assert found["who"] == "cross_account chg-9"
    assert found["rule"] == ("sgr-forged" if outcome == "removed" else f"{app.id}@{HOME} tcp/1")


def test_records_that_are_no_records_are_no_crash(lab: Lab, cli: Cli) -> None:
    """Anyone who may write there may write anything."""
    common = {
        "deployment": "prod",
        "region": REGION,
        "outcome": "applied",
        "api_requests": ",,x",
        "time": lab.iso_millis(),
    }
    for rules in ("[", "{}", "[1]", '[{"ports": "x"}]', '[{"ports": ["1/1"]}]'):
        write(lab, {**common, "record": "outcome", "rules": rules})
        write(lab, {**common, "record": "intent", "rules": rules, "tagged": "@,,sg-1"})
    write(lab, {**common, "record": "outcome", "time": "soon"})
    later(lab)
    assert findings(cli) == (0, [])


# rules of ours that someone else changed


@pytest.mark.parametrize("days", [0, 25])
def test_a_rule_of_ours_that_a_person_changed_is_found(lab: Lab, cli: Cli, days: int) -> None:
    """However old the rule is, as long as the log is kept: by its id, by its fields, and its description; a rule of the person's own is none."""
    app, db = lab.group(), lab.group("*")
    for port in (1, 2, 3):
        lab.cross_account(lab.request(app, db, f"tcp/{port}", request_id=f"chg-{port}"))
    own = lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="10.0.0.0/8")
    lab.cloud.clock.advance(days * DAY + 7200)
    first, second = (one for text, one in lab.rules_of(db) if text.endswith(("tcp/1", "tcp/2")))
    group = {"SecurityGroupId": db.id}
    lab.call(HOME, "RevokeSecurityGroup", {**group, "SecurityGroupRuleId.1": first["SecurityGroupRuleId"]})
    lab.modify(db, second, Description="mine now")
    lab.call(HOME, "RevokeSecurityGroup", {**group, **rule(app, PortRange="3/3")})
    lab.call(HOME, "RevokeSecurityGroup", {**group, "SecurityGroupRuleId.1": own})
    with contextlib.suppress(ApiError):  # by one reading of a knob
        lab.call(HOME, "RevokeSecurityGroup", {**group, **rule(app, PortRange="4/4")})
    later(lab)
    code, found = findings(cli, "--since", "1h")
    assert code == 1
    assert {(one["finding"], one["rule"]) for one in found} == {
        ("by-another", first["SecurityGroupRuleId"]),
        ("by-another", second["SecurityGroupRuleId"]),
        ("by-another", f"{app.id}@{HOME} tcp/3"),
    }
    assert len(found) == 3
    assert {one["who"] for one in found} == {"root-account root from 127.0.0.1"}


def test_a_marker_and_a_managed_tag_of_another_are_found(lab: Lab, cli: Cli) -> None:
    """A marker of another deployment is none of ours."""
    app, db = lab.group(), lab.group("*")
    lab.forge(db, app, "tag", "tcp/1")
    lab.authorize(db, **{k.split(".")[2]: v for k, v in rule(app).items()}, Description="link-peer/2 dep=test home=1")
    lab.tag(db, **{MANAGED: "true"})
    lab.tag(db, link_accept="*")
    later(lab)
    found = findings(cli)[1]
    assert [(one["finding"], one["what"].split()[0]) for one in found] == [
        ("by-another", "AuthorizeSecurityGroup"),
        ("by-another", "TagResources"),
    ]


# after trouble: whatever call failed or died, what link-peer did leaves nothing to find


def asked(lab: Lab) -> Callable[[], object]:
    """A mutual link across accounts, by request."""
    body = lab.request(*lab.pair(), expires_at=lab.iso(20_000))
    return lambda: lab.cross_account(body)


def changed(lab: Lab) -> Callable[[], object]:
    """A tag that loses one port and gains another."""
    instance, _, db = lab.linked(ports=":tcp/1+tcp/2")
    lab.tag(instance, link_peer=f"{db.id}:tcp/2+tcp/3")
    return lambda: lab.auto_link(lab.tag_event(instance))


def swept(lab: Lab) -> Callable[[], object]:
    """Consent that ended on one group, the other half of a mutual link, and a link that was missed."""
    app, db = lab.pair()
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.sweep()
    lab.drain()
    assert len(lab.rules(db)) == 1
    lab.tag(db, link_accept=None)
    lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    return lab.sweep


@pytest.mark.parametrize("kind", ["kill", "kill-after", "reset-after", "throttle"])
@pytest.mark.parametrize("prepare", [asked, changed, swept])
def test_trouble_at_any_change_leaves_nothing_to_find(
    make_lab: Callable[[], Lab],
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Lab], Callable[[], object]],
    kind: str,
) -> None:
    """Neither right after it nor after the redelivery and the next sweep."""
    lab = make_lab()
    run, before = prepare(lab), lab.changes()
    run()
    changes = lab.changes() - before
    assert changes >= 2
    for number in range(changes):
        lab = make_lab()
        run = prepare(lab)
        writes = (
            "AuthorizeSecurityGroup",
            "RevokeSecurityGroup",
            "ModifySecurityGroupRule",
            "UntagResources",
            "TagResources",
        )
        for action in writes:
            lab.fault(service="ecs", action=action, kind=kind, skip=number)
        for _ in range(3):
            with contextlib.suppress(Killed, Transient):
                run()
            lab.cloud.clock.advance(1300)
            assert Cli(capsys).json("audit", "--verify") == (0, []), number
        lab.drain()
        with contextlib.suppress(Killed):
            lab.sweep()
        lab.cloud.clock.advance(1300)
        assert Cli(capsys).json("audit", "--verify") == (0, []), number
