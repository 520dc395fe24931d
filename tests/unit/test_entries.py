"""How entries are put into the tags of groups and instances, and taken off."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.planning.consent import TAG_VALUE
from link_peer_cli.consent.entries import adding, asking, entry, removing

from tests.unit.small_world import HOME, PEER, POLICY

ACCEPT, SECOND, OLD, NEW = "link-accept", "link-accept.2", "sg-a:tcp/1~20270101T000000Z", "sg-a:tcp/1"
LONG = "sg-" + "b" * (TAG_VALUE - 3)
FULL = dict.fromkeys(POLICY.keys.accepting, LONG)
Tags = dict[str, str]


@pytest.mark.parametrize(
    ("tags", "text", "put", "removed"),
    [
        ({}, NEW, {ACCEPT: NEW}, []),
        ({ACCEPT: "sg-b"}, NEW, {SECOND: NEW}, []),  # a tag of its own
        ({ACCEPT: NEW}, NEW, {}, []),
        ({ACCEPT: "sg-b", SECOND: NEW}, NEW, {}, []),
        ({ACCEPT: OLD}, NEW, {ACCEPT: NEW}, [OLD]),
        ({ACCEPT: f"sg-b,{OLD}"}, NEW, {ACCEPT: "sg-b", SECOND: NEW}, [OLD]),
        ({ACCEPT: "sg-a:tcp/2"}, NEW, {SECOND: NEW}, []),  # other ports
        ({ACCEPT: "sg-b", "owner": "x"}, f"sg-a@{PEER}:tcp/1", {SECOND: f"sg-a@{PEER}:tcp/1"}, []),
        ({**FULL, SECOND: "sg-b"}, NEW, {SECOND: f"sg-b,{NEW}"}, []),  # no key is free: it joins one with room
    ],
)
def test_an_entry_is_put_into_a_tag_of_its_own(tags: Tags, text: str, put: Tags, removed: list[str]) -> None:
    """In place of one for the same party and ports; no other consent is written again, where a key is free."""
    edit = adding(tags, HOME, [entry(text, HOME, "entry")], POLICY.keys)
    assert (edit.put, edit.drop, edit.added, edit.removed) == (put, [], [text] * bool(put), removed)
    assert edit.before == {key: tags[key] for key in put if key in tags}
    assert bool(edit) is bool(put)
    assert edit.still_fits(tags)
    assert edit.still_fits({**tags, ACCEPT: "sg-other"}) is (ACCEPT not in put)


def test_without_room_there_is_no_entry() -> None:
    with pytest.raises(LinkPeerError, match="there is no room for the entry sg-a:tcp/1"):
        adding(FULL, HOME, [entry(NEW, HOME, "entry")], POLICY.keys)


@pytest.mark.parametrize(
    ("tags", "put", "drop"),
    [
        ({ACCEPT: f"sg-b,{NEW}"}, {ACCEPT: "sg-b"}, []),
        ({ACCEPT: NEW, SECOND: OLD}, {}, [ACCEPT, SECOND]),
        ({ACCEPT: "sg-b"}, {}, []),
        ({"link-egress": NEW}, {}, []),
    ],
)
def test_a_tag_without_entries_is_deleted(tags: Tags, put: Tags, drop: list[str]) -> None:
    edit = removing(tags, HOME, lambda accept: accept.party.id == "sg-a", POLICY.keys)
    assert (edit.put, edit.drop, edit.added) == (put, drop, [])
    assert edit.removed == [text for text in (NEW, OLD) if text in ",".join(tags.values())] * bool(edit)


@pytest.mark.parametrize(
    ("tags", "put"),
    [
        ({}, {"link-peer": "sg-a"}),
        ({"link-peer": "sg-b", "link-peers": "x"}, {"link-peer": "sg-b,sg-a"}),
        ({"link-peer": LONG}, {"link-peer.2": "sg-a"}),
        ({"link-peer": LONG, "link-peer.2": "sg-b"}, {"link-peer.2": "sg-b,sg-a"}),
    ],
)
def test_an_instance_asks_for_one_peer_more_where_there_is_room(tags: Tags, put: Tags) -> None:
    assert asking(tags, "sg-a", POLICY.keys) == put
