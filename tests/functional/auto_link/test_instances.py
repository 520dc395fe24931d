"""auto_link with instance peers: /32 rules between two addresses, which admit no other member of either group."""

from __future__ import annotations

from link_peer.domain.model import Party
from link_peer.domain.request import Hint
from link_peer.engine.scopes.handover import AT_ONCE
from link_peer.engine.scopes.instances import one_per_party

from tests.functional.lab import HOME, PEER, Lab


def test_of_several_events_of_an_instance_the_latest_counts_and_a_deletion_before_all() -> None:
    one = Party(HOME, "i-1")
    early, late, gone = (
        Hint("early", one, "tags", 1.0),
        Hint("late", one, "tags", 2.0),
        Hint("gone", one, "state", 0.5, "Deleted"),
    )
    assert [one_per_party(some)[one] for some in ([late, early], [early, late], [gone, late])] == [late, late, gone]


def test_many_pairs_with_other_accounts_are_one_look(lab: Lab) -> None:
    """Which of them differ, the look finds out."""
    ledgers = [lab.group(f"*@{HOME}", account=PEER) for _ in range(AT_ONCE + 1)]
    tags = {f"link-peer.{n}": f"{one.id}@{PEER}:tcp/1" for n, one in enumerate(ledgers)}
    instance = lab.instance(lab.group(), tags=tags)
    lab.auto_link(lab.event(instance))
    assert [message["request_id"] for message in lab.queued(after=10)] == [f"look-{instance.id}"]


def test_instances_of_one_group_can_be_linked(lab: Lab) -> None:
    """The group then holds two rules with different /32."""
    group = lab.group("*")
    target = lab.instance(group)
    instance = lab.instance(group, tags={"link-peer": target.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert len(lab.rules(group)) == 2


def test_the_group_that_holds_the_rule_must_consent(lab: Lab) -> None:
    """The consent of another group of the target instance does not count."""
    first, second = lab.group(), lab.group("*")
    target = lab.instance(first, second)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    record = lab.outcome()
    assert record["reason"] == "no-consent"
    assert f"tag {first.id}@{HOME} link-accept={instance.id}:tcp/3306" in record["advice"]
