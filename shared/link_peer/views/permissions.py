"""What could open under one policy and not under another, for the review of a policy file. Pure; no function imports
it.

A policy opens a point (source, target, port, instant, whose tags consent, asker, address) where all of these hold:

| part            | the point is open where                                                                            |
|-----------------|----------------------------------------------------------------------------------------------------|
| `accounts`      | both accounts are listed                                                                           |
| `deny`, `never` | neither bars it; a mutual link is barred by any port of `deny`, by `mutual: deny`, and by any      |
|                 | entry of `never` that names its parties, in either direction                                       |
| consent         | `allow` covers it, or the target's tags consent and `accept_tags` counts them; a mutual link needs |
|                 | both sides. An entry of `allow` consents for a source too that lets nothing out by default: where  |
|                 | `link-egress` of its tags has to consent beside the target's, the entry opens as much              |
| `queue`         | the asker may send to the queue of the source's account; where it has none, anybody may ask        |
| `ranges`        | the address is private, and in the ranges of its account where it has any; a link by address of    |
|                 | two accounts, across VPCs, needs some. Both hold of the source, and of a target that the source's  |
|                 | group must be let out to                                                                           |

A part is wider where the new policy opens a point that this part of the old one barred: so there is a wider part
exactly where the new policy opens what the old one did not. Narrower is the same with the two policies swapped. Limits,
the pause, names and the keys of tags are compared one by one.

The groups of an account are not known here, so that ends are symbolic: one covers another if it does so whatever exists
(`*` all of the account, a set of groups every set with at least its tags). Where there is a point at all, there is one
whose parties match the ends that name it and no other end: instances in those groups. It is enough to look at those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

import msgspec

from link_peer.domain.entry_index import EntryIndex, Naming
from link_peer.domain.grouped import grouped
from link_peer.domain.policy import AccountPolicy, Allow, Limits, Never, Pause, Policy
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, SET, Grantee, compact
from link_peer.planning.verdict.single_link import PRIVATE
from link_peer.views.spans import (
    ALL_SPANS,
    MUTUAL,
    PORTS,
    Span,
    Spans,
    common,
    joined,
    minus,
    of_networks,
    of_ports,
    ports_text,
    size,
)


class DifferenceKind(str, Enum):
    """How a new policy differs from an old one in one part."""

    WIDER = "wider"
    NARROWER = "narrower"
    NEITHER = "neither"


class PermissionDifference(msgspec.Struct, frozen=True):
    """One difference between two policies."""

    kind: DifferenceKind
    path: str  # its place in the new file; in the old one, of what only that has
    text: str  # what may open, or may open no longer
    old: str  # what the old file says there
    new: str  # what the new file says there


def difference(old: Policy, new: Policy, now: float) -> list[PermissionDifference]:
    """Every difference between two policies: what is wider, the widest first; what is narrower; what is neither. `now`
    (epoch seconds) decides which entries have ended."""
    before, after = _Rules.of(old), _Rules.of(new)
    wider = [*_unknown(old, new), *_gains(before, after, now)]
    differences = [
        PermissionDifference(DifferenceKind.WIDER, gain.path, gain.sentence(0), *gain.values)
        for gain in sorted(wider, key=_Gain.order)
    ]
    narrower = sorted(_gains(after, before, now), key=_Gain.order)
    differences += [
        PermissionDifference(DifferenceKind.NARROWER, gain.path, gain.sentence(1), *gain.values[::-1])
        for gain in narrower
    ]
    reported_paths = {difference.path.partition("[")[0] for difference in differences}
    return [*differences, *_neither(old, new, reported_paths)]


class _Gain(msgspec.Struct, frozen=True):
    """What a policy opens and the other one does not."""

    part: str
    path: str
    values: Sequence[str]  # what the other one says, and what this one says
    rank: tuple[int, ...]  # the widest come first
    facts: dict[str, str] = {}  # of its row of _SAID

    def sentence(self, number: int) -> str:
        """The sentence for a gain, or for a loss."""
        return _CHANGE_TEXTS[self.part][number].format(old=self.values[0], new=self.values[1], **self.facts)

    def order(self) -> tuple[tuple[int, ...], str]:
        """By which it is sorted."""
        return self.rank, self.path


_CHANGE_TEXTS = {
    "home": ("the functions run in {new}; the rules of {old} stay, and nothing closes them", ""),
    "deployment": ("the rules of the deployment {old} stay, and nothing closes them any more", ""),
    "role": ("{uid} is entered through another role, which may be allowed more", ""),
    "paused": ("links open again", "nothing opens"),
    "accept_tags": ("tags of groups consent, without a change of this file", "tags of groups do not consent any more"),
    "accounts": (
        "{uid} ({new}) may have links",
        "{uid} ({new}) may have none. First run: link-peer account remove {uid}",
    ),
    "allow": ("{who}: {ports} may open{end} without a tag", "{who}: {ports} may no longer open{end} without a tag"),
    "never": ("{who}: {ports} may open, with consent", "{who}: {ports} may not open, even with consent"),
    "deny": ("{ports} may open{also}", "{ports} may not open{also}"),
    "mutual": ("links without ports may open, with consent of both groups", "links without ports may not open"),
    "queue": ("senders to {queue} may ask as {uid}", "only senders to {other} may ask as {uid}"),
    "ranges": ("{uid} may be linked by {more} more addresses", "{uid} may be linked by {more} fewer addresses"),
    "across": (
        "{uid} may be linked by address with VPCs of other accounts",
        "{uid} may not be linked by address with VPCs of other accounts",
    ),
    "tag_prefix": ("tags that begin with {new}- ask and consent", "tags that begin with {new}- mean nothing"),
    "names": ("{name} means {new} in tags and requests", "{name} does not mean {new} in tags and requests"),
    "limits": ("{new} {what}", "{old} {what}"),
}
"""What is said of a gain, and of the same where it is lost."""

_LIMITS = {
    "removals_per_run": "removals may be made in one run because an account does not show their parties",
    "max_ports": "ports may be in a link",
    "max_port_span": "ports may be in a range",
    "max_peers": "peers may be asked for by an instance",
    "max_members": "instances may be at one end of a link by address",
    "max_days": "days may pass until the link of a request ends",
    "max_days_tags": "days may pass until the link of a tag ends",
}


class _EntryEnd(msgspec.Struct, frozen=True):
    """One end of an entry. A set is its tags, whatever its name."""

    account: str
    id: str
    tags: frozenset[tuple[str, str]] = frozenset()

    @property
    def name(self) -> Grantee:
        """By which an index finds it: of a set, one of its tags."""
        return Grantee(self.account, f"{SET}{min(self.tags)}" if self.tags else self.id)

    def covers(self, ends: frozenset[_EntryEnd]) -> bool:
        """Whether every party that matches all of these is one of this end's, whatever exists."""
        return any(
            self.account == end.account and (self.id == "*" or (self.id == end.id and self.tags <= end.tags))
            for end in ends
        )


Ends = frozenset[_EntryEnd]
"""What is known of a party: the ends that it matches."""


class _Entry(msgspec.Struct, frozen=True):
    """An entry of `allow` or `never`, with sets as their tags. `parties` and `text` show it."""

    source: _EntryEnd
    target: _EntryEnd
    ports: Spans
    until: float
    path: str
    parties: str
    text: str

    @classmethod
    def of(cls, policy: Policy, path: str, entry: Allow | Never) -> _Entry:
        """The same of a policy's entry."""
        ends, names, carried = [], [], ""
        for entry_end in (entry.source, entry.target):
            tags = policy.sets[entry_end.id.removeprefix(SET)].tags if entry_end.id.startswith(SET) else {}
            ends.append(_EntryEnd(entry_end.account, SET if tags else entry_end.id, frozenset(tags.items())))
            tags_text = ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))
            names.append(f"{entry_end} of {entry_end.account}" if tags else str(entry_end))
            carried += f"; {entry_end} carries {tags_text}" if tags else ""  # last: it may be as long as somebody likes
        until = entry.until if isinstance(entry, Allow) and entry.until is not None else math.inf
        pair, ports = " -> ".join(names), of_ports(entry.ports)
        return cls(ends[0], ends[1], ports, until, path, pair, f"{pair}: {ports_text(ports)}{_end(until)}{carried}")

    @property
    def indexed(self) -> tuple[Grantee, Grantee, _Entry]:
        """The entry, with the names of its ends before it."""
        return self.source.name, self.target.name, self

    @property
    def ends(self) -> tuple[Ends, Ends]:
        """What is known of parties that match this entry and no other."""
        return frozenset({self.source}), frozenset({self.target})

    def names(self, source: Ends, target: Ends) -> bool:
        """Whether it holds for every pair of such parties."""
        return self.source.covers(source) and self.target.covers(target)

    def gain(self, part: str, spans: Spans, rank: int, old: str, new: str) -> _Gain:
        """That these ports are gained. Of `*` there may be any number."""
        facts = {"who": self.parties, "ports": ports_text(spans or PORTS), "end": _end(self.until)}
        stars = (self.source.id, self.target.id).count("*")
        return _Gain(part, self.path, (old, new), (rank - stars, -size(spans)), facts)


def _end(until: float) -> str:
    return f" until {compact(int(until))}" if until < math.inf else ""


def _namings(ends: Ends) -> list[Naming]:
    """How entries name parties that match these ends, by account."""
    names = grouped(
        (end.account, name)
        for end in ends
        for name in ("*", *([f"{SET}{tag}" for tag in end.tags] if end.tags else [end.id]))
    )
    return [Naming(account, frozenset(ids)) for account, ids in names.items()]


def _merged(first: Ends, second: Ends) -> Ends | None:
    """What is known of a party that matches both; None if there is none."""
    union = first | second
    instances = {end.id for end in union if end.id.startswith("i-")}
    return union if len({end.account for end in union}) == 1 and len(instances) < 2 else None


class _Rules(msgspec.Struct, frozen=True):
    """A policy, with its entries by what they mean: in the order of the file, by whom they name, and those of `allow`
    by the accounts of their ends and by ports."""

    policy: Policy
    allow: Sequence[_Entry]
    never: Sequence[_Entry]
    allow_index: EntryIndex[_Entry]
    never_index: EntryIndex[_Entry]
    allow_by_ports: Mapping[tuple[str, str], Mapping[Spans, Sequence[_Entry]]]
    deny: Spans

    @classmethod
    def of(cls, policy: Policy) -> _Rules:
        """The same of a policy."""
        allow = [_Entry.of(policy, f"allow[{number}]", entry) for number, entry in enumerate(policy.allow)]
        never = [_Entry.of(policy, f"never[{number}]", entry) for number, entry in enumerate(policy.never)]
        allow_index, never_index = (EntryIndex(entry.indexed for entry in entries) for entries in (allow, never))
        by_pair = grouped(((entry.source.account, entry.target.account), (entry.ports, entry)) for entry in allow)
        by_ports = {pair: grouped(entries) for pair, entries in by_pair.items()}
        deny = of_ports(policy.deny) if policy.deny else ()
        return cls(policy, allow, never, allow_index, never_index, by_ports, deny)

    @staticmethod
    def naming(index: EntryIndex[_Entry], source: Ends, target: Ends) -> Iterator[_Entry]:
        """The entries that hold for every pair of such parties, in the order of the file."""
        for sources in _namings(source):
            for targets in _namings(target):
                yield from (entry for entry in index.concerning(sources, targets) if entry.names(source, target))

    @property
    def bars_mutual(self) -> bool:
        """Whether the policy opens no mutual link at all."""
        return bool(self.deny) or self.policy.denies_mutual

    def unbarred(self, source: Ends, target: Ends, ports: Spans) -> Spans:
        """Those of the ports that neither `deny` nor `never` bars for parties that match these ends and no others."""
        barred = [*self.deny, MUTUAL] if self.bars_mutual else []
        for entry in self.naming(self.never_index, source, target):
            barred += [*entry.ports, MUTUAL]
        barred += [MUTUAL for _ in self.naming(self.never_index, target, source)]
        return minus(ports, barred)

    def lacks(self, source: Ends, target: Ends, ports: Spans, now: float, until: float) -> list[Span]:
        """Those of the ports to which `allow` does not consent at each instant from now on until another."""
        pieces, entries = ports, [e for e in self.naming(self.allow_index, source, target) if e.until > now]
        for covering_entry in entries:
            pieces = [
                part for piece in pieces for cut in (common, minus) for part in cut([piece], covering_entry.ports)
            ]
        return [
            piece
            for piece in pieces
            if until > max((entry.until for entry in entries if not minus([piece], entry.ports)), default=now)
        ]

    def openings(self, now: float, uid: str = "") -> Iterator[tuple[Ends, Ends, Spans]]:
        """What could open on ports, from or to an account if one is given: where tags may consent, between any parties;
        else by `allow`."""
        if self.policy.accept_tags:
            every = {account: frozenset({_EntryEnd(account, "*")}) for account in self.policy.accounts}
            pairs = ((account, peer) for account in ([uid] if uid else every) for peer in every)
            directed_pairs = (pair for account, peer in pairs for pair in ((account, peer), (peer, account)))
            openings = ((every[account], every[peer], PORTS) for account, peer in directed_pairs)
        else:
            current = (entry for entry in self.allow if entry.until > now)
            openings = (
                (*entry.ends, entry.ports)
                for entry in current
                if uid in ("", entry.source.account, entry.target.account)
            )
        for source, target, ports in openings:
            if remaining := self.unbarred(source, target, minus(ports, [MUTUAL])):
                yield source, target, remaining

    def accounts_of_openings(self, now: float, uid: str) -> set[tuple[str, str]]:
        """From which accounts to which something could open that one of them is an end of."""
        return {
            (source.account, target.account)
            for sources, targets, _ in self.openings(now, uid)
            for source in sources
            for target in targets
        }


def _gains(old: _Rules, new: _Rules, now: float) -> Iterator[_Gain]:
    """What `new` opens and `old` does not, part by part."""
    yield from _allow_gains(old, new, now)
    yield from _never_gains(old, new, now)
    yield from _account_gains(old, new, now)
    undenied = minus(old.deny, new.deny)
    if undenied and any(common(ports, undenied) for _, _, ports in new.openings(now)):
        facts = {"ports": ports_text(undenied), "also": "" if new.bars_mutual else ", and mutual links"}
        listed = [ports_text(rules.deny) if rules.deny else "none" for rules in (old, new)]
        yield _Gain("deny", "deny.ports", listed, (5, -size(undenied)), facts)
    if old.policy.denies_mutual and not new.bars_mutual and _opens_mutual(new, now):
        yield _Gain("mutual", "mutual", ("deny", "allow"), (5,))
    if new.policy.accept_tags and not old.policy.accept_tags and _tags_consent_to_more(old, new, now):
        yield _Gain("accept_tags", "accept_tags", ("false", "true"), (1,))
    if new.policy.paused is Pause.NONE is not old.policy.paused:
        yield _Gain("paused", "paused", (old.policy.paused.value, "false"), (0,))
    prefixes = [rules.policy.tag_prefix or DEFAULT_TAG_PREFIX for rules in (old, new)]
    if prefixes[0] != prefixes[1]:
        yield _Gain("tag_prefix", "tag_prefix", prefixes, (2,))
    for name, party in new.policy.names.items():
        was = old.policy.names.get(name)
        if was != party:
            yield _Gain("names", f"names.{name}", (str(was or "nothing"), str(party)), (7,), {"name": name})
    yield from _limit_gains(old.policy.limits, new.policy.limits)


def _allow_gains(old: _Rules, new: _Rules, now: float) -> Iterator[_Gain]:
    for entry in new.allow:
        remaining = new.unbarred(*entry.ends, minus(entry.ports, [MUTUAL]))
        gained = old.lacks(*entry.ends, remaining, now, entry.until)
        if gained or _mutual_gain(old, new, entry, now):
            covering = "; ".join(old_entry.text for old_entry in old.naming(old.allow_index, *entry.ends))
            yield entry.gain("allow", gained, 4, covering or "nothing", entry.text)


def _mutual_gain(old: _Rules, new: _Rules, entry: _Entry, now: float) -> bool:
    """Whether an entry is the side of a mutual link that `old` lacks. The other side has a tag or an entry."""
    mutual = common(entry.ports, [MUTUAL])
    if not old.lacks(*entry.ends, new.unbarred(*entry.ends, mutual), now, entry.until):
        return False  # and so it is for those of these parties that are on the other side of an entry, too
    pairs = iter([(*entry.ends, entry.until)]) if new.policy.accept_tags else _mutual_pairs(new, entry, now)
    return any(
        new.unbarred(source, target, [MUTUAL]) and old.lacks(source, target, [MUTUAL], now, until)
        for source, target, until in pairs
    )


def _mutual_pairs(rules: _Rules, entry: _Entry, now: float) -> Iterator[tuple[Ends, Ends, float]]:
    """The parties of an entry of `allow` to which another one consents in the other direction, and until when both
    do."""
    pairs = (
        (_merged(entry.ends[0], back.ends[1]), _merged(entry.ends[1], back.ends[0]), min(entry.until, back.until))
        for back in rules.allow
        if MUTUAL in back.ports and back.until > now
    )
    return ((source, target, until) for source, target, until in pairs if source and target)


def _opens_mutual(rules: _Rules, now: float) -> bool:
    """Whether any mutual link could open."""
    if rules.policy.accept_tags:
        every = [frozenset({_EntryEnd(uid, "*")}) for uid in rules.policy.accounts]
        pairs = ((source, target) for source in every for target in every)
    else:
        entries = [entry for entry in rules.allow if MUTUAL in entry.ports and entry.until > now]
        pairs = ((source, target) for entry in entries for source, target, _ in _mutual_pairs(rules, entry, now))
    return any(rules.unbarred(source, target, [MUTUAL]) for source, target in pairs)


def _tags_consent_to_more(old: _Rules, new: _Rules, now: float) -> bool:
    every = [frozenset({_EntryEnd(uid, "*")}) for uid in new.policy.accounts]
    return any(
        old.lacks(source, target, new.unbarred(source, target, ALL_SPANS), now, math.inf)
        for source in every
        for target in every
    )


def _never_gains(old: _Rules, new: _Rules, now: float) -> Iterator[_Gain]:
    for entry in old.never:
        if not new.policy.accounts.keys() >= {entry.source.account, entry.target.account}:
            continue
        at_most = new.unbarred(*entry.ends, minus(entry.ports, [MUTUAL]))
        if not at_most:
            continue  # and so it is for those of these parties that are at the ends of another entry, too
        if freed := at_most if new.policy.accept_tags else _allowed_of(new, entry, at_most, now):
            yield entry.gain("never", freed, 3, entry.text, "nothing")


def _allowed_of(rules: _Rules, entry: _Entry, ports: Spans, now: float) -> Spans:
    """Those of the ports on which `allow` consents to a pair of parties that an entry of `never` names, and no other
    entry bars."""
    freed: Spans = ()
    pair = entry.source.account, entry.target.account
    for allowed_ports, allows in rules.allow_by_ports.get(pair, {}).items():
        for allow in allows:
            if not (remaining := minus(common(ports, allowed_ports), freed)):
                break
            source, target = (_merged(*ends) for ends in zip(entry.ends, allow.ends, strict=True))
            if source and target and allow.until > now:
                freed = joined([*freed, *rules.unbarred(source, target, remaining)])
    return freed


def _account_gains(old: _Rules, new: _Rules, now: float) -> Iterator[_Gain]:
    for uid, account in new.policy.accounts.items():
        at, was = f"accounts.{uid}", old.policy.accounts.get(uid)
        if was is None:
            if any(new.openings(now, uid)):
                yield _Gain("accounts", at, ("nothing", account.name), (2,), {"uid": uid})
            continue
        added = minus(_addresses(account), _addresses(was))
        had_queue = was.queue and was.queue != account.queue
        texts = [", ".join(side.ranges) or "every private address" for side in (was, account)]
        across = _addresses(account) if account.ranges and not was.ranges else ()
        ends = new.accounts_of_openings(now, uid) if added or had_queue or across else set()
        if had_queue and any(source == uid for source, _ in ends):
            names = [queue or "the shared queue" for queue in (was.queue, account.queue)]
            yield _Gain("queue", f"{at}.queue", names, (6,), {"uid": uid, "queue": names[1], "other": names[0]})
        if added and ends:
            yield _Gain("ranges", f"{at}.ranges", texts, (6, -size(added)), {"uid": uid, "more": f"{size(added):,}"})
        if across and any(
            source != target and (source == uid or new.policy.accounts[source].ranges) for source, target in ends
        ):
            yield _Gain("across", f"{at}.ranges", texts, (6, -size(across)), {"uid": uid})


def _addresses(account: AccountPolicy) -> Spans:
    """Those by which the instances of an account may be linked."""
    private = of_networks(PRIVATE)
    return common(of_networks(account.ranges), private) if account.ranges else private


def _limit_gains(old: Limits, new: Limits) -> Iterator[_Gain]:
    for name in Limits.__struct_fields__:
        was, is_ = getattr(old, name), getattr(new, name)
        if was is not None and (is_ is None or is_ > was):
            texts = (str(was), "any number of" if is_ is None else str(is_))
            yield _Gain("limits", f"limits.{name}", texts, (8,), {"what": _LIMITS[name]})


def _unknown(old: Policy, new: Policy) -> Iterator[_Gain]:
    """What may be wider for what no policy says."""
    if old.home != new.home:
        yield _Gain("home", "accounts", (old.home, new.home), (0,))
    if old.deployment != new.deployment:
        yield _Gain("deployment", "deployment", (old.deployment, new.deployment), (0,))
    for uid, account in new.accounts.items():
        role = old.accounts[uid].role if uid in old.accounts else None
        if role and account.role and role != account.role:
            yield _Gain("role", f"accounts.{uid}.role", (role, account.role), (6,), {"uid": uid})


def _neither(old: Policy, new: Policy, reported_paths: set[str]) -> Iterator[PermissionDifference]:
    """What differs besides, other than in order. What is said of an account, or of the entries of its sets, is
    enough."""
    olds, news = _texts(old), _texts(new)
    for path in dict.fromkeys((*olds, *news)):
        was, is_ = olds.get(path, set()), news.get(path, set())
        if was == is_ or reported_paths & {
            path,
            path.rpartition(".")[0],
            *(("allow", "never") if path == "sets" else ()),
        }:
            continue
        has_fewer_tests = path == "tests" and len(is_) < len(was)
        text = "fewer tests must hold" if has_fewer_tests else "changed, without a change of what may open"
        differences = ("; ".join(sorted(side - opposite)) or "nothing" for side, opposite in ((was, is_), (is_, was)))
        secret = path.endswith(".external_id")
        yield PermissionDifference(DifferenceKind.NEITHER, path, text, *(("not shown",) * 2 if secret else differences))


def _texts(policy: Policy) -> dict[str, set[str]]:
    """What a policy says at each place, in any order."""
    fields: dict[str, object] = {name: getattr(policy, name) for name in ("allow", "never", "sets", "paused", "tests")}
    fields |= {"deny.ports": policy.deny, "mutual": "deny" if policy.denies_mutual else ""}
    for uid, account in policy.accounts.items():
        fields |= {f"accounts.{uid}.{name}": value for name, value in msgspec.structs.asdict(account).items()}
    return {path: set(map(_text, _parts(value))) for path, value in fields.items() if value}


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.items()
    return value if isinstance(value, tuple) else (value,)


def _text(value: object) -> str:
    text = getattr(value, "text", value)
    return text if isinstance(text, str) else msgspec.json.encode(text).decode()
