"""What lost its consent is closed first and at once, whatever else there is to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.lab import HOME, PEER, Lab

ROLE = f"acs:ram::{PEER}:role/link-peer"


@pytest.mark.parametrize("consents", ["tag", "policy"])
def test_a_lock_closes_at_its_tag_event(lab: Lab, consents: str) -> None:
    """Whatever consents, tags or the policy say."""
    _, app, db = lab.linked()
    if consents == "policy":
        lab.policy(allow=[{"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}])
    lab.tag(db, link_lock="incident-7")
    assert lab.auto_link(lab.group_event(db)) == {"removed": 1}
    assert (lab.rules(db), lab.outcome()["reason"]) == ([], "locked")


@pytest.mark.parametrize("instances", [False, True])
def test_consent_that_comes_after_the_wish_opens_at_its_tag_event(lab: Lab, instances: bool) -> None:
    """Attack 18: within the queue's delivery, not at the next sweep. To a group, or to an instance."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db) if instances else db
    instance = lab.started(app, tags={"link-peer": f"{target.id}:tcp/1"})
    assert lab.rules(db) == []
    lab.tag(db, link_accept=f"{(instance if instances else app).id}:tcp/1")
    lab.auto_link(lab.group_event(db))
    lab.drain(30)
    assert [rule.split()[1] for rule in lab.rules(db)] == ["tcp/1"]


@pytest.mark.parametrize("last", [0, 1])
def test_a_mutual_link_opens_at_the_second_consent(lab: Lab, last: int) -> None:
    """Whichever group gives it, the one whose instance asks, too."""
    app, db = lab.group(), lab.group()
    lab.instance(app, tags={"link-peer": db.id})
    lab.tag((db, app)[last - 1], link_accept=(app, db)[last - 1].id)
    lab.auto_link(lab.group_event((db, app)[last - 1]))
    lab.drain()
    assert (lab.rules(app), lab.rules(db)) == ([], [])
    lab.tag((db, app)[last], link_accept=(app, db)[last].id)
    lab.auto_link(lab.group_event((db, app)[last]))
    lab.drain()
    assert (len(lab.rules(app)), len(lab.rules(db))) == (1, 1)


def test_a_withdrawn_consent_is_closed_before_any_wish_is_read(lab: Lab) -> None:
    """Attack 14: with hundreds of links to make, closing is done first."""
    _, _, db = lab.linked()
    lab.tag(db, link_accept=None)
    order: list[str] = []
    handle = lab.cloud.handle

    def watched(request: Any) -> Any:
        response = handle(request)
        order.append(lab.cloud.faults.calls[-1].action if lab.cloud.faults.calls else "")
        return response

    for _ in range(5):
        lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    lab.cloud.handle = watched  # type: ignore[method-assign]
    lab.sweep()
    assert "DescribeInstances" not in order[: order.index("RevokeSecurityGroup")]


@pytest.mark.parametrize(
    ("policy", "reason"), [({"deny": {"ports": ["tcp/1"]}}, "not-allowed"), ({"paused": True}, "paused")]
)
def test_a_write_is_judged_by_the_policy_as_it_is_then(lab: Lab, policy: dict[str, Any], reason: str) -> None:
    """Attack 12: the policy denies the port, or pauses everything, while the delivery is under way."""
    a, b = lab.pair()
    lab.meanwhile("TagResources", lambda: lab.policy(**policy))
    assert lab.cross_account(lab.request(a, b, "tcp/1")) == {"denied": 1}
    assert (lab.rules(b), lab.outcome()["reason"]) == ([], reason)


def test_a_request_that_expires_while_it_is_carried_out_opens_nothing(lab: Lab) -> None:
    """Attack 12."""
    a, b = lab.pair()
    lab.meanwhile("TagResources", lambda: lab.cloud.clock.advance(400))
    context, lab.context.function.timeout = lab.context, 3600
    assert lab.cross_account(lab.request(a, b, "tcp/1", expires_at=lab.iso(10))) == {"denied": 1}
    assert (lab.rules(b), lab.outcome()["reason"], context is lab.context) == ([], "expired", True)


def test_the_recorded_consent_is_that_of_the_write(lab: Lab) -> None:
    """Attack 12: an entry that was replaced meanwhile is not the one on record."""
    a, b = lab.pair()

    def replace() -> None:
        lab.tag(b, link_accept=f"{a.id}@{HOME}:tcp/1")
        lab.cloud.clock.advance(6)

    lab.meanwhile("TagResources", replace)
    assert lab.cross_account(lab.request(a, b, "tcp/1")) == {"applied": 1}
    assert f"{a.id}@{HOME}:tcp/1" in lab.outcome()["consent"]


@pytest.mark.parametrize("opens", [True, False])
def test_paused_opening_opens_nothing_and_goes_on_closing(lab: Lab, opens: bool) -> None:
    _, _, db = lab.linked()
    lab.policy(paused="opening")
    if opens:
        other = lab.group("*")
        lab.instance(lab.group(), tags={"link-peer": f"{other.id}:tcp/1"})
        lab.sweep()
        assert lab.rules(other) == []
    else:
        lab.tag(db, link_accept=None)
        lab.sweep()
        assert lab.rules(db) == []
