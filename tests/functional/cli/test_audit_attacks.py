"""Somebody has the keys of the functions' role, or of the operator's, and may write to its log: `link-peer audit
--verify` finds each of these attacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aliyun_local.api import ApiError, Caller, readings
from link_peer.domain.marker import render
from link_peer.domain.model import Claim, Link, Marker, Party, RuleKey
from link_peer.domain.tags import iso_millis, parse_port
from link_peer.engine.records import link_fields, rules_text
from msgspec.structs import replace

from tests.functional.cli.test_audit_verify import as_role, findings, later, rule, write
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, REGION, Lab

FUNCTIONS, OPERATOR = "link-peer-fc", "link-peer-operator"
LOGSTORES = {FUNCTIONS: "decisions", OPERATOR: "decisions-operators"}


class Thief:
    """Has the keys of a role. `app` may reach `db`, unless an attack says otherwise; two minutes pass between its
    steps."""

    def __init__(self, lab: Lab, role: str) -> None:
        self.lab, self.role = lab, role
        lab.cloud.identity.allow_only(f"acs:ram::{HOME}:role/{role}", ["*"])
        self.app, self.db = lab.group(), lab.group("*")
        self.key = RuleKey(Party(HOME, self.db.id), f"{self.app.id}@{HOME}", "", parse_port("tcp/22"))

    def call(self, action: str, **params: str) -> str:
        """Makes a call on db with the stolen key. Returns its RequestId."""
        later(self.lab, 2)
        target = {"ResourceType": "securitygroup", "ResourceId.1": self.db.id}
        target = target if action.endswith("Resources") else {"SecurityGroupId": self.db.id}
        return as_role(self.lab, HOME, self.role, action, {**target, **params})

    def marker(self, deployment: str = "prod") -> str:
        return render(Marker(HOME, deployment, self.key.id(HOME, deployment, REGION), (Claim("chg-9"),)))

    def advance(self) -> None:
        """From now on, the rule is an egress rule to an instance of app, on db in an advanced group that may reach
        app."""
        self.db = self.lab.group(type="enterprise", tags={"link-egress": self.app.id})
        self.reached = self.lab.instance(self.app)
        self.key = RuleKey(Party(HOME, self.db.id), "", f"{self.reached.private_ip}/32", parse_port("tcp/22"))

    def let_out(self, description: str = "") -> str:
        """Opens the egress rule, by default with its marker."""
        ends = (Party(HOME, self.reached.id), Party(HOME, self.app.id))
        marker = Marker(HOME, "prod", self.key.id(HOME, "prod", REGION), (Claim("chg-9"),), ends, is_egress=True)
        fields = {"IpProtocol": "TCP", "PortRange": "22/22", "DestCidrIp": self.key.dest, "Priority": "100"}
        fields["Description"] = description or render(marker)
        return self.call("AuthorizeSecurityGroupEgress", **{f"Permissions.1.{name}": v for name, v in fields.items()})

    def open(self, description: str, **params: str) -> str:
        return self.call("AuthorizeSecurityGroup", **rule(self.app, Description=description), **params)

    def remove(self, rule_id: str) -> str:
        return self.call("RevokeSecurityGroup", **{"SecurityGroupRuleId.1": rule_id})

    def record(
        self, kind: str, calls: str = "", delay: float = 0, rule_id: str = "", log: str = "", **fields: str
    ) -> None:
        """Writes a record, as of so many seconds ago, by default where the role does."""
        later(self.lab, 2)
        decision = {"record": kind, "api_requests": calls, "rules": rules_text([(self.key, rule_id)])}
        decision |= link_fields(Link(Party(HOME, self.app.id), self.key.group, (self.key.port,)), REGION)
        common = {"deployment": "prod", "region": REGION, "function": "cross_account", "request_id": "chg-9"}
        common |= {"consent": f"{self.db.id} *", "time": iso_millis(self.lab.cloud.clock.now() - delay)}
        write(self.lab, {**common, **decision, **fields}, log or LOGSTORES[self.role])

    def recorded(
        self, attack: Callable[[], str] | None = None, outcome: str = "applied", rule_id: str = "", log: str = ""
    ) -> None:
        """An attack between an intent and its outcome, as link-peer writes them; by default it opens a rule with our
        marker."""
        self.record("intent", rule_id=rule_id, log=log)
        call = attack() if attack else self.open(self.marker())
        self.record("outcome", call, outcome=outcome, rule_id=rule_id, log=log)

    def opened(self) -> str:
        """A rule that link-peer opened: its id."""
        self.lab.cross_account(self.lab.request(self.app, self.db, "tcp/22"))
        return str(self.lab.raw_rules(self.db)[0]["SecurityGroupRuleId"])

    def persons(self) -> str:
        """A person's rule: its id."""
        fields = {"SourceGroupId": self.app.id, "IpProtocol": "TCP", "PortRange": "22/22", "Priority": "1"}
        return self.lab.authorize(self.db, **fields)


def backdated(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_accept=None)
    call = thief.open("")
    thief.record("intent", delay=500)
    thief.record("outcome", call, delay=500, outcome="applied")


def without_consent(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_accept=None)
    thief.recorded()


def own_consent(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_accept=None)
    thief.call("TagResources", **{"Tag.1.Key": "link-accept", "Tag.1.Value": "*"})
    thief.recorded()
    thief.call("UntagResources", **{"TagKey.1": "link-accept"})


def consent_by_the_tag_service(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_accept=None)
    later(thief.lab, 2)
    arn, role = f"arn:acs:ecs:{REGION}:{HOME}:securitygroup/{thief.db.id}", thief.role
    tags = {"RegionId": REGION, "ResourceARN.1": arn, "Tags": '{"link-accept": "*"}'}
    thief.lab.cloud.tag.call(Caller(HOME, f"acs:ram::{HOME}:assumed-role/{role}/x", role=role), "TagResources", tags)
    thief.recorded()


def lock_taken_off(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_lock="incident")
    thief.call("UntagResources", **{"TagKey.1": "link-lock"})
    thief.recorded()
    thief.call("TagResources", **{"Tag.1.Key": "link-lock", "Tag.1.Value": "incident"})


def refusal_taken_off(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_refuse=thief.app.id)
    thief.call("UntagResources", **{"TagKey.1": "link-refuse"})
    thief.recorded()
    thief.call("TagResources", **{"Tag.1.Key": "link-refuse", "Tag.1.Value": thief.app.id})


def against_a_refusal(thief: Thief) -> None:
    thief.lab.tag(thief.db, link_refuse=f"{thief.app.id}:tcp/20-30")
    thief.recorded()


def another_call(thief: Thief) -> None:
    thief.record("intent")
    thief.open(thief.marker())
    thief.record("outcome", "11111111-2222-3333-4444-555555555555", outcome="applied")


def an_old_outcome(thief: Thief) -> None:
    thief.opened()
    thief.lab.cross_account(thief.lab.request(thief.app, thief.db, action="unlink", request_id="chg-2"))
    later(thief.lab, 50)
    for record in thief.lab.records("intent", "outcome", request_id="chg-1"):
        write(thief.lab, {**record, "key": ""}, LOGSTORES[thief.role])
    thief.open(thief.marker())


def a_persons_rule_removed(thief: Thief) -> None:
    thief.opened()
    persons_rule = thief.persons()
    thief.recorded(lambda: thief.remove(persons_rule), "removed", persons_rule)


def changed(thief: Thief, rule_id: str, **fields: str) -> None:
    fields = {"Description": thief.marker(), **fields, "SecurityGroupRuleId": rule_id}
    fields = {name: value for name, value in fields.items() if value}
    thief.recorded(lambda: thief.call("ModifySecurityGroupRule", **fields), rule_id=rule_id)


def an_egress_rule(thief: Thief) -> None:
    egress = {"IpProtocol": "ALL", "PortRange": "-1/-1", "DestCidrIp": "10.0.0.0/8"}
    params = {f"Permissions.1.{name}": value for name, value in egress.items()}
    thief.recorded(lambda: thief.call("AuthorizeSecurityGroupEgress", **params))


def egress_against(**tags: str | None) -> Callable[[Thief], None]:
    """Lets the instances of an advanced group out, by records and a marker as link-peer's, while the group has these
    tags."""

    def attack(thief: Thief) -> None:
        thief.advance()
        thief.lab.tag(thief.db, **{key: value and value.format(peer=thief.app.id) for key, value in tags.items()})
        thief.recorded(thief.let_out)

    return attack


def an_egress_rule_marked_as_ingress(thief: Thief) -> None:
    marker = thief.marker()
    thief.advance()
    thief.recorded(lambda: thief.let_out(marker))


def one_more_rule(thief: Thief) -> None:
    second_rule = {name.replace("1", "2", 1): value for name, value in rule(thief.app, PortRange="23/23").items()}
    thief.recorded(lambda: thief.open(thief.marker(), **second_rule))


def the_other_log(thief: Thief) -> None:
    [other_log] = LOGSTORES.keys() - {thief.role}
    thief.recorded(log=LOGSTORES[other_log])


ATTACKS: dict[str, tuple[Callable[[Thief], None], str]] = {
    "a removal, not recorded": (lambda thief: thief.remove(thief.opened()), "no-intent"),
    "no marker, no consent, records written after it": (backdated, "no-intent"),
    "a marker without consent": (without_consent, "no-consent"),
    "a consent for the time of the attack": (own_consent, "no-intent"),
    "a consent through the Tag service": (consent_by_the_tag_service, "no-intent"),
    "a lock taken off for the time of the attack": (lock_taken_off, "no-intent"),
    "a refusal taken off for the time of the attack": (refusal_taken_off, "no-intent"),
    "a marker against a refusal": (against_a_refusal, "no-consent"),
    "an outcome of another call": (another_call, "no-change"),
    "an outcome without a call": (lambda thief: thief.recorded(lambda: "", "removed", "sgr-none"), "no-change"),
    "a real outcome, copied": (an_old_outcome, "backdated"),
    "a person's rule removed": (a_persons_rule_removed, "no-marker"),
    "a person's rule marked": (lambda thief: changed(thief, thief.persons(), Priority="100"), "no-marker"),
    "a rule of ours widened": (lambda thief: changed(thief, thief.opened(), PortRange="1/65535"), "no-marker"),
    "a rule of ours from elsewhere": (
        lambda thief: changed(thief, thief.opened(), SourceGroupId=thief.lab.group().id, Description=""),
        "no-marker",
    ),
    "another deployment's name": (lambda t: t.recorded(lambda: t.open(t.marker("test"))), "no-marker"),
    "an egress rule": (an_egress_rule, "no-intent"),
    "an egress rule without consent": (egress_against(link_egress=None), "no-consent"),
    "an egress rule by consent to be reached": (egress_against(link_egress=None, link_accept="{peer}"), "no-consent"),
    "an egress rule against a refusal": (egress_against(link_refuse="{peer}:tcp/20-30"), "no-consent"),
    "an egress rule of a locked group": (egress_against(link_lock="incident"), "no-consent"),
    "an egress rule with the marker of another": (an_egress_rule_marked_as_ingress, "no-marker"),
    "a second rule in the same call": (one_more_rule, "no-intent"),
    "recorded in the log of others": (the_other_log, "no-intent"),
}


@pytest.mark.parametrize("role", LOGSTORES)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_found(lab: Lab, cli: Cli, role: str, name: str) -> None:
    attack, expected = ATTACKS[name]
    attack(Thief(lab, role))
    later(lab)
    code, rows = findings(cli)
    assert (code, expected in [finding["finding"] for finding in rows if not finding["pending"]]) == (1, True), rows


@pytest.mark.parametrize("role", LOGSTORES)
def test_what_link_peer_writes_in_their_place_is_no_finding(lab: Lab, cli: Cli, role: str) -> None:
    """The attacks differ from what link-peer does in what they are named for alone."""
    thief = Thief(lab, role)
    thief.recorded()
    thief.advance()
    thief.recorded(thief.let_out)
    later(lab)
    assert findings(cli) == (0, [])


@pytest.mark.parametrize("receive_time", readings()["receive_time"])
def test_a_receive_time_that_the_writer_sends_proves_nothing(lab: Lab, cli: Cli, receive_time: str) -> None:
    """Whether SLS shows the writer's or its own in a query: an intent that says that it was received before the call
    came after it."""
    lab.cloud.knobs.change({"receive_time": receive_time})
    thief = Thief(lab, FUNCTIONS)
    request = thief.open(thief.marker())
    later(lab, 5)
    stated_time = {"__tag__:__receive_time__": str(int(lab.cloud.clock.now() - 800))}
    thief.record("intent", delay=800, **stated_time)
    thief.record("outcome", request, delay=800, outcome="applied", **stated_time)
    later(lab)
    code, differences = findings(cli)
    assert (code, [each["finding"] for each in differences]) == (1, ["no-intent", "no-change"])
    assert {each["request_id"] for each in differences} == {request}


def test_an_older_record_is_one_that_was_received_before(lab: Lab, cli: Cli) -> None:
    """A thief removes a person's rule, and writes a record of a week ago by which link-peer opened it."""
    lab.cloud.knobs.change({"receive_time": "writer"})
    thief = Thief(lab, FUNCTIONS)
    persons_rule = thief.persons()
    later(lab, 120)
    thief.recorded(lambda: thief.remove(persons_rule), "removed", persons_rule)
    week = 6 * 86_400
    stated_time = {"__tag__:__receive_time__": str(int(lab.cloud.clock.now() - week))}
    thief.record("outcome", "old", delay=week, rule_id=persons_rule, outcome="applied", **stated_time)
    later(lab)
    code, differences = findings(cli, "--since", "90m")
    assert (code, [each["finding"] for each in differences]) == (1, ["no-marker", "backdated", "no-change"])


@pytest.mark.parametrize("role", LOGSTORES)
def test_the_owners_next_consent_removes_no_finding(lab: Lab, cli: Cli, role: str) -> None:
    """A stolen key opens a group that never consented, and records a consent. Then the owner accepts somebody: the
    value that this replaced is in the record of `link-peer accept`, which tells of what the functions' key opened. What
    the operator's key opened is unproven then: it can write such a record, and no other witness told."""
    thief = Thief(lab, role)
    thief.db = lab.group()
    thief.key = RuleKey(Party(HOME, thief.db.id), f"{thief.app.id}@{HOME}", "", parse_port("tcp/22"))
    thief.recorded()
    later(lab)
    code, before = findings(cli)
    assert (code, [each["finding"] for each in before]) == (1, ["no-consent"])
    assert cli("accept", thief.db.id, lab.group().id, "--yes") == 0, cli.err
    later(lab)
    code, after = findings(cli)
    expected = (1, "no-consent") if role == FUNCTIONS else (3, "unproven")
    assert (code, *[each["finding"] for each in after]) == expected
    assert [each["request_id"] for each in after] == [each["request_id"] for each in before]


@pytest.mark.parametrize("is_consented", [True, False])
def test_a_call_before_the_period_tells_what_stood(lab: Lab, cli: Cli, is_consented: bool) -> None:
    """The consent was given or withdrawn three days ago, and its tag is written again after the rule was opened:
    ActionTrail has the older call, and is asked for it."""
    thief = Thief(lab, FUNCTIONS)
    lab.tag(thief.db, link_accept="*" if is_consented else None)
    later(lab, 3 * 24 * 60)
    thief.recorded()
    later(lab)
    lab.tag(thief.db, link_accept=lab.group().id)
    later(lab)
    code, differences = findings(cli, "--since", "2h")
    assert (code, [each["finding"] for each in differences]) == ((0, []) if is_consented else (1, ["no-consent"]))


@pytest.fixture(name="real_hosts")
def _real_hosts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each region has hosts of its own, as on the real cloud."""
    assert lab
    monkeypatch.delenv("LINK_PEER_CLOUD")


def in_another_region(lab: Lab, role: str, region: str) -> str:
    """Opens a group of home in another region to half of the world, with the keys of a role. Returns the RequestId."""
    place = lab.cloud.region_at(region)
    group = place.ecs.create_group(HOME, place.ecs.create_vpc(HOME, "10.7.0.0/16").id)
    caller = Caller(HOME, f"acs:ram::{HOME}:assumed-role/{role}/thief", role=role)
    opened = {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceCidrIp": "0.0.0.0/1"}
    params = {f"Permissions.1.{name}": value for name, value in opened.items()}
    place.ecs.call(caller, "AuthorizeSecurityGroup", {"RegionId": region, "SecurityGroupId": group.id, **params})
    return str(place.trail.newest(HOME)["requestId"])


@pytest.mark.usefixtures("real_hosts")
def test_a_call_in_a_region_without_functions_is_found(lab: Lab, cli: Cli) -> None:
    """With `--all-regions`; without, the last line says that this region was not read."""
    request = in_another_region(lab, FUNCTIONS, "cn-shenzhen")
    later(lab)
    assert findings(cli) == (0, [])
    assert ", cn-shenzhen, " in cli.err
    assert "; --all-regions reads every region" in cli.err
    code, [finding] = findings(cli, "--all-regions")
    assert not cli.err
    assert (code, finding["finding"], finding["request_id"]) == (1, "other-region", request)
    assert "made it in cn-shenzhen, which has no functions of this deployment" in finding["detail"]


@pytest.mark.usefixtures("real_hosts")
def test_the_evidence_has_the_calls_of_other_regions_or_names_them(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """With `--all-regions` the call is an exception; without, summary, page and stderr say which regions were not
    read."""
    request = in_another_region(lab, FUNCTIONS, "cn-shenzhen")
    later(lab)
    place = tmp_path / "evidence"
    code, [summary] = cli.json("audit", "--from", "1h", "--evidence", str(place))
    assert (code, ", cn-shenzhen, " in summary["unread_regions"]) == (0, True)
    csv, page = (Path(name) for name in summary["files"])
    assert ", cn-shenzhen, " in page.read_text()
    assert cli("audit", "--from", "1h", "--evidence", str(place)) == 0
    assert "; --all-regions reads every region" in cli.err
    code, [summary] = cli.json("audit", "--from", "1h", "--evidence", str(place), "--all-regions")
    assert (code, summary["unread_regions"], summary["counts"]["exception"]) == (1, "", 1)
    assert request in csv.read_text()
    assert "no other region: all were read" in page.read_text()


@pytest.mark.usefixtures("real_hosts")
def test_a_region_that_cannot_be_read_is_unproven(lab: Lab, cli: Cli) -> None:
    def refuse(*_: object) -> dict[str, object]:
        raise ApiError("NoPermission", 403)

    lab.cloud.region_at("cn-shenzhen").trail.call = refuse  # type: ignore[method-assign]
    code, differences = findings(cli, "--all-regions")
    subject = "ActionTrail of cn-shenzhen was not read"
    assert code == 3
    assert {(each["finding"], each["what"], each["account"]) for each in differences} == {
        ("unproven", subject, HOME),
        ("unproven", subject, PEER),
    }


@pytest.mark.usefixtures("real_hosts")
def test_a_region_with_functions_of_the_deployment_is_judged_by_its_own_log(lab: Lab, cli: Cli) -> None:
    """What its functions did there is in that log, and no finding here."""
    lab.publish()
    in_another_region(lab, FUNCTIONS, "cn-shenzhen")
    function = lab.cloud.fc.function(HOME, "link-peer-sweep").function
    lab.cloud.region_at("cn-shenzhen").fc.put(HOME, replace(function, triggers=(), async_qualifier="LATEST"))
    later(lab)
    assert findings(cli, "--all-regions") == (0, [])
