"""Settling one group: what counts is the group as it is read after a change, not the answer to the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess
from link_peer.domain.marker import parse
from link_peer.domain.model import TAG, Claim, Link, Party, Port, Rule, RuleKey
from link_peer.engine.read.fetch import NEW_CALLS, NEW_SECONDS, open_fetch
from link_peer.engine.write.settle import RULES_PER_CALL, Settler
from link_peer.engine.write.tags import ManagedTags, ecs_of
from link_peer.engine.write.work import Writes
from link_peer.planning.decision import Edit
from link_peer.runtime.retry import ATTEMPTS

from tests.unit.fakes import FakeClock, FakeEcs, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, MANAGED, PEER, A, B
from tests.unit.views import group, key, ours, theirs

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
REQ = Claim("chg-1")
FULL = CloudError("AuthorizedGroupRule.LimitExceed", "full", "request-x")


EVIL_ONE, TWIN = Party(HOME, "i-evil"), Party(HOME, "i-twin")
K32 = RuleKey(DB, "10.0.0.9/32", "10.0.0.2/32", Port("tcp", 1, 1))
TWINS_RULE, INSTANCE_RULE = ours(K32, ends=(TWIN, B)), ours(K32, ends=(A, B))
EVIL = Edit(K32, frozenset({TAG}), ends=(EVIL_ONE, B), claims=(TAG,))


class Settling:
    """A Settler on one FakeEcs, whose group sg-db was read for the plan."""

    def __init__(self, ecs: FakeEcs) -> None:
        self.ecs = ecs
        self.clock = FakeClock()
        world = delivery(ecs, clock=self.clock)
        self.fetch = open_fetch(world, "test")
        self.fetch.parties([DB])
        self.fetch.rules([DB])
        self.settler = Settler(self.fetch, world, Writes())
        self.tags = ManagedTags(self.fetch, world)
        self.requests: list[str] = []
        self.batches: list[list[Edit]] = []

    def __call__(self, *edits: Edit, before_write: Callable[[Sequence[Edit]], None] | None = None) -> dict:
        def note(batch: Sequence[Edit]) -> None:
            self.batches.append(list(batch))

        return self.settler.settle(
            DB, edits, before_write or note, lambda _edits, request: self.requests.append(request)
        )


def settling(*rules: Rule, kind: type[FakeEcs] = FakeEcs) -> Settling:
    return Settling(kind([group(DB, "*")], rules=rules))


def add(rule_key: RuleKey = K1, *claims: Claim) -> Edit:
    gain = claims or (TAG,)
    return Edit(rule_key, frozenset(gain), claims=tuple(sorted(gain)))


def mark(rule: Rule, gain: Sequence[Claim] = (), lose: Sequence[Claim] = (), claims: Sequence[Claim] = ()) -> Edit:
    assert rule.key is not None
    return Edit(rule.key, frozenset(gain), frozenset(lose), rule=rule, claims=tuple(claims))


def test_new_rules_are_written_in_one_call() -> None:
    """Of at most 100 rules."""
    settle = settling()
    settle(*(add(key(DB, APP, f"tcp/{port}")) for port in range(1, RULES_PER_CALL + 2)))
    assert settle.ecs.changes() == ["authorize sg-db"] * 2
    assert len(settle.ecs.existing) == RULES_PER_CALL + 1


def test_a_rule_that_shows_its_claims_already_is_not_written() -> None:
    """A redelivery finds its work done."""
    settle = settling(ours(K1))
    assert set(settle(add(), mark(ours(K1), [TAG], claims=[TAG]))) == {K1}
    assert settle.ecs.changes() == []


def test_a_new_rule_is_written_without_another_read() -> None:
    """However long ago the group was read for the plan."""
    settle = settling()
    settle.clock.sleep(600)
    settle.ecs.calls.clear()
    settle(add())
    assert settle.ecs.calls == ["authorize sg-db", "rules sg-db", "groups sg-db"]


@pytest.mark.parametrize(("claims", "changes"), [([TAG], []), ([TAG, REQ], ["modify sg-db"])])
def test_a_copy_of_a_rule_goes_and_its_claims_stay(claims: Sequence[Claim], changes: Sequence[str]) -> None:
    copy = msgspec.structs.replace(ours(K1, *claims, priority=1), id="sgr-copy")
    settle = settling(ours(K1), copy)
    settle(mark(ours(K1), claims=[TAG]))
    assert settle.ecs.existing == [ours(K1, *claims)]
    assert settle.ecs.changes() == [*changes, "revoke sg-db"]


# answers that are lost, or late


class Deaf(FakeEcs):
    """Accepts a change, and does not make it."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        self._called("authorize", group)
        return "request"


def test_a_change_that_is_never_shown_is_given_up() -> None:
    """After it was written once per attempt: the delivery must be redelivered."""
    settle = settling(kind=Deaf)
    with pytest.raises(Ambiguous, match="does not show the change"):
        settle(add())
    assert settle.ecs.changes() == ["authorize sg-db"] * ATTEMPTS


# refusals


class Partly(FakeEcs):
    """Makes the first rule of a call, and refuses the call."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        super().authorize(group, rules[:1])
        raise FULL


def test_a_call_that_is_refused_in_part_denies_the_link_and_what_it_wrote_is_seen() -> None:
    """So that it can be rolled back."""
    settle = settling(kind=Partly)
    with pytest.raises(LinkDenied) as refused:
        settle(add(K1), add(K2))
    assert refused.value.denial.reason is reasons.QUOTA
    assert [rule.key for rule in settle.fetch.store.rules.get(DB, ())] == [K1]
    assert settle.requests == ["request-x"]


# what others did meanwhile


def test_a_rule_that_someone_deleted_is_not_recreated_by_losing_a_claim() -> None:
    """Nothing is written."""
    settle = settling()
    assert settle(mark(ours(K1, TAG, REQ), lose=[TAG], claims=[REQ])) == {}
    assert settle.ecs.changes() == []


@pytest.mark.parametrize("edit", [add(), mark(ours(K1), gain=[REQ], claims=[TAG, REQ]), mark(ours(K1), lose=[TAG])])
def test_another_persons_rule_counts_as_present_and_is_never_changed(edit: Edit) -> None:
    """They made it meanwhile, in place of ours."""
    settle = settling()
    settle.ecs.existing = [theirs(K1, "db access", priority=100)]
    settle(edit)
    assert settle.ecs.descriptions() == ["db access"]
    assert [call for call in settle.ecs.changes() if not call.startswith("authorize")] == []


@pytest.mark.parametrize(
    "edit", [EVIL, msgspec.structs.replace(EVIL, rule=INSTANCE_RULE, gain=frozenset(), claims=(TAG,))]
)
def test_a_rule_that_another_instance_got_meanwhile_is_not_taken(edit: Edit) -> None:
    """Two instances have one address. The plan did not see the rule, or saw it while it was a third pair's: it is made anew."""
    settle = settling(TWINS_RULE)
    with pytest.raises(Ambiguous, match=f"has become that of {TWIN}"):
        settle(edit)
    assert settle.ecs.existing == [TWINS_RULE]


@pytest.mark.parametrize(
    ("claims", "left"),
    [([TAG], [TAG]), ([TAG, REQ], [TAG, REQ]), ([REQ], [REQ]), ([TAG, REQ, Claim("chg-2")], None)],
)
def test_a_rule_that_is_stated_anew_for_another_group_takes_no_request_along(
    claims: Sequence[Claim], left: Sequence[Claim] | None
) -> None:
    """The plan knows of one request, or of none by now. Another one that came meanwhile is for the former group: it is made anew."""
    by_address = RuleKey(DB, "10.0.0.9/32", "", K1.port)
    settle = settling(ours(by_address, *claims, ends=(A, APP)))
    planned = ours(by_address, REQ, ends=(A, APP))
    edit = msgspec.structs.replace(mark(planned, claims=[REQ]), ends=(A, CACHE))
    if left is None:
        with pytest.raises(Ambiguous, match="that of a request of another group"):
            settle(edit)
    else:
        settle(edit)
        assert settle.ecs.existing == [ours(by_address, *left, ends=(A, CACHE))]


def test_claims_that_are_known_to_be_gone_are_noted_of_rules_by_address_that_were_found() -> None:
    """By their links. Not what this delivery has put there."""
    by_address, writes = RuleKey(DB, "10.0.0.9/32", "", K1.port), Writes()
    writes.put.add((by_address, REQ))
    for one, ends in ((K1, None), (by_address, (A, APP))):
        marker = parse(ours(one, TAG, REQ, ends=ends).description)
        assert marker
        writes.took(one, marker, marker.claims)
    assert writes.taken == {(Link(APP, DB, (K1.port,)), TAG)}


def test_a_persons_equal_rule_is_returned_where_a_link_gains_it() -> None:
    """It counts as present. Where claims are taken, it is none of ours."""
    settle = settling(theirs(K1))
    assert settle(add(K1)) == {K1: theirs(K1)}
    assert settle(mark(ours(K1), lose=[TAG])) == {}


def test_a_call_skips_a_rule_that_is_another_persons() -> None:
    """Given rules as they were just read, a call of its own changes only ours."""
    settle = settling(theirs(K1, priority=100), ours(K2))
    edits = [mark(ours(k), lose=[TAG]) for k in (K1, K2)]
    settle.settler.send(DB, edits, settle.ecs.existing, lambda _batch: None, lambda *_call: None)
    assert settle.ecs.existing == [theirs(K1, priority=100)]


def test_each_marker_is_changed_after_a_read_of_its_own() -> None:
    """The API has no compare-and-set, so the time between read and write is kept short. A claim that came is looked at with
    the tags that are read back."""
    settle = settling(ours(K1), ours(K2))
    settle.ecs.calls.clear()
    settle(*(mark(ours(k), gain=[REQ], claims=[TAG, REQ]) for k in (K1, K2)))
    change = ["modify sg-db", "rules sg-db", "groups sg-db"]
    assert settle.ecs.calls == ["rules sg-db", *change, *change]


def test_a_description_without_room_denies_the_link() -> None:
    """Other deliveries have filled it since the plan was made."""
    claims = tuple(Claim(f"chg-{number:044}") for number in range(7))
    settle = settling(ours(K1, *claims))
    settle.ecs.existing[0] = ours(K1, *claims)
    with pytest.raises(LinkDenied) as refused:
        settle(mark(ours(K1), gain=[Claim("c" * 48), Claim("d" * 48)], claims=[TAG]))
    assert refused.value.denial.reason is reasons.QUOTA
    assert settle.ecs.changes() == []


# the managed tag


@pytest.mark.parametrize(
    ("refusal", "where"),
    [(CloudError("OperationDenied.QuotaExceed", "", "r-2"), str(DB)), (NoAccess("Forbidden.RAM", "", "r-2"), HOME)],
)
def test_the_managed_tag_is_tried_again_and_its_refusal_told_once(refusal: CloudError, where: str) -> None:
    """A group holds at most 20 tags; an account may not let them be written. It is no reason to refuse a link."""
    settle = settling()
    settle.ecs.errors["tag"] = [Ambiguous("reset", request_id="r-1"), refusal]
    told = settle.tags.write(DB, settle.requests)
    assert told.startswith(f"managed tags of {where} are refused ({refusal.code})")
    assert settle.tags.write(DB, settle.requests) == ""
    assert settle.ecs.changes() == ["tag sg-db"] * 2
    assert settle.requests == ["r-1", "r-2"]


def test_a_group_with_rules_between_instances_gets_both_tags() -> None:
    """It has one of them, of other rules. A group that does not exist gets none."""
    settle = Settling(FakeEcs([group(DB, tags={MANAGED: "true"})]))
    settle.tags.between_instances = {DB, APP}
    for party in (DB, APP):
        settle.tags.write(party, settle.requests)
    assert settle.ecs.known["sg-db"].tags == {MANAGED: "true", INSTANCES: "true"}
    assert settle.ecs.changes() == ["tag sg-db"]


@pytest.mark.parametrize("tags", [True, False])
def test_an_account_that_refuses_access_meanwhile_denies_the_link(tags: bool) -> None:
    """Whether its rules or its tags are read again."""
    settle = settling(ours(K1))
    settle.ecs.errors["groups" if tags else "rules"] = [NoAccess("Forbidden.RAM", "no")]
    with pytest.raises(LinkDenied) as refused:
        settle.settler.read_tags(DB) if tags else settle.settler.read(DB)
    assert refused.value.denial.reason is reasons.NO_ACCESS
    assert "Forbidden.RAM" in refused.value.denial.detail


@pytest.mark.parametrize(("account", "why"), [(PEER, ": NoPermission"), ("1000000000000009", "")])
def test_a_group_of_an_account_that_cannot_be_entered_denies_the_link(account: str, why: str) -> None:
    """With the code of the refusal, unless the policy does not list the account."""
    with pytest.raises(LinkDenied) as refused:
        ecs_of(settling().fetch, Party(account, "sg-x"))
    assert refused.value.denial.detail == f"sg-x@{account} cannot be read or changed{why}"


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (100, 1), (101, 2)])
@pytest.mark.parametrize(
    ("since", "again"), [("", 0), ("a second", 0), ("longer", 1), ("a change", 1), ("reads", 0), ("more reads", 1)]
)
def test_removals_are_read_again_where_that_is_due_and_are_one_read_back(
    since: str, again: int, count: int, calls: int
) -> None:
    """With a hundred rules a call. What was read a moment ago is not read again, unless something was changed since."""
    rules = [ours(key(DB, APP, f"tcp/{n + 1}")) for n in range(count)]
    settle = settling(*rules)
    settle.clock.sleep({"a second": NEW_SECONDS, "longer": NEW_SECONDS + 0.1}.get(since, 0))
    settle.fetch.calls["reads"] += {"reads": NEW_CALLS, "more reads": NEW_CALLS + 1}.get(since, 0)
    if since == "a change":
        settle.fetch.changed()
    before = len(settle.ecs.calls)
    settle(*(mark(rule, lose=[TAG]) for rule in rules))
    assert settle.ecs.calls[before:] == [*["rules sg-db"] * again, *["revoke sg-db"] * calls, "rules sg-db"]
    assert settle.ecs.existing == []
