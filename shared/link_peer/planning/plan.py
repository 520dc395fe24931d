"""Desired state against actual state: a plan that can be printed. Pure: no I/O, reads no clock.

    snapshot ─┬─▶ actual_state ─┐
    desired ──┼─▶ judge ─▶ wanted_claims ─▶ losses ─▶ edits ─▶ room ─▶ decisions
    links     └─────────────────┘

Each step is a function from frozen values to a frozen value, which says what is missing. The cases of a single rule are
the table in `planning.diff`. The order in which links, groups and rules are given decides nothing.

The one edit of a rule is made by the first of these decisions: a link in focus that it opens, a repair, the decision
that takes its claims. That of a new rule is made by every link that needs it, whichever is carried out first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import HUMAN_RULE, Denial, Waits, remark
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, PRIORITY, Link, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual, actual_state, link_of, moved_end
from link_peer.planning.claims import choice_note
from link_peer.planning.decision import (
    Context,
    Decision,
    DesiredLink,
    Edit,
    Ends,
    Missing,
    Need,
    Plan,
    Refusal,
    RulesOf,
    Verdict,
    all_missing,
)
from link_peer.planning.diff import edit_of, opens
from link_peer.planning.removals import Hold, Loss, Losses, MayLose, hold_none, losses
from link_peer.planning.room import after_edits, no_room, room_in
from link_peer.planning.verdict.answers import Answer, Judged, PlanView, WantedClaims, asks_for, judge, wanted_claims
from link_peer.planning.verdict.single_link import merged, no_group_accepted
from link_peer.planning.writing import note

AskedLink = tuple[Link, str]
"""A link as someone asked for it: with the peer as written, where that cannot be parsed."""

Edits = Mapping[RuleKey, Edit]


class Settled(msgspec.Struct, frozen=True):
    """What all steps before the wording of decisions have found."""

    view: PlanView
    judged: Judged
    answers: Mapping[AskedLink, tuple[Answer, ...]]
    losses: Losses
    edits: Edits
    without_room: Mapping[Link, Denial]


def make_plan(
    snapshot: Snapshot,
    context: Context,
    links: Iterable[DesiredLink],
    *,
    may_lose: MayLose,
    focus: Set[Link] | None = None,
    hold: Hold = hold_none,
    refused: Mapping[Link, Refusal] = {},
) -> Plan:
    """Decisions for the desired links that are answered here (of these, those in `focus`), and for every rule of ours
    with a claim that may be taken: what opens, what closes, and what is held back, since it is too much (see `Hold`).

    `refused` are links that the cloud has just refused to write. A link that exists in part and has no room for the
    rest is refused too, and the room that this frees is given to others.
    """
    links = list(links)
    view = PlanView(snapshot, context, actual_state(snapshot, context.policy, context.region), refused)
    judged = judge(view, links)
    answers_by_link = _by_link(answer for answer in judged.answers if _in_focus(answer, focus))
    claims = wanted_claims(judged.answers, view.actual)
    removals = losses(view, judged, claims, may_lose, hold)
    edits = _edits(view, judged, answers_by_link, claims, removals)
    without_room = _without_room(view, judged, answers_by_link, edits, removals)
    if stuck := {
        link: Refusal(denial)
        for link, denial in without_room.items()
        if _stands(view.actual, judged, link) or _replaced(view, edits, removals, link, answers_by_link[link, ""])
    }:
        refusals = {**refused, **stuck}
        return make_plan(snapshot, context, links, may_lose=may_lose, focus=focus, hold=hold, refused=refusals)
    if without_room:
        roomy = [answer for answer in judged.answers if answer.desired_link.link.whole not in without_room]
        edits = _edits(view, judged, answers_by_link, wanted_claims(roomy, view.actual), removals)
    settled = Settled(view, judged, answers_by_link, removals, edits, without_room)
    missing = all_missing(
        [judged.missing, removals.missing, _unread_successors(view, answers_by_link, edits, removals)]
    )
    all_decisions = decisions(settled)
    unshown = (d.link for d in all_decisions if d.outcome == "denied" and d.denial.waits is Waits.FOR_THE_CLOUD)
    return Plan(all_decisions, missing, removals.due, removals.held_removals, frozenset(unshown))


def _in_focus(answer: Answer, focus: Set[Link] | None) -> bool:
    return answer.desired_link.in_scope and (focus is None or answer.desired_link.link.whole in focus)


def _by_link(answers: Iterable[Answer]) -> dict[AskedLink, tuple[Answer, ...]]:
    groups = grouped(((answer.desired_link.link.whole, answer.desired_link.raw), answer) for answer in answers)
    return {wish: tuple(wish_answers) for wish, wish_answers in groups.items()}


# edits, and room for them


def _edits(
    view: PlanView,
    judged: Judged,
    answers_by_link: Mapping[AskedLink, tuple[Answer, ...]],
    claims: WantedClaims,
    removals: Losses,
) -> Edits:
    """The one edit of each rule that someone in focus needs, that loses claims, or that someone changed."""
    ends: dict[RuleKey, Ends | None] = {
        need.key: need.ends for answers in answers_by_link.values() for need in needs_of(answers)
    }
    requested = _requested(answer for answers in answers_by_link.values() for answer in answers)
    ends |= requested
    moved = {key for judgment in judged.judgments.values() for key in judgment.moved}
    restated = {key for judgment in judged.judgments.values() for key in judgment.restated}
    restated |= {k for k in requested.keys() & view.actual.owned.keys() if not view.actual.owned[k][1].is_followed}
    changed = {key for key in view.actual.owned if key in removals.by_rule or view.actual.tampered(key)}
    edits = {}
    for key in sorted(ends.keys() | changed):
        edit = edit_of(
            view.context,
            view.actual,
            key,
            claims.get(key, frozenset()),
            ends=ends.get(key),
            withdrawn=removals.claims(key),
            moved=key in moved,
            restated=key in restated,
        )
        if edit:
            edits[key] = edit
    return edits


def _requested(answers: Iterable[Answer]) -> dict[RuleKey, Ends | None]:
    """For whom requests want the rules of links by address: these rules stand for their groups, since members
    follow."""
    granted = (
        answer
        for answer in answers
        if answer.desired_link.link.member and not answer.desired_link.claim.is_tag and not answer.denial
    )
    return {need.key: need.ends for answer in granted if answer.verdict for need in answer.verdict.needs}


def _without_room(
    view: PlanView,
    judged: Judged,
    answers_by_link: Mapping[AskedLink, tuple[Answer, ...]],
    edits: Edits,
    removals: Losses,
) -> dict[Link, Denial]:
    """The links in focus whose rules have no room once the plan's removals are made. The last room is given to links of
    which some rule stands, then by order of links."""
    opening = {
        link: opening_of_link
        for (link, _), answers in answers_by_link.items()
        if (opening_of_link := opening_edits(needs_of(answers), edits, view.actual))
    }
    room = dict(
        room_in(
            view.snapshot, {edit.key.group for link_edits in opening.values() for edit in link_edits}, removals.freed
        )
    )
    full: dict[Link, Denial] = {}
    for link in sorted(opening, key=lambda link: (not _stands(view.actual, judged, link), link)):
        if denial := no_room(room, opening[link], view.context):
            full[link] = denial
        else:
            room |= after_edits(room, opening[link])
    return full


def _stands(actual: Actual, judged: Judged, link: Link) -> bool:
    """Whether some rule of the link is ours already."""
    return any(key in actual.owned for key in judged.needs(link))


# decisions


def decisions(settled: Settled) -> tuple[Decision, ...]:
    """In canonical order: what is removed beside a person's rule, answers, removals, repairs of rules and of managed
    tags."""
    opening = _assigned(settled)
    answers = {wish: _answer(settled, wish, opening.get(wish, ())) for wish in settled.answers}
    opened_keys = {edit.key for edits in opening.values() for edit in edits}
    repairs = _repairs(settled, opened_keys | settled.losses.freed)
    opened_keys |= {edit.key for repair in repairs for edit in repair.edits}
    rolled_back, removed = _removed(settled, answers, opened_keys)
    answers |= rolled_back
    # nothing is recorded while an account could not be read, or a question is open
    decided = [answer for answer in answers.values() if answer.denial.waits is not Waits.FOR_A_READ]
    return (*_displaced(settled), *decided, *removed, *repairs, *_untagged(settled, decided))


def _assigned(settled: Settled) -> dict[AskedLink, tuple[Edit, ...]]:
    """Which link makes the edits by which rules are opened: of several that need one rule, the first; a new rule each,
    so that none is said to be open without it. It also removes, once it is open, the rules whose place it takes."""
    edits_by_wish: dict[AskedLink, tuple[Edit, ...]] = {}
    assigned_keys: set[RuleKey] = set()
    for wish, answers in settled.answers.items():
        if wish[0] not in settled.without_room:
            edits = opening_edits(needs_of(answers), settled.edits, settled.view.actual)
            if edits:
                edits += _replaced(settled.view, settled.edits, settled.losses, wish[0], answers)
            edits_by_wish[wish] = tuple(edit for edit in edits if edit.kind == "add" or edit.key not in assigned_keys)
            assigned_keys |= {edit.key for edit in edits_by_wish[wish]}
    return edits_by_wish


def _granted(answers: Iterable[Answer]) -> tuple[DesiredLink, Verdict] | None:
    """The first of these that is granted a link which needs rules, with the verdict: on all of its parts that are
    granted."""
    pairs = [(answer.desired_link, answer.verdict) for answer in answers if answer.verdict and answer.denial is None]
    if not pairs:
        return None
    desired, verdict = pairs[0]
    return desired, merged(
        desired.link.whole, [part_verdict for _, part_verdict in pairs]
    ) if desired.link.member else verdict


def _left_out(answers: Iterable[Answer]) -> str:
    """The instances that a link by address does not admit, in words."""
    return denials.left_out(
        {a.desired_link.link.member: a.denial.detail for a in answers if a.desired_link.link.member and a.denial}
    )


def needs_of(answers: Iterable[Answer]) -> tuple[Need, ...]:
    """The rules of a link that some of these answers grants."""
    granted = _granted(answers)
    return granted[1].needs if granted else ()


def opening_edits(needs: Iterable[Need], edits: Edits, actual: Actual) -> list[Edit]:
    """The edits that open the rules of a link."""
    return [edits[need.key] for need in needs if need.key in edits and opens(edits[need.key], actual)]


def _replaced(view: PlanView, edits: Edits, removals: Losses, link: Link, answers: Iterable[Answer]) -> list[Edit]:
    """The removals of rules that nothing but a wish for this link asks for: it asks for their ports in another way, or
    its instances have other addresses."""
    granted = _granted(answers)
    if granted is None:
        return []
    desired, needs = msgspec.structs.replace(granted[0], link=link, instance=None), granted[1].needs
    members = {answer.desired_link.link.member for answer in answers} - {""}

    def replaces(key: RuleKey) -> bool:
        standing = link_of(key, view.actual.owned[key][1])
        return (
            removals.by_rule[key].denial == denials.UNWANTED
            and desired.claim.request in {claim.request for claim in removals.claims(key)}
            and (not members or not standing.member or standing.member in members)
            and asks_for(view.snapshot, desired, standing.whole)
        )

    return [edits[key] for key in sorted(removals.freed) if _moves(view, removals, key, needs) or replaces(key)]


def _unread_successors(
    view: PlanView, answers_by_link: Mapping[AskedLink, tuple[Answer, ...]], edits: Edits, removals: Losses
) -> Missing:
    """The groups whose rules would tell whether what takes a rule's place stands already."""
    questions: set[RulesOf] = set()
    for (link, _), answers in answers_by_link.items():
        opening = opening_edits(needs_of(answers), edits, view.actual)
        groups = {edit.key.group for edit in opening if edit.key.group not in view.snapshot.rules}
        unread = {group for group in groups if view.snapshot.groups[group].may_have_rules}
        if unread and _replaced(view, edits, removals, link, answers):
            questions |= set(map(RulesOf, unread))
    return Missing(questions=frozenset(questions))


def _moves(view: PlanView, removals: Losses, key: RuleKey, needs: Iterable[Need]) -> bool:
    """Whether one of the needed rules takes over requests of a rule with a former address, which only rules remember:
    it is written first, unless the address is shown as that of another instance by now, or opening is paused."""
    marker, paused = view.actual.owned[key][1], view.context.policy.paused is not Pause.NONE
    requests = [claim for claim in removals.claims(key) if not claim.is_tag]
    link = link_of(key, marker)
    if not requests or paused or not moved_end(view.snapshot, key, link):
        return False
    shown_addresses = {f"{instance.ip}/32" for instance in view.snapshot.instances.values()}
    successors = [need.key for need in needs if need.ends == marker.ends and link_of(need.key, marker) == link]
    addresses = {key.source, key.dest} - {
        side for successor in successors for side in (successor.source, successor.dest)
    }
    return bool(successors) and shown_addresses.isdisjoint(addresses)


# desired links


def _answer(settled: Settled, wish: AskedLink, edits: tuple[Edit, ...]) -> Decision:
    link, answers, context = wish[0], settled.answers[wish], settled.view.context
    granted = _granted(answers)
    if granted is None:
        return _denied(settled, wish)
    desired, verdict = granted
    snapshot = settled.view.snapshot
    notes = [choice_note(snapshot, desired), note(snapshot, link), _left_out(answers)]
    waiting = any(answer.denial and answer.denial.waits is Waits.FOR_A_RULE for answer in answers)
    detail = remark("; ".join(filter(None, notes)), verdict.advice)
    answer = Decision(
        link,
        context.actions[0],
        "unchanged",
        msgspec.structs.replace(detail, waits=Waits.FOR_A_RULE if waiting else Waits.NO),
        verdict=verdict,
        instance=desired.instance,
        rules=_existing(settled.view.actual, verdict.needs),
    )
    if full := settled.without_room.get(link):
        return msgspec.structs.replace(answer, outcome=full.outcome, denial=full)
    if all(need.key in settled.view.actual.equal for need in verdict.needs):
        return msgspec.structs.replace(answer, denial=HUMAN_RULE)
    return msgspec.structs.replace(
        answer,
        outcome="applied" if edits or context.is_request else "unchanged",
        edits=edits,
        missing_managed_tag=_missing_managed_tag(settled, verdict.needs, edits),
    )


def _denied(settled: Settled, wish: AskedLink) -> Decision:
    link, first = wish[0], settled.answers[wish][0]
    desired, denial, outcome = first.desired_link, first.denial, "unchanged"
    if denial is None:
        denial = denials.same_group(link.target.id, is_group=link.target.is_group)
    else:
        if desired.denied and denial.owners:
            denial = no_group_accepted(settled.view.snapshot, desired)
        outcome = denial.outcome
    action = settled.view.context.actions[0]
    if denial.waits is not Waits.FOR_A_READ:
        denial = denials.still_standing(denial, denials.standing_ports(_standing_ports(settled, desired)))
    return Decision(link, action, outcome, denial, verdict=first.verdict, instance=desired.instance, raw=desired.raw)


def _standing_ports(settled: Settled, desired: DesiredLink) -> set[Port]:
    """The ports of the rules that stand for a wish, though it is denied, and stay."""
    view, claim = settled.view, desired.claim
    keys = settled.judged.needs(desired.link) if desired.link.mutual else ()
    if keys and all(claim in view.actual.claims(key) - settled.losses.claims(key) for key in keys):
        return {ALL}
    return {
        key.port
        for key, link, marker in view.actual.owned_by_target.get(desired.link.target, ())
        if claim.request in {kept_claim.request for kept_claim in {*marker.claims} - settled.losses.claims(key)}
        if not desired.raw and asks_for(view.snapshot, desired, link)
    }


def _existing(actual: Actual, needs: Iterable[Need]) -> tuple[Rule, ...]:
    keys = [need.key for need in needs if need.key in actual]
    return tuple(actual.owned[key][0] if key in actual.owned else actual.equal[key] for key in keys)


# the managed tag


def _missing_managed_tag(settled: Settled, needs: Iterable[Need], edits: Iterable[Edit]) -> tuple[Party, ...]:
    """The groups of rules of ours, and of new ones, that lack their tags."""
    owned, freed = settled.view.actual.owned, settled.losses.freed
    standing_keys = (need.key for need in needs if need.key in owned and need.key not in freed)
    keys = [*standing_keys, *(edit.key for edit in edits)]
    return tuple(dict.fromkeys(key.group for key in keys if _lacks_tag(settled.view, key)))


def _untagged(settled: Settled, decided: Iterable[Decision]) -> list[Decision]:
    """The other groups that keep rules of ours and lack their tags, whatever the verdict on their links: by these the
    next sweep finds them. Nothing is opened, so they are written also while opening is paused."""
    pause, owned = settled.view.context.policy.paused, settled.view.actual.owned
    if pause is Pause.ALL:
        return []
    written = [d for d in decided if pause is Pause.NONE or not any(edit.gain for edit in d.edits)]
    tagged_groups = {group for decision in written for group in decision.missing_managed_tag}
    remaining_keys = owned.keys() - settled.losses.freed
    lacking = (key for key in remaining_keys if key.group not in tagged_groups and _lacks_tag(settled.view, key))
    first = {key.group: key for key in sorted(lacking, key=lambda key: (key.by_address, key))}
    return [
        Decision(
            link_of(key, owned[key][1]).whole,
            "repair",
            "unchanged",
            denials.tag_was_missing(group),
            missing_managed_tag=(group,),
            rules=(owned[key][0],),
        )
        for group, key in sorted(first.items())
    ]


def _lacks_tag(view: PlanView, key: RuleKey) -> bool:
    """Whether a rule's group lacks a tag by which the rule is found."""
    group = view.snapshot.groups.get(key.group)
    tags = view.context.policy.keys.of_group(instances=key.by_address)
    return group is not None and any(group.tags.get(tag) != "true" for tag in tags)


# claims that rules lose


def _removed(
    settled: Settled, answers: Mapping[AskedLink, Decision], opened_keys: Set[RuleKey]
) -> tuple[dict[AskedLink, Decision], list[Decision]]:
    """The answers to refused links with what is rolled back for them; and for the rest one decision for each pair,
    cause and set of claims, without the edits of rules that are opened already."""
    rolled_back: dict[AskedLink, Decision] = {}
    removed: list[Decision] = []
    asked_links, owned = {link for link, _ in settled.answers}, settled.view.actual.owned
    for (link, loss), keys in _by_pair(settled, opened_keys):
        edits = tuple(settled.edits[key] for key in keys if key not in opened_keys)
        rules = tuple(owned[key][0] for key in keys)
        if wish := _refused_link(settled, loss.denial, keys, answers):
            answer = rolled_back.get(wish, msgspec.structs.replace(answers[wish], edits=(), rules=()))
            rolled_back[wish] = msgspec.structs.replace(answer, edits=answer.edits + edits, rules=answer.rules + rules)
            continue
        turned = Link(link.target, link.source, link.ports)  # the way round in which someone in focus asked for it
        ports = () if link.mutual else tuple(sorted({key.port for key in keys}))
        removed.append(
            Decision(
                turned if link.mutual and turned in asked_links else Link(link.source, link.target, ports),
                _action(loss, settled.view.context),
                "removed",
                denials.still_standing(
                    denials.in_detail(
                        loss.denial,
                        [claim.request for claim in loss.claims if claim.request],
                        is_kept=not any(edit.kind == "remove" for edit in edits),
                        members={link_of(key, owned[key][1]).member for key in keys} - {""},
                    ),
                    [*_not_reached(settled.view, link, keys), *denials.not_read(_unreadable(settled, link, loss))],
                ),
                edits=edits,
                by_absence=loss.by_absence,
                unseen=loss.unseen,
                rules=rules,
            )
        )
    return rolled_back, removed


def _action(loss: Loss, context: Context) -> str:
    """What the removal is recorded as."""
    if loss.denial.ended:
        return "expire"
    return "repair" if loss.beside else context.actions[1]


def _not_reached(view: PlanView, link: Link, keys: Sequence[RuleKey]) -> list[str]:
    """The accounts and groups that may hold the other side of what goes, and could not be read, each with why."""
    if not link.mutual and view.context.withdrawn is None:
        return []
    snapshot, groups = view.snapshot, {key.group for key in keys}
    peer_accounts = {link.source.account, link.target.account} - {group.account for group in groups}
    ends = (link.source, link.target)
    unread = {
        **{end.account: f"{end.id} is not shown" for end in ends if not snapshot.groups_with(end)},
        **snapshot.failed_accounts,
        **{uid: f"access is refused ({error.code})" for uid, error in snapshot.refused_accounts.items()},
    }
    unread_sides = [denials.side_unread(f"account {uid}", unread[uid]) for uid in sorted(peer_accounts & unread.keys())]
    sides = [snapshot.groups_with(end) for end in ends]
    halves = [group for side in sides if not groups.intersection(side) for group in side if link.mutual]
    return unread_sides + [
        denials.side_unread(str(group), "its rules were not read")
        for group in sorted(halves)
        if group.account not in unread and group not in snapshot.rules
    ]


def _unreadable(settled: Settled, link: Link, loss: Loss) -> set[str]:
    """The peers, as written, that cannot be read in tags of those who may have asked for a link: they ask for
    nothing."""
    if loss.denial != denials.UNWANTED:
        return set()
    instances = settled.view.snapshot.instances
    askers = {
        raw: instances.get(answers[0].desired_link.instance or link.asker)
        for (_, raw), answers in settled.answers.items()
        if raw
    }
    return {
        raw for raw, asker in askers.items() if asker and {asker.party, *asker.own_groups} & {*link.askers, link.source}
    }


def _by_pair(settled: Settled, opened_keys: Set[RuleKey]) -> list[tuple[tuple[Link, Loss], list[RuleKey]]]:
    """The rules that lose the same claims for the same cause, by pair: a mutual link with its lower end first, or the
    link of the first of its rules. Those that another decision edits, which may be carried out later, are by
    themselves."""
    view = settled.view
    keys_by_pair: dict[tuple[Party, Party, bool, Loss, bool], list[RuleKey]] = {}
    for key, loss in settled.losses.by_rule.items():
        link = link_of(key, view.actual.owned[key][1])
        if (view.context.withdrawn is not None and not loss.beside) or loss.denial in view.refusals:
            loss = msgspec.structs.replace(loss, claims=frozenset())
        keys_by_pair.setdefault((*link.pair, link.mutual, loss, key in opened_keys), []).append(key)
    return [
        ((Link(source, target, () if mutual else (keys[0].port,)), loss), keys)
        for (source, target, mutual, loss, _), keys in keys_by_pair.items()
    ]


def _refused_link(
    settled: Settled, denial: Denial, keys: Sequence[RuleKey], answers: Mapping[AskedLink, Decision]
) -> AskedLink | None:
    """The link in focus whose refusal takes these rules back."""
    for link, refusal in sorted(settled.view.refused.items(), key=lambda pair: pair[0]):
        needs = settled.judged.needs(link)
        if refusal.denial == denial and (link, "") in answers and needs >= set(keys):
            return link, ""
    return None


# rules that someone changed


def _displaced(settled: Settled) -> list[Decision]:
    """Rules of ours with another priority, beside a person's equal rule that has ours. The person's counts from now
    on."""
    return [
        Decision(
            link_of(key, marker).whole,
            "repair",
            "removed",
            denials.displaced(rule.priority),
            edits=(Edit(key, lose=frozenset(marker.claims), ends=marker.ends, rule=rule),),
            rules=(rule,),
        )
        for key, (rule, marker) in sorted(settled.view.actual.displaced.items())
    ]


def _repairs(settled: Settled, opened_keys: Set[RuleKey]) -> list[Decision]:
    """Rules of ours to which someone gave another priority, and which no other edit opens."""
    view = settled.view
    refused = {key for link in view.refused for key in settled.judged.needs(link)}
    return [
        Decision(
            link_of(key, marker).whole,
            "repair",
            "applied",
            denials.repaired(rule.priority, PRIORITY),
            edits=(settled.edits[key],),
            rules=(rule,),
        )
        for key, (rule, marker) in sorted(view.actual.owned.items())
        if view.actual.tampered(key) and key not in opened_keys
        if settled.edits[key].kind != "remove"  # its claims have ended, which is for the delivery that may take them
        if key not in refused and link_of(key, marker).whole not in view.refused  # not tried twice in one delivery
    ]
