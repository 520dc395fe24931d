"""Random histories of honest and hostile acts on one group, and an oracle that saw them all: what `audit --verify`
finds stays found, whatever anybody does later, and an honest history has no finding."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.marker import render
from link_peer.domain.model import Claim, Marker, Party, RuleKey
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.domain.tags import iso, iso_millis, parse_instant, parse_port
from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.trail_consent import UNPROVEN
from link_peer_cli.audit.trail_events import Event, event_of
from link_peer_cli.audit.trail_join import join
from link_peer_cli.audit.trail_log import Question, Roles

from tests.sample import part

HOME, REGION = "1000000000000001", "cn-qingdao"
LOG, OPERATORS = "decisions", "decisions-operators"
KEYS = {LOG: "link-peer-fc", OPERATORS: "link-peer-operator"}
POLICY = Policy("prod", {HOME: AccountPolicy("a")})
ROLES = Roles({HOME: {role: {log} for log, role in KEYS.items()}}, OPERATORS)
START = parse_instant("2026-11-25T00:00:00Z")
GROUP = Party(HOME, "sg-b")
ACCEPTS = {"link-accept": ("*", "sg-other", None), "link-lock": ("x", None)}
HISTORIES = part(400, 2)


class Opening(msgspec.Struct):
    """A rule that was opened: by whom, when, with which RequestId; and whether that was right, as the oracle saw it."""

    log: str
    time: float
    request_id: str
    is_recorded: bool
    is_consented: bool
    is_locked: bool


class Change(msgspec.Struct):
    """A tag call, and in whose log it is recorded with the value before."""

    time: float
    key: str
    recorded_in: str


class History:
    """The world: the tags of the group, ActionTrail, both logs; and what the oracle remembers. One key is stolen."""

    def __init__(self, seed: int, stolen: str) -> None:
        self.draw = random.Random(seed)
        self.stolen, self.now = stolen, START
        self.tags = {key: value for key, values in ACCEPTS.items() if (value := self.draw.choice(values)) is not None}
        self.events: list[Event] = []
        self.records: list[dict[str, str]] = []
        self.openings: list[Opening] = []
        self.changes: list[Change] = []
        self.sightings: list[tuple[float, str]] = []  # when the tags were recorded as they were, and in whose log
        self.number = 0

    def wait(self) -> None:
        self.now += self.draw.choice([130, 700, 2500])

    def call(self, name: str, kind: str, caller: str, **params: Any) -> str:
        self.number += 1
        request_id = f"r-{self.number}"
        identity = {"type": kind, "userName": caller}
        raw = {"eventName": name, "eventTime": iso(self.now), "requestId": request_id, "userIdentity": identity}
        event = event_of(HOME, {**raw, "requestParameters": params}, REGION)
        assert event
        self.events.append(event)
        return request_id

    def record(self, log: str, kind: str, **fields: str) -> None:
        """Whoever writes it chooses its fields, and SLS the time of receipt."""
        common = {
            "region": REGION,
            "deployment": "prod",
            "function": "sweep",
            "link": "1" * 16,
            "time": iso_millis(self.now),
        }
        received = {"logstore": log, "received": iso(self.now)}
        self.records.append({**common, "record": kind, "key": str(len(self.records)), **fields, **received})

    # acts of the owner

    def tag_on_record(self) -> None:
        """In the console or with a command."""
        self.tag(["console", "command"])

    def tag(self, ways: Sequence[str] = ("console", "service", "command")) -> None:
        """In the console, of which the functions record the event; through the Tag service, which gives none; or with a
        command."""
        self.wait()
        key = self.draw.choice(list(ACCEPTS))
        value, before = self.draw.choice(ACCEPTS[key]), self.tags.get(key)
        way = self.draw.choice(ways)
        resource = {"ResourceType": "securitygroup", "ResourceId.1": GROUP.id}
        if value is None:
            self.tags.pop(key, None)
            request_id = self.call("UntagResources", "ram-user", "ann", **resource, **{"TagKey.1": key})
            if key == "link-lock":  # else a removed lock is a finding of its own
                self.record(OPERATORS, "observed", function="reopen", event_request=request_id)
        else:
            self.tags[key] = value
            request_id = self.call(
                "TagResources", "ram-user", "ann", **resource, **{"Tag.1.Key": key, "Tag.1.Value": value}
            )
        self.changes.append(Change(self.now, key, OPERATORS if way == "command" else ""))
        self.now += 2
        sighting = {"to_account": HOME, "to": GROUP.id, "tags": json.dumps(self.tags), "event_request": request_id}
        if way == "command":
            self.record(OPERATORS, "observed", old_tags=json.dumps({key: before}), **sighting)
        if way == "console":
            self.record(LOG, "observed", **sighting)
        if way != "service":
            self.sightings.append((self.now, OPERATORS if way == "command" else LOG))

    # acts with a key of link-peer

    def open(self, log: str, *, intent: str) -> None:
        """`intent`: before the call, after it with an earlier time, or none."""
        self.wait()
        self.number += 1
        port = parse_port(f"tcp/{self.number}")
        key = RuleKey(GROUP, f"sg-a@{HOME}", "", port)
        description = render(Marker(HOME, "prod", key.id(HOME, "prod", REGION), (Claim("chg-1"),)))
        rule = {"account": HOME, "group": GROUP.id, "source": f"sg-a@{HOME}", "dest": "", "protocol": "tcp"}
        rule |= {"ports": f"{self.number}/{self.number}"}
        decision = {"event_id": f"e-{self.number}", "action": "link", "consent": "sg-b link-accept=*"}
        if intent == "before":
            self.record(log, "intent", rules=json.dumps([{**rule, "rule_id": ""}]), **decision)
        self.now += 1
        permission = {"IpProtocol": "TCP", "PortRange": rule["ports"], "SourceGroupId": "sg-a", "Priority": 100}
        permissions = [{**permission, "Policy": "accept", "Description": description}]
        parameters: dict[str, Any] = {"SecurityGroupId": GROUP.id, "Permissions": permissions}
        request_id = self.call("AuthorizeSecurityGroup", "assumed-role", f"{KEYS[log]}:s", **parameters)
        consented = self.tags.get("link-accept") == "*"
        is_locked = "link-lock" in self.tags
        self.openings.append(Opening(log, self.now, request_id, intent == "before", consented, is_locked))
        if intent == "after":
            self.now += 200
            stated = {"time": iso_millis(self.now - 300)}
            self.record(log, "intent", rules=json.dumps([{**rule, "rule_id": ""}]), **{**decision, **stated})
        self.now += 1
        fields = {"rules": json.dumps([{**rule, "rule_id": f"sgr-{self.number}"}]), "api_requests": request_id}
        if intent != "none":
            self.record(log, "outcome", outcome="applied", **fields, **decision)

    def open_honestly(self) -> None:
        if self.tags.get("link-accept") == "*" and "link-lock" not in self.tags:
            self.open(self.draw.choice([LOG, OPERATORS]), intent="before")

    def open_with_the_stolen_key(self) -> None:
        self.open(self.stolen, intent=self.draw.choice(["before", "before", "before", "after", "none"]))

    def forge(self) -> None:
        """A consent that nobody gave, as the record of a real call or of none."""
        self.wait()
        calls = [event.request_id for event in self.events if event.tags]
        tags = json.dumps({"link-accept": "*"})
        fields = {"to_account": HOME, "to": GROUP.id, "tags": tags, "old_tags": tags}
        self.record(self.stolen, "observed", event_request=self.draw.choice([*calls, "r-none"]), **fields)

    # what is found, and what the oracle says of it

    def findings(self, after: float = 1200) -> list[Mismatch]:
        """What is found so many seconds after the last act; ActionTrail shows a call after fourteen minutes."""
        now = self.now + after
        events = [event for event in self.events if event.time <= now - 840]
        tags = {GROUP: dict(self.tags)}
        question = Question(POLICY, REGION, ROLES, frozenset({HOME}), START, now, tags, START - 86_400, START)
        return [finding for finding in join(question, self.records, [], events) if not finding.pending]

    def is_told(self, opening: Opening, key: str) -> bool:
        """Whether a witness tells the value that a tag had at an opening."""
        changes = [change for change in self.changes if change.key == key]
        if any(change.time < opening.time for change in changes) or not changes:
            return True  # a call before it, or the tags of now
        first = changes[0]
        is_recorded = bool(first.recorded_in) and first.recorded_in != opening.log
        return is_recorded or any(time < first.time and log != opening.log for time, log in self.sightings)

    def expected(self, opening: Opening) -> str:
        """`finding`, `unproven`, or nothing."""
        accept, lock = (self.is_told(opening, key) for key in ACCEPTS)
        if not opening.is_recorded or (lock and opening.is_locked) or (accept and not opening.is_consented):
            return "finding"
        return "" if accept and lock else UNPROVEN


def kinds(findings: list[Mismatch]) -> dict[str, str]:
    """What is said of each opening, by its RequestId."""
    opened = [finding for finding in findings if finding.subject.startswith("AuthorizeSecurityGroup")]
    return {finding.request_id: UNPROVEN if finding.finding == UNPROVEN else "finding" for finding in opened}


@pytest.mark.exhaustive
@pytest.mark.parametrize("stolen", KEYS)
def test_no_later_act_removes_a_finding(stolen: str) -> None:
    """After each act, each opening is judged as the oracle says: a finding where a witness tells that it was wrong,
    unproven where none tells. A finding becomes unproven only where the tags of now were its witness, and never
    goes."""
    counts: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history, before = History(seed, stolen), dict[str, str]()
        acts = [history.tag, history.tag, history.open_honestly, history.open_with_the_stolen_key, history.forge]
        for _ in range(history.draw.randrange(4, 14)):
            history.draw.choice(acts)()
            judged = kinds(history.findings())
            openings = {opening.request_id: opening for opening in history.openings}
            own_kinds = {name: kind for name, kind in judged.items() if openings[name].log == stolen}
            expected = {name: history.expected(opening) for name, opening in openings.items() if opening.log == stolen}
            assert own_kinds == {name: kind for name, kind in expected.items() if kind}, (seed, stolen)
            wrong = {name for name in expected if not openings[name].is_recorded or not openings[name].is_consented}
            assert wrong <= own_kinds.keys(), (seed, stolen)
            for name, kind in before.items():
                assert name in own_kinds or expected[name] == "", (seed, stolen)
                assert kind == UNPROVEN or own_kinds[name] == "finding" or expected[name] == UNPROVEN, (seed, stolen)
            before = own_kinds
            counts.update(acts=1)
        counts.update(histories=1, **Counter(before.values()))
    print(f"with the key of {KEYS[stolen]} stolen: {dict(counts)}")
    assert counts["histories"] == HISTORIES
    assert min(counts["finding"], counts[UNPROVEN]) > HISTORIES / 10


@pytest.mark.exhaustive
def test_an_honest_history_has_no_finding() -> None:
    """And nothing unproven but openings of which no witness tells the tags."""
    counts: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = History(seed, LOG)
        history.tags = {"link-accept": "*"}
        for _ in range(history.draw.randrange(4, 14)):
            history.draw.choice([history.tag, history.open_honestly, history.open_honestly])()
            findings = history.findings()
            expected = {
                opening.request_id: UNPROVEN for opening in history.openings if history.expected(opening) == UNPROVEN
            }
            assert {finding.finding for finding in findings} <= {UNPROVEN}, (seed, findings)
            assert kinds(findings) == expected, seed
        counts.update(histories=1, openings=len(history.openings), unproven=len(expected))
    print(f"honest: {dict(counts)}")
    assert counts["openings"] > HISTORIES


@pytest.mark.exhaustive
def test_a_change_that_the_trail_does_not_show_yet_makes_no_finding() -> None:
    """A consent that is older than the trail was withdrawn, or a group locked, minutes ago: what was opened before is
    pending, or unproven where the functions alone recorded it and made the opening."""
    counts: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = History(seed, LOG)
        history.tags = {"link-accept": "*"}
        for _ in range(history.draw.randrange(2, 10)):
            history.draw.choice([history.tag_on_record, history.open_honestly, history.open_honestly])()
            findings = history.findings(after=5)
            assert {finding.finding for finding in findings} <= {UNPROVEN}, (seed, findings)
            counts.update(finding.finding for finding in findings)
            counts.update(acts=1)
    print(f"honest, seen at once: {dict(counts)}")
    assert counts[UNPROVEN] > 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("stolen", KEYS)
def test_who_opened_a_rule_cannot_keep_its_finding_pending(stolen: str) -> None:
    """By records of changes that nobody made, however new: the finding may become unproven, and it is named at each
    run."""
    openings_seen = 0
    for seed in range(HISTORIES):
        history = History(seed, stolen)
        history.tags = {"link-accept": "sg-other"}
        for _ in range(history.draw.randrange(2, 8)):
            history.draw.choice([history.open_with_the_stolen_key, history.forge, history.forge])()
            visible = {o.request_id for o in history.openings if o.time <= history.now + 5 - 840}
            assert visible <= kinds(history.findings(after=5)).keys(), seed
            openings_seen += len(visible)
    assert openings_seen > HISTORIES / 10
