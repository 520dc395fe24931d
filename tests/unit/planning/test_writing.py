"""How a link between two groups is written: by what they are."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.model import Link, Party, RuleKey
from link_peer.domain.tags import parse_ports
from link_peer.planning import writing

from tests.unit.small_world import APP, CACHE, DB, HOME, POLICY, A, B
from tests.unit.snapshots import group, instance, key, view

PORTS = parse_ports("tcp/1")
FAR, ADVANCED = {"vpc": "vpc-2"}, {"advanced": True}


@pytest.mark.parametrize(
    ("source", "target", "mutual_denied", "cause"),
    [
        ({}, {}, None, ""),
        (FAR, FAR, None, ""),
        (FAR, {}, f"different-vpc: {APP} is in vpc-2, {DB} in vpc-1: no", "their VPCs differ"),
        ({}, FAR, "different-vpc", "their VPCs differ"),
        (ADVANCED, {}, f"advanced-group: {APP}", "sg-app is an advanced group"),
        ({}, ADVANCED, f"advanced-group: {DB}", "sg-db is an advanced group"),
        (ADVANCED, ADVANCED, f"advanced-group: {APP}", "sg-app and sg-db are advanced groups"),
        (FAR, ADVANCED, "different-vpc", "their VPCs differ, and sg-db is an advanced group"),
    ],
)
def test_a_link_is_written_by_reference_or_by_address(
    source: dict[str, Any], target: dict[str, Any], mutual_denied: str | None, cause: str
) -> None:
    """By address only with ports, which the record says; a mutual link is denied then. A rule that names a group is out
    of place there."""
    groups = group(APP, **source), group(DB, **target)
    snapshot = view(groups, [instance(B, APP), instance(A, APP), instance(Party(HOME, "i-c"), DB)])
    link, mutual = Link(APP, DB, PORTS), Link(APP, DB)
    assert writing.by_reference(*groups) is not bool(cause)
    assert writing.is_by_address(snapshot, link) is bool(cause)
    assert writing.is_otherwise(snapshot, link) is not bool(cause)
    assert writing.note(snapshot, link) == (f"by address, since {cause}" if cause else "")
    assert (writing.note(snapshot, mutual), writing.is_otherwise(snapshot, mutual)) == ("", True)
    assert writing.not_written(*groups, link) is None
    denied = writing.not_written(*groups, mutual)
    assert str(denied).startswith(str(mutual_denied))
    assert writing.misplaced(snapshot, key(DB, APP, "tcp/1"), link) == denied
    assert writing.misplaced(snapshot, RuleKey(DB, "10.0.0.1/32", "", PORTS[0]), link) is None
    members = [Link(APP, DB, PORTS, member.id) for member in (A, B)]
    outlets = [Link(APP, DB, PORTS, "i-c", is_egress=True)] if groups[0].advanced else []
    assert writing.parts(snapshot, POLICY, link) == ([*members, *outlets] if cause else [link])
    assert writing.parts(snapshot, POLICY, mutual) == [mutual]
    assert writing.parts(view(groups), POLICY, link) == [link]


@pytest.mark.parametrize(("fields", "reason"), [({"vpc": ""}, "classic-network"), ({"managed": True}, "managed-group")])
def test_no_rule_of_a_classic_or_managed_group_is_written(fields: dict[str, Any], reason: str) -> None:
    """On either side, with ports or without."""
    for link in (Link(APP, DB, PORTS), Link(APP, DB)):
        for groups in ((group(APP, **fields), group(DB)), (group(APP), group(DB, **fields))):
            denied = writing.not_written(*groups, link)
            assert denied is not None
            assert denied.reason.code == reason


def test_how_a_link_is_written_is_not_known_until_both_groups_were_read() -> None:
    for snapshot in (view([group(APP)]), view([group(DB, **FAR)])):
        link = Link(APP, DB, PORTS)
        assert (writing.is_by_address(snapshot, link), writing.is_otherwise(snapshot, link)) == (False, False)
    assert writing.is_otherwise(view([group(APP), group(CACHE)]), Link(APP, CACHE)) is True
