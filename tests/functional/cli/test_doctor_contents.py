"""`link-peer doctor` finds what is wrong with the links, consents and groups that the accounts hold.

With an account it leaves out what is deployed, which tests/functional/cli/test_doctor.py is about.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec
import pytest
from aliyun_local.api import Group, Instance
from link_peer_cli.checks import quotas
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, UNKNOWN, WARNING, CheckFinding, counts, report

from tests.functional.command import CallerActions, Cli
from tests.functional.command import linked_by_request as linked
from tests.functional.lab import HOME, PEER, Lab

pytestmark = pytest.mark.usefixtures("accesses", "living_lab")

DROP = {"IpProtocol": "TCP", "PortRange": "3306/3306", "SourceCidrIp": "10.0.0.0/8", "Policy": "drop", "Priority": "1"}


def findings_of(cli: Cli, begins: str, account: str = HOME) -> list[dict[str, Any]]:
    """The findings whose subject begins with this, of a doctor for an account."""
    code, findings = cli.json("doctor", account)
    assert code in (0, 1)
    return [finding for finding in findings if finding["what"].startswith(begins)]


# drops and other things that stop packets


def test_a_drop_that_stops_links_is_named_with_who_can_remove_it(lab: Lab, cli: Cli) -> None:
    """One warning for each rule, however many links it stops; the links by name, and a command that explains one."""
    _, db, _, _ = linked(lab)
    apps = [lab.group("*", name=f"app-{number}") for number in range(4)]
    for number, app in enumerate(apps):
        lab.instance(app)
        lab.cross_account(lab.request(app, db, "tcp/3306", request_id=f"chg-{number + 2}"))
    assert findings_of(cli, "drop") == []
    rule = lab.authorize(db, **DROP, Description="frozen")
    lab.authorize(db, **{**DROP, "PortRange": "9999/9999"})
    (drop,) = findings_of(cli, "drop")
    assert (drop["state"], drop["where"]) == ("warning", HOME)
    assert drop["what"] == f"drop {rule} on {db.id}@{HOME}"
    assert drop["detail"].startswith("drop tcp/3306 priority 1 'frozen': it stops sg-")
    assert drop["detail"].endswith("; and 2 more")
    assert f"to {db.id}@{HOME} tcp/3306" in drop["detail"]
    assert f"who may change security groups in account {HOME} can remove it" in drop["advice"]
    explain = re.search(r"link-peer (explain .*)$", drop["advice"])
    assert explain is not None
    assert cli(*explain[1].split()) == 1
    assert rule in cli.out


def test_members_that_never_bars_are_named(lab: Lab, cli: Cli) -> None:
    """By themselves, or by another group of theirs; the link stands, since its groups are not barred. A set of `allow`
    that no group is in consents to nothing."""
    app, db, _, _ = linked(lab)
    dev = lab.group(tags={"env": "dev"})
    instance, other_instance = lab.instance(app, dev), lab.instance(db)
    sets = {"dev": {"account": HOME, "tags": {"env": "dev"}}, "qa": {"account": HOME, "tags": {"env": "qa"}}}
    assert findings_of(cli, "members") == []
    never = [{"from": "set:dev", "to": f"{db.id}@{HOME}"}, {"from": f"*@{HOME}", "to": f"{other_instance.id}@{HOME}"}]
    lab.tag(app, env="prod")
    lab.policy(sets=sets, never=never, allow=[{"from": "set:qa", "to": "set:dev"}])
    (barred,) = findings_of(cli, "members")
    assert (barred["state"], barred["where"]) == ("warning", HOME)
    assert f"members of {app.id}" in barred["what"]
    assert (
        f"{', '.join(sorted([f'{instance.id}@{HOME}', f'{other_instance.id}@{HOME}']))} are in a linked group"
        in barred["detail"]
    )
    assert "never=set:dev->" in barred["detail"]
    (dead,) = findings_of(cli, "consent of set:")
    assert dead["detail"].endswith("no group is in set:qa")
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


@pytest.mark.parametrize(
    "forbids",
    [{"from": "set:dev", "ports": ["tcp/22"]}, {"from": f"*@{HOME}"}],
    ids=["another port", "the groups too"],
)
def test_members_that_are_barred_on_other_ports_or_with_their_group_are_not_named(
    lab: Lab, cli: Cli, forbids: dict[str, Any]
) -> None:
    """An entry for a port that the link does not open bars nobody from it; the next sweep closes one whose groups are
    barred."""
    app, db, _, _ = linked(lab)
    lab.tag(app, env="prod")
    lab.instance(app, lab.group(tags={"env": "dev"}))
    sets = {"dev": {"account": HOME, "tags": {"env": "dev"}}}
    lab.policy(sets=sets, never=[{"to": f"{db.id}@{HOME}", **forbids}])
    assert findings_of(cli, "members") == []


def test_who_may_retag_groups_of_a_set_is_not_seen_and_said(lab: Lab, cli: Cli) -> None:
    """By account, with the keys and the policy that denies them to owners; nothing of an account without sets."""
    lab.policy(sets={"prod": {"account": PEER, "tags": {"tier": "1", "env": "prod"}}})
    [finding] = findings_of(cli, "tags of sets", PEER)
    assert (finding["state"], "who else may change env, tier on groups, because" in finding["detail"]) == ("ok", True)
    assert "link-peer check --deny-sets FILE" in finding["detail"]
    assert findings_of(cli, "tags of sets", HOME) == []


def test_a_link_that_is_stopped_in_part_says_so(lab: Lab, cli: Cli) -> None:
    """One of two ports."""
    _, db, _, _ = linked(lab, "tcp/3306", "tcp/3307")
    lab.authorize(db, **DROP)
    (drop,) = findings_of(cli, "drop")
    assert "tcp/3306+tcp/3307, in part" in drop["detail"]


def test_a_link_whose_sender_is_let_out_by_nothing_is_reported(lab: Lab, cli: Cli) -> None:
    """An advanced group lets nothing out by default. The sender's account must act: it is reported there, not where the
    packets would arrive."""
    app, db = lab.group(f"*@{HOME}", type="enterprise", account=PEER), lab.group(f"*@{PEER}")
    lab.tag(app, link_egress=f"{db.id}@{HOME}")
    a, b = lab.instance(app), lab.instance(db)
    lets_out = {
        "IpProtocol": "TCP",
        "PortRange": "3306/3306",
        "DestCidrIp": f"{b.private_ip}/32",
        "NicType": "intranet",
    }
    permission = {f"Permissions.1.{name}": value for name, value in lets_out.items()}
    lab.call(PEER, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": app.id, **permission})
    assert lab.cross_account(lab.request(a, b, "tcp/3306")) == {"applied": 1}
    lab.call(PEER, "RevokeSecurityGroupEgress", {"SecurityGroupId": app.id, **permission})
    assert findings_of(cli, "blocked", HOME) == []
    (blocked,) = findings_of(cli, "blocked", PEER)
    assert (blocked["state"], blocked["where"]) == ("warning", PEER)
    assert "an advanced group lets nothing out by default" in blocked["detail"]
    assert blocked["advice"] == f"link-peer explain {a.id}@{PEER} {b.id}@{HOME} tcp/3306"


@pytest.mark.knobs(request_tags=True)  # else no group is tagged, and a sweep reads all that it may
def test_every_link_is_judged_by_the_rules_of_all_groups(lab: Lab, cli: Cli) -> None:
    """A sweep reads those of managed groups and of a share of the others; the doctor reads the rest, too."""
    app, _, _, _ = linked(lab)
    for group in (app, *(lab.group() for _ in range(5))):
        permission = {"IpProtocol": "TCP", "PortRange": "1/1", "DestCidrIp": "10.0.0.0/8", "Policy": "drop"}
        fields = {f"Permissions.1.{name}": value for name, value in permission.items()}
        lab.call(HOME, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": group.id, **fields})
    for _ in range(3):  # six groups in three shares
        assert [finding["detail"] for finding in findings_of(cli, "state of links")] == [
            "1 open, as far as security groups decide"
        ]
        lab.cloud.clock.sleep(600)


# isolated groups


def test_an_isolated_group_in_which_a_link_was_asked_for_is_a_warning(lab: Lab, cli: Cli) -> None:
    """With how many links inside it are denied. A group whose members reach each other is none."""
    group = lab.group("*", name="cluster")
    lab.instance(group, tags={"link-peer": f"{group.id}:tcp/1"})
    assert findings_of(cli, "isolated group") == []
    lab.call(HOME, "ModifySecurityGroupPolicy", {"SecurityGroupId": group.id, "InnerAccessPolicy": "Drop"})
    (isolated,) = findings_of(cli, "isolated group")
    assert (isolated["state"], isolated["what"]) == ("warning", f"isolated group {group.id}@{HOME}")
    assert isolated["detail"].endswith("by rules only; 1 links inside it are denied")
    assert f"--SecurityGroupId {group.id} --InnerAccessPolicy Accept" in isolated["advice"]


# consent


def test_consent_that_is_certain_to_match_nothing_is_a_warning(lab: Lab, cli: Cli) -> None:
    """Invalid syntax, an end that has passed, an account that is not in the policy, a party that does not exist. `sweep
    --dry-run` lists the same."""
    good = lab.instance(lab.group()).id
    gone_group, foreign_group = "sg-gone", "sg-x@1000000000000009"
    entries = ["sg-a:", "*:tcp/1~20200101T000000Z", foreign_group, gone_group, "i-gone", f"sg-gone@{PEER}", good, "*"]
    db = lab.group(*entries[:4], name="ledger", tags={"link-accept.2": " ".join(entries[4:])})
    dead = {finding["detail"].partition(": ")[0]: finding for finding in findings_of(cli, f"consent of {db.id}")}
    keys = ["link-accept"] * 4 + ["link-accept.2"] * 2
    assert set(dead) == {f"{key}={entry}" for key, entry in zip(keys, entries[:6], strict=True)}
    assert {finding["state"] for finding in dead.values()} == {"warning"}
    reason_by_entry = {text: finding["detail"].partition(": ")[2] for text, finding in dead.items()}
    assert reason_by_entry[f"link-accept={entries[1]}"] == "ended at 2020-01-01T00:00:00Z"
    assert reason_by_entry[f"link-accept={foreign_group}"] == "account 1000000000000009 is not in the policy"
    assert reason_by_entry[f"link-accept={gone_group}"] == f"sg-gone@{HOME} does not exist"
    assert reason_by_entry["link-accept.2=i-gone"] == f"i-gone@{HOME} does not exist"
    assert reason_by_entry["link-accept=sg-a:"].startswith("invalid syntax: ")
    _, [dry] = cli.json("sweep", "--dry-run")
    assert {entry["what"]: entry["why"] for entry in dry["obsolete"] if entry["group"] == db.id} == reason_by_entry
    assert dead["link-accept=sg-a:"]["advice"].startswith("correct the entry sg-a: of the tag link-accept on ")
    for entry in (entries[1], gone_group):
        words = dead[f"link-accept={entry}"]["advice"].replace("'", "").split()
        assert words[:3] == ["link-peer", "withdraw", f"{db.id}@{HOME}"]
        assert cli(*words[1:], "--yes") == 0, cli.err
    assert "sg-gone " not in lab.tags(db)["link-accept"]


def test_consent_to_reach_others_means_nothing_on_a_basic_group(lab: Lab, cli: Cli) -> None:
    """With the command that takes it off. An entry that matches nothing is dead at either end, on an advanced group
    too."""
    basic = lab.group(tags={"link-egress": "*", "link-egress.3": "*"})
    advanced = lab.group(type="enterprise", tags={"link-egress": "sg-gone"})
    [warning] = findings_of(cli, "link-egress")
    assert (warning["what"], warning["state"]) == (f"link-egress and link-egress.3 of {basic.id}@{HOME}", WARNING)
    assert warning["advice"].endswith(f"--ResourceId.1 {basic.id} --TagKey.1 link-egress --TagKey.2 link-egress.3")
    [dead] = findings_of(cli, f"consent of {advanced.id}")
    assert dead["advice"] == f"link-peer withdraw {advanced.id}@{HOME} sg-gone --egress"


def test_a_refusal_that_cannot_be_read_is_a_warning(lab: Lab, cli: Cli) -> None:
    """It refuses everybody. One that can be read is none."""
    lab.group(tags={"link-refuse": "sg-app:tcp/1", "link-refuse.2": "*"})
    db = lab.group(tags={"link-refuse.x": "ledger", "link-refuse.y": ""})
    warnings = findings_of(cli, "refusal of")
    assert [warning["what"] for warning in warnings] == [f"refusal of {db.id}@{HOME}"] * 2
    assert [warning["advice"].split()[-1] for warning in warnings] == ["link-refuse.x", "link-refuse.y"]
    assert all("refuses everybody" in warning["detail"] for warning in warnings)


def test_other_groups_of_a_locked_groups_instances_are_named(lab: Lab, cli: Cli) -> None:
    """They may admit what the lock keeps off; those that are locked, too, cannot."""
    locked, other_group, sealed = lab.group(tags={"link-lock": ""}), lab.group(), lab.group(tags={"link-lock": ""})
    lab.instance(locked, other_group, sealed)
    lab.instance(lab.group(tags={"link-lock": ""}))
    warnings = findings_of(cli, "lock of")
    assert sorted(warning["what"] for warning in warnings) == sorted(
        f"lock of {group.id}@{HOME}" for group in (locked, sealed)
    )
    assert all(other_group.id in warning["detail"] and sealed.id not in warning["detail"] for warning in warnings)
    assert warnings[0]["advice"].endswith(f"link-peer close {other_group.id}@{HOME}")


def test_a_key_that_only_looks_like_one_of_link_peer_is_a_warning(lab: Lab, cli: Cli) -> None:
    """Another case, a letter too many, the key of the other kind of thing: with the key that was probably meant. Other
    deployments' managed tags, and what begins otherwise, are not meant for this one."""
    plain_tags = {"link-managed.test.1": "true", "linked": "yes"}
    looks = {"link_lock": "", "link-peer": "sg-a", "link-accept.x": "*", "Link-Accept": "*"}
    db = lab.group("*", tags={**looks, **plain_tags})
    app = lab.instance(lab.group(), tags={"link-untill": "2099-01-01T00:00:00Z", "link-peer.2": db.id, "link-lock": ""})
    warned = {
        (party_id, finding["detail"].split("'")[1]): finding["advice"].split()[3].rstrip(",")
        for party_id in (db.id, app.id)
        for finding in findings_of(cli, f"tag of {party_id}")
    }
    assert warned == {
        (db.id, "link_lock"): "link-lock",
        (db.id, "link-peer"): "link-peer",
        (db.id, "link-accept.x"): "link-accept.2",
        (db.id, "Link-Accept"): "link-accept.2",
        (app.id, "link-untill"): "link-until",
        (app.id, "link-lock"): "link-lock",
    }


def test_what_an_account_does_not_show_is_dead_only_if_it_was_read_completely(lab: Lab, cli: Cli) -> None:
    """Not while it cannot be entered, nor while it shows no instances."""
    db = lab.group(f"sg-gone@{PEER}")
    assert len(findings_of(cli, f"consent of {db.id}")) == 1
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    assert findings_of(cli, f"consent of {db.id}") == []
    lab.cloud.faults.clear()
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    assert findings_of(cli, f"consent of {db.id}") == []


def test_an_instance_that_the_sweep_sets_aside_exists(lab: Lab, cli: Cli) -> None:
    """It carries no tag and no rule names it, so only its id is known."""
    aside = lab.instance(lab.group())
    db = lab.group(aside.id)
    assert findings_of(cli, f"consent of {db.id}") == []
    assert cli.json("sweep", "--dry-run")[1][0]["obsolete"] == []


def test_dead_entries_of_the_policy_are_warnings(lab: Lab, cli: Cli) -> None:
    """Each once; the advice is the policy file. `sweep --dry-run` lists the same."""
    app, db = lab.group(), lab.group()
    ended = {"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}", "until": "2020-01-01T00:00:00Z"}
    gone_entry = {"from": f"sg-gone@{HOME}", "to": f"{db.id}@{HOME}"}
    good = {"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}
    lab.policy(allow=[ended, gone_entry, good])
    dead = findings_of(cli, f"consent of {db.id}")
    reasons = [finding["detail"].rpartition(": ")[2] for finding in dead]
    assert reasons == ["ended at 2020-01-01T00:00:00Z", f"sg-gone@{HOME} does not exist"]
    assert all(finding["advice"].startswith("remove the entry from the policy file: ") for finding in dead)
    _, [dry] = cli.json("sweep", "--dry-run")
    rows = [(entry["kind"], entry["group"], entry["why"]) for entry in dry["obsolete"]]
    assert rows == [("consent", db.id, reason) for reason in reasons]


def test_tags_that_the_policy_ignores_are_one_warning(lab: Lab, cli: Cli) -> None:
    """With `accept_tags: false`, single entries do not matter."""
    lab.group("sg-gone")
    lab.group("*")
    lab.policy(accept_tags=False)
    (ignored,) = findings_of(cli, "consent")
    assert "the tags link-accept of 2 groups consent to nothing" in ignored["detail"]


# quotas


@pytest.mark.parametrize("counted", ["both", "ingress", "absent", "zero"])
def test_the_fullest_groups_are_numbers(lab: Lab, cli: Cli, counted: str) -> None:
    """Also where nothing is wrong, so that a limit is seen coming; whatever RuleCount counts. Of one account, if one is
    asked for."""
    lab.cloud.knobs.change({"rule_count": counted})
    app, db = lab.group(), lab.group(name="ledger")
    for number in range(3):
        lab.authorize(db, IpProtocol="TCP", PortRange=f"{number + 1}/{number + 1}", SourceGroupId=app.id)
    lab.authorize(db, IpProtocol="TCP", PortRange="9/9", SourceCidrIp="10.0.0.0/8")
    (fullest,) = findings_of(cli, "quota")
    assert fullest["state"] == "ok"
    assert fullest["detail"] == f"{db.id}@{HOME} 3 of 20 with a group as source, {db.id}@{HOME} 4 of 1000 rules"
    assert findings_of(cli, "quota", PEER) == []


@pytest.mark.parametrize("counted", ["both", "ingress", "absent", "zero"])
@pytest.mark.parametrize(("count", "state"), [(8, None), (9, "warning"), (10, "missing")])
def test_an_instance_whose_groups_hold_nearly_all_rules_that_may_be_is_reported(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, count: int, state: str | None, counted: str
) -> None:
    """The limit is on the rules of both directions, in all groups of an interface together."""
    lab.cloud.knobs.change({"rule_count": counted})
    monkeypatch.setattr(quotas, "GROUP_RULES", msgspec.structs.replace(quotas.GROUP_RULES, high=10))
    monkeypatch.setattr(quotas, "NEARLY_ALL_RULES", 8)
    groups = [lab.group(), lab.group()]
    instance = lab.instance(*groups, name="orders-1")
    for number in range(count):
        direction, peer = ("Egress", "DestCidrIp") if number < 4 else ("", "SourceCidrIp")
        fields = {"IpProtocol": "TCP", "PortRange": f"{number + 1}/1000", peer: "10.0.0.0/8", "NicType": "intranet"}
        permission = {f"Permissions.1.{name}": value for name, value in fields.items()}
        group = {"SecurityGroupId": groups[number % 2].id}
        lab.call(HOME, f"AuthorizeSecurityGroup{direction}", {**group, **permission})
    reported = findings_of(cli, f"quota of {instance.id}@{HOME}")
    assert [finding["state"] for finding in reported] == ([state] if state else [])
    assert all(finding["detail"].startswith(f"{count} of 10 rules in its groups: ") for finding in reported)


# what is not covered


def test_ipv6_of_linked_groups_is_named_as_not_covered(lab: Lab, cli: Cli) -> None:
    """Addresses of instances, and rules of people. Of groups without links nothing is said."""
    _, db, _, b = linked(lab)
    lab.instance(lab.group()).ipv6.append("2001:db8::9")
    assert findings_of(cli, "not covered") == []
    b.ipv6.append("2001:db8::1")
    lab.authorize(db, IpProtocol="TCP", PortRange="22/22", Ipv6SourceCidrIp="2001:db8::/32")
    (ipv6,) = findings_of(cli, "not covered")
    assert (ipv6["state"], ipv6["where"], ipv6["what"]) == ("warning", HOME, "not covered: IPv6")
    assert ipv6["detail"].startswith("1 interfaces in groups with links have IPv6 addresses (i-")
    assert ipv6["detail"].endswith("; 1 rules of these groups are for IPv6")


def attach(lab: Lab, group: Group, instance: Instance | None = None) -> Any:
    """A secondary interface in a group, attached to an instance."""
    params = {"VSwitchId": lab.cloud.world.vpcs[2]["vswitch_id"], "SecurityGroupId": group.id}
    interface_id = lab.call(group.account, "CreateNetworkInterface", params)["NetworkInterfaceId"]
    if instance:
        params = {"NetworkInterfaceId": interface_id, "InstanceId": instance.id}
        lab.call(group.account, "AttachNetworkInterface", params)
    return lab.cloud.ecs.accounts[group.account].interfaces[interface_id]


def test_a_secondary_interface_in_other_groups_is_named_as_not_covered(lab: Lab, cli: Cli) -> None:
    """Not one in the same groups, nor one of an instance without links."""
    _, db, _, b = linked(lab)
    other_group = lab.group()
    attach(lab, db, b)
    attach(lab, other_group, lab.instance(lab.group()))
    assert findings_of(cli, "not covered") == []
    interface = attach(lab, other_group, b)
    (secondary,) = findings_of(cli, "not covered")
    assert secondary["what"] == "not covered: secondary interfaces"
    assert secondary["detail"] == (
        f"1 secondary interfaces of instances with links are in other groups: {interface.id} of {b.id}@{HOME}"
    )


def test_an_interface_of_no_ecs_instance_is_named_as_not_covered(lab: Lab, cli: Cli) -> None:
    """A container group's is in use, and no instance's; one that is not attached is not in use."""
    app, db, _, _ = linked(lab)
    interface = attach(lab, db)
    assert findings_of(cli, "not covered") == []
    interface.instance_id = "eci-bp1orders00000000000"
    (foreign,) = findings_of(cli, "not covered")
    assert foreign["what"] == "not covered: interfaces of no ECS instance"
    assert f"{interface.id} in {db.id}@{HOME}" in foreign["detail"]
    attach(lab, app).instance_id = "eci-bp1orders00000000001"  # the group whose members may send, too
    (foreign,) = findings_of(cli, "not covered")
    assert foreign["detail"].startswith("2 interfaces in groups with links belong to no ECS instance")


def test_interfaces_that_may_not_be_read_are_unknown(lab: Lab, cli: Cli) -> None:
    """The other checks go on."""
    linked(lab)
    lab.fault(service="ecs", action="DescribeNetworkInterfaces", code="Forbidden.RAM", status=403, times=None)
    (unknown,) = findings_of(cli, "network interfaces")
    assert (unknown["state"], unknown["where"], unknown["part"]) == ("unknown", HOME, "platform")
    assert findings_of(cli, "state of links") != []


def test_an_account_that_cannot_be_entered_is_not_asked_for_interfaces(lab: Lab, cli: Cli) -> None:
    """That the functions cannot enter it is one finding, and that the doctor cannot read it another."""
    app, db = lab.group(f"*@{HOME}", account=PEER), lab.group(f"*@{PEER}")
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    lab.cloud.clock.sleep(900)  # sessions that the functions have end
    lab.sweep()
    assert (len(findings_of(cli, "access", PEER)), findings_of(cli, "network interfaces", PEER)) == (1, [])
    code, findings = cli.json("doctor", "--tenants")  # which is no whole answer
    assert (code, [finding["what"] for finding in findings if finding["part"] == "platform"]) == (
        1,
        ["access", "contents"],
    )


# how it is read


def calls(accesses: CallerActions, cli: Cli, *command: str) -> Counter[str]:
    """The ECS calls of a command."""
    accesses.clear()
    cli(*command)
    return Counter(action for _, action in accesses if action.startswith("ecs:"))


def test_the_doctor_reads_what_a_sweep_reads_and_the_interfaces(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """One call of DescribeNetworkInterfaces for each account with links, however many groups there are; and home's
    groups, whose tags show other deployments."""
    for number in range(6):
        app, db = lab.group("*"), lab.group("*")
        lab.instance(app)
        lab.cross_account(lab.request(app, db, "tcp/3306", request_id=f"chg-{number}"))
        lab.authorize(db, **DROP)
    swept = calls(accesses, cli, "sweep", "--dry-run")
    doctor = calls(accesses, cli, "doctor")
    assert doctor - swept == Counter({"ecs:DescribeNetworkInterfaces": 1, "ecs:DescribeSecurityGroups": 1})
    assert swept - doctor == Counter()


def test_every_page_of_interfaces_is_read(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not covered may be on the last one."""
    from link_peer_cli.inventory import interfaces

    _, _, _, b = linked(lab)
    attach(lab, lab.group(), b)
    for _ in range(25):
        lab.instance(lab.group())
    monkeypatch.setattr(interfaces, "PAGE", 10)
    assert len(findings_of(cli, "not covered: secondary interfaces")) == 1


# how it is shown


@pytest.mark.usefixtures("terminal")
def test_the_report_stays_short_with_many_groups(lab: Lab, cli: Cli) -> None:
    """What is ok is a few lines, problems are below with names, the worst last, and the counts in the last line."""
    lab.policy_account(PEER, name="payers")
    for number in range(40):
        lab.cross_account(lab.request(lab.group("*"), lab.group("*"), "tcp/1", request_id=f"chg-{number}"))
    db = lab.group("sg-gone", name="ledger", account=PEER)
    app = lab.group(name="app")
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}:tcp/1"})
    assert cli("doctor", "-o", "wide") == 1
    assert "…" not in cli.out.replace("i-…", "")
    assert cli("doctor") == 1
    *lines, last = cli.out.splitlines()
    assert re.fullmatch(
        r"platform: \d+ missing, \d+ unknown, \d+ warnings, \d+ ok; tenants: 1 missing, \d+ warnings?, \d+ ok", last
    )
    findings = [line for line in lines if not line.lstrip().startswith("→")]
    assert max(map(len, findings)) <= 150
    states = [line.split()[0] for line in findings]
    for part in " ".join(states).removeprefix("platform ").split(" tenants "):
        assert part.split() == sorted(part.split(), key=["ok", "warning", "unknown", "differs", "missing"].index)
    dead = "warning  payers  consent of ledger@payers: link-accept=sg-gone: sg-gone@payers does not exist"
    assert lines[lines.index(dead) + 1] == f"         → link-peer withdraw {db.id}@{PEER} sg-gone"
    assert lines[-2].startswith("missing  payers  app@a@aliyun.com to ledger@payers: no-consent: ")
    assert f"link-accept.2={app.id}@{HOME}:tcp/1" in lines[-1]
    advice = [line.strip() for line in lines if "→ link-peer setup" in line]
    assert advice == ["→ link-peer setup --notify ADDRESS", "→ link-peer setup"]  # once below all that it mends


def test_findings_that_are_ok_are_summarised_by_kind() -> None:
    """Up to three of a kind have a line each, as have the first of many accounts. The state decides the order of what
    is not ok."""
    fine = [CheckFinding(OK, "", f"trigger {n}", "as shipped") for n in range(4)]
    fine += [CheckFinding(OK, HOME, "access", "read"), CheckFinding(OK, "", "quota: groups", "3")]
    wrong = [CheckFinding(state, "", state, "") for state in (MISSING, WARNING, UNKNOWN, DIFFERS, WARNING)]
    lines = report([*wrong, *fine])
    assert [line.state for line in lines] == [OK, OK, OK, WARNING, WARNING, UNKNOWN, DIFFERS, MISSING]
    assert [line.subject for line in lines[:3]] == ["trigger × 4", "access", "quota: groups"]
    assert counts([*wrong, *fine]) == "1 missing, 1 differs, 1 unknown, 2 warnings, 6 ok"
    assert counts([*fine, wrong[1]]) == "1 warning, 6 ok"
    refused = [CheckFinding(MISSING, str(uid), "access", "no-access", "ask its owner") for uid in range(1000)]
    assert [(line.where, line.detail, line.advice) for line in report(refused)] == [
        *((str(uid), "no-access", "") for uid in range(3)),
        ("", "997 more accounts: `--json` has all", "ask its owner"),
    ]
