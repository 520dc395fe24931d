"""What the real cloud may answer in two ways: each way, what link-peer does is the same, or the next best.

Every other functional test runs under some mixture of these readings; here each reading meets the case that it decides.
"""

from __future__ import annotations

import base64
import json
import os

import pytest
from aliyun_local.api import Group, Triggers, readings
from link_peer.app import compose
from link_peer.domain.errors import KeysExpired

from tests.functional.lab import HOME, PEER, REGION, Lab


@pytest.fixture(name="reading", autouse=True)
def _reading(request: pytest.FixtureRequest, lab: Lab) -> object:
    """The reading that a test is about, set."""
    name, value = getattr(request, "param", ("strict_ids", False))
    lab.cloud.knobs.change({name: value})
    return value


def both(name: str) -> pytest.MarkDecorator:
    """Runs a test under every reading of a knob."""
    values = [(name, value) for value in readings()[name]]
    return pytest.mark.parametrize("reading", values, indirect=True, ids=[str(value) for _, value in values])


@both("missing_rule_modify")
def test_a_rule_that_goes_before_its_marker_is_changed_is_made_again(lab: Lab) -> None:
    """A second claim is to be added, and somebody deletes the rule a moment before."""
    app, db = lab.group("*"), lab.group("*")
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.revoke(db))

    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-2")) == {"applied": 1}

    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.reasons(db) == ["req:chg-2"]


@both("queue_subject")
def test_the_queue_of_an_account_proves_who_asks(lab: Lab) -> None:
    """A link through the account's own queue is made, one through the shared queue is not."""
    app, db = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER)
    lab.instance(db)
    lab.policy_account(PEER, queue="link-peer-requests-b")

    assert lab.cross_account(lab.request(db, app, "tcp/1")) == {"denied": 1}
    assert lab.cross_account(lab.request(db, app, "tcp/1"), queue="link-peer-requests-b") == {"applied": 1}

    assert [record["queue"] for record in lab.records()] == ["link-peer-requests", "link-peer-requests-b"]


REFUSED = "managed tags of "


@both("request_tags")
def test_a_link_is_made_whether_or_not_its_group_may_be_tagged(lab: Lab, reading: bool) -> None:
    """The roles may write the managed tag by a condition on `acs:RequestTag`, which RAM may not know. The record says so
    once, and the sweep's summary; no account counts as one that refuses access."""
    lab.cloud.knobs.change({"request_tags": reading})
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert (len(lab.rules(a)), len(lab.rules(b))) == (1, 1)
    assert lab.outcome().get("detail", "").count(REFUSED) == (0 if reading else 2)  # one of each account

    lab.sweep()

    assert lab.summary().get("detail", "").count(REFUSED) == (0 if reading else 2)
    assert lab.records(reason="no-access") == []


@both("request_tags")
def test_a_sweep_closes_what_has_no_tag(lab: Lab) -> None:
    """A withdrawn consent and an instance that was released, in either account."""
    _, _, db = lab.linked(PEER)
    a, b = lab.pair()
    first, two = lab.instance(a), lab.instance(b)
    lab.instance(lab.group(account=PEER))
    lab.cross_account(lab.request(first, two))
    lab.tag(db, link_accept=None)
    lab.release(two)

    lab.sweep()

    assert (lab.rules(db), lab.rules(a), lab.rules(b)) == ([], [], [])


@both("state_content")
def test_an_instance_that_starts_is_linked_by_its_event(lab: Lab) -> None:
    """Wherever the event has its content; one that is released loses its rule in the same way."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@both("trail_resources")
def test_a_change_of_tags_is_acted_on_at_its_event(lab: Lab) -> None:
    """Of the instance that asks, and of the group that no longer consents, wherever the event names them."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app)
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/1") == {"applied": 1}
    lab.tag(db, link_accept=None)
    assert lab.auto_link(lab.group_event(db, "UntagResources")) == {"removed": 1}
    assert lab.rules(db) == []


@both("interface_address")
@pytest.mark.parametrize("is_secondary", [False, True])
def test_an_address_that_the_targets_vpc_has_is_denied(lab: Lab, is_secondary: bool) -> None:
    """The first or another address of an interface there: the rule would admit that interface."""
    target, neighbour = lab.instance(lab.group(f"*@{PEER}", vpc=lab.a)), lab.instance(lab.group(vpc=lab.a))
    address = neighbour.private_ip
    if is_secondary:
        address = address.rpartition(".")[0] + ".77"
        params = {"NetworkInterfaceId": neighbour.interface_id, "PrivateIpAddress.1": address}
        lab.call(HOME, "AssignPrivateIpAddresses", params)
    same_range = lab.cloud.ecs.create_vpc(PEER, "10.0.0.0/16").id
    source = lab.instance(lab.group(account=PEER, vpc=same_range), private_ip=address)
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"denied": 1}
    assert (lab.outcome()["reason"], lab.changes()) == ("address-conflict", 0)


# keys of a warm instance


def one_round(lab: Lab, triggers: Triggers, port: int) -> Group:
    """An instance starts, a request comes, and the timer fires; all is delivered. Returns the group that both open."""
    app, db = lab.group(), lab.group("*")
    request = lab.request(app, db, f"udp/{port}", request_id=f"chg-{port}")
    lab.cloud.mns.send(HOME, lab.cloud.world.queue, base64.b64encode(json.dumps(request).encode()).decode())
    params = {"ImageId": "m-1", "InstanceType": "ecs.g7.large", "SecurityGroupId": app.id, "RegionId": REGION}
    vswitch = lab.cloud.ecs.vpcs[lab.shared].vswitch_id
    tag = {"Tag.1.Key": "link-peer", "Tag.1.Value": f"{db.id}:tcp/{port}"}
    lab.call(HOME, "RunInstances", {**params, "VSwitchId": vswitch, **tag})
    triggers.fire_timer("every-10m")
    triggers.drain(3600)
    return db


@both("environment_keys")
def test_an_instance_that_outlives_its_keys_is_replaced(
    lab: Lab, triggers: Triggers, reading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process ends, the message comes again, and another instance carries it out: no dead letter, no denial."""
    lab.cloud.knobs.change({"environment_keys": reading})
    ended: list[str] = []

    def end() -> None:
        ended.append(os.environ["FC_FUNCTION_NAME"])
        raise SystemExit

    monkeypatch.setattr(compose, "end_process", end)
    one_round(lab, triggers, 1)
    assert ended == []
    lab.cloud.clock.advance(37 * 3600)  # the keys of a role live 36 hours

    db = one_round(lab, triggers, 2)

    assert len(lab.rules(db)) == 2
    functions = {"link-peer-auto-link", "link-peer-cross-account", "link-peer-sweep"}
    assert (len(ended), set(ended)) == ((3, functions) if reading == "start" else (0, set()))
    assert lab.queued(lab.cloud.world.dead_letter_queue) == []
    assert {record["outcome"] for record in lab.records()} <= {"applied", "unchanged"}


@pytest.mark.parametrize("service", ["ecs", "sts", "sls", "mns"])
def test_expired_keys_end_the_process_whichever_service_says_so(
    lab: Lab, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else comes of it: no denial, and no message that is put back with the same keys."""
    ended: list[bool] = []
    monkeypatch.setattr(compose, "end_process", lambda: ended.append(True))
    a, b = lab.pair()
    code = "InvalidSecurityToken.Expired" if service in ("ecs", "sts") else "SecurityTokenExpired"
    lab.fault(service=service, kind="error", code=code, status=403, times=None)
    if service == "mns":  # called only to put a message back
        lab.fault(service="ecs", action="DescribeSecurityGroups", kind="error", times=None)

    with pytest.raises(KeysExpired):
        lab.cross_account(lab.request(a, b))

    assert ended == [True]
    lab.cloud.faults.clear()
    assert (lab.records(), lab.queued(after=600)) == ([], [])
    assert (lab.rules(a), lab.rules(b)) == ([], [])
