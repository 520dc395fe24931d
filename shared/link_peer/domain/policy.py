"""The policy file as values. inbound.policy_file reads the file."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Annotated, TypeAlias

import msgspec

from link_peer.domain.entry_index import EntryIndex
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Ports
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, SET, Grantee, TagKeys, tag_keys


class AccountPolicy(msgspec.Struct, frozen=True):
    """An account, and the role through which it is entered."""

    name: str  # only displayed
    role: str | None = None  # the home account has none
    external_id: str | None = None
    # IPv4 networks from which instances may be linked by their address; none: any private address
    ranges: tuple[str, ...] = ()
    queue: str = ""  # the queue through which the account's own requests come; empty: the shared queue
    flowlog: str = ""  # `project/logstore` of its VPC flow logs; empty: none. It informs and decides nothing


class Allow(msgspec.Struct, frozen=True):
    """An entry of `allow`: consent in one direction. Without ports, it covers everything. `text` names it in records.
    `until` is when it ends, in epoch seconds; None for never."""

    source: Grantee
    target: Grantee
    ports: Ports
    text: str
    until: int | None = None


class Never(msgspec.Struct, frozen=True):
    """An entry of `never`: no rule from `source` to `target`, even with consent. Without ports, on none. `text` names
    it in records."""

    source: Grantee
    target: Grantee
    ports: Ports
    text: str


class GroupSet(msgspec.Struct, frozen=True):
    """The security groups of an account that carry all of these tags: `set:<name>` in `allow` and `never`."""

    account: str
    tags: dict[str, str]


def _whole(lowest: int, highest: int) -> msgspec.Meta:
    """The bounds of a limit."""
    return msgspec.Meta(ge=lowest, le=highest, extra={"must": f"be a whole number from {lowest} to {highest}"})


_Days: TypeAlias = Annotated[
    # beyond, consent is without an end in all but name, and an instant need not exist
    Annotated[int, msgspec.Meta(ge=1, le=3_650)] | None,
    msgspec.Meta(extra={"must": "be a whole number from 1 to 3650, or null"}),
]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the policy: rules removed in one run because an account no longer shows their parties, ports of a link,
    ports in one range, peers of an instance, instances of a link by address, and days until the link of a request, or
    of a tag, must end (None: it need not end)."""

    removals_per_run: Annotated[
        int,
        _whole(0, 100_000),
        msgspec.Meta(description="More removals because one account no longer shows their parties are held."),
    ] = 50
    # each port is a rule, and so is each instance at least: a call adds 100 [doc AuthorizeSecurityGroup]
    max_ports: Annotated[int, _whole(1, 100), msgspec.Meta(description="Ports per link.")] = 16
    max_port_span: Annotated[int, _whole(1, 65_535), msgspec.Meta(description="Ports in one range.")] = 1024
    max_peers: Annotated[int, _whole(1, 1_000), msgspec.Meta(description="Peers per instance.")] = 50
    max_members: Annotated[
        int, _whole(1, 100), msgspec.Meta(description="Instances of a link that is written by their addresses.")
    ] = 50
    max_days: Annotated[_Days, msgspec.Meta(description="A requested link must end within so many days.")] = None
    max_days_tags: Annotated[
        _Days,
        msgspec.Meta(description="The links that an instance asks for by tag must end within so many days."),
    ] = None


class Pause(str, Enum):
    """What is paused. The values are the words of the policy file."""

    NONE = "false"
    OPENING = "opening"  # nothing is opened; closing goes on
    ALL = "true"  # nothing is changed; decisions are still recorded


class PolicyTest(msgspec.Struct, frozen=True):
    """An entry of `tests`: links from `source` that must be allowed, and links that must not be.

    Each link is its target and its ports; without ports, it is the mutual link.
    """

    source: Grantee
    accept: tuple[tuple[Grantee, Ports], ...] = ()
    deny: tuple[tuple[Grantee, Ports], ...] = ()


SetTags = Mapping[str, Mapping[str, Mapping[str, str]]]
"""The tags of sets, by account and then as entries name them (`set:<name>`)."""


class Policy(msgspec.Struct, frozen=True, dict=True):  # a dict, so that a property may be worked out once
    """A valid policy."""

    deployment: str
    accounts: dict[str, AccountPolicy]  # by uid; exactly one, home, has no role
    accept_tags: bool = True
    allow: tuple[Allow, ...] = ()
    deny: Ports = ()  # ports that are never opened
    limits: Limits = Limits()
    paused: Pause = Pause.NONE
    tests: tuple[PolicyTest, ...] = ()
    never: tuple[Never, ...] = ()  # pairs that are never linked
    sets: dict[str, GroupSet] = {}  # by name
    names: dict[str, Party] = {}  # what tags, requests and commands may give in place of an id
    denies_mutual: bool = False  # no link without ports is opened
    digest: str = ""  # the first 16 hex digits of the file's SHA-256; empty if it was read from no file
    # read, but without links, as if the file did not list them: `account remove` closes with it, and no file can say it
    leaving: frozenset[str] = frozenset()
    tag_prefix: str = ""  # what the file says, empty if nothing; `app.compose` puts the setting in its place

    @functools.cached_property
    def home(self) -> str:
        """The uid of the home account, in which the functions run."""
        return next(uid for uid, account in self.accounts.items() if account.role is None)

    @functools.cached_property
    def keys(self) -> TagKeys:
        """The keys of the tags that the deployment reads and writes."""
        keys = tag_keys(self.tag_prefix or DEFAULT_TAG_PREFIX, self.deployment, self.home)
        sets = tuple(sorted({key for group_set in self.sets.values() for key in group_set.tags}))
        return msgspec.structs.replace(keys, sets=sets, names=self.names)

    @functools.cached_property
    def allow_index(self) -> EntryIndex[Allow]:
        """The entries of `allow` by whom they name."""
        return EntryIndex((entry.source, entry.target, entry) for entry in self.allow)

    @functools.cached_property
    def never_index(self) -> EntryIndex[Never]:
        """The entries of `never` by whom they name."""
        return EntryIndex((entry.source, entry.target, entry) for entry in self.never)

    @functools.cached_property
    def allowed_instances(self) -> Mapping[str, Set[Party]]:
        """The instances of each account that are the source of an entry of `allow`."""
        sources = {
            Party(entry.source.account, entry.source.id) for entry in self.allow if entry.source.id.startswith("i-")
        }
        return {
            account: set(parties) for account, parties in grouped((party.account, party) for party in sources).items()
        }

    @functools.cached_property
    def allow_sets(self) -> SetTags:
        """The sets that entries of `allow` name."""
        return self._set_tags(self.allow)

    @functools.cached_property
    def never_sets(self) -> SetTags:
        """The sets that entries of `never` name."""
        return self._set_tags(self.never)

    def _set_tags(self, entries: Sequence[Allow | Never]) -> SetTags:
        names = {end.id for entry in entries for end in (entry.source, entry.target) if end.id.startswith(SET)}
        sets = ((name, self.sets[name.removeprefix(SET)]) for name in sorted(names))
        by_account = grouped((group_set.account, (name, group_set.tags)) for name, group_set in sets)
        return {account: dict(set_tags) for account, set_tags in by_account.items()}

    @functools.cached_property
    def members(self) -> Mapping[Party, frozenset[str]]:
        """The sets of `allow` (`set:<name>`) that the ends of the link under judgment are in:
        `planning.guardrails.with_sets`."""
        return {}

    def with_members(self, members: Mapping[Party, frozenset[str]]) -> Policy:
        """The same policy for a link whose ends are in these sets. What was worked out of its entries is not worked out
        again."""
        policy = msgspec.structs.replace(self)
        policy.__dict__.update(self.__dict__, allow_index=self.allow_index, members=members)
        return policy

    @property
    def bound_queues(self) -> Mapping[str, str]:
        """The account that each account's own queue speaks for: uids by queue name."""
        return {account.queue: uid for uid, account in self.accounts.items() if account.queue}
