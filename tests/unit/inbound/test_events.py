"""Platform events: every sample of events/ is decoded here, and invalid ones are refused with their field."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party
from link_peer.domain.request import Cause, Hint
from link_peer.domain.tags import parse_instant, tag_keys
from link_peer.inbound.events import (
    MAX_BATCH_BYTES,
    MAX_BYTES,
    MAX_NAMED,
    Envelope,
    actor_of,
    decode,
    elements,
    principal,
)
from link_peer.inbound.events import queue_message as queue_message_of

A, B = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
KEYS = tag_keys("link", "prod", A)
EVENTS = Path(__file__).parents[3] / "events"
WHEN = parse_instant("2026-11-25T07:00:00Z")


def load(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def queue_message(element: object) -> Envelope:
    return queue_message_of(element, home=A, region=REGION)


def ids(hints: list[Hint]) -> list[str]:
    return [hint.party.id for hint in hints]


def read(element: object) -> list[Hint]:
    hints = decode(element, home=A, region=REGION, keys=KEYS)
    assert not [hint for hint in hints if isinstance(hint, BadInput)]
    return [hint for hint in hints if isinstance(hint, Hint)]


def hints(element: object) -> list[Hint]:
    """Without what the event says of its origin."""
    return [msgspec.structs.replace(hint, cause=Cause()) for hint in read(element)]


def sample(name: str) -> list[Hint]:
    return [hint for element in elements((EVENTS / f"{name}.json").read_bytes()) for hint in hints(element)]


def changed(name: str, /, **changes: object) -> dict[str, Any]:
    """A sample with other fields; those that start with `data_` go into its data; None removes a field."""
    event = copy.deepcopy(load(name))
    for key, value in changes.items():
        where = event["data"] if key.startswith("data_") else event
        where[key.removeprefix("data_")] = value
        if value is None:
            del where[key.removeprefix("data_")]
    return event


MOVED, INTERFACE, TAGGED = "i-bp1moved000000000000a", "eni-bp1moved0000000000a", "i-bp1tagged00000000000a"
DB, LEDGER = "sg-bp1azkttqpldxgtedxxx", "sg-bp15ed6xe1yxeycg7xxx"
STATES = {"ecs-created": "Created", "ecs-pending": "Pending", "ecs-running": "Running", "ecs-deleted": "Deleted"}


@pytest.mark.parametrize(
    ("kind", "name", "parties"),
    [
        *(("state", name, [load(name)["data"]["resourceId"]]) for name in STATES),
        ("tags", "tags-added", [TAGGED]),
        ("tags", "tags-removed", [TAGGED, "i-bp1tagged00000000000b"]),
        ("tags", "tags-console", ["i-bp1console0000000000a"]),
        ("tags", "tags-addtags", [TAGGED]),
        ("tags", "tags-removetags", [TAGGED]),
        ("tags", "tags-group-accept", [LEDGER]),
        ("tags", "tags-group-lock", [LEDGER]),
        ("tags", "tags-group-stripped", [LEDGER, DB]),
        *(("moved", name, [MOVED]) for name in ("moved-modify", "moved-join", "moved-leave", "moved-vpc")),
        ("moved", "moved-interface", [INTERFACE]),
        ("moved", "address-vswitch", [MOVED]),
        ("moved", "address-assigned", [INTERFACE]),
        ("moved", "address-unassigned", [INTERFACE]),
    ],
)
def test_an_event_gives_a_hint_for_each_party_that_it_is_about(kind: Any, name: str, parties: list[str]) -> None:
    """Of home, each once even if the event names it twice, in the new calls and in the old ones (AddTags, RemoveTags),
    with the event's time. A move is not one of the groups that a call names. In CloudMonitor's older form, whose time
    has a format of its own, an event of ECS itself gives the same hint."""
    event, state = load(name), STATES.get(name, "")
    when = WHEN if state else WHEN + 120
    assert hints(event) == [Hint(event["id"], Party(A, party), kind, when, state) for party in parties]
    if event["type"].startswith("ecs:ActionTrail"):
        return
    time = "20261125T150000.000+0800" if state else "20261125T150200.000+0800"
    older = {"name": event["type"].removeprefix("ecs:"), "content": event["data"], "id": event["id"], "eventTime": time}
    assert hints(changed("ecs-legacy-running", **older)) == hints(event)
    # receivers in production read both places; and with a spec version it is a CloudEvent, whatever other fields it has
    assert hints({**event, "data": {"content": event["data"]}}) == hints({**event, "product": "ECS"}) == hints(event)


def test_the_older_sample_is_read() -> None:
    legacy = Hint(
        "2256A988-0B26-4E2B-820A-000000000005", Party(A, "i-bp1legacy00000000000a"), "state", WHEN + 0.922, "Running"
    )
    assert sample("ecs-legacy-running") == [legacy]


@pytest.mark.parametrize(
    ("call", "extra_fields", "parties"),
    [
        ("ModifyInstanceAttribute", {"InstanceName": "web"}, []),
        ("ModifyInstanceAttribute", {"SecurityGroupIds": '["sg-a"]'}, [MOVED]),
        ("ModifyInstanceAttribute", None, [MOVED]),
        ("ModifyNetworkInterfaceAttribute", {"NetworkInterfaceName": "web"}, []),
        ("JoinSecurityGroup", {"NetworkInterfaceId": INTERFACE}, [MOVED, INTERFACE]),
        ("JoinSecurityGroup", None, [MOVED]),
        ("StopInstance", {}, []),
    ],
)
def test_a_call_that_changes_neither_groups_nor_addresses_gives_no_hint(
    call: str, extra_fields: dict[str, str] | None, parties: list[str]
) -> None:
    """Such as a new name. One whose parameters are not shown may change any."""
    parameters = None if extra_fields is None else {"InstanceId": MOVED, **extra_fields}
    event = changed("moved-modify", data_eventName=call, data_requestParameters=parameters)
    assert ids(read(event)) == parties
    assert read(changed("moved-modify", data_eventName=call, data_errorCode="Forbidden.RAM")) == []


@pytest.mark.parametrize(
    ("parameters", "parties"),
    [
        ({"ResourceType": "instance", "ResourceId.1": "i-a", "ResourceId.2": "i-b"}, ["i-a", "i-b"]),
        ({"ResourceType": "Instance", "ResourceId": "i-a"}, ["i-a"]),
        ({"ResourceType": "instance", "ResourceIds": ["i-b", "i-a", "i-b"]}, ["i-b", "i-a"]),
        ({"ResourceType": "instance", "ResourceIds": '["i-b", "i-a"]'}, ["i-b", "i-a"]),
        ({"resourceType": "INSTANCE", "resourceId": "i-a"}, ["i-a"]),
        ('{"ResourceType": "instance", "ResourceId.1": "i-a"}', ["i-a"]),
        ({"ResourceType": "securitygroup", "ResourceId.1": "sg-a", "ResourceId.2": "sg-b"}, ["sg-a", "sg-b"]),
        ({"ResourceType": "SecurityGroup", "ResourceId": ["sg-b", "sg-b"]}, ["sg-b"]),
        ({"ResourceType": "ACS::ECS::SecurityGroup", "ResourceId": "sg-a"}, ["sg-a"]),
        ({"ResourceType": "ACS::ECS::Instance", "ResourceId": "i-a"}, ["i-a"]),
        ({"ResourceType": "instance", "ResourceIds": '["i-b", "i-a"'}, None),
        ({"ResourceType": "instance", "ResourceIds": "[" * 100_000}, None),
        ({"ResourceType": "instance", "ResourceIds": "null"}, None),
        ({"ResourceType": "disk", "ResourceId.1": "d-a"}, []),
        ({"ResourceType": ["instance"], "ResourceId.1": "i-a"}, []),
        ({"ResourceId.1": "sg-a"}, []),
        ("a text", []),
        (None, []),
    ],
)
def test_ids_are_read_from_the_parameters_too(parameters: object, parties: list[str] | None) -> None:
    """In any spelling of the type. The tags of other resources change no link. Text that only looks like a list is one
    id, and a bad one."""
    event = changed("tags-added", data_referencedResources={"ACS::ECS::Disk": ["d-a"]})
    event["data"]["requestParameters"] = parameters
    if parties is None:
        (problem,) = decode(event, home=A, region=REGION, keys=KEYS)
        assert isinstance(problem, BadInput)
        assert "is not an instance id" in problem.problem
    else:
        assert ids(read(event)) == parties


OLDER = {"referencedResources": None, "requestParameters": None}


@pytest.mark.parametrize(
    ("fields", "parties"),
    [
        ({**OLDER, "resourceType": "ACS::ECS::Instance", "resourceName": "i-a;i-b"}, ["i-a", "i-b"]),
        ({**OLDER, "resourceType": "ACS::ECS::SecurityGroup", "resourceName": "sg-a;sg-b"}, ["sg-a", "sg-b"]),
        ({**OLDER, "resourceType": "ACS::ECS::Disk", "resourceName": "d-a"}, []),
        (
            {
                "referencedResources": {
                    "ACS::ECS::Instance": ["i-a"],
                    "ACS::ECS::SecurityGroup": "sg-a",
                    "Disk": ["d-a"],
                }
            },
            ["i-a", "sg-a"],
        ),
    ],
)
def test_ids_are_read_from_the_resource_name_and_of_each_kind(fields: dict[str, Any], parties: list[str]) -> None:
    """Older records join several by semicolons. One call may name instances and groups."""
    event = changed("tags-added", data_requestParameters={})
    event["data"] |= fields
    assert ids(read(event)) == parties


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        ("SecurityGroup", "i-a", "'i-a' is not a security group id (sg-…)"),
        ("SecurityGroup", "sg-A", "'sg-A' is not a security group id (sg-…)"),
        ("Instance", "sg-a", "'sg-a' is not an instance id (i-…)"),
        ("Instance", 'i-a","i-b', "'i-a\",\"i-b' is not an instance id (i-…)"),
        ("Instance", "i-", "'i-' is not an instance id (i-…)"),
        ("Instance", "", "'' is not an instance id (i-…)"),
        ("Instance", {"id": "i-a"}, "the value is not an instance id (i-…)"),
        ("Instance", ["i-a"], "the value is not an instance id (i-…)"),
    ],
)
def test_one_bad_id_in_a_tag_change_does_not_affect_the_others(kind: str, bad: object, message: str) -> None:
    """The others are still looked at, and the bad id is returned with what was expected, so that it can be recorded."""
    first, last = ("i-a", "i-b") if kind == "Instance" else ("sg-a", "sg-b")
    event = changed(
        "tags-added", data_referencedResources={f"ACS::ECS::{kind}": [first, bad, last]}, data_requestParameters={}
    )
    hints = decode(event, home=A, region=REGION, keys=KEYS)
    assert [hint.party for hint in hints if isinstance(hint, Hint)] == [Party(A, first), Party(A, last)]
    assert isinstance(hints[1], BadInput)
    assert (hints[1].field, hints[1].problem) == ("data", message)


def test_irrelevant_events_give_no_hint() -> None:
    """Other states, refused calls, other calls, other events of ECS."""
    assert sample("ignored-stopping") == []
    assert sample("tags-failed") == []
    assert read(changed("tags-added", data_eventName="DeleteDisk")) == []
    assert read(changed("tags-added", data_eventName="RunInstances")) == []
    assert read(changed("ecs-created", type="ecs:Disk:DiskOperationCompleted")) == []
    assert read(changed("ecs-created", data_state="Panding")) == []
    assert read(changed("ecs-legacy-running", name="Instance:PreemptibleInstanceInterruption")) == []
    assert read(changed("ecs-legacy-running", product="RDS")) == []
    assert read(changed("ecs-legacy-running", name=["Instance:StateChange"])) == []


def test_a_batch_is_decoded_element_by_element() -> None:
    """A bad element does not affect the others."""
    first, bad, last = elements((EVENTS / "batch.json").read_bytes())
    assert [hints(first), hints(last)] == [sample("ecs-created"), sample("tags-added")]
    with pytest.raises(BadInput, match=r"^resourceId: 'i-BP1NOTANID' is not an instance id"):
        read(bad)


def test_an_event_may_omit_account_region_and_time_but_not_name_another_account() -> None:
    """The party is home's in any case."""
    for name in ("x", "x" * 128):
        (hint,) = read(changed("ecs-created", aliyunaccountid=None, aliyunregionid=None, time=None, id=name))
        assert (hint.party.account, hint.time, hint.event_id) == (A, None, name)


def test_an_event_with_an_invalid_time_is_kept() -> None:
    """ActionTrail's own time is used instead."""
    assert read(changed("tags-added", time="yesterday"))[0].time == parse_instant("2026-11-25T07:02:00Z")
    assert [read(changed("ecs-created", time=time))[0].time for time in (5, "now")] == [None, None]
    assert read(changed("ecs-legacy-running", eventTime="now"))[0].time is None


BAD: dict[str, tuple[object, str]] = {
    "malformed": (load("malformed"), "data"),
    "other account": (load("other-account"), "aliyunaccountid"),
    "other account of the older form": (changed("ecs-legacy-running", userId=B), "userId"),
    "other region": (changed("tags-added", aliyunregionid="cn-hangzhou"), "aliyunregionid"),
    "other region of the call": (changed("tags-added", data_acsRegion="cn-hangzhou"), "data.acsRegion"),
    "other source": (changed("ecs-created", source="acs.evil"), "source"),
    "no source": (changed("ecs-created", source=None), "source"),
    "no type": (changed("ecs-created", type=None), "type"),
    "id too long": (changed("ecs-created", id="x" * 129), "id"),
    "id with a line feed": (changed("ecs-created", id="a\nb"), "id"),
    "no data": (changed("ecs-created", data=None), "data"),
    "content a text": (changed("ecs-created", data_content="x"), "data.content"),
    "no state": (changed("ecs-created", data_state=None), "state"),
    "instance an ARN": (changed("ecs-created", data_resourceId=f"acs:ecs:{REGION}:{A}:instance/i-a"), "resourceId"),
    "instance a group": (changed("ecs-created", data_resourceId="sg-a"), "resourceId"),
    "a change of tags of none": (
        changed(
            "tags-added",
            data_referencedResources=None,
            data_requestParameters={"ResourceType": "instance", "ResourceIdentity": "i-a", "Tag.1.Key": "i-a"},
        ),
        "data",
    ),
    "a change of tags without resources": (
        changed("tags-added", data_referencedResources=None, data_requestParameters=None),
        "data",
    ),
    "a move of none": (changed("moved-join", data_referencedResources=None, data_requestParameters={}), "data"),
    "an interface an instance": (changed("address-assigned", data_eniId="i-a"), "eniId"),
    "no instance whose switch changed": (changed("address-vswitch", data_instanceId=None), "instanceId"),
    "call's name a list": (changed("tags-added", data_eventName=["TagResources"]), "eventName"),
    "a queue's": (load("queue-plain"), "source"),
    "a text": ("i-a", "event"),
    "a list": ([load("ecs-created")], "event"),
    "empty": ({}, "source"),
}


@pytest.mark.parametrize(("element", "field"), BAD.values(), ids=BAD)
def test_an_event_that_is_not_for_us_is_bad_input_that_names_the_field(element: object, field: str) -> None:
    """Another account's, another region's, another source's, or not an event at all."""
    with pytest.raises(BadInput) as caught:
        read(element)
    assert caught.value.field == field
    assert str(caught.value).replace("…", "").isascii()  # our own i-… is the only other character


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("ecs-created", {"aliyunaccountid": "a\nb"}, "aliyunaccountid: not an account uid"),
        ("ecs-created", {"aliyunaccountid": 5}, "aliyunaccountid: not an account uid"),
        ("ecs-legacy-running", {"regionId": ["x"]}, "regionId: the value is not this function's region"),
    ],
)
def test_an_account_or_region_that_is_none_is_not_repeated(name: str, fields: dict[str, object], message: str) -> None:
    """The error may be logged."""
    with pytest.raises(BadInput, match=f"^{message}$"):
        read(changed(name, **fields))


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"5",
        b"{",
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 50000,
        b" " * (MAX_BYTES + 1),
    ],
    ids=range(9),
)
def test_a_delivery_that_cannot_be_parsed_is_bad_input(event: bytes) -> None:
    """No other error is raised."""
    with pytest.raises(BadInput, match=r"^event: "):
        elements(event)


def test_a_delivery_has_a_largest_size_and_numbers_of_up_to_twenty_digits() -> None:
    """Of one event, and of a batch of messages: more than the platform delivers or writes. A longer number would cost
    time to read."""
    assert (MAX_BYTES, MAX_BATCH_BYTES) == (2**20, 32 * 2**20)
    assert elements(b'{"a": 1}', 8) == [{"a": 1}]
    assert elements(b"[" + b"9" * 20 + b"]") == [10**20 - 1]
    with pytest.raises(BadInput, match=r"^event: longer than 2 KB$"):
        elements(b"[" + b" " * 2047 + b"]", 2048)
    with pytest.raises(BadInput, match=r"^event: not JSON$"):
        elements(b"[" + b"9" * 21 + b"]")


@pytest.mark.parametrize(("name", "time"), [("timer.json", WHEN + 600), ("queue-timer.json", WHEN)])
def test_the_timers_event_is_one_object_with_its_time(name: str, time: float) -> None:
    """As Function Compute writes it [doc timer trigger]."""
    (timer,) = elements((EVENTS / name).read_bytes())
    assert isinstance(timer, dict)
    assert set(timer) == {"triggerTime", "triggerName", "payload"}
    assert parse_instant(timer["triggerTime"]) == time


SUBJECT = f"acs:mns:{REGION}:{A}:queues/"


@pytest.mark.parametrize("queue", ["link-requests", "B", "0", "x" * 120])
def test_the_subject_of_the_envelope_names_the_queue(queue: str) -> None:
    """EventBridge writes the subject; a sender cannot. Both spellings of it do."""
    assert queue_message(changed("queue-plain", subject=SUBJECT + queue)).queue == queue
    spelled = SUBJECT.replace(":queues/", ":/queues/")
    assert queue_message(changed("queue-plain", subject=spelled + queue)).queue == queue


@pytest.mark.parametrize(
    "subject",
    [
        None,
        "",
        SUBJECT,
        SUBJECT + "q/messages",
        SUBJECT + "q\n",
        SUBJECT + "q_b",
        SUBJECT + "x" * 121,
        " " + SUBJECT + "q",
        SUBJECT.replace(":queues/", ":topics/") + "q",
        SUBJECT.replace(REGION, "cn-hangzhou") + "q",
        SUBJECT.replace(A, B) + "q",
        "link-requests",
    ],
)
def test_any_other_subject_proves_no_queue(subject: object) -> None:
    """Such as one of another account or region, or one with more after the name. The message itself is still read."""
    envelope = queue_message(changed("queue-plain", subject=subject))
    assert envelope.queue == ""
    assert '"chg-1042"' in envelope.body


def test_without_an_envelope_no_queue_is_proven() -> None:
    """A sender may write a subject into the message, and RawData has none."""
    subject = SUBJECT + "link-requests"
    event = load("queue-plain")
    assert queue_message({**event["data"], "subject": subject}).queue == ""
    assert queue_message({"subject": subject, "data": event["data"]}).queue == ""
    assert queue_message({"version": 1, "action": "link", "subject": subject}).queue == ""
    body = json.dumps({**event, "subject": subject})
    assert queue_message(body) == Envelope("", body, "")
    assert queue_message(changed("queue-plain", subject=None, data_messageBody=body)).queue == ""


def test_an_element_of_the_queue_is_read_in_any_envelope() -> None:
    """A CloudEvent's id; a message's own id if only the data is delivered; none if only the body is. A missing id or
    type loses no request."""
    event = load("queue-link")[0]
    data = event["data"]
    body, message_id = data["messageBody"], data["messageId"]
    raw = {"action": "link", "data": "x", "reason": "天"}
    for element, event_id, text, queue in (
        (event, event["id"], body, "link-requests"),
        ({**event, "id": ["x"], "type": None}, "", body, "link-requests"),
        (data, message_id, body, ""),
        ({"id": 5, "messageId": message_id, "messageBody": body}, message_id, body, ""),
        ({"data": body}, "", body, ""),
        ({"specversion": "1.0", "action": "x", "data": body}, "", body, ""),
        (raw, "", json.dumps(raw, ensure_ascii=False), ""),
        (body, "", body, ""),
    ):
        assert queue_message(element) == Envelope(event_id, text, queue)
    assert queue_message(changed("queue-plain", data_messageBody=None)).body.startswith("{")  # perhaps the request


@pytest.mark.parametrize(
    ("element", "field"),
    [
        (changed("queue-plain", data=[]), "data"),
        (changed("queue-plain", data_messageBody=["x"]), "messageBody"),
        ({"messageBody": None}, "messageBody"),
        (
            changed(
                "queue-plain", data_messageBody={"version": 1, "x": functools.reduce(lambda x, _: [x], range(9000), [])}
            ),
            "messageBody",
        ),
        (5, "event"),
    ],
)
def test_anything_else_is_not_an_element_of_the_queue(element: object, field: str) -> None:
    """Neither text, nor anything that could hold text."""
    with pytest.raises(BadInput) as caught:
        queue_message(element)
    assert caught.value.field == field


def test_every_sample_is_used() -> None:
    """Each file of events/ is named in the tests of events, of messages, or of whole samples."""
    folder = Path(__file__).parent
    other_files = (folder / "test_requests.py", folder.parents[1] / "functional/test_samples.py")
    text = "".join(path.read_text() for path in (Path(__file__), *other_files))
    samples = [path.stem for path in EVENTS.glob("*.json")]
    assert samples
    assert [name for name in samples if f'"{name}"' not in text and f'"{name}.json"' not in text] == []


@pytest.mark.parametrize(
    ("call", "key", "looked_at"),
    [
        ("TagResources", "link-accept", True),
        ("TagResources", "link-accept.2", True),
        ("TagResources", "link-accept.x", False),
        ("TagResources", "link-lock", True),
        ("TagResources", "Link-Lock.inc-7", True),
        ("TagResources", "cost-center", False),
        ("TagResources", "link-acceptance", False),
        ("TagResources", "link-managed.prod.1000000000000001", False),
        ("UntagResources", "link-managed.prod.1000000000000001", True),
        ("RemoveTags", "link-managed.prod.1000000000000001", True),
    ],
)
def test_only_tags_that_links_depend_on_are_looked_at(call: str, key: str, looked_at: bool) -> None:
    """The managed tag, which the functions write themselves, matters only where someone removed it."""
    name = "TagKey.1" if call == "UntagResources" else "Tag.1.Key"
    parameters = {"ResourceType": "securitygroup", "ResourceId.1": "sg-db", name: key}
    event = changed("tags-group-lock", data_eventName=call, data_requestParameters=parameters)
    assert bool(decode(event, home=A, region=REGION, keys=KEYS)) is looked_at
    # a deployment with another prefix looks at its own tags, and at the lock that every deployment obeys
    acme = tag_keys("acme", "prod", A)
    assert bool(decode(event, home=A, region=REGION, keys=acme)) is ("lock" in key.lower())
    parameters[name] = key.lower().replace("link-", "acme-")
    assert bool(decode(event, home=A, region=REGION, keys=acme)) is looked_at


def test_a_tag_key_that_is_no_text_may_be_any_key() -> None:
    parameters = {"ResourceType": "securitygroup", "ResourceId.1": "sg-db", "Tag.1.Key": 5}
    assert ids(read(changed("tags-group-lock", data_requestParameters=parameters)))[-1] == "sg-db"


@pytest.mark.parametrize(("resource", "party"), [("securitygroup", "sg-db"), ("instance", "i-app")])
def test_a_key_of_a_set_counts_on_groups(resource: str, party: str) -> None:
    """On instances it is of no set, and a launch template may set it on each."""
    parameters = {"ResourceType": resource, "ResourceId.1": party, "Tag.1.Key": "env"}
    event = changed("tags-group-lock", data_eventName="TagResources", data_requestParameters=parameters)
    event["data"]["referencedResources"] = {f"ACS::ECS::{'SecurityGroup' if party[0] == 's' else 'Instance'}": [party]}
    sets = msgspec.structs.replace(KEYS, sets=("env",))
    hints = [hint for hint in decode(event, home=A, region=REGION, keys=sets) if isinstance(hint, Hint)]
    assert [(hint.party.id, hint.cause.tags) for hint in hints] == (
        [(party, (("env", ""),))] if party == "sg-db" else []
    )
    assert decode(event, home=A, region=REGION, keys=KEYS) == []


OPERATOR, ROLE = f"acs:ram::{A}:user/operator", {"type": "assumed-role", "accountId": A, "principalId": "3001:s"}
TERRAFORM, CALL = f"acs:ram::{A}:assumed-role/terraform/apply-7", "32B7EB75-0000-4000-8000-0000000000"
GIVEN = (("link-accept", "sg-bp1azkttqpldxgtedxxx:tcp/3306~20991231T000000Z"),)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("ecs-created", Cause("ecs:Instance:StateChange")),
        ("ecs-legacy-running", Cause("Instance:StateChange")),
        ("moved-join", Cause(OPERATOR)),
        ("address-vswitch", Cause("ecs:Instance:VSwitchChanged")),
        ("tags-group-accept", Cause(OPERATOR, "TagResources", f"{CALL}17", GIVEN)),
        ("tags-group-stripped", Cause(TERRAFORM, "UntagResources", f"{CALL}19", ((f"link-managed.prod.{A}", None),))),
    ],
)
def test_a_hint_says_who_caused_the_event(name: str, cause: Cause) -> None:
    """Of a change of tags also the API call, its RequestId, and the tags that it names: without a value if it took them
    off."""
    assert {hint.cause for hint in read(load(name))} == {cause}


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"type": "ram-user", "accountId": A, "principalId": "2001", "userName": "bob"}, f"acs:ram::{A}:user/bob"),
        ({**ROLE, "userName": "ops:bob:2"}, f"acs:ram::{A}:assumed-role/ops/bob:2"),
        (ROLE, f"acs:ram::{A}:assumed-role/3001/s"),
        ({"type": "root-account", "accountId": A, "principalId": A, "userName": "root"}, f"acs:ram::{A}:root"),
        ({"type": "saml-user", "accountId": A, "userName": "bob"}, f"acs:ram::{A}:saml-user/bob"),
        ({"type": "system", "userName": "ecs.aliyuncs.com"}, "system:ecs.aliyuncs.com"),
        ({"type": "ram-user", "accountId": f"{A}:root", "userName": "bob"}, "ram-user:bob"),
        ({"type": "ram-user", "accountId": A, "userName": "b" * 999}, f"acs:ram::{A}:user/{'b' * 256}"),
        *[
            (identity, "")
            for identity in (None, [], "bob", {"accountId": A}, {"type": ["ram-user"], "userName": {"a": 1}})
        ],
    ],
)
def test_the_principal_of_an_event_reads_like_an_arn(identity: object, expected: str) -> None:
    """Where the event names nobody in a form that ActionTrail writes, its type is the actor; else nothing is known."""
    event = load("tags-added")
    event["data"]["userIdentity"] = identity
    assert (principal(identity), actor_of(event)) == (expected, expected or event["type"])
    for element in (
        None,
        [event],
        {"type": 5},
        {**event, "type": A},
        {"data": event["data"]},
    ):  # none of them is an event of ActionTrail
        assert actor_of(element) == "unknown"


@pytest.mark.parametrize(
    ("parameters", "request_id", "tags"),
    [
        ({"Tag.1.Key": "link-lock", "Tag.1.Value": "x" * 999, "Tag.2.Key": "env"}, "r-1", {"link-lock": "x" * 128}),
        ({"tag.7.key": "link-lock"}, 5, {"link-lock": ""}),
        ({"Tag.1.Key": "link-lock", "Tag.1.Value": ["x"]}, None, {"link-lock": ""}),
        ({f"Tag.{n}.Key": f"link-lock.{n}" for n in range(99)}, ["r"], {f"link-lock.{n}": "" for n in range(20)}),
        (
            {"Tag": [{"Key": "link-lock", "Value": "x"}, {"key": "link-accept"}, 5]},
            "",
            {"link-lock": "x", "link-accept": ""},
        ),
        ({}, {}, {}),
    ],
)
def test_what_an_event_says_of_a_call_is_bounded(
    parameters: dict[str, Any], request_id: object, tags: dict[str, str]
) -> None:
    """At most as many tags as a call may set, each cut to what a tag may hold; wrong types are nothing."""
    parameters_sent = {"ResourceType": "securitygroup", "ResourceId.1": "sg-db", **parameters}
    event = changed("tags-group-accept", data_requestParameters=parameters_sent, data_referencedResources=None)
    event["data"]["requestId"] = request_id
    (cause,) = {hint.cause for hint in read(event)}
    assert (cause.request_id, cause.tags) == (request_id if isinstance(request_id, str) else "", tuple(tags.items()))
    event["data"]["requestParameters"] = {
        **parameters_sent,
        "ResourceId": (ids := [f"sg-{n}" for n in range(MAX_NAMED - 1)]),
    }
    assert len(read(event)) == MAX_NAMED
    ids.append("sg-a")
    with pytest.raises(BadInput, match="more than 100 resources"):
        read(event)
