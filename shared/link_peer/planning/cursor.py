"""How far the sweep of an account is: what one of its messages tells the next. Pure.

Groups with the managed tag are in buckets by their id. Of each bucket whose rules were read, a cursor has a digest of
what a listing of groups shows of them (tags, and how many rules they have) and the instant at which something on them
ends. Of each party that their rules name, and no listing of the account's groups shows, it has a digest of what a read
of it showed. The rules are read again when a digest differs or the instant has come. A cursor carries no authority: a
lost, forged or stale one makes a sweep read more than it needs, or find something at the next sweep; every decision
rests on what the cloud shows.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Annotated

import msgspec

from link_peer.domain.model import Group, Party, short_hash
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import TagKeys, accepts, link_until
from link_peer.planning.actual import HALF_OPEN_SECONDS, created, owned_links

BUCKETS = 256  # 8 KB of a message, of at most 64
MOST_WAITING = 500  # instances with links that wait for a read of rules; more wait for the next sweep
MOST_SUSPECTS = 200  # groups of which a cursor says that rules may have to go since a party is not shown; more are held
MOST_PARTIES = 250  # parties that rules name, each counted for every bucket of theirs: with all else, 48 KB
MOST_SHOWING_LESS = 100  # accounts of which it says how many removals followed from what they show no more
_TOKEN = 4_096  # characters of a token of the API

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_InstanceId = Annotated[str, msgspec.Meta(pattern=r"\Ai-[0-9a-z]{1,60}\Z")]
_GroupId = Annotated[str, msgspec.Meta(pattern=r"\Asg-[0-9a-z]{1,60}\Z")]
_PartyId = Annotated[str, msgspec.Meta(pattern=r"\A(i|sg)-[0-9a-z]{1,60}\Z")]
_Uid = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{15,20}\Z")]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{12}\Z")]


class Bucket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Groups whose rules were read: the bucket's number, the digest of what a listing shows of them, and when something
    on them ends (epoch seconds); 0 where nothing does."""

    number: _Number
    digest: _Digest
    ends: _Count = 0


class RuleParty(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A party that rules on groups of these buckets name, with the digest of what it showed when they were read; empty
    where it was not shown then."""

    account: _Uid
    id: _PartyId
    digest: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{12})?\Z")]
    buckets: Annotated[tuple[_Number, ...], msgspec.Meta(min_length=1, max_length=BUCKETS)]

    @property
    def party(self) -> Party:
        """The party."""
        return Party(self.account, self.id)


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the sweep of an account is. It travels in the account's next message."""

    began: _Count  # when the sweep began, in epoch seconds
    # the digest of the policy under which the rules were read
    policy: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{0,64}\Z")] = ""
    buckets: Annotated[tuple[Bucket, ...], msgspec.Meta(max_length=BUCKETS)] = ()
    # of the next page of instances: empty for the first, None after the last
    token: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]*\Z", max_length=_TOKEN)] | None = ""
    pages: _Count = 0  # how many pages were listed
    instances: _Count = 0  # how many instances these pages showed
    unread_groups: _Count = msgspec.field(default=0, name="left")  # how many groups have rules that were not read yet
    # instances that ask for links whose rules were not read yet
    waiting: Annotated[tuple[_InstanceId, ...], msgspec.Meta(max_length=MOST_WAITING)] = ()
    # groups with rules that may have to go, because a party is not shown; the last delivery of the sweep judges them
    suspects: Annotated[tuple[_GroupId, ...], msgspec.Meta(max_length=MOST_SUSPECTS + 1)] = ()
    judged: bool = False  # the suspects were judged
    parties: Annotated[tuple[RuleParty, ...], msgspec.Meta(max_length=MOST_PARTIES)] = ()  # the parties that rules name
    # buckets whose rules name too many parties to list them here
    crowded: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=BUCKETS)] = ()
    # removals for absent parties since the last full sweep, by the account that stopped showing them
    removals: Annotated[dict[_Uid, _Count], msgspec.Meta(max_length=MOST_SHOWING_LESS)] = {}

    @property
    def listed(self) -> bool:
        """Whether all was read and judged, so that only changes are looked for."""
        return self.token is None and not (self.unread_groups or self.waiting or self.suspects)


def read_cursor(value: object, now: float) -> Cursor | None:
    """The cursor in a message; None where it is none of ours, or of the future: the sweep then begins again."""
    try:
        cursor = msgspec.convert(value, Cursor)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    return cursor if cursor.began <= now else None


def as_value(cursor: Cursor) -> object:
    """The cursor as a message has it."""
    return msgspec.to_builtins(cursor)


def bucket_of(group: Party) -> int:
    """The number of a group's bucket."""
    return int(short_hash(str(group)), 16) % BUCKETS


def digests(groups: Iterable[Group], peers: Iterable[Group], keys: TagKeys) -> dict[int, str]:
    """What a listing shows of the groups of each bucket, as a digest; and of all groups, which may be `peers`, the tags
    by which they refuse, and those by which the policy's sets know them: rules on any group may depend on these."""
    texts: dict[int, list[str]] = {}
    tags_of_peers = (
        (
            group.party.id,
            [(key, group.tags[key]) for key in sorted({*keys.sets, *keys.refusing(group.tags)} & group.tags.keys())],
        )
        for group in peers
    )
    sets = repr(sorted(pair for pair in tags_of_peers if pair[1]))
    for group in groups:
        text = repr((group.party.id, group.vpc, group.rule_count, sorted(group.tags.items())))
        texts.setdefault(bucket_of(group.party), [sets]).append(text)
    return {number: _digest("\n".join(sorted(text))) for number, text in texts.items()}


def due(cursor: Cursor, current: Mapping[int, str], policy: str, now: float) -> set[int]:
    """The buckets whose rules have to be read: they were not yet, show something else, or something on them has
    ended."""
    buckets = {bucket.number: bucket for bucket in cursor.buckets} if cursor.policy == policy else {}
    return {
        number
        for number, digest in current.items()
        if number not in buckets or buckets[number].digest != digest or 0 < buckets[number].ends <= now
    }


def digest_of(snapshot: Snapshot, party: Party, keys: TagKeys) -> str:
    """A digest of all that a party shows by which rules that name it are closed; empty where no read of it tells.
    Whether an instance still asks for links is none of it."""
    if party not in snapshot.requested or not snapshot.readable(party.account):
        return ""
    instance = snapshot.instances.get(party)
    groups = [
        (group.id, sorted(pair for pair in snapshot.groups[group].tags.items() if keys.decides(pair[0])))
        for group in sorted(snapshot.groups_with(party))
    ]
    return _digest(repr((instance and (instance.vpc, instance.ip, sorted(instance.groups)), groups)))


def changed(cursor: Cursor, snapshot: Snapshot, keys: TagKeys) -> set[int]:
    """The buckets whose rules name a party that shows something else than when they were read."""
    digests_by_party = ((entry, digest_of(snapshot, entry.party, keys)) for entry in cursor.parties)
    return {
        number for entry, digest in digests_by_party if digest not in ("", entry.digest) for number in entry.buckets
    }


def absent(cursor: Cursor, snapshot: Snapshot) -> dict[str, int]:
    """How many parties that rules name are not shown by a read of them, by account."""
    parties = (entry.party for entry in cursor.parties if entry.party in snapshot.requested)
    unshown = (party.account for party in parties if not _is_shown(snapshot, party))
    return dict(Counter(account for account in unshown if snapshot.readable(account)))


def ends(snapshot: Snapshot, policy: Policy, region: str, groups: Set[Party], now: float) -> dict[int, int]:
    """When the first claim or consent ends of the rules of these groups, by bucket: what is still to come."""
    instants_by_bucket: dict[int, list[int]] = {}

    def note(group: Party, instants: Iterable[float | None]) -> None:
        coming = (math.ceil(instant) for instant in instants if instant is not None and instant > now)
        instants_by_bucket.setdefault(bucket_of(group), []).extend(coming)

    allowed = min((entry.until for entry in policy.allow if entry.until and entry.until > now), default=None)
    for group in groups:
        shown_group = snapshot.groups.get(group)
        note(group, [allowed])
        note(
            group,
            [entry.until for entry in accepts(shown_group.tags, group.account, policy.keys)] if shown_group else (),
        )
    for link, rule, marker in owned_links(snapshot, policy, region):
        if rule.group not in groups:
            continue
        note(rule.group, [claim.until for claim in marker.claims])
        note(rule.group, [created(rule) + HALF_OPEN_SECONDS] if link.mutual else ())
        askers = [
            member
            for asker in link.askers
            for member in (snapshot.members.get(asker, ()) if asker.is_group else [asker])
        ]
        tags = (snapshot.instances[asker].tags for asker in askers if asker in snapshot.instances)
        note(
            rule.group,
            (end for tags_of_asker in tags if isinstance(end := link_until(tags_of_asker, policy.keys), int)),
        )
    return {number: min(instants) for number, instants in instants_by_bucket.items() if instants}


def read(cursor: Cursor, current: Mapping[int, str], policy: str, read_buckets: Mapping[int, int]) -> Cursor:
    """The cursor once the rules of these buckets were read, each with the instant at which something on it ends (0
    where nothing does). Buckets without groups are left out."""
    before = cursor.buckets if cursor.policy == policy else ()
    buckets = {bucket.number: bucket for bucket in before if bucket.number in current}
    buckets |= {
        number: Bucket(number, current[number], read_buckets[number])
        for number in sorted(read_buckets.keys() & current.keys())
    }
    return msgspec.structs.replace(cursor, policy=policy, buckets=tuple(buckets[number] for number in sorted(buckets)))


def with_parties(
    cursor: Cursor, snapshot: Snapshot, policy: Policy, region: str, groups: Set[Party], numbers: Set[int]
) -> Cursor:
    """The cursor with the parties that the rules name which were read: those of these groups, in the buckets with these
    numbers. A digest that other buckets have of a party stays, so that what has changed since is due there. A party
    that is not shown has none: its rules are judged again each time, while they stand."""
    standing = {bucket.number for bucket in cursor.buckets}
    by_bucket: dict[int, dict[Party, str]] = {}
    for entry in cursor.parties:
        for number in standing.difference(numbers).intersection(entry.buckets):
            by_bucket.setdefault(number, {})[entry.party] = entry.digest
    before = {party: digest for digests_of_bucket in by_bucket.values() for party, digest in digests_of_bucket.items()}
    for link, rule, _ in owned_links(snapshot, policy, region):
        if rule.group in groups:
            for party in link.parties:
                if party.account in policy.accounts and not (party.is_group and party.account == rule.group.account):
                    digest = digest_of(snapshot, party, policy.keys) if _is_shown(snapshot, party) else ""
                    by_bucket.setdefault(bucket_of(rule.group), {})[party] = before.get(party, digest)
    room, fitting, digests_by_party = MOST_PARTIES, dict[Party, list[int]](), dict[Party, str]()
    for number, parties in sorted(by_bucket.items()):
        if len(parties) <= room:
            room -= len(parties)
            digests_by_party |= parties
            for party in parties:
                fitting.setdefault(party, []).append(number)
    carried = {number for fitting_numbers in fitting.values() for number in fitting_numbers}
    crowded = (standing.intersection(cursor.crowded) - numbers) | (by_bucket.keys() - carried)
    return msgspec.structs.replace(
        cursor,
        parties=tuple(
            RuleParty(party.account, party.id, digests_by_party[party], tuple(fitting[party]))
            for party in sorted(fitting)
        ),
        crowded=tuple(sorted(crowded)),
    )


def _is_shown(snapshot: Snapshot, party: Party) -> bool:
    return party in snapshot.groups or party in snapshot.instances


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def suspected(cursor: Cursor, groups: Iterable[Party]) -> Cursor:
    """The cursor with these groups as suspects, too; one more than MOST_SUSPECTS says that there are too many."""
    names = {*cursor.suspects, *(group.id for group in groups)}
    return msgspec.structs.replace(cursor, suspects=tuple(sorted(names))[: MOST_SUSPECTS + 1])
