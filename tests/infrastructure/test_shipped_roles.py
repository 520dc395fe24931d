"""What the shipped roles may do on every service, and what they may not, through the official clients."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_sts20150401.client import Client as Sts
from aliyun_local.api import OFFERED, Access, Group, Key, LocalCloud, Role, like, policy_text
from link_peer_deploy.documents import compact, owners_denial

from tests import pages
from tests.functional.lab import HOME, PEER
from tests.infrastructure.clients import ask, config, key_of, permission, refusal, refused

FUNCTION, READER, OPERATOR = (f"acs:ram::{HOME}:role/link-peer-{name}" for name in ("fc", "reader", "operator"))
PEER_ROLE, PEER_READER, PEER_CLOSER = (f"acs:ram::{PEER}:role/link-peer{name}" for name in ("", "-reader", "-closer"))
ROLES = (FUNCTION, READER, OPERATOR, PEER_ROLE, PEER_READER, PEER_CLOSER)
MANAGED = f"link-managed.prod.{HOME}"
EXTERNAL_ID = "link-peer-local-example"


class As:
    """The services, with a session of a role; its account has a group with a rule."""

    def __init__(self, cloud: LocalCloud, role: str, *, mfa: bool = True) -> None:
        self.cloud = cloud
        self.account = role.split(":")[3]
        self.key: Key = cloud.identity.issue(cloud.identity.roles[role], "test", cloud.clock.now() + 3600, mfa=mfa)
        self.group: Group = cloud.ecs.create_group(
            self.account, cloud.world.vpcs[0 if self.account == HOME else 1]["id"]
        )
        self.ecs = Ecs(config(self.key))

    # ECS

    def revoke(self) -> None:
        self._call("RevokeSecurityGroup", permissions=[permission(source_cidr_ip="10.0.0.1")])

    def authorize(self, *sources: str) -> None:
        permissions = [permission(source_cidr_ip=source) for source in sources or ["10.0.0.1"]]
        self._call("AuthorizeSecurityGroup", permissions=permissions)

    def revoke_egress(self) -> None:
        self._call("RevokeSecurityGroupEgress", permissions=[permission(dest_cidr_ip="10.0.0.1")])

    def egress(self) -> None:
        self._call("AuthorizeSecurityGroupEgress", permissions=[permission(dest_cidr_ip="10.0.0.1")])

    def _call(self, action: str, **fields: Any) -> None:
        ask(self.ecs, action, security_group_id=self.group.id, **fields)

    def tag(self, *keys: str, kind: str = "securitygroup") -> None:
        tags = [{"key": key, "value": "true"} for key in keys]
        ask(self.ecs, "TagResources", resource_type=kind, resource_id=[self.group.id], tag=tags)

    def untag(self, *keys: str, **options: Any) -> None:
        resources = {"resource_type": "securitygroup", "resource_id": [self.group.id]}
        ask(self.ecs, "UntagResources", tag_key=list(keys) or None, **resources, **options)

    def delete_group(self) -> None:
        self._call("DeleteSecurityGroup")

    def contents(self) -> tuple[Any, Any]:
        """The tags and rules of the group."""
        now = self.cloud.clock.now()
        return dict(self.group.tags.at(now)), self.group.rules.at(now)

    def show(self) -> None:
        self._call("DescribeSecurityGroupAttribute")

    # the other services

    def assume(self, role: str) -> None:
        ask(Sts(config(self.key)), "AssumeRole", role_arn=role, role_session_name="test", external_id=EXTERNAL_ID)


CHANGES: dict[str, Callable[[As], None]] = {
    "revoke": As.revoke,
    "authorize": As.authorize,
    "revoke egress": As.revoke_egress,
    "authorize egress": As.egress,
    "open to the world": lambda caller: caller.authorize("0.0.0.0/0"),
    "open to the world beside another": lambda caller: caller.authorize("10.0.0.1", "0.0.0.0/0"),
    "lock": lambda caller: caller.tag("link-lock"),
    "lock and consent": lambda caller: caller.tag("link-lock", "link-accept"),
    "unlock": lambda caller: caller.untag("link-lock"),
    "tag an instance": lambda caller: caller.tag(MANAGED, kind="instance"),
    "untag all": lambda caller: caller.untag(all=True),
    "delete": As.delete_group,
}
OWN_TAGS = [(MANAGED,), (f"{MANAGED}.instances",), (MANAGED, f"{MANAGED}.instances")]
OTHER_TAGS = [
    ("link-accept",),
    (MANAGED, "link-accept"),
    (MANAGED, "link-accept.9"),
    ("link-accept", MANAGED),
    ("link-managed.prod.1000000000000009",),
    (f"link-managed.dev.{HOME}",),
    (f"{MANAGED}.x",),
    ("owner",),
]
"""Consent, also beside a tag that may be written, and what is of another home or deployment."""
CHANGES |= {f"tag {' '.join(keys)}": lambda caller, keys=keys: caller.tag(*keys) for keys in OWN_TAGS + OTHER_TAGS}
CHANGES |= {f"untag {' '.join(keys)}": lambda caller, keys=keys: caller.untag(*keys) for keys in OWN_TAGS + OTHER_TAGS}
WRITES = {
    "revoke",
    "authorize",
    "revoke egress",
    "authorize egress",
    *(f"{verb} {' '.join(keys)}" for verb in ("tag", "untag") for keys in OWN_TAGS),
}
MAY = {
    FUNCTION: WRITES,
    OPERATOR: {*WRITES, "lock", "unlock"},
    PEER_ROLE: WRITES,
    READER: set(),
    PEER_READER: set(),
    PEER_CLOSER: {"revoke", "revoke egress", "lock", "unlock"},
}


each_role = pytest.mark.parametrize("role", ROLES, ids=lambda arn: arn.split("::")[1])


@each_role
def test_who_may_change_groups(local_cloud: LocalCloud, role: str) -> None:
    """Readers nothing; nobody consents, deletes groups, opens them to the world, or tags instances: a wish is a
    person's."""
    for name, change in CHANGES.items():
        caller = As(local_cloud, role)
        caller.show()
        before = caller.contents()
        with nullcontext() if name in MAY[role] else refused("Forbidden.RAM", 403):
            change(caller)
        assert name in MAY[role] or caller.contents() == before, name


ENTERS = {(FUNCTION, PEER_ROLE), (OPERATOR, PEER_ROLE), (READER, PEER_READER), (OPERATOR, PEER_CLOSER)}


@each_role
def test_who_may_take_on_which_role(local_cloud: LocalCloud, role: str) -> None:
    """Readers become readers, and nobody else anything that would allow more; not even their own role again."""
    caller = As(local_cloud, role)
    for target in ROLES:
        with nullcontext() if (role, target) in ENTERS else refused("NoPermission", 403):
            caller.assume(target)


def test_closing_needs_a_second_factor(local_cloud: LocalCloud) -> None:
    """Which a session has if the keys that assumed it had, where RAM passes that on; a user's access key never has."""
    As(local_cloud, OPERATOR).assume(PEER_CLOSER)
    assert refusal(lambda: As(local_cloud, OPERATOR, mfa=False).assume(PEER_CLOSER)) == ("NoPermission", 403)
    for passed_on in (True, False):
        local_cloud.knobs.mfa_in_sessions = passed_on
        answer = ask(Sts(config(key_of(local_cloud))), "AssumeRole", role_arn=OPERATOR, role_session_name="test")
        assert local_cloud.identity.keys[answer.credentials.access_key_id].caller.mfa is passed_on


LOG, QUEUES = f"acs:log:cn-qingdao:{HOME}:project/link-peer-{HOME}-cn-qingdao", f"acs:mns:cn-qingdao:{HOME}:/queues"
CALLS = f"acs:fc:cn-qingdao:{HOME}:functions"
OF_HOME = {FUNCTION, READER, OPERATOR}


@pytest.mark.parametrize(
    ("action", "resource", "roles"),
    [
        *(("log:GetLogStoreLogs", f"{LOG}/logstore/{logstore}", {READER, OPERATOR}) for logstore in ("decisions", "decisions-operators")),
        ("log:GetLogStoreLogs", f"acs:log:cn-qingdao:{HOME}:project/link-peer-other/logstore/decisions", set()),
        ("log:PostLogStoreLogs", f"{LOG}/logstore/decisions", {FUNCTION}),
        ("log:PostLogStoreLogs", f"{LOG}/logstore/decisions-operators", {OPERATOR}),
        *((f"log:{operation}", f"{LOG}/logstore/decisions", set()) for operation in ("DeleteLogStore", "UpdateLogStore", "DeleteIndex")),
        ("log:DeleteProject", LOG, set()),
        ("mns:SendMessage", f"{QUEUES}/link-peer-requests/messages", {FUNCTION, OPERATOR}),
        ("mns:SendMessage", f"{QUEUES}/link-peer-requests-{PEER}/messages", {FUNCTION}),
        ("mns:SendMessage", f"{QUEUES}/orders/messages", set()),
        ("mns:PeekMessage", f"{QUEUES}/link-peer-dead-letters/messages", {FUNCTION, READER, OPERATOR}),
        ("mns:PeekMessage", f"{QUEUES}/link-peer-sweeps/messages", {READER, OPERATOR}),
        ("mns:PeekMessage", f"{QUEUES}/link-peer-requests/messages", set()),
        ("mns:ReceiveMessage", f"{QUEUES}/link-peer-requests-{PEER}/messages", {FUNCTION}),
        *(("mns:ReceiveMessage", f"{QUEUES}/link-peer-{queue}/messages", set()) for queue in ("requests", "dead-letters", "sweeps")),
        ("fc:InvokeFunction", f"{CALLS}/link-peer-sweep", {OPERATOR}),
        *(("fc:InvokeFunction", f"{CALLS}/{function}", set()) for function in ("payroll", "link-peer-sweep-other", "link-peer-cross-account")),
    ],
)  # fmt: skip
def test_who_may_use_logs_queues_and_functions(
    local_cloud: LocalCloud, action: str, resource: str, roles: set[str]
) -> None:
    """Functions and operators write a log each, people read both, and nobody deletes one. Only the functions receive
    messages, on queues that prove who asks, and only they put a request back there. Operators alone invoke functions,
    but not the one that takes requests: who invokes that one may state any queue."""
    access, identity = Access(action, [resource]), local_cloud.identity
    assert {role for role in OF_HOME if identity.permitted(As(local_cloud, role).key.caller, access)} == roles


def test_only_the_functions_send_to_the_queue_of_sweeps(local_cloud: LocalCloud) -> None:
    """Whatever else people are allowed: what stands on it is carried out as the timer's own word."""
    access, identity = Access("mns:SendMessage", [f"{QUEUES}/link-peer-sweeps/messages"]), local_cloud.identity
    for role in OF_HOME:
        wide = policy_text([{"Effect": "Allow", "Action": ["mns:*"], "Resource": "*"}])
        identity.add_role(identity.roles[role], {"wide": wide})
        assert identity.permitted(As(local_cloud, role).key.caller, access) is (role == FUNCTION)


CODES = {"sls": "log"}
KNOWN = sorted({f"{CODES.get(service, service)}:{action}" for service, names in OFFERED.items() for action in names})
"""Every action of the local cloud, as RAM names it or as the API does."""
TABLE = [
    (f"acs:ram::{HOME if where == 'home' else PEER}:role/{name}", *(re.findall(r"`([^`]+)`", cell) for cell in cells))
    for name, where, *cells in re.findall(
        r"^\| `([\w-]+)`, (home|other) \| may \| (.*?) \| (.*?) \| (.*?) \|$",
        pages.generator()["roles"](),
        re.MULTILINE,
    )
]
"""What roles may do, as the site says: role, actions, resources, and condition keys of which one must be in the
call."""


@each_role
def test_a_role_may_do_what_the_table_says_and_nothing_else(local_cloud: LocalCloud, role: str) -> None:
    """Every action that the local cloud knows is tried: on no resource, on one of each kind that any role may touch,
    and on the same in an account that takes no part."""
    caller = As(local_cloud, role).key.caller
    rows = [row for row in TABLE if row[0] == role]
    context = {key: ["true"] for *_, keys in rows for key in keys}
    ours = {pattern.replace("*", "x") for _, _, patterns, _ in TABLE for pattern in patterns} - {"x"}
    touched = sorted(ours | {resource.replace(HOME, "9" * 16).replace(PEER, "9" * 16) for resource in ours})
    for action in {*KNOWN, *(action for _, actions, *_ in TABLE for action in actions)}:
        code = action.partition(":")[0]
        for resource in (
            None,
            *(resource_name for resource_name in touched if resource_name.split(":")[1] in (code, "ram")),
        ):
            patterns = {
                pattern
                for _, actions, resource_patterns, _ in rows
                if action in actions
                for pattern in resource_patterns
            }
            allowed = any(pattern == "*" or like(pattern, resource or "") for pattern in patterns)
            access = Access(action, resource and [resource], context)
            assert local_cloud.identity.permitted(caller, access) is allowed, (action, resource)


@each_role
def test_no_role_tags_where_ram_does_not_know_the_key(local_cloud: LocalCloud, role: str) -> None:
    """Not even its own tag: no statement allows a call of which RAM cannot tell the tags."""
    local_cloud.knobs.request_tags = False
    for keys, call in itertools.product(OWN_TAGS + OTHER_TAGS, (As.tag, As.untag)):
        assert refusal(call, As(local_cloud, role), *keys) == ("Forbidden.RAM", 403)


CONSENTING = [*(f"link-accept{end}" for end in ("", *(f".{number}" for number in range(2, 10))))]
CONSENTING += ["link-egress", "link-egress.2", "link-egress.3"]
FOREIGN = ["acme-accept", "owner"]
"""Keys of another deployment's prefix, and of people: no policy of a role can name them all."""


@each_role
def test_what_may_be_tagged_in_pairs(local_cloud: LocalCloud, role: str) -> None:
    """RAM allows a call if one of its keys is allowed and none is denied. So no key that consents goes along with one
    that the role may write, in either order; a key that no policy denies does, which the threat model accepts."""
    principal = As(local_cloud, role)
    keys = [*CONSENTING, *FOREIGN, MANAGED, f"{MANAGED}.instances", "link-lock", "link-refuse", "link-refuse.close"]
    for call in (As.tag, As.untag):
        allowed = {key for key in keys if refusal(call, principal, key) == ("", 0)}
        assert allowed.isdisjoint([*CONSENTING, *FOREIGN])
        for pair in itertools.permutations(keys, 2):
            is_refused = refusal(call, principal, *pair) == ("Forbidden.RAM", 403)
            if not allowed.isdisjoint(pair) and allowed.union(FOREIGN).issuperset(pair):
                assert not is_refused, pair
            elif allowed.isdisjoint(pair) or not set(pair).isdisjoint(CONSENTING):
                assert is_refused, pair


def test_an_owner_cannot_move_a_group_in_or_out_of_a_set(local_cloud: LocalCloud) -> None:
    """With the policy that `check --deny-sets` writes: none of the sets' keys, alone or beside others; every other
    tag."""
    allowed = [{"Effect": "Allow", "Action": ["ecs:*", "tag:*"], "Resource": ["*"]}]
    policies = {"tagging": policy_text(allowed), "denial": compact(owners_denial(["env", "tier"]))}
    role = local_cloud.identity.add_role(Role(HOME, "owner", ""), policies)
    owner = As(local_cloud, role.arn)
    owner.tag("team")
    before = owner.contents()
    for keys in (("env",), ("tier",), ("team", "env"), ("env", "tier", "link-accept")):
        for call in (owner.tag, owner.untag):
            with refused("Forbidden.RAM", 403):
                call(*keys)
    assert owner.contents() == before
    owner.untag("team")
    assert owner.contents() != before
