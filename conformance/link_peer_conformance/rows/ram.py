"""What RAM and STS decide. A session policy narrows the role of --role, so that no user, role or policy is created."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from link_peer_conformance.model import Need, NotAnswered, Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench
    from link_peer_conformance.sdks import Sdks

section = Section("RAM and STS")

EVERYTHING = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
ON_GROUPS = ["acs:ecs:*:*:securitygroup/*"]
REFUSED = ("Forbidden", "NoPermission", "Unauthorized")
"""The beginnings of the codes that mean: RAM does not permit it."""


def _outcome(send: Callable[[], Any]) -> str:
    """`allowed`, `denied`, or the code of another refusal."""
    code = code_of(send)
    return "allowed" if not code else "denied" if code.startswith(REFUSED) else code


def _tag(sdks: Sdks, group: str, *keys: str) -> Callable[[], None]:
    return lambda: sdks.ecs.tag("securitygroup", group, **dict.fromkeys(keys, "x"))


def _seen(outcomes: dict[str, str], expected: dict[str, str]) -> Seen:
    text = ", ".join(f"{what}: {how}" for what, how in outcomes.items())
    return Seen(text, outcomes == expected, outcomes)


@section.row(
    26,
    Need.PEER,
    assumed="`sts:ExternalId` in the trust policy rejects a wrong and a missing external id",
    depends="protection against a confused deputy",
    test="`aliyun sts AssumeRole --RoleArn acs:ram::<peer>:role/link-peer --RoleSessionName t --ExternalId wrong`, then without it, then with the right one",
    expected="denied, denied, allowed",
    cleanup="none",
)
def external_id(bench: Bench) -> Seen:
    """The peer's role with a wrong external id, without one, and with the right one."""
    given = {"wrong": "wrong-external-id", "missing": "", "right": bench.options.external_id}
    if not bench.options.external_id:
        raise NotAnswered("the policy file has no external id for the peer")
    identity = bench.doorway()
    outcomes = {what: _outcome(lambda text=text: bench.enter(identity, text)) for what, text in given.items()}  # type: ignore[misc]
    return _seen(outcomes, {"wrong": "denied", "missing": "denied", "right": "allowed"})


section.by_hand(
    27,
    why="needs a role whose name has capitals, deployed as a function's role",
    assumed="The function role's name is matched in lower case",
    depends="fc3 converts it to lower case; the default names are in lower case already",
    test="`s deploy -y` with a role in s.yaml whose name has capitals; `s invoke sweep`",
    expected="the function runs as that role",
    cleanup="`s remove`",
)


@section.row(
    28,
    Need.ROLE,
    assumed="`ecs:TagResources` and `ecs:UntagResources` respect `securitygroup/*`, in Allow and in Deny",
    depends="both roles, and the deny policy on consent",
    test="as a user with the deny: `aliyun ecs TagResources $R --ResourceType securitygroup --ResourceId.1 $B --Tag.1.Key link-accept.x --Tag.1.Value '*'`; `UntagResources` likewise",
    expected="allowed by the Allow, denied by the Deny",
)
def tags_of_groups(bench: Bench) -> Seen:
    """Tagging and untagging a group under an Allow on groups alone, and under a Deny on groups."""
    b, key = bench.group(), "link-peer-selftest.ram"
    actions = ["ecs:TagResources", "ecs:UntagResources"]
    allowing = bench.session({"Effect": "Allow", "Action": actions, "Resource": ON_GROUPS})
    denying = bench.session(EVERYTHING, {"Effect": "Deny", "Action": actions, "Resource": ON_GROUPS})
    outcomes = {}
    for name, session in (("Allow", allowing), ("Deny", denying)):
        outcomes[f"tag under {name}"] = _outcome(_tag(session, b, key))
        outcomes[f"untag under {name}"] = _outcome(lambda s=session: s.ecs.untag("securitygroup", b, key))  # type: ignore[misc]
    expected = {what: "allowed" if what.endswith("Allow") else "denied" for what in outcomes}
    return _seen(outcomes, expected)


@section.row(
    29,
    Need.ROLE,
    assumed="There is no way to tag a group in spite of `deploy/ram-deny-accept-tags.json`: the console, `aliyun tag TagResources`, ROS, CreateSecurityGroup with tags, resource groups' tag policies",
    depends="consent is given by those only who may",
    test="as that user, each must be denied: `aliyun tag TagResources --RegionId cn-qingdao --ResourceARN.1 arn:acs:ecs:cn-qingdao:<uid>:securitygroup/$B --Tags '{\"link-accept\":\"*\"}'`; `aliyun ecs AddTags …`; `aliyun ecs CreateSecurityGroup $R --Tag.1.Key link-accept --Tag.1.Value '*'`; a ROS stack with such a group; the console",
    expected="denied, each (ROS and the console are left to a person)",
)
def ways_around_the_deny(bench: Bench) -> Seen:
    """Four ways to tag a group, in a session with the statements of the deny policy."""
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
        EVERYTHING,
        {"Effect": "Deny", "Action": ["ecs:TagResources", "ecs:UntagResources"], "Resource": ON_GROUPS},
        {"Effect": "Deny", "Action": [*older, "ecs:CreateSecurityGroup"], "Resource": ["*"]},
    )
    added = bench.models.AddTagsRequestTag(key="link-peer-selftest.ram", value="x")
    arn = f"arn:acs:ecs:{bench.region}:{bench.account}:securitygroup/{b}"
    outcomes = {
        "TagResources": _outcome(_tag(session, b, "link-peer-selftest.ram")),
        "AddTags": _outcome(lambda: session.ask("add_tags", resource_type="securitygroup", resource_id=b, tag=[added])),
        "CreateSecurityGroup": _outcome(lambda: bench.group(sdks=session)),
        "tag:TagResources": _outcome(
            lambda: session.raw(
                "tag", "TagResources", RegionId=bench.region, Tags='{"link-peer-selftest.ram":"x"}', ResourceARN_1=arn
            )
        ),
    }
    offered = {what: how for what, how in outcomes.items() if how != "InvalidVersion"}  # a local cloud has no Tag API
    return _seen(offered, dict.fromkeys(offered, "denied"))


@section.row(
    30,
    Need.ROLE,
    assumed="ECS passes `acs:RequestTag/<key>` to RAM for TagResources, RunInstances, CreateSecurityGroup",
    depends="whether the roles may write the managed tag at all; a second line of defence",
    test="`aliyun ecs TagResources … --Tag.1.Key link-accept --Tag.1.Value '*'` with the function role's keys; `RunInstances` and `CreateSecurityGroup` with such a tag",
    expected="denied with the key, allowed with another; or allowed with both, which RAM then does not know (RunInstances is left to a person)",
)
def request_tags(bench: Bench) -> Seen:
    """A Deny on one tag key, tried with that key and another."""
    b, key = bench.group(), "link-peer-selftest-no"
    denied = {"StringLike": {f"acs:RequestTag/{key}": ["*"]}}
    session = bench.session(EVERYTHING, {"Effect": "Deny", "Action": ["ecs:*"], "Resource": ["*"], "Condition": denied})
    outcomes = {
        "the key": _outcome(_tag(session, b, key)),
        "another": _outcome(_tag(session, b, "link-peer-selftest-yes")),
        "a new group with the key": _outcome(lambda: bench.group(sdks=session, tags={key: "x"})),
    }
    expected = {"the key": "denied", "another": "allowed", "a new group with the key": "denied"}
    return _either(outcomes, expected, dict.fromkeys(outcomes, "allowed"))


@section.row(
    52,
    Need.ROLE,
    assumed="RAM passes `acs:RequestTag/<key>` for UntagResources, and for keys that contain dots",
    depends="the roles may write and remove one tag key only; a second line of defence",
    test="as in #30 with the key `link-managed.prod.<home uid>` (must be allowed) and with another key (must be denied); the same with `aliyun ecs UntagResources`",
    expected="allowed with the key, denied with another, for both actions; or denied with both, which RAM then does not know",
)
def dotted_request_tags(bench: Bench) -> Seen:
    """An Allow on one key with dots, tried with that key and another, for tagging and untagging."""
    b, key, other = bench.group(), f"link-peer-selftest.{bench.run}.{bench.account}", "link-peer-selftest.other"
    session = bench.session(_only(key))
    outcomes = {
        "tag the key": _outcome(_tag(session, b, key)),
        "tag another": _outcome(_tag(session, b, other)),
        "untag the key": _outcome(lambda: session.ecs.untag("securitygroup", b, key)),
        "untag another": _outcome(lambda: session.ecs.untag("securitygroup", b, other)),
    }
    expected = {what: "allowed" if what.endswith("key") else "denied" for what in outcomes}
    return _either(outcomes, expected, dict.fromkeys(outcomes, "denied"))


def _either(outcomes: dict[str, str], *expected: dict[str, str]) -> Seen:
    """One of several expected outcomes."""
    return _seen(outcomes, outcomes if outcomes in expected else expected[0])


def _only(key: str) -> dict[str, Any]:
    """An Allow to tag and untag with one key, as the function role has it."""
    return {
        "Effect": "Allow",
        "Action": ["ecs:TagResources", "ecs:UntagResources"],
        "Resource": ON_GROUPS,
        "Condition": {"StringLike": {f"acs:RequestTag/{key}": ["*"]}},
    }


@section.row(
    85,
    Need.ROLE,
    assumed="A request with two tag keys is denied if a Deny names one of them, though an Allow names the other",
    depends="no caller of the function role can write `link-accept` beside the managed tag",
    test="`aliyun ecs TagResources $R --ResourceType securitygroup --ResourceId.1 $B --Tag.1.Key link-managed.prod.<home uid> --Tag.1.Value true --Tag.2.Key link-accept --Tag.2.Value '*'` with the function role's keys",
    expected="denied; the report says whether a second key that no statement names passes too",
)
def two_request_tags(bench: Bench) -> Seen:
    """Two keys in one request: one that an Allow names, with one that a Deny names, and with one that nothing names."""
    b, key, no = bench.group(), f"link-peer-selftest.{bench.run}", "link-peer-selftest-no"
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
        "with an unnamed key": _outcome(_tag(session, b, key, "link-peer-selftest.other")),
    }
    text = ", ".join(f"{what}: {how}" for what, how in outcomes.items())
    return Seen(text, outcomes["with a denied key"] == "denied", outcomes)  # all are where RAM knows no key: see #52


section.by_hand(
    31,
    why="needs a resource directory with a control policy",
    assumed="`acs:PrincipalARN` works in a control policy for ECS, for assumed roles",
    depends="the exemption for owners",
    test="the deny as a control policy with the exemption; then the `TagResources` of #28 once with an owner role's keys and once with another role's",
    expected="allowed, then denied",
    cleanup="detach and delete the control policy",
)


@section.row(
    32,
    Need.ROLE,
    assumed="A Deny on `ecs:SecurityGroupSourceCidrIps` 0.0.0.0/0 stops it alone and among several permissions, and lets group rules pass",
    depends="a second line of defence: the code writes only groups and /32",
    test="*write B* with the role's keys and `--Permissions.1.SourceCidrIp 0.0.0.0/0`, then as the second of two permissions, then with a group, then with `0.0.0.0/1`",
    expected="denied, denied, allowed; the report has `0.0.0.0/1`",
)
def source_addresses(bench: Bench) -> Seen:
    """Rules in a session that may not open to the world. The group has no members."""
    a, b = bench.group(), bench.group()
    everywhere = {"StringEquals": {"ecs:SecurityGroupSourceCidrIps": ["0.0.0.0/0", "::/0"]}}
    deny = {"Effect": "Deny", "Action": ["ecs:AuthorizeSecurityGroup"], "Resource": ["*"], "Condition": everywhere}
    session = bench.session(EVERYTHING, deny)
    world, group = {"source_cidr_ip": "0.0.0.0/0"}, {"source_group_id": a}
    tries: dict[str, list[dict[str, str]]] = {
        "alone": [world],
        "second": [{"source_cidr_ip": "10.0.0.1/32"}, world],
        "a group": [group],
        "half of the world": [{"source_cidr_ip": "0.0.0.0/1"}],
    }
    outcomes = {
        what: _outcome(lambda rules=rules: bench.authorize(b, *rules, sdks=session))  # type: ignore[misc]
        for what, rules in tries.items()
    }
    text = ", ".join(f"{what}: {how}" for what, how in outcomes.items())
    fits = (outcomes["alone"], outcomes["second"], outcomes["a group"]) == ("denied", "denied", "allowed")
    return Seen(text, fits, outcomes)


@section.row(
    33,
    Need.ROLE,
    assumed="`DescribeInstances` and `DescribeSecurityGroups` without ids are allowed by `instance/*` and `securitygroup/*`, `DescribeNetworkInterfaces` by `eni/*`",
    depends="both roles",
    test="`link-peer sweep --dry-run` with the role's keys",
    expected="each shows as much as the person's own keys do",
)
def lists_by_resource(bench: Bench) -> Seen:
    """How many resources each list shows in a session with the resources of our roles, and with the person's keys."""
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
    words, fits = [], True
    for kind, (action, operation, many, one) in lists.items():
        session = bench.session({"Effect": "Allow", "Action": [action], "Resource": [f"acs:ecs:*:*:{kind}/*"]})
        counts: list[int] = []

        def count(sdks: Sdks, operation: str = operation, many: str = many, one: str = one) -> int:
            return len(getattr(getattr(sdks.ask(operation, max_results=100), many), one) or [])

        code = code_of(lambda count=count, counts=counts: counts.append(count(session)))  # type: ignore[misc]  # noqa: B023
        own = count(bench.sdks)
        words.append(f"{kind}: {code or counts[0]} of {own}")
        fits = fits and counts == [own]
    return Seen(", ".join(words), fits)


section.by_hand(
    34,
    why="needs the deployed functions",
    assumed="The function role needs permission for the function logstore in FC 3.0",
    depends="the policy grants it",
    test='`aliyun ram CreatePolicyVersion --PolicyName link-peer-fc --SetAsDefault true --PolicyDocument "$(cat without-log.json)"`: deploy/ram-function-role.json without that statement; `s invoke sweep`; `s logs sweep`',
    expected="no log; with the statement again, a log",
    cleanup="`aliyun ram SetDefaultPolicyVersion` to the version before; delete the new one",
)


@section.row(
    35,
    Need.ROLE,
    assumed="`mns:SendMessage` on `/queues/<name>/messages` and `log:PostLogStoreLogs` on `project/…/logstore/…` are enough to send and to write",
    depends="the function role's policy",
    test="`link-peer request … --wait` with the requester's keys; the audit log after an event",
    expected="both allowed; another queue and another logstore denied",
    cleanup="delete the queues and the log project",
)
def send_and_write(bench: Bench) -> Seen:
    """A message and a log in a session that may do just that, then on another queue."""
    from aliyun.log.logitem import LogItem
    from aliyun.log.putlogsrequest import PutLogsRequest
    from mns.queue import Message

    (project, logstore), queue, other = bench.logstore(), bench.queue(), bench.queue()
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
        "another queue": _outcome(lambda: bench.queue_client(other, session).send_message(Message("x"))),
    }
    fits = (outcomes["write"], outcomes["send"]) == ("allowed", "allowed") and outcomes["another queue"] != "allowed"
    return Seen(", ".join(f"{what}: {how}" for what, how in outcomes.items()), fits, outcomes)


@section.row(
    48,
    assumed="ROS: `ALIYUN::RAM::Role` accepts `Condition` in the trust policy, and a condition that is a `Ref` to a parameter of type `Json`",
    depends="`deploy/peer-account.yaml`",
    test='`aliyun ros ValidateTemplate --RegionId cn-qingdao --TemplateBody "$(cat deploy/peer-account.yaml)"`, then create, then #26',
    expected="the template is valid (creating it is left to a person)",
    cleanup="delete the stack",
)
def ros_template(bench: Bench) -> Seen:
    """ValidateTemplate of the shipped template."""
    from link_peer_deploy.project import ROOT

    body = (ROOT / "deploy" / "peer-account.yaml").read_text(encoding="utf-8")
    code = code_of(lambda: bench.sdks.raw("ros", "ValidateTemplate", RegionId=bench.region, TemplateBody=body))
    if code.startswith("InvalidVersion"):
        raise NotAnswered("ROS is not offered here")
    return Seen(code or "valid", not code)
