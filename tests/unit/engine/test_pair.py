"""Requests: what each action opens and closes between two parties, what it reads for that, and what it leaves to
others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import CloudError, NoAccess, RedeliveryNeeded, Transient
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Ports, Rule
from link_peer.domain.policy import Limits
from link_peer.domain.request import Request
from link_peer.domain.tags import compact, parse_ports
from link_peer.engine.scopes.pair import reconcile_pair, removals_due
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.decision import Unseen

from tests.unit.fakes import FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, NOW, PEER, REGION, A, B, C
from tests.unit.snapshots import APART, between, group, key, managed, member, one_instance, ours, policy, text

P1, P2 = parse_ports("tcp/1"), parse_ports("tcp/2")
P12 = (*P1, *P2)
K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
HERE, THERE, TURNED = key(DB, APP), key(APP, DB), key(APP, DB, "tcp/1")
REQ, OTHER = Claim("chg-1"), Claim("chg-2")
SYNC = Request("tag-1", "sync", REGION, Link(APP, DB), NOW + 600)
X = Party(PEER, "sg-x")
GROUPS = [managed(party, f"* *@{PEER}") for party in (APP, DB, CACHE)]
BARE = [group(APP), group(DB, rule_count=1), group(CACHE)]


class Asking:
    """One request about two parties: groups and instances of home, and sg-x of the other account."""

    def __init__(
        self,
        *rules: Rule,
        instances: Sequence[Instance] = (),
        groups: Sequence[Group] = GROUPS,
        limit: int = 50,
    ) -> None:
        self.ecs, self.log = FakeEcs(groups, instances, rules), FakeLog()
        self.peer = FakeEcs([managed(X, f"*@{HOME}")], account=PEER)
        limited = policy(limits=Limits(removals_per_run=limit))
        self.delivery = delivery(self.ecs, self.peer, log=self.log, policy=limited)
        self.guard = RemovalGuard(limit)

    def __call__(
        self, action: Any, source: Party = APP, target: Party = DB, ports: Ports = (), **fields: Any
    ) -> list[tuple[str, str]]:
        """The outcomes. `ports` are none for a mutual link."""
        settings: dict[str, Any] = {"request_id": "chg-1", "expires_at": NOW + 600, **fields}
        request = Request(action=action, region=REGION, link=Link(source, target, ports), **settings)
        reconcile_pair(self.delivery, request, "", self.delivery.audit({}), self.guard)
        return self.log.outcomes()

    @property
    def claims(self) -> dict[str, str]:
        """The claims on every rule, without its instances."""
        rules = [rule for rule in (*self.ecs.existing, *self.peer.existing) if rule.key]
        return {text(r.key): r.description.partition(" by=")[2].partition(" ")[0] for r in rules if r.key}


# what each action opens and takes


@pytest.mark.parametrize(
    ("rules", "ports", "fields", "answer"),
    [
        ([], P1, {}, ("applied", "")),
        ([ours(K1, REQ)], P1, {}, ("applied", "")),  # it asks again for what stands
        ([ours(K1, REQ)], P12, {}, ("applied", "")),  # as the redelivery of one that died half-way does
        ([ours(HERE, REQ), ours(THERE, REQ)], (), {"source": DB, "target": APP}, ("applied", "")),
        ([ours(key(DB, CACHE, "tcp/2"), REQ)], P1, {}, ("applied", "")),
        ([ours(K1, OTHER)], P1, {}, ("applied", "")),  # its claim is added
        ([ours(K1, Claim("chg-1", int(NOW) + 99))], P1, {"until": int(NOW) + 99}, ("applied", "")),
        ([ours(key(DB, CACHE, "tcp/2"), REQ), ours(K2, REQ)], P1, {}, ("denied", "id-in-use")),
        ([ours(K1, REQ)], (), {}, ("denied", "id-in-use")),
        ([ours(K1, REQ)], P1, {"source": DB, "target": APP}, ("denied", "id-in-use")),
        ([ours(HERE, REQ), ours(THERE, REQ)], P1, {}, ("denied", "id-in-use")),
        ([ours(HERE, REQ)], P1, {}, ("denied", "id-in-use")),
        ([ours(K1, REQ)], P1, {"until": int(NOW) + 99}, ("denied", "id-in-use")),
        ([ours(K1, Claim("chg-1", int(NOW) + 99))], P1, {}, ("denied", "id-in-use")),
        ([], (), {"target": APP}, ("unchanged", "same-group")),
        ([], P1, {"expires_at": NOW - 301}, ("denied", "expired")),
    ],
)
def test_a_link_opens_what_its_request_asks_for_unless_its_id_is_another_links(
    rules: list[Rule], ports: Ports, fields: dict[str, Any], answer: tuple[str, str]
) -> None:
    """Other ports, fewer of them, another direction or another end. A denial changes nothing."""
    asking = Asking(*rules)
    assert asking("link", ports=ports, **fields) == [answer]
    assert bool(asking.ecs.calls) == (answer[1] in ("", "id-in-use", "expired"))
    if answer[0] != "applied":
        assert (asking.ecs.existing, asking.ecs.changes()) == (rules, [])
    elif ports:
        assert {f"sg-app>sg-db {port}" for port in ports} <= asking.claims.keys()
    assert [record["request_id"] for record in asking.log.records if "request_id" in record] == []


@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
def test_an_account_that_the_policy_does_not_list_is_denied_without_a_read(action: str) -> None:
    asking = Asking()
    assert asking(action, APP, Party("1000000000000003", "sg-q")) == [("denied", "unknown-account")]
    assert asking.ecs.calls == []


def test_a_link_that_is_refused_has_one_outcome() -> None:
    """The next pass, which takes back what was written, has no more to say."""
    asking = Asking()
    asking.ecs.errors["authorize"] = [CloudError("AuthorizedGroupRule.LimitExceed", "full")]
    assert asking("link", ports=P1) == [("failed", "quota")]


def test_an_unlink_that_is_refused_is_denied_once() -> None:
    """The next pass finds nothing more to say."""
    asking = Asking(ours(K1, REQ))
    asking.ecs.errors["revoke"] = [NoAccess("Forbidden.RAM", "no")]
    assert asking("unlink") == [("denied", "no-access")]


def test_what_the_groups_of_a_link_forbid_is_closed_in_the_plan_that_opens() -> None:
    """Before anything is opened, and recorded as a repair: also the half of a mutual link on a third group, that has no
    consent left."""
    forbidden = [ours(key(DB, CACHE), OTHER), ours(key(CACHE, DB), OTHER)]
    asking = Asking(*forbidden, groups=[managed(APP), managed(DB, "sg-app"), managed(CACHE, "*")])
    assert asking("link", ports=P1) == [("removed", "no-consent"), ("applied", "")]
    assert asking.ecs.changes() == ["revoke sg-cache", "revoke sg-db", "authorize sg-db"]
    assert [record["action"] for record in asking.log.records if record["record"] == "outcome"] == ["repair", "link"]


def test_an_unlink_closes_what_its_groups_forbid_and_nothing_else_beside_its_pair() -> None:
    """A third party's rule goes for what forbids it, not for the unlink."""
    rules = [ours(K1, REQ), ours(key(DB, CACHE, "tcp/2"), OTHER), ours(key(DB, CACHE, "tcp/3"), OTHER)]
    asking = Asking(*rules, groups=[managed(APP), managed(DB, "sg-app sg-cache:tcp/3"), managed(CACHE)])
    assert sorted(asking("unlink")) == [("removed", ""), ("removed", "no-consent")]
    assert asking.ecs.existing == rules[2:]


def test_a_forbidden_rule_whose_removal_is_refused_is_tried_once() -> None:
    """Also where the link that was asked for is refused, and a second pass takes it back."""
    asking = Asking(ours(key(DB, CACHE, "tcp/2"), OTHER), groups=[managed(APP), managed(DB, "sg-app"), managed(CACHE)])
    asking.ecs.errors["revoke"] = [NoAccess("Forbidden.RAM", "no")] * 9
    asking.ecs.errors["authorize"] = [CloudError("AuthorizedGroupRule.LimitExceed", "full")]
    assert sorted(asking("link", ports=P1)) == [("denied", "no-access"), ("failed", "quota")]
    assert asking.ecs.changes() == ["revoke sg-db", "authorize sg-db"]


def test_the_id_of_another_link_of_two_instances_is_denied() -> None:
    """The rules are between two addresses; their markers name the instances."""
    asking = Asking(instances=[one_instance(A, APP), one_instance(B, DB)])
    asking("link", A, B, P1)
    assert asking("link", A, B, P2) == [("applied", ""), ("denied", "id-in-use")]


def test_a_link_takes_no_claim_of_others() -> None:
    """Whatever they have lost: that is another delivery's business."""
    asking = Asking(ours(K2, TAG, Claim("chg-2", int(NOW))))
    assert asking("link", ports=P1) == [("applied", "")]
    assert asking.claims == {"sg-app>sg-db tcp/2": f"tag,req:chg-2~{compact(NOW)}", "sg-app>sg-db tcp/1": "req:chg-1"}


STANDING = [
    ours(K1, TAG, REQ),
    ours(K2, OTHER),
    ours(HERE, REQ),
    ours(THERE, REQ),
    ours(TURNED, OTHER),
    ours(key(DB, CACHE, "tcp/1"), REQ),
]
CACHES = "sg-cache>sg-db tcp/1"


@pytest.mark.parametrize(
    ("ports", "source", "target", "claims_left"),
    [
        ((), APP, DB, {"sg-app>sg-db tcp/1": "tag", CACHES: "req:chg-1"}),
        ((), DB, APP, {"sg-app>sg-db tcp/1": "tag", CACHES: "req:chg-1"}),
        (P1, APP, DB, {"sg-app>sg-db tcp/1": "tag"}),
        (P12, APP, DB, {"sg-app>sg-db tcp/1": "tag", "sg-app>sg-db tcp/2": ""}),
        (P1, DB, APP, {"sg-db>sg-app tcp/1": ""}),
    ],
)
def test_an_unlink_takes_the_claims_of_all_requests(
    ports: Ports, source: Party, target: Party, claims_left: dict[str, str]
) -> None:
    """Without ports everything between the two; with ports those in that direction, and not the mutual link. Tags'
    claims stay."""
    asking = Asking(*STANDING)
    before = asking.claims
    assert {outcome for outcome, _ in asking("unlink", source, target, ports)} == {"removed"}
    if ports:
        claims_left = {name: claims_left.get(name, claims) for name, claims in before.items()}
    assert asking.claims == {name: claims for name, claims in claims_left.items() if claims}


def test_an_unlink_of_two_instances_takes_their_rule_alone() -> None:
    """It is explicit: it needs no instances, and is not counted."""
    asking = Asking(between(A, B, DB, "tcp/1", "", REQ), between(C, B, DB, "tcp/1", "", REQ), limit=0)
    assert (asking("unlink", A, B), [*asking.claims]) == ([("removed", "")], ["10.0.0.3/32>sg-db tcp/1"])


@pytest.mark.parametrize(
    ("peer", "back", "rules", "claims_left", "outcomes"),
    [
        ("sg-db:tcp/1 sg-cache:tcp/2", "sg-app:tcp/2", [], ["sg-app>sg-db tcp/1"], {"applied"}),
        ("sg-db", "", [], ["sg-app>sg-db all", "sg-db>sg-app all"], {"applied"}),
        ("sg-db:tcp/1", "", [ours(K1)], ["sg-app>sg-db tcp/1"], {"unchanged"}),
        ("", "", [ours(K1, Claim("chg-1", int(NOW)))], ["sg-app>sg-db tcp/1"], {"unchanged"}),
        ("", "", [ours(K1), ours(HERE), ours(THERE)], [], {"removed"}),
        ("", "sg-app", [ours(HERE), ours(THERE)], ["sg-app>sg-db all", "sg-db>sg-app all"], {"unchanged"}),
        ("", "", [ours(TURNED), ours(key(DB, CACHE, "tcp/1")), ours(K1, REQ)], ["sg-app>sg-db tcp/1", CACHES, "sg-db>sg-app tcp/1"], {"unchanged"}),
    ],
)  # fmt: skip
def test_a_sync_makes_a_pair_what_the_tags_of_its_from_side_say(
    peer: str, back: str, rules: list[Rule], claims_left: list[str], outcomes: set[str]
) -> None:
    """The other side's wishes are another sync's; they keep a mutual link. Requests' claims stay."""
    asking = Asking(*rules, instances=[one_instance(A, APP, peer=peer), one_instance(B, DB, peer=back)])
    assert {outcome for outcome, _ in asking("sync")} == outcomes
    assert sorted(asking.claims) == claims_left


def test_a_sync_takes_the_rule_of_a_group_that_stands_for_its_instances_no_more() -> None:
    """Once all of that group's instances are read. Those of a mutual link are found by the half on that group."""
    rule_here, rule_there = key(DB, CACHE), key(CACHE, DB)
    for peer, rules in (
        ("sg-db:tcp/1", [ours(key(DB, CACHE, "tcp/1"))]),
        ("sg-db", [ours(rule_here), ours(rule_there)]),
    ):
        asking = Asking(*rules, instances=[one_instance(A, APP, CACHE, peer=peer)])
        asking("sync")
        assert not asking.claims.keys() & {text(rule.key) for rule in rules if rule.key}
        assert asking.claims


@pytest.mark.parametrize(("extra_groups", "rules_left"), [(0, 0), (1, 1)])
def test_of_many_groups_that_may_stand_for_its_instances_a_sync_looks_at_some(
    extra_groups: int, rules_left: int
) -> None:
    other_groups = [Party(HOME, f"sg-o{n:02}") for n in range(20 + extra_groups)]
    rules = [ours(key(DB, other_group, "tcp/1")) for other_group in other_groups]
    groups = [*GROUPS, *(managed(other_group, "*") for other_group in other_groups)]
    asking = Asking(*rules, instances=[one_instance(A, APP, *other_groups, peer="sg-db:tcp/1")], groups=groups)
    asking("sync")
    decided = asking.ecs.calls[: asking.ecs.calls.index("authorize sg-db")]  # what is read later, only the record says
    assert not any(call.startswith("rules sg-o") for call in decided)
    assert sorted(asking.claims) == sorted(
        ["sg-app>sg-db tcp/1", *(text(r.key) for r in rules[-1:] if r.key and rules_left)]
    )


def test_a_sync_takes_the_rule_of_an_instance_that_has_left_its_from_group() -> None:
    """It is read for that by its id."""
    asking = Asking(member(C), instances=[one_instance(A, APP), one_instance(C, CACHE)], groups=APART)
    assert (asking("sync"), asking.claims) == ([("removed", "no-members")], {})


def test_a_sync_reads_the_halves_of_its_own_mutual_links_alone() -> None:
    asking = Asking(
        ours(key(DB, CACHE)), ours(K1), instances=[one_instance(A, APP, peer="sg-db:tcp/1"), one_instance(B, DB)]
    )
    assert asking("sync") == [("unchanged", "")]
    assert asking.ecs.calls == [*BOTH, "members sg-app", "members sg-db"]


# what is said where nothing is decided


@pytest.mark.parametrize(
    ("action", "rules", "message"),
    [
        ("unlink", [], "no rule between the two carries a request's claim"),
        (
            "unlink",
            [ours(K1), ours(THERE, TAG), ours(key(DB, CACHE, "tcp/1"), REQ)],
            f"no rule between the two carries a request's claim; there are: {APP} all by tag; {DB} tcp/1 by tag",
        ),
        ("sync", [ours(K1, REQ)], f"no tag of this side asks for the pair; the other side's does ({B})"),
    ],
)
def test_a_request_that_finds_nothing_to_do_says_what_there_is(action: Any, rules: list[Rule], message: str) -> None:
    """Once, and beside what is repaired."""
    asking = Asking(*rules, instances=[one_instance(A, APP), one_instance(B, DB, peer="sg-app:tcp/3")])
    assert asking(action) == [("unchanged", "")]
    assert asking.log.records[-1]["detail"] == message
    repaired = Asking(
        *rules, ours(key(DB, CACHE, "tcp/9"), OTHER, priority=1), instances=[one_instance(B, DB, peer="sg-app:tcp/3")]
    )
    assert sorted(repaired(action)) == [("applied", ""), ("unchanged", "")]


def test_removals_that_are_held_are_said_for_the_request_and_once_for_the_delivery() -> None:
    asking = Asking(ours(K1), instances=[one_instance(B, DB)], limit=0)
    assert asking("sync") == [("failed", "removals-held")]
    assert asking("sync") == [("failed", "removals-held")] * 2
    assert asking.log.kinds().count("summary") == 1
    assert asking.claims == {"sg-app>sg-db tcp/1": "tag"}


def test_removals_that_are_held_are_said_once_though_a_write_is_refused() -> None:
    """What is refused is planned again, and the removals are held then, too."""
    asking = Asking(member(C), instances=[one_instance(A, APP, peer="sg-db:tcp/2")], groups=APART, limit=0)
    asking.ecs.errors["authorize"] = [CloudError("AuthorizedGroupRule.LimitExceed", "full")]
    assert sorted(asking("sync")) == [("failed", "quota"), ("failed", "removals-held")]


# trouble


def test_a_link_opens_on_both_sides_or_neither_and_what_closes_does_so_on_each() -> None:
    """Then the request must be done again."""
    for action, changes in (("link", []), ("unlink", ["revoke sg-app"])):
        asking = Asking(*([ours(key(APP, X), REQ)] if action == "unlink" else []))
        asking.peer.errors["groups"] = [Transient("timeout")] * 4
        with pytest.raises(Transient, match="timeout"):
            asking(action, APP, X)
        assert asking.ecs.changes() == changes
    asking = Asking()
    asking.ecs.errors["authorize"] = [Transient("503")] * 4
    with pytest.raises(RedeliveryNeeded, match="503"):
        asking("link", ports=P1)


@pytest.mark.parametrize("fields", [{"expires_at": NOW - 301}, {"until": int(NOW) + 99}])
def test_a_request_that_is_denied_closes_what_its_groups_forbid(fields: dict[str, Any]) -> None:
    locked = [group(DB, "*", lock=True, managed_tag=True), *GROUPS]
    asking = Asking(ours(K1, REQ), groups=[*{group.party: group for group in reversed(locked)}.values()])
    assert "denied" in dict(asking("link", ports=P1, **fields))
    assert asking.claims == {}


class Joined(FakeEcs):
    """An instance joins sg-app, and its rule is written, while the first rule of the link is removed."""

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        answer = super().revoke(group, rule_ids)
        if len(self.changes()) == 1:
            self.existing.append(member(C, REQ, OTHER))
        return answer


def test_an_unlink_takes_what_an_instance_joined_meanwhile() -> None:
    asking = Asking(member(A, REQ), groups=APART)
    joined = Joined(APART, [one_instance(A, APP)], [member(A, REQ)])
    asking.delivery.cloud("").accounts[HOME] = joined  # type: ignore[attr-defined]
    asking("unlink")
    assert joined.existing == []


# what is read


TAGGED = f"tagged_groups {INSTANCES}"
BOTH = ["rules sg-app", "rules sg-db", "groups sg-app sg-db"]


@pytest.mark.parametrize(
    ("action", "ends", "groups", "instances", "reads"),
    [
        ("link", (APP, DB), GROUPS, [], BOTH),
        ("link", (APP, DB), APART, [one_instance(A, APP)], [*BOTH, "members sg-app", "addresses_taken vpc-2 10.0.0.1"]),
        ("unlink", (APP, DB), GROUPS, [], BOTH),
        ("sync", (APP, DB), GROUPS, [one_instance(A, APP), one_instance(B, DB)], [*BOTH, "members sg-app", "members sg-db"]),
        ("link", (A, B), BARE, [one_instance(A, APP), one_instance(B, DB)], ["instances i-a i-b", "groups sg-app sg-db", "rules sg-db"]),
        ("unlink", (A, B), [BARE[0], managed(DB)], [], [TAGGED, "rules sg-db", "instances i-a i-b"]),
        ("unlink", (A, B), BARE, [], [TAGGED, "all_groups", "rules sg-db", "instances i-a i-b"]),
        ("unlink", (A, B), [BARE[1]], [one_instance(A, APP), one_instance(B, DB)], [TAGGED, "all_groups", "rules sg-db", "instances i-a i-b"]),
        ("sync", (A, B), BARE, [one_instance(A, APP), one_instance(B, DB)], [TAGGED, "instances i-a i-b", "groups sg-app sg-db", "rules sg-db"]),
        ("sync", (A, B), BARE, [one_instance(A, APP, peer="i-b"), one_instance(B, DB)], [TAGGED, "instances i-a i-b", "groups sg-app sg-db", "rules sg-app", "rules sg-db"]),
    ],
)  # fmt: skip
def test_a_request_reads_both_sides(
    action: Any, ends: tuple[Party, Party], groups: list[Group], instances: list[Instance], reads: list[str]
) -> None:
    """Rules of instances are wherever they were written: an unlink looks also where the managed tag was refused."""
    asking = Asking(instances=instances, groups=groups)
    asking(action, *ends, P1 if action == "link" else ())
    changes = asking.ecs.changes()
    assert asking.ecs.calls[: asking.ecs.calls.index(changes[0]) if changes else None] == reads


def test_an_unlink_of_instances_reads_some_groups_that_have_no_tag() -> None:
    groups = [group(Party(HOME, f"sg-{n:02}"), rule_count=n % 3 and 1) for n in range(90)]
    asking = Asking(groups=groups)
    asking("unlink", A, B)
    assert sum(call.startswith("rules") for call in asking.ecs.calls) == 40


# counting in advance


@pytest.mark.parametrize("limit", [50, 1])
def test_the_removals_that_a_request_is_due_to_make_are_counted_without_a_change(limit: int) -> None:
    """By what is not shown, those that would be held too; none of a request that cannot be read."""
    asking = Asking(ours(K1), ours(K2), instances=[one_instance(A, APP)], limit=limit)
    due = removals_due(asking.delivery, SYNC)
    assert {unseen: len(keys) for unseen, keys in due.items()} == {Unseen(HOME, HOME): 2}
    assert (asking.ecs.changes(), asking.log.records) == ([], [])
    asking.ecs.errors["groups"] = [Transient("timeout")]
    assert removals_due(asking.delivery, SYNC) == {}


def test_a_request_that_is_denied_is_due_to_remove_nothing() -> None:
    """Its own delivery says why: here both sides are the same."""
    asking = Asking(ours(K1), instances=[one_instance(A, APP)])
    assert removals_due(asking.delivery, msgspec.structs.replace(SYNC, link=Link(APP, APP))) == {}
    assert asking.log.records == []
