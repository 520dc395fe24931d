"""What STS says of the keys that are used, and which parameters it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aliyun_conformance.bench import Bench
from aliyun_conformance.sdks import refusal_of


def _refused(bench: Bench, **changes: Any) -> tuple[str, int]:
    """How AssumeRole with these parameters is refused."""
    role = f"acs:ram::{bench.account}:role/cloud-selftest-nobody"
    params = {"role_arn": role, "role_session_name": "link-1", **changes}
    return refusal_of(lambda: bench.sdks.assume_role(**params))


def _policy(*statements: object) -> str:
    return json.dumps({"Version": "1", "Statement": statements})


@pytest.mark.real_cloud(153, cleanup="none")
def test_keys_name_their_account(bench: Bench) -> None:
    """GetCallerIdentity names the account of any keys, in its ARN too."""
    account, arn = bench.sdks.identity()
    assert (account, arn.split(":")[:4]) == (bench.account, ["acs", "ram", "", bench.account])


@pytest.mark.real_cloud(154, cleanup="none")
def test_an_unknown_role_is_not_found(bench: Bench) -> None:
    """AssumeRole of a role that does not exist answers `EntityNotExist.Role`, 404."""
    assert _refused(bench) == ("EntityNotExist.Role", 404)


ALLOW = {"Effect": "Allow", "Action": ["*"], "Resource": "*"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"role_arn": "selftest"}, "InvalidParameter.RoleArn"),
        ({"role_session_name": "x"}, "InvalidParameter.RoleSessionName"),
        ({"role_session_name": "with space"}, "InvalidParameter.RoleSessionName"),
        ({"role_session_name": "n" * 65}, "InvalidParameter.RoleSessionName"),
        ({"external_id": "x"}, "InvalidParameter.ExternalId"),
        ({"duration_seconds": 899}, "InvalidParameter.DurationSeconds"),
        ({"policy": "{"}, "InvalidParameter.PolicyGrammar"),
        ({"policy": '{"Version": "1"}'}, "InvalidParameter.PolicyGrammar"),
        ({"policy": "[" * 2000}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy()}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({**ALLOW, "Effect": "allow"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({"Effect": "Allow", "Action": "*"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({"Effect": "Allow", "Resource": "*"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({**ALLOW, "Action": []})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({**ALLOW, "Condition": "x"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({**ALLOW, "NotAction": "*"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": _policy({**ALLOW, "Sid": "x"})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": "x" * 2049}, "InvalidParameter.PolicySize"),
        ({"role_session_name": None}, "MissingParameter.RoleSessionName"),
        ({"role_arn": None}, "MissingParameter.RoleArn"),
    ],
)
@pytest.mark.real_cloud(155, cleanup="none")
def test_invalid_parameters_are_refused(bench: Bench, changes: dict[str, Any], code: str) -> None:
    """AssumeRole refuses each parameter that lacks its documented syntax with the code for it, before it looks for the role."""
    assert _refused(bench, **changes) == (code, 400)
