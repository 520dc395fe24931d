"""What the real cloud may answer in two ways: each way, what link-peer does is the same, or the next best.

Every other functional test runs under some mixture of these readings; here each reading meets the case that it decides.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import nullcontext

import pytest
from aliyun_local.api import ApiError, Group, Triggers, readings
from link_peer.app import compose
from link_peer.domain.errors import KeysExpired
from link_peer.runtime import settings
from link_peer_cli.deployed import port
from link_peer_deploy.manifest import load

from tests.functional.lab import HOME, MANAGED, PEER, REGION, Lab
from tests.snippets import ROOT


@pytest.fixture(name="reading", autouse=True)
def _reading(request: pytest.FixtureRequest, lab: Lab) -> object:
    """The reading that a test is about, set."""
    name, value = getattr(request, "param", ("strict_ids", False))
    lab.cloud.knobs.change({name: value})
    return value


def with_either_answer(name: str) -> pytest.MarkDecorator:
    """Runs a test under every reading of a knob."""
    values = [(name, value) for value in readings()[name]]
    return pytest.mark.parametrize("reading", values, indirect=True, ids=[str(value) for _, value in values])


@with_either_answer("missing_rule_modify")
def test_a_rule_that_goes_before_its_marker_is_changed_is_made_again(lab: Lab) -> None:
    """A second claim is to be added, and somebody deletes the rule a moment before."""
    app, db = lab.group("*"), lab.group("*")
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.revoke(db))

    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-2")) == {"applied": 1}

    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.reasons(db) == ["req:chg-2"]


@with_either_answer("queue_subject")
def test_the_queue_of_an_account_proves_who_asks(lab: Lab) -> None:
    """A link through the account's own queue is made, one through the shared queue is not."""
    app, db = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER)
    lab.instance(db)
    lab.policy_account(PEER, queue="link-peer-requests-b")

    assert lab.cross_account(lab.request(db, app, "tcp/1")) == {"denied": 1}
    assert lab.cross_account(lab.request(db, app, "tcp/1"), queue="link-peer-requests-b") == {"applied": 1}

    assert [record["queue"] for record in lab.records()] == ["link-peer-requests", "link-peer-requests-b"]


REFUSED = "managed tags of "


@with_either_answer("request_tags")
def test_a_link_is_made_whether_or_not_its_group_may_be_tagged(lab: Lab, reading: bool) -> None:
    """The roles may write the managed tag by a condition on `acs:RequestTag`, which RAM may not know. The record says
    so once, and the sweep's summary; no account counts as one that refuses access."""
    lab.cloud.knobs.change({"request_tags": reading})
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert (len(lab.rules(a)), len(lab.rules(b))) == (1, 1)
    assert lab.outcome().get("detail", "").count(REFUSED) == (0 if reading else 2)  # one of each account

    lab.sweep()

    assert lab.summary().get("detail", "").count(REFUSED) == (0 if reading else 2)
    assert lab.records(reason="no-access") == []


@with_either_answer("request_tags")
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


@with_either_answer("state_content")
def test_an_instance_that_starts_is_linked_by_its_event(lab: Lab) -> None:
    """Wherever the event has its content; one that is released loses its rule in the same way."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@with_either_answer("trail_resources")
def test_a_change_of_tags_is_acted_on_at_its_event(lab: Lab) -> None:
    """Of the instance that asks, and of the group that no longer consents, wherever the event names them."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app)
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/1") == {"applied": 1}
    lab.tag(db, link_accept=None)
    assert lab.auto_link(lab.group_event(db, "UntagResources")) == {"removed": 1}
    assert lab.rules(db) == []


@with_either_answer("interface_address")
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


# what groups show, and which rules they take


@with_either_answer("rule_count")
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("remains", ["ingress", "egress"])
def test_a_rule_on_a_group_that_lost_its_tag_is_closed(lab: Lab, remains: str) -> None:
    """The sweep looks for such groups among those that may have rules: an advanced group may have egress rules
    alone."""
    app, db = lab.group(type="enterprise"), lab.group("*", type="enterprise")
    lab.instance(db)
    lab.authorize(lab.group(), IpProtocol="TCP", PortRange="9/9", SourceCidrIp="10.0.0.0/8")  # so that a count is shown
    lab.tag(app, link_egress="*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1}
    ends = {"ingress": db, "egress": app}
    assert [len(lab.raw_rules(group, direction)) for direction, group in ends.items()] == [1, 1]
    for direction, group in ends.items():
        lab.tag(group, **{MANAGED: None})
        if direction != remains:
            lab.revoke(group, direction)
    lab.tag(instance, link_peer=None)

    lab.sweep()

    assert lab.raw_rules(ends[remains], remains) == []


@with_either_answer("advanced_policy")
def test_a_link_between_advanced_groups_is_made(lab: Lab, reading: str) -> None:
    """No rule on one names a policy: what it does is accept. A person's drop counts where the platform takes one."""
    lab.cloud.knobs.change({"advanced_policy": reading})
    app, db = lab.group(type="enterprise"), lab.group("*", type="enterprise")
    source, target = lab.instance(app), lab.instance(db)
    lab.tag(app, link_egress="*")
    request = lab.request(source, target, "tcp/1")
    assert lab.cross_account(request) == {"applied": 1}
    assert lab.outcome()["effect"] == "passes"
    assert [rule["Policy"] for rule in (*lab.raw_rules(app, "egress"), *lab.raw_rules(db))] == ["Accept", "Accept"]
    with nullcontext() if reading == "accept" else pytest.raises(ApiError, match="OperationDenied"):
        lab.authorize(db, IpProtocol="TCP", PortRange="1/1", Policy="drop", Priority="1", SourceCidrIp="0.0.0.0/0")
    assert lab.cross_account(request) == {"applied": 1}
    assert lab.outcome()["effect"] == ("blocked" if reading == "accept" else "passes")


def dropped_by_a_person(lab: Lab) -> None:
    """A link of an instance, whose group drops its packets on their way out by the only rule that it has."""
    app, db = lab.group(), lab.group("*")
    source, target = lab.instance(app), lab.instance(db)
    drop = {"IpProtocol": "TCP", "PortRange": "1/1", "Policy": "drop", "DestCidrIp": f"{target.private_ip}/32"}
    lab.call(HOME, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": app.id, "Priority": "1", **drop})
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"applied": 1}


@with_either_answer("no_direction")
def test_what_a_person_drops_on_its_way_out_is_recorded(lab: Lab) -> None:
    """The rules of a group are asked for by direction, so both are read."""
    dropped_by_a_person(lab)
    assert lab.outcome()["effect"] == "blocked"


@with_either_answer("rule_count")
def test_what_a_person_drops_is_recorded_where_no_count_shows_it(lab: Lab) -> None:
    """Of a link that opens, both groups' rules are read, whatever RuleCount says of them."""
    dropped_by_a_person(lab)
    assert lab.outcome()["effect"] == "blocked"


@with_either_answer("strict_ids")
def test_a_group_that_does_not_exist_denies_its_own_link_alone(lab: Lab) -> None:
    """Whether one unknown or malformed id refuses the call that names it, or is left out of the answer."""
    app, db = lab.group(), lab.group("*")
    malformed = "sg-" + "0" * 60
    instance = lab.instance(app, tags={"link-peer": f"sg-bp1unknown:tcp/1,{malformed}:tcp/1,{db.id}:tcp/1"})
    assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1, "denied": 2}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@with_either_answer("rules_per_group")
def test_a_201st_rule_is_tried(lab: Lab, reading: int) -> None:
    """Where the platform refuses it, the link is denied for the quota, and nothing is left of it."""
    lab.cloud.knobs.change({"rules_per_group": reading})
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    lab.crowded(db, 200)
    outcome, count = ("applied", 201) if reading == 1000 else ("failed", 200)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {outcome: 1}
    assert (lab.outcome()["reason"], len(lab.raw_rules(db))) == ("" if reading == 1000 else "quota", count)


@with_either_answer("destination_account")
def test_a_call_that_failed_for_good_is_a_dead_letter(lab: Lab, triggers: Triggers) -> None:
    """Function Compute takes the destination as s.yaml writes it, and delivers there."""
    manifest = load(ROOT / "s.yaml", env={"LINK_PEER_REGION": REGION}, account=HOME)
    client, models = port.fc3(settings.load(), HOME)
    destinations = {function.name: function.on_failure for function in manifest.functions if function.on_failure}
    for name, destination in destinations.items():
        body = models.PutAsyncInvokeConfigInput(
            max_async_retry_attempts=0,
            destination_config=models.DestinationConfig(on_failure=models.Destination(destination=destination)),
        )
        client.put_async_invoke_config(name, models.PutAsyncInvokeConfigRequest(qualifier="live", body=body))
    lab.fault(service="sls", action="PutLogs", kind="throttle", times=None)
    triggers.fire_timer("every-10m")
    triggers.drain(3600)
    letters = lab.queued(lab.cloud.world.dead_letter_queue)
    calls = [letter["requestContext"] for letter in letters if "requestContext" in letter]  # the streams have others
    assert {call["functionArn"] for call in calls} == {"acs:fc:::functions/link-peer-sweep"}
    assert destinations.keys() == {"link-peer-auto-link", "link-peer-sweep"}


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


@with_either_answer("environment_keys")
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
