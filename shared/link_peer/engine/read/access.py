"""Makes one read after the other, or side by side, and notes or raises what goes wrong."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Instance, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Listing
from link_peer.engine.read.store import Store
from link_peer.runtime.pace import Pace
from link_peer.runtime.ports import Cloud, Ecs

T = TypeVar("T")
Place = TypeVar("Place", str, Party)

Page = tuple[list[Instance], str]
"""Instances, and the token of the next page; empty after the last."""


class Pages:
    """Pages of an account's instances, from the one with the token `first` on: how many (`count`), what they showed,
    the instances to keep, and the token of the `following` page; None after the last. An account of any size takes
    little memory: of other instances, only the ids are noted."""

    def __init__(self, keep: Callable[[Instance], bool], first: str = "") -> None:
        """`keep` says which instances are kept."""
        self.first = first
        self.following: str | None = first
        self.count = 0
        self.kept_instances: list[Instance] = []
        self._keep = keep
        self._ids: set[str] = set()
        self._members: Counter[str] = Counter()
        self._tagged = False

    @property
    def listing(self) -> Listing:
        """What the pages showed."""
        return Listing(self._ids, self._members, self._tagged)

    @property
    def whole(self) -> bool:
        """Whether these are all pages of the account."""
        return self.first == "" and self.following is None

    def begin_again(self) -> None:
        """The first page is the next one."""
        self.first, self.following, self.count = "", "", 0

    def take(self, read: Callable[[str], Page | None]) -> None:
        """Reads on. `read` reads the page with a token, the first one's being empty; None where there is no time for
        it."""
        while self.following is not None and (page := read(self.following)) is not None:
            instances, following = page
            self.count, self.following = self.count + 1, following or None
            for instance in instances:
                if instance.party.id not in self._ids:  # one may move to the next page meanwhile, and be shown twice
                    self._ids.add(instance.party.id)
                    self._members.update(instance.groups)
                self._tagged |= bool(instance.tags)
                if self._keep(instance):
                    self.kept_instances.append(instance)


class Reading(msgspec.Struct, frozen=True):
    """How to read. By default, a transient error is raised."""

    tolerant: bool = False  # a transient error is noted for its account, and reading goes on with the others
    compares: bool = False  # an account fails if it no longer shows a member of a group that it has just shown
    # reads of rules and of many instances keep to it, and are repeated where they are throttled
    pace: Pace | None = None
    pages: int | None = None  # how many pages of a group are read to find an instance that asks; None: all
    # which instances of a whole account are kept; others are set aside until they are asked for by id
    keep: Callable[[Instance], bool] = lambda _instance: True


STRICT, TOLERANT, BY_SIDE = Reading(compares=True), Reading(tolerant=True), Reading(tolerant=True, compares=True)
BY_PAGES = Reading(compares=True, pages=3)


class Access:
    """The accounts of a policy, as a reading enters them. Those that refuse access, or fail, are noted in the store.
    `first_pages` are of groups' instances, each with the token of the next page, read for no decision."""

    def __init__(self, cloud: Cloud, policy: Policy, store: Store, how: Reading, threads: int) -> None:
        """`threads` is how many calls may run side by side where many things are read."""
        self.cloud = cloud
        self.threads = threads
        self.policy = policy
        self._store = store
        self._how = how
        self.first_pages: dict[Party, tuple[list[Instance], str]] = {}

    def reading(self, how: Reading) -> Access:
        """The same accounts and the same store, read in another way."""
        access = Access(self.cloud, self.policy, self._store, how, self.threads)
        access.first_pages = self.first_pages
        return access

    def ecs(self, account: str) -> Ecs | None:
        """The account's ECS; None where the policy does not list it, or it refuses access."""
        if account not in self.policy.accounts or self._store.refusal(account):
            return None
        try:
            return self.cloud.ecs(account)
        except NoAccess as error:
            self._store.note_trouble(account, error)
            return None

    def read(self, account: str, read: Callable[[Ecs], object]) -> None:
        """One read of an account that can be entered; what goes wrong is noted or raised, as the reading says."""
        try:
            if self._store.readable(account) and (ecs := self.ecs(account)):
                read(ecs)
        except (Transient, CloudError) as error:
            if not self._how.tolerant and not isinstance(error, NoAccess):
                raise _transient(account, error) from error
            self._store.note_trouble(account, error)

    def aside(self, account: str, read: Callable[[Ecs], T]) -> T | None:
        """What one read shows, made for no decision: None where it cannot be made at this moment, which is not
        noted."""
        ecs = self.ecs(account) if self._store.readable(account) else None
        try:
            return read(ecs) if ecs else None
        except (Transient, CloudError):
            return None

    def refresh(self, account: str, read: Callable[[Ecs], object], action: str) -> None:
        """One read whose failure must not go unnoticed, since a change depends on it. It is made also where an earlier
        read failed, and without a wait: what was read before may be old after it."""
        if self._how.pace is not None:
            self._how.pace.count(account, action)
        if error := self._store.refusal(account):
            raise error
        try:
            read(self.cloud.ecs(account))
        except NoAccess as error:
            self._store.note_trouble(account, error)
            raise
        except CloudError as error:
            raise _transient(account, error) from error

    def by_account(self, parties: Iterable[Party], read: Callable[[Ecs, list[str]], object]) -> None:
        """One read for all ids of an account, the accounts side by side."""
        ids = grouped((party.account, party.id) for party in sorted(parties))
        self.each(list(ids), lambda ecs, account: read(ecs, ids[account]))

    def each(
        self, places: Sequence[Place], read: Callable[[Ecs, Place], object], *, threads: int | None = None
    ) -> None:
        """One read for each account or party, side by side where threads are allowed."""

        def read_place(place: Place) -> None:
            self.read(place.account if isinstance(place, Party) else place, lambda ecs: read(ecs, place))

        self.side_by_side([functools.partial(read_place, place) for place in places], threads)

    def side_by_side(self, reads: Sequence[Callable[[], object]], threads: int | None = None) -> None:
        """Makes these reads at the same time, where threads are allowed."""
        threads = threads or self.threads
        if threads > 1 and len(reads) > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda read: read(), reads))
        else:
            for read in reads:
                read()


def _transient(account: str, error: Transient | CloudError) -> Transient:
    """A code that nothing here expects is treated as a transient error: redelivered, and at last a dead letter."""
    return error if isinstance(error, Transient) else Transient(f"account {account}: {error}")
