"""How many calls an event costs. None of it depends on the number of groups in the account."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aliyun_local.api import Instance, Request, Response
from link_peer.app import compose
from link_peer.engine.read.access import Access
from link_peer.runtime.delivery import READERS

from tests.functional.lab import HOME, MANAGED, PEER, Lab


@pytest.fixture(name="crowd")
def _crowd(lab: Lab) -> None:
    """Sixty other groups that hold rules of ours: exact numbers of calls show that none depends on them."""
    groups = [lab.group("*", tags={MANAGED: "true"}) for _ in range(60)]
    for source, target in itertools.pairwise(groups):
        lab.instance(source, tags={"link-peer": f"{target.id}:tcp/1"})
        lab.forge(target, source, "tag", "tcp/1")


# which of the calls that wait for each other opens, and which closes


def steps(lab: Lab, deliver: Callable[[], object]) -> list[list[str]]:
    """The actions that a delivery calls, those together that wait for equally many calls before them, whatever the
    machine is doing: what runs side by side starts at the same step, as far as there are threads for it."""
    calls: list[tuple[int, str]] = []
    step, handle = 0, lab.cloud.handle

    def counted(request: Request) -> Response:
        nonlocal step
        step += 1
        answer = handle(request)
        calls.append((step, lab.cloud.faults.calls[-1].action))
        return answer

    def side_by_side(access: Access, reads: Sequence[Callable[[], object]], threads: int | None = None) -> None:
        nonlocal step
        free = [step] * max(1, min(threads or access.threads, len(reads)))
        for read in reads:
            step = heapq.heappop(free)
            read()
            heapq.heappush(free, step)
        step = max(free)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.cloud, "handle", counted)
        patch.setattr(Access, "side_by_side", side_by_side)
        patch.setattr(compose, "READERS", READERS)
        deliver()
    return [sorted(action for at, action in calls if at == number) for number in sorted({at for at, _ in calls})]


def step_of(step_actions: Sequence[Sequence[str]], action: str) -> int:
    return next(number for number, actions in enumerate(step_actions, 1) if action in actions)


@pytest.mark.knobs(request_tags=True)
@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    ("kind", "at", "of", "calls"), [("started", 4, 6, 12), ("tagged", 4, 6, 13), ("mutual", 5, 9, 17)]
)
def test_the_fourth_call_in_a_row_opens_a_link_and_the_sixth_closes_it(
    lab: Lab, kind: str, at: int, of: int, calls: int
) -> None:
    """The instance; what it asks for; the intent, and beside it the managed tag; the rule. Whether its own group holds
    the other half of a mutual link is one more. A start that finds the rule costs four, and a record. Then the
    instance; who else asks; the rules; again who else asks; the intent; the removal."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": db.id if kind == "mutual" else f"{db.id}:tcp/3306"})
    event = lab.event(instance) if kind == "started" else lab.tag_event(instance)
    per_step = steps(lab, lambda: lab.auto_link(event))
    assert (step_of(per_step, "AuthorizeSecurityGroup"), len(per_step), sum(map(len, per_step))) == (at, of, calls), (
        per_step
    )
    assert per_step[at - 2] == ["PutLogs", "TagResources"]
    if kind != "mutual":
        assert sum(map(len, steps(lab, lambda: lab.auto_link(lab.event(instance))))) == 5
        lab.tag(instance, link_peer=None)
        per_step = steps(lab, lambda: lab.auto_link(lab.tag_event(instance)))
        assert (step_of(per_step, "RevokeSecurityGroup"), len(per_step), sum(map(len, per_step))) == (6, 8, 11), (
            per_step
        )
        assert lab.rules(db) == []


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ports", [("tcp/3306",), ()], ids=["tcp/3306", "mutual"])
def test_the_fourth_call_in_a_row_opens_a_link_of_two_accounts_and_the_third_closes_it(
    lab: Lab, ports: tuple[str, ...]
) -> None:
    """The other account is entered; both groups, and beside them their rules; the intent, and beside it the managed
    tags; the rule. The unlink finds the account open."""
    app, db = lab.pair()
    per_step = steps(lab, lambda: lab.cross_account(lab.request(app, db, *ports)))
    assert step_of(per_step, "AuthorizeSecurityGroup") == 4, per_step
    unlink = lab.request(app, db, action="unlink", request_id="chg-2")
    per_step = steps(lab, lambda: lab.cross_account(unlink))
    assert step_of(per_step, "RevokeSecurityGroup") == 3, per_step
    assert (lab.rules(app), lab.rules(db)) == ([], [])


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("mutual", [False, True])
def test_a_move_costs_at_most_fifty_calls_while_nothing_changes(lab: Lab, mutual: bool) -> None:
    """Though nineteen other groups reach the peer, and forty hold rules between addresses."""
    db = lab.group("*")
    peer = {"link-peer": db.id if mutual else f"{db.id}:tcp/1"}
    moving, source = lab.started(lab.group("*"), tags=peer), lab.group()
    for _ in range(19):
        lab.instance(lab.group("*"), tags=peer)
    for target in [lab.instance(lab.group("*")) for _ in range(40)]:
        lab.instance(source, tags={"link-peer": f"{target.id}:tcp/1"})
    lab.sweep()
    rules, before = lab.rules(db), lab.calls()
    assert len(rules) == 20
    lab.call_and_deliver(moving, "JoinSecurityGroup", SecurityGroupId=lab.group().id)
    assert lab.calls() - before <= LIMIT
    assert lab.rules(db) == rules


# what one message costs while nothing is to be changed: at most fifty calls, with all that it posts

LIMIT = 50


def tags(key: str, entries: Sequence[str], per_value: int) -> dict[str, str]:
    """Entries in as many tags as they need."""
    parts = [entries[start : start + per_value] for start in range(0, len(entries), per_value)]
    return {key if n == 1 else f"{key}.{n}": " ".join(part) for n, part in enumerate(parts, 1)}


def cost(lab: Lab, deliver: Callable[..., object], *items: Any) -> tuple[int, int]:
    """(messages, calls) of one delivery, and of the deliveries of all that it posts, in batches."""
    start, messages = lab.calls(), len(items)
    deliver(*items)
    while bodies := lab.queued(after=600):
        messages += len(bodies)
        for first in range(0, len(bodies), 16):
            lab.cross_account(*bodies[first : first + 16])
    return messages, lab.calls() - start


@pytest.fixture(name="four")
def _four(lab: Lab) -> list[Instance]:
    """Four instances of home, each with 36 peers in the other account, which accept them."""
    peers = [lab.group(f"*@{HOME}", account=PEER) for _ in range(36)]
    lab.instance(peers[0])
    wishes = tags("link-peer", [f"{peer.id}@{PEER}:tcp/1" for peer in peers], 2)
    return [lab.instance(lab.group(), tags=wishes) for _ in range(4)]


def test_looks_at_four_instances_post_fifty_messages_and_none_once_nothing_differs(
    lab: Lab, four: list[Instance]
) -> None:
    """A record of each look says how many are left to the sweep, which opens them."""
    looks = [lab.look(instance, lab.iso(3600)) for instance in four]
    messages, _ = cost(lab, lab.cross_account, *looks)
    assert messages == len(looks) + LIMIT
    details = [
        record["detail"]
        for record in lab.records("intent", action="sync")
        if "are left to the sweep" in record["detail"]
    ]
    assert sum(int(text.partition(" ")[0]) for text in details) == 4 * 36 - LIMIT
    assert len(lab.records(outcome="applied")) == LIMIT
    lab.sweep()
    assert len(lab.records(outcome="applied")) == 4 * 36
    recorded = len(lab.records("intent", "outcome", "attempt"))

    hub = lab.group(tags=tags("link-accept", [instance.id for instance in four], 4))
    for deliver, messages_sent in (
        (lab.cross_account, looks[0]),
        (lab.auto_link, lab.tag_event(four[0])),
        (lab.auto_link, lab.group_event(hub)),
        (lab.cross_account, lab.look(hub, lab.iso(3600))),
    ):
        messages, calls = cost(lab, deliver, messages_sent)
        assert (messages <= 2, calls <= LIMIT) == (True, True), (messages_sent, messages, calls)
    assert len(lab.records("outcome", "attempt")) + len(lab.records("intent")) == recorded + 1  # the event's look
    messages, calls = cost(lab, lab.cross_account, *looks)
    assert (messages, calls <= len(looks) * LIMIT) == (len(looks), True)


@pytest.mark.parametrize("account", [HOME, PEER])
@pytest.mark.parametrize("ports", ["", ":tcp/1"], ids=["mutual", "tcp/1"])
def test_a_group_with_many_rules_and_entries_costs_few_calls(lab: Lab, account: str, ports: str) -> None:
    """Its event and its look. A rule stands for each entry."""
    apps = [lab.group("*" if account == HOME else f"*@{HOME}", account=account) for _ in range(18)]
    db = lab.group(tags=tags("link-accept", [f"{app.id}@{account}{ports}" for app in apps], 2))
    lab.instance(db)
    for app in apps:
        lab.instance(app, tags={"link-peer": f"{db.id}@{HOME}{ports}"})
    lab.sweep()
    assert len(lab.rules(db)) == len(apps)
    for deliver, event in ((lab.auto_link, lab.group_event(db)), (lab.cross_account, lab.look(db, lab.iso(3600)))):
        messages, calls = cost(lab, deliver, event)
        assert (messages <= 2, calls <= LIMIT + 8 * (messages - 1)) == (True, True), (messages, calls)
