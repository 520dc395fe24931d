"""Faults through real sockets and the official SDKs: what each means to us, and where the delivery ends."""

from __future__ import annotations

import re
from typing import Any

import auto_link
import cross_account
import pytest
from link_peer.alicloud.mns import MnsQueue
from link_peer.alicloud.sts import Accounts
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Transient
from link_peer.inbound.policy_file import load
from link_peer.runtime import settings
from link_peer.runtime.audit import SlsAudit
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer_local.core.faults import KINDS

from tests.functional.lab import HOME, PEER
from tests.functional.wire_lab import HurriedClock, WireLab

pytestmark = pytest.mark.http

KILLS = {"kill", "kill-after"}  # over sockets nothing but a reset
SPOILT = sorted(KINDS - KILLS - {"slow", "throttle"})
TROUBLE = sorted(KINDS - KILLS - {"slow"})
# An SLS write is answered by an empty 200, of which nothing can be cut off.
WRITE_TROUBLE = sorted(set(TROUBLE) - {"truncated-after"})


def ecs(lab: WireLab, account: str = HOME) -> Ecs:
    """One account's ECS as the functions have it, with no time for a second attempt."""
    clock = HurriedClock()
    retry = Retry(clock, deadline=clock.now())
    return Accounts(settings.load(lab.context), load(lab.policy_path), clock, retry, "test").ecs(account)


# what a fault means


@pytest.mark.parametrize("kind", SPOILT)
def test_a_change_without_a_readable_answer_is_ambiguous(wire_lab: WireLab, kind: str) -> None:
    """It may have been made: nobody may call it failed, or done."""
    group = wire_lab.group()
    wire_lab.fault(service="ecs", action="TagResources", kind=kind)
    with pytest.raises(Ambiguous):
        ecs(wire_lab).tag_managed(group.id, "prod")
    assert bool(wire_lab.tags(group)) is kind.endswith("-after")


@pytest.mark.parametrize("kind", SPOILT)
def test_a_read_without_a_readable_answer_is_never_an_empty_one(wire_lab: WireLab, kind: str) -> None:
    """An outage must not look like an account in which everything is gone."""
    wire_lab.instance(wire_lab.group())
    wire_lab.fault(service="ecs", action="DescribeInstances", kind=kind)
    with pytest.raises(Ambiguous):
        ecs(wire_lab).all_instances()
    assert len(ecs(wire_lab).all_instances()) == 1


@pytest.mark.parametrize(
    ("code", "status", "means"),
    [
        ("Throttling", 400, Transient),
        ("Throttling.Api", 429, Transient),
        ("ServiceUnavailable", 503, Ambiguous),
        ("InternalError", 500, Ambiguous),
        ("LastTokenProcessing", 400, Ambiguous),
        ("Forbidden.RAM", 403, NoAccess),
        ("InvalidAccessKeyId.NotFound", 404, NoAccess),
        ("InvalidSecurityGroupId.NotFound", 404, CloudError),
        ("InvalidParameter", 400, CloudError),
    ],
)
def test_an_answered_refusal_is_told_by_its_code(
    wire_lab: WireLab, code: str, status: int, means: type[Exception]
) -> None:
    """Exactly that class, and none that is kinder or harsher."""
    wire_lab.fault(service="ecs", action="DescribeInstances", code=code, status=status)
    with pytest.raises(means, match=re.escape(code)) as raised:
        ecs(wire_lab).all_instances()
    assert type(raised.value) is means
    assert getattr(raised.value, "throttled", False) is code.startswith("Throttling")


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_role_that_cannot_be_asked_for_is_trouble_of_the_moment(wire_lab: WireLab, kind: str) -> None:
    """Not `no-access`: that would be denied and acknowledged, and the request lost."""
    wire_lab.fault(service="sts", kind=kind)
    with pytest.raises(Transient) as raised:
        ecs(wire_lab, PEER)
    assert isinstance(raised.value, Ambiguous) is (kind != "throttle")


def test_a_role_that_refuses_is_no_access(wire_lab: WireLab) -> None:
    """After a second in which an edited trust policy may have spread."""
    wire_lab.policy_path.write_text(wire_lab.policy_path.read_text().replace("link-peer-local-example", "another-one"))
    with pytest.raises(NoAccess):
        ecs(wire_lab, PEER)
    assert wire_lab.cloud.faults.count("sts") == 3


@pytest.mark.parametrize("kind", WRITE_TROUBLE)
def test_a_record_that_may_not_be_durable_is_transient(wire_lab: WireLab, kind: str) -> None:
    """Else something would be changed with no intent on record."""
    wire_lab.fault(service="sls", kind=kind)
    audit = SlsAudit(settings.load(wire_lab.context), HurriedClock())
    with pytest.raises(Transient):
        audit.write([{"record": "intent", "time": wire_lab.iso()}])
    assert len(wire_lab.records("intent")) == kind.endswith("-after")
    assert wire_lab.cloud.faults.count("sls") == 1, "the SDK tried again by itself"


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_post_that_the_queue_may_not_have_is_transient(wire_lab: WireLab, kind: str) -> None:
    """It is posted again: a request that comes twice is decided twice, and ends the same."""
    wire_lab.fault(service="mns", kind=kind)
    with pytest.raises(Transient):
        MnsQueue(settings.load(wire_lab.context), HOME).post(b"{}")
    assert wire_lab.cloud.faults.count("mns") == 1, "the SDK tried again by itself"
    assert len(wire_lab.queued()) == kind.endswith("-after")


# where a delivery ends


def told(lab: WireLab) -> None:
    """Every rule that stands was intended before, and an outcome is the last word."""
    assert lab.records("intent")
    assert lab.outcome()["outcome"] in ("applied", "unchanged")


@pytest.mark.parametrize(
    ("service", "action", "kinds"),
    [
        ("ecs", "DescribeInstances", SPOILT),
        ("ecs", "DescribeSecurityGroupAttribute", SPOILT),
        ("ecs", "AuthorizeSecurityGroup", TROUBLE),
        ("sls", "*", WRITE_TROUBLE),
    ],
    ids=["instances", "rules", "authorize", "audit"],
)
def test_auto_link_ends_where_a_clean_delivery_ends(
    wire_lab: WireLab, service: str, action: str, kinds: list[str]
) -> None:
    """Each fault once, one link each: the rule stands once on each side, and an outcome tells of it."""
    for kind in kinds:
        app, db = wire_lab.group("*"), wire_lab.group("*")
        event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": db.id}))
        wire_lab.fault(service=service, action=action, kind=kind)
        wire_lab.settle(auto_link, event)
        assert wire_lab.cloud.faults.waiting() == [], kind
        assert wire_lab.rules(db) == [f"{app.id} all"], kind
        assert wire_lab.rules(app) == [f"{db.id} all"], kind
        told(wire_lab)


@pytest.mark.parametrize(
    ("service", "action", "account", "kinds"),
    [
        ("sts", "AssumeRole", None, TROUBLE),
        ("ecs", "AuthorizeSecurityGroup", HOME, SPOILT),
        ("ecs", "AuthorizeSecurityGroup", PEER, SPOILT),
        ("sls", "*", None, WRITE_TROUBLE),
    ],
    ids=["role", "home", "peer", "audit"],
)
def test_cross_account_ends_on_both_sides(
    wire_lab: WireLab, service: str, action: str, account: str | None, kinds: list[str]
) -> None:
    """Each fault once, one pair each: never one side alone."""
    from link_peer.alicloud.sts import CACHE

    for kind in kinds:
        a, b = wire_lab.pair()
        message = wire_lab.message(wire_lab.request(a, b))
        CACHE.sessions.clear()
        wire_lab.fault(service=service, action=action, account=account, kind=kind)
        wire_lab.settle(cross_account, [message])
        assert wire_lab.cloud.faults.waiting() == [], kind
        assert wire_lab.rules(b) == [f"{a.id} all"], kind
        assert wire_lab.rules(a) == [f"{b.id} all"], kind
        told(wire_lab)


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_peer_in_the_other_account_is_handed_over_whatever_the_queue_does(wire_lab: WireLab, kind: str) -> None:
    """auto_link posts until the queue has it; cross_account makes of one copy or two the same link."""
    a, b = wire_lab.pair()
    event = wire_lab.event(wire_lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"}))
    wire_lab.fault(service="mns", kind=kind)
    wire_lab.settle(auto_link, event)
    posted = wire_lab.queued()
    assert 1 <= len(posted) <= 2
    wire_lab.settle(cross_account, [wire_lab.message(body) for body in posted])
    assert wire_lab.reasons(a) == wire_lab.reasons(b) == ["tag"]


@pytest.mark.parametrize("kind", ["error", "html", "reset", "truncated", "throttle"])
def test_trouble_that_lasts_ends_in_a_raise_that_is_on_record(wire_lab: WireLab, kind: str) -> None:
    """Nothing is half-open, an attempt says what it was, and once it is over the next delivery does it all."""
    a, b = wire_lab.pair()
    message = wire_lab.message(wire_lab.request(a, b))
    wire_lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind=kind, times=None)
    with pytest.raises(Transient):
        wire_lab.deliver(cross_account, [message])
    assert wire_lab.rules(a) == wire_lab.rules(b) == []
    assert wire_lab.records("attempt")
    assert wire_lab.records() == []
    wire_lab.cloud.faults.clear()
    assert wire_lab.deliver(cross_account, [message]) == {"applied": 1}
    assert wire_lab.rules(a) == [f"{b.id} all"]


def test_a_change_that_was_answered_is_told_although_the_next_one_was_not(wire_lab: WireLab) -> None:
    """A marker is changed, then a rule cannot be written at first: all three RequestIds stand in the outcome."""
    app, db = wire_lab.group(), wire_lab.group("*")
    wire_lab.deliver(cross_account, [wire_lab.message(wire_lab.request(app, db, "tcp/1"))])
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"}))
    made: list[dict[str, Any]] = []
    wire_lab.cloud.ecs.on_event = lambda _account, told: made.append(told["data"])
    wire_lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error")
    wire_lab.deliver(auto_link, event)
    assert [change["eventName"] for change in made] == ["ModifySecurityGroupRule", "AuthorizeSecurityGroup"]
    changed, refused, written = wire_lab.outcome()["api_requests"].split(",")
    assert [changed, written] == [change["requestId"] for change in made]
    assert refused not in ("", changed, written)
