"""What RAM and STS decide. A session policy narrows the role of --role, so that no user, role or policy is created."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log.logitem import LogItem
from aliyun.log.putlogsrequest import PutLogsRequest
from mns.queue import Message

from aliyun_conformance.bench import Bench
from aliyun_conformance.question import Need, NotAnswered
from aliyun_conformance.sdks import Sdks, code_of

ALLOW_ALL = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
ON_GROUPS = ["acs:ecs:*:*:securitygroup/*"]
REFUSED = ("Forbidden", "NoPermission", "Unauthorized")
"""The beginnings of the codes that mean: RAM does not permit it."""


def _outcome(send: Callable[[], Any]) -> str:
    """`allowed`, `denied`, or the code of another refusal."""
    code = code_of(send)
    return "allowed" if not code else "denied" if code.startswith(REFUSED) else code


def _tag(sdks: Sdks, group: str, *keys: str) -> Callable[[], None]:
    return lambda: sdks.ecs.tag("securitygroup", group, **dict.fromkeys(keys, "x"))


def _saw(bench: Bench, outcomes: dict[str, str]) -> None:
    bench.saw(", ".join(f"{label}: {how}" for label, how in outcomes.items()), outcomes)


@pytest.mark.real_cloud(26, Need.PEER, expected="denied, denied, allowed", cleanup="none")
def test_external_id(bench: Bench) -> None:
    """`sts:ExternalId` in the trust policy rejects a wrong and a missing external id."""
    external_ids = {"wrong": "wrong-external-id", "missing": "", "right": bench.options.external_id}
    if not bench.options.external_id:
        raise NotAnswered("the policy file has no external id for the peer")
    identity = bench.doorway()
    outcomes = {label: _outcome(lambda text=text: bench.enter(identity, text)) for label, text in external_ids.items()}  # type: ignore[misc]
    _saw(bench, outcomes)
    assert outcomes == {"wrong": "denied", "missing": "denied", "right": "allowed"}


@pytest.mark.real_cloud(28, Need.ROLE, expected="allowed by the Allow, denied by the Deny")
def test_tags_of_groups(bench: Bench) -> None:
    """`ecs:TagResources` and `ecs:UntagResources` respect `securitygroup/*`, in Allow and in Deny."""
    b, key = bench.group(), "cloud-selftest.ram"
    actions = ["ecs:TagResources", "ecs:UntagResources"]
    allowing = bench.session({"Effect": "Allow", "Action": actions, "Resource": ON_GROUPS})
    denying = bench.session(ALLOW_ALL, {"Effect": "Deny", "Action": actions, "Resource": ON_GROUPS})
    outcomes = {}
    for name, session in (("Allow", allowing), ("Deny", denying)):
        outcomes[f"tag under {name}"] = _outcome(_tag(session, b, key))
        outcomes[f"untag under {name}"] = _outcome(lambda s=session: s.ecs.untag("securitygroup", b, key))  # type: ignore[misc]
    expected = {label: "allowed" if label.endswith("Allow") else "denied" for label in outcomes}
    _saw(bench, outcomes)
    assert outcomes == expected


@pytest.mark.real_cloud(172, Need.ROLE, expected="read: no instances; dry run: denied")
def test_instances_that_may_not_be_read(bench: Bench) -> None:
    """To a role that may not read instances, DescribeInstances answers an empty list, and with DryRun that it is refused."""
    session = bench.session(ALLOW_ALL, {"Effect": "Deny", "Action": ["ecs:DescribeInstances"], "Resource": ["*"]})
    read = code_of(lambda: session.ask("describe_instances")) or "no instances"
    if read == "no instances" and session.ask("describe_instances").instances.instance:
        read = "instances"
    outcomes = {"read": read, "dry run": _outcome(lambda: session.ask("describe_instances", dry_run=True))}
    _saw(bench, outcomes)
    assert outcomes == {"read": "no instances", "dry run": "denied"}


@pytest.mark.real_cloud(29, Need.ROLE, expected="denied, each (ROS and the console are left to a person)")
def test_ways_around_the_deny(bench: Bench) -> None:
    """There is no way to tag a group in spite of a policy that denies the keys of its tags: the console, `aliyun tag TagResources`, ROS, CreateSecurityGroup with tags, resource groups' tag policies."""
    # a session with the statements of the deny policy
    b = bench.group()
    older = [
        "ecs:AddTags",
        "ecs:RemoveTags",
        "ecs:CreateTags",
        "ecs:DeleteTags",
        "tag:TagResources",
        "tag:UntagResources",
    ]
    session = bench.session(
        ALLOW_ALL,
        {"Effect": "Deny", "Action": ["ecs:TagResources", "ecs:UntagResources"], "Resource": ON_GROUPS},
        {"Effect": "Deny", "Action": [*older, "ecs:CreateSecurityGroup"], "Resource": ["*"]},
    )
    added = bench.models.AddTagsRequestTag(key="cloud-selftest.ram", value="x")
    arn = f"arn:acs:ecs:{bench.region}:{bench.account}:securitygroup/{b}"
    outcomes = {
        "TagResources": _outcome(_tag(session, b, "cloud-selftest.ram")),
        "AddTags": _outcome(lambda: session.ask("add_tags", resource_type="securitygroup", resource_id=b, tag=[added])),
        "CreateSecurityGroup": _outcome(lambda: bench.group(sdks=session)),
        "tag:TagResources": _outcome(
            lambda: session.raw(
                "tag", "TagResources", RegionId=bench.region, Tags='{"cloud-selftest.ram":"x"}', ResourceARN_1=arn
            )
        ),
    }
    offered = {label: how for label, how in outcomes.items() if how != "InvalidVersion"}  # a local cloud has no Tag API
    _saw(bench, offered)
    assert offered == dict.fromkeys(offered, "denied")


@pytest.mark.real_cloud(
    30,
    Need.ROLE,
    expected="denied with the key, allowed with another; or allowed with both, which RAM then does not know (RunInstances is left to a person)",
)
def test_request_tags(bench: Bench) -> None:
    """ECS passes `acs:RequestTag/<key>` to RAM for TagResources, RunInstances, CreateSecurityGroup."""
    b, key = bench.group(), "cloud-selftest-no"
    denied = {"StringLike": {f"acs:RequestTag/{key}": ["*"]}}
    session = bench.session(ALLOW_ALL, {"Effect": "Deny", "Action": ["ecs:*"], "Resource": ["*"], "Condition": denied})
    outcomes = {
        "the key": _outcome(_tag(session, b, key)),
        "another": _outcome(_tag(session, b, "cloud-selftest-yes")),
        "a new group with the key": _outcome(lambda: bench.group(sdks=session, tags={key: "x"})),
    }
    expected = {"the key": "denied", "another": "allowed", "a new group with the key": "denied"}
    _saw(bench, outcomes)
    assert outcomes in (expected, dict.fromkeys(outcomes, "allowed"))


@pytest.mark.real_cloud(
    52,
    Need.ROLE,
    expected="allowed with the key, denied with another, for both actions; or denied with both, which RAM then does not know",
)
def test_dotted_request_tags(bench: Bench) -> None:
    """RAM passes `acs:RequestTag/<key>` for UntagResources, and for keys that contain dots."""
    b, key, other_key = bench.group(), f"cloud-selftest.{bench.run}.{bench.account}", "cloud-selftest.other"
    session = bench.session(_only(key))
    outcomes = {
        "tag the key": _outcome(_tag(session, b, key)),
        "tag another": _outcome(_tag(session, b, other_key)),
        "untag the key": _outcome(lambda: session.ecs.untag("securitygroup", b, key)),
        "untag another": _outcome(lambda: session.ecs.untag("securitygroup", b, other_key)),
    }
    expected = {label: "allowed" if label.endswith("key") else "denied" for label in outcomes}
    _saw(bench, outcomes)
    assert outcomes in (expected, dict.fromkeys(outcomes, "denied"))


def _only(key: str) -> dict[str, Any]:
    """An Allow to tag and untag with one key, as the function role has it."""
    return {
        "Effect": "Allow",
        "Action": ["ecs:TagResources", "ecs:UntagResources"],
        "Resource": ON_GROUPS,
        "Condition": {"StringLike": {f"acs:RequestTag/{key}": ["*"]}},
    }


@pytest.mark.real_cloud(
    85, Need.ROLE, expected="denied; the report says whether a second key that no statement names passes too"
)
def test_two_request_tags(bench: Bench) -> None:
    """A request with two tag keys is denied if a Deny names one of them, though an Allow names the other."""
    b, key, no = bench.group(), f"cloud-selftest.{bench.run}", "cloud-selftest-no"
    deny = {
        "Effect": "Deny",
        "Action": ["ecs:TagResources"],
        "Resource": ["*"],
        "Condition": {"StringLike": {f"acs:RequestTag/{no}": ["*"]}},
    }
    session = bench.session(_only(key), deny)
    outcomes = {
        "the key alone": _outcome(_tag(session, b, key)),
        "with a denied key": _outcome(_tag(session, b, key, no)),
        "with an unnamed key": _outcome(_tag(session, b, key, "cloud-selftest.other")),
    }
    _saw(bench, outcomes)
    assert outcomes["with a denied key"] == "denied"


@pytest.mark.real_cloud(32, Need.ROLE, expected="denied, denied, allowed; the report has `0.0.0.0/1`")
def test_source_addresses(bench: Bench) -> None:
    """A Deny on `ecs:SecurityGroupSourceCidrIps` 0.0.0.0/0 stops it alone and among several permissions, and lets group rules pass."""
    # the group has no members
    a, b = bench.group(), bench.group()
    everywhere = {"StringEquals": {"ecs:SecurityGroupSourceCidrIps": ["0.0.0.0/0", "::/0"]}}
    deny = {"Effect": "Deny", "Action": ["ecs:AuthorizeSecurityGroup"], "Resource": ["*"], "Condition": everywhere}
    session = bench.session(ALLOW_ALL, deny)
    world, group = {"source_cidr_ip": "0.0.0.0/0"}, {"source_group_id": a}
    tries: dict[str, list[dict[str, str]]] = {
        "alone": [world],
        "second": [{"source_cidr_ip": "10.0.0.1/32"}, world],
        "a group": [group],
        "half of the world": [{"source_cidr_ip": "0.0.0.0/1"}],
    }
    outcomes = {
        label: _outcome(lambda rules=rules: bench.authorize(b, *rules, sdks=session))  # type: ignore[misc]
        for label, rules in tries.items()
    }
    _saw(bench, outcomes)
    assert (outcomes["alone"], outcomes["second"], outcomes["a group"]) == ("denied", "denied", "allowed")


@pytest.mark.real_cloud(33, Need.ROLE, expected="each shows as much as the person's own keys do")
def test_lists_by_resource(bench: Bench) -> None:
    """`DescribeInstances` and `DescribeSecurityGroups` without ids are allowed by `instance/*` and `securitygroup/*`, `DescribeNetworkInterfaces` by `eni/*`."""
    # in a session with the resources of our roles, and with the person's own keys
    bench.group()
    lists = {
        "instance": ("ecs:DescribeInstances", "describe_instances", "instances", "instance"),
        "securitygroup": (
            "ecs:DescribeSecurityGroups",
            "describe_security_groups",
            "security_groups",
            "security_group",
        ),
        "eni": (
            "ecs:DescribeNetworkInterfaces",
            "describe_network_interfaces",
            "network_interface_sets",
            "network_interface_set",
        ),
    }
    words, fits = [], []
    for kind, (action, operation, many, item_field) in lists.items():
        session = bench.session({"Effect": "Allow", "Action": [action], "Resource": [f"acs:ecs:*:*:{kind}/*"]})
        counts: list[int] = []

        def count(sdks: Sdks, operation: str = operation, many: str = many, item_field: str = item_field) -> int:
            return len(getattr(getattr(sdks.ask(operation, max_results=100), many), item_field) or [])

        code = code_of(lambda count=count, counts=counts: counts.append(count(session)))  # type: ignore[misc]  # noqa: B023
        full_count = count(bench.sdks)
        words.append(f"{kind}: {code or counts[0]} of {full_count}")
        fits.append(counts == [full_count])
    bench.saw(", ".join(words))
    assert all(fits)


@pytest.mark.real_cloud(
    35,
    Need.ROLE,
    expected="both allowed; another queue and another logstore denied",
    cleanup="delete the queues and the log project",
)
def test_send_and_write(bench: Bench) -> None:
    """`mns:SendMessage` on `/queues/<name>/messages` and `log:PostLogStoreLogs` on `project/…/logstore/…` are enough to send and to write."""
    (project, logstore), queue, other_queue = bench.logstore(), bench.queue(), bench.queue()
    bench.put_logs(project, logstore, [LogItem(int(bench.clock.now()), [("a", "b")], 1)])
    session = bench.session(
        {
            "Effect": "Allow",
            "Action": ["log:PostLogStoreLogs"],
            "Resource": [f"acs:log:*:*:project/{project}/logstore/{logstore}"],
        },
        {"Effect": "Allow", "Action": ["mns:SendMessage"], "Resource": [f"acs:mns:*:*:/queues/{queue}/messages"]},
    )
    item = LogItem(int(bench.clock.now()), [("a", "b")], 1)
    request = PutLogsRequest(project, logstore, "selftest", "selftest", [item])
    outcomes = {
        "write": _outcome(lambda: session.log.put_logs(request)),
        "send": _outcome(lambda: bench.queue_client(queue, session).send_message(Message("x"))),
        "another queue": _outcome(lambda: bench.queue_client(other_queue, session).send_message(Message("x"))),
    }
    _saw(bench, outcomes)
    assert (outcomes["write"], outcomes["send"]) == ("allowed", "allowed")
    assert outcomes["another queue"] != "allowed"


TEMPLATE = json.dumps(
    {
        "ROSTemplateFormatVersion": "2015-09-01",
        "Parameters": {"Home": {"Type": "String"}, "Tag": {"Type": "Json"}},
        "Resources": {
            "Role": {
                "Type": "ALIYUN::RAM::Role",
                "Properties": {
                    "RoleName": "selftest",
                    "AssumeRolePolicyDocument": {
                        "Version": "1",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": "sts:AssumeRole",
                                "Principal": {"RAM": [{"Fn::Sub": "acs:ram::${Home}:root"}]},
                                "Condition": {"StringEquals": {"sts:ExternalId": "selftest"}},
                            }
                        ],
                    },
                    "Policies": [
                        {
                            "PolicyName": "selftest",
                            "PolicyDocument": {
                                "Version": "1",
                                "Statement": [
                                    {
                                        "Effect": "Allow",
                                        "Action": "ecs:TagResources",
                                        "Resource": "*",
                                        "Condition": {"StringLike": {"Ref": "Tag"}},
                                    }
                                ],
                            },
                        }
                    ],
                },
            }
        },
    }
)


@pytest.mark.real_cloud(
    48, expected="the template is valid (creating it is left to a person)", cleanup="delete the stack"
)
def test_ros_template(bench: Bench) -> None:
    """ROS: `ALIYUN::RAM::Role` accepts `Condition` in the trust policy, and a condition that is a `Ref` to a parameter of type `Json`."""
    code = code_of(lambda: bench.sdks.raw("ros", "ValidateTemplate", RegionId=bench.region, TemplateBody=TEMPLATE))
    if code.startswith("InvalidVersion"):
        raise NotAnswered("ROS is not offered here")
    bench.saw(code or "valid")
    assert not code
