"""Reading the cloud: asks for nothing twice, and notes or raises what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Party
from link_peer.domain.snapshot import Address
from link_peer.domain.tags import asks_for_links
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import SPARE, Fetch
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeCloud, FakeEcs
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, A, B
from tests.unit.views import group, instance, key, ours

LEDGER = Party(PEER, "sg-ledger")
K1 = key(DB, APP, "tcp/1")


def home() -> FakeEcs:
    return FakeEcs([group(APP), group(DB)], [instance(A, APP), instance(B, APP, DB)], [ours(K1)])


def peer() -> FakeEcs:
    return FakeEcs([group(LEDGER)], account=PEER)


def opened(*accounts: FakeEcs, tolerant: bool = False) -> Fetch:
    how = Reading(tolerant=tolerant, compares=not tolerant)
    return Fetch(FakeCloud(*accounts), POLICY, FakeClock(), how)


def frugal(*accounts: FakeEcs) -> Fetch:
    """A fetch that sets instances without wishes aside."""
    how = Reading(tolerant=True, keep=lambda one: asks_for_links(one.tags, POLICY.keys))
    return Fetch(FakeCloud(*accounts), POLICY, FakeClock(), how)


def paced(*accounts: FakeEcs, per_minute: int | None = None, seconds: float = 600) -> tuple[Fetch, FakeClock]:
    """A tolerant fetch with a pace that ends after so many seconds, and its clock."""
    clock = FakeClock()
    pace = Pace(clock, NOW + seconds, per_minute)
    return Fetch(FakeCloud(*accounts), POLICY, clock, Reading(tolerant=True, pace=pace)), clock


READS: list[Callable[[Fetch], object]] = [
    lambda r: r.parties([A, APP]),
    lambda r: r.parties([Party(HOME, "i-gone"), Party(HOME, "sg-gone")]),
    lambda r: r.members([APP]),
    lambda r: r.rules([DB, Party(HOME, "sg-gone")]),
    lambda r: r.probe_liveness([HOME]),
    lambda r: (r.all_groups([HOME]) if not r.store.groups else None, r.parties([DB, Party(HOME, "sg-no")])),
]


@pytest.mark.parametrize(
    "read", READS, ids=["parties", "missing parties", "members", "rules", "liveness", "all groups"]
)
def test_nothing_is_asked_for_twice(read: Callable[[Fetch], object]) -> None:
    """A second read makes no call, also where the first found nothing."""
    ecs = home()
    found = opened(ecs)
    read(found)
    before, snapshot = list(ecs.calls), found.store.snapshot()
    read(found)
    assert before
    assert (ecs.calls, found.store.snapshot()) == (before, snapshot)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_a_group_without_a_member_that_was_just_shown_was_not_read_completely(tolerant: bool, others: int) -> None:
    """An account that stops showing instances during a delivery proves nothing. A sweep, which has read the whole account, doubts
    an empty answer alone."""
    ecs = home()
    reading = opened(ecs, tolerant=tolerant)
    reading.parties([A])
    ecs.running = {one.party.id: one for one in [instance(B, APP)][:others]}
    if tolerant:
        reading.members([APP])
    else:
        with pytest.raises(Transient, match="does not show i-a"):
            reading.members([APP])
    assert (reading.store.member_count(APP) is not None) is (tolerant and others > 0)
    assert reading.store.readable(HOME) is (not tolerant or others > 0)


def test_an_account_that_fails_later_is_noted_as_failed() -> None:
    """Though all of its instances were read: nothing is decided about its side any more, and nothing more is read there."""
    ecs = home()
    ecs.errors["rules"] = [Transient("timeout")]
    found = opened(ecs, tolerant=True)
    found.everything([HOME])
    assert found.store.readable(HOME)
    found.rules([APP, DB])
    snapshot = found.store.snapshot()
    assert (snapshot.failed_accounts, snapshot.readable(HOME), snapshot.rules) == ({HOME: "timeout"}, False, {})
    assert not found.store.readable(HOME)
    assert ecs.calls == ["instance_page", "rules sg-app"]


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    "error", [Transient("timeout"), NoAccess("Forbidden.RAM", "no"), CloudError("Strange", "what")]
)
def test_a_refresh_raises_whatever_the_reader_tolerates(error: Exception, tolerant: bool) -> None:
    """A change depends on it. Any code but lost access is a transient error."""
    ecs = home()
    found = opened(ecs, tolerant=tolerant)
    found.rules([DB])
    ecs.errors["rules"] = [error]
    with pytest.raises(NoAccess if isinstance(error, NoAccess) else Transient):
        found.refresh_rules(DB)
    assert found.store.rules.get(DB, ()) == ()


def test_a_refresh_counts_among_the_calls_of_its_minute() -> None:
    found, _ = paced(home(), per_minute=2)
    found.refresh_rules(DB)
    found.refresh_rules(DB)
    found.rules([APP])
    assert APP not in found.store.rules


def test_a_look_beside_a_delivery_notes_what_the_delivery_would_raise() -> None:
    """In the store that both share."""
    ecs = home()
    found = opened(ecs, tolerant=False)
    ecs.errors["rules"] = [Transient("timeout")]
    found.tolerant().rules([DB])
    assert not found.store.readable(HOME)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("missing", [APP, A])
def test_a_missing_group_is_asked_for_by_its_id(missing: Party, listed: bool) -> None:
    """Also one of a shown instance, and where the list of all groups did not have it."""
    ecs = FakeEcs([group(DB)], [instance(A, APP)])
    found = opened(ecs)
    if listed:
        found.all_groups([HOME])
    found.parties([A, APP])
    ecs.known["sg-app"] = group(APP)
    found.confirm_absent([missing])
    assert APP in found.store.groups


@pytest.mark.parametrize(("tolerant", "most"), [(True, 4), (False, 1)])
def test_members_are_read_side_by_side_by_a_tolerant_reader_only(tolerant: bool, most: int) -> None:
    """The other one compares each group with what earlier reads showed."""
    both = threading.Barrier(most, timeout=10)

    class Waiting(FakeEcs):
        def members(self, group: str) -> list:
            both.wait()
            return super().members(group)

    groups = [Party(HOME, f"sg-{number}") for number in range(4)]
    ecs = Waiting(map(group, groups))
    found = Fetch(FakeCloud(ecs), POLICY, FakeClock(), Reading(tolerant=tolerant), threads=4)
    found.members(groups)
    assert found.store.snapshot().complete_groups == set(groups)
    if not tolerant:
        assert ecs.calls[:4] == [f"members sg-{number}" for number in range(4)]


def crowd() -> FakeEcs:
    """Two of seven instances have wishes, one has another tag; on pages of two."""
    members = [instance(Party(HOME, f"i-{n}"), APP) for n in range(4)]
    wishing = [instance(A, APP, link_peer="i-2 sg-db"), instance(Party(HOME, "i-9"), DB, **{"link_peer.x": "?"})]
    found = FakeEcs([group(APP), group(DB)], [*members, *wishing, instance(B, APP, owner="b")])
    found.page = 2
    return found


def test_of_a_whole_account_only_instances_with_wishes_are_kept() -> None:
    """On whatever page. Of the others it is known that they exist, and of which groups they are members."""
    ecs = crowd()
    found = frugal(ecs)
    found.everything([HOME])
    snapshot = found.store.snapshot()
    assert set(snapshot.instances) == {A, Party(HOME, "i-9")}
    assert ecs.calls == ["instance_page", "instance_page 2", "instance_page 4", "instance_page 6"]
    assert (snapshot.instances_in(HOME), snapshot.instances_in(PEER)) == (7, 0)
    assert (found.store.member_count(APP), found.store.member_count(DB), found.store.member_count(CACHE)) == (6, 1, 0)
    assert [snapshot.shows_members(party) for party in (APP, DB, CACHE, B, Party(HOME, "i-gone"))] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert (snapshot.whole_accounts, snapshot.live_accounts) == ({HOME}, {HOME})


def test_an_instance_set_aside_is_read_by_its_id_when_it_is_asked_for() -> None:
    """One that the account does not show, and one that is kept, cost no call."""
    ecs = crowd()
    found = frugal(ecs)
    found.everything([HOME])
    before = len(ecs.calls)
    aside, gone = Party(HOME, "i-2"), Party(HOME, "i-gone")
    assert [found.store.snapshot().set_aside(party) for party in (aside, gone, A)] == [True, False, False]
    found.parties([aside, gone, A])
    assert ecs.calls[before] == "instances i-2"
    assert found.store.snapshot().instances[aside].groups == ("sg-app",)
    assert not found.store.snapshot().set_aside(aside)


@pytest.mark.parametrize("tagged", [True, False])
def test_an_account_shows_tags_if_any_instance_set_aside_has_one(tagged: bool) -> None:
    """Whatever the tag."""
    found = frugal(FakeEcs(instances=[instance(A, APP), instance(B, APP, **({"owner": "b"} if tagged else {}))]))
    found.everything([HOME])
    assert found.store.snapshot().instances == {}
    assert found.store.snapshot().shows_tags(HOME) is tagged
    assert not found.store.snapshot().shows_tags(PEER)


def test_an_instance_shown_on_two_pages_counts_once() -> None:
    """A new one moves the others to later pages."""

    class Moving(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list, str]:
            return [instance(A, APP)], "" if token else "2"

    found = frugal(Moving())
    found.everything([HOME])
    assert (found.store.member_count(APP), found.store.snapshot().instances_in(HOME)) == (1, 1)


def test_a_throttled_page_is_read_again_in_the_next_minute() -> None:
    """The pages before it are not."""
    ecs = crowd()

    class Limited(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list, str]:
            self.errors["instance_page"] = [Throttled("no")] if token == "4" and clock.time < NOW + 60 else []
            return super().instance_page(token)

    limited = Limited(instances=ecs.running.values())
    limited.page = 2
    found, clock = paced(limited)
    found.everything([HOME])
    assert limited.calls == [f"instance_page {n}".removesuffix(" 0") for n in (0, 2, 4, 4, 6)]
    assert (found.store.snapshot().instances_in(HOME), clock.waits[:2]) == (7, [5, 5])


def test_members_that_cannot_be_read_in_time_are_not_confirmed() -> None:
    """The account counts as failed, so that nothing in it is treated as gone."""
    found, _ = paced(home(), per_minute=2, seconds=50)
    found.everything([HOME])
    found.confirm_absent([APP])
    assert set(found.store.snapshot().failed_accounts) == {HOME}


def test_rules_beyond_the_pace_are_left_unread_without_a_wait() -> None:
    """Those of an account that may be called more often are read."""
    other = peer()
    found, clock = paced(home(), other, per_minute=2)
    found.rules([APP, DB, LEDGER])
    assert [one in found.store.rules for one in (APP, DB, LEDGER)] == [True, False, True]
    assert clock.waits == []
    clock.time += 60
    found.rules([APP, DB])
    assert DB in found.store.rules
    assert found.store.readable(HOME)


def test_no_rules_are_read_when_the_time_for_them_is_over() -> None:
    ecs = home()
    found, _ = paced(ecs)
    found.rules([APP, DB], until=NOW)
    assert (ecs.calls, APP in found.store.rules) == ([], False)


def test_a_sweep_reads_no_members_for_a_record() -> None:
    """It lists all instances. A delivery of its own reads them beside its writes."""
    assert [found.members_aside(APP) for found in (paced(home())[0], opened(home()))] == [None, [A, B]]


def test_a_sweep_asks_an_account_about_so_many_addresses() -> None:
    """In so many VPCs. Others' rules make it ask. A delivery of its own asks about all that it needs."""
    many = [Address(PEER, f"vpc-{n}", "10.0.0.1") for n in range(SPARE + 1)]
    for found, asked in ((paced(peer())[0], SPARE), (opened(peer()), SPARE + 1)):
        found.questions(many)
        assert len(found.store.answers) == asked


@pytest.mark.parametrize(("code", "readable"), [("InvalidSecurityGroupId.Malformed", True), ("Odd", False)])
def test_a_party_that_the_cloud_calls_malformed_costs_its_account_nothing_else(code: str, readable: bool) -> None:
    """Where trouble is noted. The question stays open, and the others are answered. Any other error is the account's."""
    ecs = home()
    ecs.errors["inner_access"] = [CloudError(code, "no")]
    found, _ = paced(ecs)
    found.questions([APP, DB])
    assert found.store.readable(HOME) is readable
    assert set(found.store.snapshot().inner_access) == ({DB} if readable else set())


def test_postponed_instances_are_not_read_by_their_id() -> None:
    """Unless their absence is to be confirmed. What a read of their whole account says of them counts."""
    ecs = home()
    found = opened(ecs, tolerant=True)
    found.postponed = {A, Party(HOME, "i-gone")}
    found.parties([A, B, Party(HOME, "i-gone")])
    assert [call for call in ecs.calls if call.startswith("instances")] == ["instances i-b"]
    found.confirm_absent([A])
    assert A in found.store.instances
    found.everything([HOME])
    found.parties([Party(HOME, "i-gone")])
    assert Party(HOME, "i-gone") in found.store.requested


def test_the_time_at_which_a_groups_tags_were_read_is_known() -> None:
    """Each read counts anew; a group that was not read was read long ago."""
    clock = FakeClock()
    found = Fetch(FakeCloud(home()), POLICY, clock)
    assert found.group_read_at(DB) == 0.0
    found.parties([DB])
    clock.time += 7
    found.parties([APP])
    assert (found.group_read_at(DB), found.group_read_at(APP)) == (NOW, NOW + 7)
    found.refresh_group(DB)
    assert found.group_read_at(DB) == NOW + 7


def test_the_members_of_a_group_are_counted_once_all_were_read() -> None:
    """Its own members, or every instance of its account."""
    found = opened(home())
    found.parties([A])
    assert found.store.member_count(APP) is None
    found.members([APP])
    assert (found.store.member_count(APP), found.store.member_count(DB)) == (2, None)
    found.everything([HOME])
    assert (found.store.member_count(DB), found.store.member_count(CACHE)) == (1, 0)
