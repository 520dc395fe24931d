"""Wrong designs of links that need rules at both ends, and of refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial
from link_peer.domain.model import Claim, Link, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Accept, refusals
from link_peer.planning import claims, consent, guardrails, plan, removals, writing
from link_peer.planning.consent import Gate
from link_peer.planning.decision import DesiredLink
from link_peer.planning.verdict import acceptance, answers, single_link

Patch = pytest.MonkeyPatch


def egress_without_consent(patch: Patch) -> None:
    """Only who is reached is asked."""
    ask = consent.consents

    def lenient(policy: Policy, gate: Gate, ports: Any, now: float) -> Any:
        return (["nobody was asked"], []) if gate.is_egress else ask(policy, gate, ports, now)

    patch.setattr(consent, "consents", lenient)


def ingress_alone(patch: Patch) -> None:
    """A link is opened where its target admits it, whether or not its source lets it out."""
    patch.setattr(single_link, "_egress_end", lambda *_args: single_link._NO_END)
    patch.setattr(answers, "_both_ends", lambda _actual, answers: list(answers))


def egress_outlives_ingress(patch: Patch) -> None:
    """What lets out is judged by the source's group alone."""
    patch.setattr(single_link, "_ingress_end", lambda *_args: single_link._NO_END)
    patch.setattr(answers, "_both_ends", lambda _actual, answers: list(answers))
    patch.setattr(removals, "_uncarried", lambda *_args: None)


def _egress_keeps(patch: Patch, keeps: Any) -> None:
    """Egress rules lose nothing where this says so."""
    losses = removals._cause

    def cause(standing: Any, claim: Claim, may: Any) -> Any:
        loss = losses(standing, claim, may)
        return removals._NO_CAUSE if standing.key.is_egress and keeps(standing, loss) else loss

    patch.setattr(removals, "_cause", cause)


def egress_of_an_old_address(patch: Patch) -> None:
    """An egress rule stands as long as its instance is in the target's group, whatever its address."""

    def is_member(standing: Any, _carriers: Any) -> bool:
        link, instances = standing.link, standing.view.snapshot.instances
        return link.represented in instances and link.target.id in instances[link.represented].groups

    moved_end = removals.moved_end

    def of_ingress(snapshot: Snapshot, key: RuleKey, link: Link) -> Any:
        return None if key.is_egress else moved_end(snapshot, key, link)

    patch.setattr(removals, "moved_end", of_ingress)
    _egress_keeps(patch, is_member)


def egress_after_its_consent(patch: Patch) -> None:
    """Consent to reach is asked when a link is opened, and never again."""
    _egress_keeps(patch, lambda _standing, loss: loss.denial is not None and loss.denial.lacks_consent)


def egress_of_who_left(patch: Patch) -> None:
    """Nobody looks whether an instance is still in the target's group."""

    def is_shown(standing: Any, _loss: Any) -> bool:
        link, instances = standing.link, standing.view.snapshot.instances
        return link.represented in instances and link.target.id not in instances[link.represented].groups

    _egress_keeps(patch, is_shown)


def egress_of_basic_groups(patch: Patch) -> None:
    """Every source's group is taken for one that lets nothing out."""

    def everywhere(function: Any) -> Any:
        def shut(snapshot: Snapshot, *args: Any) -> Any:
            groups = {p: msgspec.structs.replace(group, advanced=True) for p, group in snapshot.groups.items()}
            return function(msgspec.structs.replace(snapshot, groups=groups), *args)

        return shut

    for module, name in ((writing, "outlets"), (claims, "outlets"), (single_link, "_egress_end")):
        patch.setattr(module, name, everywhere(getattr(module, name)))


def any_address_is_let_out_to(patch: Patch) -> None:
    """Whom a group may reach is not asked for its address: that was the question of who is admitted."""
    judge = single_link._with_safe_addresses

    def lenient(snapshot: Snapshot, policy: Policy, verdict: Any, sides: Sequence[Any]) -> Any:
        return judge(snapshot, policy, verdict, [side for side in sides if not side.is_egress])

    patch.setattr(single_link, "_with_safe_addresses", lenient)


def targets_join_ended_links(patch: Patch) -> None:
    """Whoever joins a target is let out to, though no rule of the link stands at that end."""
    followed = claims.followed

    def opening(snapshot: Snapshot, policy: Policy, region: str, *args: Any) -> list[DesiredLink]:
        desired_links = followed(snapshot, policy, region, *args)
        ingress = {(wish.link.whole, wish.claim) for wish in desired_links if wish.link.member}
        every = [
            DesiredLink(writing.part(writing.outward(link), member), claim)
            for link, claim in ingress
            if link.source in snapshot.groups and snapshot.groups[link.source].advanced
            for member in snapshot.members.get(link.target, ())
        ]
        return [*desired_links, *every]

    patch.setattr(claims, "followed", opening)
    patch.setattr(claims, "missing_outlets", lambda *_args: set())


def refusal_is_consent(patch: Patch) -> None:
    """A refusal is read by the grammar of consent, and as one."""
    entries = consent.entries_at

    def with_refusals(policy: Policy, gate: Gate) -> list[tuple[str, Accept]]:
        tags, account = gate.group.tags, gate.group.party.account
        refused = [entry for entry in refusals(tags, account, policy.keys) if entry.party]
        refusal_entries = [
            ("a refusal", Accept(entry.party, entry.ports, "a refusal"))
            for entry in refused
            if consent.names(entry.party, gate.peer)
        ]
        return [*entries(policy, gate), *refusal_entries]

    patch.setattr(consent, "entries_at", with_refusals)
    patch.setattr(guardrails, "refused", lambda *_args: None)


def refusal_of_openings(patch: Patch) -> None:
    """A refusal is looked at when a link is opened, and not when it stands."""
    refused = guardrails.refused

    def of_openings(snapshot: Snapshot, policy: Policy, source: Any, target: Any, ports: Any) -> Any:
        stands = any(
            markers.deployment_named(rule.description, policy.home)
            for rules in snapshot.rules.values()
            for rule in rules
        )
        return None if stands else refused(snapshot, policy, source, target, ports)

    patch.setattr(guardrails, "refused", of_openings)


def lock_of_one_end(patch: Patch) -> None:
    """A lock is the business of the group that has the rule."""
    locked = acceptance._locked
    patch.setattr(acceptance, "_locked", lambda groups, keys: locked(groups[:1], keys))
    other_part = single_link._other_part

    def unlocked(*args: Any) -> Any:
        with patch.context() as lenient:
            lenient.setattr(acceptance, "_locked", lambda *_args: None)
            return other_part(*args)

    patch.setattr(single_link, "_other_part", unlocked)


def half_of_both_ends_stays(patch: Patch) -> None:
    """A link whose other end was deleted is nobody's to close."""
    patch.setattr(removals, "_outlet_keys", lambda _standing: set())
    patch.setattr(removals, "_uncarried", lambda *_args: None)


def _keeps_despite(patch: Patch, ignored: Any) -> None:
    """A rule of a wish that is denied as a whole is kept, whatever `ignored` denials say of it."""
    standing_for, judge = answers._standing_for, answers.judge_link
    standing_links: set[Link] = set()

    def noted(*args: Any) -> list[DesiredLink]:
        wishes = standing_for(*args)
        standing_links.update(wish.link for wish in wishes)
        return wishes

    def lenient(view: Any, link: Link) -> Any:
        judgment = judge(view, link)
        verdict = judgment.verdict
        if link not in standing_links or verdict.denial is None or not ignored(verdict.denial):
            return judgment
        return msgspec.structs.replace(judgment, verdict=msgspec.structs.replace(verdict, denial=None))

    patch.setattr(answers, "_standing_for", noted)
    patch.setattr(answers, "judge_link", lenient)
    patch.setattr(removals, "judge_link", lenient)


def kept_without_consent(patch: Patch) -> None:
    """What stood is kept without asking for consent again."""
    _keeps_despite(patch, lambda denial: denial.lacks_consent)


def kept_across_a_lock(patch: Patch) -> None:
    """What stood is kept though a group is locked: the wish has been denied already."""
    _keeps_despite(patch, lambda denial: "lock" in denial.detail)


def a_denial_closes(patch: Patch) -> None:
    """A wish that is denied asks for nothing."""
    patch.setattr(answers, "_standing_for", lambda *_args: [])


def limits_close(patch: Patch) -> None:
    """What the policy's limits no longer open, they close; peers count in the order of the tags."""
    patch.setattr(claims, "_is_linked", lambda *_args: False)
    patch.setattr(Denial, "keeps_standing", property(lambda _self: False))


def former_addresses_close_first(patch: Patch) -> None:
    """What a former address has is taken away before the new one is written, whose claims it has."""
    patch.setattr(plan, "_moves", lambda *_args: False)


def a_full_group_closes(patch: Patch) -> None:
    """A request's rules exist all together, or not at all: where one has no room, those that stood go too."""
    rolls_back = removals._must_roll_back

    def whole(standing: Any, claim: Claim) -> bool:
        refused_needs = (standing.judged.needs(link) for link in standing.view.refused)
        return rolls_back(standing, claim) or any(standing.key in needs for needs in refused_needs)

    patch.setattr(removals, "_must_roll_back", whole)
