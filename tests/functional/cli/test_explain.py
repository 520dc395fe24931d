"""`link-peer explain` says whether packets pass, what decides, and what to do. Its verdict is checked against packets,
and its advice is carried out."""

from __future__ import annotations

from typing import Any

import pytest
from aliyun_local.api import Fault, Group, Instance, may_reach
from link_peer.domain import denials
from link_peer.domain.denials import Denial, parts
from link_peer.domain.reasons import REASONS

from tests.functional.command import ALL, Cli, Owners, egress
from tests.functional.command import orders_and_ledger as pair
from tests.functional.lab import HOME, PEER, Lab


class Asking:
    """`ask(a, b)` runs `link-peer explain`, and checks its verdict and exit code against a packet between instances."""

    def __init__(self, owners: Owners) -> None:
        self.lab = owners.lab
        self.cli = owners.cli
        self.owners = owners

    def __call__(self, *args: str) -> dict[str, Any]:
        code, (document,) = self.cli.json("explain", *args)
        assert code == (0 if document["state"] == "open" else 1)
        return dict(document)

    def checked(self, a: Instance, b: Instance, port: str = "tcp/3306") -> dict[str, Any]:
        """Asks about two instances."""
        document = self(f"{a.id}@{a.account}", f"{b.id}@{b.account}", port)
        protocol, _, number = port.partition("/")
        arrives = may_reach(self.lab.cloud.ecs, a.account, a.id, b.account, b.id, protocol, int(number or -1))
        assert document["state"] == ("open" if arrives.ok else "blocked")
        return document

    def follow(self, document: dict[str, Any]) -> None:
        """Carries out the commands that `explain` gives, each in the account that it names."""
        for advice in document["do"]:
            in_peer = PEER in advice["why"].split(":")[0]
            assert set(self.owners.paste(advice["command"], PEER if in_peer else HOME)) <= {0}
            for message in self.lab.queued():
                self.lab.cross_account(message)


@pytest.fixture(name="ask")
def _ask(lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Asking:
    return Asking(Owners(lab, Cli(capsys), monkeypatch))


def linked(lab: Lab, **fields: Any) -> tuple[Group, Group, Instance, Instance]:
    """The same, linked on TCP 3306 by a request."""
    app, db, a, b = pair(lab, "*:tcp/3306~20270301T000000Z")
    lab.cross_account(lab.request(app, db, "tcp/3306", **fields))
    return app, db, a, b


# verdict and what explains it


def test_a_link_that_passes_is_explained(lab: Lab, ask: Asking) -> None:
    """By the rule that decides, and by the link, as `links` lists it."""
    _, db, a, b = linked(lab, requested_by="team-orders", reason="orders reads the ledger")
    document = ask.checked(a, b)
    (rule,) = lab.raw_rules(db)
    assert document["state_detail"] == (
        f"{rule['SecurityGroupRuleId']} of {db.id}@{HOME} accepts tcp/3306 (ingress, priority 100)"
    )
    assert document["links"] == ask.cli.json("links")[1]
    rule_answer = {"account": HOME, "group": db.id, "direction": "ingress", "rule_id": rule["SecurityGroupRuleId"]}
    assert document["links"][0]["rules"] == [rule_answer]
    assert (document["reachability"], document["rules"], document["not_read"]) == ("same-vpc", [], [])


def test_a_rule_of_another_link_is_no_rule_of_people(lab: Lab, ask: Asking) -> None:
    """It may admit an instance of a group that has none now."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(lab.instance(lab.group()), lab.instance(db), "tcp/3306"))
    assert len(lab.rules(db)) == 1
    assert ask(app.id, db.id, "tcp/3306")["rules"] == []


def test_for_people_the_verdict_comes_first(lab: Lab, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names; ids are never broken, however narrow the terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    app, db, a, b = linked(lab)
    assert ask.cli("explain", a.id, b.id) == 0
    first = ask.cli.out.splitlines()[0]
    assert first == f"OPEN  tcp/3306  {a.id}@{HOME} (orders-1) → {b.id}@{HOME} (ledger-1)"
    assert f"{app.id}@{HOME} (app)" in ask.cli.out
    assert f"{db.id}@{HOME} (ledger)" in ask.cli.out


def test_without_a_port_the_links_ports_are_meant_and_without_a_link_everything(lab: Lab, ask: Asking) -> None:
    _, _, a, b = linked(lab)
    assert ask(a.id, b.id)["ports"] == "tcp/3306"
    assert ask(b.id, a.id)["ports"] == "all"


# how parties are named


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sg-nowhere", "'sg-nowhere' does not exist"),
        ("web", "'web' is the name of i-"),
        (f"i-x@{PEER}", f"'i-x@{PEER}' does not exist"),
    ],
)
def test_a_party_that_is_not_clear_is_a_usage_error(lab: Lab, ask: Asking, text: str, problem: str) -> None:
    """The message names the argument."""
    group = lab.group()
    lab.instance(group, name="web")
    lab.instance(group, name="web")
    assert ask.cli("explain", group.id, text) == 2
    assert f"B: {problem}" in ask.cli.err.replace("\n", " ")


def test_an_account_that_cannot_be_read_is_no_proof_that_a_party_does_not_exist(lab: Lab, ask: Asking) -> None:
    lab.policy_account(PEER, external_id="wrong")
    assert ask.cli("explain", lab.group().id, "sg-nowhere") == 1
    assert f"account {PEER} could not be read" in ask.cli.err.replace("\n", " ")
    document = ask(lab.group().id, f"sg-nowhere@{PEER}")  # in which account it would be is said
    assert (document["state"], document["reachability"]) == ("unknown", "unknown")
    assert f"account {PEER} could not be read" in document["not_read"][0]


def test_rules_that_could_not_be_read_are_no_proof_that_there_is_no_link(lab: Lab, ask: Asking) -> None:
    """Nor that no pair of instances passes."""
    app, db, _, _ = linked(lab)
    lab.instance(app)
    lab.cloud.faults.add(Fault("ecs", "DescribeSecurityGroupAttribute", code="Forbidden.RAM", status=403, times=None))
    assert ask.cli("explain", app.id, db.id, "tcp/3306") == 1
    assert "No link of link-peer between them was seen." in ask.cli.out
    assert "none of 2 pairs of instances is known to pass" in ask.cli.out


def test_rules_of_an_instance_that_was_released_stand_until_the_next_sweep(lab: Lab, ask: Asking) -> None:
    """For `explain` and for `who`; of another id, both say that it does not exist."""
    a, b = lab.instance(lab.group()), lab.instance(lab.group("*"))
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.release(b)
    document = ask(a.id, b.id)
    assert (document["state"], document["state_detail"]) == ("unknown", f"{b.id}@{HOME} was not read")
    (source,) = ask.cli.json("who", b.id)[1]
    assert (source["from"], source["state"], source["rule_id"]) == (
        a.id,
        "closing",
        document["links"][0]["rules"][0]["rule_id"],
    )
    assert [ask.cli("explain", a.id, "i-nowhere"), ask.cli("who", "i-nowhere")] == [2, 2]


def test_an_instance_and_itself_are_a_usage_error(lab: Lab, ask: Asking) -> None:
    instance = lab.instance(lab.group(), name="web")
    assert ask.cli("explain", instance.id, "web") == 2
    assert "B: web is the same instance as A" in ask.cli.err


# advice


def test_all_views_repeat_what_a_denial_advises(living_lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: the record of a denied link, `explain` and `doctor` have the same words and the same
    command."""
    lab, app, db = living_lab, living_lab.group(), living_lab.group()
    lab.instance(db)
    advised_denials: list[Denial] = []
    monkeypatch.setattr(denials, "no_consent", lambda *_, **__: advised_denials[-1])
    for row in REASONS.values():
        advised_denials.append(
            Denial(row, f"the fact of {row.code}", f"do it for {row.code}: link-peer links --party {db.id}")
        )
        lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})))
        record = lab.records(outcome="denied")[-1]
        words, command = parts(record["advice"])
        assert record["reason"] == row.code
        _, (explained,) = cli.json("explain", app.id, db.id, "tcp/1")
        first = explained["do"][0]
        assert (first["why"], first["command"]) == (f"no link can open it: {record['detail']}; {words}", command)
        _, findings = cli.json("doctor", app.account)
        advised = [finding["advice"] for finding in findings if finding.get("advice") and db.id in str(finding)]
        assert advised
        assert {parts(denial) for denial in advised} == {(words, command)}


def test_consent_of_both_groups_is_given_for_everything(lab: Lab, ask: Asking) -> None:
    """Where a tag asks for that, of whichever side. Other consents of the group are kept."""
    app, db, a, b = pair(lab, "sg-other")
    lab.tag(b, link_peer=a.id)
    ask.follow(ask(a.id, b.id))
    assert lab.tags(db) == {**lab.tags(db), "link-accept": "sg-other", "link-accept.2": a.id}
    assert lab.tags(app)["link-accept"] == b.id
    assert (ask(a.id, b.id)["state"], ask(b.id, a.id)["state"]) == ("open", "open")


@pytest.mark.parametrize("wished", ["instances", "groups"])
@pytest.mark.parametrize("parties", ["instances", "groups"])
def test_without_a_port_what_is_advised_is_what_a_tag_asks_for(
    lab: Lab, ask: Asking, wished: str, parties: str
) -> None:
    """These parties, ports and this direction: nothing beside it is ever opened. The advice leads to the link."""
    app, db, a, b = pair(lab)
    peer, source, target = (b, a, b) if wished == "instances" else (db, app, db)
    lab.tag(a, link_peer=f"{peer.id}:tcp/6379")
    ends = (a.id, b.id) if parties == "instances" else (app.id, db.id)
    document = ask(*ends)
    assert (document["state"], document["ports"]) == ("blocked", "tcp/6379")
    assert [advice["command"] for advice in document["do"]] == [
        f"link-peer accept {db.id}@{HOME} {source.id}:tcp/6379",
        "link-peer sweep",
    ]
    ask.follow(document)
    (link,) = ask(*ends)["links"]
    assert (link["from"], link["to"], link["ports"]) == (source.id, target.id, "tcp/6379")
    assert (lab.rules(app), len(lab.rules(db))) == ([], 1)
    back = ask(*reversed(ends))
    assert (back["state"], [advice["command"] for advice in back["do"]]) == ("blocked", [""])


def test_a_wish_beside_a_link_that_stands_is_advised_alone(lab: Lab, ask: Asking) -> None:
    """Its port, not those of the link as well; the state is that of both."""
    app, db, a, b = linked(lab)
    lab.tag(a, link_peer=f"{db.id}:tcp/6379")
    document = ask(a.id, b.id)
    assert (document["state"], document["ports"]) == ("partly", "tcp/3306+tcp/6379")
    assert document["do"][0]["command"] == f"link-peer accept {db.id}@{HOME} {app.id}:tcp/6379"
    ask.follow(document)
    document = ask(a.id, b.id)
    assert document["state"] == "open"
    assert document["do"][0]["command"].endswith("--port tcp/3306 --port tcp/6379")


@pytest.mark.parametrize("dropped", [False, True])
def test_where_nobody_asks_it_asks_for_ports_and_gives_no_command(lab: Lab, ask: Asking, dropped: bool) -> None:
    """Whatever stops the packets, such as a person's drop."""
    _, db, a, b = pair(lab, "*")
    if dropped:
        lab.authorize(db, **ALL, Policy="drop", SourceCidrIp="0.0.0.0/0", Priority="1")
    (advice,) = ask(a.id, b.id)["do"]
    source, target = f"{a.id}@{HOME}", f"{b.id}@{HOME}"
    assert advice["command"] == ""
    assert f"link-peer explain {source} {target} tcp/…" in advice["why"]
    assert f"link-peer request link --from {source} --to {target} --port tcp/…" in advice["why"]


def test_a_request_between_accounts_is_given_with_the_other_accounts_consent(lab: Lab, ask: Asking) -> None:
    app, db = lab.group(), lab.group(account=PEER)
    a, b = lab.instance(app), lab.instance(db)
    ask.follow(ask.checked(a, b))  # for the two instances alone
    assert lab.tags(db)["link-accept"] == f"{a.id}@{HOME}:tcp/3306"
    assert ask.checked(a, b)["state"] == "open"


def test_between_groups_the_group_is_consented_to(lab: Lab, ask: Asking) -> None:
    """Also where one of the two was named by an instance: a link is between groups, or between instances."""
    app, db, a, b = pair(lab)
    ask.follow(ask(a.id, db.id, "tcp/1-9"))
    assert lab.tags(db)["link-accept"] == f"{app.id}:tcp/1-9"
    assert ask.checked(a, b, "tcp/9")["state"] == "open"


def test_a_tag_that_asks_needs_no_request(lab: Lab, ask: Asking) -> None:
    """A sweep opens it."""
    app, db = lab.group(), lab.group("*")
    a, b = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}), lab.instance(db)
    document = ask.checked(a, b)
    assert [step["command"] for step in document["do"]] == ["link-peer sweep"]
    assert a.id in document["do"][0]["why"]


def test_what_no_link_can_open_is_said(lab: Lab, ask: Asking) -> None:
    """Two groups of different VPCs; of two instances, an instance link can."""
    near, far = lab.group(), lab.group("*", vpc=lab.a)
    document = ask(near.id, far.id, "tcp/1")
    assert document["reachability"] == "different-vpc"
    (advice,) = document["do"]
    assert advice["why"].startswith("no link can open it")
    a, b = lab.instance(near), lab.instance(far)
    document = ask(a.id, b.id, "tcp/1")
    assert document["do"][0]["command"].startswith(f"link-peer request link --from {a.id}@{HOME} --to {b.id}@{HOME}")
    assert "CEN" in document["do"][1]["why"]
    ask.cli("explain", a.id, b.id)
    assert "They are in different VPCs" in ask.cli.out


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_drop_of_a_person_is_named_with_the_command_that_removes_it(lab: Lab, ask: Asking, direction: str) -> None:
    """The link stands, and does not pass. Rules that do not decide are listed as well."""
    app, db, a, b = linked(lab)
    lab.authorize(db, **ALL, SourceCidrIp="10.0.0.0/8", Priority="90", Description="office")
    drop = {**ALL, "Policy": "drop", "Priority": "1", "Description": "keep out"}
    if direction == "ingress":
        lab.authorize(db, **drop, SourceCidrIp=f"{a.private_ip}/32")
    else:
        egress(lab, app, **drop, DestCidrIp=f"{b.private_ip}/32")
    document = ask.checked(a, b)
    assert (document["state"], document["links"][0]["state"]) == ("blocked", "blocked")
    policies_by_description = {
        rule["description"]: (rule["policy"], rule["direction"], rule["decides"]) for rule in document["rules"]
    }
    assert policies_by_description == {"keep out": ("drop", direction, True), "office": ("accept", "ingress", False)}
    (advice,) = document["do"]
    assert "(keep out) is a person's rule" in advice["why"]
    assert ask.cli("explain", a.id, b.id) == 1
    assert "keep out" in ask.cli.out
    assert advice["command"] in ask.cli.out
    ask.follow(document)
    assert ask.checked(a, b)["state"] == "open"


def test_an_advanced_groups_egress_is_opened_by_consent_and_a_link(lab: Lab, ask: Asking) -> None:
    """By a rule of link-peer, and no rule by hand."""
    sender = lab.cloud.ecs.create_group(HOME, lab.shared, type="enterprise")
    db = lab.group("*")
    a, b = lab.instance(sender), lab.instance(db)
    lets_out = {
        "IpProtocol": "TCP",
        "PortRange": "3306/3306",
        "DestCidrIp": f"{b.private_ip}/32",
        "NicType": "intranet",
    }
    permission = {f"Permissions.1.{name}": value for name, value in lets_out.items()}
    lab.call(HOME, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": sender.id, **permission})
    lab.cross_account(lab.request(a, b, "tcp/3306"))
    assert ask.checked(a, b)["state"] == "open"
    lab.call(HOME, "RevokeSecurityGroupEgress", {"SecurityGroupId": sender.id, **permission})
    document = ask.checked(a, b)
    commands = [advice["command"] for advice in document["do"]]
    assert commands[0] == f"link-peer accept {sender.id}@{HOME} {b.id}:tcp/3306 --egress"
    assert commands[1].startswith("link-peer request link ")
    ask.follow(document)
    assert ask.checked(a, b)["state"] == "open"


def test_what_an_advanced_group_refuses_has_no_command_that_opens_it(lab: Lab, ask: Asking) -> None:
    app = lab.group(type="enterprise", tags={"link-egress": "*"})
    db = lab.group("*", type="enterprise", tags={"link-refuse": app.id})
    a, b = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}), lab.instance(db)
    document = ask(a.id, b.id, "tcp/3306")
    assert [advice["why"].startswith("no link can open it: ") for advice in document["do"]] == [True]
    assert "Authorize" not in document["do"][0]["command"]


def test_members_of_an_isolated_group_are_let_in_by_an_instance_link_or_its_policy(lab: Lab, ask: Asking) -> None:
    """The policy opens more than anybody asks for, so it is named, and is no command."""
    group = lab.group("*")
    lab.call(HOME, "ModifySecurityGroupPolicy", {"SecurityGroupId": group.id, "InnerAccessPolicy": "Drop"})
    a, b = lab.instance(group), lab.instance(group)
    document = ask.checked(a, b)
    policy, request = document["do"]
    assert policy["why"].endswith("or let all of its members reach each other on all ports")
    assert policy["command"] == ""
    assert request["command"].startswith(f"link-peer request link --from {a.id}@{HOME} --to {b.id}@{HOME}")
    ask.follow({"do": [request]})
    assert ask.checked(a, b)["state"] == "open"
    document = ask(group.id, group.id, "tcp/3306")  # from one to the other alone, and no instance to itself
    assert (document["state"], document["pairs"], document["passing"]) == ("partly", 2, 1)
    command = ask(b.id, group.id, "tcp/3306")["do"][1]["command"]  # a link between a group and itself there is none
    assert command.startswith(f"link-peer request link --from {b.id}@{HOME} --to {a.id}@{HOME}")
    lab.call(HOME, "ModifySecurityGroupPolicy", {"SecurityGroupId": group.id, "InnerAccessPolicy": "Accept"})
    assert ask(group.id, group.id, "tcp/3306")["state"] == "open"


def test_what_passes_can_be_tested_with_a_command(lab: Lab, ask: Asking) -> None:
    """From any account. Ports that verify cannot test are left out."""
    app, db = lab.pair()
    a, b = lab.instance(app), lab.instance(db)
    lab.authorize(db, **ALL, SourceCidrIp="10.0.0.0/8")
    (advice,) = ask.checked(a, b)["do"]
    assert advice["command"] == f"link-peer verify --from {a.id}@{HOME} --to {b.id}@{PEER} --port tcp/3306"
    assert "--port" not in ask(a.id, b.id, "udp/53")["do"][0]["command"]
    lab.authorize(app, **ALL, SourceCidrIp="10.0.0.0/8")
    (advice,) = ask.checked(b, a)["do"]
    assert advice["command"].startswith(f"link-peer verify --from {b.id}@{PEER} --to {a.id}@{HOME}")


# an instance in several groups


def test_it_says_which_group_stands_for_an_instance_and_why(lab: Lab, ask: Asking) -> None:
    """Where none does, the groups by size, and the advice opens the smallest."""
    common, app, db = lab.group(), lab.group(), lab.group()
    for _ in range(2):
        lab.instance(common)
    a, _ = lab.instance(common, app, tags={"link-peer": f"{db.id}:tcp/3306"}), lab.instance(db)
    document = ask(a.id, db.id, "tcp/3306")
    sizes = f"smallest first: {app.id}@{HOME} (1 instance), {common.id}@{HOME} (3 instances)"
    assert sizes in document["do"][-1]["why"]
    assert document["do"][0]["command"] == f"link-peer accept {db.id}@{HOME} {app.id}:tcp/3306"
    ask.follow(document)
    document = ask(a.id, db.id, "tcp/3306")
    assert (document["state"], [link["from"] for link in document["links"]]) == ("open", [app.id])
    assert document["do"][-1]["why"].startswith(f"{app.id}@{HOME} stands for {a.id}@{HOME}, since ")


def test_it_says_once_which_group_stands_for_an_instance_at_both_ends(lab: Lab, ask: Asking) -> None:
    shut = lab.group(type="enterprise")
    app = lab.group(type="enterprise", tags={"link-egress": "*"})
    db = lab.group("*")
    lab.instance(db)
    a = lab.started(shut, app, tags={"link-peer": f"{db.id}:tcp/3306"})
    reasons = [advice["why"] for advice in ask(a.id, db.id, "tcp/3306")["do"]]
    assert sum(reason.startswith(f"{app.id}@{HOME} stands for {a.id}@{HOME}, since ") for reason in reasons) == 1
