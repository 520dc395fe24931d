"""The effect of a decision for its record: what is read for it, when, and how little of it anything else sees."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Link
from link_peer.domain.tags import parse_ports
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.records import Circumstances
from link_peer.planning.decision import Decision
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeCloud, FakeEcs
from tests.unit.views import APP, CACHE, DB, NOW, POLICY, group, key, ours

LINK = Link(APP, DB, parse_ports("tcp/1"))
APPLIED = Decision(LINK, "link", "applied")
PASSES = f" of {DB} accepts tcp/1 (ingress, priority 100)"


def world(*, rules: int = 2) -> tuple[FakeEcs, Fetch]:
    """sg-app, which has this many rules by the cloud's count, may reach sg-db; the rules of sg-db were read."""
    ecs = FakeEcs([group(APP, rule_count=rules), group(DB), group(CACHE)], rules=[ours(key(DB, APP, "tcp/1"))])
    return ecs, read(ecs)


def read(ecs: FakeEcs, pace: Pace | None = None) -> Fetch:
    fetch = Fetch(FakeCloud(ecs), POLICY, FakeClock(), Reading(pace=pace))
    fetch.parties([APP, DB])
    fetch.rules([DB])
    ecs.calls.clear()
    return fetch


def test_a_decision_that_changed_nothing_reads_nothing() -> None:
    """What could decide is named."""
    ecs, fetch = world()
    unread = {"effect": "unknown", "effect_detail": f"the rules of {APP} were not read (egress): tcp/1"}
    assert Circumstances(fetch).effect(APPLIED) == unread
    assert ecs.calls == []


def test_a_change_reads_the_rules_that_could_decide_once() -> None:
    """A later decision of the delivery uses them, and needs no change for that."""
    ecs, fetch = world()
    circumstances = Circumstances(fetch)
    fields = circumstances.effect(APPLIED, changed=True)
    assert fields["effect"] == "passes"
    assert fields["effect_detail"].endswith(PASSES)
    assert ecs.calls == ["rules sg-app"]
    assert circumstances.effect(APPLIED, changed=True) == circumstances.effect(APPLIED) == fields
    assert ecs.calls == ["rules sg-app"]


def test_where_the_count_says_that_there_are_no_rules_none_are_read() -> None:
    ecs, fetch = world(rules=0)
    assert Circumstances(fetch).effect(APPLIED, changed=True)["effect"] == "passes"
    assert ecs.calls == []


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
    ecs, fetch = world()
    ecs.errors["rules"] = [error]
    circumstances = Circumstances(fetch)
    assert circumstances.effect(APPLIED, changed=True)["effect"] == "unknown"
    assert circumstances.effect(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == ["rules sg-app"]
    assert fetch.store.readable(APP.account)


def test_a_sweep_reads_for_records_only_what_its_pace_lets_through() -> None:
    ecs, _ = world()
    fetch = read(ecs, Pace(FakeClock(), NOW + 600, 1))  # one call a minute, which has been made
    assert Circumstances(fetch).effect(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == []


def test_nothing_is_read_of_an_account_that_cannot_be_read() -> None:
    """It may have answered before."""
    ecs, fetch = world()
    fetch.store.note_trouble(APP.account, Transient("503"))
    assert Circumstances(fetch).effect(APPLIED, changed=True)["effect"] == "unknown"
    assert ecs.calls == []
