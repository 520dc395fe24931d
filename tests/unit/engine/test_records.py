"""Decisions as audit records: what each field says, and how much of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import Transient
from link_peer.domain.model import TAG, Claim, Instance, Link, Party, Rule
from link_peer.domain.request import Cause, Hint
from link_peer.domain.tags import FIELD_LIMIT, parse_ports
from link_peer.engine import records
from link_peer.engine.read.access import BY_PAGES
from link_peer.engine.read.fetch import Fetch, open_fetch
from link_peer.engine.records import (
    Circumstances,
    decision_record,
    link_fields,
    observed_record,
    tags_text,
    until_field,
)
from link_peer.planning.decision import Decision, Edit, Need, Verdict

from tests.unit.fakes import FakeEcs, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B, C
from tests.unit.snapshots import APART, between, key, managed, member, one_instance, ours, theirs, view

P1 = parse_ports("tcp/1")
LINK, PAIR = Link(APP, DB, P1), Link(A, B, P1)
K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
REQ = Claim("chg-1")
OURS, BOTH = ours(K1), ours(K2, TAG, REQ)


def decision(link: Link = LINK, outcome: str = "applied", **fields: Any) -> Decision:
    return Decision(link, "link", outcome, **fields)


def removing(rule: Rule) -> Edit:
    return Edit(rule.key or K1, lose=frozenset({TAG}), rule=rule)


# the fields of a decision


FOREIGN_KIND = Rule(DB, "sgr-6", None, "accept", 1)
"""A rule of a kind that we never write."""


def test_an_intent_names_what_will_change_and_the_others_what_there_is() -> None:
    edits = (Edit(K1, gain=frozenset({TAG}), claims=(TAG,)), removing(BOTH))
    change = decision(edits=edits, missing_managed_tag=(DB, APP))
    records_by_kind = {
        kind: decision_record(change, REGION, kind, rules=[OURS, FOREIGN_KIND], api_requests=["r-1", "", "r-2"])
        for kind in ("intent", "attempt", "outcome")
    }
    ids = {
        kind: [(rule["ports"], rule["rule_id"]) for rule in json.loads(decision_record["rules"])]
        for kind, decision_record in records_by_kind.items()
    }
    assert ids == {
        "intent": [("1/1", ""), ("2/2", BOTH.id)],
        "attempt": [("1/1", OURS.id)],
        "outcome": [("1/1", OURS.id)],
    }
    assert [decision_record["tagged"] for decision_record in records_by_kind.values()] == [f"{DB},{APP}", "", ""]
    assert {decision_record["api_requests"] for decision_record in records_by_kind.values()} == {"r-1,r-2"}
    assert [decision_record.get("outcome") for decision_record in records_by_kind.values()] == [None, None, "applied"]
    assert {
        (decision_record["record"], decision_record["action"], decision_record["link"], decision_record["ports"])
        for decision_record in records_by_kind.values()
    } == {(kind, "link", LINK.id(REGION), "tcp/1") for kind in records_by_kind}


@pytest.mark.parametrize(
    ("verdict", "asks", "fields"),
    [
        (None, None, ("unknown", "", "")),
        (Verdict(LINK, reachability="same-vpc", consent=("x", "y")), A, ("same-vpc", "x; y", str(A))),
    ],
)
def test_a_record_says_what_the_verdict_rests_on_and_who_asks(
    verdict: Verdict | None, asks: Party | None, fields: tuple[str, str, str]
) -> None:
    record = decision_record(decision(verdict=verdict, instance=asks), REGION, "attempt")
    assert (record["reachability"], record["consent"], record["instance"]) == fields


CHANGED = ours(K2, REQ)


@pytest.mark.parametrize(
    ("outcome", "edits", "rules", "claims"),
    [
        ("applied", (), [OURS, BOTH], {OURS.id: "tag", BOTH.id: "tag,req:chg-1"}),
        ("unchanged", (), [OURS, theirs(K2)], {OURS.id: "tag"}),
        ("removed", (removing(OURS),), [], {OURS.id: None}),
        ("removed", (removing(OURS), removing(BOTH)), [CHANGED], {BOTH.id: "req:chg-1", OURS.id: None}),
        ("removed", (removing(OURS),), [OURS], {OURS.id: None}),
        ("applied", (Edit(K1, rule=OURS, claims=(REQ,)), Edit(K2, claims=(TAG,))), [OURS], {OURS.id: "tag"}),
        ("denied", (removing(OURS),), [OURS], {}),
        ("failed", (), [OURS], {}),
    ],
)
def test_an_outcome_names_the_claims_that_each_rule_is_left_with(
    outcome: str, edits: tuple[Edit, ...], rules: list[Rule], claims: dict[str, str | None]
) -> None:
    """As they were read back; null for those that are gone. One that was changed instead, or not at all, is not
    gone."""
    record = decision_record(decision(outcome=outcome, edits=edits), REGION, "outcome", rules=rules)
    assert json.loads(record["claims"]) == claims


ENDS = {"link_until": "2026-12-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("asker", "accept", "rules", "outcome", "until"),
    [
        (one_instance(A, APP, **ENDS), "*", [OURS], "applied", "2026-12-01T00:00:00Z"),
        (one_instance(A, APP, **ENDS), "*~20261130T000000Z", [OURS], "applied", "2026-11-30T00:00:00Z"),
        (
            one_instance(A, APP),
            "*",
            [OURS, ours(K2, Claim("chg-1", int(NOW) + 86400))],
            "removed",
            "2026-11-26T00:00:00Z",
        ),
        (one_instance(A, APP), "*", [OURS], "applied", ""),
        (None, "*", [OURS], "applied", ""),
        (one_instance(A, APP, **ENDS), "*", [OURS], "failed", ""),
    ],
)
def test_a_record_says_when_the_first_rule_of_its_link_ends(
    asker: Instance | None, accept: str, rules: list[Rule], outcome: str, until: str
) -> None:
    """By the tag of the instance that asks, by a request's end or by consent."""
    snapshot = view([managed(APP), managed(DB, accept)], [asker] if asker else [], rules)
    for instance in (A, None):
        end_field = until_field(decision(outcome=outcome, instance=instance), rules, snapshot, POLICY, NOW)
        assert end_field == {"until": until if instance or "11-2" in until or "11-30" in until else ""}


def test_a_rule_that_was_removed_ends_no_link() -> None:
    """Also where it was still shown when the rules were read back."""
    rule = ours(K1, Claim("chg-1", int(NOW) + 60))
    removal = decision(outcome="removed", edits=(removing(rule),))
    assert until_field(removal, [rule], view([managed(APP), managed(DB, "*")]), POLICY, NOW) == {"until": ""}


def test_a_link_is_named_by_its_parties_and_an_unreadable_peer_as_it_was_written() -> None:
    parties = {"from_account": HOME, "from": APP.id, "to_account": HOME}
    assert link_fields(LINK, REGION) == {**parties, "to": DB.id, "ports": "tcp/1", "link": LINK.id(REGION)}
    raw = [link_fields(Link(APP, Party(HOME, ""), P1), REGION, text) for text in ("SG-X", "SG-Y")]
    assert [{**record, "link": len(record["link"])} for record in raw] == [
        {**parties, "to": text, "ports": "", "link": 16} for text in ("SG-X", "SG-Y")
    ]
    assert raw[0]["link"] != raw[1]["link"]


def test_of_an_event_of_a_groups_tags_consent_comes_first_and_what_was_not_read_is_not_known() -> None:
    """Which is another thing than none."""
    cause = Cause("acs:ram::1:user/alice", "TagResources", "r-1", (("link-lock", "x"), ("link-accept", None)))
    tags = {"link-lock": "x", "env": "prod", "link-accept.2": "sg-b", "link-accept": "sg-a"}
    observed_records = [
        observed_record(Hint("event-1", DB, "tags", cause=cause), tag, POLICY.keys) for tag in (tags, {}, None)
    ]
    assert observed_records[0]["event_tags"] == '{"link-lock":"x","link-accept":null}'
    assert [(observed_record["tags"], observed_record["detail"]) for observed_record in observed_records] == [
        ('{"link-accept":"sg-a","link-accept.2":"sg-b","link-lock":"x"}', ""),
        ("{}", ""),
        ("", records.NOT_SHOWN),
    ]


def test_of_tags_as_many_are_named_as_a_field_holds() -> None:
    """It says how many more there are. Text of any language stays readable."""
    assert tags_text([("a", "值")]) == '{"a":"值"}'
    whole = [("a", "x" * (FIELD_LIMIT - len('{"a":"","b":""}'))), ("b", "")]
    assert len(tags_text(whole)) == FIELD_LIMIT
    document = json.loads(tags_text([("a", "x"), ("b", "y" * 10), ("c", "z" * FIELD_LIMIT), ("d", "")]))
    assert document == {"a": "x", "b": "y" * 10, "…": "2 more"}


# whom rules admit


def circumstances(
    *instances: Instance, read: Sequence[Party] = (), **fields: Any
) -> tuple[Circumstances, FakeEcs, Fetch]:
    ecs = FakeEcs(fields.pop("groups", [managed(p, "*") for p in (APP, DB, CACHE)]), instances, fields.pop("rules", ()))
    fetch = open_fetch(delivery(ecs), "test")
    fetch.members(read)
    ecs.calls.clear()
    return Circumstances(fetch), ecs, fetch


ADMITS = (key(DB, APP, "tcp/1"), key(DB, CACHE, "tcp/1"))
MEMBERS = tuple(member(party).key for party in (A, C) if member(party).key)
NEEDS = Verdict(
    LINK, needs=tuple(Need(member, (party, APP)) for member, party in zip(MEMBERS, (A, C), strict=True) if member)
)
NOBODY = {"instances": "", "instance_ids": ""}


def admitted(*parties: Party, count: int | None = None) -> dict[str, str]:
    return {"instances": str(len(parties) if count is None else count), "instance_ids": " ".join(map(str, parties))}


@pytest.mark.parametrize("read", [(), (APP,), (APP, CACHE)])
def test_a_record_names_the_instances_of_the_groups_that_rules_admit_once_all_are_read(read: tuple[Party, ...]) -> None:
    """Each group's members are read once, for the record alone, unless they are known."""
    situation, ecs, fetch = circumstances(one_instance(A, APP), one_instance(C, APP), one_instance(B, CACHE), read=read)
    assert situation.admitted(ADMITS, decision()) == (NOBODY if len(read) < 2 else admitted(A, B, C))
    assert situation.admitted([], decision()) == NOBODY  # no rule stands
    for _ in range(2):
        situation.read_members(ADMITS)
    assert situation.admitted(ADMITS, decision()) == admitted(A, B, C)
    assert ecs.calls == [f"instance_page {group.id}" for group in (APP, CACHE) if group not in read]
    assert fetch.store.complete_groups == set(read)


def test_where_members_cannot_be_read_nobody_is_named() -> None:
    situation, ecs, _ = circumstances(one_instance(A, APP), one_instance(B, CACHE))
    ecs.errors["instance_page"] = [Transient("timeout")]
    situation.read_members(ADMITS)
    assert situation.admitted(ADMITS, decision()) == NOBODY


@pytest.mark.parametrize("by_page", [False, True])
def test_of_a_group_of_several_pages_the_number_of_one_is_a_lower_bound(by_page: bool) -> None:
    """Nobody is named, since who comes first by id is not known; what was read of it for other reasons is not read
    again."""
    situation, ecs, fetch = circumstances(one_instance(A, APP), one_instance(C, APP), one_instance(B, CACHE))
    ecs.page = 1
    if by_page:
        fetch = open_fetch(delivery(ecs), "test", BY_PAGES)
        situation = Circumstances(fetch)
        fetch.members_by_page([APP], 1, alone=True)
    situation.read_members(ADMITS)
    assert situation.admitted(ADMITS, decision()) == {"instances": "2 or more", "instance_ids": ""}
    assert ecs.calls == ["instance_page sg-app", "instance_page sg-cache"]


def test_a_group_whose_number_alone_is_known_is_counted() -> None:
    """As after a read of the whole account, which keeps no instance that asks for nothing."""
    situation, _, fetch = circumstances(one_instance(A, APP), one_instance(C, APP))
    fetch.all_instances([HOME])
    assert situation.admitted(ADMITS[:1], decision())["instances"] == "2"


def test_twenty_instances_are_named_and_all_are_counted() -> None:
    many = [one_instance(Party(HOME, f"i-{n:02}"), APP) for n in range(21)]
    situation, *_ = circumstances(*many, read=[APP])
    assert situation.admitted(ADMITS[:1], decision()) == admitted(*(i.party for i in many[:20]), count=21)


def test_rules_between_addresses_admit_the_instances_that_they_are_for() -> None:
    """Of a link by address those whose rules these are; of two instances the source, or both where it is mutual."""
    situation, *_ = circumstances()
    edits = tuple(Edit(member, ends=(A, APP)) for member in MEMBERS[:1] if member)
    keys = [member for member in MEMBERS if member]
    assert situation.admitted(keys, decision(verdict=NEEDS)) == admitted(A, C)
    assert situation.admitted(keys[:1], decision(verdict=NEEDS)) == admitted(A)
    assert situation.admitted(keys[:1], decision(edits=edits)) == admitted(A)
    key_here, key_there = between(A, B, DB).key, between(B, A, APP).key
    assert key_here
    assert key_there
    assert situation.admitted(
        [key_here], decision(PAIR, verdict=Verdict(PAIR, needs=(Need(key_here, (A, B)),)))
    ) == admitted(A)
    assert situation.admitted([key_here, key_there], decision(Link(A, B))) == admitted(A, B)


def test_what_becomes_of_packets_is_read_where_something_has_changed() -> None:
    """Each group's rules once, for records alone; one that cannot be read is not asked again. The order of rules in
    different groups does not matter."""
    groups = [managed(party, "*", rule_count=1) for party in (APP, DB)]
    situation, ecs, fetch = circumstances(
        one_instance(A, APP), one_instance(B, DB), groups=groups, rules=[between(A, B, DB)]
    )
    fetch.parties([A, B])
    ecs.calls.clear()
    applied = decision(PAIR, rules=(between(A, B, DB),))
    assert (situation.effect(applied)["effect"], ecs.calls) == ("unknown", [])
    ecs.errors["rules"] = [Transient("timeout")]
    assert situation.effect(applied, changed=True)["effect"] == "unknown"
    assert "sg-app" in situation.effect(applied, changed=True)["effect_detail"]
    assert ecs.calls == ["rules sg-app", "rules sg-db"]
    assert DB not in fetch.store.rules
    fetch.rules([APP])
    assert situation.effect(applied)["effect"] == "passes"


def test_of_a_link_by_address_the_packets_of_the_instance_that_asks_are_looked_at_else_of_the_first() -> None:
    instances = (one_instance(A, APP), one_instance(C, APP), one_instance(B, DB))
    situation, *_, fetch = circumstances(*instances, groups=APART, rules=[member(A)], read=[APP, DB])
    fetch.rules([APP, DB])
    applied = decision(verdict=NEEDS, rules=(member(C), member(A)))
    assert situation.effect(applied)["effect"] == "passes"
    assert situation.effect(msgspec.structs.replace(applied, instance=C))["effect"] == "blocked"
