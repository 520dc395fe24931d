"""The syntax of tags: parses parties, ports, peers, consents and instants into values.

    party = sg-…  |  i-…  |  sg-…@<account uid>  |  i-…@<account uid>  |  <name>
    who   = *  |  *@<uid>  |  <party>
    ports = port ("+" port)*        port = tcp/3306 | tcp/8000-8010 | udp/53 | icmp
    peer  = party[:ports]           accept = who[:ports][~<end>]       end = 20270101T000000Z
    egress = accept                 refuse = who[:ports], without names

Many people write tags, so parsing is strict: text with invalid syntax is a BadInput that names the tag.
No regular expression has nested quantifiers, so that hostile text is parsed in linear time.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from link_peer.domain.errors import BadInput
from link_peer.domain.model import ALL, Party, Port, Ports

DEFAULT_TAG_PREFIX = "link"
LOCK_TAG = "link-lock"
"""The key of the tag that locks a group for every deployment, whatever its tag prefix."""
REFUSE_TAG = "link-refuse"
"""The key of the tag by which a group refuses peers for every deployment, whatever its tag prefix."""
CONSENT_KEYS = 9
"""How many keys consent: no more than RAM's documents can deny one by one, since a condition names one key, without
wildcards."""
EGRESS_KEYS = 3
"""How many keys let a group reach others: fewer, since only advanced groups need them."""
CLOSING_KEYS = 3
"""How many keys `link-peer close --between` refuses peers by, as RAM's documents let operators write each of them."""

SET = "set:"
"""How the policy writes a set of groups, before its name."""
SET_KEYS = 5
"""How many different keys the sets of a policy have at most: RAM's documents deny each of them, too."""

FIELD_LIMIT = 8_000
"""Characters. SLS indexes only 2 KB of a value by default, and caps a line at 32 KB [doc SLS limits]."""
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
GROUP_ID = re.compile(r"sg-[0-9a-z]{1,60}")
INSTANCE_ID = re.compile(r"i-[0-9a-z]{1,60}")
_INTERFACE = re.compile("eni-[0-9a-z]{1,60}")
ACCOUNT_UID = re.compile(r"[0-9]{15,20}")
PARTY_NAME = re.compile(r"(?!sg-|i-)[a-z][a-z0-9-]{0,31}")
_AFTER_NAME = re.compile("[:~]")
PROTOCOLS = frozenset({"tcp", "udp", "icmp", "icmpv6", "gre", "all"})  # [doc AuthorizeSecurityGroup]
_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?")
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,18}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Peer(msgspec.Struct, frozen=True):
    """A party that a tagged instance wants to reach. Without ports, the link is mutual."""

    party: Party
    ports: Ports = ()


class Grantee(msgspec.Struct, frozen=True):
    """Who is consented to: one group, one instance or, as `*`, every group and instance of the account. In the policy,
    also a set of the account's groups, as `set:<name>`."""

    account: str
    id: str

    def __str__(self) -> str:
        return self.id if self.id.startswith(SET) else f"{self.id}@{self.account}"


class Accept(msgspec.Struct, frozen=True):
    """One consent. Without ports, it covers everything. `text` is its tag entry: `link-accept=sg-app:tcp/3306`.
    `until` is when it ends, in epoch seconds; None for never."""

    party: Grantee
    ports: Ports
    text: str
    until: int | None = None


class RefusalEntry(msgspec.Struct, frozen=True):
    """Whom a group never admits, nor reaches. Without ports, on every port. `party` is None where the entry cannot be
    read: then it is everybody. `text` is its tag entry: `link-refuse=sg-app:tcp/3306`."""

    party: Grantee | None
    ports: Ports
    text: str


class Tag(msgspec.Struct, frozen=True):
    """One row of the table of tags."""

    name: str
    key: str  # with its placeholders: `{prefix}-peer`
    on: str  # `instance` or `security group`
    value: str
    meaning: str
    further: str = ""  # other keys that mean the same, as the pages write them: `TagKeys.is_key` says which
    writer: str = "person"  # `person` or `link-peer`
    denied: bool = False  # RAM denies it to the functions' roles: it consents or locks


TAGS = (
    Tag(
        "peer",
        "{prefix}-peer",
        "instance",
        "`<party>[:<ports>]`, separated by commas or spaces",
        "peers that the instance asks to reach",
        further=", `{key}.<any>`",
    ),
    Tag(
        "accept",
        "{prefix}-accept",
        "security group",
        "`<who>[:<ports>][~<end>]`, same separators. Without ports: all traffic",
        "who may reach the group",
        further=", `{key}.2` … `{key}.9`",
        denied=True,
    ),
    Tag(
        "egress",
        "{prefix}-egress",
        "security group",
        "`<who>[:<ports>][~<end>]`, same separators",
        "whom an advanced group may reach, which lets nothing out by default. On a basic group it means nothing",
        further=", `{key}.2`, `{key}.3`",
        denied=True,
    ),
    Tag(
        "refuse",
        "{prefix}-refuse",
        "security group",
        "`<who>[:<ports>]`, same separators. Without ports: on all. What cannot be read refuses everybody",
        "whom the group never admits, nor reaches, whoever consents ([below](#refusing-a-peer))",
        further=", `{key}.<any>`, in upper or lower case, with or without spaces",
        denied=True,
    ),
    Tag(
        "until",
        "{prefix}-until",
        "instance",
        "RFC 3339 time with a zone",
        "the links that this instance asks for end then",
    ),
    Tag(
        "lock",
        "{prefix}-lock",
        "security group",
        "any value",
        "no rule of link-peer may be on this group ([below](#locking-a-group))",
        further=", `{key}.<any>`, in upper or lower case, with or without spaces",
        denied=True,
    ),
    Tag(
        "managed",
        "{prefix}-managed.{deployment}.{home}",
        "security group",
        "`true`",
        "written by link-peer so that the sweep finds the group. Do not remove it",
        writer="link-peer",
    ),
    Tag(
        "instances",
        "{prefix}-managed.{deployment}.{home}.instances",
        "security group",
        "`true`",
        "written beside the other one where the group has rules between instances, so that the event of a released instance "
        "finds them. Do not remove it",
        writer="link-peer",
    ),
)
"""Every tag that means something to link-peer. `TagKeys`, the table of docs/tags.md, the events that count, the
conditions of the RAM documents and what `doctor` says of similar keys follow from it."""


class TagKeys(msgspec.Struct, frozen=True):
    """The keys of the tags of one deployment, by the name of their row in TAGS. All begin with its tag prefix:
    `link-peer`, or `acme-peer`. `sets` are the keys of the policy's sets, which consent and forbid; `names` are the
    parties that the policy names.

    `managed`, with value `true`, is the tag by which a sweep finds the groups that have rules of the deployment. Groups
    with rules between instances have `instances` too: nothing else leads from the address of an instance that is gone
    to them.
    """

    peer: str
    accept: str
    egress: str
    refuse: str
    until: str
    lock: str
    managed: str
    instances: str
    sets: tuple[str, ...] = ()
    names: Mapping[str, Party] = {}

    def of_group(self, *, instances: bool) -> tuple[str, ...]:
        """The keys of the tags of a group that has rules of the deployment, between instances or not."""
        return (self.managed, self.instances) if instances else (self.managed,)

    @property
    def accepting(self) -> tuple[str, ...]:
        """The keys by which a group accepts who may reach it, in the order in which they are read and filled."""
        return _numbered(self.accept, CONSENT_KEYS)

    @property
    def letting_out(self) -> tuple[str, ...]:
        """The keys by which a group consents to whom it may reach, in the order in which they are read and filled."""
        return _numbered(self.egress, EGRESS_KEYS)

    @property
    def consenting(self) -> tuple[str, ...]:
        """The keys by which a group consents, at either end of a link. No other consents."""
        return (*self.accepting, *self.letting_out)

    @property
    def closing(self) -> tuple[str, ...]:
        """The keys by which `link-peer close --between` refuses peers, in the order in which they are filled."""
        return _numbered(f"{self.refuse}.close", CLOSING_KEYS)

    @property
    def of_people(self) -> tuple[str, ...]:
        """The keys that RAM denies the functions' roles: those that consent, lock or refuse."""
        return (*self.consenting, self.lock, self.refuse, *self.closing)

    def own_locks(self, tags: Mapping[str, str]) -> list[str]:
        """The keys among these tags that lock a group for the deployments with this tag prefix, sorted."""
        return sorted(key for key in tags if _is_folded(key, self.lock))

    def lock_on(self, tags: Mapping[str, str]) -> str:
        """The key of the tag that locks a group with these tags; empty if it is not locked. One that locks it for every
        deployment comes first: while it is there, removing the others does not unlock the group.

        A person who mistypes a lock in an emergency means a lock, so that case, spaces and what follows a dot do not
        count.
        """
        return min((key for key in tags if _is_folded(key, LOCK_TAG)), default=next(iter(self.own_locks(tags)), ""))

    def refusing(self, tags: Mapping[str, str]) -> list[str]:
        """The keys among these tags that refuse peers, for every deployment or for those with this tag prefix, sorted.
        As with a lock, case, spaces and what follows a dot do not count."""
        keys = [key for key in tags if _is_folded(key, self.refuse) or _is_folded(key, REFUSE_TAG)]
        return sorted(keys) if keys else keys

    def forbids(self, key: str) -> bool:
        """Whether a group's tag with this key locks it, or refuses peers: whoever takes it off opens."""
        return bool(self.lock_on({key: ""}) or self.refusing({key: ""}))

    def decides(self, key: str) -> bool:
        """Whether a group's tag with this key consents, refuses, locks, or puts it into a set."""
        return key in (*self.consenting, *self.sets) or self.forbids(key)

    def is_key(self, tag: Tag, key: str) -> bool:
        """Whether a key is that of a row of TAGS, or means the same."""
        own_key = getattr(self, tag.name)
        if tag.name == "accept":
            return key in self.accepting
        if tag.name == "egress":
            return key in self.letting_out
        if tag.name == "lock":
            return bool(self.lock_on({key: ""}))
        if tag.name == "refuse":
            return bool(self.refusing({key: ""}))
        return key == own_key or (tag.name == "peer" and _is(key, own_key))

    def links_depend_on(self, key: str, *, removed: bool) -> bool:
        """Whether links may differ after a tag with this key was set, or `removed`. Those that link-peer writes itself
        matter only where someone removed them."""
        return any((removed or tag.writer == "person") and self.is_key(tag, key) for tag in TAGS)


def tag_keys(prefix: str, deployment: str, home: str) -> TagKeys:
    """The keys of a deployment. `home` is the uid of the account of its functions: two homes may use one deployment
    name in a shared account."""
    fields: dict[str, Any] = {tag.name: tag.key.format(prefix=prefix, deployment=deployment, home=home) for tag in TAGS}
    return TagKeys(**fields)


def similar_keys(tags: Mapping[str, str], on: str, keys: TagKeys) -> list[str]:
    """The keys of an `instance` or a `security group` that begin like those of the deployment, or like those that bind
    under every prefix, in whatever case, and mean nothing there."""
    rows = [tag for tag in TAGS if tag.on == on]
    begin, managed_prefix = (keys.peer.removesuffix("peer"), LOCK_TAG, REFUSE_TAG), keys.managed.partition(".")[0]
    # the managed tags of another deployment under the same prefix are not ours to judge
    return sorted(
        key
        for key in tags
        if _folded(key).replace("_", "-").startswith(begin)
        and not _is(key, managed_prefix)
        and not any(keys.is_key(tag, key) for tag in rows)
    )


def _folded(key: str) -> str:
    return "".join(key.lower().split())


@functools.lru_cache(maxsize=1024)  # the keys are few, and asked about for each link
def _is_folded(key: str, tag: str) -> bool:
    return _is(_folded(key), tag)


@functools.cache
def _numbered(key: str, count: int) -> tuple[str, ...]:
    return (key, *(f"{key}.{number}" for number in range(2, count + 1)))


def is_tag_prefix(text: str) -> bool:
    """Whether every tag key of a deployment may begin with the text."""
    return _PREFIX.fullmatch(text) is not None


def quoted(text: str) -> str:
    """Untrusted text as it may appear in a message: in quotes, escaped to ASCII, cut to 80 characters."""
    return ascii(text if len(text) <= 80 else text[:80] + "...")


def clean(value: object, limit: int | None = FIELD_LIMIT) -> str:
    """A value as a record carries it: a string without characters that break a line, reverse the text or are
    invisible."""
    text = str(value)[:limit]
    if text.isprintable():  # all of these are not, and hardly any text has one
        return text
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )


def is_group_id(text: str) -> bool:
    """Whether the text is a security group id, `sg-…`."""
    return GROUP_ID.fullmatch(text) is not None


def is_instance_id(text: str) -> bool:
    """Whether the text is an instance id, `i-…`."""
    return INSTANCE_ID.fullmatch(text) is not None


def is_interface_id(text: str) -> bool:
    """Whether the text is a network interface id, `eni-…`."""
    return _INTERFACE.fullmatch(text) is not None


def is_account_uid(text: str) -> bool:
    """Whether the text is the uid of an Alibaba Cloud account: 15 to 20 digits."""
    return ACCOUNT_UID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether the policy may give a party this name: nothing else in a tag looks like it."""
    return PARTY_NAME.fullmatch(text) is not None and text not in PROTOCOLS


def by_id(text: str, names: Mapping[str, Party]) -> str:
    """A party, a peer or a consent (`ledger:tcp/3306`) with the id and account that the policy gives its name; other
    text as it is."""
    name = _AFTER_NAME.split(text)[0]
    return f"{names[name]}{text.removeprefix(name)}" if name in names else text


def parse_party(text: str, home: str) -> Party:
    """Parses `sg-…` or `i-…`, each with `@<uid>` or in the account `home`. Raises BadInput."""
    name, at, account = text.partition("@")
    if (is_group_id(name) or is_instance_id(name)) and (not at or is_account_uid(account)):
        return Party(account or home, name)
    raise BadInput(
        "party", f"{quoted(text)} is not sg-… or i-…, alone or with @<account uid>, nor a name of the policy"
    )


def parse_who(text: str, home: str | None) -> Grantee:
    """Parses `*`, `sg-…` or `i-…`, each with `@<uid>` or in the account `home`. Raises BadInput.

    If `home` is None, `@<uid>` is required.
    """
    name, at, account = text.partition("@")
    if name == "*" or is_group_id(name) or is_instance_id(name):
        if is_account_uid(account):
            return Grantee(account, name)
        if not at and home is not None:
            return Grantee(home, name)
    forms = (
        "*@<uid>, sg-…@<uid> or i-…@<uid>"
        if home is None
        else "*, sg-… or i-…, alone or with @<account uid>, nor a name of the policy"
    )
    raise BadInput("who", f"{quoted(text)} is not {forms}")


def parse_port(text: str) -> Port:
    """Parses `tcp/3306`, `tcp/8000-8010`, `udp/53` or `icmp`. Raises BadInput."""
    if text == "icmp":
        return Port("icmp")
    match = _PORT.fullmatch(text if "/" in text else f"tcp/{text}")
    if match:
        low = int(match[2])
        high = int(match[3] or low)
        if low <= high <= 65535 and "/" in text:
            return Port(match[1], low, high)
        if low <= high <= 65535:
            raise BadInput("port", f"{quoted(text)} names no protocol: did you mean tcp/{text}?")
    raise BadInput(
        "port", f"{quoted(text)} is not a port such as tcp/3306, tcp/8000-8010, udp/53 or icmp (1-65535, low to high)"
    )


def parse_ports(text: str) -> Ports:
    """Parses `tcp/1+udp/53`. Each port is in the result once, sorted as strings. Raises BadInput."""
    return unique_ports([parse_port(piece) for piece in text.split("+")])


def unique_ports(ports: list[Port]) -> Ports:
    """The ports without duplicates, sorted as strings: the order that records and ids use."""
    return tuple(sorted(set(ports), key=str))


def split(value: str) -> list[str]:
    """The entries of a tag value. Only commas and spaces separate them; other white space makes an entry invalid."""
    return [piece for piece in value.replace(" ", ",").split(",") if piece]


def parse_peer(text: str, home: str) -> Peer:
    """Parses `party` or `party:ports`. Raises BadInput."""
    party, colon, ports = text.partition(":")
    return Peer(parse_party(party, home), parse_ports(ports) if colon else ())


def peers(tags: Mapping[str, str], home: str, keys: TagKeys) -> list[tuple[str, Peer | BadInput]]:
    """The peers in the tags of an instance of account `home`, as (entry, peer or error); duplicates are left out.

    An entry is written like `link-peer=sg-db`.
    """
    entries: dict[Peer | str, tuple[str, Peer | BadInput]] = {}
    for key, piece in _entries(tags, sorted(key for key in tags if _is(key, keys.peer))):
        text = f"{key}={piece}"
        try:
            peer = parse_peer(by_id(piece, keys.names), home)
        except BadInput as error:
            entries.setdefault(text, (text, BadInput(key, error.problem)))
        else:
            entries.setdefault(peer, (text, peer))
    return list(entries.values())


def asks_for_links(tags: Mapping[str, str], keys: TagKeys) -> bool:
    """Whether the tags of an instance name peers, readable or not."""
    return any(_is(key, keys.peer) for key in tags)


def accepts(tags: Mapping[str, str], own_account: str, keys: TagKeys) -> list[Accept]:
    """The consents to who may reach a group of `own_account`, in its tags. An entry with invalid syntax consents to
    nothing."""
    return [read for _, read in _read_accepts(tags, own_account, keys, keys.accepting) if isinstance(read, Accept)]


def egress_accepts(tags: Mapping[str, str], own_account: str, keys: TagKeys) -> list[Accept]:
    """The consents to whom a group of `own_account` may reach, in its tags, as `accepts` reads them: `party` is who is
    reached."""
    return [read for _, read in _read_accepts(tags, own_account, keys, keys.letting_out) if isinstance(read, Accept)]


def bad_accepts(tags: Mapping[str, str], own_account: str, keys: TagKeys) -> list[tuple[str, BadInput]]:
    """The consent entries of both ends with invalid syntax, as (entry, error)."""
    entries = _read_accepts(tags, own_account, keys, keys.consenting)
    return [(text, read) for text, read in entries if isinstance(read, BadInput)]


def refusals(tags: Mapping[str, str], own_account: str, keys: TagKeys) -> list[RefusalEntry]:
    """Whom a group of `own_account` refuses by its tags. A value without an entry, and an entry with invalid syntax, an
    end or a name of the policy, refuses everybody: who writes it in an emergency means a refusal."""
    return [
        _read_refusal(key, piece, own_account)
        for key in keys.refusing(tags)
        for piece in split(tags[key]) or [tags[key]]
    ]


def covers(accept_ports: Ports, port: Port) -> bool:
    """Whether the ports of one consent cover a port. Only a consent without ports covers ALL; it covers everything."""
    if not accept_ports:
        return True
    if port == ALL:
        return False
    nearest = port.low
    for accepted in sorted(accepted for accepted in accept_ports if accepted.protocol == port.protocol):
        if accepted.low > nearest:
            return False
        nearest = max(nearest, accepted.high + 1)
        if port.high < nearest:
            return True
    return False


def parse_instant(text: str) -> float:
    """Epoch seconds of an RFC 3339 instant, which must have a zone. Raises BadInput, also for a leap second."""
    match = _INSTANT.fullmatch(text)
    if match:
        sign, hours, minutes = match[8], int(match[9] or 0), int(match[10] or 0)
        if minutes <= 59:
            offset = timedelta(hours=hours, minutes=minutes)
            # Digits after milliseconds are dropped: a float would round them, possibly up to the next second.
            millis = int((match[7] or "0")[:3].ljust(3, "0"))
            whole = _epoch(match.groups()[:6], -offset if sign == "-" else offset)
            if whole is not None:
                return whole + millis / 1000
    raise BadInput("instant", f"{quoted(text)} is not an RFC 3339 instant with a zone, like 2027-01-01T00:00:00Z")


def iso(epoch: float) -> str:
    """An instant as records write it, rounded down to the second: `2026-11-25T00:00:00Z`."""
    return (_EPOCH + timedelta(seconds=math.floor(epoch))).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_millis(epoch: float) -> str:
    """An instant rounded down to the millisecond: `2026-11-25T00:00:00.123Z`."""
    # timedelta rounds to the microsecond first, so that the float nearest to .123 is not cut to .122.
    when = _EPOCH + timedelta(seconds=epoch)
    return when.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def compact(epoch: float) -> str:
    """An instant as markers write it, rounded down to the second: `20270101T000000Z`."""
    when = _EPOCH + timedelta(seconds=math.floor(epoch))
    return f"{when.year:04d}{when.month:02d}{when.day:02d}T{when.hour:02d}{when.minute:02d}{when.second:02d}Z"


def parse_compact(text: str) -> int:
    """Epoch seconds of an instant as `compact` writes it. Raises BadInput."""
    match = _COMPACT.fullmatch(text)
    epoch = _epoch(match.groups(), timedelta()) if match else None
    if epoch is None:
        raise BadInput("instant", f"{quoted(text)} is not like 20270101T000000Z")
    return epoch


def link_until(tags: Mapping[str, str], keys: TagKeys) -> int | BadInput | None:
    """When the links of an instance expire, in epoch seconds: None for never, a BadInput if the tag is invalid."""
    if keys.until not in tags:
        return None
    try:
        return math.floor(parse_instant(tags[keys.until]))
    except BadInput as error:
        return BadInput(keys.until, error.problem)


def _entries(tags: Mapping[str, str], keys: Iterable[str]) -> list[tuple[str, str]]:
    return [(key, piece) for key in keys for piece in split(tags[key])]


def _is(key: str, tag: str) -> bool:
    return key == tag or key.startswith(tag + ".")


def _read_accepts(
    tags: Mapping[str, str], own_account: str, keys: TagKeys, consenting: Sequence[str]
) -> list[tuple[str, Accept | BadInput]]:
    entries = _entries(tags, [key for key in consenting if key in tags])
    return [_read_accept(key, piece, by_id(piece, keys.names), own_account) for key, piece in entries]


@functools.lru_cache(maxsize=4096)  # as below
def _read_refusal(key: str, piece: str, own_account: str) -> RefusalEntry:
    text, (party, colon, ports) = f"{key}={piece}", piece.partition(":")
    try:
        return RefusalEntry(parse_who(party, own_account), parse_ports(ports) if colon else (), text)
    except BadInput:
        return RefusalEntry(None, (), text)


@functools.lru_cache(maxsize=32_768)  # a sweep asks about each group as often as links lead to it
def _read_accept(key: str, piece: str, party_text: str, own_account: str) -> tuple[str, Accept | BadInput]:
    text = f"{key}={piece}"
    try:
        return text, parse_accept(party_text, own_account, text)
    except BadInput as error:
        return text, BadInput(key, error.problem)


def parse_accept(piece: str, own_account: str, text: str) -> Accept:
    """Parses `party[:ports][~end]` on a group of `own_account`; `text` is the tag entry that it is part of. Raises
    BadInput."""
    consent, tilde, end = piece.partition("~")
    party, colon, ports = consent.partition(":")
    return Accept(
        parse_who(party, own_account),
        parse_ports(ports) if colon else (),
        text,
        parse_compact(end) if tilde else None,
    )


def _epoch(parts: tuple[str, ...], offset: timedelta) -> int | None:
    """Epoch seconds of (year, month, day, hour, minute, second) at an offset; None if there is no such instant."""
    year, month, day, hour, minute, second = map(int, parts)
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return (when - _EPOCH) // timedelta(seconds=1)
