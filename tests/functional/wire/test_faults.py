"""Faults through real sockets and the official SDKs: how each is classified. What a delivery makes of a class is in
tests/functional/test_faults.py, in process, and in tests/infrastructure/package/test_functions.py over sockets."""

from __future__ import annotations

from typing import Any

import auto_link
import cross_account
import pytest
from link_peer.alicloud.audit_log import SlsAuditLog
from link_peer.alicloud.mns import MnsQueue
from link_peer.alicloud.sts import Accounts
from link_peer.domain.errors import Ambiguous, Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.request import sync_request
from link_peer.inbound.policy_file import load
from link_peer.runtime import settings
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer_local.core.faults import KINDS

from tests.functional.lab import HOME, MANAGED, PEER, REGION
from tests.functional.wire_lab import HurriedClock, WireLab

pytestmark = pytest.mark.http

KILLS = {"kill", "kill-after"}  # over sockets the same as a reset
SPOILT = sorted(KINDS - KILLS - {"slow", "throttle"})
TROUBLE = sorted(KINDS - KILLS - {"slow"})
# For SLS and MNS a 200 means that the write was accepted, whatever its body. The one of SLS cannot even be truncated.
POST_TROUBLE = sorted(set(TROUBLE) - {"empty", "empty-after"})
WRITE_TROUBLE = sorted(set(POST_TROUBLE) - {"truncated-after"})


def ecs(lab: WireLab, account: str = HOME) -> Ecs:
    """One account's ECS as the functions use it, with no time for a second attempt."""
    clock = HurriedClock()
    retry = Retry(clock, deadline=clock.now())
    return Accounts(settings.load(lab.context), load(lab.policy_path), clock, retry, "test").ecs(account)


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("kind", SPOILT)
def test_a_change_without_a_readable_response_is_ambiguous(wire_lab: WireLab, kind: str) -> None:
    """It may have been made, so it is neither failed nor done."""
    group = wire_lab.group()
    wire_lab.fault(service="ecs", action="TagResources", kind=kind)
    with pytest.raises(Ambiguous):
        ecs(wire_lab).tag([group.id], [MANAGED])
    assert bool(wire_lab.tags(group)) is kind.endswith("-after")


@pytest.mark.parametrize("kind", SPOILT)
def test_a_read_without_a_readable_response_is_not_an_empty_list(wire_lab: WireLab, kind: str) -> None:
    """An outage must not look like an account in which everything is gone."""
    wire_lab.instance(wire_lab.group())
    wire_lab.fault(service="ecs", action="DescribeInstances", kind=kind)
    with pytest.raises(Ambiguous):
        ecs(wire_lab).all_instances()
    assert len(ecs(wire_lab).all_instances()) == 1


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_failed_assume_role_is_transient(wire_lab: WireLab, kind: str) -> None:
    """Not `no-access`: that would be denied and acknowledged, and the request lost."""
    wire_lab.fault(service="sts", kind=kind)
    with pytest.raises(Transient) as raised:
        ecs(wire_lab, PEER)
    assert isinstance(raised.value, Ambiguous) is (kind != "throttle")


@pytest.mark.parametrize("kind", WRITE_TROUBLE)
def test_a_record_that_may_not_be_durable_is_transient(wire_lab: WireLab, kind: str) -> None:
    """Otherwise a change could be made without an intent on record."""
    wire_lab.fault(service="sls", kind=kind)
    audit = SlsAuditLog(settings.load(wire_lab.context), HurriedClock())
    with pytest.raises(Transient):
        audit.write([{"record": "intent", "time": wire_lab.iso()}])
    assert len(wire_lab.records("intent")) == kind.endswith("-after")
    assert wire_lab.cloud.faults.count("sls") == 1, "the SDK tried again by itself"


@pytest.mark.parametrize("kind", POST_TROUBLE)
def test_a_post_that_may_be_lost_is_transient(wire_lab: WireLab, kind: str) -> None:
    """It is posted again. A request delivered twice is decided twice, with the same result."""
    wire_lab.fault(service="mns", kind=kind)
    with pytest.raises(Transient):
        MnsQueue(settings.load(wire_lab.context), HOME).post(
            sync_request(Link(Party(HOME, "sg-a"), Party(PEER, "sg-b")), REGION, 0.0)
        )
    assert wire_lab.cloud.faults.count("mns") == 1, "the SDK tried again by itself"
    assert len(wire_lab.queued()) == kind.endswith("-after")


@pytest.mark.knobs(request_tags=True)
def test_a_change_is_recorded_even_if_the_next_one_fails(wire_lab: WireLab) -> None:
    """A marker is changed, then adding a rule fails at first: the outcome lists all three RequestIds."""
    app, db = wire_lab.group(), wire_lab.group("*")
    wire_lab.deliver(cross_account, [wire_lab.message(wire_lab.request(app, db, "tcp/1"))])
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"}))
    made: list[dict[str, Any]] = []
    wire_lab.cloud.ecs.on_event = lambda _account, event: made.append(event["data"])
    wire_lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error")
    wire_lab.deliver(auto_link, event)
    assert [change["eventName"] for change in made] == ["ModifySecurityGroupRule", "AuthorizeSecurityGroup"]
    changed, refused, written = wire_lab.outcome()["api_requests"].split(",")
    assert [changed, written] == [change["requestId"] for change in made]
    assert refused not in ("", changed, written)
