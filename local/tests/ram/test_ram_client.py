"""RAM through its official client: roles, policies and their versions, and who has which."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from alibabacloud_ram20150501.client import Client

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Key
from aliyun_local.core.principals import User
from aliyun_local.eventbridge.linked_roles import SERVICES
from clients import HOME, PEER, ask, config, key_of, refusal, refused

Call = Callable[..., Any]


def document(action: str = "ecs:Describe*", **fields: Any) -> str:
    return json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*", **fields}]})


def trust(*principals: str) -> str:
    trust_statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": list(principals)}}
    return json.dumps({"Version": "1", "Statement": [trust_statement]})


TRUST = trust(f"acs:ram::{HOME}:root")


def ram_of(key: Key) -> Call:
    """`ram("CreateRole", role_name=…)` calls RAM with these keys and returns the body of the answer."""
    return functools.partial(ask, Client(config(key)))


@pytest.fixture(name="ram")
def _ram(local_cloud: LocalCloud) -> Call:
    """RAM with the keys of the home account's administrator."""
    return ram_of(key_of(local_cloud))


def make_role(ram: Call, name: str = "auditor") -> Any:
    return ram("CreateRole", role_name=name, assume_role_policy_document=TRUST, description="looks").role


def make_policy(ram: Call, name: str = "look", text: str = "") -> Any:
    return ram("CreatePolicy", policy_name=name, policy_document=text or document(), description="to look").policy


@pytest.fixture(name="attached")
def _attached(ram: Call) -> dict[str, str]:
    """A new role `auditor` with the new policy `look`, as they are named to attach and detach it."""
    make_role(ram)
    make_policy(ram)
    attached = {"policy_type": "Custom", "policy_name": "look", "role_name": "auditor"}
    ram("AttachPolicyToRole", **attached)
    return attached


# roles


def test_a_role_is_shown_as_it_was_made(ram: Call) -> None:
    """CreateRole and GetRole answer with its ARN, trust policy and times. Another account's roles do not exist."""
    role, role_shown = make_role(ram), ram("GetRole", role_name="auditor").role
    assert role.arn == role_shown.arn == f"acs:ram::{HOME}:role/auditor"
    assert (role_shown.role_name, role_shown.description, role_shown.max_session_duration) == ("auditor", "looks", 3600)
    assert role.assume_role_policy_document == role_shown.assume_role_policy_document == TRUST
    assert role.create_date == role_shown.create_date == role_shown.update_date == "2026-11-25T00:00:00Z"
    assert role.role_id == role_shown.role_id
    assert refusal(ram, "GetRole", role_name="wants") == ("EntityNotExist.Role", 404)


def test_a_role_is_changed(local_cloud: LocalCloud, ram: Call) -> None:
    """UpdateRole changes what it names and leaves the rest."""
    make_role(ram)
    local_cloud.clock.sleep(60)
    peer_trust = trust(f"acs:ram::{PEER}:root")
    changed = ram("UpdateRole", role_name="auditor", new_assume_role_policy_document=peer_trust).role
    assert (changed.assume_role_policy_document, changed.description) == (peer_trust, "looks")
    changed = ram("UpdateRole", role_name="auditor", new_description="audits", new_max_session_duration=7200).role
    assert (changed.description, changed.max_session_duration) == ("audits", 7200)
    assert ram("GetRole", role_name="auditor").role.update_date == "2026-11-25T00:01:00Z"
    with refused("MalformedPolicyDocument", 400):
        ram("UpdateRole", role_name="auditor", new_assume_role_policy_document="{}", new_description="x")
    assert ram("GetRole", role_name="auditor").role.description == "audits"


def test_a_role_is_deleted_once_nothing_is_attached(ram: Call, attached: dict[str, str]) -> None:
    """DeleteConflict.Role.Policy until then, and its name is free afterwards."""
    assert refusal(ram, "DeleteRole", role_name="auditor") == ("DeleteConflict.Role.Policy", 409)
    ram("DetachPolicyFromRole", **attached)
    ram("DeleteRole", role_name="auditor")
    assert refusal(ram, "GetRole", role_name="auditor") == ("EntityNotExist.Role", 404)
    make_role(ram)


def test_roles_are_listed_by_page(ram: Call) -> None:
    """By name; the marker leads to the next page."""
    make_role(ram)
    names, marker = [], None
    for _ in range(5):
        page = ram("ListRoles", max_items=2, marker=marker)
        names += [role.role_name for role in page.roles.role]
        marker = page.marker
        assert page.is_truncated is (marker is not None)
    assert names == [*sorted(SERVICES), "auditor", "functions", "operator", "reader"]
    assert marker is None
    assert refusal(ram, "ListRoles", max_items=1001) == ("InvalidParameter.MaxItems", 400)


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"role_name": "functions"}, "EntityAlreadyExists.Role", 409),
        ({"role_name": None}, "MissingParameter.RoleName", 400),
        ({"role_name": "a_b"}, "InvalidParameter.RoleName.InvalidChars", 400),
        ({"role_name": "a" * 65}, "InvalidParameter.RoleName.Length", 400),
        ({"description": "d" * 1025}, "InvalidParameter.Description.Length", 400),
        ({"max_session_duration": 3599}, "InvalidParameter.MaxSessionDuration", 400),
        ({"max_session_duration": 43201}, "InvalidParameter.MaxSessionDuration", 400),
        ({"assume_role_policy_document": None}, "MissingParameter.AssumeRolePolicyDocument", 400),
        ({"assume_role_policy_document": document()}, "MalformedPolicyDocument", 400),
        ({"assume_role_policy_document": "x" * 2049}, "InvalidParameter.AssumeRolePolicyDocument.Length", 400),
    ],
)
def test_an_invalid_role_is_refused(ram: Call, fields: dict[str, Any], code: str, status: int) -> None:
    with refused(code, status):
        ram("CreateRole", **{"role_name": "auditor", "assume_role_policy_document": TRUST, **fields})


# policies


def test_a_policy_is_shown_with_its_default_version(ram: Call) -> None:
    """GetPolicy has the document, and how many have it."""
    policy = make_policy(ram)
    assert (policy.policy_name, policy.policy_type, policy.default_version) == ("look", "Custom", "v1")
    policy_shown = ram("GetPolicy", policy_type="Custom", policy_name="look")
    assert policy_shown.default_policy_version.policy_document == document()
    assert (policy_shown.default_policy_version.version_id, policy_shown.default_policy_version.is_default_version) == (
        "v1",
        True,
    )
    assert (policy_shown.policy.attachment_count, policy_shown.policy.description) == (0, "to look")
    reader = ram("GetPolicy", policy_type="Custom", policy_name="reader-only").policy
    assert reader.attachment_count == 1


def test_a_version_takes_effect_when_it_is_the_default(ram: Call) -> None:
    """Another one can be put back."""
    make_policy(ram)
    created = ram(
        "CreatePolicyVersion", policy_name="look", policy_document=document("ecs:List*"), set_as_default=False
    )
    assert (created.policy_version.version_id, created.policy_version.is_default_version) == ("v2", False)
    assert ram("GetPolicy", policy_type="Custom", policy_name="look").policy.default_version == "v1"
    ram("SetDefaultPolicyVersion", policy_name="look", version_id="v2")
    policy_version = ram("GetPolicyVersion", policy_type="Custom", policy_name="look", version_id="v2").policy_version
    assert (policy_version.is_default_version, policy_version.policy_document) == (True, document("ecs:List*"))
    with refused("DeleteConflict.Policy.Version.Default", 409):
        ram("DeletePolicyVersion", policy_name="look", version_id="v2")
    ram("DeletePolicyVersion", policy_name="look", version_id="v1")
    versions = ram("ListPolicyVersions", policy_type="Custom", policy_name="look").policy_versions.policy_version
    assert [version.version_id for version in versions] == ["v2"]
    with refused("EntityNotExist.Policy.Version", 404):
        ram("SetDefaultPolicyVersion", policy_name="look", version_id="v1")


def test_a_policy_has_at_most_five_versions(ram: Call) -> None:
    """The sixth is refused, or with a RotateStrategy takes the place of the oldest that is not the default."""
    make_policy(ram)
    for _ in range(4):
        ram("CreatePolicyVersion", policy_name="look", policy_document=document(), set_as_default=False)
    with refused("LimitExceeded.Policy.Version", 409):
        ram("CreatePolicyVersion", policy_name="look", policy_document=document(), set_as_default=True)
    rotate = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
    ram("CreatePolicyVersion", policy_name="look", policy_document=document(), rotate_strategy=rotate)
    versions = ram("ListPolicyVersions", policy_type="Custom", policy_name="look").policy_versions.policy_version
    assert [version.version_id for version in versions] == ["v1", "v3", "v4", "v5", "v6"]


def test_a_policy_is_deleted_once_nobody_has_it(ram: Call, attached: dict[str, str]) -> None:
    """And once it has one version, unless all are to go."""
    with refused("DeleteConflict.Role.Policy", 409):
        ram("DeletePolicy", policy_name="look", cascading_delete=True)
    ram("DetachPolicyFromRole", **attached)
    ram("CreatePolicyVersion", policy_name="look", policy_document=document())
    assert refusal(ram, "DeletePolicy", policy_name="look") == ("DeleteConflict.Policy.Version", 409)
    ram("DeletePolicy", policy_name="look", cascading_delete=True)
    assert refusal(ram, "GetPolicy", policy_type="Custom", policy_name="look") == ("EntityNotExist.Policy", 404)


def test_a_policy_is_attached_once(ram: Call, attached: dict[str, str]) -> None:
    """ListPoliciesForRole and ListEntitiesForPolicy show it, custom or of the platform."""
    assert refusal(ram, "AttachPolicyToRole", **attached) == ("EntityAlreadyExists.Role.Policy", 409)
    ram("AttachPolicyToRole", policy_type="System", policy_name="AliyunSTSAssumeRoleAccess", role_name="auditor")
    of_role = ram("ListPoliciesForRole", role_name="auditor").policies.policy
    assert [(policy.policy_type, policy.policy_name, policy.default_version) for policy in of_role] == [
        ("Custom", "look", "v1"),
        ("System", "AliyunSTSAssumeRoleAccess", "v1"),
    ]
    entities = ram("ListEntitiesForPolicy", policy_type="Custom", policy_name="look")
    assert [role.role_name for role in entities.roles.role] == ["auditor"]
    assert (entities.users.user, entities.groups.group) == ([], [])
    ram("DetachPolicyFromRole", **attached)
    assert refusal(ram, "DetachPolicyFromRole", **attached) == ("EntityNotExist.Role.Policy", 404)


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"policy_name": "functions-only"}, "EntityAlreadyExists.Policy", 409),
        ({"policy_name": "a.b"}, "InvalidParameter.PolicyName.InvalidChars", 400),
        ({"policy_name": "a" * 129}, "InvalidParameter.PolicyName.Length", 400),
        ({"policy_document": "{"}, "MalformedPolicyDocument", 400),
        ({"policy_document": trust("acs:ram::1:root")}, "MalformedPolicyDocument", 400),
        ({"policy_document": document().ljust(6145)}, "InvalidParameter.PolicyDocument.Length", 400),
        ({"policy_document": None}, "MissingParameter.PolicyDocument", 400),
    ],
)
def test_an_invalid_policy_is_refused(ram: Call, fields: dict[str, Any], code: str, status: int) -> None:
    with refused(code, status):
        ram("CreatePolicy", **{"policy_name": "look", "policy_document": document(), **fields})


def test_a_policy_has_at_most_6144_characters(ram: Call) -> None:
    """Characters, not bytes, and the same of every version."""
    longest = document("ecs:说*").ljust(6144)
    ram("CreatePolicy", policy_name="look", policy_document=longest)
    with refused("InvalidParameter.PolicyDocument.Length", 400):
        ram("CreatePolicyVersion", policy_name="look", policy_document=longest + " ")


@pytest.mark.parametrize("most", [5, 10])
def test_a_role_has_so_many_policies_of_its_own_account(local_cloud: LocalCloud, ram: Call, most: int) -> None:
    """By either document. System policies count apart."""
    local_cloud.knobs.change({"policies_per_role": most})
    make_role(ram)
    for number in range(most + 1):
        make_policy(ram, f"look-{number}")
    for number in range(most):
        ram("AttachPolicyToRole", policy_type="Custom", policy_name=f"look-{number}", role_name="auditor")
    with refused("LimitExceeded.Role.Policy", 409):
        ram("AttachPolicyToRole", policy_type="Custom", policy_name=f"look-{most}", role_name="auditor")
    ram("AttachPolicyToRole", policy_type="System", policy_name="AdministratorAccess", role_name="auditor")


def test_a_system_policy_cannot_be_changed(ram: Call) -> None:
    """The account has no policy of that name."""
    with refused("EntityNotExist.Policy", 404):
        ram("CreatePolicyVersion", policy_name="AdministratorAccess", policy_document=document())
    assert refusal(ram, "DeletePolicy", policy_name="AdministratorAccess") == ("EntityNotExist.Policy", 404)
    assert refusal(ram, "GetPolicy", policy_type="Own", policy_name="look") == ("InvalidParameter.PolicyType", 400)


# users


def person(cloud: LocalCloud, ram: Call, text: str) -> Key:
    """Keys of a user with the new policy `of-ana`, which is this document."""
    make_policy(ram, "of-ana", text)
    return cloud.identity.add_key(User(HOME, "ana", {("Custom", "of-ana"): 0}))


def test_a_user_may_do_what_the_attached_policies_allow(local_cloud: LocalCloud, ram: Call) -> None:
    """A new version takes effect. A policy that a user has is not deleted."""
    theirs = ram_of(person(local_cloud, ram, document("ram:GetRole")))
    assert theirs("GetRole", role_name="functions").role.role_name == "functions"
    assert refusal(theirs, "DeleteRole", role_name="functions") == ("NoPermission", 403)
    ram("CreatePolicyVersion", policy_name="of-ana", policy_document=document("ram:ListRoles"), set_as_default=True)
    assert refusal(theirs, "GetRole", role_name="functions") == ("NoPermission", 403)
    assert theirs("ListRoles").roles.role
    entities = ram("ListEntitiesForPolicy", policy_type="Custom", policy_name="of-ana")
    assert [user.user_name for user in entities.users.user] == ["ana"]
    assert refusal(ram, "DeletePolicy", policy_name="of-ana") == ("DeleteConflict.Policy.User", 409)


@pytest.mark.parametrize(
    ("allowed", "policy"),
    [
        ("acs:ram:*:1000000000000001:role/auditor", "look"),
        ("acs:ram:*:1000000000000001:policy/look", "look"),
        ("acs:ram:*:1000000000000001:*", "AdministratorAccess"),
    ],
)
def test_attaching_needs_both_the_role_and_the_policy(
    local_cloud: LocalCloud, ram: Call, allowed: str, policy: str
) -> None:
    """So who may manage one role cannot give it every policy."""
    make_role(ram)
    make_policy(ram)
    theirs = ram_of(person(local_cloud, ram, document("ram:AttachPolicyToRole", Resource=allowed)))
    kind = "System" if policy.startswith("A") else "Custom"
    with refused("NoPermission", 403):
        theirs("AttachPolicyToRole", policy_type=kind, policy_name=policy, role_name="auditor")


def test_whether_a_trust_policy_may_name_a_role_that_does_not_exist_is_a_knob(
    local_cloud: LocalCloud, ram: Call
) -> None:
    """A role of another account, too; when it is created, and when it is changed."""
    missing = trust(f"acs:ram::{PEER}:role/none")
    ram("CreateRole", role_name="early", assume_role_policy_document=missing)
    local_cloud.knobs.trusts_anyone = False
    with refused("MalformedPolicyDocument", 400):
        ram("CreateRole", role_name="late", assume_role_policy_document=missing)
    with refused("MalformedPolicyDocument", 400):
        ram("UpdateRole", role_name="early", new_assume_role_policy_document=missing)
    ram("CreateRole", role_name="late", assume_role_policy_document=trust(f"acs:ram::{HOME}:role/early"))
