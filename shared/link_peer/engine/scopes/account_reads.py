"""What the sweep of one account reads, and in which parts where it is too much for one run.

What one account writes costs another a bounded number of calls: the rest has its turn in the next runs. Nothing
remembers where the last run stopped, so each begins at another place.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Iterable, Sequence, Set
from typing import Any, TypeVar

import msgspec

from link_peer.domain.grouped import grouped
from link_peer.domain.model import TAG, Group, Link, Party, short_hash
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.fetch import Fetch, Meanwhile, Progress, no_action
from link_peer.planning import cursor as cursors
from link_peer.planning.actual import owned_links
from link_peer.planning.decision import DesiredLink
from link_peer.planning.rota import LOOK_SECONDS, run_of, runs_between
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.verdict.single_link import permitted
from link_peer.planning.writing import other_ends
from link_peer.runtime.clock import Clock

T = TypeVar("T")

GOLDEN = (
    0.6180339887498949  # one step of this part of a circle per minute spreads evenly: every group has its turn soon
)
RUNS_A_DAY = 144
MAX_EXTRA_READS = 200  # of groups without the managed tag, in one run
MAX_NAMED_BY_RULES = (
    2_000  # instances of another account that the rules, or the tags, of this one make a run read by id: 20 calls
)
ASKING = 100  # groups of which a run reads all instances: nobody asks for their rules, or these follow them


class AccountReads(msgspec.Struct, frozen=True):
    """Reads for the sweep of an account that `started` then (epoch seconds)."""

    fetch: Fetch
    policy: Policy
    region: str
    account: str
    started: float
    clock: Clock
    progress: Progress

    @property
    def snapshot(self) -> Snapshot:
        """What was read so far."""
        return self.fetch.store.snapshot()

    @property
    def run(self) -> int:
        """The number of this run. What is too much for one run is divided among runs by it."""
        return run_of(self.started) // runs_between(len(self.policy.accounts))

    def has_tag(self, group: Group) -> bool:
        """Whether a group has the managed tag."""
        return group.tags.get(self.policy.keys.managed) == "true"

    def untagged_share(self, groups: Sequence[Group]) -> list[Party]:
        """The groups without the managed tag whose rules this run reads. Tools that rewrite tags, such as Terraform,
        remove it, so every group with rules is read within a day.

        An account in which no group has the tag may not allow writing it: RAM may not know the condition key of tag
        calls. There, as many are read as a run may."""
        untagged = sorted(group.party for group in groups if group.may_have_rules and not self.has_tag(group))
        if not any(map(self.has_tag, groups)):
            return part_of(untagged, MAX_EXTRA_READS, self.run)
        runs_a_day = RUNS_A_DAY // runs_between(len(self.policy.accounts))
        return part_of(untagged, min(MAX_EXTRA_READS, math.ceil(len(untagged) / runs_a_day) + 1), self.run)

    def crowded_share(self, buckets: Iterable[int], groups: int) -> set[int]:
        """Of the buckets whose rules name more parties than a cursor can hold, those whose rules this short sweep
        reads. In an account with so many groups, all have their turn."""
        size = max(1, MAX_EXTRA_READS * cursors.BUCKETS // max(1, groups))
        return set(part_of(sorted(buckets), size, int(self.started // LOOK_SECONDS)))

    def standing(self) -> list[Link]:
        """The links of the rules of ours in the account."""
        owned = owned_links(self.snapshot, self.policy, self.region)
        return [link for link, rule, _ in owned if rule.group.account == self.account]

    def rules(self, groups: Iterable[Party], until: float, meanwhile: Meanwhile = no_action) -> set[Party]:
        """Reads rules while there is time, for all accounts in turn, starting at another place each minute. Groups are
        in the order of their buckets, since a bucket is done when all of its rules were read. Returns the groups that
        were not read. `meanwhile` is as in Fetch."""
        by_account: dict[str, list[Party]] = {}
        for group in sorted(set(groups), key=_by_bucket):
            if self.fetch.store.readable(group.account):
                by_account.setdefault(group.account, []).append(group)
        todo: list[Party] = []
        for of_account in by_account.values():
            first = int(self.started // 60 * GOLDEN % 1 * len(of_account))
            todo += of_account[first:] + of_account[:first]
        return set(self.fetch.rules_in_time(todo, until, self.progress, meanwhile))

    def rules_of(self, links: Iterable[DesiredLink], accounts: Set[str], until: float) -> set[Party]:
        """Reads the rules, in these accounts, that verdicts on these links need. Returns the groups that are left."""
        return self.rules((group for group in self.groups_needed(links) if group.account in accounts), until)

    def halves(self, links: Iterable[Link], accounts: Set[str], until: float) -> set[Party]:
        """Reads the rules of the groups, in these accounts, that hold the other halves of mutual links, or the other
        ends of links that have rules at both. Returns the groups that were not read."""
        links, snapshot = list(links), self.snapshot
        ends = {end for link in links for end in other_ends(snapshot, link)} - snapshot.rules.keys()
        needed = self.groups_needed(DesiredLink(link, TAG) for link in links if link.mutual) | ends
        return self.rules((group for group in needed if group.account in accounts), until)

    def groups_needed(self, links: Iterable[DesiredLink]) -> set[Party]:
        """The groups whose rules a verdict on these links needs. What is denied costs no account but the one that
        asks."""
        snapshot = self.snapshot
        wishes = {wish.link: wish for wish in links if wish.in_scope and not wish.denial}
        return {group for wish in wishes.values() for group in self.groups_of(snapshot, wish)}

    def groups_of(self, snapshot: Snapshot, wish: DesiredLink) -> set[Party]:
        """The groups whose rules a verdict on a link needs, as a snapshot shows."""
        if wish.denial or not wish.in_scope or not _lacks_rules(snapshot, wish.link):
            return set()
        verdict = permitted(snapshot, self.policy, wish.link, self.started)
        needed = {
            need.key.group
            for need in verdict.needs
            if verdict.denial is None
            or verdict.denial.undecided
            or need.key.group.account == verdict.link.source.account
        }
        return {group for group in needed if group in snapshot.groups and group not in snapshot.rules}

    def own_parties(self, links: Iterable[Link]) -> None:
        """Reads the parties of links in the account."""
        parties, postponed = self.parties_of(links)
        self.fetch.postponed = (self.fetch.postponed | postponed) - parties
        self.fetch.parties(party for party in parties if party.account == self.account)

    def peers(self, links: Iterable[Link], until: float) -> bool:
        """Reads the parties of links in other accounts, one account after the other, while there is time. Returns
        whether there are any."""
        parties, postponed = self.parties_of(links)
        by_account: dict[str, set[Party]] = {}
        for party in parties:
            if party.account != self.account and party.account in self.policy.accounts:
                by_account.setdefault(party.account, set()).add(party)
        self.fetch.postponed = postponed
        peers = deque(sorted(by_account))
        peers.rotate(self.run)  # so that no account is always the last
        for account in peers:
            if self.clock.now() < until:
                self.fetch.parties(by_account[account])
            else:
                postponed |= by_account[account]
        return bool(by_account)

    def parties_anew(self, parties: Iterable[Party], until: float) -> Snapshot:
        """What a read of these parties by id shows, apart from all that was read before. Accounts are read side by
        side, each begun before `until`, so that one that does not answer delays no other. Leaves out what cannot be
        read."""
        fetch = self.fetch.anew()
        by_account = grouped((party.account, party) for party in parties)
        look = int(self.started // LOOK_SECONDS)  # in another order each time, so that no account is always the last
        accounts = sorted(by_account, key=functools.partial(_place, look))

        def read(account: str) -> None:
            if self.clock.now() < until:
                fetch.parties(by_account[account])

        fetch.side_by_side(*(functools.partial(read, account) for account in accounts))
        return fetch.store.snapshot()

    def parties_of(self, links: Iterable[Link]) -> tuple[set[Party], set[Party]]:
        """The parties of links that rules or tags of the account name, and those that this run does not read."""
        parties: set[Party] = set()
        by_account: dict[str, set[Party]] = {}
        for end in (end for link in links for end in link.parties):
            if end.is_group and end.account == self.account:
                parties.add(end)  # every group is listed
            elif end.id:
                by_account.setdefault(end.account, set()).add(end)
        for ends in by_account.values():
            turn = self.run // math.ceil(
                len(ends) / MAX_NAMED_BY_RULES
            )  # each has one; who is read together changes with it
            parties |= set(part_of(sorted(ends, key=functools.partial(_place, turn)), MAX_NAMED_BY_RULES, self.run))
        return parties, set().union(*by_account.values()) - parties

    def followed(self, accounts: Set[str], until: float) -> None:
        """Reads the instances of groups in these accounts that links by address follow, in turns where they are
        many."""
        followed = {link.followed for link in self.standing() if link.member}
        groups = sorted(group for group in followed if group.is_group and group.account in accounts)
        self.fetch.members_in_time(part_of(groups, ASKING, self.run), until)

    def unasked(self, desired: Iterable[DesiredLink]) -> frozenset[tuple[str, Party]]:
        """The groups, each with the account of rules for it, that nobody asks for and this run does not read once
        more."""
        snapshot = self.snapshot
        pairs = {_ends(wish.link) for wish in desired if not wish_denial(snapshot, self.policy, wish)}
        unasked: dict[str, set[Party]] = {}
        for link, rule, _ in owned_links(snapshot, self.policy, self.region):
            if (ends := _ends(link)) not in pairs:
                peers = (end for end in ends if end.is_group and end != rule.group)
                unasked.setdefault(rule.group.account, set()).update(peers)
        return frozenset(
            (account, group)
            for account, groups in unasked.items()
            for group in groups.difference(part_of(sorted(groups), ASKING, self.run))
        )


def part_of(items: Sequence[T], size: int, number: int) -> list[T]:
    """The part with a number, of as many parts of a size as there are; the numbers go round."""
    start = number % math.ceil(len(items) / size) * size if items and size else 0
    return list(items[start : start + size])


def _lacks_rules(snapshot: Snapshot, link: Link) -> bool:
    """Whether the rules of any group were not read that may hold those of a link."""
    groups = (group for end in (link.source, link.target) for group in snapshot.groups_with(end))
    return any(group not in snapshot.rules for group in groups)


def _ends(link: Link) -> tuple[Party, Party]:
    return min(link.source, link.target), max(link.source, link.target)


def _place(turn: int, place: Party | str) -> str:
    return short_hash(f"{turn} {place}")


def _by_bucket(group: Party) -> Any:
    return group.account, cursors.bucket_of(group), group
