"""What becomes of packets between many instances: of which pair it is said, and what was read of them."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, Party, Port
from link_peer.views.reach import Scene, both_ways, reach

from tests.unit.planning.test_effect import SQL, drop, egress, rule
from tests.unit.small_world import APP, CACHE, DB, HOME, PEER, A, B
from tests.unit.snapshots import group, instance, key, ours, theirs, view

C, D = Party(HOME, "i-c"), Party(HOME, "i-d")
UNREAD = Party(HOME, "sg-unread")
GROUPS = [group(APP), group(DB), group(CACHE)]
PAIR = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
OURS = ours(key(DB, APP, "tcp/3306"))
UNKNOWN = instance(C, APP, UNREAD, ip="10.0.0.3")
LEAVES = egress(CACHE, "0.0.0.0/0", act="drop")
EVERYTHING = ours(key(DB, APP)), ours(key(APP, DB))


def test_what_decides_is_said_of_the_pair_that_was_judged() -> None:
    """With how many pairs pass; of one pair, or none, what decides alone."""
    snapshot = view(GROUPS, [*PAIR, UNKNOWN], [OURS])
    some_pass = reach(Scene(snapshot), APP, DB, SQL)
    assert some_pass.detail.startswith("from i-c to i-b: the rules of sg-unread")
    assert some_pass.detail.endswith("; 1 of 2 pairs of instances pass")
    none_pass = reach(Scene(view(GROUPS, [*PAIR, UNKNOWN])), APP, DB, SQL)
    assert none_pass.detail.endswith("; none of 2 pairs of instances passes")
    assert reach(Scene(view(GROUPS, PAIR)), APP, DB, SQL).detail == f"no ingress rule of {DB} admits tcp/3306"
    assert reach(Scene(view()), APP, DB, SQL).detail == f"{APP} and {DB} was not read"
    dropped = drop("10.0.0.4/32")
    stopped = view(GROUPS, [*PAIR, UNKNOWN, instance(D, APP, ip="10.0.0.4")], [OURS, dropped])
    partly = reach(Scene(stopped), APP, DB, SQL)
    assert (partly.word, partly.detail.partition(":")[0]) == ("partly", "from i-d to i-b")
    nobody = view(GROUPS, [instance(B, DB, UNREAD, ip="10.0.0.2")], [OURS])
    assert reach(Scene(nobody), APP, DB, SQL).word == "unknown"


def test_a_party_without_instances_stands_for_one_that_is_in_the_group_only() -> None:
    """The other end is what it is: its groups and address count. No pair is counted then, nor named."""
    app, db = [instance(party, group_, CACHE, ip="10.0.0.9") for party, group_ in ((A, APP), (B, DB))]
    for instances in ([app], [db]):
        rules = [OURS, LEAVES if instances == [app] else drop("0.0.0.0/0", own_cidr="10.0.0.9/32")]
        reach_found = reach(Scene(view(GROUPS, instances, rules)), APP, DB, SQL)
        assert (reach_found.word, reach_found.pairs, reach_found.passing, reach_found.ends) == ("blocked", 0, 0, None)
    alone = reach(Scene(view(GROUPS, [app], inner_access={APP: False})), APP, APP, SQL)
    assert (alone.word, alone.pairs) == ("blocked", 0)  # an instance is no pair with itself
    assert reach(Scene(view(GROUPS, [], [OURS])), APP, DB, SQL).word == "open"
    assert reach(Scene(view(GROUPS, [], [OURS])), A, DB, SQL).detail == f"{A} was not read"
    assert reach(Scene(view(GROUPS, [], [OURS])), APP, UNREAD, SQL).detail == f"{UNREAD} was not read"


def test_of_very_many_pairs_the_rest_is_judged_without_addresses() -> None:
    """Where these matter. Else each pair counts, and no instance is one with itself."""
    sources = [instance(Party(HOME, f"i-s{n}"), APP, *[CACHE][: n % 2], ip=f"10.0.1.{n}") for n in range(40)]
    targets = [instance(Party(HOME, f"i-t{n}"), DB, ip=f"10.0.2.{n}") for n in range(20)]
    snapshot = view(GROUPS, [*sources, *targets], [OURS, drop("10.9.0.0/16")])
    reach_found = reach(Scene(snapshot), APP, DB, SQL)
    assert (reach_found.word, reach_found.pairs, reach_found.passing) == ("unknown", 800, 500)
    every = reach(Scene(msgspec.structs.replace(snapshot, rules={DB: (OURS,), APP: (), CACHE: ()})), APP, DB, SQL)
    assert (every.word, every.pairs, every.passing) == ("open", 800, 800)
    within = reach(Scene(view(GROUPS, targets[:3], inner_access={DB: True})), DB, DB, SQL)
    assert (within.pairs, within.passing) == (6, 6)


@pytest.mark.parametrize(
    ("rules", "word", "detail"),
    [
        (EVERYTHING, "open", f"{EVERYTHING[0].id} of {DB} accepts all"),
        (EVERYTHING[:1], "partly", f"no ingress rule of {APP} admits all"),
        (EVERYTHING[1:], "partly", f"no ingress rule of {DB} admits all"),
        ((), "blocked", f"no ingress rule of {DB} admits all"),
        # one direction is not known, of the other some packets are stopped
        (
            (*EVERYTHING, drop("", port=ALL), theirs(key(APP, DB, "tcp/22"), act="drop")),
            "partly",
            "sgr-drop-1 of sg-app",
        ),
        ((rule(DB, "", port=Port("tcp", 22, 22)),), "unknown", "it is not known whether sgr-accept of sg-db"),
        ((EVERYTHING[0], drop("", port=ALL)), "unknown", "it is not known whether sgr-drop of sg-db"),
        ((EVERYTHING[1], rule(APP, "", act="drop", port=ALL)), "unknown", "it is not known whether sgr-drop of sg-app"),
    ],
)
def test_a_mutual_link_is_said_of_its_worse_direction(rules: tuple[object, ...], word: str, detail: str) -> None:
    """Unless it is not known, and no packet passes: then of what is not known."""
    scene = Scene(view(GROUPS, PAIR, rules))  # type: ignore[arg-type]
    reach_both_ways = both_ways(reach(scene, APP, DB, (ALL,)), reach(scene, DB, APP, (ALL,)))
    assert (reach_both_ways.word, reach_both_ways.detail[: len(detail)]) == (word, detail)


def test_what_is_not_known_is_worse_than_what_passes() -> None:
    scene = Scene(view(GROUPS, PAIR, [*EVERYTHING, rule(APP, "", act="drop", port=ALL)]))
    ways = [reach(scene, APP, DB, (ALL,)), reach(scene, DB, APP, (ALL,))]
    assert [one_way.effect.passes for one_way in (*ways, both_ways(*ways), both_ways(*ways[::-1]))] == [
        True,
        None,
        None,
        None,
    ]


def test_what_was_read_of_parties() -> None:
    """Every member, whose groups, and what they are called."""
    groups = [group(APP, name="orders\u202e"), group(DB, name=DB.id), group(CACHE)]
    app = instance(A, APP, CACHE)
    half = view(
        groups, [app], whole_accounts={PEER}, complete_groups={APP}, refused_accounts={PEER: NoAccess("x", "no")}
    )
    scene = Scene(half)
    parties = (APP, CACHE, A, B, Party(PEER, "sg-x"))
    assert [party for party in parties if scene.complete(party)] == [APP, A, B]
    assert Scene(view(groups, [app], failed_accounts={HOME: "x"})).complete(APP) is False
    assert [scene.members(party) for party in (APP, CACHE, DB, A, B)] == [[app], [app], [], [app], []]
    assert [scene.groups(party) for party in (APP, DB, A, B)] == [{APP, CACHE}, {DB}, {APP, CACHE}, set()]
    assert [scene.titled(party) for party in (APP, DB, CACHE)] == [f"{APP} (orders\\u202e)", str(DB), str(CACHE)]
    assert scene.name(B) == ""
    assert Scene(view([], [msgspec.structs.replace(app, name="web")])).name(A) == "web"
