"""What a function's process remembers between deliveries."""

from __future__ import annotations

import pytest
from link_peer.runtime import memory
from link_peer.runtime.memory import Memory

from tests.unit.views import APP, CACHE, DB, NOW, A, B, instance, key, ours


def test_the_groups_in_which_an_instance_was_last_seen_are_remembered() -> None:
    remembered = Memory()
    assert remembered.groups(A) == set()
    remembered.note(instance(A, APP))
    remembered.note(instance(A, APP, DB))
    assert (remembered.groups(A), remembered.groups(B)) == ({APP, DB}, set())


def test_the_instance_noted_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REMEMBERED", 1)
    remembered = Memory()
    remembered.note(instance(A, APP))
    remembered.note(instance(B, DB))
    assert (remembered.groups(A), remembered.groups(B)) == (set(), {DB})


def test_rules_are_remembered_for_a_minute() -> None:
    """From when they were read."""
    remembered = Memory()
    rules = (ours(key(DB, APP, "tcp/1")),)
    remembered.note_rules({DB: rules, APP: ()}, NOW)
    assert remembered.rules(DB, NOW + 59) == rules
    assert remembered.rules(APP, NOW + 59) == ()
    assert remembered.rules(DB, NOW + 60) is None
    assert remembered.rules(CACHE, NOW) is None


def test_the_rules_noted_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUPS_WITH_RULES", 1)
    remembered = Memory()
    remembered.note_rules({DB: (), APP: ()}, NOW)
    assert (remembered.rules(DB, NOW), remembered.rules(APP, NOW)) == (None, ())
