"""The audit log and ActionTrail are joined by RequestId, and where a record has none, by rule and time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.domain.tags import iso_millis, parse_instant, parse_port
from link_peer_cli.audit.elsewhere import OTHER_REGION, other_region_findings
from link_peer_cli.audit.trail_consent import UNPROVEN
from link_peer_cli.audit.trail_events import Event, event_of
from link_peer_cli.audit.trail_join import join, unknown_rules
from link_peer_cli.audit.trail_log import Question, Roles
from pytest_mock import MockerFixture

HOME, PEER, REGION = "1000000000000001", "1000000000000002", "cn-qingdao"
NOW = parse_instant("2026-11-25T12:00:00Z")
HOUR = 3600.0
POLICY = Policy(
    "prod", {HOME: AccountPolicy("a"), PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/Link-Peer", "x" * 16)}
)
LOG, OPERATORS = "decisions", "decisions-operators"
ROLES = Roles(
    {
        HOME: {"link-peer-fc": {LOG}, "link-peer-operator": {OPERATORS}},
        PEER: {"link-peer": {LOG, OPERATORS}, "link-peer-closer": {OPERATORS}},
    },
    OPERATORS,
)
ID = RuleKey(Party(HOME, "sg-b"), f"sg-a@{HOME}", "", parse_port("tcp/1")).id(HOME, "prod", REGION)
MARKER = f"link-peer/2 dep=prod home={HOME} id={ID} by=tag"

Record = dict[str, str]


def question(*read: str) -> Question:
    tags = {Party(HOME, "sg-b"): {"link-accept": "*"}}
    return Question(POLICY, REGION, ROLES, frozenset(read or (HOME, PEER)), NOW - 10 * HOUR, NOW, tags)


def record(kind: str, at: float, port: int = 1, **fields: Any) -> Record:
    """A record about sg-a → sg-b, so many seconds ago."""
    key = {"account": HOME, "group": "sg-b", "source": f"sg-a@{HOME}", "dest": "", "protocol": "tcp"}
    rule = {**key, "ports": f"{port}/{port}", "rule_id": fields.pop("rule_id", "")}
    common = {"function": "sweep", "region": REGION, "event_id": "e", "link": "1" * 16, "action": "link"}
    common["logstore"] = LOG
    return {**common, "record": kind, "time": iso_millis(NOW - at), "rules": json.dumps([rule]), **fields}


def call(at: float, name: str = "AuthorizeSecurityGroup", caller_name: str = "link-peer-fc:s", **options: Any) -> Event:
    """A call on sg-b that so many seconds ago; by default the functions open sg-a → sg-b on TCP 1."""
    opened = {"IpProtocol": "TCP", "PortRange": "1/1", "SourceGroupId": "sg-a", "Priority": 100, "Policy": "accept"}
    opened |= {} if "kind" in options else {"Description": MARKER}
    permissions = {"Permissions": [opened]} if name in ("AuthorizeSecurityGroup",) else {}
    params = {"SecurityGroupId": "sg-b", **(permissions if "params" not in options else options.pop("params"))}
    raw = {
        "eventName": name,
        "eventTime": iso_millis(NOW - at)[:19] + "Z",
        "requestId": options.pop("request", "r-1"),
        "userIdentity": {"type": options.pop("kind", "assumed-role"), "userName": caller_name},
        "requestParameters": params,
        **options,
    }
    event = event_of(HOME, raw, REGION)
    assert event
    return event


def words(records: list[Record], events: list[Event], older: list[Record] | None = None) -> list[str]:
    return [finding.finding for finding in join(question(), records, older or [], events)]


FIELDS = {"IpProtocol": "TCP", "PortRange": "1/1", "SourceGroupId": "sg-a", "Priority": "100"}
REVOKED = {"name": "RevokeSecurityGroup", "params": {"SecurityGroupRuleId": ["sgr-1"]}}
PERSON = {"caller_name": "ann", "kind": "ram-user"}
INTENT = record("intent", 2000)
APPLIED = record("outcome", 1990, outcome="applied", rule_id="sgr-1", api_requests="r-1")
REMOVING = [record("intent", 2000, rule_id="sgr-1"), record("outcome", 1990, outcome="removed", rule_id="sgr-1")]
OPENED = record("outcome", 99 * HOUR, outcome="applied", rule_id="sgr-1", api_requests="r-0")
ELSEWHERE = record("outcome", 1990, outcome="applied", rule_id="sgr-1", api_requests="r-1", region="cn-beijing")

TAGGED = {"ResourceType": "securitygroup", "ResourceId.1": "sg-b", "Tag.1.Key": "link-accept", "Tag.1.Value": "*"}
BOTH = ("intent", "outcome")

CASES: dict[str, tuple[list[Record], list[Event], list[str]]] = {
    "both sides agree": ([INTENT, APPLIED], [call(1995)], []),
    "no record at all": ([], [call(1995)], ["no-intent"]),
    "a role in capitals": ([], [call(1995, caller_name="Link-Peer-FC:s")], ["no-intent"]),
    "an outcome, and no intent": ([APPLIED], [call(1995)], ["no-intent"]),
    "an intent that came too late": ([record("intent", 1980), APPLIED], [call(1995)], ["no-intent"]),
    "an intent of another link": ([record("intent", 2000, link="2" * 16), APPLIED], [call(1995)], ["no-intent"]),
    "records of another region": ([{**INTENT, "region": "cn-beijing"}, ELSEWHERE], [call(1995)], ["no-intent"]),
    "before the time in question": ([], [call(11 * HOUR)], []),
    "an outcome before the time in question": (
        [record("outcome", 11 * HOUR, outcome="applied", api_requests="r")],
        [],
        [],
    ),
    "refused": ([], [call(1995, errorCode="Forbidden.RAM")], []),
    # without a record that has the RequestId
    "died after the change": ([INTENT], [call(1995)], []),
    "died, within the hour": ([record("intent", 5000)], [call(5000 - HOUR)], []),
    "died, long ago": ([record("intent", 3 * HOUR)], [call(HOUR)], ["no-intent"]),
    "died, clocks that differ": ([INTENT], [call(2050)], []),
    "before the intent": ([INTENT], [call(2070)], ["no-intent"]),
    "after the result": (
        [INTENT, {**APPLIED, "api_requests": "r-2"}],
        [call(1995, request="r-2"), call(1900)],
        ["no-intent"],
    ),
    "another port": ([record("intent", 2000, 2)], [call(1995)], ["no-intent"]),
    "removed by id": ([OPENED, REMOVING[0]], [call(1995, **REVOKED)], []),
    "removed, and never opened": ([REMOVING[0]], [call(1995, **REVOKED)], ["no-marker"]),
    "removed another id": ([record("intent", 2000, rule_id="sgr-2")], [call(1995, **REVOKED)], ["no-intent"]),
    "added, and removed by the id": (
        [INTENT, {**APPLIED, "outcome": "failed"}],
        [call(1995), call(1992, request="", **REVOKED)],
        [],
    ),
    "a modification that names no rule by its id": (
        [OPENED, INTENT, APPLIED],
        [call(1995, "ModifySecurityGroupRule", params={**FIELDS, "Description": MARKER})],
        ["no-marker"],
    ),
    "an opening that names the id of another rule": (
        [REMOVING[0]],
        [
            call(3000, request="r-0", params={"SecurityGroupRuleId": "sgr-1", "Description": MARKER}, **PERSON),
            call(1995, **REVOKED),
        ],
        ["by-another", "no-marker"],
    ),
    # outcomes
    "no call": ([INTENT, APPLIED], [], ["no-change"]),
    "no call, and no intent": ([APPLIED], [], ["no-change"]),
    "no call, and copies of one write": ([{**APPLIED, "key": "1"}, {**APPLIED, "key": "1"}], [], ["no-change"]),
    "nothing had to be changed": ([{**APPLIED, "api_requests": ""}], [], []),
    "the call of another rule": (
        [
            INTENT,
            APPLIED,
            *(record(kind, 1990, 2, link="2" * 16, outcome="applied", api_requests="r-1") for kind in BOTH),
        ],
        [call(1995)],
        ["no-change"],
    ),
    "a lost answer": ([INTENT, {**APPLIED, "api_requests": ""}], [call(1995, request="r-9")], []),
    "opened by a call whose answer was lost, and removed": (
        [INTENT, {**APPLIED, "api_requests": ""}, record("intent", 1000, rule_id="sgr-1")],
        [call(1995, request="r-9"), call(990, request="r-2", **REVOKED)],
        [],
    ),
    "opened by a call of a minute later, as clocks differ, and removed": (
        [INTENT, {**APPLIED, "api_requests": ""}, REMOVING[0]],
        [call(1995, **REVOKED), call(1935, request="r-9")],
        [],
    ),
    "removed before it was opened": (
        [INTENT, {**APPLIED, "api_requests": ""}, REMOVING[0]],
        [call(1995, **REVOKED), call(1934, request="r-9")],
        ["no-marker"],
    ),
    "a marker that makes a person's rule ours": (
        [REMOVING[0], {**APPLIED, "api_requests": ""}],
        [call(1995, "ModifySecurityGroupRule", params={"SecurityGroupRuleId": "sgr-1", "Description": MARKER})],
        ["no-marker"],
    ),
    "removed, by a record without the id": (
        [OPENED, INTENT, {**REMOVING[1], "rule_id": "", "api_requests": "r-1"}],
        [call(1995, **REVOKED)],
        [],
    ),
    "a call long before": (
        [INTENT, {**APPLIED, "api_requests": ""}],
        [call(2000 + HOUR + 61, request="r-9", **PERSON)],
        ["no-change"],
    ),
    "a call after it": (
        [INTENT, {**APPLIED, "api_requests": ""}],
        [call(1900, request="r-9", **PERSON)],
        ["no-change"],
    ),
    "a person was faster to add": ([INTENT, {**APPLIED, "api_requests": ""}], [call(2010, **PERSON)], []),
    "a person was faster to remove": (REMOVING, [call(1995, **REVOKED, **PERSON)], ["by-another"]),
    "the group was deleted": (REMOVING, [call(1995, "DeleteSecurityGroup", **PERSON)], []),
    "a record that gives the id to another rule": (
        [OPENED, *REMOVING, record("attempt", 1980, 2, rule_id="sgr-1")],
        [call(1995, **REVOKED)],
        [],
    ),
    "an earlier record that gives the id to another rule": (
        [record("attempt", 100 * HOUR, 2, rule_id="sgr-1"), OPENED, *REMOVING],
        [call(1995, **REVOKED)],
        [],
    ),
    "the call of a rule with another id": (
        [OPENED, REMOVING[0], {**REMOVING[1], "api_requests": "r-1"}],
        [call(1995, "RevokeSecurityGroup", params={"SecurityGroupRuleId": ["sgr-9"]})],
        ["no-intent", "no-change"],
    ),
    "gone already": (
        [REMOVING[0], {**REMOVING[1], "api_requests": "r-1"}],
        [call(1995, errorCode="InvalidSecurityGroupRuleId.NotFound", **REVOKED)],
        [],
    ),
    "refused for another reason": (
        [REMOVING[0], {**REMOVING[1], "api_requests": "r-1"}],
        [call(1995, errorCode="Forbidden.RAM", **REVOKED)],
        ["no-change"],
    ),
    "a redelivery that died": ([INTENT, APPLIED, record("intent", 1000, 2)], [call(1995)], []),
    "an outcome without rules": ([{**APPLIED, "rules": "[]"}], [], []),
    "an outcome with lists in lists": ([{**APPLIED, "rules": "[" * 100_000}], [], []),
    "denied": ([INTENT, {**APPLIED, "outcome": "denied"}], [], []),
    # other people
    "a person's own rule": ([INTENT, APPLIED], [call(1995), call(100, request="r-2", **PERSON, params={})], []),
    "a person's marker": ([], [call(1995, **PERSON, params={"Permissions.1.Description": MARKER})], ["by-another"]),
    "a marker of another home": ([], [call(1995, **PERSON, params={"Description": MARKER.replace(HOME, PEER)})], []),
    "a person's managed tag": (
        [],
        [call(1995, "TagResources", **PERSON, params={**TAGGED, "Tag.1.Key": f"link-managed.prod.{HOME}"})],
        ["by-another"],
    ),
    "a person's consent": ([], [call(1995, "TagResources", **PERSON, params=TAGGED)], []),
    "a person's keys in a command": (
        [OPENED, *({**removing_record, "api_requests": "r-1", "logstore": OPERATORS} for removing_record in REMOVING)],
        [call(1995, **REVOKED, **PERSON)],
        [],
    ),
}


OPERATOR = {"caller_name": "link-peer-operator:s"}
ADOPTED = [
    record(kind, at, function="adopt", outcome="applied", rule_id="sgr-1", api_requests="r-1", logstore=OPERATORS)
    for kind, at in (("intent", 2000), ("outcome", 1990))
]
UNTAGGED = {"ResourceId.1": "sg-b", "TagKey.1": "link-accept"}
MARKED = {"name": "ModifySecurityGroupRule", "params": {"SecurityGroupRuleId": "sgr-1", "Description": MARKER}}


@pytest.mark.parametrize(
    ("before", "accepted", "problems"), [([], False, ["no-consent"]), ([], True, []), ([OPENED], False, [])]
)
def test_a_description_needs_consent_where_it_makes_a_rule_ours(
    before: list[Record], accepted: bool, problems: list[str]
) -> None:
    """A rule that link-peer opened had it then: its marker may be written again after the consent was withdrawn."""
    withdrawn = call(3000, "UntagResources", params=UNTAGGED, request="r-8", **PERSON)
    given_again = call(2500, "TagResources", params=TAGGED, request="r-9", **PERSON)
    calls = [withdrawn, *([given_again] if accepted else []), call(1995, **MARKED, **OPERATOR)]
    untagged = msgspec.structs.replace(question(), tags={Party(HOME, "sg-b"): {"link-accept": "*"} if accepted else {}})
    assert [finding.finding for finding in join(untagged, [*before, *ADOPTED], [], calls)] == problems


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"link": ""}, []),
        ({}, ["no-intent"]),  # of a link: it lists the groups that it tags
        ({"link": "", "action": "link"}, ["no-intent"]),
        ({"link": "", "record": "outcome", "outcome": "unchanged"}, ["no-intent"]),
    ],
)
def test_the_repair_of_a_tag_without_a_link_is_the_intent_to_tag_its_group(fields: Record, problems: list[str]) -> None:
    params = {**TAGGED, "Tag.1.Key": f"link-managed.prod.{HOME}", "Tag.1.Value": "true"}
    intent = {**record("intent", 2000, action="repair", from_account=HOME), "from": "sg-b", "rules": "[]", **fields}
    assert words([intent], [call(1995, "TagResources", params=params)]) == problems


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({}, []),
        ({"logstore": OPERATORS}, ["unproven"]),
        ({"event_request": "r-none"}, ["unproven"]),
        ({"event_request": "r-1"}, ["unproven"]),
    ],
)
def test_whoever_opened_a_rule_is_no_witness_of_its_consent(fields: Record, problems: list[str]) -> None:
    """The operator's key opened it, and the owner gave the consent of now later: what the functions saw in between
    proves that it was there before; what the operator's log says proves nothing, nor a record of a call that
    ActionTrail does not have, or that changed no tag."""
    sighting = {"to_account": HOME, "to": "sg-b", "rules": "[]", "event_request": "r-4", **fields}
    seen_tags = ("", '{"link-accept": "*"}')  # a record that says nothing makes another one say no less
    records = [record("observed", 2300, tags=tags, **sighting) for tags in seen_tags]
    opened = [{**intent, "logstore": OPERATORS, "consent": "sg-b *"} for intent in (INTENT, APPLIED)]
    unlocked = {"ResourceId.1": "sg-b", "TagKey.1": "link-lock"}
    calls = [call(2310, "UntagResources", request="r-4", params=unlocked, **PERSON)]
    calls += [call(1995, **OPERATOR), call(1000, "TagResources", request="r-2", params=TAGGED, **PERSON)]
    assert words([*records, *opened], calls) == problems


@pytest.mark.parametrize(
    ("old_tags", "logstore", "problems"),
    [
        ('{"link-accept": null}', OPERATORS, ["no-consent"]),
        ('{"link-accept": "*"}', OPERATORS, []),
        ('{"link-accept": "*"}', LOG, ["unproven"]),
        ("", OPERATORS, ["unproven"]),
    ],
)
def test_the_value_that_a_later_call_replaced_is_what_stood(old_tags: str, logstore: str, problems: list[str]) -> None:
    """As the record of `link-peer accept` tells it, which is not that of the functions, who opened the rule. Without a
    witness it is not proven: the functions' own record of a consent proves none."""
    accepted = {"to_account": HOME, "to": "sg-b", "rules": "[]", "event_request": "r-2", "logstore": logstore}
    records = [record("observed", 990, old_tags=old_tags, tags='{"link-accept": "*"}', **accepted)]
    opened = [{**entry, "consent": "sg-b *"} for entry in (INTENT, APPLIED)]
    calls = [call(1995), call(1000, "TagResources", request="r-2", params=TAGGED, **PERSON)]
    assert words([*records, *opened], calls) == problems
    forged = record("observed", 980, tags="{}", **{**accepted, "logstore": OPERATORS}, old_tags='{"link-accept": "*"}')
    if problems == ["no-consent"]:
        assert words([*records, forged, *opened], calls) == problems


def test_what_no_witness_tells_is_unproven_whatever_the_trail_does_not_show_yet() -> None:
    """A call that ActionTrail has not shown may change what is known of now, and not what was before."""
    observed = {"to_account": HOME, "to": "sg-b", "rules": "[]", "event_request": "r-9", "logstore": OPERATORS}
    sighting = record("observed", 100, tags='{"link-accept": "*"}', **observed)
    untold = msgspec.structs.replace(question(), tags={})
    findings = join(untold, [INTENT, APPLIED, sighting], [], [call(1995)])
    assert [(finding.finding, finding.pending) for finding in findings] == [("unproven", False)]


@pytest.mark.parametrize(
    ("has_functions", "findings"),
    [(False, [OTHER_REGION]), (True, []), (LinkPeerError("no answer"), [UNPROVEN, OTHER_REGION])],
)
def test_a_call_of_our_role_in_a_region_without_functions_is_a_finding(
    mocker: MockerFixture, has_functions: bool | LinkPeerError, findings: list[str]
) -> None:
    """But none of a person, nor one that was refused or made before the time in question; what cannot be read is
    unproven."""
    events = [call(1995), call(1990, **PERSON), call(1990, errorCode="Forbidden.RAM"), call(11 * HOUR)]
    env = mocker.Mock(policy=POLICY, now=NOW)
    functions_of = mocker.Mock(side_effect=[has_functions] * 2)
    for refused in ({}, {PEER: "no answer"}):
        mismatches = list(
            other_region_findings(
                env,
                [mocker.Mock(region="cn-x")],
                mocker.Mock(return_value=(events, refused)),
                functions_of,
                NOW - 10 * HOUR,
                ROLES,
            )
        )
        assert [each.finding for each in mismatches] == [UNPROVEN] * len(refused) + findings
    of_others = other_region_findings(
        env, [mocker.Mock()], lambda _: (events[1:], {}), mocker.Mock(), NOW - 10 * HOUR, ROLES
    )
    assert list(of_others) == []


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    """What is found for the records and calls of a case."""
    records, events, expected = CASES[name]
    assert words(records, events) == expected


@pytest.mark.parametrize(
    "form", [dict, json.dumps, lambda params: {**params, "ResourceId": json.dumps(params["ResourceId"])}]
)
def test_groups_that_are_tagged_in_one_call_have_an_intent_each(form: Callable[[dict[str, Any]], Any]) -> None:
    """Of links that are opened in one run, in each form of a call's parameters. One group without an intent is enough
    to ask."""
    names = ["sg-1", "sg-2"]
    params = {"ResourceId": names, "Tag": [{"Key": f"link-managed.prod.{HOME}", "Value": "true"}]}
    raw = {"eventName": "TagResources", "eventTime": "2026-11-25T11:00:00Z", "requestParameters": form(params)}
    tagged = event_of(HOME, {**raw, "userIdentity": {"type": "assumed-role", "userName": "link-peer-fc:s"}}, REGION)
    assert tagged
    assert tagged.groups == ("sg-1", "sg-2")
    intents = [record("intent", HOUR, link=name, rules="[]", tagged=f"{name}@{HOME}") for name in names]
    assert words(intents, [tagged]) == []
    assert words(intents[:1], [tagged]) == ["no-intent"]


def test_a_rule_of_an_account_that_was_not_read_is_not_doubted() -> None:
    assert join(question(PEER), [INTENT, APPLIED], [], []) == []


def test_an_old_rule_is_known_from_an_old_record() -> None:
    """The log is asked for ids and groups that the read records do not name."""
    by_id = call(1995, **REVOKED, **PERSON)
    field = {"IpProtocol": "tcp", "PortRange": "1/1", "SourceGroupId": "sg-a", "Priority": "100"}
    by_fields = call(1995, "RevokeSecurityGroup", params=field, **PERSON)
    assert unknown_rules(question(), [], [by_id, by_fields]) == ["sgr-1", "sg-b"]
    assert unknown_rules(question(), [APPLIED], [by_id, by_fields]) == []
    assert unknown_rules(question(), [], [call(1995, **REVOKED), call(11 * HOUR, **REVOKED, **PERSON)]) == ["sgr-1"]
    assert words([], [by_id, by_fields]) == []
    old = record("outcome", 99 * HOUR, outcome="applied", rule_id="sgr-1")
    assert words([], [by_id, by_fields], [old]) == ["by-another", "by-another"]
    lower = call(1995, "RevokeSecurityGroup", params={**field, "Priority": "1"}, **PERSON)
    assert words([], [lower], [old]) == []


@pytest.mark.parametrize(
    ("seconds", "records", "events"),
    [
        (60, [], [call(30)]),
        (60, [], [call(59)]),
        (900, [record("intent", 899), record("outcome", 890, outcome="applied")], []),
    ],
)
def test_what_is_young_is_pending(seconds: float, records: list[Record], events: list[Event]) -> None:
    """A record that cannot be searched yet, for a minute; a call that cannot be looked up yet, for a quarter of an
    hour."""
    (finding,) = join(question(), records, [], events)
    assert finding.pending
    later = msgspec.structs.replace(question(), now=NOW + seconds)
    (finding,) = join(later, records, [], events)
    assert not finding.pending


@pytest.mark.parametrize(
    "raw",
    [
        {"eventName": "TagResources"},
        {"eventName": "UntagResources", "requestParameters": None},
        {"eventName": "TagResources", "requestParameters": {"ResourceId.1": "i-1"}},
        {"eventName": "RevokeSecurityGroup", "errorCode": "MissingParameter"},
        {
            "requestParameters": {"SecurityGroupId": "sg-b"},
            "acsRegion": "cn-beijing",
            "eventTime": "2026-11-25T11:00:00Z",
        },
        {"eventName": "TagResources", "requestParameters": {"ResourceId": ["sg b", {"x": 1}]}},
    ],
)
def test_what_is_not_about_a_group_of_the_region_is_left_out(raw: dict[str, Any]) -> None:
    assert event_of(HOME, raw, REGION) is None


def deep() -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(5_000):
        nested = {"x": nested}
    return nested


@pytest.mark.parametrize(
    "parameters", [None, "SecurityGroupId=sg-b", {"SecurityGroupId": "b"}, {"ResourceId.1": "sg-b"}, deep()]
)
def test_an_event_that_names_no_group_or_no_time_is_an_error(parameters: Any) -> None:
    """It must not pass for no change."""
    raw = {"eventId": "e-1", "eventName": "RevokeSecurityGroup", "requestParameters": parameters}
    with pytest.raises(LinkPeerError, match="names no group: e-1"):
        event_of(HOME, raw, REGION)
    with pytest.raises(LinkPeerError, match="without a time: e-1"):
        event_of(HOME, {**raw, "requestParameters": {"SecurityGroupId": "sg-b"}}, REGION)


def test_a_strange_event_has_what_can_be_read() -> None:
    """No identity, numbers for texts, ranges that are none."""
    permission = {"IpProtocol": 6, "PortRange": "a/b", "SourceCidrIp": "10.0.0.0/8", "Priority": 100}
    raw = {"eventTime": "2026-11-25T11:00:00Z", "userIdentity": "x", "eventName": "AuthorizeSecurityGroup"}
    event = event_of(
        HOME, {**raw, "requestParameters": {"SecurityGroupId": "sg-b", "Permissions": [permission, 7]}}, REGION
    )
    assert event
    assert (event.keys, event.role, event.caller) == ((), "", "unknown")
