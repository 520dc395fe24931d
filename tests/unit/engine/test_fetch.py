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


def opened(*accounts: FakeEcs, tolerant: bool = False, pages: int | None = None) -> Fetch:
    how = Reading(tolerant=tolerant, compares=not tolerant, pages=pages)
    return Fetch(FakeCloud(*accounts), POLICY, FakeClock(), how)


def frugal(*accounts: FakeEcs) -> Fetch:
    """A fetch that sets instances without wishes aside."""
    how = Reading(tolerant=True, keep=lambda instance: asks_for_links(instance.tags, POLICY.keys))
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
    """A second read makes no call, also where the first found nothing, or the account cannot be entered. What was asked
    for, and exists, is in the store."""
    members = [instance(A, APP), instance(B, APP, DB), instance(C, NO_GROUP), instance(D, NO_GROUP)]
    ecs = FakeEcs([group(APP), managed(DB)], members, [ours(K1)])
    fetch = opened(ecs)
    read(fetch)
    snapshot = fetch.store.snapshot()
    read(fetch)
    assert (ecs.calls, fetch.store.snapshot()) == (calls, snapshot)
    words = {word for call in calls for word in call.split()[1:]} & {*ecs.group_by_id, *ecs.running}
    known_parties = {
        *snapshot.instances,
        *snapshot.groups,
        *snapshot.rules,
        *snapshot.complete_groups,
        *fetch._access.first_pages,
    }
    assert words <= {party.id for party in known_parties}
    assert LEDGER not in snapshot.groups


def test_lists_are_of_all_accounts_that_are_asked_for() -> None:
    """Sorted, but for all groups of an account."""
    rules = [ours(key(target, APP, "tcp/1")) for target in (DB, CACHE)]
    other_ecs = FakeEcs([managed(LEDGER)], account=PEER)
    fetch = opened(FakeEcs([managed(DB), group(APP), managed(CACHE)], rules=rules), other_ecs)
    assert fetch.references([APP, LEDGER]) == [CACHE, DB]
    assert fetch.tagged_groups([PEER, HOME], MANAGED) == [CACHE, DB, LEDGER] == sorted(fetch.store.groups)
    assert [group.party for group in fetch.all_groups([PEER, HOME])] == [LEDGER, DB, APP, CACHE]


def test_an_account_that_cannot_be_entered_is_called_no_more() -> None:
    """Nor for a change. One that the policy does not list refuses nothing."""
    ecs = home()
    fetch = opened(ecs)
    fetch.parties_and_rules([LEDGER])
    assert (fetch.ecs(HOME), fetch.store.requested) == (ecs, {LEDGER})
    assert (fetch.ecs(PEER), fetch.ecs("1000000000000003")) == (None, None)
    ecs.errors["rules"] = [NoAccess("Forbidden.RAM", "no")]
    fetch.rules([DB, APP])
    assert fetch.ecs(HOME) is None
    with pytest.raises(NoAccess, match="no"):
        fetch.refresh_rules(DB)
    assert ecs.calls == ["rules sg-app"]
    assert set(fetch.store.snapshot().refused_accounts) == {HOME, PEER}


@pytest.mark.parametrize("threads", [1, 2])
def test_reads_are_made_side_by_side_where_threads_are_allowed(threads: int) -> None:
    """Then whole accounts are all listed at the same time. With one thread, in their order in the caller's own, as one
    read is."""
    third, own_thread, thread_ids = "1000000000000003", threading.get_ident(), list[int]()

    def waits(most: int) -> Callable[[], object]:
        together = threading.Barrier(most if threads > 1 else 1, timeout=5)
        return lambda: (together.wait(), thread_ids.append(threading.get_ident()))

    class Waiting(FakeEcs):
        def instance_page(self, token: str = "", group: str = "") -> tuple[list, str]:
            listed()
            return super().instance_page(token, group)

    two_waits, listed = waits(2), waits(3)
    accounts = {uid: Waiting(account=uid) for uid in (HOME, PEER, third)}
    rules = policy(accounts={**POLICY.accounts, third: AccountPolicy("c", "role")})
    fetch = Fetch(FakeCloud(*accounts.values()), rules, FakeClock(), threads=threads)
    fetch.side_by_side(two_waits, two_waits)
    fetch.all_instances([*accounts])
    assert (own_thread in thread_ids, fetch.store.listings.keys()) == (threads == 1, accounts.keys())
    if threads == 1:
        assert thread_ids == [own_thread] * 5
    thread_ids.clear()
    fetch.side_by_side(lambda: thread_ids.append(threading.get_ident()))
    assert thread_ids == [own_thread]


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("member_count", [0, 1])
def test_a_group_without_a_member_that_was_just_shown_was_not_read_completely(
    tolerant: bool, member_count: int
) -> None:
    """An account that stops showing instances during a delivery proves nothing. A sweep, which has read the whole
    account, doubts an empty answer alone."""
    ecs = home()
    reading = opened(ecs, tolerant=tolerant)
    reading.parties([A])
    ecs.running = {instance.party.id: instance for instance in [instance(B, APP)][:member_count]}
    if tolerant:
        reading.members([APP])
    else:
        with pytest.raises(Transient, match="does not show i-a"):
            reading.members([APP])
    assert (reading.store.member_count(APP) is not None) is (tolerant and member_count > 0)
    assert reading.store.readable(HOME) is (not tolerant or member_count > 0)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Throttled("timeout"), "timeout"),
        (NoAccess("Forbidden.RAM", "no"), "Forbidden.RAM: no"),
        (CloudError("Strange", "what"), f"account {HOME}: Strange: what"),
    ],
)
def test_a_refresh_raises_whatever_the_reader_tolerates(error: Exception, message: str, tolerant: bool) -> None:
    """A change depends on it. Any code but lost access is a transient error, as it is for a read that tolerates none.
    It is made also where a read failed before."""
    ecs = home()
    fetch = opened(ecs, tolerant=True) if tolerant else opened(ecs)
    fetch.rules([DB])
    if not isinstance(error, NoAccess):
        ecs.errors["rules"] = [error]
        with contextlib.nullcontext() if tolerant else pytest.raises(Transient, match=f"^{message}$"):
            fetch.rules([APP])
        assert fetch.refresh_rules(DB) == (ours(K1),)
    ecs.errors["rules"] = [error]
    with pytest.raises(NoAccess if isinstance(error, NoAccess) else Transient, match=f"^{message}$"):
        fetch.refresh_rules(DB)
    assert fetch.store.rules.get(DB, ()) == ()
    assert (fetch.store.refusal(HOME) is error) is isinstance(error, NoAccess)


def test_a_group_that_does_not_exist_has_no_rules() -> None:
    """The cloud answers with an error, where it does not find it or calls its id malformed."""
    ecs = home()
    ecs.errors["rules"] = [CloudError(f"InvalidSecurityGroupId.{suffix}", "no") for suffix in ("NotFound", "Malformed")]
    fetch = opened(ecs)
    fetch.rules([NO_GROUP])
    assert (fetch.refresh_rules(DB), fetch.store.rules) == ((), {NO_GROUP: (), DB: ()})


def test_a_refresh_counts_among_the_calls_of_its_minute() -> None:
    fetch, _ = paced(home(), per_minute=2)
    fetch.refresh_rules(DB)
    fetch.refresh_rules(DB)
    fetch.rules([APP])
    assert APP not in fetch.store.rules


def test_a_look_beside_a_delivery_notes_what_the_delivery_would_raise() -> None:
    """In the store that both share. Nothing more is read there, though all of its instances were."""
    ecs = home()
    fetch = opened(ecs, tolerant=False)
    fetch.all_instances([HOME])
    ecs.errors["rules"] = [Transient("timeout")]
    fetch.tolerant().rules([APP, DB])
    assert fetch.store.snapshot().failed_accounts == {HOME: "timeout"}
    assert (fetch.store.readable(HOME), ecs.calls) == (False, ["instance_page", "rules sg-app"])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("missing", [APP, A])
def test_a_missing_group_is_asked_for_by_its_id(missing: Party, listed: bool) -> None:
    """Also one of a shown instance, and where the list of all groups did not have it."""
    ecs = FakeEcs([group(DB)], [instance(A, APP)])
    fetch = opened(ecs)
    if listed:
        fetch.all_groups([HOME])
    fetch.parties([A, APP])
    ecs.group_by_id["sg-app"] = group(APP)
    fetch.confirm_absent([missing])
    assert APP in fetch.store.groups


def test_what_is_not_shown_is_read_once_more() -> None:
    """By its id, though the whole account was read; and of a group, its members."""
    ecs = home()
    fetch = opened(ecs)
    fetch.all_instances([HOME])
    fetch.members([DB])
    fetch.parties([A, GONE])
    before = len(ecs.calls)
    fetch.confirm_absent([A, GONE, DB])
    assert ecs.calls[before:] == ["instances i-a i-gone", "members sg-db"]


@pytest.mark.parametrize(("tolerant", "most"), [(True, 4), (False, 1)])
def test_members_are_read_side_by_side_by_a_tolerant_reader_only(tolerant: bool, most: int) -> None:
    """The other one compares each group with what earlier reads showed."""
    barrier, thread_ids = threading.Barrier(most, timeout=10), set[int]()

    class Waiting(FakeEcs):
        def members(self, group: str) -> list:
            barrier.wait()
            thread_ids.add(threading.get_ident())
            return super().members(group)

    groups = [Party(HOME, f"sg-{number}") for number in range(4)]
    ecs = Waiting(map(group, groups))
    fetch = Fetch(FakeCloud(ecs), POLICY, FakeClock(), Reading(tolerant=tolerant, compares=not tolerant), threads=4)
    fetch.members(groups)
    assert fetch.store.snapshot().complete_groups == set(groups)
    assert (threading.get_ident() in thread_ids, len(thread_ids)) == (not tolerant, most)


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
    fetch = frugal(ecs)
    fetch.all_instances([HOME])
    snapshot = fetch.store.snapshot()
    assert set(snapshot.instances) == {A, Party(HOME, "i-9")}
    assert ecs.calls == ["instance_page", "instance_page 2", "instance_page 4", "instance_page 6"]
    assert (snapshot.instances_in(HOME), snapshot.instances_in(PEER)) == (7, 0)
    assert (fetch.store.member_count(APP), fetch.store.member_count(DB), fetch.store.member_count(CACHE)) == (6, 1, 0)
    assert (snapshot.whole_accounts, snapshot.live_accounts, snapshot.shows_tags(HOME)) == ({HOME}, {HOME}, True)


def test_an_instance_set_aside_is_read_by_its_id_when_it_is_asked_for() -> None:
    """One that the account does not show, and one that is kept, cost no call."""
    ecs = crowd()
    fetch = frugal(ecs)
    fetch.all_instances([HOME])
    before = len(ecs.calls)
    aside, gone_instance = Party(HOME, "i-2"), Party(HOME, "i-gone")
    assert [fetch.store.snapshot().set_aside(party) for party in (aside, gone_instance, A)] == [True, False, False]
    fetch.parties([aside, gone_instance, A])
    assert ecs.calls[before] == "instances i-2"
    assert fetch.store.snapshot().instances[aside].groups == ("sg-app",)
    assert not fetch.store.snapshot().set_aside(aside)


def test_an_instance_shown_on_two_pages_counts_once() -> None:
    """A new one moves the others to later pages."""

    class Moving(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list, str]:
            return [instance(A, APP)], "" if token else "2"

    fetch = frugal(Moving())
    fetch.all_instances([HOME])
    assert (fetch.store.member_count(APP), fetch.store.snapshot().instances_in(HOME)) == (1, 1)
    assert not fetch.store.snapshot().shows_tags(HOME)


def test_pages_of_an_account_are_read_until_a_time() -> None:
    """Later from the next one on. Only all of them from the first on are a listing of the account. Kept is what was
    asked for before, and what was read by its id stays as it is."""
    clock, late = FakeClock(), Party(HOME, "i-0")

    class Slow(FakeEcs):
        def instance_page(self, token: str = "", group: str = "") -> tuple[list, str]:
            clock.time += 10
            return super().instance_page(token, group)

    ecs = Slow(instances=crowd().running.values())
    instance_shown, ecs.page = ecs.running.pop(late.id), 2
    fetch = Fetch(
        FakeCloud(ecs), POLICY, clock, Reading(keep=lambda instance: asks_for_links(instance.tags, POLICY.keys))
    )
    fetch.instances([late])
    ecs.running[late.id] = instance_shown
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
    fetch = opened(crowd())
    pages = fetch.pages(token)
    fetch.read_pages(HOME, pages, math.inf)
    fetch.keep_pages(HOME, pages)
    assert (pages.following, pages.whole, fetch.store.listings, fetch.store.live_accounts) == (None, False, {}, live)


@pytest.mark.parametrize(
    ("token", "code", "pages"), [("4", "InvalidParameter.NextToken", 4), ("4", "Odd", 0), ("", "Invalid.NextToken", 0)]
)
def test_pages_are_read_from_the_first_one_again_where_the_cloud_refuses_the_token(
    token: str, code: str, pages: int
) -> None:
    """Not where it refuses anything else, nor where it was given none."""
    ecs = crowd()
    ecs.errors["instance_page"] = [CloudError(code, "no")]
    fetch = opened(ecs)
    listed_pages = fetch.pages(token)
    with contextlib.nullcontext() if pages else pytest.raises(Transient, match=code):
        fetch.read_pages(HOME, listed_pages, math.inf)
    assert (listed_pages.count, listed_pages.whole, len(ecs.calls)) == (pages, pages == 4, 1 + pages)


@pytest.mark.parametrize(
    ("per_minute", "until", "errors", "calls"),
    [(2, 30, 0, 1), (2, 90, 0, 2), (None, 90, 1, 5), (None, 90, 2, 2), (2, 9_000, 0, 4)],
)
def test_pages_are_read_as_the_pace_allows(per_minute: int | None, until: float, errors: int, calls: int) -> None:
    """No wait ends after the time. A throttled page is read again once, and the account is not noted as
    failed, unless all of it is to be read."""
    ecs = crowd()
    ecs.errors["instance_page"] = [Throttled("no")] * errors
    fetch, clock = paced(ecs, per_minute=per_minute)
    pages = fetch.pages()
    fetch.read_pages(HOME, pages, NOW + until)
    assert (len(ecs.calls), pages.count, fetch.store.readable(HOME)) == (calls, calls - errors, True)
    assert clock.time < NOW + until
    ecs.errors["instance_page"] = [Throttled("no")] * errors
    fetch, clock = paced(ecs, per_minute=per_minute)
    fetch.all_instances([HOME])
    assert (fetch.store.snapshot().instances_in(HOME), fetch.store.readable(HOME)) == (
        (7, True) if errors < 2 else (0, False)
    )


def test_an_account_is_live_while_its_last_reads_show_an_instance() -> None:
    """A list of all that was empty says more than a read of any."""
    ecs, other_ecs = FakeEcs(), FakeEcs(instances=[instance(Party(PEER, "i-x"))], account=PEER)
    fetch = opened(ecs, other_ecs)

    def shows(*running: Instance) -> set[str]:
        ecs.running = {instance.party.id: instance for instance in running}
        fetch.probe_liveness([HOME, PEER])
        return {*fetch.store.live_accounts}

    assert [shows(), shows(instance(A))] == [{PEER}, {HOME, PEER}]
    assert [fetch.discard_emptied([uid]) for uid in (HOME, PEER, "1000000000000003")] == [False] * 3
    shows()
    assert (fetch.discard_emptied([HOME, PEER]), fetch.store.live_accounts) == (True, {PEER})
    assert (shows(instance(A)), shows()) == ({HOME, PEER}, {HOME, PEER})
    fetch.all_instances([HOME])
    assert (fetch.store.live_accounts, shows(instance(A))) == ({PEER}, {PEER})
    other_ecs.errors["shows_instances"] = [Transient("timeout")]
    assert (fetch.discard_emptied([PEER]), fetch.store.live_accounts) == (True, set())
    assert fetch.store.readable(PEER)


def test_members_that_cannot_be_read_in_time_are_not_confirmed() -> None:
    """The account counts as failed, so that nothing in it is treated as gone."""
    fetch, _ = paced(home(), per_minute=2, seconds=50)
    fetch.all_instances([HOME])
    fetch.confirm_absent([APP])
    assert set(fetch.store.snapshot().failed_accounts) == {HOME}


@pytest.mark.parametrize(
    ("per_minute", "until", "errors", "groups_left", "calls", "seconds"),
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
    per_minute: int | None, until: float, errors: list[Exception], groups_left: list[Party], calls: int, seconds: float
) -> None:
    """An account that failed is not waited for, nor is a minute after one that let nothing through. What is left is of
    each account in turn. Before a wait, the caller is told when the minute ends."""
    ecs = home()
    ecs.errors["rules"] = list(errors)
    other_ecs = FakeEcs(account=PEER, calls=ecs.calls)
    fetch, clock = paced(ecs, other_ecs, per_minute=per_minute)
    progress, minutes, todo = list[tuple[int, int]](), list[float](), [APP, CACHE, DB, LEDGER]
    assert fetch.rules_in_time(todo, NOW + until, lambda *step: progress.append(step), minutes.append) == groups_left
    assert (len(ecs.calls), clock.time - NOW, set(progress)) == (calls, seconds, {(4, 4)})
    assert minutes == [NOW + 60] * (seconds > 0 or groups_left != [])


def test_progress_is_told_every_32_groups() -> None:
    """Without a pace, until the time is over."""
    groups, progress, ecs = [Party(HOME, f"sg-{n:02}") for n in range(33)], list[tuple[int, int]](), home()
    fetch = opened(ecs)
    assert fetch.rules_in_time(groups, NOW) == groups
    assert fetch.rules_in_time(groups, progress=lambda *step: progress.append(step)) == []
    assert (progress, len(ecs.calls)) == ([(32, 33), (33, 33)], 33)


@pytest.mark.parametrize(("seconds", "calls", "new"), [(0, 0, True), (1, 3, True), (1.1, 0, False), (0, 4, False)])
def test_rules_are_new_for_a_second_and_three_calls(seconds: float, calls: int, new: bool) -> None:
    """Unless something was changed since, or was to be read in time."""
    clock, cloud = FakeClock(), FakeCloud(home())
    fetch, slow = Fetch(cloud, POLICY, clock), paced(home())[0]
    cloud.calls["before"] = 7
    for reader in (fetch, slow):
        reader.rules([DB])
    clock.time += seconds
    cloud.calls["since"] = calls
    assert (fetch.pace, slow.pace is None) == (None, False)
    assert [fetcher.rules_are_new(group) for fetcher, group in ((fetch, DB), (fetch, APP), (slow, DB))] == [
        new,
        False,
        False,
    ]
    fetch.changed()
    assert not fetch.rules_are_new(DB)


def test_a_sweep_reads_no_members_for_a_record() -> None:
    """It lists all instances. A delivery of its own reads a page of them beside its writes."""
    members = [instance(A, APP), instance(B, APP, DB)]
    assert [fetch.members_aside(APP) for fetch in (paced(home())[0], opened(home()))] == [None, (members, "")]


def by_pages(ecs: FakeEcs) -> Fetch:
    """A reading of two pages of a group, of one instance each."""
    ecs.page = 1
    return opened(ecs, pages=2)


def test_a_group_is_read_page_by_page_until_its_last_one_or_as_many_as_the_reading_allows() -> None:
    """It is complete after the last. What is read is kept for decisions, and read once."""
    ecs = home()
    fetch = by_pages(ecs)
    for count in (1, 1, 2):
        fetch.members_by_page([APP], count, alone=True)
        assert (len(ecs.calls), len(fetch.store.instances)) == (count, count)
        assert (APP in fetch.store.complete_groups, fetch.is_read_in_part(APP)) == (count == 2, count == 1)
    ecs.running = {f"i-{n}": instance(Party(HOME, f"i-{n}"), DB) for n in range(4)}
    for _ in range(4):
        fetch.members_by_page([DB, APP], alone=True)
    assert (ecs.calls[2:], DB in fetch.store.complete_groups) == (
        ["instance_page sg-db", "instance_page 1 sg-db"],
        False,
    )


def test_where_a_reading_has_no_pages_a_group_is_read_whole() -> None:
    ecs = home()
    opened(ecs).members_by_page([APP], 1, alone=True)
    assert ecs.calls == ["members sg-app"]


def test_of_a_group_that_was_read_in_part_nobody_is_confirmed_to_be_absent() -> None:
    """Nor is the rest of it read for that."""
    ecs = home()
    fetch = by_pages(ecs)
    fetch.members_by_page([APP], 1, alone=True)
    fetch.confirm_absent([APP, A])
    assert [call for call in ecs.calls if "sg-app" in call.split() and "groups" not in call] == ["instance_page sg-app"]
    fetch.members_by_page([APP])
    fetch.confirm_absent([APP])
    assert ecs.calls[-1] == "members sg-app"


def test_a_last_page_without_a_member_that_was_just_shown_is_not_believed() -> None:
    ecs = home()
    fetch = by_pages(ecs)
    fetch.parties([A])
    ecs.running = {"i-b": instance(B, APP)}
    with pytest.raises(Transient, match="does not show i-a"):
        fetch.members_by_page([APP], alone=True)
    assert APP not in fetch.store.complete_groups


def test_what_is_read_for_no_decision_leaves_no_trace() -> None:
    """None where it cannot be read at this moment, which is not noted: it is read anew."""
    ecs = home()
    ecs.errors = {"rules": [Transient("timeout")], "instance_page": [NoAccess("Forbidden", "no")]}
    fetch = opened(ecs)
    assert (fetch.rules_aside(DB), fetch.first_page(DB), fetch.rules_aside(LEDGER)) == (None, None, None)
    assert (fetch.rules_aside(DB), fetch.first_page(DB)) == ((ours(K1),), ([instance(B, APP, DB)], ""))
    assert (fetch.store.rules, fetch.store.instances, fetch.store.readable(HOME)) == ({}, {}, True)


def test_a_sweep_asks_an_account_so_much_for_others() -> None:
    """About addresses, in so many VPCs: others' rules make it ask. And for its records. A delivery of its own asks
    about all that it needs."""
    many = [Address(PEER, f"vpc-{n}", "10.0.0.1") for n in range(201)]
    for fetch, answer_count in ((paced(peer())[0], 200), (opened(peer()), 201)):
        fetch.questions(many)
        assert len(fetch.store.answers) == answer_count
        assert (fetch.rules_aside(LEDGER) is None) is (answer_count == 200)
    fetch, _ = paced(peer(), per_minute=2)
    assert [fetch.rules_aside(LEDGER) for _ in range(2)] == [(), None]


def test_each_question_is_read_in_its_own_way() -> None:
    """Addresses of a VPC at once, members of a group as far as one page shows them."""
    ecs, (taken_address, free) = home(), (Address(HOME, "vpc-1", f"10.0.0.{n}") for n in (1, 2))
    ecs.addresses, ecs.isolated, ecs.page = {("vpc-1", "10.0.0.1")}, {"sg-db"}, 2
    ecs.running["i-c"] = instance(C, APP)
    fetch = opened(ecs)
    fetch.questions([free, RulesOf(DB), InstancesOf(CACHE), MembersOf(APP), A, APP, DB, taken_address])
    parties = ["rules sg-db", "members sg-cache", "instances i-a", "groups sg-app"]
    own_calls = ["instance_page sg-app", "inner_access sg-app", "inner_access sg-db"]
    assert ecs.calls == [*parties, *own_calls, "addresses_taken vpc-1 10.0.0.1 10.0.0.2"]
    snapshot = fetch.store.snapshot()
    assert (snapshot.inner_access, snapshot.counted) == ({APP: True, DB: False}, {APP: 2})
    assert snapshot.taken_addresses == {taken_address: True, free: False}


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
    """Where trouble is noted. The question stays open, and the others are answered. Any other error is the
    account's."""
    ecs = home()
    ecs.errors["inner_access"] = [error]
    fetch, _ = paced(ecs)
    fetch.questions([APP, DB])
    assert fetch.store.readable(HOME) is readable
    assert set(fetch.store.snapshot().inner_access) == ({DB} if readable else set())
    ecs.errors["inner_access"] = [error]
    with contextlib.nullcontext() if isinstance(error, NoAccess) else pytest.raises(Transient, match=error.code):
        opened(ecs).questions([APP])


def test_postponed_instances_are_not_read_by_their_id() -> None:
    """Unless their absence is to be confirmed. What a read of their whole account says of them counts."""
    ecs = home()
    fetch = opened(ecs, tolerant=True)
    fetch.postponed = {A, Party(HOME, "i-gone")}
    fetch.parties([A, B, Party(HOME, "i-gone")])
    assert [call for call in ecs.calls if call.startswith("instances")] == ["instances i-b"]
    fetch.confirm_absent([A])
    assert A in fetch.store.instances
    fetch.all_instances([HOME])
    fetch.parties([Party(HOME, "i-gone")])
    assert Party(HOME, "i-gone") in fetch.store.requested


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
    fetch = opened(home(), FakeEcs(instances=[instance(other_party, APP)], account=PEER))
    fetch.parties([A, other_party])
    assert fetch.store.member_count(APP) is None
    fetch.members([APP])
    assert (fetch.store.member_count(APP), fetch.store.member_count(DB)) == (2, None)
    fetch.all_instances([HOME])
    assert (fetch.store.member_count(DB), fetch.store.member_count(CACHE)) == (1, 0)


def missing(**fields: Any) -> Missing:
    return Missing(**{name: frozenset(items) for name, items in fields.items()})


def test_what_a_plan_misses_is_read_once() -> None:
    """Parties of links and members of the groups that could ask, of a mutual link on both sides; then questions; then
    whether accounts show instances; then what was not shown. Each by itself, since the next plan may miss less."""
    ecs = home()
    fetch = open_fetch(delivery(ecs), "test")
    reader = MissingReader(fetch)
    links = [Link(APP, DB, P1), Link(CACHE, NO_GROUP), Link(A, B)]
    missing_facts = missing(unread=links, questions=[DB], doubted_accounts=[HOME], unconfirmed=[GONE])
    reads = [
        "instances i-a i-b", "groups sg-app sg-cache sg-db sg-gone", "members sg-app", "members sg-cache", "members sg-gone",
        *("inner_access sg-db", "shows_instances", "instances i-gone"),
    ]  # fmt: skip
    rounds = [reader.read(missing_facts, fetch.store.snapshot()) for _ in range(5)]
    assert (rounds, ecs.calls) == ([True] * 4 + [False], reads)
    further_facts = missing(questions=[DB, APP], doubted_accounts=[HOME, PEER], unconfirmed=[GONE, B])
    rounds = [reader.read(further_facts, fetch.store.snapshot()) for _ in range(4)]
    assert (rounds, ecs.calls[len(reads) :]) == ([True] * 3 + [False], ["inner_access sg-app", "instances i-b"])


def test_accounts_are_asked_once_more_after_all_was_read() -> None:
    """Once for the same reads: after others, again."""
    ecs = home()
    fetch = opened(ecs)
    reader = MissingReader(fetch)
    fetch.probe_liveness([HOME])
    nothing_missing = missing()
    assert [reader.emptied({HOME}), reader.emptied({HOME}), reader.emptied(set())] == [False] * 3
    ecs.running = {}
    assert not reader.read(nothing_missing, fetch.store.snapshot())
    assert not reader.emptied({HOME})
    assert reader.read(missing(questions=[DB]), fetch.store.snapshot())
    assert (reader.emptied({HOME}), fetch.store.live_accounts) == (True, set())
    assert ecs.calls == ["shows_instances"] * 2 + ["inner_access sg-db", "shows_instances"]
