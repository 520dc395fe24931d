"""The reader: asks for nothing twice, and notes or raises what goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Party
from link_peer.engine.reader import Reader

from tests.unit.fakes import FakeCloud, FakeEcs
from tests.unit.views import APP, DB, HOME, PEER, POLICY, A, B, group, instance, key, ours

LEDGER = Party(PEER, "sg-ledger")
K1 = key(DB, APP, "tcp/1")


def home() -> FakeEcs:
    return FakeEcs([group(APP), group(DB)], [instance(A, APP), instance(B, APP, DB)], [ours(K1)])


def peer() -> FakeEcs:
    return FakeEcs([group(LEDGER)], account=PEER)


def reader(*accounts: FakeEcs, tolerant: bool = False) -> Reader:
    return Reader(FakeCloud(*accounts), POLICY, tolerant=tolerant)


READS: list[Callable[[Reader], object]] = [
    lambda r: r.parties([A, APP]),
    lambda r: r.parties([Party(HOME, "i-gone"), Party(HOME, "sg-gone")]),
    lambda r: r.members([APP]),
    lambda r: r.rules([DB, Party(HOME, "sg-gone")]),
    lambda r: r.probe_liveness([HOME]),
]


@pytest.mark.parametrize("read", READS, ids=["parties", "missing parties", "members", "rules", "liveness"])
def test_nothing_is_asked_for_twice(read: Callable[[Reader], object]) -> None:
    """A second read makes no call, also where the first found nothing."""
    ecs = home()
    found = reader(ecs)
    read(found)
    before, snapshot = list(ecs.calls), found.snapshot()
    read(found)
    assert before
    assert (ecs.calls, found.snapshot()) == (before, snapshot)


def test_instances_are_read_with_the_groups_that_they_are_in() -> None:
    """In two calls, whatever the number of instances."""
    ecs = home()
    found = reader(ecs)
    found.parties([A, B])
    assert set(found.snapshot().groups) == {APP, DB}
    assert ecs.calls == ["instances i-a i-b", "groups sg-app sg-db"]


def test_members_are_read_with_all_of_their_groups() -> None:
    """The group is then complete; no other is."""
    found = reader(home())
    found.members([DB])
    snapshot = found.snapshot()
    assert (set(snapshot.instances), set(snapshot.groups)) == ({B}, {APP, DB})
    assert snapshot.complete_groups == {DB}


def test_a_party_that_does_not_exist_counts_as_requested() -> None:
    """So that it is known to be missing, and not merely unread."""
    found = reader(home())
    gone = Party(HOME, "i-gone")
    found.parties([gone])
    snapshot = found.snapshot()
    assert (gone in snapshot.requested, gone in snapshot.instances) == (True, False)


def test_a_snapshot_does_not_change_with_later_reads() -> None:
    """It is frozen for a pass of planning."""
    found = reader(home())
    before = found.snapshot()
    found.parties([A])
    found.rules([DB])
    assert (dict(before.instances), dict(before.rules)) == ({}, {})


def test_a_group_that_does_not_exist_has_no_rules() -> None:
    """ECS answers with an error code for it."""
    ecs = home()
    ecs.errors["rules"] = [CloudError("InvalidSecurityGroupId.NotFound", "no")]
    found = reader(ecs)
    found.rules([DB])
    assert found.snapshot().rules == {DB: ()}


def test_an_account_that_refuses_access_is_noted_and_not_asked_again() -> None:
    """By a reader that is not tolerant, too: the verdict is `no-access`."""
    ecs = home()
    ecs.errors["groups"] = [NoAccess("Forbidden.RAM", "no")]
    found = reader(ecs)
    found.parties([DB])
    found.rules([DB])
    assert ecs.calls == ["groups sg-db"]
    assert not found.readable(HOME)
    refusal = found.refusal(HOME)
    assert refusal is not None
    assert refusal.code == "Forbidden.RAM"
    assert set(found.snapshot().refused_accounts) == {HOME}


def test_an_account_that_cannot_be_entered_is_noted() -> None:
    """The role does not trust us; the other account is read."""
    found = reader(home())
    found.parties([APP, LEDGER])
    snapshot = found.snapshot()
    assert (set(snapshot.groups), set(snapshot.refused_accounts)) == ({APP}, {PEER})


def test_an_account_that_the_policy_does_not_list_is_never_entered() -> None:
    found = reader(home())
    assert found.ecs("1000000000000003") is None
    found.parties([Party("1000000000000003", "sg-x")])
    assert found.snapshot().refused_accounts == {}


def test_trouble_of_the_moment_is_raised() -> None:
    """A code that is not expected counts as such, and the error names the account."""
    ecs = home()
    ecs.errors["groups"] = [Transient("timeout"), CloudError("Strange", "what")]
    found = reader(ecs)
    with pytest.raises(Transient, match="timeout"):
        found.parties([DB])
    with pytest.raises(Transient, match=f"account {HOME}: Strange"):
        found.parties([DB])
    assert found.readable(HOME)


@pytest.mark.parametrize("error", [Transient("timeout"), CloudError("Strange", "what")])
def test_a_tolerant_reader_notes_a_failed_account_and_goes_on(error: Exception) -> None:
    """Nothing more is read there; the other account is read completely."""
    ecs = home()
    ecs.errors["all_instances"] = [error]
    found = reader(ecs, FakeEcs(instances=[instance(Party(PEER, "i-x"))], account=PEER), tolerant=True)
    found.everything([HOME, PEER])
    found.rules([DB])
    snapshot = found.snapshot()
    assert snapshot.failed_accounts == {HOME: str(error)}
    assert (snapshot.whole_accounts, snapshot.live_accounts, snapshot.rules) == ({PEER}, {PEER}, {})
    assert ecs.calls == ["all_instances"]


def test_an_account_that_fails_later_was_not_read_completely() -> None:
    """What its tags ask for is not the whole story any more."""
    ecs = home()
    ecs.errors["rules"] = [Transient("timeout")]
    found = reader(ecs, tolerant=True)
    found.everything([HOME])
    assert found.snapshot().whole_accounts == {HOME}
    found.rules([DB])
    assert found.snapshot().whole_accounts == set()


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    "error", [Transient("timeout"), NoAccess("Forbidden.RAM", "no"), CloudError("Strange", "what")]
)
def test_a_refresh_raises_whatever_the_reader_tolerates(error: Exception, tolerant: bool) -> None:
    """A change depends on it. Any code but lost access is trouble of the moment."""
    ecs = home()
    found = reader(ecs, tolerant=tolerant)
    found.rules([DB])
    ecs.errors["rules"] = [error]
    with pytest.raises(NoAccess if isinstance(error, NoAccess) else Transient):
        found.refresh_rules(DB)
    assert found.rules_of(DB) == ()


def test_a_refresh_of_an_account_that_failed_raises_what_was_noted() -> None:
    """Without a call."""
    ecs = home()
    found = reader(ecs, tolerant=True)
    found.note_trouble(HOME, Transient("timeout"))
    with pytest.raises(Transient, match="timeout"):
        found.refresh_rules(DB)
    assert ecs.calls == []


def test_a_refresh_shows_the_rules_as_they_are_now() -> None:
    """Though they were read before."""
    ecs = home()
    found = reader(ecs)
    found.rules([DB])
    ecs.existing.clear()
    assert found.refresh_rules(DB) == ()
    assert found.rules_of(DB) == ()


def test_a_refreshed_group_has_its_tags_of_now() -> None:
    ecs = home()
    found = reader(ecs)
    found.parties([DB])
    ecs.known["sg-db"] = group(DB, "sg-app")
    shown = found.refresh_group(DB)
    assert shown is not None
    assert shown.tags == {"link-accept": "sg-app"}


def test_a_missing_party_is_confirmed_by_another_read() -> None:
    """A Describe call may omit members: the first omits i-b, and the second shows it."""

    class Forgetful(FakeEcs):
        def members(self, group: str) -> list:
            shown = super().members(group)
            return shown[:1] if self.calls.count(f"members {group}") == 1 else shown

    ecs = Forgetful([group(APP)], [instance(A, APP), instance(B, APP)])
    found = reader(ecs)
    found.members([APP])
    assert set(found.snapshot().instances) == {A}
    found.confirm_absent([APP])
    assert set(found.snapshot().instances) == {A, B}
    assert found.snapshot().complete_groups == {APP}


def test_a_missing_instance_is_asked_for_once_more() -> None:
    ecs = FakeEcs()
    found = reader(ecs)
    found.parties([A])
    ecs.running["i-a"] = instance(A)
    found.confirm_absent([A])
    assert set(found.snapshot().instances) == {A}
    assert ecs.calls == ["instances i-a", "instances i-a"]


@pytest.mark.parametrize("shows", [True, False])
def test_an_account_is_live_once_it_shows_an_instance(shows: bool) -> None:
    """One unfiltered call for each account."""
    found = reader(FakeEcs(instances=[instance(A)] if shows else []))
    found.probe_liveness([HOME])
    assert found.snapshot().live_accounts == ({HOME} if shows else set())


def test_an_account_that_a_person_says_is_empty_counts_as_live() -> None:
    """Without a call."""
    ecs = FakeEcs()
    found = reader(ecs)
    found.assume_live([HOME])
    found.probe_liveness([HOME])
    assert (found.snapshot().live_accounts, ecs.calls) == ({HOME}, [])


def test_reads_side_by_side_find_the_same() -> None:
    """With threads, each group is still read once."""
    groups = [Party(HOME, f"sg-{number}") for number in range(20)]
    ecs = FakeEcs(map(group, groups))
    found = Reader(FakeCloud(ecs), POLICY, threads=4)
    found.rules(groups)
    assert set(found.snapshot().rules) == set(groups)
    assert set(Counter(ecs.calls).values()) == {1}


def test_managed_groups_are_those_with_the_tag() -> None:
    """Of every account that can be read, sorted."""
    tagged = group(DB)
    ecs = FakeEcs([group(APP), tagged])
    ecs.tag_managed("sg-db", "prod")
    found = reader(ecs, peer())
    assert found.managed_groups([HOME, PEER], "prod") == [DB]
    assert found.managed_groups([HOME], "test") == []
