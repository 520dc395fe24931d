"""`link-peer tighten`: who uses the wide rules of people, as flow logs tell, what they could become, and which can
go."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shlex
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import Capture, Ports
from link_peer.alicloud import sls
from link_peer.domain.errors import PolicyError
from link_peer.engine.read.store import Store
from link_peer_cli.inventory import flow_log
from link_peer_cli.usage.written import checked
from pytest_mock import MockerFixture

from tests.functional.command import ALL, Cli, egress, person
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.traffic import DAY, Traffic

WIDE = {"IpProtocol": "TCP", "PortRange": "1/65535", "SourceCidrIp": "10.0.0.0/8", "Description": "everybody, for now"}


def tightened(cli: Cli, *args: str, code: int = 0) -> list[dict[str, Any]]:
    """What is said of each wide rule."""
    exit_code, documents = cli.json("tighten", *args)
    assert exit_code == code, cli.err
    return documents


def aliyun(lab: Lab, account: str, command: str) -> None:
    """Runs a printed command of the `aliyun` CLI."""
    words = shlex.split(command)
    assert words[:2] == ["aliyun", "ecs"]
    lab.call(
        account,
        words[2],
        {name.removeprefix("--"): value for name, value in zip(words[3::2], words[4::2], strict=True)},
    )


def test_a_wide_rule_becomes_links_and_can_then_go_and_come_back(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Who used it is named; what each use would become, with the consent for it; and once links carry it all, nothing
    would be cut off by the two printed commands, the second of which makes an equal rule."""
    app, db, ledger = lab.group(name="app"), lab.group(name="db"), lab.group(account=PEER, name="ledger")
    web, data, payer = lab.instance(app, name="web-1"), lab.instance(db), lab.instance(ledger, name="payer-1")
    wide = lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.connect(payer, data, 443, [2, 20])
    traffic.write()
    [rule] = tightened(cli, db.id)
    assert (rule["rule_id"], rule["peer"], rule["ports"], rule["use"]) == (wide, "10.0.0.0/8", "tcp/1-65535", "used")
    assert [
        (user["from"], user["address"], user["ports"], user["days"], user["longest_gap"], user["only"])
        for user in rule["used_by"]
    ] == [
        (web.id, web.private_ip, ["tcp/3306"], 30, 0, True),
        (payer.id, payer.private_ip, ["tcp/443"], 2, 17, True),
    ]
    assert [user["to"] for user in rule["used_by"]] == [[f"{data.id}@{HOME}"]] * 2
    assert (rule["flows"], rule["only"], rule["unknown"], rule["left"]) == (2, 2, [], [])
    assert (rule["revoke"], rule["put_back"]) == ("", "")
    assert ["2 flows that only this rule admits" in text for text in rule["in_the_way"]] == [True]
    assert rule["in_the_way"][0].endswith(": from " + ", ".join(sorted([f"{web.id}@{HOME}", f"{payer.id}@{PEER}"])))
    file = str(tmp_path / "links.yaml")
    assert cli("tighten", db.id, "--propose", file) == 0
    assert f'consent: {{"on": "{db.id}", entry: "{ledger.id}@{PEER}:tcp/443"}}' in Path(file).read_text("utf-8")
    assert cli("check", file) == 0
    assert cli("tighten", db.id, "--commands", "--account", PEER) == 0
    assert [line.split()[:3] for line in cli.out.splitlines()[1:]] == [["link-peer", "request", "link"]]
    assert cli("tighten", db.id, "--commands") == 0
    commands = [line for line in cli.out.splitlines() if not line.startswith("#")]
    assert len(commands) == 4
    for command in commands * 2:  # again is harmless
        assert cli(*shlex.split(command)[1:]) == 0, cli.err
        lab.drain()
    assert lab.rules(db) == sorted([f"{app.id} tcp/3306", f"{ledger.id} tcp/443", "10.0.0.0/8> tcp/1-65535"])
    traffic.go_on(1)
    [rule] = tightened(cli, db.id)
    assert (rule["use"], rule["only"], rule["becomes"], rule["in_the_way"]) == ("used", 0, [], [])
    assert [user["name"] for user in rule["used_by"]] == ["web-1", "payer-1"]  # also where no link is proposed for them
    assert cli("tighten", db.id, "--commands") == 0
    assert cli.out == ""
    before = next(rule for rule in lab.raw_rules(db) if rule["SecurityGroupRuleId"] == wide)
    aliyun(lab, HOME, rule["revoke"])
    assert lab.rules(db) == sorted([f"{app.id} tcp/3306", f"{ledger.id} tcp/443"])
    evidence = tmp_path / "evidence.csv"
    assert cli("audit", "--from", "2d", "--evidence", str(evidence)) == 0, cli.err
    [row] = [row for row in csv.DictReader(evidence.open(encoding="utf-8")) if row["section"] == "revoked"]
    assert (row["to"], row["rules"], "root" in row["actor"]) == (db.id, wide, True)
    assert "RevokeSecurityGroup: replaced by tighten-" in row["detail"]
    assert "seen on 30 days, last 2026-12-24T12:09:59Z, in 30 lines" in row["detail"]
    aliyun(lab, HOME, rule["put_back"])
    [after] = [rule for rule in lab.raw_rules(db) if rule["SourceCidrIp"]]
    changed = {"SecurityGroupRuleId", "CreateTime"}
    assert {name: after[name] for name in after.keys() - changed} == {
        name: before[name] for name in before.keys() - changed
    }


def test_a_rule_that_nobody_used_may_go(lab: Lab, cli: Cli) -> None:
    """Where every interface has lines on every day; in a longer period than the log's, it is unknown."""
    db = lab.group()
    lab.instance(db)
    lab.authorize(db, **WIDE)
    Traffic(lab).write()
    [rule] = tightened(cli, db.id)
    assert (rule["use"], rule["unknown"], bool(rule["revoke"])) == ("unused", [], True)
    [rule] = tightened(cli, db.id, "--last", "31d")
    assert (rule["use"], rule["revoke"]) == ("unknown", "")
    assert "on 1 of 31 days (2026-11-24)" in rule["unknown"][0]


FIFTH_DAY = (4 * DAY, 5 * DAY)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("gaps", "on 1 of 30 days (2026-11-29)"),
        ("skipped", "were skipped"),
        ("path", "is sampled"),
        ("late", "on 1 of 30 days (2026-12-24)"),
    ],
)
def test_what_cannot_be_told_is_unknown_and_keeps_the_rule(lab: Lab, cli: Cli, kind: str, cause: str) -> None:
    """A day without a line, lines that were skipped, or that are not there yet, a log that is sampled: nobody knows
    that nobody used the rule."""
    db, app = lab.group(), lab.group()
    data, web = lab.instance(db), lab.instance(app)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    hole = (str(traffic.of(data)["NetworkInterfaceId"]), *(traffic.since + day for day in FIFTH_DAY))  # type: ignore[index]
    captures: dict[str, dict[str, Any]] = {
        "gaps": {"gaps": (hole,)},
        "skipped": {"skipped": (hole,)},
        "path": {"optional": ("traffic_path",), "path": "ipv4Gateway"},
        "late": {"late": DAY},
    }
    traffic.capture = Capture(**captures[kind])
    if kind == "path":
        traffic.connect(web, data, 3306)
        traffic.connect("8.8.8.8", web, 443)
    traffic.write()
    [rule] = tightened(cli, db.id)
    assert (rule["use"], rule["revoke"]) == ("unknown", "")
    assert any(cause in text for text in rule["unknown"]), rule["unknown"]


def test_an_address_that_no_log_names_is_unknown(lab: Lab, cli: Cli) -> None:
    """Machines outside ECS, and who is behind NAT: no link is proposed, and the rule stays. Many are one range."""
    db, app = lab.group(), lab.group()
    data, web = lab.instance(db), lab.instance(app)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    for host in range(1, 6):
        traffic.connect(f"10.200.0.{host}", data, 22, [3])
    traffic.connect(web, data, 8080, [9], nat="10.99.0.1")
    traffic.write()
    [rule] = tightened(cli, db.id)
    assert [(user["from"], user["address"]) for user in rule["used_by"]] == [("", "10.200.0.0/24"), ("", "10.99.0.1")]
    assert (rule["becomes"], rule["only"], rule["revoke"]) == ([], 6, "")
    assert all("unknown: no line of a flow log names who had it then" in text for text in rule["left"])
    assert len(rule["left"]) == 6
    assert rule["in_the_way"][-1].endswith("from 10.200.0.1, 10.200.0.2, 10.200.0.3 and 3 more")


def test_only_what_was_answered_is_proposed(lab: Lab, cli: Cli) -> None:
    """With flags a port that resets is no service, without them one that sends anything back may be. What REJECT
    stopped is no use, and connections that the instance opened itself need no ingress rule."""
    db, app = lab.group(), lab.group()
    data, web = lab.instance(db), lab.instance(app)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab, capture=Capture(optional=("tcp-flags",)))
    traffic.connect(web, data, 3306)
    traffic.connect(web, data, 8080, answered=False)
    traffic.connect(web, data, 23, accepted=False)
    traffic.connect(data, web, 443)
    traffic.connect(web, data, 50051)
    traffic.write()
    [rule] = tightened(cli, db.id)
    assert {port for user in rule["used_by"] for port in user["ports"]} == {"tcp/3306", "tcp/8080", "tcp/50051"}
    [link] = rule["becomes"]
    assert "tcp/3306+tcp/50051;" in link
    assert [text.partition(": ")[2] for text in rule["left"]] == [
        "unproven: the log of the account has no answer to it"
    ]


@pytest.mark.parametrize("window", [60, 300, 600])
def test_connections_from_ephemeral_ports_are_no_services(lab: Lab, cli: Cli, window: int) -> None:
    """Without flags a port that connections come from is never proposed; if it may have been a service's, it is used
    all the same. So it is in each of the windows that can be chosen."""
    db, app = lab.group(), lab.group()
    data, web = lab.instance(db), lab.instance(app)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab, 2, capture=Capture(window))
    traffic.connect(data, web, 443)  # what comes back goes to such a port
    traffic.connect(web, data, Ports(50051, source_port=33000))
    traffic.write()
    [rule] = tightened(cli, db.id, "--last", "2d")
    assert [(user["from"], user["ports"]) for user in rule["used_by"]] == [(web.id, ["tcp/32768-65535"])]
    assert (rule["becomes"], rule["only"]) == ([], 1)
    assert "unproven" in rule["left"][0]


def test_members_that_reach_each_other_use_no_rule(lab: Lab, cli: Cli) -> None:
    """Unless their group isolates them."""
    db = lab.group()
    first, second = lab.instance(db), lab.instance(db)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    traffic.connect(first, second, 3306)
    traffic.write()
    assert [(rule["use"], rule["flows"]) for rule in tightened(cli, db.id)] == [("unused", 0)]
    lab.call(HOME, "ModifySecurityGroupPolicy", {"SecurityGroupId": db.id, "InnerAccessPolicy": "Drop"})
    assert [(rule["use"], rule["only"]) for rule in tightened(cli, db.id)] == [("used", 1)]


def test_a_group_is_proposed_where_all_of_it_was_seen_else_instances(lab: Lab, cli: Cli) -> None:
    """`--by group` proposes it anyway, and names who was not seen. An instance that is stopped does not count."""
    app, db = lab.group(), lab.group()
    first, second, data = lab.instance(app), lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    traffic.connect(first, data, 3306)
    traffic.write()
    [rule] = tightened(cli, db.id)
    assert rule["becomes"][0].startswith(f"{first.id}@{HOME} -> {data.id}@{HOME} tcp/3306")
    [rule] = tightened(cli, db.id, "--by", "group")
    assert rule["becomes"][0].startswith(f"{app.id}@{HOME} -> {db.id}@{HOME} tcp/3306; admits 1 instance not seen")
    lab.call(HOME, "StopInstance", {"InstanceId": second.id})
    lab.tag(db, link_accept="*")
    assert cli("tighten", db.id, "--commands") == 0
    assert [line.split()[1] for line in cli.out.splitlines()[1:]] == ["request"]  # consent is there
    lab.tag(db, link_accept=None)
    [rule] = tightened(cli, db.id)
    assert rule["becomes"][0].startswith(f"{app.id}@{HOME} -> {db.id}@{HOME} tcp/3306;")


def test_what_may_not_be_opened_is_left_with_the_reason(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """`deny`, `never` and `link-refuse`; and it stays in the way of removing the rule."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    lab.policy(deny={"ports": ["tcp/22"]})
    traffic = Traffic(lab)
    for port in (22, 80, 3306):
        traffic.connect(web, data, port)
    traffic.write()
    lab.tag(db, link_refuse=f"{app.id}:tcp/80")
    [rule] = tightened(cli, db.id, "--propose", str(tmp_path / "p.yaml"))
    assert [link.partition(" tcp")[2].partition(";")[0] for link in rule["becomes"]] == ["/3306"]
    assert sorted(text.partition(" tcp/")[2].partition(":")[0] for text in rule["left"]) == ["22", "80"]
    assert cli("check", str(tmp_path / "p.yaml")) == 0


def test_what_an_instance_may_not_reach_is_in_no_link_of_its_group(lab: Lab, cli: Cli) -> None:
    """A link between groups is judged by these groups alone, and would carry what another group of a member is
    refused."""
    app, batch, db = lab.group(), lab.group(), lab.group()
    web, worker, data = lab.instance(app), lab.instance(app, batch), lab.instance(db)
    lab.authorize(db, **WIDE)
    lab.tag(db, link_refuse=batch.id)
    traffic = Traffic(lab)
    for sender in (web, worker):
        traffic.connect(sender, data, 3306)
    traffic.write()
    for args in ((db.id,), (db.id, "--by", "group")):
        [rule] = tightened(cli, *args)
        assert [link.partition(" tcp")[0] for link in rule["becomes"]] == [
            f"{app.id}@{HOME} -> {db.id}@{HOME}" if args[1:] else f"{web.id}@{HOME} -> {data.id}@{HOME}"
        ]
        assert [text.partition(" tcp")[0] for text in rule["left"]] == [f"{worker.id}@{HOME} -> {data.id}@{HOME}"]


def test_an_answer_that_is_too_long_is_asked_for_in_parts(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ends of the ids of interfaces. Where a part is at the limit of rows, nothing is known."""
    app, db = lab.group(), lab.group()
    senders, data = [lab.instance(app) for _ in range(12)], lab.instance(db)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab, 2)
    for sender in senders:
        traffic.connect(sender, data, 3306)
    traffic.write()
    rules = tightened(cli, db.id, "--last", "2d")
    assert len(rules[0]["used_by"]) == 12
    monkeypatch.setattr(flow_log, "LIMIT", 60)
    assert tightened(cli, db.id, "--last", "2d") == rules
    monkeypatch.setattr(flow_log, "LIMIT", 2)
    [rule] = tightened(cli, db.id, "--last", "2d", code=1)
    assert (rule["use"], rule["revoke"]) == ("unknown", "")
    assert "did not return all of its flows" in rule["unknown"][0]


def test_an_estate_takes_a_query_of_each_account_and_few_calls(lab: Lab, cli: Cli) -> None:
    """Two accounts, one rule for a whole network on all ports, and three parties behind it: three links. The log of
    each account takes one query, where it has every field, and its interfaces one call. A group takes the call for its
    rules alone, although `--all` reads and judges groups with members; whether members reach each other is read where
    packets went between some, and nowhere else."""
    app, jobs, db, ledger = lab.group(), lab.group(), lab.group(), lab.group(account=PEER)
    web, job, payer, data = lab.instance(app), lab.instance(jobs), lab.instance(ledger), lab.instance(db)
    lab.authorize(db, IpProtocol="TCP", PortRange="1/65535", SourceCidrIp="10.0.0.0/8")
    lab.authorize(app, IpProtocol="TCP", PortRange="1/65535", SourceCidrIp="10.0.0.0/8")
    traffic = Traffic(lab, 2, capture=Capture(optional=("tcp-flags", "traffic_path")))
    for sender, port in ((web, 3306), (job, 3306), (payer, 443)):
        traffic.connect(sender, data, port)
    traffic.write()
    calls = lab.calls()
    rules = tightened(cli, "--all", "--last", "2d")
    assert sorted(len(rule["becomes"]) for rule in rules) == [0, 3]
    counts = Counter((call.account, call.action) for call in list(lab.cloud.faults.calls)[calls:])
    for account, groups in ((HOME, 3), (PEER, 1)):
        assert counts[account, "GetLogs"] == 1
        assert counts[account, "DescribeNetworkInterfaces"] == 1
        assert counts[account, "DescribeSecurityGroups"] == 1
        assert counts[account, "DescribeSecurityGroupAttribute"] == groups
        assert counts[account, "DescribeInstances"] == 2  # all, and those that run
    assert (
        sum(count for (_, action), count in counts.items() if action == "AssumeRole") == 2
    )  # the reader's, and the other account's


def test_a_query_of_a_flow_log_may_take_a_minute(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not answered in time would make every rule unknown. Of an event, five seconds are too much."""
    db = lab.group()
    lab.authorize(db, IpProtocol="TCP", PortRange="1/65535", SourceCidrIp="10.0.0.0/8")
    Traffic(lab, 2).write()
    waits = {}
    get_log = sls.LogClient.get_log

    def timed(client: Any, *args: Any, **kwargs: Any) -> Any:
        waits[kwargs["query"].count("|") > 0] = client.timeout
        return get_log(client, *args, **kwargs)

    monkeypatch.setattr(sls.LogClient, "get_log", timed)
    tightened(cli, db.id)
    assert waits[True] == 60


def test_nothing_is_written(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Neither rules nor tags change, and no call but those that read is made, whatever is asked for: link-peer touches
    no rule of a person, and the roles that read it may not."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.write()
    before, calls = (lab.raw_rules(db), lab.tags(db)), lab.calls()
    for args in (
        (db.id,),
        ("--all", "--by", "group"),
        (db.id, "--commands"),
        (db.id, "--propose", str(tmp_path / "p")),
    ):
        assert cli("tighten", *args) == 0, cli.err
    actions = {call.action for call in list(lab.cloud.faults.calls)[calls:]}
    assert (lab.raw_rules(db), lab.tags(db)) == before
    assert {action for action in actions if not action.startswith(("Describe", "Get", "List"))} <= {"AssumeRole"}
    roles = Path(__file__).parents[3] / "deploy"
    for name in ("ram-operator-read.json", "ram-peer-reader.json"):
        statements = json.loads((roles / name).read_text("utf-8"))["Statement"]
        allowed = {action for each in statements if each["Effect"] == "Allow" for action in each["Action"]}
        assert {action for action in allowed if action.startswith("ecs:")} == {
            action for action in allowed if action.startswith(("ecs:Describe", "ecs:List"))
        }


def test_rules_that_flow_logs_do_not_tell_of_stay(lab: Lab, cli: Cli) -> None:
    """IPv6 has no lines. What is dropped before a wide rule is no use of it; a narrow rule is not listed."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    ipv6 = lab.authorize(db, IpProtocol="TCP", PortRange="1/65535", Ipv6SourceCidrIp="fd00::/8")
    wide = lab.authorize(db, **{**WIDE, "Priority": "50"})
    lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="10")
    person(lab, db, app)
    traffic = Traffic(lab)
    traffic.connect(web, data, 22)
    traffic.write()
    rules = {rule["rule_id"]: rule for rule in tightened(cli, db.id)}
    assert rules.keys() == {ipv6, wide}
    assert (rules[wide]["use"], bool(rules[wide]["revoke"])) == ("unused", True)
    assert (rules[ipv6]["use"], rules[ipv6]["peer"]) == ("unknown", "fd00::/8")
    assert rules[ipv6]["unknown"] == ["it is for IPv6, which flow logs do not have"]
    assert rules[ipv6]["revoke"] == ""


def test_of_egress_only_the_use_is_told(lab: Lab, cli: Cli) -> None:
    """Of advanced groups: a basic one lets everything out. Answers need no rule."""
    app, db = lab.group(type="enterprise"), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    for group in (app, db):
        egress(lab, group, IpProtocol="TCP", PortRange="1/65535", DestCidrIp="10.0.0.0/8", Priority="1")
    lab.authorize(app, IpProtocol="TCP", PortRange="443/443", SourceCidrIp=f"{data.private_ip}/32")
    traffic = Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.connect(data, web, 443)
    traffic.connect(data, web, 3306)  # the same port, the other way
    traffic.write()
    [rule] = tightened(cli, app.id)
    assert (rule["direction"], rule["use"], rule["only"], rule["becomes"]) == ("egress", "used", 1, [])
    assert [(user["from"], user["ports"]) for user in rule["used_by"]] == [(data.id, ["tcp/3306"])]
    assert rule["in_the_way"][0] == "it is an egress rule: link-peer tells its use alone"
    assert tightened(cli, db.id) == []


def test_two_rules_that_carry_the_same_do_not_both_go(lab: Lab, cli: Cli) -> None:
    """Each may go while the other stands."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    lab.authorize(db, IpProtocol="TCP", PortRange="3306/3306", SourceCidrIp="10.0.0.0/8")
    traffic = Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.write()
    widest, narrower = tightened(cli, db.id)
    assert (widest["only"], narrower["only"]) == (0, 0)
    assert widest["revoke"]
    assert "only this rule and others that go admit" in narrower["in_the_way"][0]
    assert widest["becomes"] == narrower["becomes"]


def test_the_estate_is_one_table_the_widest_first(lab: Lab, cli: Cli) -> None:
    """Of accounts that the keys can read; an account whose log cannot be read makes the command fail, and others are
    told."""
    app, db, ledger = lab.group(), lab.group(), lab.group(account=PEER)
    web, data, payer = lab.instance(app), lab.instance(db), lab.instance(ledger)
    person(lab, db, app, PortRange="1/65535")
    person(lab, db, app, PortRange="22/22")  # narrow
    wide = lab.authorize(ledger, SourceCidrIp="10.0.0.0/8", **ALL)
    traffic = Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.connect(web, payer, 443)
    traffic.write()
    rules = tightened(cli, "--all")
    assert [(rule["account"], rule["ports"]) for rule in rules] == [(PEER, "all"), (HOME, "tcp/1-65535")]
    assert [rule["rule_id"] for rule in tightened(cli, PEER)] == [wide]
    assert cli("tighten", "--all", "-o", "csv") == 0
    assert [row["rule_id"] for row in csv.DictReader(io.StringIO(cli.out))] == [rule["rule_id"] for rule in rules]
    lab.policy_account(PEER, flowlog="nothing/here")
    rules = tightened(cli, "--all", code=1)
    assert [rule["use"] for rule in rules] == ["unknown", "used"]
    assert "was not read" in rules[0]["unknown"][0]


def test_of_an_address_that_nobody_had_the_rules_that_decide_are_unknown(lab: Lab, cli: Cli) -> None:
    """A range that admits its packets alone, but neither one beside another that does, nor one that it is not in, nor
    one of IPv6."""
    db = lab.group()
    data = lab.instance(db)
    lab.authorize(db, **WIDE)
    elsewhere = lab.authorize(db, **{**WIDE, "SourceCidrIp": "172.16.0.0/12"})
    ipv6 = lab.authorize(db, IpProtocol="TCP", PortRange="1/65535", Ipv6SourceCidrIp="fd00::/8")
    traffic = Traffic(lab, 2)
    traffic.connect("10.200.0.1", data, 22)
    traffic.connect("192.168.0.1", data, 22)  # some rule of then let it in
    traffic.write()
    doubt = "who had 10.200.0.1 is not known: no line of a flow log names who had it then"
    rules = {rule["peer"]: rule for rule in tightened(cli, db.id, "--last", "2d")}
    assert rules["10.0.0.0/8"]["unknown"] == [doubt]
    assert (rules["172.16.0.0/12"]["use"], rules["172.16.0.0/12"]["unknown"]) == ("unused", [])
    assert rules["172.16.0.0/12"]["revoke"].endswith(elsewhere)
    assert (rules["fd00::/8"]["rule_id"], len(rules["fd00::/8"]["unknown"])) == (ipv6, 1)
    lab.authorize(db, **{**WIDE, "SourceCidrIp": "10.200.0.0/16"})
    rules = {rule["peer"]: rule for rule in tightened(cli, db.id, "--last", "2d")}
    assert [(rules[peer]["unknown"], bool(rules[peer]["revoke"])) for peer in ("10.0.0.0/8", "10.200.0.0/16")] == [
        ([], True),
        ([], False),
    ]


def test_the_file_of_a_proposal_is_checked(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """It has the evidence of all ports of a link together. A port that the policy denies by now is a problem, and a
    file without links is one of a proposal, too."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    file, traffic = tmp_path / "links.yaml", Traffic(lab)
    traffic.write()
    assert cli("tighten", db.id, "--propose", str(file)) == 0
    assert "\nlinks: []\n" in file.read_text("utf-8")
    assert cli("check", str(file)) == 0, cli.err
    traffic = Traffic(lab)
    traffic.connect(web, data, 443, [3])
    traffic.connect(web, data, 3306, [20])
    traffic.write(roles=False)
    assert cli("tighten", db.id, "--propose", str(file)) == 0
    last = datetime.fromtimestamp(traffic.since + 20 * DAY + DAY // 2, timezone.utc).date()
    assert f'evidence: {{days: 2, last: "{last}T' in file.read_text("utf-8")
    assert cli("check", str(file)) == 0, cli.err
    lab.policy(deny={"ports": ["tcp/443"]})
    assert cli("check", str(file)) == 1
    assert "the policy opens no link on tcp/3306+tcp/443" in cli.out


@pytest.mark.parametrize(
    ("text", "changed_text", "problem"),
    [
        ("ports: [tcp/3306]", "ports: [tcp/3306, tcp/3307]", "does not cover the link from {web}@{home} on tcp/3306+tcp/3307"),
        ("ports: [tcp/3306]", "ports: []", "must list the ports"),
        ('entry: "{web}:', 'entry: "sg-a:', "does not cover the link from {web}@{home} on tcp/3306"),
        ('to: "{data}"', 'to: "{db}"', "a link is between two groups, or between two instances"),
        ('"on": "{db}"', '"on": "{data}"', "a group consents, for the instances that are in it"),
        ("days: 30", "days: 0", ""),
        ("lines: 30", "lines: -1", "must be a whole number"),
    ],
)  # fmt: skip
def test_a_proposed_link_that_a_person_changed_is_checked_again(
    lab: Lab, cli: Cli, tmp_path: Path, text: str, changed_text: str, problem: str
) -> None:
    """Its ends, and that the entry which the file names would open what the link asks for by then. One that nobody saw
    may be there."""
    app, db = lab.group(), lab.group()
    web, data, _unseen = lab.instance(app), lab.instance(db), lab.instance(app)
    lab.authorize(db, **WIDE)
    file, traffic = tmp_path / "links.yaml", Traffic(lab)
    traffic.connect(web, data, 3306)
    traffic.write()
    assert cli("tighten", db.id, "--propose", str(file)) == 0
    ids = {"web": web.id, "data": data.id, "db": db.id, "home": HOME}
    proposal = file.read_text("utf-8")
    assert proposal.count(text.format(**ids)) == 1
    file.write_text(proposal.replace(text.format(**ids), changed_text.format(**ids)), "utf-8")
    assert cli("check", str(file)) == bool(problem)
    assert problem.format(**ids) in cli.out + cli.err


@pytest.mark.usefixtures("terminal")
def test_the_commands_that_remove_a_rule_are_in_the_wide_table_alone(lab: Lab, cli: Cli) -> None:
    """The table of a terminal says whether it may go."""
    db = lab.group()
    lab.instance(db)
    lab.authorize(db, **WIDE)
    Traffic(lab, 2).write()
    for args, is_printed in (((), False), (("-o", "wide"), True)):
        assert cli("tighten", "--all", "--last", "2d", *args) == 0, cli.err
        assert ("aliyun ecs" in cli.out) == is_printed


def test_a_link_between_groups_needs_consent_to_all_of_its_source(lab: Lab, cli: Cli) -> None:
    """Where a rule can name the source, an entry for the one instance that is in it now is not enough."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    lab.tag(db, link_accept=f"{web.id}:tcp/3306")
    traffic = Traffic(lab, 2)
    traffic.connect(web, data, 3306)
    traffic.write()
    [rule] = tightened(cli, db.id, "--last", "2d")
    assert rule["becomes"] == [
        f"{app.id}@{HOME} -> {db.id}@{HOME} tcp/3306; {db.id}@{HOME} has to accept {app.id}:tcp/3306"
    ]


def test_a_group_of_a_cloud_product_is_in_no_proposed_link(lab: Lab, cli: Cli) -> None:
    """ECS lets nobody else write rules that name it: its instances are linked by themselves."""
    app, db = lab.group(), lab.group()
    web, data = lab.instance(app), lab.instance(db)
    lab.cloud.ecs.accounts[HOME].groups[app.id].managed = True
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab, 2)
    traffic.connect(web, data, 3306)
    traffic.write()
    [rule] = tightened(cli, db.id, "--last", "2d")
    assert [link.partition(" tcp")[0] for link in rule["becomes"]] == [f"{web.id}@{HOME} -> {data.id}@{HOME}"]


def test_the_consent_that_is_there_is_that_of_the_target(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Of an advanced group that sends, too, whose own consent the link also needs."""
    app, db = (lab.group(type="enterprise") for _ in range(2))
    web, data, file = lab.instance(app), lab.instance(db), tmp_path / "links.yaml"
    lab.instance(app)  # which sends nothing, so that the link is between instances
    lab.authorize(db, **WIDE)
    lab.tag(db, link_accept=f"{web.id}:tcp/3306"), lab.tag(app, link_egress=f"{db.id}:tcp/3306")
    traffic = Traffic(lab, 2)
    traffic.connect(web, data, 3306)
    traffic.write()
    assert cli("tighten", db.id, "--last", "2d", "--propose", str(file)) == 0
    assert f'    consent: {{"on": "{db.id}", entry: "{web.id}:tcp/3306"}}  # it is there\n' in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("source", "is_valid"),
    [("i-a", True), (f"sg-a@{PEER}", True), ("10.0.0.0/24", True), ("10.0.0.1", True), ("db", False), ("::1", False)],
)
def test_what_no_link_carries_comes_from_a_party_or_an_address(source: str, is_valid: bool) -> None:
    """In the file of a proposal, too, which a person may have changed."""
    evidence = 'evidence: {days: 1, last: "2026-12-01T00:00:00Z", lines: 1}'
    text = f'left: [{{from: "{source}", to: "sg-b", ports: ["tcp/1"], why: "NAT", {evidence}}}]\n'
    with contextlib.nullcontext() if is_valid else pytest.raises(PolicyError, match="must be a party or an address"):
        checked(text, "p.yaml", None)


@pytest.mark.usefixtures("terminal")
def test_a_narrow_table_leaves_out_what_decides_least(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never whether a rule may go."""
    lab.authorize(lab.group(), **WIDE)
    cli("tighten", "--all", "--last", "2d")
    whole = "group rule admits ports use by only not known becomes may go"
    assert cli.out.splitlines()[0].split() == whole.split()
    monkeypatch.setenv("COLUMNS", "90")
    cli("tighten", "--all", "--last", "2d")
    assert cli.out.splitlines()[0].split() == ["group", "admits", "ports", "use", "becomes", "may", "go"]
    assert cli.out.splitlines()[-1] == "left out at 90 columns: rule, not known, only, by; -o wide prints all"


def test_what_one_link_depends_on_is_read_once_for_all(lab: Lab, cli: Cli, mocker: MockerFixture) -> None:
    """The rules of an advanced group that sends. Each look at a view copies all that it read, so that another link
    takes no look."""
    app, db = (lab.group(type="enterprise") for _ in range(2))
    web, _, data = lab.instance(app), lab.instance(app), lab.instance(db)
    lab.authorize(db, **WIDE)
    traffic = Traffic(lab, 2)
    for day, port in ((0, 80), (0, 443), (1, 3306)):
        traffic.connect(web, data, port, [day])
    traffic.write()
    looks, counts = mocker.spy(Store, "snapshot"), []
    for last, ports in (("1d", "tcp/3306"), ("2d", "tcp/3306+tcp/443+tcp/80")):
        calls = lab.calls()
        looks.reset_mock()
        [rule] = tightened(cli, db.id, "--last", last)
        assert rule["becomes"] == [
            f"{web.id}@{HOME} -> {data.id}@{HOME} {ports}; {db.id}@{HOME} has to accept {web.id}:{ports}"
            f"; {app.id}@{HOME} has to accept {data.id}:{ports}"
        ]
        actions = Counter(call.action for call in list(lab.cloud.faults.calls)[calls:])
        counts.append((actions["DescribeSecurityGroupAttribute"], looks.call_count))
    assert counts[0] == counts[1]
    assert counts[0][0] == 2  # the rules of each group
