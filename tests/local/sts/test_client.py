"""STS through its official client: who is calling, and who may assume which role for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import CreateSecurityGroupRequest, DescribeSecurityGroupsRequest
from alibabacloud_sts20150401.client import Client
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from link_peer_local.core.policy import Access
from link_peer_local.core.principals import Role, trust_text

from tests.local.clients import HOME, PEER, refused

PEER_ROLE = f"acs:ram::{PEER}:role/link-peer"
EXTERNAL_ID = "link-peer-local-example"


def client_of(cloud: LocalCloud, uid: str) -> Client:
    account = cloud.identity.accounts[uid]
    return client(account.access_key_id, account.access_key_secret)


def client(access_key_id: str, secret: str, token: str | None = None) -> Client:
    return Client(
        Config(access_key_id=access_key_id, access_key_secret=secret, security_token=token, region_id="cn-qingdao")
    )


def function_client(cloud: LocalCloud) -> Client:
    """A client with the keys of the home account's functions."""
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-fc"]
    key = cloud.identity.issue(role, "fc", cloud.clock.now() + 3600)
    return client(key.access_key_id, key.secret, key.token)


def assume(sts: Client, **changes: Any) -> Any:
    request = {"role_arn": PEER_ROLE, "role_session_name": "link-1", "external_id": EXTERNAL_ID, **changes}
    return sts.assume_role(AssumeRoleRequest(**request)).body


def refusal(sts: Client, **changes: Any) -> tuple[int, str]:
    with pytest.raises(ClientException) as refused:
        assume(sts, **changes)
    return refused.value.status_code, refused.value.code


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": statements})


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}


def test_an_accounts_keys_are_that_account(local_cloud: LocalCloud) -> None:
    """GetCallerIdentity of an account's keys names the account."""
    body = client_of(local_cloud, PEER).get_caller_identity().body
    assert (body.identity_type, body.account_id, body.arn) == ("Account", PEER, f"acs:ram::{PEER}:root")


def test_the_functions_role_enters_the_peer_account(local_cloud: LocalCloud) -> None:
    """A trusted role gets keys of the peer's role, and they act as that role."""
    keys = assume(function_client(local_cloud)).credentials
    body = client(keys.access_key_id, keys.access_key_secret, keys.security_token).get_caller_identity().body
    assert body.identity_type == "AssumedRoleUser"
    assert (body.account_id, body.arn) == (PEER, f"acs:ram::{PEER}:assumed-role/link-peer/link-1")
    assert body.principal_id == f"{body.role_id}:link-1"


def test_the_answer_names_the_session(local_cloud: LocalCloud) -> None:
    """AssumedRoleUser has the ARN and the id of the session."""
    user = assume(function_client(local_cloud)).assumed_role_user
    assert user.arn == f"acs:ram::{PEER}:assumed-role/link-peer/link-1"
    assert user.assumed_role_id.endswith(":link-1")


@pytest.mark.parametrize(("seconds", "expiration"), [(None, "2026-11-25T01:00:00Z"), (900, "2026-11-25T00:15:00Z")])
def test_keys_are_valid_as_long_as_requested(local_cloud: LocalCloud, seconds: int | None, expiration: str) -> None:
    """One hour by default; the credentials library can parse the expiration."""
    assert assume(function_client(local_cloud), duration_seconds=seconds).credentials.expiration == expiration


def test_keys_expire(local_cloud: LocalCloud) -> None:
    """Afterwards they are refused."""
    keys = assume(function_client(local_cloud), duration_seconds=900).credentials
    sts = client(keys.access_key_id, keys.access_key_secret, keys.security_token)
    assert isinstance(local_cloud.clock, VirtualClock)
    local_cloud.clock.advance(899)
    sts.get_caller_identity()
    local_cloud.clock.advance(1)
    with refused("InvalidSecurityToken.Expired"):
        sts.get_caller_identity()


@pytest.mark.parametrize("external_id", [None, "another-id"])
def test_the_external_id_must_be_the_roles(local_cloud: LocalCloud, external_id: str | None) -> None:
    """Without it a trusted caller is refused like an untrusted one."""
    assert refusal(function_client(local_cloud), external_id=external_id) == (403, "NoPermission")


def test_a_stranger_is_not_trusted(local_cloud: LocalCloud) -> None:
    """A role admits only whom its trust policy names, even with the right external id."""
    local_cloud.identity.add_account("1000000000000003", "c@aliyun.com")
    assert refusal(client_of(local_cloud, "1000000000000003")) == (403, "NoPermission")


def test_trusting_a_role_does_not_trust_its_account(local_cloud: LocalCloud) -> None:
    """Other principals of that account are refused."""
    assert refusal(client_of(local_cloud, HOME)) == (403, "NoPermission")
    assert assume(function_client(local_cloud)).credentials.access_key_id.startswith("STS.")


def test_trusting_a_service_admits_no_keys(local_cloud: LocalCloud) -> None:
    """A role for fc.aliyuncs.com cannot be assumed with keys, not even of its own account."""
    arn = f"acs:ram::{HOME}:role/link-peer-fc"
    assert refusal(client_of(local_cloud, HOME), role_arn=arn, external_id=None) == (403, "NoPermission")


def test_the_callers_own_policy_must_allow_it_too(local_cloud: LocalCloud) -> None:
    """A role without sts:AssumeRole cannot assume another one, even if that one trusts it."""
    role = f"acs:ram::{HOME}:role/link-peer-fc"
    local_cloud.identity.allow_only(role, ["ecs:*"])
    assert refusal(function_client(local_cloud)) == (403, "NoPermission")
    local_cloud.identity.allow_only(role, ["ecs:*", "sts:AssumeRole"])
    assume(function_client(local_cloud))


def test_a_session_is_no_longer_than_the_role_allows(local_cloud: LocalCloud) -> None:
    """One hour, unless the role says otherwise."""
    refused = refusal(function_client(local_cloud), duration_seconds=3601)
    assert refused == (400, "InvalidParameter.DurationSeconds")


def test_the_largest_parameters_are_accepted(local_cloud: LocalCloud) -> None:
    """A session name of 64 characters, a policy of 2048 and the role's own maximum duration."""
    local_cloud.identity.roles[PEER_ROLE].max_session_seconds = 43200
    sts = function_client(local_cloud)
    assume(
        sts, role_session_name="a.b@c_d-" + "n" * 56, policy=policy(allow("ecs:*")).ljust(2048), duration_seconds=43200
    )


def may(cloud: LocalCloud, session_policy: str | None) -> set[str]:
    """Which of three actions a session with this policy may do."""
    keys = assume(function_client(cloud), policy=session_policy).credentials
    caller = cloud.identity.keys[keys.access_key_id].caller
    actions = ("DescribeSecurityGroups", "CreateSecurityGroup", "DeleteSecurityGroup")
    return {action for action in actions if cloud.identity.permitted(caller, Access(f"ecs:{action}"))}


DESCRIBE, CREATE, DELETE = "DescribeSecurityGroups", "CreateSecurityGroup", "DeleteSecurityGroup"


@pytest.mark.parametrize(
    ("session_policy", "allowed"),
    [
        (None, {DESCRIBE, CREATE, DELETE}),
        (policy(allow("*")), {DESCRIBE, CREATE, DELETE}),
        (policy({**allow(), "Action": "ecs:Describe*"}), {DESCRIBE}),
        (policy(allow("ecs:Create*", "ecs:Delete*")), {CREATE, DELETE}),
        (policy(allow("ecs:*"), {**allow("ecs:Delete*"), "Effect": "Deny"}), {DESCRIBE, CREATE}),
        (policy({"Effect": "Allow", "NotAction": "ecs:Delete*", "Resource": ["*"]}), {DESCRIBE, CREATE}),
        (policy(allow("oss:*")), set()),
        (policy({**allow("ecs:*"), "Effect": "Deny"}), set()),
        (policy(allow("ecs:*", Resource="acs:ecs:*:*:instance/i-1")), set()),
        (policy(allow("ecs:*", Condition={"IpAddress": {"acs:SourceIp": "10.0.0.1"}})), set()),
        (
            policy(
                allow("*"), {**allow("ecs:D*", Condition={"IpAddress": {"acs:SourceIp": "10.0.0.1"}}), "Effect": "Deny"}
            ),
            {CREATE},
        ),
    ],
)
def test_a_sessions_policy_narrows_it(local_cloud: LocalCloud, session_policy: str | None, allowed: set[str]) -> None:
    """Allow, Deny (which wins), wildcards; with resources or conditions never more than the real cloud would allow."""
    local_cloud.identity.allow_only(PEER_ROLE, ["*"])
    assert may(local_cloud, session_policy) == allowed


def test_a_sessions_policy_grants_nothing_beyond_the_role(local_cloud: LocalCloud) -> None:
    """A session has the permissions that both allow."""
    local_cloud.identity.allow_only(PEER_ROLE, ["ecs:D*"])
    assert may(local_cloud, policy(allow("ecs:De*", "ecs:Create*"))) == {DESCRIBE, DELETE}


def test_a_narrowed_session_is_refused_by_ecs_and_sts(local_cloud: LocalCloud) -> None:
    """Like a role without the permission."""
    keys = assume(function_client(local_cloud), policy=policy(allow("ecs:Describe*"))).credentials
    config = Config(
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token,
        endpoint="ecs.cn-qingdao.aliyuncs.com",
    )
    Ecs(config).describe_security_groups(DescribeSecurityGroupsRequest(region_id="cn-qingdao"))
    with refused("Forbidden.RAM", 403):
        Ecs(config).create_security_group(CreateSecurityGroupRequest(region_id="cn-qingdao"))
    sts = client(keys.access_key_id, keys.access_key_secret, keys.security_token)
    assert refusal(sts) == (403, "NoPermission")


def test_a_role_without_external_id_admits_any(local_cloud: LocalCloud) -> None:
    """Callers with and without one."""
    local_cloud.identity.add_role(Role(PEER, "open", trust_text([f"acs:ram::{HOME}:root"])))
    sts = client_of(local_cloud, HOME)
    assume(sts, role_arn=f"acs:ram::{PEER}:role/open", external_id=None)
    assume(sts, role_arn=f"acs:ram::{PEER}:role/open", external_id="whatever")
