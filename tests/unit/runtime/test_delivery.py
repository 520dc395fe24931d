"""What a function's process remembers between deliveries."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.runtime import delivery
from link_peer.runtime.delivery import Memory

from tests.unit import fakes
from tests.unit.small_world import APP, DB, A, B, C
from tests.unit.snapshots import instance


def test_the_groups_in_which_an_instance_was_last_seen_are_remembered() -> None:
    remembered = Memory()
    assert remembered.groups(A) == set()
    remembered.note(instance(A, APP))
    remembered.note(instance(A, APP, DB))
    assert (remembered.groups(A), remembered.groups(B)) == ({APP, DB}, set())


def test_the_instance_noted_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is noted again is the newest."""
    monkeypatch.setattr(delivery, "REMEMBERED", 2)
    remembered = Memory()
    for noted_instance in (instance(A, APP), instance(B, DB), instance(A, APP), instance(C, DB)):
        remembered.note(noted_instance)
    assert [remembered.groups(party) for party in (A, B, C)] == [{APP}, set(), {DB}]


@pytest.mark.parametrize(("claimed_person", "recorded"), [("", "alice"), ("team-a", "team-a, applied by alice")])
def test_the_records_of_a_persons_command_name_the_person(claimed_person: str, recorded: str) -> None:
    log = fakes.FakeLog()
    run = msgspec.structs.replace(fakes.delivery(fakes.FakeEcs(), log=log), caller="alice")
    run.audit({"claimed_by": claimed_person}).write([{"record": "intent"}])
    assert log.records[0]["claimed_by"] == recorded
