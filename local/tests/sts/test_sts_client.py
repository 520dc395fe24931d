"""STS through its official client: who is calling, and who may assume which role for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_sts20150401.client import Client

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.policy import Access
from aliyun_local.core.principals import Role, trust_text
from clients import HOME, PEER, ask, config, key_of, refusal

PEER_ROLE = f"acs:ram::{PEER}:role/partner"
EXTERNAL_ID = "aliyun-local-example"


def function_client(cloud: LocalCloud) -> Client:
    """A client with the keys of the home account's functions."""
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/functions"]
    return Client(config(cloud.identity.issue(role, "fc", cloud.clock.now() + 3600)))


def account_client(cloud: LocalCloud, uid: str = HOME) -> Client:
    return Client(config(key_of(cloud, uid)))


def assume(sts: Client, **changes: Any) -> Any:
    request = {"role_arn": PEER_ROLE, "role_session_name": "link-1", "external_id": EXTERNAL_ID, **changes}
    return ask(sts, "AssumeRole", **request)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": statements})


def allow(*actions: str, **fields: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*", **fields}


def test_the_functions_role_enters_the_peer_account(local_cloud: LocalCloud) -> None:
    """A trusted role gets keys of the peer's role, and they act as that role. AssumedRoleUser has the session's ARN and
    id."""
    session = assume(function_client(local_cloud))
    key = local_cloud.identity.keys[session.credentials.access_key_id]
    assert (key.secret, key.token) == (session.credentials.access_key_secret, session.credentials.security_token)
    body = Client(config(key)).get_caller_identity().body
    assert (body.identity_type, body.account_id) == ("AssumedRoleUser", PEER)
    assert session.assumed_role_user.arn == body.arn == f"acs:ram::{PEER}:assumed-role/partner/link-1"
    assert session.assumed_role_user.assumed_role_id == body.principal_id == f"{body.role_id}:link-1"
    own_identity = account_client(local_cloud, PEER).get_caller_identity().body
    assert (own_identity.identity_type, own_identity.arn) == ("Account", f"acs:ram::{PEER}:root")


@pytest.mark.parametrize(("seconds", "expiration"), [(None, "2026-11-25T01:00:00Z"), (900, "2026-11-25T00:15:00Z")])
def test_keys_are_valid_as_long_as_requested(local_cloud: LocalCloud, seconds: int | None, expiration: str) -> None:
    """One hour by default; the credentials library can parse the expiration."""
    assert assume(function_client(local_cloud), duration_seconds=seconds).credentials.expiration == expiration


def test_a_role_admits_only_whom_its_trust_policy_names(local_cloud: LocalCloud) -> None:
    """Even with the right external id. A role that is trusted does not make its account so, and a service has no keys:
    a role for fc.aliyuncs.com cannot be assumed, not even by its own account."""
    local_cloud.identity.add_account("1000000000000003", "c@aliyun.com")
    assert refusal(assume, account_client(local_cloud, "1000000000000003")) == ("NoPermission", 403)
    assert refusal(assume, account_client(local_cloud)) == ("NoPermission", 403)
    arn = f"acs:ram::{HOME}:role/functions"
    assert refusal(assume, account_client(local_cloud), role_arn=arn, external_id=None) == ("NoPermission", 403)


def test_the_callers_own_policy_must_allow_it_too(local_cloud: LocalCloud) -> None:
    """A role without sts:AssumeRole cannot assume another one, even if that one trusts it."""
    role = f"acs:ram::{HOME}:role/functions"
    local_cloud.identity.allow_only(role, ["ecs:*"])
    assert refusal(assume, function_client(local_cloud)) == ("NoPermission", 403)
    local_cloud.identity.allow_only(role, ["ecs:*", "sts:AssumeRole"])
    assume(function_client(local_cloud))


def test_a_session_is_no_longer_than_the_role_allows(local_cloud: LocalCloud) -> None:
    """One hour, unless the role says otherwise."""
    answer = refusal(assume, function_client(local_cloud), duration_seconds=3601)
    assert answer == ("InvalidParameter.DurationSeconds", 400)


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
    return {
        action for action in (DESCRIBE, CREATE, DELETE) if cloud.identity.permitted(caller, Access(f"ecs:{action}"))
    }


DESCRIBE, CREATE, DELETE = "DescribeSecurityGroups", "CreateSecurityGroup", "DeleteSecurityGroup"


@pytest.mark.parametrize(
    ("session_policy", "allowed"),
    [
        (None, {DESCRIBE, CREATE, DELETE}),
        (policy(allow("*")), {DESCRIBE, CREATE, DELETE}),
        (policy(allow("ecs:Create*", "ecs:Delete*")), {CREATE, DELETE}),
        (policy(allow("ecs:*"), {**allow("ecs:Delete*"), "Effect": "Deny"}), {DESCRIBE, CREATE}),
        (policy(allow("oss:*")), set()),
    ],
)
def test_a_sessions_policy_narrows_it(local_cloud: LocalCloud, session_policy: str | None, allowed: set[str]) -> None:
    """By the same rules as any policy."""
    local_cloud.identity.allow_only(PEER_ROLE, ["*"])
    assert may(local_cloud, session_policy) == allowed


def test_a_sessions_policy_grants_nothing_beyond_the_role(local_cloud: LocalCloud) -> None:
    """A session has the permissions that both allow."""
    local_cloud.identity.allow_only(PEER_ROLE, ["ecs:D*"])
    assert may(local_cloud, policy(allow("ecs:De*", "ecs:Create*"))) == {DESCRIBE, DELETE}


def test_a_role_without_external_id_admits_any(local_cloud: LocalCloud) -> None:
    """Callers with and without one."""
    local_cloud.identity.add_role(Role(PEER, "open", trust_text([f"acs:ram::{HOME}:root"])))
    sts = account_client(local_cloud)
    assume(sts, role_arn=f"acs:ram::{PEER}:role/open", external_id=None)
    assume(sts, role_arn=f"acs:ram::{PEER}:role/open", external_id="whatever")
