"""The verdict on one link beside the rules that stand: two instances with one address cannot share a rule. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import TAG, Claim, Link, Marker, Party, Ports, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual, actual_state, link_of
from link_peer.planning.decision import NOTHING_MISSING, Context, Missing, Need, Question, RulesOf, Verdict, all_missing
from link_peer.planning.room import no_room_for_link
from link_peer.planning.verdict.single_link import may_stand, permitted


class Judgment(msgspec.Struct, frozen=True):
    """The verdict on a link, except for room. It does not depend on who asks."""

    verdict: Verdict
    moved: frozenset[RuleKey] = frozenset()  # rules that stand for instances whose addresses have changed
    # rules that stand for the same instance as a member of another group, for which it may no longer be admitted
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
    """Whether a link may exist as things are now, beside the rules that stand, if each of its rules is to carry
    `claims`.

    Where several checks fail, the first one is reported. `taken_over` are rules of other instances that a plan found to
    have other addresses.
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
    if unseen := sorted({end for party in judgment.missing.unread for end in party.parties if not end.is_group}):
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
            denial, questions = _standing_denial(snapshot, context, actual, need, verdict.link.ports)
            missing.append(questions)
            if denial is not None:
                restated.add(need.key)
            continue
        moved_away, questions = _have_moved(snapshot, context, need.key, actual.owned[need.key][1])
        missing.append(questions)
        if not moved_away:
            denial = denials.address_of_another(verdict.link.followed, holder)
            verdict = msgspec.structs.replace(verdict, denial=denial)
            break
        moved.add(need.key)
    return Judgment(verdict, frozenset(moved), frozenset(restated), all_missing(missing))


def _standing_denial(
    snapshot: Snapshot, context: Context, actual: Actual, need: Need, ports: Ports
) -> tuple[Denial | None, Missing]:
    """Why the rule of an instance's address may not stand for another group of it, for which it does: the instance left
    that group, or the group does not accept it any more. Where tags alone ask for it, it is judged with all `ports` of
    the link that needs it, whose rules are to name one group. What is missing to say so is read before anything joins
    the rule, whose marker keeps naming that group."""
    marker = actual.owned[need.key][1] if need.key in actual.owned else None
    if marker is None or marker.ends == need.ends:
        return None, NOTHING_MISSING
    standing_link = link_of(need.key, marker)
    if ports and not marker.is_followed:
        standing_link = msgspec.structs.replace(standing_link, ports=ports)
    verdict = may_stand(snapshot, context.policy, standing_link, context.now)
    if verdict.denial is not None and verdict.denial.undecided:
        return None, Missing(questions=frozenset(verdict.open_questions))
    return verdict.denial, NOTHING_MISSING


def _other_holder(actual: Actual, need: Need) -> Party | None:
    """The other instance for which a rule of ours stands. Two instances with one address cannot be told apart by a /32:
    the one that the rule was written for keeps it."""
    owned = actual.owned.get(need.key)
    return first_difference(owned[1].ends or (), need.ends or ()) if owned else None


def first_difference(holder: Sequence[Party], ends: Sequence[Party]) -> Party | None:
    """The instance in which two pairs differ, of the first. Which group an instance stands for is no difference, nor
    whether it stands for itself: the rule of an address serves all of these links."""
    return next(
        (end for end, ours in zip(holder, ends, strict=True) if end != ours and not (end.is_group or ours.is_group)),
        None,
    )


def _have_moved(snapshot: Snapshot, context: Context, key: RuleKey, marker: Marker) -> tuple[bool, Missing]:
    """Whether the instances that an instance rule was written for have other addresses now, or do not exist; and what
    is missing to say so. False where they were not read. An account that shows instances is taken at its word that one
    does not exist."""
    old = link_of(key, marker)
    ends = {end for end in old.parties if not end.is_group}
    if not ends <= snapshot.requested:
        return False, Missing(unread=frozenset({old}))
    if needs := may_stand(snapshot, context.policy, old, context.now).needs:
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
    return tuple(RulesOf(group) for group in groups if snapshot.groups[group].may_have_rules)


def _undecided(verdict: Verdict, subject: str, account: str, questions: Sequence[Question]) -> Verdict:
    denial = denials.unreadable(account, subject)
    return msgspec.structs.replace(verdict, denial=denial, open_questions=tuple(questions))
