"""Every trigger under faults: wherever a fault or another delivery hits a delivery, what follows reaches the same
state.

What meets a transient error is put back on the queue, or looked at again; the platform delivers again what was killed,
and what could not be put back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import cross_account
import pytest
from aliyun_local.api import KINDS, Call, Group, Killed
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, MANAGED, PEER, Lab, deaths, reads
from tests.sample import sample

LOST = sorted(KINDS - {"slow", "kill", "kill-after", "throttle"})
BEFORE = [kind for kind in LOST if not kind.endswith("-after")]
AFTER = [kind for kind in LOST if kind.endswith("-after")]
"""The kinds of a response that is lost, before the change is made and after it."""
DEATHS, FAULTS = 4, 8
"""`make test` tries one of so many calls; `make prove` all."""
MAX_DELIVERIES = 6
ADDRESSES = ("10.2.0.10", "10.2.0.20")

pytestmark = pytest.mark.knobs(request_tags=True)

Outcomes = dict[str, int]
Deliver = Callable[[], Outcomes]
MakeLab = Callable[[], Lab]
State = dict[str, list[str]]

WANTED: dict[str, State] = {
    "mutual": {"app": ["db all tag", "managed"], "db": ["app all tag", "managed"]},
    "instances": {
        "app": ["10.2.0.20/32>10.2.0.10/32 all tag", "managed"],
        "db": ["10.2.0.10/32>10.2.0.20/32 all tag", "managed"],
    },
    "change": {"app": ["managed"], "db": ["app tcp/2 tag", "app tcp/3 tag", "managed"]},
    "claims": {"app": [], "db": ["app tcp/1 req:chg-1", "app tcp/2 tag,req:chg-1", "managed"]},
    "link": {"a": ["b all req:chg-1", "managed"], "b": ["a all req:chg-1", "managed"]},
    "join": {"a": ["b all req:chg-0,req:chg-1", "managed"], "b": ["a all req:chg-0,req:chg-1", "managed"]},
    "unlink": {"a": ["managed"], "b": ["managed"]},
    "desync": {"a": ["managed"], "b": ["managed"]},
    "neglect": {
        "a": [],
        "b": [],
        "c": ["d all tag", "managed"],
        "d": ["c all tag", "managed"],
        "app": [],
        "db": ["app tcp/1 tag", "managed"],
        "old": [],
    },
}
"""How each case ends: the rules of each group with their claims, and whether it has the managed tag."""

CHANGED = ["instances", "change", "claims", "link", "join", "unlink"]
"""The cases that make each kind of change, by an event or a message."""


class Case:
    """One delivery in a world of its own: an event, a message or a run of the sweep."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.request_id = ""
        self.groups: dict[str, Group] = {}
        self.deliver: Deliver = getattr(self, f"_{name}")()
        self.before = self.state()
        self.calls_before = lab.calls()

    def _two(self) -> tuple[Group, Group]:
        self.groups = {"app": self.lab.group(f"*@{PEER}", "*"), "db": self.lab.group("*")}
        return self.groups["app"], self.groups["db"]

    def _event(self, event: dict[str, Any]) -> Deliver:
        return lambda: self.lab.auto_link(event)

    def _mutual(self) -> Deliver:
        """A link with a rule on each side."""
        app, db = self._two()
        return self._event(self.lab.event(self.lab.instance(app, tags={"link-peer": db.id})))

    def _instances(self) -> Deliver:
        """The same between two addresses."""
        app, db = self._two()
        target = self.lab.instance(db, private_ip=ADDRESSES[1])
        tags = {"link-peer": target.id}
        return self._event(self.lab.event(self.lab.instance(app, tags=tags, private_ip=ADDRESSES[0])))

    def _change(self) -> Deliver:
        """Some rules are added, one stays and some are removed."""
        app, db = self._two()
        instance = self.lab.started(app, tags={"link-peer": f"{db.id} {db.id}:tcp/1+tcp/2"})
        self.lab.tag(instance, link_peer=f"{db.id}:tcp/2+tcp/3")
        return self._event(self.lab.tag_event(instance))

    def _claims(self) -> Deliver:
        """Markers change: a request's rule gains the tag's claim, another rule of ours loses it."""
        app, db = self._two()
        instance = self.lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
        self.lab.cross_account(self.lab.request(app, db, "tcp/1", "tcp/2"))
        self.lab.tag(instance, link_peer=f"{db.id}:tcp/2")
        return self._event(self.lab.tag_event(instance))

    def _pair(self) -> tuple[Group, Group]:
        a, b = self.lab.pair()
        self.lab.instance(b)
        self.groups = {"a": a, "b": b}
        return a, b

    def message(self, action: str = "link", request_id: str = "chg-1", *, turned: bool = False) -> Deliver:
        """A message about the pair of groups, always the same one."""
        a, b = (self.groups["b"], self.groups["a"]) if turned else (self.groups["a"], self.groups["b"])
        self.request_id = request_id
        request = self.lab.request(a, b, action=action, request_id=request_id)
        event = json.dumps([self.lab.message(request)]).encode()
        return lambda: json.loads(self.lab.run(cross_account.handler, event))["outcomes"]

    def _link(self) -> Deliver:
        self._pair()
        return self.message()

    def _join(self) -> Deliver:
        """A second request for a link that stands."""
        self._pair()
        self.message(request_id="chg-0")()
        return self.message()

    def _unlink(self) -> Deliver:
        self._pair()
        self.message()()
        return self.message("unlink", "chg-2")

    def _desync(self) -> Deliver:
        """The tag was removed."""
        a, b = self._pair()
        instance = self.lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
        self.message("sync", "tag-0")()
        self.lab.tag(instance, link_peer=None)
        return self.message("sync")

    def _neglect(self) -> Deliver:
        """Everything that a sweep repairs: a tag's mutual link with one side missing (c, d) is completed, a request's
        (a, b) is removed; a request has ended, a tag was removed, a person deleted a rule, an instance is gone."""
        lab = self.lab
        (a, b), (c, d) = lab.pair(), lab.pair()
        app, db, old = lab.group(), lab.group("*"), lab.group("*")
        self.groups = {"a": a, "b": b, "c": c, "d": d, "app": app, "db": db, "old": old}
        wanting = lab.instance(c, tags={"link-peer": f"{d.id}@{PEER}"})
        first, two = lab.instance(a), lab.instance(b)
        instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1 {old.id}:tcp/2"})
        lab.auto_link(lab.event(instance), lab.event(wanting))
        lab.cross_account(*lab.queued())
        lab.cross_account(
            lab.request(a, b),
            lab.request(a, b, "tcp/7", request_id="chg-2", until=lab.iso(60)),
            lab.request(first, two, "tcp/8", request_id="chg-3"),
        )
        lab.cloud.clock.advance(1800)
        lab.tag(instance, link_peer=f"{db.id}:tcp/1")
        for group in (a, c, db):
            rule = next(r for r in lab.raw_rules(group) if r["IpProtocol"] in ("ALL", "TCP"))
            params = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
            lab.call(HOME, "RevokeSecurityGroup", params)
        lab.release(first)
        return lab.sweep

    def state(self) -> State:
        """As WANTED has it; a rule of another priority than ours says so."""
        state: State = {}
        for name, group in self.groups.items():
            rules = []
            for rule, raw in self.lab.rules_of(group):
                claims = str(raw["Description"]).partition("by=")[2].partition(" from=")[0]
                rules.append(f"{rule} {claims}" + ("" if raw["Priority"] in ("100", 100) else f" at {raw['Priority']}"))
            managed = ["managed"] if MANAGED in self.lab.tags(group) else []
            state[name] = [*sorted(rules), *managed]
            for name_after, own_group in self.groups.items():
                state[name] = [rule.replace(own_group.id, name_after) for rule in state[name]]
        return state

    def finish(self) -> None:
        """Delivers as the platform does until the function answers, and then what it put on the queue. A sweep is
        followed by the next one."""
        for _ in range(MAX_DELIVERIES):
            with contextlib.suppress(Transient, Killed):
                self.deliver()
                break
            self.lab.forget()
            self.lab.cloud.clock.advance(1)
        else:
            raise AssertionError("it never answered")
        self.follow()

    def follow(self) -> None:
        """Delivers what was put on the queue; or the next run of the sweep."""
        if self.name == "neglect":
            self.lab.forget()
            self.lab.sweep()
        self.lab.drain(60)

    def ended_well(self) -> None:
        """The state is the wanted one, with intents, and for a request one outcome (and one more where a delivery died
        after it was written). Nothing is left on the queue."""
        assert self.state() == WANTED[self.name]
        assert self.lab.queued(after=600) == []
        assert self.lab.records("intent")
        assert {record["outcome"] for record in self.lab.records()} <= {"applied", "removed", "unchanged"}
        assert (
            len({record["key"] for record in self.lab.records(request_id=self.request_id)}) <= 2 or not self.request_id
        )


def rules_of(state: State) -> State:
    """A state without managed tags."""
    return {name: [rule for rule in rules if rule != "managed"] for name, rules in state.items()}


def clean(lab: Lab, name: str) -> list[Call]:
    """The calls of a delivery without faults, which reaches the wanted state and leaves the next one nothing to
    change."""
    case = Case(lab, name)
    case.deliver()
    calls = list(lab.cloud.faults.calls)[case.calls_before :]
    case.ended_well()
    before = lab.changes()
    case.deliver()
    assert lab.changes() == before
    return calls


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["instances", "claims", "link", "desync", "neglect"])
def test_a_delivery_killed_at_any_call_is_completed_by_the_next(make_lab: MakeLab, lab: Lab, name: str) -> None:
    """Before the first call or after any: the change may be made, without a response. No rule is changed without an
    intent on record, and none that stays is removed meanwhile."""
    calls = clean(lab, name)
    assert len(calls) >= 8
    for death in sample(deaths(calls), DEATHS):
        case = Case(make_lab(), name)
        intents = len(case.lab.records("intent"))
        case.lab.fault(**death)
        with pytest.raises(Killed):
            case.deliver()
        now = case.state()
        is_same = rules_of(now) == rules_of(case.before)  # a managed tag may be written beside the intent
        assert is_same or len(case.lab.records("intent")) > intents, f"a change without an intent, {death}"
        for group, rules in WANTED[name].items():
            assert {*rules} & {*case.before[group]} <= {*now[group]}, death
        case.lab.forget()
        case.finish()
        case.ended_well()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["change", "link", "unlink", "neglect"])
def test_one_fault_at_any_call_does_not_change_the_final_state(make_lab: MakeLab, lab: Lab, name: str) -> None:
    """An event or message is acknowledged: the call is retried, or what it is about looked at again. The kinds of a
    fault take turns, so that each hits some calls: tests/functional/wire shows that the functions treat those of one
    class the same. A read that is refused and one whose response is lost leave the same."""
    for k, call in sample(enumerate(clean(lab, name)), FAULTS):
        kinds = ["throttle", BEFORE[k % len(BEFORE)], AFTER[k % len(AFTER)]]
        kinds = [kinds[k % 3]] if reads(call) else kinds
        for kind in ["reset-after"] if name == "neglect" else kinds:
            case = Case(make_lab(), name)
            case.lab.fault(kind=kind, skip=k)
            with contextlib.suppress(Transient) if name == "neglect" else contextlib.nullcontext():
                case.deliver()
            assert not case.lab.cloud.faults.waiting()
            case.follow()
            case.ended_well()


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_whose_response_is_lost_is_not_repeated(make_lab: MakeLab, name: str) -> None:
    """The group is read before the change is retried: one delivery suffices, with as many changes as a clean one."""
    usual = None
    actions = ["", "AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule"]
    for turn, action in enumerate(actions, start=list(WANTED).index(name)):
        case = Case(make_lab(), name)
        before = case.lab.changes()
        if action:
            case.lab.fault(service="ecs", action=action, kind=AFTER[turn % len(AFTER)])
        case.deliver()
        change = case.state(), case.lab.changes() - before
        usual = usual or change
        assert change == usual, action


CALLS = ("DescribeSecurityGroups", "DescribeSecurityGroupAttribute", "AuthorizeSecurityGroup", "TagResources")
IN_TURN = [
    (kind, action, ("mutual", "link")[(row + column) % 2])
    for row, kind in enumerate(["throttle", *LOST])
    for column, action in enumerate(CALLS)
]
"""Every kind with every call; an event and a request take turns, so that each meets every kind and every call."""


@pytest.mark.parametrize(("kind", "action", "name"), IN_TURN)
def test_what_meets_a_lasting_fault_is_put_back_without_an_outcome(lab: Lab, name: str, action: str, kind: str) -> None:
    """Each time an attempt is recorded. Once the fault is over, the next delivery makes the link."""
    case = Case(lab, name)
    lab.fault(service="ecs", action=action, account=HOME if name == "mutual" else PEER, kind=kind, times=None)
    outcomes = case.deliver()
    # a change that only lost its response is found by the read-back; a read that failed is not
    assert outcomes == {} or (outcomes == {"applied": 1} and kind in AFTER)
    assert bool(lab.records("attempt")) == (not outcomes)
    assert not (looked := lab.drain(60)) or kind in AFTER
    assert len(lab.records()) == len(outcomes) + len(looked)
    lab.cloud.faults.clear()
    assert len(lab.drain(60)) + len(outcomes) + len(looked) == 1
    assert case.state() == WANTED[name]


# the audit log


@pytest.mark.parametrize("kind", ["error", "reset", "no-answer", "no-answer-after"])
@pytest.mark.parametrize("name", ["mutual", "link"])
def test_an_outcome_that_could_not_be_written_is_recorded_by_the_next_delivery(lab: Lab, name: str, kind: str) -> None:
    """It finds the rules, makes no second change, and writes the outcome; copies that one write stored have one key."""
    case = Case(lab, name)
    lab.fault(service="sls", kind=kind, skip=1, times=4)
    assert case.deliver() == {}
    stored = lab.records()
    assert len(stored) == (4 if kind == "no-answer-after" else 0)
    assert len({record["key"] for record in stored}) == bool(stored)
    before = lab.changes()
    assert lab.drain(60) == {"unchanged" if name == "mutual" else "applied": 1}
    assert lab.changes() == before
    case.ended_well()
    assert len({record["key"] for record in lab.records()}) == 1 + bool(stored)


@pytest.mark.parametrize("kind", ["error", "throttle", "reset", "no-answer"])
@pytest.mark.parametrize("service", ["ecs", "sls"])
@pytest.mark.parametrize("name", ["mutual", "link"])
def test_what_meets_trouble_is_redelivered_if_the_queue_is_unavailable(
    lab: Lab, name: str, service: str, kind: str
) -> None:
    """Nothing else would come back to it, so the function raises, and says why."""
    case = Case(lab, name)
    lab.fault(service=service, kind="error", times=None)
    lab.fault(service="mns", kind=kind, times=None)
    with pytest.raises(Transient, match="audit log" if service == "sls" else None):
        case.deliver()
    assert rules_of(case.state()) == rules_of(case.before)
    lab.cloud.faults.clear()
    assert case.deliver() == {"applied": 1}
    case.ended_well()


@pytest.mark.parametrize("name", ["auto_link", "cross_account"])
def test_a_denial_of_what_cannot_be_read_is_redelivered_if_it_cannot_be_recorded(lab: Lab, name: str) -> None:
    """No event or message may disappear without a record, however malformed it is; this one cannot be put back."""
    deliver = getattr(lab, name)
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        deliver("nothing that can be read")
    lab.cloud.faults.clear()
    assert deliver("nothing that can be read") == {"denied": 1}


def test_a_look_for_trouble_expires_after_an_hour(lab: Lab) -> None:
    """It is repeated until then, after delays that grow from ten seconds to ten minutes. The last one is final."""
    instance = lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    lab.fault(service="ecs", kind="throttle", times=None)
    lab.auto_link(lab.event(instance))
    expires = lab.iso_millis(3600)
    delays, looks = [], []
    while (due := lab.cloud.mns.next_visible_at(HOME, lab.cloud.world.queue)) is not None:
        delays.append(round(due - lab.cloud.clock.now()))
        (look,) = lab.queued(after=due - lab.cloud.clock.now())
        looks.append(look)
        lab.cross_account(look)
    assert delays == [10, 10, 20, 40, 80, 160, 320, *[600] * 5]
    assert [look.pop("attempt", 0) for look in looks] == list(range(12))
    assert looks == [lab.look(instance, expires)] * 12
    assert [record["reason"] for record in lab.records()] == ["expired"]
