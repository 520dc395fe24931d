"""STS 2015-04-01: AssumeRole and GetCallerIdentity. Parameters and refusals [doc AssumeRole, SDK sts20150401]."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller, Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.policy import Access, Policy, parse
from aliyun_local.core.principals import Role, User

MIN_SECONDS = 900
DEFAULT_SECONDS = 3600
MAX_SESSION_POLICY = 2048


class StsBackend:
    """Issues temporary keys of roles.

    The keys of a local account stand for a RAM administrator of it. The real service refuses AssumeRole to the root
    account itself, whose keys should not be in use anyway.
    """

    def __init__(self, clock: Clock, identity: Identity, knobs: Knobs) -> None:
        self._clock = clock
        self._identity = identity
        self._knobs = knobs

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Run one action: the answer without RequestId, or ApiError."""
        return ACTIONS[action](self, caller, params)

    def assume_role(self, caller: Caller, params: Mapping[str, str]) -> dict[str, Any]:
        """Temporary keys of a role that trusts the caller."""
        arn, session, external_id = _check_names(params)
        policy = _session_policy(params.get("Policy"))
        seconds = _duration(params.get("DurationSeconds"))
        role = self._identity.roles.get(arn)
        if role is None:
            raise ApiError("EntityNotExist.Role", 404, "The specified Role not exists.")
        if not (
            self._identity.permitted(caller, Access("sts:AssumeRole", [role.arn]))
            and role.trusts(caller.principals, external_id, mfa=caller.mfa)
        ):
            message = "You are not authorized to do this action. You should be authorized by RAM."
            raise ApiError("NoPermission", 403, message)
        if seconds > role.max_session_seconds:
            raise _invalid("DurationSeconds", "The Min/Max value of DurationSeconds is 15min/the role's maximum.")
        mfa = caller.mfa and self._knobs.mfa_in_sessions
        key = self._identity.issue(role, session, self._clock.now() + seconds, policy, mfa=mfa)
        return {
            "AssumedRoleUser": {"Arn": key.caller.arn, "AssumedRoleId": f"{role.id}:{session}"},
            "Credentials": {
                "AccessKeyId": key.access_key_id,
                "AccessKeySecret": key.secret,
                "SecurityToken": key.token,
                "Expiration": utc(self._clock.now() + seconds),
            },
        }

    def caller_identity(self, caller: Caller, _params: Mapping[str, str]) -> dict[str, Any]:
        """Everyone may ask who they are."""
        answer = {"AccountId": caller.account, "Arn": caller.arn}
        if caller.role is not None:
            role_id = Role(caller.account, caller.role, "").id
            session = caller.arn.rsplit("/", 1)[-1]
            return {
                **answer,
                "IdentityType": "AssumedRoleUser",
                "PrincipalId": f"{role_id}:{session}",
                "RoleId": role_id,
            }
        if caller.user is not None:
            user_id = User(caller.account, caller.user).id
            return {**answer, "IdentityType": "RAMUser", "PrincipalId": user_id, "UserId": user_id}
        return {**answer, "IdentityType": "Account", "PrincipalId": caller.account, "UserId": caller.account}


ACTIONS: dict[str, Callable[[StsBackend, Caller, Mapping[str, str]], dict[str, Any]]] = {
    "AssumeRole": StsBackend.assume_role,
    "GetCallerIdentity": StsBackend.caller_identity,
}


def _check_names(params: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Role ARN, session name and external id, each of valid syntax."""
    for name in ("RoleArn", "RoleSessionName"):
        if not params.get(name):
            message = f"The input parameter {name} that is mandatory is not supplied."
            raise ApiError(f"MissingParameter.{name}", 400, message)
    arn, session = params["RoleArn"], params["RoleSessionName"]
    if not re.fullmatch(r"acs:ram::[0-9]{15,20}:role/[A-Za-z0-9.-]{1,64}", arn):
        raise _invalid("RoleArn", "The parameter RoleArn is wrongly formed.")
    if not re.fullmatch(r"[A-Za-z0-9.@_-]{2,64}", session):
        raise _invalid("RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
    external_id = params.get("ExternalId")
    if external_id is not None and not re.fullmatch(r"[\w+=,.@:/-]{2,1224}", external_id, re.ASCII):
        raise _invalid("ExternalId", "The parameter ExternalId is wrongly formed.")
    return arn, session, external_id


def _duration(text: str | None) -> int:
    if text is None:
        return DEFAULT_SECONDS
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < MIN_SECONDS:
        raise _invalid("DurationSeconds", "The Min/Max value of DurationSeconds is 15min/the role's maximum.")
    return int(text)


def _session_policy(text: str | None) -> Policy | None:
    """The session's policy; a session may do only what both it and the role allow [doc AssumeRole]."""
    if text is None:
        return None
    if len(text) > MAX_SESSION_POLICY:
        raise _invalid("PolicySize", "The size of Policy must be smaller than 2048 bytes.")
    try:
        return parse(text)
    except ValueError:
        raise _invalid("PolicyGrammar", "The parameter Policy has not passed grammar check.") from None


def _invalid(parameter: str, message: str) -> ApiError:
    return ApiError(f"InvalidParameter.{parameter}", 400, message)
