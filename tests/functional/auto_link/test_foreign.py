"""auto_link and peers in other accounts: it posts a sync for the pair, and cross_account does the rest."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, PEER, REGION, Lab


def sync_of(lab: Lab, source: Group | Instance, target: Group | Instance) -> dict[str, Any]:
    """The request as specified: its id is the pair's link id, as mutual and not swapped; it expires in an hour."""
    text = f"{REGION}|{source.account}/{source.id}|{target.account}/{target.id}|mutual"
    return {
        "version": 1,
        "request_id": f"tag-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        "action": "sync",
        "region": REGION,
        "from": {"account": source.account, "party": source.id},
        "to": {"account": target.account, "party": target.id},
        "expires_at": lab.iso_millis(3600),
    }


def without_claims(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without who posted it and why, which have no effect."""
    return [{k: v for k, v in r.items() if k not in ("requested_by", "reason")} for r in requests]


@pytest.mark.parametrize("ports", [":tcp/3306", ":tcp/1+udp/2", ""])
def test_a_peer_in_another_account_is_posted_as_a_sync_of_the_pair(lab: Lab, ports: str) -> None:
    """Whatever its ports. auto_link changes nothing itself, and writes an intent but no outcome."""
    app, ledger = lab.group("*"), lab.group("*", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{ledger.id}@{PEER}{ports}"})
    assert lab.auto_link(lab.event(instance)) == {}
    assert without_claims(lab.queued()) == [sync_of(lab, app, ledger)]
    assert lab.records() == []
    (intent,) = lab.records("intent")
    assert (intent["action"], intent["to_account"], intent["to"]) == ("sync", PEER, ledger.id)
    assert intent["request_id"] == sync_of(lab, app, ledger)["request_id"]
    assert lab.changes() == 0


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ends", ["untagged", "released"])
def test_instances_of_two_accounts_and_vpcs_are_linked_until_the_tag_goes(lab: Lab, ends: str) -> None:
    """The sync is of the two instances. To remove the link, the rule for the instance at home triggers a sync, also
    once it is released; not that of its neighbour."""
    app, ledger = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER, vpc=lab.b)
    far, other = lab.instance(ledger), lab.instance(ledger)
    lab.started(app, tags={"link-peer": f"{other.id}@{PEER}"})
    lab.cross_account(*lab.queued())
    near = lab.started(app, tags={"link-peer": f"{far.id}@{PEER}"})
    requests = lab.queued()
    assert without_claims(requests) == [sync_of(lab, near, far)]
    assert lab.cross_account(*requests) == {"applied": 1}
    there = f"{near.private_ip}/32>{far.private_ip}/32 all"
    assert there in lab.rules(ledger)
    assert (len(lab.rules(ledger)), len(lab.rules(app)), lab.outcome()["reachability"]) == (2, 2, "different-vpc")

    if ends == "untagged":
        lab.retag(near, link_peer=None)
    else:
        lab.release(near)
        lab.auto_link(lab.event(near, "Deleted"))
    requests = lab.queued()
    assert without_claims(requests) == [sync_of(lab, near, far)]
    assert lab.cross_account(*requests) == {"removed": 1}
    assert there not in lab.rules(ledger)
    assert (len(lab.rules(ledger)), len(lab.rules(app))) == (1, 1)


def test_a_one_way_link_to_another_accounts_instance_closes_with_the_sweep(lab: Lab) -> None:
    """Nothing at home shows a one-way rule of the other account."""
    app, ledger = lab.group(), lab.group(account=PEER)
    far = lab.instance(ledger)
    near = lab.started(app, tags={"link-peer": f"{far.id}@{PEER}:tcp/1"})
    lab.tag(ledger, link_accept=f"{near.id}@{HOME}:tcp/1")
    assert lab.cross_account(*lab.queued()) == {"applied": 1}
    assert lab.rules(ledger) == [f"{near.private_ip}/32>{far.private_ip}/32 tcp/1"]
    assert lab.sweep() == {}
    lab.retag(near, link_peer=None)
    assert lab.sweep() == {"removed": 1}
    assert lab.rules(ledger) == []


@pytest.mark.parametrize("until", [-1, None])
def test_link_until_ends_a_link_in_the_other_account(lab: Lab, until: int | None) -> None:
    """Past or invalid: the rule in the other account must be removed, so a sync of the pair is posted."""
    app, ledger = lab.group(), lab.group(f"*@{HOME}", account=PEER)
    instance = lab.started(app, tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"})
    lab.cross_account(*lab.queued())
    assert lab.rules(ledger) == [f"{app.id} tcp/1"]

    lab.retag(instance, link_until="soon" if until is None else lab.iso(until))
    lab.cross_account(*lab.queued())
    assert lab.rules(ledger) == []
    assert lab.records(outcome="denied")[-1]["reason"] == ("bad-tag" if until is None else "expired")


@pytest.mark.parametrize("kind", ["error", "throttle", "reset", "error-after", "no-answer-after"])
def test_a_transient_error_of_the_queue_is_retried(lab: Lab, kind: str) -> None:
    """A sync that was accepted but whose response was lost may be posted twice. Reconciling twice is harmless."""
    app, ledger = lab.group(), lab.group("*", account=PEER)
    lab.fault(service="mns", kind=kind)
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"})))
    requests = lab.queued()
    assert len(requests) == (2 if kind.endswith("-after") else 1)
    assert all(r["request_id"] == sync_of(lab, app, ledger)["request_id"] for r in requests)


def test_no_sync_is_posted_while_the_audit_log_is_down(lab: Lab) -> None:
    """The instance is looked at again, and the look, which reads the other side, posts the sync."""
    app, ledger = lab.group(), lab.group(f"*@{HOME}", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"})
    lab.fault(service="sls", kind="error", times=None)
    assert lab.auto_link(lab.event(instance)) == {}
    looks = lab.queued(after=10)
    assert [message["request_id"] for message in looks] == [f"look-{instance.id}"]

    lab.cloud.faults.clear()
    assert lab.cross_account(*looks) == {}
    assert without_claims(lab.queued()) == [sync_of(lab, app, ledger)]


def test_a_look_posts_first_what_must_be_closed(lab: Lab) -> None:
    """Then what must be opened, and nothing of the pairs that are as they should be. What consent denies is recorded."""
    app, mute = lab.group(f"*@{PEER}"), lab.group(account=PEER)
    old, kept, *new = (lab.group(f"*@{HOME}", account=PEER) for _ in range(6))
    for ledger in (old, kept):
        lab.instance(ledger)
    instance = lab.instance(app, tags={"link-peer": f"{old.id}@{PEER} {kept.id}@{PEER}"})
    lab.sweep()
    assert lab.rules(app) == sorted(f"{ledger.id} all" for ledger in (old, kept))
    named = [f"{kept.id}@{PEER}", *(f"{ledger.id}@{PEER}:tcp/1" for ledger in (*new, mute))]
    for number in range(3):
        key = f"link_peer.{number}" if number else "link_peer"
        lab.tag(instance, **{key: " ".join(named[2 * number : 2 * number + 2])})
    assert lab.cross_account(lab.look(instance, lab.iso(60))) == {"denied": 1}
    assert (lab.outcome()["reason"], lab.outcome()["to"]) == ("no-consent", mute.id)
    first, *rest = [message["to"]["party"] for message in lab.queued()]
    assert (first, sorted(rest)) == (old.id, sorted(ledger.id for ledger in new))
