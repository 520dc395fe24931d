"""CloudMonitor through its official client: alarm rules, contacts and contact groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from alibabacloud_cms20190101 import models
from alibabacloud_cms20190101.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from alibabacloud_tea_openapi.models import Config
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Role

HOME, PEER = "1000000000000001", "1000000000000002"
QUEUE = json.dumps([{"userId": HOME, "region": "cn-qingdao", "queue": "jobs"}])


def client_of(cloud: LocalCloud, uid: str, secret: str = "") -> Client:
    keys = cloud.identity.accounts[uid]
    return client(keys.access_key_id, secret or keys.access_key_secret)


def client(key: str, secret: str, token: str | None = None) -> Client:
    return Client(Config(access_key_id=key, access_key_secret=secret, security_token=token, region_id="cn-qingdao"))


@pytest.fixture(name="cms")
def _cms(local_cloud: LocalCloud) -> Client:
    """The home account, with the contact group `ops`."""
    made = client_of(local_cloud, HOME)
    put_contact(made)
    made.put_contact_group(models.PutContactGroupRequest(contact_group_name="ops", contact_names=["ann"]))
    return made


def put_contact(cms: Client, name: str = "ann", mail: str = "ann@example.com") -> None:
    channels = models.PutContactRequestChannels(mail=mail)
    cms.put_contact(models.PutContactRequest(contact_name=name, describe="d", channels=channels))


def put(cms: Client, rule_id: str = "dead", **changes: Any) -> Any:
    critical = models.PutResourceMetricRuleRequestEscalationsCritical(
        **{
            "comparison_operator": "GreaterThanThreshold",
            "statistics": "Maximum",
            "threshold": "0",
            "times": 1,
            **changes.pop("critical", {}),
        }
    )
    fields = {
        "rule_id": rule_id,
        "rule_name": rule_id,
        "namespace": "acs_mns_new",
        "metric_name": "ActiveMessages",
        "resources": QUEUE,
        "contact_groups": "ops",
        "escalations": models.PutResourceMetricRuleRequestEscalations(critical=critical),
        **changes,
    }
    return cms.put_resource_metric_rule(models.PutResourceMetricRuleRequest(**fields)).body


def rules(cms: Client, **filters: Any) -> list[Any]:
    found: list[Any] = cms.describe_metric_rule_list(models.DescribeMetricRuleListRequest(**filters)).body.alarms.alarm
    return found


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises((ClientException, ServerException)) as refused:
        call()
    return refused.value.status_code, refused.value.code


def test_an_alarm_rule_is_created_replaced_and_deleted(cms: Client) -> None:
    """Answers say 200 and success in their body; a rule is returned with its resources as JSON."""
    body = put(cms)
    assert (body.code, body.success) == ("200", True)
    [rule] = rules(cms)
    assert (rule.rule_id, rule.namespace, rule.metric_name) == ("dead", "acs_mns_new", "ActiveMessages")
    assert (rule.contact_groups, rule.period, rule.silence_time) == ("ops", "60", 86400)
    assert json.loads(rule.resources) == json.loads(QUEUE)
    critical = rule.escalations.critical
    assert (critical.comparison_operator, critical.threshold) == ("GreaterThanThreshold", "0")
    put(cms, critical={"threshold": "5"}, period="300")
    [rule] = rules(cms)
    assert (rule.escalations.critical.threshold, rule.period) == ("5", "300")
    cms.delete_metric_rules(models.DeleteMetricRulesRequest(id=["dead"]))
    assert rules(cms) == []


def test_alarm_rules_are_found_by_id_name_and_metric(cms: Client) -> None:
    """Ten a page; the total counts all."""
    for number in range(12):
        put(cms, f"rule-{number:02}", metric_name="DelayMessages" if number == 3 else "ActiveMessages")
    assert [rule.rule_id for rule in rules(cms, rule_ids="rule-03,rule-05")] == ["rule-03", "rule-05"]
    assert [rule.rule_id for rule in rules(cms, metric_name="DelayMessages")] == ["rule-03"]
    assert [rule.rule_id for rule in rules(cms, rule_name="-1")] == ["rule-10", "rule-11"]
    assert (len(rules(cms)), len(rules(cms, page=2))) == (10, 2)
    body = cms.describe_metric_rule_list(models.DescribeMetricRuleListRequest(page_size=1)).body
    assert (body.total, len(body.alarms.alarm)) == ("12", 1)


def test_contacts_and_groups_are_kept(cms: Client) -> None:
    """A contact's address is pending until it is confirmed; deleting it takes it out of its groups."""
    body = cms.describe_contact_list(models.DescribeContactListRequest(contact_name="ann")).body
    [contact] = body.contacts.contact
    assert (contact.name, contact.channels.mail, contact.channels_state.mail) == ("ann", "ann@example.com", "PENDING")
    assert contact.contact_groups.contact_group == ["ops"]
    groups = cms.describe_contact_group_list(models.DescribeContactGroupListRequest()).body
    assert (groups.total, groups.contact_groups.contact_group) == (1, ["ops"])
    assert groups.contact_group_list.contact_group[0].contacts.contact == ["ann"]
    cms.delete_contact(models.DeleteContactRequest(contact_name="ann"))
    groups = cms.describe_contact_group_list(models.DescribeContactGroupListRequest()).body
    assert groups.contact_group_list.contact_group[0].contacts.contact == []
    cms.delete_contact_group(models.DeleteContactGroupRequest(contact_group_name="ops"))
    assert cms.describe_contact_group_list(models.DescribeContactGroupListRequest()).body.total == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"contact_groups": "nobody"}, (404, "ResourceNotFound")),
        ({"contact_groups": None}, (400, "MissingContactGroups")),
        ({"resources": "queue"}, (400, "ParameterInvalid")),
        ({"resources": "[]"}, (400, "ParameterInvalid")),
        ({"critical": {"comparison_operator": ">"}}, (400, "ParameterInvalid")),
        ({"critical": {"times": None}}, (400, "ParameterInvalid")),
        ({"escalations": None}, (400, "ParameterInvalid")),
        ({"period": "soon"}, (400, "ParameterInvalid")),
    ],
)
def test_an_invalid_rule_is_refused(cms: Client, changes: dict[str, Any], expected: tuple[int, str]) -> None:
    """And nothing is stored."""
    assert refusal(lambda: put(cms, **changes)) == expected
    assert rules(cms) == []


def test_what_does_not_exist_is_not_found(cms: Client) -> None:
    """A rule, a contact, a group, and a contact that a group should have."""
    missing = (404, "ResourceNotFound")
    assert refusal(lambda: cms.delete_metric_rules(models.DeleteMetricRulesRequest(id=["x"]))) == missing
    assert refusal(lambda: cms.delete_contact(models.DeleteContactRequest(contact_name="x"))) == missing
    group = models.DeleteContactGroupRequest(contact_group_name="x")
    assert refusal(lambda: cms.delete_contact_group(group)) == missing
    new = models.PutContactGroupRequest(contact_group_name="g", contact_names=["x"])
    assert refusal(lambda: cms.put_contact_group(new)) == missing
    assert refusal(lambda: put_contact(cms, mail="ann")) == (400, "ParameterInvalid")


def test_accounts_see_only_their_own(local_cloud: LocalCloud, cms: Client) -> None:
    """Rules and groups of another account do not exist."""
    put(cms)
    other = client_of(local_cloud, PEER)
    assert rules(other) == []
    assert refusal(lambda: put(other)) == (404, "ResourceNotFound")


def test_a_wrong_secret_and_an_action_that_is_not_here_are_refused(local_cloud: LocalCloud, cms: Client) -> None:
    """Each with an error of its own."""
    assert refusal(lambda: rules(client_of(local_cloud, HOME, "wrong")))[1] == "SignatureDoesNotMatch"
    request = models.DescribeMetricLastRequest(namespace="acs_mns_new", metric_name="ActiveMessages")
    assert refusal(lambda: cms.describe_metric_last(request)) == (501, "NotOfferedByLocalCloud")


def test_a_role_needs_permission(local_cloud: LocalCloud, cms: Client) -> None:
    """The reader's role may look and change nothing."""
    role: Role = local_cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"]
    key = local_cloud.identity.issue(role, "s", local_cloud.clock.now() + 3600)
    reader = client(key.access_key_id, key.secret, key.token)
    put(cms)
    assert len(rules(reader)) == 1
    assert refusal(lambda: put(reader)) == (403, "NoPermission")
