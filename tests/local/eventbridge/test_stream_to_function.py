"""From a queued request to the rules of two accounts, as s.yaml deploys it: stream, function, retries, dead letters."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from link_peer_local.cloud import LocalCloud
from link_peer_local.fc.triggers import Triggers, deploy
from mns.queue import Message

from tests.functional.lab import HOME, PEER, Lab
from tests.local.clients import key_of, queues_of


class Deployed(Lab):
    """The laboratory with the project's own s.yaml deployed on it."""

    triggers: Triggers

    def post(self, body: Any, *, encode: bool = True) -> None:
        """Send a request to the queue with the official SDK, as anyone with permission may."""
        text = body if isinstance(body, str) else json.dumps(body)
        queue = queues_of(key_of(self.cloud), "http://127.0.0.1:1").get_queue(self.cloud.world.queue)
        queue.set_encoding(encode)
        queue.send_message(Message(text))

    def settle(self) -> None:
        """Work until every call, message and retry is finished, messages that are delayed too."""
        self.triggers.drain(86_400)
        while (due := self.cloud.mns.next_visible_at(HOME, self.cloud.world.queue)) is not None:
            self.cloud.clock.advance(max(due - self.cloud.clock.now(), 0))
            self.triggers.drain(86_400)

    def depth(self) -> int:
        """The messages on the queue, those that are delayed too."""
        depth = self.cloud.mns.depth(HOME, self.cloud.world.queue)
        return depth.active + depth.inactive + depth.delayed

    def dead(self) -> list[Any]:
        """The messages on the dead-letter queue."""
        found = self.cloud.mns.receive(HOME, self.cloud.world.dead_letter_queue, 16)
        return [json.loads(base64.b64decode(message.body)) for message in found]


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    lab = Deployed(local_cloud, monkeypatch, tmp_path)
    local_cloud.world.policy = str(lab.policy_path)
    lab.triggers = deploy(local_cloud, in_process=True)
    return lab


@pytest.mark.parametrize("encode", [True, False], ids=["base64", "plain"])
def test_a_posted_request_opens_both_sides(lab: Deployed, encode: bool) -> None:
    """In base64, the queue's usual encoding, or in plain text; then the message is deleted."""
    a, b = lab.pair()
    lab.post(lab.request(a, b), encode=encode)
    lab.settle()
    assert (lab.rules(a), lab.rules(b)) == ([f"{b.id} all"], [f"{a.id} all"])
    assert (lab.depth(), lab.dead()) == (0, [])


def test_a_request_that_cannot_succeed_is_deleted_from_the_queue(lab: Deployed) -> None:
    """It is denied and acknowledged: neither retried nor dead-lettered."""
    a, b = lab.group(), lab.group(account=PEER)
    lab.post(lab.request(a, b))
    lab.post("no request")
    lab.settle()
    assert sorted(record["reason"] for record in lab.records()) == ["bad-request", "no-consent"]
    assert (lab.depth(), lab.dead()) == (0, [])


def test_a_request_that_meets_trouble_is_put_back_until_it_succeeds(lab: Deployed) -> None:
    """Each attempt is recorded, then one outcome; a message is on the queue until then."""
    a, b = lab.pair()
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", account=PEER, kind="error", times=9)
    lab.post(lab.request(a, b))
    lab.triggers.streams[0].step()
    assert lab.depth() == 1
    lab.settle()
    assert [record["outcome"] for record in lab.records()] == ["applied"]
    assert len(lab.records("attempt")) == 2
    assert (lab.rules(a), lab.rules(b)) == ([f"{b.id} all"], [f"{a.id} all"])
    assert (lab.depth(), lab.dead()) == (0, [])


def test_a_lasting_failure_ends_at_expiry_and_blocks_no_other_request(lab: Deployed) -> None:
    """The request is put back again and again, with an attempt on record each time; other requests proceed meanwhile."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.fault(service="ecs", action="DescribeInstances", kind="error", times=None)
    lab.post(lab.request(one, two, "tcp/9", request_id="chg-bad"))
    for number in range(4):
        lab.post(lab.request(a, b, f"tcp/{number + 1}", request_id=f"chg-{number}"))
    lab.triggers.streams[0].step()
    lab.triggers.streams[0].step()
    assert len(lab.rules(b)) == 4
    lab.settle()
    (record,) = lab.records(request_id="chg-bad")
    assert (record["outcome"], record["reason"]) == ("denied", "expired")
    assert len(lab.records("attempt", request_id="chg-bad")) > 5
    assert (lab.depth(), lab.dead()) == (0, [])


def unable_to_put_back(lab: Deployed) -> None:
    """From now on, requests meet transient errors, and what the function sends to the queue does too."""
    lab.fault(service="sts", kind="error", times=None)
    lab.fault(service="mns", action="SendMessage", kind="error", times=None)


def test_what_cannot_be_put_back_is_dead_lettered(lab: Deployed) -> None:
    """The function raises, the stream retries it, and at last the dead letter holds the whole event, so that its body can
    be sent again."""
    a, b = lab.pair()
    request = lab.request(a, b, request_id="chg-bad")
    lab.post(request)
    unable_to_put_back(lab)
    lab.settle()
    (dead,) = lab.dead()
    assert json.loads(dead["data"]["messageBody"]) == request
    assert lab.records(request_id="chg-bad") == []
    assert lab.depth() == 0

    lab.cloud.faults.clear()
    lab.post(dead["data"]["messageBody"])
    lab.settle()
    assert lab.records(request_id="chg-bad")[0]["outcome"] == "applied"


def test_a_tag_opens_the_other_account_through_every_trigger(lab: Deployed) -> None:
    """ActionTrail reports the tag change, auto_link sends the pair, the stream delivers it; and in reverse when untagged."""
    a, b = lab.pair()
    instance = lab.instance(a)
    lab.instance(b)
    lab.tag(instance, link_peer=f"{b.id}@{PEER}:tcp/3306")
    lab.settle()
    assert lab.rules(b) == [f"{a.id} tcp/3306"]
    assert [record["function"] for record in lab.records()] == ["cross_account"]

    lab.tag(instance, link_peer=None)
    lab.settle()
    # nothing in the home account refers to the pair any more: the sweep finds what the tag left behind
    lab.triggers.fire_timer("every-10m")
    lab.settle()
    assert lab.rules(b) == []


def test_a_failing_sweep_is_retried_once_and_then_dead_lettered(lab: Deployed) -> None:
    """So is each account's message. The next sweep runs ten minutes later anyway."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="sls", kind="error", times=None)
    lab.triggers.fire_timer("every-10m")
    lab.settle()
    assert lab.rules(db) == []
    dead = lab.dead()
    timers = [json.loads(one["requestPayload"])["triggerName"] for one in dead if "requestPayload" in one]
    accounts = {json.loads(one["data"]["messageBody"])["account"] for one in dead if "data" in one}
    assert (timers, accounts) == (["every-10m"], {HOME, PEER})

    lab.cloud.faults.clear()
    lab.triggers.fire_timer("every-10m")
    lab.settle()
    assert lab.rules(db) == [f"{app.id} tcp/1"]
