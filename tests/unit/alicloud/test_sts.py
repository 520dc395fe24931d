"""Entering another account: which AssumeRole responses open a session."""

from __future__ import annotations

import json

import pytest
from link_peer.alicloud.sts import Accounts, SessionCache
from link_peer.domain.errors import Ambiguous
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.faults import Fault
from link_peer_local.core.http import Request, Response
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


def test_a_response_without_credentials_is_ambiguous(local_cloud: LocalCloud) -> None:
    """Not `no-access`, which would be denied and acknowledged. Nothing is cached, so that the next delivery asks again."""
    cache = SessionCache()
    local_cloud.faults.add(Fault("sts", "AssumeRole", "empty", times=None))
    with pytest.raises(Ambiguous, match="AssumeRole"):
        accounts(local_cloud, cache).ecs(PEER)
    assert cache.sessions == {}
    local_cloud.faults.clear()
    assert accounts(local_cloud, cache).ecs(PEER).all_groups() == []


def test_one_response_without_credentials_is_retried(local_cloud: LocalCloud) -> None:
    local_cloud.faults.add(Fault("sts", "AssumeRole", "empty"))
    entered = accounts(local_cloud, SessionCache())
    assert entered.ecs(PEER).all_groups() == []
    assert entered.calls["AssumeRole"] == 2


@pytest.mark.parametrize("missing", ["AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"])
def test_a_response_without_one_of_the_keys_is_ambiguous(
    local_cloud: LocalCloud, mocker: MockerFixture, missing: str
) -> None:
    """Calls with half of the keys would be refused as if the account had shut us out."""
    handle = local_cloud.handle

    def without(request: Request) -> Response:
        answer = handle(request)
        body = json.loads(answer.body)
        body["Credentials"].pop(missing)
        return Response(answer.status, answer.headers, json.dumps(body).encode())

    mocker.patch.object(local_cloud, "handle", without)
    with pytest.raises(Ambiguous, match="AssumeRole"):
        accounts(local_cloud, SessionCache()).ecs(PEER)
