"""Somebody has the keys of the functions' role, or of the operator's, and may write to its log: `link-peer audit --verify` finds
each of these attacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun_local.api import Caller
from link_peer.domain.marker import render
from link_peer.domain.model import Claim, Link, Marker, Party, RuleKey
from link_peer.domain.tags import iso_millis, parse_port
from link_peer.engine.records import link_fields, rules_text

from tests.functional.cli.test_audit_verify import as_role, findings, later, rule, write
from tests.functional.command import Cli
from tests.functional.lab import HOME, REGION, Lab

FUNCTIONS, OPERATOR = "link-peer-fc", "link-peer-operator"
LOGSTORES = {FUNCTIONS: "decisions", OPERATOR: "decisions-operators"}


class Thief:
    """Has the keys of a role. `app` may reach `db`, unless an attack says otherwise; two minutes pass between its steps."""

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
        """An attack between an intent and its outcome, as link-peer writes them; by default it opens a rule with our marker."""
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
        write(thief.lab, record, LOGSTORES[thief.role])
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
    later(lab)
    assert findings(cli) == (0, [])
