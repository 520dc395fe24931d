"""No account holds up the removals of another, and nothing that someone withdrew waits for the removal guard."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, PEER, Lab

MANY = 56  # more removals than limits.removals_per_run


def tag_managed(lab: Lab, *groups: object) -> None:
    for group in groups:
        lab.tag(group, **{f"link-managed.prod.{HOME}": "true"})  # type: ignore[arg-type]


@pytest.mark.parametrize("named", [PEER, HOME])
def test_forged_markers_of_one_account_do_not_hold_removals_of_another(lab: Lab, named: str) -> None:
    """Attack 1: an account fills its own groups with rules that look unwanted; the other accounts' removals go on. The sources
    of these rules are its own groups, or the victim's empty ones."""
    instance, app, db = lab.linked()
    lab.instance(app)
    sources = [lab.group(account=named) for _ in range(MANY // 4)]
    targets = [lab.group(f"*@{named}", account=PEER) for _ in range(4)]
    for target in targets:
        for source in sources:
            lab.forge(target, source, "tag", "tcp/1")
    lab.instance(lab.group(account=PEER), tags={"name": "alive"})
    tag_managed(lab, *targets)
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.rules(db) == []
    assert lab.summary()["reason"] == "removals-held"
    assert named in lab.summary()["detail"]
    assert all(len(lab.rules(target)) == MANY // 4 for target in targets)


def test_an_untagged_instance_that_is_shown_is_never_held(lab: Lab) -> None:
    """Attack 1: 56 links of tags that were removed are removed at once, since the instances are shown without them."""
    app = lab.group()
    peers = [lab.group("*") for _ in range(4)]
    ports = "+".join(f"tcp/{n}" for n in range(1, 15))
    instance = lab.instance(app, tags={f"link-peer.{n}": f"{peer.id}:{ports}" for n, peer in enumerate(peers)})
    lab.instance(app, tags={"name": "other"})
    lab.sweep()
    assert sum(len(lab.rules(peer)) for peer in peers) == MANY
    for n in range(4):
        lab.call(
            HOME,
            "UntagResources",
            {"ResourceType": "instance", "ResourceId.1": instance.id, "TagKey.1": f"link-peer.{n}"},
        )
    lab.sweep()
    assert [lab.rules(peer) for peer in peers] == [[]] * 4


@pytest.mark.knobs(request_tags=True)
def test_a_deleted_event_is_never_held(lab: Lab) -> None:
    """Attack 1: the address of a released instance goes to a stranger, so its rules are removed whatever else is due."""
    lab.policy(limits={"removals_per_run": 1})
    app, db = lab.group(), lab.group("*")
    other = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{other.id}:tcp/1+tcp/2+tcp/3"})
    lab.instance(app, tags={"name": "alive"})
    lab.auto_link(lab.event(instance))
    assert len(lab.rules(db)) == 3
    lab.release(instance)
    lab.auto_link(lab.event(instance.id, "Deleted"))
    assert lab.rules(db) == []
