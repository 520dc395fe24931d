"""Reading the cloud: asks for nothing twice, and notes or raises what goes wrong."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Instance, Link, Party
from link_peer.domain.policy import AccountPolicy
from link_peer.domain.snapshot import Address
from link_peer.domain.tags import asks_for_links, parse_ports
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Fetch, MissingReader, open_fetch
from link_peer.planning.decision import InstancesOf, MembersOf, Missing, RulesOf
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeCloud, FakeEcs, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, MANAGED, NOW, PEER, POLICY, A, B
from tests.unit.snapshots import group, instance, key, managed, ours, policy

LEDGER = Party(PEER, "sg-ledger")
K1, P1 = key(DB, APP, "tcp/1"), parse_ports("tcp/1")


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


C, D, GONE, NO_GROUP = (Party(HOME, name) for name in ("i-c", "i-d", "i-gone", "sg-gone"))
LISTS: dict[str, Callable[[Fetch], object]] = {
    "all_groups": lambda f: f.store.groups or f.all_groups([HOME]),
    f"tagged_groups {MANAGED}": lambda f: f.store.groups or f.tagged_groups([HOME], MANAGED),
}
READS: list[tuple[Callable[[Fetch], object], list[str]]] = [
    (lambda f: f.parties([A, APP]), ["instances i-a", "groups sg-app"]),
    (lambda f: f.parties([B]), ["instances i-b", "groups sg-app sg-db"]),
    (lambda f: f.parties([GONE, NO_GROUP]), ["instances i-gone", "groups sg-gone"]),
    (lambda f: (f.parties([C]), f.parties([D])), ["instances i-c", "groups sg-gone", "instances i-d"]),
    (lambda f: f.instances([A, GONE]), ["instances i-a i-gone"]),
    (lambda f: (f.instances([A]), f.groups_of_instances()), ["instances i-a", "groups sg-app"]),
    (lambda f: f.members([APP]), ["members sg-app", "groups sg-app sg-db"]),
    (lambda f: (f.members([APP]), f.parties([A])), ["members sg-app", "groups sg-app sg-db"]),
    (lambda f: f.members([APP], alone=True), ["members sg-app"]),
    (lambda f: f.rules([DB, NO_GROUP]), ["rules sg-db", "rules sg-gone"]),
    (lambda f: f.parties_and_rules([A, DB]), ["rules sg-db", "instances i-a", "groups sg-app sg-db"]),
    (lambda f: f.parties_and_rules([LEDGER, A]), ["instances i-a", "groups sg-app"]),
    (lambda f: f.probe_liveness([HOME]), ["shows_instances"]),
    *((lambda f, listed=listed: (listed(f), f.parties([DB])), [call]) for call, listed in LISTS.items()),
    (lambda f: (LISTS["all_groups"](f), f.parties([A, NO_GROUP])), ["all_groups", "instances i-a"]),
    (lambda f: (f.first_page(APP), f.members_aside(APP)), ["instance_page sg-app"]),
]


@pytest.mark.parametrize(("read", "calls"), READS, ids=range(len(READS)))
def test_nothing_is_asked_for_twice(read: Callable[[Fetch], object], calls: list[str]) -> None:
    """A second read makes no call, also where the first found nothing, or the account cannot be entered. What was asked for, and
    exists, is in the store."""
    members = [instance(A, APP), instance(B, APP, DB), instance(C, NO_GROUP), instance(D, NO_GROUP)]
    ecs = FakeEcs([group(APP), managed(DB)], members, [ours(K1)])
    found = opened(ecs)
    read(found)
    snapshot = found.store.snapshot()
    read(found)
    assert (ecs.calls, found.store.snapshot()) == (calls, snapshot)
    asked = {word for call in calls for word in call.split()[1:]} & {*ecs.known, *ecs.running}
    known = {
        *snapshot.instances,
        *snapshot.groups,
        *snapshot.rules,
        *snapshot.complete_groups,
        *found.store.first_pages,
    }
    assert asked <= {party.id for party in known}
    assert LEDGER not in snapshot.groups


def test_lists_are_of_all_accounts_that_are_asked_for() -> None:
    """Sorted, but for all groups of an account."""
    rules = [ours(key(target, APP, "tcp/1")) for target in (DB, CACHE)]
    other_ecs = FakeEcs([managed(LEDGER)], account=PEER)
    found = opened(FakeEcs([managed(DB), group(APP), managed(CACHE)], rules=rules), other_ecs)
    assert found.references([APP, LEDGER]) == [CACHE, DB]
    assert found.tagged_groups([PEER, HOME], MANAGED) == [CACHE, DB, LEDGER] == sorted(found.store.groups)
    assert [group.party for group in found.all_groups([PEER, HOME])] == [LEDGER, DB, APP, CACHE]


def test_an_account_that_cannot_be_entered_is_called_no_more() -> None:
    """Nor for a change. One that the policy does not list refuses nothing."""
    ecs = home()
    found = opened(ecs)
    found.parties_and_rules([LEDGER])
    assert (found.ecs(HOME), found.store.requested) == (ecs, {LEDGER})
    assert (found.ecs(PEER), found.ecs("1000000000000003")) == (None, None)
    ecs.errors["rules"] = [NoAccess("Forbidden.RAM", "no")]
    found.rules([DB, APP])
    assert found.ecs(HOME) is None
    with pytest.raises(NoAccess, match="no"):
        found.refresh_rules(DB)
    assert ecs.calls == ["rules sg-app"]
    assert set(found.store.snapshot().refused_accounts) == {HOME, PEER}


@pytest.mark.parametrize("threads", [1, 2])
def test_reads_are_made_side_by_side_where_threads_are_allowed(threads: int) -> None:
    """Then whole accounts are all listed at the same time. With one thread, in their order in the caller's own, as one read is."""
    third, own, made = "1000000000000003", threading.get_ident(), list[int]()

    def waits(most: int) -> Callable[[], object]:
        together = threading.Barrier(most if threads > 1 else 1, timeout=5)
        return lambda: (together.wait(), made.append(threading.get_ident()))

    class Waiting(FakeEcs):
        def instance_page(self, token: str = "", group: str = "") -> tuple[list, str]:
            listed()
            return super().instance_page(token, group)

    both, listed = waits(2), waits(3)
    accounts = {uid: Waiting(account=uid) for uid in (HOME, PEER, third)}
    rules = policy(accounts={**POLICY.accounts, third: AccountPolicy("c", "role")})
    fetch = Fetch(FakeCloud(*accounts.values()), rules, FakeClock(), threads=threads)
    fetch.side_by_side(both, both)
    fetch.all_instances([*accounts])
    assert (own in made, fetch.store.listings.keys()) == (threads == 1, accounts.keys())
    if threads == 1:
        assert made == [own] * 5
    made.clear()
    fetch.side_by_side(lambda: made.append(threading.get_ident()))
    assert made == [own]


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_a_group_without_a_member_that_was_just_shown_was_not_read_completely(tolerant: bool, others: int) -> None:
    """An account that stops showing instances during a delivery proves nothing. A sweep, which has read the whole account, doubts
    an empty answer alone."""
    ecs = home()
    reading = opened(ecs, tolerant=tolerant)
    reading.parties([A])
    ecs.running = {instance.party.id: instance for instance in [instance(B, APP)][:others]}
    if tolerant:
        reading.members([APP])
    else:
        with pytest.raises(Transient, match="does not show i-a"):
            reading.members([APP])
    assert (reading.store.member_count(APP) is not None) is (tolerant and others > 0)
    assert reading.store.readable(HOME) is (not tolerant or others > 0)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Throttled("timeout"), "timeout"),
        (NoAccess("Forbidden.RAM", "no"), "Forbidden.RAM: no"),
        (CloudError("Strange", "what"), f"account {HOME}: Strange: what"),
    ],
)
def test_a_refresh_raises_whatever_the_reader_tolerates(error: Exception, said: str, tolerant: bool) -> None:
    """A change depends on it. Any code but lost access is a transient error, as it is for a read that tolerates none. It is made
    also where a read failed before."""
    ecs = home()
    found = opened(ecs, tolerant=True) if tolerant else opened(ecs)
    found.rules([DB])
    if not isinstance(error, NoAccess):
        ecs.errors["rules"] = [error]
        with contextlib.nullcontext() if tolerant else pytest.raises(Transient, match=f"^{said}$"):
            found.rules([APP])
        assert found.refresh_rules(DB) == (ours(K1),)
    ecs.errors["rules"] = [error]
    with pytest.raises(NoAccess if isinstance(error, NoAccess) else Transient, match=f"^{said}$"):
        found.refresh_rules(DB)
    assert found.store.rules.get(DB, ()) == ()
    assert (found.store.refusal(HOME) is error) is isinstance(error, NoAccess)


def test_a_group_that_does_not_exist_has_no_rules() -> None:
    """The cloud answers with an error, where it does not find it or calls its id malformed."""
    ecs = home()
    ecs.errors["rules"] = [CloudError(f"InvalidSecurityGroupId.{why}", "no") for why in ("NotFound", "Malformed")]
    found = opened(ecs)
    found.rules([NO_GROUP])
    assert (found.refresh_rules(DB), found.store.rules) == ((), {NO_GROUP: (), DB: ()})


def test_a_refresh_counts_among_the_calls_of_its_minute() -> None:
    found, _ = paced(home(), per_minute=2)
    found.refresh_rules(DB)
    found.refresh_rules(DB)
    found.rules([APP])
    assert APP not in found.store.rules


def test_a_look_beside_a_delivery_notes_what_the_delivery_would_raise() -> None:
    """In the store that both share. Nothing more is read there, though all of its instances were."""
    ecs = home()
    found = opened(ecs, tolerant=False)
    found.all_instances([HOME])
    ecs.errors["rules"] = [Transient("timeout")]
    found.tolerant().rules([APP, DB])
    assert found.store.snapshot().failed_accounts == {HOME: "timeout"}
    assert (found.store.readable(HOME), ecs.calls) == (False, ["instance_page", "rules sg-app"])


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


def test_what_is_not_shown_is_read_once_more() -> None:
    """By its id, though the whole account was read; and of a group, its members."""
    ecs = home()
    found = opened(ecs)
    found.all_instances([HOME])
    found.members([DB])
    found.parties([A, GONE])
    before = len(ecs.calls)
    found.confirm_absent([A, GONE, DB])
    assert ecs.calls[before:] == ["instances i-a i-gone", "members sg-db"]


@pytest.mark.parametrize(("tolerant", "most"), [(True, 4), (False, 1)])
def test_members_are_read_side_by_side_by_a_tolerant_reader_only(tolerant: bool, most: int) -> None:
    """The other one compares each group with what earlier reads showed."""
    both, made = threading.Barrier(most, timeout=10), set[int]()

    class Waiting(FakeEcs):
        def members(self, group: str) -> list:
            both.wait()
            made.add(threading.get_ident())
            return super().members(group)

    groups = [Party(HOME, f"sg-{number}") for number in range(4)]
    ecs = Waiting(map(group, groups))
    fetch = Fetch(FakeCloud(ecs), POLICY, FakeClock(), Reading(tolerant=tolerant, compares=not tolerant), threads=4)
    fetch.members(groups)
    assert fetch.store.snapshot().complete_groups == set(groups)
    assert (threading.get_ident() in made, len(made)) == (not tolerant, most)


def crowd() -> FakeEcs:
    """Two of seven instances have wishes, one has another tag; on pages of two."""
    members = [instance(Party(HOME, f"i-{n}"), APP) for n in range(4)]
    wishing = [instance(A, APP, link_peer="i-2 sg-db"), instance(Party(HOME, "i-9"), DB, **{"link_peer.x": "?"})]
    fake_ecs = FakeEcs([group(APP), group(DB)], [*members, *wishing, instance(B, APP, owner="b")])
    fake_ecs.page = 2
    return fake_ecs


def test_of_a_whole_account_only_instances_with_wishes_are_kept() -> None:
    """On whatever page. Of the others it is known that they exist, and of which groups they are members."""
    ecs = crowd()
    found = frugal(ecs)
    found.all_instances([HOME])
    snapshot = found.store.snapshot()
    assert set(snapshot.instances) == {A, Party(HOME, "i-9")}
    assert ecs.calls == ["instance_page", "instance_page 2", "instance_page 4", "instance_page 6"]
    assert (snapshot.instances_in(HOME), snapshot.instances_in(PEER)) == (7, 0)
    assert (found.store.member_count(APP), found.store.member_count(DB), found.store.member_count(CACHE)) == (6, 1, 0)
    assert (snapshot.whole_accounts, snapshot.live_accounts, snapshot.shows_tags(HOME)) == ({HOME}, {HOME}, True)


def test_an_instance_set_aside_is_read_by_its_id_when_it_is_asked_for() -> None:
    """One that the account does not show, and one that is kept, cost no call."""
    ecs = crowd()
    found = frugal(ecs)
    found.all_instances([HOME])
    before = len(ecs.calls)
    aside, gone = Party(HOME, "i-2"), Party(HOME, "i-gone")
    assert [found.store.snapshot().set_aside(party) for party in (aside, gone, A)] == [True, False, False]
    found.parties([aside, gone, A])
    assert ecs.calls[before] == "instances i-2"
    assert found.store.snapshot().instances[aside].groups == ("sg-app",)
    assert not found.store.snapshot().set_aside(aside)


def test_an_instance_shown_on_two_pages_counts_once() -> None:
    """A new one moves the others to later pages."""

    class Moving(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list, str]:
            return [instance(A, APP)], "" if token else "2"

    found = frugal(Moving())
    found.all_instances([HOME])
    assert (found.store.member_count(APP), found.store.snapshot().instances_in(HOME)) == (1, 1)
    assert not found.store.snapshot().shows_tags(HOME)


def test_pages_of_an_account_are_read_until_a_time() -> None:
    """Later from the next one on. Only all of them from the first on are a listing of the account. Kept is what was asked for before,
    and what was read by its id stays as it is."""
    clock, late = FakeClock(), Party(HOME, "i-0")

    class Slow(FakeEcs):
        def instance_page(self, token: str = "", group: str = "") -> tuple[list, str]:
            clock.time += 10
            return super().instance_page(token, group)

    ecs = Slow(instances=crowd().running.values())
    shown, ecs.page = ecs.running.pop(late.id), 2
    fetch = Fetch(FakeCloud(ecs), POLICY, clock, Reading(keep=lambda one: asks_for_links(one.tags, POLICY.keys)))
    fetch.instances([late])
    ecs.running[late.id] = shown
    pages = fetch.pages()
    fetch.read_pages(HOME, pages, NOW + 20)
    assert (pages.first, pages.count, pages.following, pages.whole) == ("", 2, "4", False)
    ecs.running["i-a"] = instance(A, APP, link_peer="sg-new")
    fetch.instances([A])
    fetch.keep_pages(HOME, pages)
    assert (fetch.store.live_accounts, fetch.store.listings, set(fetch.store.instances)) == ({HOME}, {}, {A})
    fetch.read_pages(HOME, pages, math.inf)
    fetch.keep_pages(HOME, pages)
    assert (pages.count, pages.following, pages.whole) == (4, None, True)
    assert (fetch.store.snapshot().instances_in(HOME), set(fetch.store.instances)) == (7, {A, late, Party(HOME, "i-9")})
    assert fetch.store.instances[A].tags == {"link-peer": "sg-new"}


@pytest.mark.parametrize(("token", "live"), [("2", {HOME}), ("8", set())])
def test_the_last_pages_of_an_account_are_no_listing(token: str, live: set[str]) -> None:
    found = opened(crowd())
    pages = found.pages(token)
    found.read_pages(HOME, pages, math.inf)
    found.keep_pages(HOME, pages)
    assert (pages.following, pages.whole, found.store.listings, found.store.live_accounts) == (None, False, {}, live)


@pytest.mark.parametrize(
    ("token", "code", "pages"), [("4", "InvalidParameter.NextToken", 4), ("4", "Odd", 0), ("", "Invalid.NextToken", 0)]
)
def test_pages_are_read_from_the_first_one_again_where_the_cloud_refuses_the_token(
    token: str, code: str, pages: int
) -> None:
    """Not where it refuses anything else, nor where it was given none."""
    ecs = crowd()
    ecs.errors["instance_page"] = [CloudError(code, "no")]
    found = opened(ecs)
    some = found.pages(token)
    with contextlib.nullcontext() if pages else pytest.raises(Transient, match=code):
        found.read_pages(HOME, some, math.inf)
    assert (some.count, some.whole, len(ecs.calls)) == (pages, pages == 4, 1 + pages)


@pytest.mark.parametrize(
    ("per_minute", "until", "errors", "calls"),
    [(2, 30, 0, 1), (2, 90, 0, 2), (None, 90, 1, 5), (None, 90, 2, 2), (2, 9_000, 0, 4)],
)
def test_pages_are_read_as_the_pace_allows(per_minute: int | None, until: float, errors: int, calls: int) -> None:
    """No wait ends after the time. A throttled page is read again once, and the account is not noted as
    failed, unless all of it is to be read."""
    ecs = crowd()
    ecs.errors["instance_page"] = [Throttled("no")] * errors
    found, clock = paced(ecs, per_minute=per_minute)
    pages = found.pages()
    found.read_pages(HOME, pages, NOW + until)
    assert (len(ecs.calls), pages.count, found.store.readable(HOME)) == (calls, calls - errors, True)
    assert clock.time < NOW + until
    ecs.errors["instance_page"] = [Throttled("no")] * errors
    found, clock = paced(ecs, per_minute=per_minute)
    found.all_instances([HOME])
    assert (found.store.snapshot().instances_in(HOME), found.store.readable(HOME)) == (
        (7, True) if errors < 2 else (0, False)
    )


def test_an_account_is_live_while_its_last_reads_show_an_instance() -> None:
    """A list of all that was empty says more than a read of any."""
    ecs, other_ecs = FakeEcs(), FakeEcs(instances=[instance(Party(PEER, "i-x"))], account=PEER)
    found = opened(ecs, other_ecs)

    def shows(*running: Instance) -> set[str]:
        ecs.running = {one.party.id: one for one in running}
        found.probe_liveness([HOME, PEER])
        return {*found.store.live_accounts}

    assert [shows(), shows(instance(A))] == [{PEER}, {HOME, PEER}]
    assert [found.discard_emptied([uid]) for uid in (HOME, PEER, "1000000000000003")] == [False] * 3
    shows()
    assert (found.discard_emptied([HOME, PEER]), found.store.live_accounts) == (True, {PEER})
    assert (shows(instance(A)), shows()) == ({HOME, PEER}, {HOME, PEER})
    found.all_instances([HOME])
    assert (found.store.live_accounts, shows(instance(A))) == ({PEER}, {PEER})
    other_ecs.errors["shows_instances"] = [Transient("timeout")]
    assert (found.discard_emptied([PEER]), found.store.live_accounts) == (True, set())
    assert found.store.readable(PEER)


def test_members_that_cannot_be_read_in_time_are_not_confirmed() -> None:
    """The account counts as failed, so that nothing in it is treated as gone."""
    found, _ = paced(home(), per_minute=2, seconds=50)
    found.all_instances([HOME])
    found.confirm_absent([APP])
    assert set(found.store.snapshot().failed_accounts) == {HOME}


@pytest.mark.parametrize(
    ("per_minute", "until", "errors", "left", "calls", "seconds"),
    [
        (4, 600, [], [], 4, 61),
        (4, 61, [], [DB], 3, 0),
        (None, 600, [Throttled("no")], [], 5, 61),
        (None, 600, [Throttled("no")] * 3, [APP, CACHE, DB], 3, 61),
        (None, 600, [Transient("timeout")], [], 2, 0),
        (None, 0, [], [APP, LEDGER, CACHE, DB], 0, 0),
    ],
)
def test_rules_are_read_over_as_many_minutes_as_the_pace_makes_of_it(
    per_minute: int | None, until: float, errors: list[Exception], left: list[Party], calls: int, seconds: float
) -> None:
    """An account that failed is not waited for, nor is a minute after one that let nothing through. What is left is of each account
    in turn. Before a wait, the caller is told when the minute ends."""
    ecs = home()
    ecs.errors["rules"] = list(errors)
    other_ecs = FakeEcs(account=PEER, calls=ecs.calls)
    found, clock = paced(ecs, other_ecs, per_minute=per_minute)
    done, minutes, todo = list[tuple[int, int]](), list[float](), [APP, CACHE, DB, LEDGER]
    assert found.rules_in_time(todo, NOW + until, lambda *one: done.append(one), minutes.append) == left
    assert (len(ecs.calls), clock.time - NOW, set(done)) == (calls, seconds, {(4, 4)})
    assert minutes == [NOW + 60] * (seconds > 0 or left != [])


def test_progress_is_told_every_32_groups() -> None:
    """Without a pace, until the time is over."""
    groups, done, ecs = [Party(HOME, f"sg-{n:02}") for n in range(33)], list[tuple[int, int]](), home()
    found = opened(ecs)
    assert found.rules_in_time(groups, NOW) == groups
    assert found.rules_in_time(groups, progress=lambda *one: done.append(one)) == []
    assert (done, len(ecs.calls)) == ([(32, 33), (33, 33)], 33)


@pytest.mark.parametrize(("seconds", "calls", "new"), [(0, 0, True), (1, 3, True), (1.1, 0, False), (0, 4, False)])
def test_rules_are_new_for_a_second_and_three_calls(seconds: float, calls: int, new: bool) -> None:
    """Unless something was changed since, or was to be read in time."""
    clock, cloud = FakeClock(), FakeCloud(home())
    fetch, slow = Fetch(cloud, POLICY, clock), paced(home())[0]
    cloud.calls["before"] = 7
    for one in (fetch, slow):
        one.rules([DB])
    clock.time += seconds
    cloud.calls["since"] = calls
    assert (fetch.pace, slow.pace is None) == (None, False)
    assert [one.rules_are_new(group) for one, group in ((fetch, DB), (fetch, APP), (slow, DB))] == [new, False, False]
    fetch.changed()
    assert not fetch.rules_are_new(DB)


def test_a_sweep_reads_no_members_for_a_record() -> None:
    """It lists all instances. A delivery of its own reads them beside its writes, unless one page showed them all."""
    assert [found.members_aside(APP) for found in (paced(home())[0], opened(home()))] == [None, [A, B]]
    for page in (1, 2):
        ecs = home()
        found, ecs.page = opened(ecs), page
        found.first_page(APP)
        assert (found.members_aside(APP), len(ecs.calls)) == ([A, B], 3 - page)


def test_what_is_read_for_no_decision_leaves_no_trace() -> None:
    """None where it cannot be read at this moment, which is not noted: it is read anew."""
    ecs = home()
    ecs.errors = {"rules": [Transient("timeout")], "instance_page": [NoAccess("Forbidden", "no")]}
    found = opened(ecs)
    assert (found.rules_aside(DB), found.first_page(DB), found.rules_aside(LEDGER)) == (None, None, None)
    assert (found.rules_aside(DB), found.first_page(DB)) == ((ours(K1),), ([instance(B, APP, DB)], ""))
    assert (found.store.rules, found.store.instances, found.store.readable(HOME)) == ({}, {}, True)


def test_a_sweep_asks_an_account_so_much_for_others() -> None:
    """About addresses, in so many VPCs: others' rules make it ask. And for its records. A delivery of its own asks about all that
    it needs."""
    many = [Address(PEER, f"vpc-{n}", "10.0.0.1") for n in range(201)]
    for found, asked in ((paced(peer())[0], 200), (opened(peer()), 201)):
        found.questions(many)
        assert len(found.store.answers) == asked
        assert (found.rules_aside(LEDGER) is None) is (asked == 200)
    found, _ = paced(peer(), per_minute=2)
    assert [found.rules_aside(LEDGER) for _ in range(2)] == [(), None]


def test_each_question_is_read_in_its_own_way() -> None:
    """Addresses of a VPC at once, members of a group as far as one page shows them."""
    ecs, (taken, free) = home(), (Address(HOME, "vpc-1", f"10.0.0.{n}") for n in (1, 2))
    ecs.addresses, ecs.isolated, ecs.page = {("vpc-1", "10.0.0.1")}, {"sg-db"}, 2
    ecs.running["i-c"] = instance(C, APP)
    found = opened(ecs)
    found.questions([free, RulesOf(DB), InstancesOf(CACHE), MembersOf(APP), A, APP, DB, taken])
    parties = ["rules sg-db", "members sg-cache", "instances i-a", "groups sg-app"]
    own = ["instance_page sg-app", "inner_access sg-app", "inner_access sg-db"]
    assert ecs.calls == [*parties, *own, "addresses_taken vpc-1 10.0.0.1 10.0.0.2"]
    snapshot = found.store.snapshot()
    assert (snapshot.inner_access, snapshot.counted) == ({APP: True, DB: False}, {APP: 2})
    assert snapshot.taken_addresses == {taken: True, free: False}


@pytest.mark.parametrize(
    ("error", "readable"),
    [
        (CloudError("InvalidSecurityGroupId.Malformed", "no"), True),
        (CloudError("Odd", "no"), False),
        (NoAccess("InvalidAccessKeyId.NotFound", "no"), False),
    ],
)
def test_a_party_that_the_cloud_calls_malformed_costs_its_account_nothing_else(
    error: CloudError, readable: bool
) -> None:
    """Where trouble is noted. The question stays open, and the others are answered. Any other error is the account's."""
    ecs = home()
    ecs.errors["inner_access"] = [error]
    found, _ = paced(ecs)
    found.questions([APP, DB])
    assert found.store.readable(HOME) is readable
    assert set(found.store.snapshot().inner_access) == ({DB} if readable else set())
    ecs.errors["inner_access"] = [error]
    with contextlib.nullcontext() if isinstance(error, NoAccess) else pytest.raises(Transient, match=error.code):
        opened(ecs).questions([APP])


def test_postponed_instances_are_not_read_by_their_id() -> None:
    """Unless their absence is to be confirmed. What a read of their whole account says of them counts."""
    ecs = home()
    found = opened(ecs, tolerant=True)
    found.postponed = {A, Party(HOME, "i-gone")}
    found.parties([A, B, Party(HOME, "i-gone")])
    assert [call for call in ecs.calls if call.startswith("instances")] == ["instances i-b"]
    found.confirm_absent([A])
    assert A in found.store.instances
    found.all_instances([HOME])
    found.parties([Party(HOME, "i-gone")])
    assert Party(HOME, "i-gone") in found.store.requested


def test_the_time_at_which_a_groups_tags_were_read_is_known() -> None:
    """Each read counts anew; a group that was not read was read long ago."""
    clock = FakeClock()
    fetch = Fetch(FakeCloud(home()), POLICY, clock)
    assert fetch.group_read_at(DB) == 0.0
    fetch.parties([DB])
    clock.time += 7
    fetch.parties([APP])
    assert (fetch.group_read_at(DB), fetch.group_read_at(APP)) == (NOW, NOW + 7)
    fetch.refresh_groups(HOME, [DB])
    assert fetch.group_read_at(DB) == NOW + 7
    fetch.store.note_tags(DB, ["a", "b"])
    assert fetch.store.groups[DB].tags == {"a": "true", "b": "true"}


def test_the_members_of_a_group_are_counted_once_all_were_read() -> None:
    """Its own members, or every instance of its account; none of another account."""
    other_party = Party(PEER, "i-x")
    found = opened(home(), FakeEcs(instances=[instance(other_party, APP)], account=PEER))
    found.parties([A, other_party])
    assert found.store.member_count(APP) is None
    found.members([APP])
    assert (found.store.member_count(APP), found.store.member_count(DB)) == (2, None)
    found.all_instances([HOME])
    assert (found.store.member_count(DB), found.store.member_count(CACHE)) == (1, 0)


def missing(**fields: Any) -> Missing:
    return Missing(**{name: frozenset(some) for name, some in fields.items()})


def test_what_a_plan_misses_is_read_once() -> None:
    """Parties of links and members of the groups that could ask, of a mutual link on both sides; then questions; then whether
    accounts show instances; then what was not shown. Each by itself, since the next plan may miss less."""
    ecs = home()
    found = open_fetch(delivery(ecs), "test")
    reader = MissingReader(found)
    links = [Link(APP, DB, P1), Link(CACHE, NO_GROUP), Link(A, B)]
    asked = missing(unread=links, questions=[DB], doubted_accounts=[HOME], unconfirmed=[GONE])
    reads = [
        "instances i-a i-b", "groups sg-app sg-cache sg-db sg-gone", "members sg-app", "members sg-cache", "members sg-gone",
        *("inner_access sg-db", "shows_instances", "instances i-gone"),
    ]  # fmt: skip
    rounds = [reader.read(asked, found.store.snapshot()) for _ in range(5)]
    assert (rounds, ecs.calls) == ([True] * 4 + [False], reads)
    more = missing(questions=[DB, APP], doubted_accounts=[HOME, PEER], unconfirmed=[GONE, B])
    rounds = [reader.read(more, found.store.snapshot()) for _ in range(4)]
    assert (rounds, ecs.calls[len(reads) :]) == ([True] * 3 + [False], ["inner_access sg-app", "instances i-b"])


def test_accounts_are_asked_once_more_after_all_was_read() -> None:
    """Once for the same reads: after others, again."""
    ecs = home()
    found = opened(ecs)
    reader = MissingReader(found)
    found.probe_liveness([HOME])
    nothing = missing()
    assert [reader.emptied({HOME}), reader.emptied({HOME}), reader.emptied(set())] == [False] * 3
    ecs.running = {}
    assert not reader.read(nothing, found.store.snapshot())
    assert not reader.emptied({HOME})
    assert reader.read(missing(questions=[DB]), found.store.snapshot())
    assert (reader.emptied({HOME}), found.store.live_accounts) == (True, set())
    assert ecs.calls == ["shows_instances"] * 2 + ["inner_access sg-db", "shows_instances"]
