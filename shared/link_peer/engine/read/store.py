"""What was read of the cloud so far, from which snapshots are made. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Group, Instance, Party, Rule
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.planning.decision import MembersOf, Question


class Store:
    """The newest answer about each thing that was read, by the names that `Snapshot` has for it; `answers` has those to
    questions. `engine.read.fetch` fills it; decisions are made from snapshots of it. `unreadable` has each account that
    refuses access, with the error, or that failed for the moment, in words."""

    def __init__(self) -> None:
        self.instances: dict[Party, Instance] = {}
        self.groups: dict[Party, Group] = {}
        self.rules: dict[Party, tuple[Rule, ...]] = {}
        self.requested: set[Party] = set()
        self.complete_groups: set[Party] = set()
        self.listings: dict[str, Listing] = {}
        self.live_accounts: set[str] = set()
        self.answers: dict[Question, int] = {}
        self.unreadable: dict[str, Transient | CloudError] = {}
        self._snapshot = Snapshot()

    def snapshot(self) -> Snapshot:
        """What was read so far, frozen: the same snapshot, with what it remembers, until more is read."""
        snapshot = msgspec.structs.replace(
            self.now_known(),
            instances=dict(self.instances),
            groups=dict(self.groups),
            rules=dict(self.rules),
            requested=frozenset(self.requested),
            complete_groups=frozenset(self.complete_groups),
            whole_accounts=frozenset(self.listings),
            listings=dict(self.listings),
            live_accounts=frozenset(self.live_accounts),
        )
        if snapshot != self._snapshot:
            self._snapshot = snapshot.after(self._snapshot)
        return self._snapshot

    def now_known(self) -> Snapshot:
        """What was read so far, not frozen and not copied: for one decision, right before a write."""
        return Snapshot(
            instances=self.instances,
            groups=self.groups,
            rules=self.rules,
            requested=self.requested,
            complete_groups=self.complete_groups,
            listings=self.listings,
            inner_access={
                question: bool(answer) for question, answer in self.answers.items() if isinstance(question, Party)
            },
            taken_addresses={
                question: bool(answer) for question, answer in self.answers.items() if isinstance(question, Address)
            },
            counted={
                question.group: answer for question, answer in self.answers.items() if isinstance(question, MembersOf)
            },
            refused_accounts={
                uid: problem for uid, problem in self.unreadable.items() if isinstance(problem, NoAccess)
            },
            failed_accounts={
                uid: str(problem) for uid, problem in self.unreadable.items() if not isinstance(problem, NoAccess)
            },
        )

    def readable(self, account: str) -> bool:
        """Whether the account could be read so far."""
        return account not in self.unreadable

    def refusal(self, account: str) -> NoAccess | None:
        """Why the account refuses access, if it does."""
        problem = self.unreadable.get(account)
        return problem if isinstance(problem, NoAccess) else None

    def note_trouble(self, account: str, error: Transient | CloudError) -> None:
        """Notes that an account refuses access, or failed: nothing more is read or changed there."""
        if isinstance(error, NoAccess):
            self.unreadable[account] = error
        else:
            self.unreadable.setdefault(account, error)

    def note_tags(self, group: Party, keys: Iterable[str]) -> None:
        """Notes that a group now has these tags, which this delivery has just written."""
        stored_group = self.groups[group]
        self.groups[group] = msgspec.structs.replace(
            stored_group, tags={**stored_group.tags, **dict.fromkeys(keys, "true")}
        )

    def keep_instances(self, instances: Iterable[Instance]) -> None:
        """Keeps instances as they were just read."""
        for instance in instances:
            self.instances[instance.party] = instance
            self.requested.add(instance.party)

    def member_count(self, group: Party) -> int | None:
        """How many instances a group has; None where not all of them were read."""
        whole = group in self.complete_groups or group.account in self.listings
        return self.now_known().member_count(group) if whole else None

    def members_shown(self, group: Party) -> list[Party]:
        """The instances of a group that were read."""
        return [instance.party for instance in self.instances.values() if group in instance.own_groups]

    def take_over(self, stores: Mapping[str, Store]) -> None:
        """Takes over what the reads for several accounts (by uid) showed: of each account what its own say, and of the
        others' what it did not read."""
        for store in stores.values():
            self.instances |= store.instances
            self.groups |= store.groups
            self.rules |= store.rules
            self.listings |= store.listings
            self.answers |= store.answers
            self.requested |= store.requested
            self.complete_groups |= store.complete_groups
        for account, store in stores.items():
            self.instances |= {
                party: instance for party, instance in store.instances.items() if party.account == account
            }
            self.groups |= {party: group for party, group in store.groups.items() if party.account == account}
            self.rules |= {party: rules for party, rules in store.rules.items() if party.account == account}
            self.live_accounts |= store.live_accounts & {account}
            if account in store.unreadable:
                self.unreadable[account] = store.unreadable[account]


def groups_of(instances: Iterable[Instance]) -> set[Party]:
    """The groups that these instances are in."""
    return {group for instance in instances for group in instance.own_groups}
