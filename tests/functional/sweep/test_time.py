"""A sweep whose judging takes longer than a delivery may run: each delivery carries out what it has decided, and the
next go on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import sweep as function
from aliyun_local.api import Group
from link_peer.planning.verdict import single_link

from tests.functional.lab import HOME, MANAGED, Lab

pytestmark = pytest.mark.usefixtures("living_lab")
QUEUE = "link-peer-sweeps"
LIMIT = 4.0  # seconds of a delivery
EACH = 0.04  # seconds of a judgement: 60 links take longer than a delivery judges


@contextlib.contextmanager
def slow_judge(lab: Lab) -> Iterator[mock.Mock]:
    """Every judgement of a link takes time on the virtual clock meanwhile; nothing else does."""
    judged = single_link._verdict

    def slow(*arguments: Any) -> Any:
        lab.cloud.clock.sleep(EACH)
        return judged(*arguments)

    with mock.patch.object(single_link, "_verdict", side_effect=slow) as judgements:
        yield judgements


def links(lab: Lab, count: int) -> list[Group]:
    """New groups, each of which an instance asks for."""
    source = lab.group()
    targets = [lab.group(source.id, tags={MANAGED: "true"}) for _ in range(count)]
    for group in targets:
        lab.instance(source, tags={"link-peer": f"{group.id}:tcp/1"})
    return targets


def deliveries(lab: Lab, most: int = 40) -> Iterator[tuple[float, dict[str, int]]]:
    """The account's messages one after the other, each when it is due, as long as something is postponed: seconds and
    outcomes."""
    lab.context.function.timeout = LIMIT
    first = {"version": 1, "action": "sweep", "region": lab.cloud.region, "account": HOME, "posted_at": lab.iso()}
    bodies: list[dict[str, Any]] = [first]
    for _ in range(most):
        event = json.dumps([lab.message(body, QUEUE) for body in bodies]).encode()
        start = lab.cloud.clock.now()
        outcomes = json.loads(lab.run(function.handler, event))["outcomes"]
        yield lab.cloud.clock.now() - start, outcomes
        due = lab.cloud.mns.next_visible_at(HOME, QUEUE)
        bodies = lab.queued(QUEUE, after=due - lab.cloud.clock.now() if due else 0)
        if "postponed" not in outcomes:
            return
        assert bodies, "what was postponed has no message"


@pytest.fixture(autouse=True)
def _queue_of_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", QUEUE)


def test_a_missed_link_opens_in_the_first_delivery_though_there_is_no_time_to_judge_all(lab: Lab) -> None:
    """What stands among many stays until it is judged; a lock closes in one of the next deliveries, each of which ends
    in time."""
    standing = links(lab, 150)
    lab.sweep_account(HOME)
    lab.queued(QUEUE, after=540)
    assert all(lab.rules(group) for group in standing)
    [missed] = links(lab, 1)
    lab.tag(standing[40], link_lock="incident")
    with slow_judge(lab) as judgements:
        runs = list(deliveries(lab, 1))
        assert lab.rules(missed) != []
        assert "pairs: no time was left to judge them" in lab.records("summary", scope="account")[-1]["detail"]
        runs += deliveries(lab)
    assert judgements.call_count * EACH > 2 * LIMIT
    assert max(seconds for seconds, _ in runs) <= 1.5 * LIMIT
    assert runs[0][1].keys() >= {"applied", "postponed"}
    assert "postponed" not in runs[-1][1]
    assert [group for group in standing if not lab.rules(group)] == [standing[40]]


def test_every_delivery_opens_some_of_what_it_has_no_time_to_judge_whole(lab: Lab) -> None:
    """None answers that nothing came of it."""
    targets = links(lab, 60)
    with slow_judge(lab):
        runs = list(deliveries(lab))
    assert len(runs) > 2
    assert max(seconds for seconds, _ in runs) <= 1.5 * LIMIT
    assert all(lab.rules(group) for group in targets)
    assert all(outcomes for _, outcomes in runs[:-1])
    assert sum(outcomes.get("applied", 0) for _, outcomes in runs) == len(targets)
