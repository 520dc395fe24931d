"""The one verdict on a link, which plan, tests, advice, adoption and the look right before a write all read. Pure.

tag of an instance  ─┐
request             ─┼─▶ desired link (a link and a claim) ─▶ evaluate ─▶ Verdict: the rules it needs, or a denial
claims on our rules ─┘

| denial by …     | decided by                                                                                    |
|-----------------|-----------------------------------------------------------------------------------------------|
| the policy      | its accounts, ports and limits                                                                |
| access          | an account that refuses it, or could not be read                                              |
| what a party is | it exists, in a VPC, in a group that takes rules; two groups in one VPC                       |
| a lock          | the tags of the groups that hold the rules                                                    |
| consent         | the tags of those groups, and the policy                                                      |
| the address     | private, in the account's ranges, and in the target's VPC nobody else's                       |
| another holder  | the markers of the rules that stand: two instances with one address cannot share a rule       |
| room            | the limits of a group, and of a rule's description: `planning.room`                           |

`permitted` asks all but the last two. A rule that stands takes its room already, so that a full group closes nothing: a plan
asks for room last, when it knows what it removes.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.model import TAG, Claim, Link, Marker, Party, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual, actual_state, link_of
from link_peer.planning.decision import NOTHING_MISSING, Context, Missing, Need, Question, RulesOf, Verdict, all_missing
from link_peer.planning.permitted import permitted
from link_peer.planning.room import no_room_for_link

Ends = tuple[Party, Party]
"""For whom a rule by address stands, as in its marker."""


class Judgment(msgspec.Struct, frozen=True):
    """The verdict on a link except for room: it does not depend on who asks. `moved` are those of its rules that stand for other instances,
    which have other addresses now; `restated` those that stand for the same instance as a member of a group for which it may
    not be admitted any more."""

    verdict: Verdict
    moved: frozenset[RuleKey] = frozenset()
    restated: frozenset[RuleKey] = frozenset()
    missing: Missing = NOTHING_MISSING

    @property
    def needs(self) -> set[RuleKey]:
        """The rules that the link needs."""
        return {need.key for need in self.verdict.needs}


def evaluate(
    snapshot: Snapshot,
    context: Context,
    link: Link,
    claims: Set[Claim] = frozenset({TAG}),
    *,
    taken_over: Set[RuleKey] = frozenset(),
) -> Verdict:
    """Whether a link may exist as things are now, beside the rules that stand, if each of its rules is to carry `claims`.

    Where several checks fail, the first one is reported. `taken_over` are rules of other instances that a plan found to have
    other addresses.
    """
    verdict = permitted(snapshot, context.policy, link, context.now)
    if verdict.denial is not None:
        return verdict
    keys = {need.key for need in verdict.needs}
    if unread := _unread_rules(snapshot, keys):
        return _undecided(verdict, f"the rules of {unread[0].group.id}", unread[0].group.account, unread)
    standing = {key.group: tuple(r for r in snapshot.rules.get(key.group, ()) if r.key in keys) for key in keys}
    actual = actual_state(msgspec.structs.replace(snapshot, rules=standing), context.policy, context.region)
    judgment = with_holders(snapshot, context, actual, verdict, taken_over)
    if unseen := sorted({end for one in judgment.missing.unread for end in one.parties if not end.is_group}):
        return _undecided(verdict, f"instance {unseen[0].id}, whose rule stands", unseen[0].account, unseen)
    if judgment.verdict.denial is not None:
        return judgment.verdict
    full = no_room_for_link(snapshot, context, actual, verdict.needs, claims, judgment.moved | taken_over)
    return msgspec.structs.replace(verdict, denial=full)


def with_holders(
    snapshot: Snapshot, context: Context, actual: Actual, verdict: Verdict, taken_over: Set[RuleKey] = frozenset()
) -> Judgment:
    """The verdict where a rule that stands belongs to other instances with the same addresses, if one does."""
    missing = [Missing(questions=frozenset(verdict.open_questions))]
    moved: set[RuleKey] = set()
    restated: set[RuleKey] = set()
    for need in verdict.needs if verdict.denial is None else ():
        holder = _other_holder(actual, need)
        if need.key in taken_over:
            continue
        if holder is None:
            if _is_former_member(snapshot, context, actual, need):
                restated.add(need.key)
            continue
        gone, more = _have_moved(snapshot, context, need.key, actual.owned[need.key][1])
        missing.append(more)
        if not gone:
            denial = denials.address_of_another(verdict.link.source, holder)
            verdict = msgspec.structs.replace(verdict, denial=denial)
            break
        moved.add(need.key)
    return Judgment(verdict, frozenset(moved), frozenset(restated), all_missing(missing))


def _is_former_member(snapshot: Snapshot, context: Context, actual: Actual, need: Need) -> bool:
    """Whether the rule of an instance's address stands for another group of it, which the instance left, or which is not
    accepted any more."""
    marker = actual.owned[need.key][1] if need.key in actual.owned else None
    if marker is None or marker.ends == need.ends:
        return False
    denial = permitted(snapshot, context.policy, link_of(need.key, marker), context.now).denial
    return denial is not None and not denial.undecided


def _other_holder(actual: Actual, need: Need) -> Party | None:
    """The other instance for which a rule of ours stands. Two instances with one address cannot be told apart by a /32: the
    one that the rule was written for keeps it."""
    ends = actual.owned[need.key][1].ends if need.key in actual.owned else None
    return first_difference(ends, need.ends) if ends and need.ends else None


def first_difference(holder: Ends, ends: Ends) -> Party | None:
    """The instance in which two pairs differ, of the first. Which group an instance stands for is no difference: the rule of
    an address serves all of them."""
    return next((one for one, ours in zip(holder, ends, strict=True) if one != ours and not one.is_group), None)


def _have_moved(snapshot: Snapshot, context: Context, key: RuleKey, marker: Marker) -> tuple[bool, Missing]:
    """Whether the instances that an instance rule was written for have other addresses now, or do not exist; and what is
    missing to say so. False where they were not read. An account that shows instances is taken at its word that one does not
    exist."""
    old = link_of(key, marker)
    ends = {end for end in old.parties if not end.is_group}
    if not ends <= snapshot.requested:
        return False, Missing(unread=frozenset({old}))
    if needs := permitted(snapshot, context.policy, old, context.now).needs:
        return key not in {need.key for need in needs}, NOTHING_MISSING
    absent = {end for end in ends if end not in snapshot.instances}
    if not absent or not all(snapshot.readable(end.account) for end in ends):
        return False, NOTHING_MISSING
    absent -= context.deleted
    doubted = {end.account for end in absent} - snapshot.live_accounts
    return not doubted, Missing(doubted_accounts=frozenset(doubted), unconfirmed=frozenset(absent))


def _unread_rules(snapshot: Snapshot, keys: Set[RuleKey]) -> tuple[RulesOf, ...]:
    """The groups of a link's rules whose rules were not read."""
    groups = sorted({key.group for key in keys if key.group not in snapshot.rules})
    return tuple(RulesOf(g) for g in groups if g not in snapshot.groups or snapshot.groups[g].rule_count)


def _undecided(verdict: Verdict, what: str, account: str, questions: Sequence[Question]) -> Verdict:
    denial = denials.unreadable(account, what)
    return msgspec.structs.replace(verdict, denial=denial, open_questions=tuple(questions))
