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
from link_peer.engine.write.tags import GROUPS_PER_CALL, ManagedTags, ecs_of
from link_peer.engine.write.work import Writes
from link_peer.planning.decision import Edit
from link_peer.runtime.retry import ATTEMPTS

from tests.unit.fakes import FakeClock, FakeEcs, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, MANAGED, PEER, A, B
from tests.unit.snapshots import group, key, ours, theirs

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
REQ = Claim("chg-1")
FULL = CloudError("AuthorizedGroupRule.LimitExceed", "full", "request-x")


EVIL_ONE, TWIN = Party(HOME, "i-evil"), Party(HOME, "i-twin")
PARTY_X = Party(PEER, "sg-x")
K32 = RuleKey(DB, "10.0.0.9/32", "10.0.0.2/32", Port("tcp", 1, 1))
K_ADDRESS = msgspec.structs.replace(K32, dest="")
Ends = tuple[Party, Party]
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
        self.writes = Writes()
        self.settler = Settler(self.fetch, world, self.writes)
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


@pytest.mark.parametrize(
    ("claims", "changes"), [([TAG], ["revoke", "revoke"]), ([TAG, REQ], ["modify", "revoke", "modify", "revoke"])]
)
def test_a_copy_of_a_rule_goes_and_its_claims_stay(claims: Sequence[Claim], changes: Sequence[str]) -> None:
    """None is taken."""
    keys = K_ADDRESS, K32
    rules = [ours(k, ends=(A, B if k.dest else APP)) for k in keys]
    copied_rules = [ours(k, *claims, ends=(A, B if k.dest else APP)) for k in keys]
    copies = [msgspec.structs.replace(rule, id=f"sgr-{rule.id}", priority=1) for rule in copied_rules]
    settle = settling(*copies, *rules)
    edits = [msgspec.structs.replace(mark(rule, claims=[TAG]), ends=(A, B if rule.key.dest else APP)) for rule in rules]
    assert settle(*edits).keys() == set(keys)
    assert (settle.ecs.existing, settle.writes.taken_claims) == (copied_rules, set())
    assert settle.ecs.changes() == [f"{change} sg-db" for change in changes]


@pytest.mark.parametrize(("ours_at", "theirs_at"), [(1, 100), (100, 1)])
def test_of_two_equal_rules_only_ours_is_changed(ours_at: int, theirs_at: int) -> None:
    """A rule that drops the same traffic is none of these: a new one is written beside it."""
    settle = settling(theirs(K1, priority=theirs_at), ours(K1, priority=ours_at), theirs(K2, act="drop"))
    settle(mark(ours(K1), lose=[TAG]), add(K2))
    assert [rule.description for rule in settle.ecs.existing] == ["", "", ours(K2).description]
    assert settle.ecs.existing[0] == theirs(K1, priority=theirs_at)


def test_what_is_taken_from_rules_by_address_is_noted_by_their_links() -> None:
    """Not what this delivery has put there, or what it did not take."""
    other_key = msgspec.structs.replace(K_ADDRESS, source="10.0.0.8/32")
    rules = [ours(k, TAG, REQ, Claim("chg-2"), ends=(A, APP)) for k in (K_ADDRESS, other_key)] + [ours(K1)]
    settle = settling(*rules)
    settle.writes.put.add((other_key, Claim("chg-2")))
    for edit in (mark(rules[0], lose=[REQ], claims=[TAG]), mark(rules[1], lose=[TAG, REQ, Claim("chg-2")])):
        settle(msgspec.structs.replace(edit, ends=(A, APP)))
    settle(mark(rules[2], lose=[TAG]))
    assert settle.writes.taken_claims == {(Link(APP, DB, (K1.port,)), claim) for claim in (TAG, REQ)}


# answers that are lost, or late


class Deaf(FakeEcs):
    """Accepts a change, and does not make it."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        self._called("authorize", group)
        return "request"


def test_a_change_that_is_never_shown_is_given_up() -> None:
    """After it was written once per attempt: the delivery must be redelivered."""
    settle = settling(kind=Deaf)
    with pytest.raises(Ambiguous, match="does not show the change"):
        settle(add())
    assert settle.ecs.changes() == ["authorize sg-db"] * ATTEMPTS


class Late(FakeEcs):
    """Shows a change two reads later."""

    def rules(self, group: str) -> list[Rule]:
        rules = super().rules(group)
        return rules if self.calls.count(f"rules {group}") > 3 else []


def test_a_change_that_is_shown_late_is_made_once() -> None:
    settle = settling(kind=Late)
    assert settle(add()).keys() == {K1}
    assert settle.ecs.changes() == ["authorize sg-db"]


def test_a_call_that_failed_is_made_again_and_named() -> None:
    """What it was to put on rules may be there. Rules that were read before it are old."""
    settle = settling()
    settle.fetch.rules([APP])
    settle.ecs.errors["authorize"] = [Ambiguous("reset", request_id="r-1")]
    settle(add())
    assert settle.requests == ["r-1", "request-7"]
    assert settle.writes.put == {(K1, TAG)}
    assert not settle.fetch.rules_are_new(APP)


class MissingRules(FakeEcs):
    """A person removes the first rule of a call that removes rules, a moment before."""

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        self.errors["revoke"] = [CloudError(self.code, "")] * (len(self.existing) == self.many)
        self.existing = [rule for rule in self.existing if rule.id != rule_ids[0]]
        return super().revoke(group, rule_ids)

    many, code = 2, ""


@pytest.mark.parametrize(
    ("many", "code"),
    [
        (1, "InvalidParam.SecurityGroupRuleId"),
        (1, "InvalidSecurityGroupRule.RuleNotExist"),
        (1, "InvalidGroupAuthItem.NotFound"),
        (1, "SecurityGroupRule.NotFound"),
        (2, "InvalidSecurityGroupRuleId.NotFound"),
    ],
)
def test_a_rule_that_is_gone_already_keeps_no_other_from_being_removed(many: int, code: str) -> None:
    """Whichever code says so. The call fails for all of its rules; where it had no other, that is all right."""
    rules = [ours(K1), ours(K2)][:many]
    settle = settling(*rules, kind=MissingRules)
    settle.ecs.many, settle.ecs.code = many, code  # type: ignore[attr-defined]
    settle(*(mark(rule, lose=[TAG]) for rule in rules))
    assert (settle.ecs.existing, settle.ecs.changes()) == ([], ["revoke sg-db"] * many)
    assert len(settle.clock.waits) == many - 1


def test_of_a_dry_run_one_call_comes_after_the_other() -> None:
    """Nothing is sent, so that there is nothing to wait for at the same time."""
    settle = settling()
    dry = Settler(settle.fetch, msgspec.structs.replace(delivery(settle.ecs), supposed=True), Writes())
    threads: list[int] = []
    settle.fetch.side_by_side = lambda *_calls: threads.append(0)  # type: ignore[method-assign]
    dry.beside(lambda: threads.append(1), lambda: threads.append(2))
    assert threads == [1, 2]


# refusals


class Partly(FakeEcs):
    """Makes the first rule of a call, and refuses the call."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
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
    """Two instances have one address. The plan did not see the rule, or saw it while it was a third pair's: it is made
    anew."""
    settle = settling(TWINS_RULE)
    with pytest.raises(Ambiguous, match=f"has become that of {TWIN}"):
        settle(edit)
    assert settle.ecs.existing == [TWINS_RULE]


@pytest.mark.parametrize(
    ("claims", "claims_left"),
    [([TAG], [TAG]), ([TAG, REQ], [TAG, REQ]), ([REQ], [REQ]), ([TAG, REQ, Claim("chg-2")], None)],
)
def test_a_rule_that_is_stated_anew_for_another_group_takes_no_request_along(
    claims: Sequence[Claim], claims_left: Sequence[Claim] | None
) -> None:
    """The plan knows of one request, or of none by now. Another one that came meanwhile is for the former group: it is
    made anew."""
    settle = settling(ours(K_ADDRESS, *claims, ends=(A, APP)))
    planned = ours(K_ADDRESS, REQ, ends=(A, APP))
    edit = msgspec.structs.replace(mark(planned, claims=[REQ]), ends=(A, CACHE))
    if claims_left is None:
        with pytest.raises(Ambiguous, match="that of a request of another group"):
            settle(edit)
    else:
        settle(edit)
        assert settle.ecs.existing == [ours(K_ADDRESS, *claims_left, ends=(A, CACHE))]


@pytest.mark.parametrize(
    ("planned", "ends_found", "gain", "ends"),
    [
        (None, (A, APP), [TAG], (A, APP)),
        (None, (A, APP), [REQ], (A, CACHE)),
        (None, (A, APP), [TAG, REQ], (A, CACHE)),
        ((A, APP), (A, APP), [], (A, CACHE)),
        ((A, CACHE), (A, APP), [TAG], (A, APP)),
        ((A, APP), (A, DB), [], (A, CACHE)),
        ((EVIL_ONE, APP), (EVIL_ONE, APP), [TAG], (A, CACHE)),
        ((EVIL_ONE, APP), (TWIN, APP), [TAG], None),
    ],
)
def test_whom_a_rule_by_address_stands_for(
    planned: Ends | None, ends_found: Ends, gain: list[Claim], ends: Ends | None
) -> None:
    """An edit for an instance as a member of sg-cache. The rule may stand for another of its groups, unless the plan
    changes that, or a request gains it; and for another instance only if the plan knows that this one has another
    address."""
    settle = settling(ours(K_ADDRESS, Claim("chg-2") if gain == [TAG] and planned is None else TAG, ends=ends_found))
    claims = sorted({TAG, *gain, *([Claim("chg-2")] if gain == [TAG] and planned is None else [])})
    rule = ours(K_ADDRESS, ends=planned) if planned else None
    edit = Edit(K_ADDRESS, frozenset(gain), ends=(A, CACHE), rule=rule, claims=tuple(claims))
    if ends is None:
        with pytest.raises(Ambiguous, match=f"has become that of {ends_found[0]}"):
            settle(edit)
    else:
        settle(edit)
        assert [marker.ends for rule in settle.ecs.existing if (marker := parse(rule.description))] == [ends]


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


def test_a_claim_that_came_meanwhile_keeps_the_rule() -> None:
    settle = settling(ours(K1))
    settle.ecs.existing = [ours(K1, TAG, REQ)]
    settle.fetch.changed()
    settle(mark(ours(K1), lose=[TAG]))
    assert settle.ecs.existing == [ours(K1, REQ)]


def test_each_marker_is_changed_after_a_read_of_its_own() -> None:
    """The API has no compare-and-set, so the time between read and write is kept short. A claim that came is looked at
    with the tags that are read back."""
    settle = settling(ours(K1), ours(K2))
    settle.ecs.calls.clear()
    settle(*(mark(ours(k), gain=[REQ], claims=[TAG, REQ]) for k in (K1, K2)))
    change = ["modify sg-db", "rules sg-db", "groups sg-db"]
    assert settle.ecs.calls == ["rules sg-db", *change, *change]


def test_a_full_description_is_put_back_as_it_was() -> None:
    """No room is kept in it for a tag that it never had."""
    full = ours(K1, *(Claim(f"chg-{number:044}") for number in range(7)), Claim("c" * 41), Claim("d" * 25), priority=1)
    assert 508 < len(full.description) <= 512
    settle = settling(full)
    settle(mark(full, claims=[]), mark(full, claims=parse(full.description).claims))
    assert [(rule.priority, rule.description) for rule in settle.ecs.existing] == [(100, full.description)]


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
    refusal_text = settle.tags.write(DB, settle.requests)
    assert refusal_text.startswith(f"managed tags of {where} are refused ({refusal.code})")
    assert settle.tags.write(DB, settle.requests) == ""
    assert settle.ecs.changes() == ["tag sg-db"] * 2
    assert settle.requests == ["r-1", "r-2"]


def test_a_group_with_rules_between_instances_gets_both_tags() -> None:
    """It has one of them, of other rules. A group that does not exist gets none."""
    settle = Settling(FakeEcs([group(DB, tags={MANAGED: "true"})]))
    settle.tags.between_instances = {DB, APP}
    for party in (DB, APP):
        settle.tags.write(party, settle.requests)
    assert settle.ecs.group_by_id["sg-db"].tags == {MANAGED: "true", INSTANCES: "true"}
    assert settle.ecs.changes() == ["tag sg-db"]


def test_tags_are_written_ahead_as_many_as_a_call_takes() -> None:
    """Not what was refused or does not exist, and nothing once the time is over, or in an account that cannot be
    entered."""
    settle = settling()
    settle.tags.refused[str(APP)] = "refused"
    several = [Party(HOME, f"sg-{n}") for n in range(GROUPS_PER_CALL + 1)]
    settle.ecs.group_by_id |= {party.id: group(party) for party in [APP, *several]}
    settle.fetch.parties([APP, *several])
    settle.fetch.store.groups[PARTY_X] = group(PARTY_X)
    calls = settle.tags.ahead([APP, CACHE, *several, PARTY_X])
    for call in calls:
        call()
    assert [call.count(" sg-") for call in settle.ecs.changes()] == [50, 1]
    settle.clock.sleep(600)
    for call in calls:
        call()
    assert len(settle.ecs.changes()) == 2


@pytest.mark.parametrize(
    ("error", "calls", "message"),
    [(Ambiguous("reset"), 2, ""), (CloudError("Quota", "", "r-1"), 1, f"managed tags of {DB} are refused (Quota)")],
)
def test_a_tag_that_was_not_written_ahead_is_written_by_itself_unless_it_was_refused(
    error: Exception, calls: int, message: str
) -> None:
    settle = settling()
    settle.ecs.errors["tag"] = [error]
    (call,) = settle.tags.ahead([DB])
    call()
    assert settle.tags.write(DB, settle.requests).startswith(message)
    assert settle.ecs.changes() == ["tag sg-db"] * calls
    assert settle.requests == (["r-1"] if message else [f"request-{len(settle.ecs.calls)}"])


READS: dict[str, Callable[[Settler], object]] = {
    "rules": lambda settler: settler.read(DB),
    "groups": lambda settler: settler.read_tags([DB]),
    "groups beside the rules": lambda settler: settler.read_with_tags(DB),
}


@pytest.mark.parametrize("read", READS)
def test_an_account_that_refuses_access_meanwhile_denies_the_link(read: str) -> None:
    """Whether its rules or its tags are read again."""
    settle = settling(ours(K1))
    settle.ecs.errors[read.partition(" ")[0]] = [NoAccess("Forbidden.RAM", "no")]
    with pytest.raises(LinkDenied) as refused:
        READS[read](settle.settler)
    assert refused.value.denial.reason is reasons.NO_ACCESS
    assert "Forbidden.RAM" in refused.value.denial.detail


@pytest.mark.parametrize(("account", "cause"), [(PEER, ": NoPermission"), ("1000000000000009", "")])
def test_a_group_of_an_account_that_cannot_be_entered_denies_the_link(account: str, cause: str) -> None:
    """With the code of the refusal, unless the policy does not list the account."""
    with pytest.raises(LinkDenied) as refused:
        ecs_of(settling().fetch, Party(account, "sg-x"))
    assert refused.value.denial.detail == f"sg-x@{account} cannot be read or changed{cause}"


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
