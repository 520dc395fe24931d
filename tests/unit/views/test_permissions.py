"""What could open under one policy and not under another: the rows of the contract, and every point of random small
worlds.

`PERMISSIONS=100000` compares as many random pairs of policies; `make test` compares 1,200.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Party, Ports
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Limits, Never, Pause, Policy, PolicyTest
from link_peer.domain.tags import Grantee, parse_ports
from link_peer.views.permissions import DifferenceKind, difference

from tests.counted import calls_of
from tests.sample import part

A, B, C = "1000000000000001", "1000000000000002", "1000000000000003"
NOW, SOON, LATER = 1_000, 2_000, 3_000
PAIRS = int(os.environ.get("PERMISSIONS", part(1200, 3)))


def grantee(text: str) -> Grantee:
    name, _, account = text.partition("@")
    return Grantee(account or A, name)


def allow(source: str, target: str, ports: str = "", until: int | None = None) -> Allow:
    return Allow(
        grantee(source), grantee(target), parse_ports(ports) if ports else (), f"{source}->{target}:{ports}", until
    )


def never(source: str, target: str, ports: str = "") -> Never:
    return Never(grantee(source), grantee(target), parse_ports(ports) if ports else (), f"{source}->{target}:{ports}")


BASE = Policy(
    "prod",
    {
        A: AccountPolicy("a"),
        B: AccountPolicy("b", f"acs:ram::{B}:role/link-peer", "secret", ("10.2.0.0/16",), "link-peer-b"),
    },
    accept_tags=False,
    allow=(allow("sg-app", f"sg-db@{B}", "tcp/3306"), allow(f"*@{B}", "set:prod", "tcp/20-30")),
    deny=parse_ports("tcp/22+tcp/3389"),
    limits=Limits(max_ports=4, max_port_span=10, max_peers=5, max_members=5, max_days=30, max_days_tags=30),
    tests=(PolicyTest(grantee("sg-app"), deny=((grantee("sg-db"), ()),)),),
    never=(never(f"*@{B}", "set:guard", "tcp/23"),),
    sets={name: GroupSet(A, {"env": "prod", "tier": "1"}) for name in ("prod", "guard")},
    names={"ledger": Party(B, "sg-ledger")},
)


def changed(policy: Policy = BASE, **fields: Any) -> Policy:
    return msgspec.structs.replace(policy, **fields)


def account(**fields: Any) -> dict[str, AccountPolicy]:
    return {**BASE.accounts, B: msgspec.structs.replace(BASE.accounts[B], **fields)}


def difference_texts(old: Policy, new: Policy, kind: DifferenceKind) -> list[str]:
    return [change.path for change in difference(old, new, NOW) if change.kind is kind]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("deny.ports", {"deny": ()}),
        ("allow[2]", {"allow": (*BASE.allow, allow("*", f"*@{B}"), allow(f"*@{B}", "*"))}),
        ("accept_tags", {"accept_tags": True}),
        (f"accounts.{B}.queue", {"accounts": account(queue="")}),
        (f"accounts.{B}.ranges", {"accounts": account(ranges=("10.2.0.0/15",))}),
        ("limits.max_days", {"limits": msgspec.structs.replace(BASE.limits, max_days=None)}),
        ("limits.max_ports", {"limits": Limits()}),
        ("limits.removals_per_run", {"limits": msgspec.structs.replace(BASE.limits, removals_per_run=100_000)}),
        ("never[0]", {"never": ()}),
        ("never[0]", {"never": (never(f"sg-x@{B}", "set:guard", "tcp/23"),)}),
        ("never[0]", {"sets": {**BASE.sets, "guard": GroupSet(A, {"env": "prod", "tier": "1", "team": "x"})}}),
        ("allow[1]", {"sets": {**BASE.sets, "prod": GroupSet(A, {"env": "prod"})}}),
        ("allow[0]", {"allow": (allow("sg-app", f"sg-db@{B}", "tcp/3306-3307"), BASE.allow[1])}),
        ("allow[0]", {"allow": (allow("*", f"sg-db@{B}", "tcp/3306"), BASE.allow[1])}),
        ("names.audit", {"names": {**BASE.names, "audit": Party(B, "sg-audit")}}),
    ],
)
def test_what_is_wider_is_found_and_its_reverse_is_not_called_wider(path: str, fields: Mapping[str, Any]) -> None:
    new = changed(**fields)
    assert path in difference_texts(BASE, new, DifferenceKind.WIDER)
    assert not difference_texts(BASE, new, DifferenceKind.NARROWER)
    assert not difference_texts(new, BASE, DifferenceKind.WIDER)
    assert path in difference_texts(new, BASE, DifferenceKind.NARROWER)


@pytest.mark.parametrize(
    ("path", "kinds", "fields"),
    [
        (f"accounts.{B}.queue", "wider narrower", {"accounts": account(queue="link-peer-c")}),
        (f"accounts.{B}.ranges", "wider narrower", {"accounts": account(ranges=())}),  # not by address across VPCs
        ("names.ledger", "wider narrower", {"names": {"ledger": Party(B, "sg-other")}}),
        ("tag_prefix", "wider narrower", {"tag_prefix": "acme"}),
        ("deny.ports", "wider narrower", {"deny": parse_ports("tcp/25+tcp/3389")}),
        ("deployment", "wider", {"deployment": "test"}),
        (f"accounts.{B}.role", "wider", {"accounts": account(role=f"acs:ram::{B}:role/admin")}),
        ("paused", "narrower", {"paused": Pause.OPENING}),
        (f"accounts.{B}.external_id", "neither", {"accounts": account(external_id="other")}),
        (f"accounts.{B}.name", "neither", {"accounts": account(name="other")}),
        (f"accounts.{C}.name", "neither", {"accounts": {**BASE.accounts, C: AccountPolicy("c", "r", "x")}}),
        (f"accounts.{C}", "wider", {"accept_tags": True, "accounts": {**BASE.accounts, C: AccountPolicy("c", "r")}}),
        ("tests", "neither", {"tests": ()}),
        ("allow", "neither", {"allow": (*BASE.allow, allow("sg-x", f"sg-db@{B}", "tcp/22"))}),  # which is denied
        ("allow", "neither", {"allow": (*BASE.allow, allow("sg-x", f"sg-db@{B}", until=NOW))}),  # which has ended
        ("never", "neither", {"never": (*BASE.never, never("*", f"*@{B}", "tcp/22"))}),
    ],
)
def test_a_change_is_what_it_does(path: str, kinds: str, fields: Mapping[str, Any]) -> None:
    """A change that is both gives one of each; one that opens and closes nothing is shown, too."""
    every = difference(BASE, changed(**fields), NOW)
    assert [change.kind.value for change in every if change.path == path] == kinds.split()
    assert "secret" not in str(every)


NARROW = changed(paused=Pause.OPENING, tests=())
WIDEST = changed(
    deployment="test",
    accept_tags=True,
    accounts={
        A: AccountPolicy("a"),
        B: AccountPolicy("b", f"acs:ram::{B}:role/admin", "other"),
        C: AccountPolicy("c", "role"),
    },
    allow=(allow("*", f"*@{B}", "tcp/3306"), allow("sg-app", f"sg-db@{B}", until=LATER), *BASE.allow),
    deny=(),
    limits=Limits(removals_per_run=60, max_ports=8, max_port_span=20, max_peers=6, max_members=6),
    tests=(),
    never=(),
    names={"ledger": Party(B, "sg-other"), "audit": Party(B, "sg-audit")},
    tag_prefix="acme",
)
REST = "tcp/1-3305, tcp/3307-65535, udp/1-65535, icmp"
SAID = f"""
deployment: the rules of the deployment prod stay, and nothing closes them any more | prod | test
paused: links open again | opening | false
accept_tags: tags of groups consent, without a change of this file | false | true
accounts.{C}: {C} (c) may have links | nothing | c
tag_prefix: tags that begin with acme- ask and consent | link | acme
allow[0]: *@{A} -> *@{B}: tcp/3306 may open without a tag | nothing | *@{A} -> *@{B}: tcp/3306
never[0]: *@{B} -> set:guard of {A}: tcp/23 may open, with consent | {{guard}} | nothing
allow[1]: sg-app@{A} -> sg-db@{B}: {REST} may open until 19700101T005000Z without a tag | {{now}} | {{then}}
deny.ports: tcp/22, tcp/3389 may open, and mutual links | tcp/22, tcp/3389 | none
accounts.{B}.queue: senders to the shared queue may ask as {B} | link-peer-b | the shared queue
accounts.{B}.role: {B} is entered through another role, which may be allowed more | {{role}}/link-peer | {{role}}/admin
accounts.{B}.ranges: {B} may be linked by 22,020,096 more addresses | 10.2.0.0/16 | every private address
names.audit: audit means sg-audit@{B} in tags and requests | nothing | sg-audit@{B}
names.ledger: ledger means sg-other@{B} in tags and requests | sg-ledger@{B} | sg-other@{B}
limits.max_days: any number of days may pass until the link of a request ends | 30 | any number of
limits.max_days_tags: any number of days may pass until the link of a tag ends | 30 | any number of
limits.max_members: 6 instances may be at one end of a link by address | 5 | 6
limits.max_peers: 6 peers may be asked for by an instance | 5 | 6
limits.max_port_span: 20 ports may be in a range | 10 | 20
limits.max_ports: 8 ports may be in a link | 4 | 8
limits.removals_per_run: 60 removals may be made in one run because an account does not show their parties | 50 | 60
tag_prefix: tags that begin with link- mean nothing | link | acme
accounts.{B}.ranges: {B} may not be linked by address with VPCs of other accounts | 10.2.0.0/16 | every private address
names.ledger: ledger does not mean sg-ledger@{B} in tags and requests | sg-ledger@{B} | sg-other@{B}
accounts.{B}.external_id: changed, without a change of what may open | not shown | not shown
""".format(
    guard=f"*@{B} -> set:guard of {A}: tcp/23; set:guard carries env=prod, tier=1",
    now=f"sg-app@{A} -> sg-db@{B}: tcp/3306",
    then=f"sg-app@{A} -> sg-db@{B}: all ports until 19700101T005000Z",
    role=f"acs:ram::{B}:role",
)


def test_each_difference_is_said_with_what_the_files_say() -> None:
    """What is wider, the widest first; then what is narrower; then what is neither. All that is lost the other way
    round is said as lost, but for what no policy knows."""
    texts = [
        f"{change.path}: {change.text} | {change.old} | {change.new}" for change in difference(NARROW, WIDEST, NOW)
    ]
    assert texts == SAID.strip().splitlines()
    narrower = [change for change in difference(WIDEST, NARROW, NOW) if change.kind is DifferenceKind.NARROWER]
    gained = [change for change in difference(NARROW, WIDEST, NOW) if change.kind is DifferenceKind.WIDER]
    gained = [change for change in gained if change.path not in ("deployment", f"accounts.{B}.role")]
    assert [(change.path, change.new, change.old) for change in narrower] == [
        (change.path, change.old, change.new) for change in gained
    ]
    assert narrower[4].text == f"*@{A} -> *@{B}: tcp/3306 may no longer open without a tag"
    for tests, text in (((), "fewer tests must hold"), (BASE.tests * 2, "")):
        test_changes = [(change.text, change.new) for change in difference(BASE, changed(tests=tests), NOW)]
        assert test_changes == [(text, "nothing")][: bool(text)]


def test_the_ranges_of_an_account_that_is_only_reached_open_egress_to_it() -> None:
    """A source that lets nothing out by default gets a rule for the address of each target, as that account's ranges
    allow."""
    home = AccountPolicy("a", ranges=("10.0.0.0/16",))
    old, new = (
        changed(accounts={**account(ranges=ranges), A: home}, allow=(allow("sg-app", f"sg-db@{B}", "tcp/1"),))
        for ranges in ((), ("10.2.0.0/16",))
    )
    assert difference_texts(old, new, DifferenceKind.WIDER) == [f"accounts.{B}.ranges"]
    assert difference_texts(new, old, DifferenceKind.WIDER) == [f"accounts.{B}.ranges"]  # more addresses in one VPC


def test_another_home_is_wider_and_an_account_that_has_no_role_any_more_is_entered_by_none() -> None:
    accounts = {A: AccountPolicy("a", "role", "x"), B: msgspec.structs.replace(BASE.accounts[B], role=None)}
    (home,) = [
        change for change in difference(BASE, changed(accounts=accounts), NOW) if change.kind is DifferenceKind.WIDER
    ]
    assert (home.path, home.old, home.new) == ("accounts", A, B)


def test_consent_by_tags_opens_no_more_where_the_list_allows_all_that_is_not_barred() -> None:
    """In the direction that is barred, the list need not. A port that nothing could open changes nothing either."""
    pairs = [("*", "*"), (f"*@{B}", f"*@{B}"), ("*", f"*@{B}")]
    old = changed(allow=tuple(allow(*pair) for pair in pairs), never=(never(f"*@{B}", "*"),), deny=())
    assert difference_texts(old, changed(old, accept_tags=True), DifferenceKind.WIDER) == []
    closed = changed(allow=())
    assert difference_texts(closed, changed(closed, deny=()), DifferenceKind.NEITHER) == ["deny.ports"]


def test_a_mutual_link_needs_two_sides_that_are_one_pair() -> None:
    """Consent of another pair, each way on every port, opens none."""
    every = "tcp/1-65535+udp/1-65535+icmp"
    one_way = [("i-1", f"i-2@{B}"), (f"i-3@{B}", "i-1")]
    old, new = (changed(allow=tuple(allow(*pair, ports) for pair in one_way), deny=()) for ports in (every, ""))
    assert {change.kind for change in difference(old, new, NOW)} == {DifferenceKind.NEITHER}
    pair = [("i-1", f"i-2@{B}"), (f"i-2@{B}", "i-1")]
    old, new = (changed(allow=tuple(allow(*pair_, ports) for pair_ in pair), deny=()) for ports in (every, ""))
    assert difference_texts(old, new, DifferenceKind.WIDER) == ["allow[0]", "allow[1]"]
    one_sided = [changed(old, allow=(allow(*pair[0], ports), old.allow[1])) for ports in (every, "")]
    assert difference_texts(*one_sided, DifferenceKind.WIDER) == []  # the other side consents to ports only
    tags = [changed(policy, allow=policy.allow[:1], accept_tags=True) for policy in (old, new)]
    assert difference_texts(*tags, DifferenceKind.WIDER) == ["allow[0]"]  # the other side may have a tag
    wide = [changed(new, allow=(*new.allow, allow("*", f"i-2@{B}", ports))) for ports in (every, "")]
    assert difference_texts(*wide, DifferenceKind.WIDER) == []  # the one pair that is open both ways was before
    ends_there, back = pair
    barred = never(*ends_there, "tcp/1")
    wide = [
        changed(deny=(), never=(barred,), allow=(allow("*", ends_there[1], p), allow(*back, p))) for p in (every, "")
    ]
    assert difference_texts(*wide, DifferenceKind.WIDER) == []  # the one pair with two sides is barred
    sides = (allow(*ends_there, every), allow(*back, until=SOON))
    old, new = (changed(allow=(*sides, allow(*ends_there, until=until)), deny=()) for until in (SOON, None))
    assert difference_texts(old, new, DifferenceKind.WIDER) == []  # it ends with its other side, as before


def test_mutual_links_that_may_open_again_are_wider_unless_ports_are_denied() -> None:
    """While `deny` has ports no mutual link opens, so that the switch alone changes nothing then."""
    strict = changed(deny=(), denies_mutual=True, accept_tags=True)
    assert difference_texts(strict, changed(strict, denies_mutual=False), DifferenceKind.WIDER) == ["mutual"]
    assert difference_texts(changed(strict, denies_mutual=False), strict, DifferenceKind.NARROWER) == ["mutual"]
    (wider,) = difference(strict, changed(strict, denies_mutual=False), NOW)
    assert (wider.text, wider.old, wider.new) == (
        "links without ports may open, with consent of both groups",
        "deny",
        "allow",
    )
    denied = changed(strict, deny=BASE.deny)
    assert difference_texts(denied, changed(denied, denies_mutual=False), DifferenceKind.NEITHER) == ["mutual"]
    (opened_ports,) = difference(denied, strict, NOW)
    assert opened_ports.text == "tcp/22, tcp/3389 may open"


def test_every_field_of_a_policy_is_compared() -> None:
    """A new field must be thought of here."""
    fields = (*Policy.__struct_fields__, *AccountPolicy.__struct_fields__, *Limits.__struct_fields__)
    assert " ".join(fields) == (
        "deployment accounts accept_tags allow deny limits paused tests never sets names denies_mutual digest leaving tag_prefix "
        "name role external_id ranges queue flowlog "
        "removals_per_run max_ports max_port_span max_peers max_members max_days max_days_tags"
    )


# Every party of a small world: its account, its own id, and its groups with their tags. An instance may be in two.
GROUPS: tuple[tuple[str, dict[str, str]], ...] = (
    ("sg-a", {"env": "-", "team": "-"}),
    ("sg-a", {"env": "prod", "team": "x"}),  # it may have any tags
    ("sg-z", {"env": "-", "team": "-"}),
    ("sg-p", {"env": "prod", "team": "-"}),
    ("sg-q", {"env": "prod", "team": "x"}),
    ("sg-x", {"env": "-", "team": "x"}),
    ("sg-n", {}),
)
INSIDE = [*((group_pair,) for group_pair in GROUPS), *itertools.combinations(GROUPS, 2)]
PARTIES = [(uid, instance_id, groups) for uid in (A, B) for instance_id in ("i-1", "i-2") for groups in INSIDE]
PARTIES += [(uid, group[0], (group,)) for uid in (A, B) for group in GROUPS]
POINTS = ("tcp/1", "tcp/22", "tcp/80", "udp/22")  # one of each part into which the entries cut the ports
MUTUAL = "mutual"
SETS = ({"env": "prod"}, {"env": "prod", "team": "x"}, {"team": "x"})
FULL, SIZE = (1 << len(PARTIES) ** 2) - 1, len(PARTIES)


@functools.cache
def matching(end: Grantee, tags: tuple[tuple[str, str], ...], *, maybe: bool) -> tuple[int, ...]:
    """The parties that an end matches, of `never` (`maybe`) or of `allow`."""

    def matches(uid: str, instance_id: str, groups: tuple[tuple[str, dict[str, str]], ...]) -> bool:
        if uid != end.account:
            return False
        if not end.id.startswith("set:"):
            return end.id in ("*", instance_id, *(name for name, _ in groups))
        return any(
            all(tags_found.get(key, value if maybe else None) == value for key, value in tags)
            for _, tags_found in groups
        )

    return tuple(number for number, party in enumerate(PARTIES) if matches(*party))


@functools.cache
def box(sources: tuple[int, ...], targets: tuple[int, ...]) -> int:
    """The pairs of parties, a bit for each."""
    row = sum(1 << target for target in targets)
    return sum(row << source * SIZE for source in sources)


def opened(policy: Policy) -> dict[tuple[object, ...], int]:
    """The pairs that may open, by port, instant and whose tags consent (the target's, the source's), if all else is as
    it must."""

    def instance_counts(entry: Allow | Never, *, maybe: bool) -> tuple[int, int]:
        ends = []
        for end in (entry.source, entry.target):
            tags = policy.sets[end.id[4:]].tags if end.id.startswith("set:") else {}
            ends.append(matching(end, tuple(tags.items()), maybe=maybe))
        return box(*ends), box(*ends[::-1])

    def overlaps(ports: Ports, point: str) -> bool:
        return any(port.overlaps(point_port) for port in ports for point_port in parse_ports(point))

    every = tuple(number for number, party in enumerate(PARTIES) if party[0] in policy.accounts)
    listed, opened_points = box(every, every), {}
    barred = dict.fromkeys((*POINTS, MUTUAL), 0)
    for entry in policy.never:
        points_there, back = instance_counts(entry, maybe=True)
        barred[MUTUAL] |= points_there | back
        for point in POINTS:
            barred[point] |= points_there if not entry.ports or overlaps(entry.ports, point) else 0
    for point, now in itertools.product((*POINTS, MUTUAL), (NOW, SOON, LATER)):
        points_there = back = 0
        for allowed in policy.allow:
            if allowed.until is not None and allowed.until <= now:
                continue
            if not allowed.ports or (point != MUTUAL and overlaps(allowed.ports, point)):
                forth, reverse = instance_counts(allowed, maybe=False)
                points_there, back = points_there | forth, back | reverse
        denied = policy.denies_mutual or bool(policy.deny) if point == MUTUAL else overlaps(policy.deny, point)
        for target, source in itertools.product((False, True), (False, True) if point == MUTUAL else (False,)):
            consents = points_there | (FULL if policy.accept_tags and target else 0)
            if point == MUTUAL:
                consents &= back | (FULL if policy.accept_tags and source else 0)
            opened_points[point, now, target, source] = 0 if denied else consents & listed & ~barred[point]
    return opened_points


@functools.cache
def places(uid: str) -> tuple[int, ...]:
    """Where the parties of an account are among all."""
    return tuple(place for place, party in enumerate(PARTIES) if party[0] == uid)


def askers(policy: Policy) -> Iterator[int]:
    """The pairs for which a queue and the addresses are right: for each queue, each address of the source and of a
    target that it must be let out to (None: it needs not), in one VPC, or by address across VPCs."""
    addresses = ("10.2.0.0/16", "10.4.0.0/16", "")

    def right_addresses(uid: str, address: str | None, peer: str, *, is_across: bool) -> bool:
        ranges = policy.accounts[uid].ranges
        return address is None or (address in ranges if ranges else not is_across or uid == peer)

    for queue, near, far, is_across in itertools.product(
        ("link-peer-b", "link-peer-c", "shared"), addresses, (*addresses, None), (False, True)
    ):
        right = 0
        for source, target in itertools.product(policy.accounts, repeat=2):
            if (
                policy.accounts[source].queue in ("", queue)
                and right_addresses(source, near, target, is_across=is_across)
                and right_addresses(target, far, source, is_across=is_across)
            ):
                right |= box(places(source), places(target))
        yield right


def opens_more(old: Policy, new: Policy) -> list[bool]:
    """Whether any point is open under the new policy and not under the old one, and the other way round."""
    before, after = opened(old), opened(new)
    ways = set(zip(askers(old), askers(new), strict=True))
    states = [(before[point] & was, after[point] & right) for point in after for was, right in ways]
    return [any(new & ~old for old, new in states), any(old & ~new for old, new in states)]


def random_policy(pick: random.Random) -> Policy:
    accounts = {A: AccountPolicy("a")}
    if pick.random() < 0.9:
        queue = pick.choice(("", "", "link-peer-b", "link-peer-c"))
        ranges = pick.choice(((), ("10.2.0.0/16",), ("10.2.0.0/16", "10.4.0.0/16")))
        accounts[B] = AccountPolicy("b", "role", "x", ranges, queue)
    sets = {name: GroupSet(pick.choice([*accounts]), pick.choice(SETS)) for name in ("prod", "x")}
    ids = ("*", "*", "sg-a", "i-1", "set:prod", "set:x")

    def end() -> str:
        name = pick.choice(ids)
        return f"{name}@{sets[name[4:]].account if name.startswith('set:') else pick.choice([*accounts])}"

    def ports() -> str:
        port_texts = ("", "", "tcp/22", "tcp/1-22", "tcp/22-65535", "udp/1-65535+icmp", "tcp/1-65535+udp/1-65535+icmp")
        return pick.choice(port_texts)

    until = (None, None, SOON, LATER)
    return Policy(
        "prod",
        accounts,
        accept_tags=pick.random() < 0.4,
        allow=tuple(allow(end(), end(), ports(), pick.choice(until)) for _ in range(pick.randrange(4))),
        deny=parse_ports(pick.choice(("tcp/22", "tcp/1-22", "udp/1-65535+icmp"))) if pick.random() < 0.4 else (),
        never=tuple(never(end(), end(), ports()) for _ in range(pick.choice((0, 0, 1, 2)))),
        sets=sets,
        denies_mutual=pick.random() < 0.4,
    )


def similar(pick: random.Random, old: Policy) -> Policy:
    """Another policy, of which some parts are as in this one."""
    drawn_policy = random_policy(pick)
    kept_fields = {"accounts", "sets", "allow", "never"} if pick.random() < 0.8 else set()
    kept_fields |= {field for field in ("accept_tags", "deny", "denies_mutual") if pick.random() < 0.7}
    new = msgspec.structs.replace(drawn_policy, **{field: getattr(old, field) for field in kept_fields})
    if "allow" not in kept_fields:
        return new
    for field in ("allow", "never"):
        entries = [entry for entry in getattr(old, field) if pick.random() < 0.8]
        new = msgspec.structs.replace(new, **{field: tuple(entries)})
    if pick.random() < 0.5:
        sets = {name: GroupSet(group_set.account, pick.choice(SETS)) for name, group_set in old.sets.items()}
        new = msgspec.structs.replace(new, sets=sets)
    if B in old.accounts and pick.random() < 0.5:
        b = msgspec.structs.replace(
            old.accounts[B], queue=pick.choice(("", "link-peer-b")), ranges=pick.choice(((), ("10.4.0.0/16",)))
        )
        new = msgspec.structs.replace(new, accounts={**old.accounts, B: b})
    return new


@pytest.mark.exhaustive
def test_it_is_wider_exactly_where_a_point_opens() -> None:
    """In each small world, among all points: no widening is missed, and nothing that opens nothing is called wider."""
    pick, wrong, differing = random.Random(23), [], 0
    for number in range(PAIRS):
        old = random_policy(pick)
        new = similar(pick, old)
        verdicts = [bool(difference_texts(old, new, kind)) for kind in (DifferenceKind.WIDER, DifferenceKind.NARROWER)]
        true = opens_more(old, new)
        differing += sum(true)
        if verdicts != true:
            wrong.append((number, verdicts, true, old, new))
    assert not wrong, wrong[0]
    assert differing > PAIRS / 2  # the worlds differ often


@pytest.mark.parametrize("accept_tags", [True, False])
@pytest.mark.parametrize("removed", ["", "never"])
def test_its_work_grows_with_the_entries_and_not_with_their_pairs(accept_tags: bool, removed: str) -> None:
    """Counted in calls of functions, where every entry of `allow` is another one, and those of `never` are the same or
    none."""

    def calls(count: int) -> int:
        def policy(first: int, nevers: int) -> Policy:
            pairs = [allow(f"sg-a{number}", f"sg-b{number}", "tcp/22") for number in range(first, first + count)]
            bars = [never(f"sg-x{number}", f"sg-y{number}", "tcp/22") for number in range(nevers)]
            return changed(allow=tuple(pairs), never=tuple(bars), accept_tags=accept_tags)

        old, new = policy(0, count), policy(1, 0 if removed else count)
        return calls_of(lambda: difference(old, new, NOW))

    assert calls(200) < 2.2 * calls(100)
