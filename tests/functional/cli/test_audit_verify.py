"""`link-peer audit --verify` finds what the audit log and ActionTrail do not agree about, and nothing else."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import LogItem, PutLogsRequest
from aliyun_local.api import ApiError, Caller, Group, Killed
from link_peer.alicloud.sls import client
from link_peer.domain.errors import Transient
from link_peer.domain.tags import iso
from link_peer.runtime import settings

from tests.functional.cli.test_adopt import by_hand
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, REGION, Lab
from tests.functional.test_both_ends import Ends
from tests.sample import sample

DAY = 86_400


def later(lab: Lab, minutes: float = 20) -> None:
    """Some time after the last change; ActionTrail shows everything by then."""
    lab.cloud.clock.advance(minutes * 60)


def consenting_pair(lab: Lab) -> tuple[Group, Group]:
    """A group in each account that accepts all traffic from the other, by a call that ActionTrail has."""
    app, db = lab.group(), lab.group(account=PEER)
    lab.tag(app, link_accept=f"*@{PEER}")
    lab.tag(db, link_accept=f"*@{HOME}")
    later(lab, 2)
    return app, db


def as_role(lab: Lab, account: str, role: str, action: str, params: dict[str, str]) -> str:
    """Makes an ECS call with the keys of a role, outside link-peer. Returns the RequestId."""
    caller = Caller(account, f"acs:ram::{account}:assumed-role/{role}/thief", role=role)
    lab.cloud.ecs.call(caller, action, {"RegionId": REGION, **params})
    return str(lab.cloud.trail.newest(account)["requestId"])


def rule(source: Group, **fields: str) -> dict[str, str]:
    permission = {"IpProtocol": "TCP", "PortRange": "22/22", "SourceGroupId": source.id, "Priority": "100", **fields}
    return {f"Permissions.1.{name}": value for name, value in permission.items()}


def findings(cli: Cli, *args: str) -> tuple[int, list[dict[str, Any]]]:
    code, records = cli.json("audit", "--verify", *args)
    lines = re.fullmatch(r"(Looked at: .*\n)?(not read: ap-northeast-1, .*\n)?", cli.err)
    assert lines, cli.err
    assert bool(lines[1]) == (not records), cli.err
    return code, records


def test_no_findings_say_where_it_looked(lab: Lab, cli: Cli) -> None:
    """None from another region, or of another period, is no answer."""
    assert cli("audit", "--verify", "--from", "2h") == 0
    where = f"Looked at: region {REGION}; accounts {HOME} (a@aliyun.com), {PEER} (b@aliyun.com); "
    now = lab.cloud.clock.now()
    assert f"{where}{iso(int(now) - 7200)} to {iso(int(now))}." in cli.err


def test_a_result_that_counts_as_received_before_its_intent_accuses_nobody(lab: Lab, cli: Cli) -> None:
    """Writes to a shard that came within seconds are read together, as of the first; the intent may be in another
    shard."""
    app, db = consenting_pair(lab)
    lab.cross_account(
        lab.request(app, lab.group(), "tcp/1", request_id="chg-0")
    )  # one write: results change shards with intents
    for number in (1, 2, 3):
        lab.cloud.clock.advance(1)
        lab.cross_account(lab.request(app, db, f"tcp/{number}", request_id=f"chg-{number}"))
    later(lab)
    assert findings(cli) == (0, [])


@pytest.mark.usefixtures("terminal")
def test_what_link_peer_did_leaves_nothing_to_find(lab: Lab, cli: Cli) -> None:
    """auto_link, cross_account, denials, a second request, unlink, sweeps, closing, reopening, the tag of an emptied
    group, links by address and between instances, an adoption, and consent that is given and withdrawn."""
    app, db = consenting_pair(lab)
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
    by_address = lab.group("*")
    instance, other_instance = lab.instance(lab.group("*", vpc=lab.a)), lab.instance(by_address)
    lab.auto_link(lab.event(lab.instance(lab.group("*", vpc=lab.a), tags={"link-peer": f"{by_address.id}:tcp/1"})))
    lab.cross_account(lab.request(instance, other_instance, "tcp/2", request_id="chg-5"))
    assert len(lab.rules(by_address)) == 2
    to, rule_id = by_hand(lab)[1:]
    assert cli("adopt", "--anyone-may-close", rule_id, "--yes") == 0, cli.err
    lab.drain(60)
    later(lab)
    assert cli("accept", to.id, app.id, "--yes") == 0, cli.err
    lab.cross_account(lab.request(app, to, "tcp/9", request_id="chg-6"))
    assert cli("withdraw", to.id, app.id, "--yes") == 0, cli.err
    lab.auto_link(lab.group_event(to))
    later(lab)
    assert findings(cli) == (0, [])
    assert cli("audit", "--verify") == 0
    assert "calls compared, 0 findings" in cli.out


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("consent", ["tags", "allow", "allow of groups", "allow of instances"])
@pytest.mark.parametrize("of", ["groups", "instances"])
def test_links_from_advanced_groups_leave_nothing_to_find(lab: Lab, cli: Cli, of: str, consent: str) -> None:
    """Opened at both ends, given a second claim, followed by another instance of the target, and closed: whoever
    consented."""
    ends = Ends(lab)
    ends.consent(ingress=consent == "tags", egress=consent == "tags")
    sender, target = ends.senders[0].id, ends.targets[0].id if of == "instances" else ends.db.id
    allowed = {
        "allow": ("*", "*"),
        "allow of groups": (ends.app.id, ends.db.id),
        "allow of instances": (sender, target),
    }
    pairs = [allowed[consent]] if consent in allowed else []
    lab.policy(allow=[{"from": f"{source}@{HOME}", "to": f"{reached}@{HOME}"} for source, reached in pairs])
    parties = (ends.app, ends.db) if of == "groups" else (ends.senders[0], ends.targets[0])
    for request_id in ("chg-1", "chg-2"):
        assert lab.cross_account(lab.request(*parties, "tcp/1", request_id=request_id)) == {"applied": 1}
    newcomer = lab.instance(ends.db)
    lab.auto_link(lab.event(newcomer))
    later(lab)
    assert findings(cli) == (0, [])
    assert len(ends.rules[0]) == (1 if of == "instances" else 3)
    lab.cross_account(lab.request(*parties, action="unlink", request_id="chg-3"))
    assert ends.rules == ([], [])
    later(lab)
    assert findings(cli) == (0, [])


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
    code, [finding] = findings(cli)
    assert code == 1
    assert (finding["finding"], finding["pending"]) == ("no-intent", False)
    assert (finding["account"], finding["what"]) == (account, f"AuthorizeSecurityGroup {db.id}")
    assert (finding["request_id"], finding["rule"]) == (request, f"{app.id}@{account} tcp/22")
    assert finding["who"] == f"{role}:thief from 127.0.0.1"
    assert cli("audit", "--verify") == 1
    title, heading, row = cli.out.splitlines()[:3]
    assert re.fullmatch(r"audit log and ActionTrail: \d calls compared, 1 finding", title)
    assert heading.split()[:2] == ["time", "account"]
    assert re.match(rf"[\d-]+ \d\d:\d\d:\d\d [+-]\d\d:\d\d +{account} ", row)
    assert f"find out who used the role {role} and from where" in cli.out


# records that are none


def write(lab: Lab, record: dict[str, str], logstore: str = "decisions") -> None:
    """Writes a record into an audit log, as anyone who may write there can."""
    item = LogItem(int(lab.cloud.clock.now()), list(record.items()), 1)
    request = PutLogsRequest(lab.cloud.world.audit_project, logstore, "", "", [item])
    client(settings.load()).put_logs(request)


def test_records_that_are_no_records_are_no_crash(lab: Lab, cli: Cli) -> None:
    """Anyone who may write there may write anything. Who asked for a link is read from there, too."""
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    common = {
        "request_id": "chg-1",
        "deployment": "prod",
        "region": REGION,
        "outcome": "applied",
        "api_requests": ",,x",
        "time": lab.iso_millis(),
    }
    for rules in ("[", "[" * 9_000, "{}", "[1]", '[{"ports": "x"}]', '[{"ports": ["1/1"]}]'):
        write(lab, {**common, "record": "outcome", "rules": rules})
        write(lab, {**common, "record": "intent", "rules": rules, "tagged": "@,,sg-1"})
    write(lab, {**common, "record": "outcome", "time": "soon"})
    later(lab)
    assert cli("links") == 0, cli.err
    assert findings(cli) == (0, [])


# rules of ours that someone else changed


@pytest.mark.parametrize("days", [0, 25])
def test_a_rule_of_ours_that_a_person_changed_is_found(lab: Lab, cli: Cli, days: int) -> None:
    """However old the rule is, as long as the log is kept: by its id, by its fields, and its description; a rule of the
    person's own is none."""
    app, db = lab.group(), lab.group("*")
    for port in (1, 2, 3):
        lab.cross_account(lab.request(app, db, f"tcp/{port}", request_id=f"chg-{port}"))
    persons_rule = lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="10.0.0.0/8")
    lab.cloud.clock.advance(days * DAY + 7200)
    first, second = (rule_id for text, rule_id in lab.rules_of(db) if text.endswith(("tcp/1", "tcp/2")))
    group = {"SecurityGroupId": db.id}
    lab.call(HOME, "RevokeSecurityGroup", {**group, "SecurityGroupRuleId.1": first["SecurityGroupRuleId"]})
    lab.modify(db, second, Description="mine now")
    lab.call(HOME, "RevokeSecurityGroup", {**group, **rule(app, PortRange="3/3")})
    lab.call(HOME, "RevokeSecurityGroup", {**group, "SecurityGroupRuleId.1": persons_rule})
    with contextlib.suppress(ApiError):  # by one reading of a knob
        lab.call(HOME, "RevokeSecurityGroup", {**group, **rule(app, PortRange="4/4")})
    later(lab)
    code, rows = findings(cli, "--since", "1h")
    assert code == 1
    assert {(finding["finding"], finding["rule"]) for finding in rows} == {
        ("by-another", first["SecurityGroupRuleId"]),
        ("by-another", second["SecurityGroupRuleId"]),
        ("by-another", f"{app.id}@{HOME} tcp/3"),
    }
    assert len(rows) == 3
    assert {finding["who"] for finding in rows} == {"root-account root from 127.0.0.1"}


# after trouble: whatever call failed or died, what link-peer did leaves nothing to find


def verify_command(lab: Lab) -> Callable[[], object]:
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
    app, db = consenting_pair(lab)
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.sweep()
    lab.drain()
    assert len(lab.rules(db)) == 1
    lab.tag(db, link_accept=None)
    lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    return lab.sweep


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["kill", "kill-after", "reset-after", "throttle"])
@pytest.mark.parametrize("prepare", [verify_command, changed, swept])
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
    for number in sample(range(changes), 4):
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
