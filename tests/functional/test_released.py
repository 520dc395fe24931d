"""What stands in other accounts for a released instance of home: its event removes it, whatever the removal guard holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sweep as function
from aliyun_local.api import Group, Instance
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, OTHER, PEER, REGION, Lab
from tests.functional.test_by_address import admitted, two_vpcs

pytestmark = [pytest.mark.usefixtures("living_lab"), pytest.mark.knobs(request_tags=True)]

QUEUE = "link-peer-sweeps"


@pytest.fixture(name="holding_lab")
def _holding_lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The guard holds every removal that it counts."""
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", QUEUE)
    lab.policy(limits={"removals_per_run": 0})
    return lab


def members(lab: Lab) -> tuple[Group, Instance, Instance]:
    """A group of the peer, with rules for two members of a group of home."""
    app, db = two_vpcs(lab)
    first, second = lab.instance(app), lab.instance(app)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    return db, first, second


def deliver(lab: Lab, *bodies: Any) -> None:
    """What the queue of sweeps holds, or these messages."""
    lab.cloud.clock.sleep(0.001)  # so that its records come after the last ones
    elements = [lab.message(body, QUEUE) for body in bodies or lab.queued(QUEUE)]
    lab.run(function.handler, json.dumps(elements).encode())


def message(lab: Lab, *instances: str, account: str = PEER) -> dict[str, Any]:
    head = {"version": 1, "action": "sweep", "region": REGION, "account": account, "posted_at": lab.iso()}
    return {**head, "released": list(instances)}


def test_a_released_source_leaves_no_rule_in_another_account(holding_lab: Lab) -> None:
    db, first, second = members(holding_lab)
    holding_lab.release(first)
    holding_lab.sweep_account(PEER)
    assert sorted(holding_lab.rules(db)) == admitted(first, second)  # the guard holds it
    holding_lab.queued(QUEUE)
    holding_lab.auto_link(holding_lab.event(first, "Deleted"))
    start = holding_lab.calls()
    deliver(holding_lab)
    assert holding_lab.rules(db) == admitted(second)
    record = holding_lab.outcome()
    assert (record["function"], record["outcome"], record["reason"]) == ("sweep", "removed", "instance-gone")
    assert holding_lab.calls() - start <= 12


def test_a_released_target_leaves_no_egress_in_another_account(holding_lab: Lab) -> None:
    lab = holding_lab
    source, target = lab.group(account=PEER, type="enterprise"), lab.group()
    lab.tag(source, link_egress=f"{target.id}@{HOME}")
    lab.tag(target, link_accept=f"{source.id}@{PEER}")
    released, _, _ = lab.instance(target), lab.instance(target), lab.instance(source)
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"applied": 1}
    assert len(lab.raw_rules(source, "egress")) == 2
    lab.release(released)
    lab.auto_link(lab.event(released, "Deleted"))
    deliver(lab)
    [rule] = lab.raw_rules(source, "egress")
    assert released.private_ip not in rule["DestCidrIp"]


def test_a_message_removes_nothing_of_an_instance_that_is_shown(holding_lab: Lab) -> None:
    db, first, second = members(holding_lab)
    deliver(holding_lab, message(holding_lab, first.id, second.id))
    assert sorted(holding_lab.rules(db)) == admitted(first, second)


@pytest.mark.parametrize("account", [HOME, PEER])
def test_an_account_with_a_transient_error_is_tried_again(holding_lab: Lab, account: str) -> None:
    """What home does not show then is no released instance: nothing of the others goes."""
    db, first, second = members(holding_lab)
    holding_lab.release(first)
    holding_lab.auto_link(holding_lab.event(first, "Deleted"))
    bodies = holding_lab.queued(QUEUE)
    holding_lab.fault(service="ecs", account=account, kind="error", times=None)
    deliver(holding_lab, *bodies)
    assert sorted(holding_lab.rules(db)) == admitted(first, second)
    [attempt] = holding_lab.records("attempt", action="look")
    assert attempt["from_account"] == PEER
    holding_lab.cloud.faults.clear()
    assert holding_lab.queued(QUEUE, after=300) == bodies
    deliver(holding_lab, *bodies)
    assert holding_lab.rules(db) == admitted(second)
    holding_lab.fault(service="ecs", account=account, kind="error", times=None)
    holding_lab.cloud.clock.sleep(3600)
    deliver(holding_lab, *bodies)
    assert holding_lab.queued(QUEUE, after=600) == []  # an hour later, it is the sweep's


def test_what_cannot_be_put_back_is_delivered_again(holding_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function raises: there is no queue any more."""
    db, first, second = members(holding_lab)
    holding_lab.release(first)
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", "")
    holding_lab.fault(service="ecs", account=PEER, kind="error", times=None)
    with pytest.raises(Transient):
        deliver(holding_lab, message(holding_lab, first.id))
    assert sorted(holding_lab.rules(db)) == admitted(first, second)


def test_an_account_that_refuses_access_is_its_sweeps(holding_lab: Lab) -> None:
    db, first, _ = members(holding_lab)
    holding_lab.release(first)
    holding_lab.auto_link(holding_lab.event(first, "Deleted"))
    del holding_lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer"]
    deliver(holding_lab)
    assert (len(holding_lab.rules(db)), holding_lab.queued(QUEUE, after=600)) == (2, [])


def without_queue(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", "")


def paused(lab: Lab, _monkeypatch: pytest.MonkeyPatch) -> None:
    lab.policy(paused=True)


@pytest.mark.parametrize("change", [without_queue, paused])
def test_nothing_is_posted_where_nothing_may_be_removed(
    holding_lab: Lab, monkeypatch: pytest.MonkeyPatch, change: Callable[[Lab, pytest.MonkeyPatch], None]
) -> None:
    _, first, _ = members(holding_lab)
    holding_lab.release(first)
    change(holding_lab, monkeypatch)
    holding_lab.auto_link(holding_lab.event(first, "Deleted"))
    assert holding_lab.queued(QUEUE) == []


def test_a_deleted_event_of_an_instance_that_is_shown_posts_nothing(holding_lab: Lab) -> None:
    _, first, _ = members(holding_lab)
    holding_lab.auto_link(holding_lab.event(first, "Deleted"))
    assert holding_lab.queued(QUEUE) == []


def test_one_delivery_posts_as_many_messages_as_the_policy_allows(
    three_accounts: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each account has one, which names all that were released; the rest is the sweep's."""
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", QUEUE)
    events = [three_accounts.event(f"i-{number}", "Deleted") for number in (1, 2)]
    three_accounts.auto_link(*events)
    bodies = three_accounts.queued(QUEUE)
    assert sorted(body["account"] for body in bodies) == [PEER, OTHER]
    assert [body["released"] for body in bodies] == [["i-1", "i-2"]] * 2


@pytest.mark.parametrize("name", ["sg-app", "", "i-a b", "i-" + "a" * 61])
def test_a_message_that_names_no_instance_is_denied(holding_lab: Lab, name: str) -> None:
    db, first, _ = members(holding_lab)
    deliver(holding_lab, message(holding_lab, first.id, name))
    assert (holding_lab.outcome()["reason"], len(holding_lab.rules(db))) == ("bad-request", 2)
