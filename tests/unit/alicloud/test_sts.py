"""Entering another account: which AssumeRole responses open a session."""

from __future__ import annotations

import json

import msgspec
import pytest
from aliyun_local.api import Fault, LocalCloud, Request, Response, Role, trust_text
from link_peer.alicloud.sts import Accounts, SessionCache, session_name_for
from link_peer.domain.errors import Ambiguous, NoAccess
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.runtime.settings import Credentials, Settings
from pytest_mock import MockerFixture

from tests.unit.alicloud.adapter import HOME, PEER, retry, settings

POLICY = Policy(
    deployment="prod",
    accounts={
        HOME: AccountPolicy("a"),
        PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/link-peer", "link-peer-local-example"),
    },
)


def accounts(cloud: LocalCloud, cache: SessionCache) -> Accounts:
    return Accounts(settings(cloud), POLICY, cloud.clock, retry(cloud), "test", cache)


@pytest.mark.parametrize("missing", ["AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"])
def test_a_response_without_one_of_the_keys_is_ambiguous(
    local_cloud: LocalCloud, mocker: MockerFixture, missing: str
) -> None:
    """Calls with half of the keys would be refused as if the account had shut us out. Nothing is cached, so that the
    next delivery asks again."""
    handle = local_cloud.handle

    def without(request: Request) -> Response:
        answer = handle(request)
        body = json.loads(answer.body)
        body["Credentials"].pop(missing)
        return Response(answer.status, answer.headers, json.dumps(body).encode())

    cache = {}
    mocker.patch.object(local_cloud, "handle", without)
    with pytest.raises(Ambiguous, match="AssumeRole"):
        accounts(local_cloud, cache).ecs(PEER)
    assert cache == {}


def hosts(cloud: LocalCloud, mocker: MockerFixture) -> list[str]:
    """The host of every request from now on."""
    handle = cloud.handle
    hosts: list[str] = []

    def listening(request: Request) -> Response:
        hosts.append(request.headers["host"])
        return handle(request)

    mocker.patch.object(cloud, "handle", listening)
    return hosts


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [("http://sts.example.com", "sts.example.com"), (None, "sts.cn-qingdao.aliyuncs.com")],
)
def test_sts_has_an_endpoint_of_its_own(
    local_cloud: LocalCloud, mocker: MockerFixture, endpoint: str | None, host: str
) -> None:
    """That of the settings, else the region's: its global one is far away, and may be switched off."""
    called = hosts(local_cloud, mocker)
    cloud_settings = settings(local_cloud)
    endpoints = {"ecs": "http://ecs.example.com", **({"sts": endpoint} if endpoint else {})}
    cloud_settings = msgspec.structs.replace(cloud_settings, endpoints=endpoints)
    entered = Accounts(cloud_settings, POLICY, local_cloud.clock, retry(local_cloud), "test", {})
    entered.ecs(PEER).all_groups()
    assert called == [host, "ecs.example.com"]


def test_a_role_that_is_refused_for_any_reason_is_no_access(local_cloud: LocalCloud) -> None:
    """The account cannot be entered; the code and the RequestId are those of STS."""
    local_cloud.faults.add(Fault("sts", "AssumeRole", code="InvalidParameter.RoleArn", status=400, times=None))
    with pytest.raises(NoAccess) as refused:
        accounts(local_cloud, {}).ecs(PEER)
    assert refused.value.code == "InvalidParameter.RoleArn"
    assert refused.value.request_id
    assert refused.value.message


@pytest.mark.parametrize("external_id", ["one-for-all-accounts", None])
def test_each_account_has_a_session_of_its_own(local_cloud: LocalCloud, external_id: str | None) -> None:
    """Also where the roles of two accounts ask for one external id, or for none. A later delivery uses the sessions
    again, as long as role, external id and keys stay the same."""
    third_account, cache = "1000000000000003", {}
    local_cloud.identity.add_account(third_account, "c@aliyun.com")
    trust = trust_text([f"acs:ram::{HOME}:root"], external_id)
    for account in (PEER, third_account):
        for name in ("shared", "renamed"):
            role = local_cloud.identity.add_role(Role(account, name, trust))
            local_cloud.identity.allow_only(role.arn, ["*"])

    def enter(settings: Settings, name: str = "shared") -> tuple[list[str], int]:
        roles = {uid: AccountPolicy(uid, f"acs:ram::{uid}:role/{name}", external_id) for uid in (PEER, third_account)}
        policy = Policy(deployment="prod", accounts={HOME: AccountPolicy("a"), **roles})
        entered = Accounts(settings, policy, local_cloud.clock, retry(local_cloud), "test", cache)
        return [entered.identity(uid)[1].rpartition("/")[0] for uid in (PEER, third_account)], entered.calls[
            "AssumeRole"
        ]

    def roles(name: str) -> list[str]:
        return [f"acs:ram::{uid}:assumed-role/{name}" for uid in (PEER, third_account)]

    home = local_cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-fc"]
    local_cloud.identity.allow_only(home.arn, ["*"])
    cloud_settings = settings(local_cloud)
    assert enter(cloud_settings) == (roles("shared"), 2)
    assert enter(cloud_settings) == (roles("shared"), 0)
    assert enter(cloud_settings, "renamed") == (roles("renamed"), 2)
    key = local_cloud.identity.issue(home, "functions", local_cloud.clock.now() + 3600)
    renewed = Credentials(key.access_key_id, key.secret, key.token)
    assert enter(msgspec.structs.replace(cloud_settings, credentials=renewed)) == (roles("shared"), 2)


def test_a_session_lasts_a_quarter_of_an_hour_and_is_used_until_five_minutes_are_left(local_cloud: LocalCloud) -> None:
    """It has the name of the delivery that opened it. Of refusals only the third counts: an edited trust policy takes a
    moment."""
    cache: SessionCache = {}
    local_cloud.faults.add(Fault("sts", "AssumeRole", code="NoPermission", status=403, times=2))
    for seconds, calls in ((0, 3), (598, 3), (2, 4)):
        local_cloud.clock.sleep(seconds)
        accounts(local_cloud, cache).ecs(PEER).all_groups()
        assert local_cloud.faults.count("sts", "AssumeRole") == calls
    params = next(call.params for call in local_cloud.faults.calls if call.action == "AssumeRole")
    assert (params["RoleSessionName"], params["DurationSeconds"]) == ("link-peer-test", "900")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("event-1", "link-peer-event-1"),
        ("a b/c:d", "link-peer-a-b-c-d"),
        ("A.@_-9", "link-peer-A.@_-9"),
        ("\u00e9", "link-peer--"),
        ("x" * 99, "link-peer-" + "x" * 54),
    ],
)
def test_a_session_is_named_for_its_delivery(text: str, name: str) -> None:
    """With the characters and the length that STS allows."""
    assert session_name_for(text) == name
