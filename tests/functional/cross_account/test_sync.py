"""cross_account and sync: the pair is reconciled again; which links are wanted comes from the tags, never from the
message."""

from __future__ import annotations

from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import PEER, Lab


def sync(lab: Lab, a: Group, b: Group) -> dict[str, int]:
    """A sync, which anyone may post."""
    return lab.cross_account(lab.request(a, b, action="sync"))


def wanting(lab: Lab, a: Group, b: Group, ports: str = ":tcp/1") -> Instance:
    return lab.instance(a, tags={"link-peer": f"{b.id}@{b.account}{ports}"})


def test_a_sync_reads_tags_in_the_other_account_too(lab: Lab) -> None:
    """`from` may be the peer account's group, whose instances ask for home's."""
    a, b = lab.pair()
    wanting(lab, b, a)
    assert sync(lab, b, a) == {"applied": 1}
    assert lab.rules(a) == [f"{b.id} tcp/1"]


def test_removals_over_the_cap_are_held_across_messages(lab: Lab) -> None:
    """Counted over all messages of a delivery: none is made, and one summary says so, and a record of each message."""
    a, b = lab.pair()
    c = lab.group(f"*@{PEER}")
    first, second = wanting(lab, a, b), wanting(lab, c, b)
    lab.instance(b)
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(first, link_peer=None)
    lab.tag(second, link_peer=None)
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    assert len(lab.rules(b)) == 2
    (summary,) = lab.records("summary")
    assert (summary["outcome"], summary["reason"]) == ("failed", "removals-held")
    assert summary["function"] == "cross_account"
    held = lab.records("outcome", reason="removals-held")
    assert sorted(record["request_id"] for record in held) == ["chg-1", "tag-2"]
    lab.policy(limits={"removals_per_run": 2})
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    assert lab.rules(b) == []
