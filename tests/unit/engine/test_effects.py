"""The effect of a decision for its record: what is read for it, when, and how little of it anything else sees."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.tags import parse_ports
from link_peer.engine.read.effects import Effects
from link_peer.engine.read.reader import Reader
from link_peer.planning.decision import Decision
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeCloud, FakeEcs
from tests.unit.views import APP, CACHE, DB, NOW, PEER, POLICY, group, key, ours

LINK = Link(APP, DB, parse_ports("tcp/1"))
APPLIED = Decision(LINK, "link", "applied")
PASSES = f" of {DB} accepts tcp/1 (ingress, priority 100)"


def world(*, rules: int = 2) -> tuple[FakeEcs, Reader]:
    """sg-app, which has this many rules by the cloud's count, may reach sg-db; the rules of sg-db were read."""
    ecs = FakeEcs([group(APP, rule_count=rules), group(DB), group(CACHE)], rules=[ours(key(DB, APP, "tcp/1"))])
    return ecs, read(ecs)


def read(ecs: FakeEcs, pace: Pace | None = None) -> Reader:
    reader = Reader(FakeCloud(ecs), POLICY, FakeClock(), pace=pace)
    reader.parties([APP, DB])
    reader.rules([DB])
    ecs.calls.clear()
    return reader


def test_a_decision_that_changed_nothing_reads_nothing() -> None:
    """What could decide is named."""
    ecs, reader = world()
    unread = {"effect": "unknown", "effect_detail": f"the rules of {APP} were not read (egress): tcp/1"}
    assert Effects(reader).fields(APPLIED) == unread
    assert ecs.calls == []


def test_a_change_reads_the_rules_that_could_decide_once() -> None:
    """A later decision of the delivery uses them, and needs no change for that."""
    ecs, reader = world()
    effects = Effects(reader)
    fields = effects.fields(APPLIED, changed=True)
    assert fields["effect"] == "passes"
    assert fields["effect_detail"].endswith(PASSES)
    assert ecs.calls == ["rules sg-app"]
    assert effects.fields(APPLIED, changed=True) == effects.fields(APPLIED) == fields
    assert ecs.calls == ["rules sg-app"]


def test_where_the_count_says_that_there_are_no_rules_none_are_read() -> None:
    ecs, reader = world(rules=0)
    assert Effects(reader).fields(APPLIED, changed=True)["effect"] == "passes"
    assert ecs.calls == []


def test_no_decision_is_made_from_what_is_read_for_a_record() -> None:
    _, reader = world()
    Effects(reader).fields(APPLIED, changed=True)
    assert reader.snapshot().rules.keys() == reader.now_known().rules.keys() == {DB}


@pytest.mark.parametrize(
    "error",
    [
        Transient("503"),
        Throttled("rate"),
        NoAccess("Forbidden.RAM", "no"),
        CloudError("InvalidSecurityGroupId.NotFound", ""),
    ],
)
def test_a_read_that_fails_leaves_it_unknown_and_is_not_made_again(error: Exception) -> None:
    """Nor does it change what is known of the account."""
    ecs, reader = world()
    ecs.errors["rules"] = [error]
    effects = Effects(reader)
    assert effects.fields(APPLIED, changed=True)["effect"] == "unknown"
    assert effects.fields(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == ["rules sg-app"]
    assert reader.readable(APP.account)


def test_a_sweep_reads_for_records_only_what_its_pace_lets_through() -> None:
    ecs, _ = world()
    reader = read(ecs, Pace(FakeClock(), NOW + 600, 1))  # one call a minute, which has been made
    assert Effects(reader).fields(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == []


def test_nothing_is_read_of_an_account_that_cannot_be_read() -> None:
    """It may have answered before."""
    ecs, reader = world()
    reader.note_trouble(APP.account, Transient("503"))
    assert Effects(reader).fields(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == []


def test_a_party_of_an_account_that_was_not_read_leaves_it_unknown() -> None:
    _, reader = world()
    link = Link(Party(PEER, "sg-x"), DB, LINK.ports)
    fields = Effects(reader).fields(Decision(link, "link", "denied"))
    assert fields == {"effect": "unknown", "effect_detail": f"sg-x@{PEER} was not read"}
