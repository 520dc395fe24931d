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

from tests.functional.lab import HOME, Lab
from tests.local.clients import key_of, queues_of


class Deployed(Lab):
    """The laboratory with the project's own s.yaml deployed on it."""

    triggers: Triggers

    def post(self, body: Any) -> None:
        """Send a request to the queue with the official SDK, as anyone with permission may."""
        text = body if isinstance(body, str) else json.dumps(body)
        queue = queues_of(key_of(self.cloud), "http://127.0.0.1:1").get_queue(self.cloud.world.queue)
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
