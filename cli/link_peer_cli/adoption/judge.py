"""May a person's rule become a link, and what changes? Pure: everything comes from the snapshot, the policy and the
time.

a person's rule ─▶ the link that opens the same packets ─▶ may it exist, once the groups consent?
                                                         ─▶ the rules that it needs: are they all there? ─▶ Adoption

The rule stays where it is: its description becomes the marker, and its priority ours. So a rule that link-peer would
write in another form, on another group, or beside further ones cannot be adopted.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.denials import PAUSED, Denial, LinkDenied
from link_peer.domain.model import ALL, PRIORITY, Claim, Link, Marker, Party, Rule
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Context, Need, Question, Verdict
from link_peer.planning.verdict.holders import evaluate
from link_peer.views.reach import Scene

from link_peer_cli.adoption.expressible import NotAdoptable
from link_peer_cli.consent.entries import TagEdit, adding, advised, entry

CHANGED = "the rule, or one it depends on, was changed or deleted since it was shown, so it is not adopted: run the command again"


class Mark(msgspec.Struct, frozen=True):
    """A rule as it was read, and the description that makes it ours. `is_ours`: it is ours already."""

    rule: Rule
    description: str
    is_ours: bool = False


class Adoption(msgspec.Struct, frozen=True):
    """What would be done: tags of each group (consent, and the managed tag), then a marker on each rule. `verdict` is
    the link's, judged as if the groups had consented."""

    link: Link
    marks: tuple[Mark, ...]
    consent: tuple[tuple[Party, TagEdit], ...]
    managed: tuple[tuple[Party, tuple[str, ...]], ...]
    verdict: Verdict

    @property
    def due(self) -> list[Mark]:
        """The rules that are still a person's."""
        return [mark for mark in self.marks if not mark.is_ours]


def judge(
    snapshot: Snapshot, policy: Policy, region: str, rule: Rule, link: Link, claim: Claim, now: float
) -> Adoption | frozenset[Question]:
    """What adopting the rule would do, or what must be read first to tell. Raises NotAdoptable, or LinkDenied where the
    link may not exist.

    The rules of both ends' groups, and of all other groups of the instances that are reached, were read.
    """
    if rule not in snapshot.rules[rule.group]:
        raise NotAdoptable(CHANGED)
    if policy.paused is not Pause.NONE:
        raise LinkDenied(PAUSED)
    context, claims = Context(policy, region, now), frozenset({claim})
    verdict = evaluate(snapshot, context, link, claims)
    consent: tuple[tuple[Party, TagEdit], ...] = ()
    if verdict.denial and verdict.denial.lacks_consent:
        consent = _consent(snapshot, policy, verdict.denial, claim.until)
        groups = dict(snapshot.groups)
        for group, edit in consent:
            tags = {key: value for key, value in groups[group].tags.items() if key not in edit.drop}
            groups[group] = msgspec.structs.replace(groups[group], tags={**tags, **edit.put})
        verdict = evaluate(msgspec.structs.replace(snapshot, groups=groups), context, link, claims)
    if verdict.open_questions:
        return frozenset(verdict.open_questions)
    if verdict.denial:
        raise LinkDenied(verdict.denial)
    if rule.key not in {need.key for need in verdict.needs}:
        raise NotAdoptable(
            f"{rule.id} is on {rule.group}, and link-peer writes this link on {verdict.needs[0].key.group}, the first group of the "
            "instance that takes rules: request the link, then delete the rule"
        )
    marks = tuple(_mark(snapshot, policy, region, rule, need, claim) for need in verdict.needs)
    for mark in marks:
        if not mark.is_ours:
            _keeps_its_rank(snapshot, mark.rule)
    managed = {
        group: missing
        for group, keys in managed_tags(policy, marks).items()
        if (missing := tuple(key for key in keys if snapshot.groups[group].tags.get(key) != "true"))
    }
    return Adoption(link, marks, consent, tuple(managed.items()), verdict)


def is_ours(rule: Rule, policy: Policy, region: str) -> Marker | None:
    """The marker of a rule of link-peer."""
    return markers.owned(rule, policy.deployment, region, policy.home)


def person_made(rule: Rule, policy: Policy, region: str) -> None:
    """Raises NotAdoptable for a rule of another deployment. One with a damaged marker of ours counts as a person's."""
    marker = markers.parse(rule.description)
    if marker is not None and not markers.damaged(rule, policy.deployment, region, policy.home):
        raise NotAdoptable(
            f"{rule.id} belongs to the deployment {marker.deployment} of link-peer, of account {marker.home}: unlink it there"
        )


def _consent(
    snapshot: Snapshot, policy: Policy, denial: Denial, until: int | None
) -> tuple[tuple[Party, TagEdit], ...]:
    """The entries that a denial advises on the groups' tags, each with the end of what asks for the link."""
    edits = []
    for group, text, is_egress in advised(denial.advice, policy.home):
        accept = msgspec.structs.replace(entry(text, group.account, "entry"), until=until)
        tags = snapshot.groups[group].tags
        edits.append((group, adding(tags, group.account, [accept], policy.keys, egress=is_egress)))
    return tuple(edits)


def _mark(snapshot: Snapshot, policy: Policy, region: str, rule: Rule, need: Need, claim: Claim) -> Mark:
    """The one rule that a link needs here, and what its description becomes."""
    matching_rules = [
        candidate
        for candidate in snapshot.rules.get(need.key.group, ())
        if candidate.key == need.key and candidate.policy == "accept"
    ]
    ours = [candidate for candidate in matching_rules if is_ours(candidate, policy, region)]
    theirs = [candidate for candidate in matching_rules if candidate not in ours]
    if ours and not theirs:
        return Mark(ours[0], ours[0].description, is_ours=True)
    if not theirs and need.key.is_egress:
        raise NotAdoptable(
            f"{rule.id} is one end of the link, and {need.key.group}, an advanced group, lets nothing out to {need.key.dest}: ask for "
            "the link instead, which opens both ends, then delete the rule"
        )
    if not theirs:  # only of a mutual link: the rule itself is there
        traffic = f"{need.key.source} to {need.key.dest}" if need.key.dest else str(rule.group)
        raise NotAdoptable(
            f"{rule.id} opens all traffic one way, and a link without ports opens both: narrow the rule to ports, or allow all traffic "
            f"from {traffic} on {need.key.group}, too"
        )
    for foreign_rule in theirs:
        person_made(foreign_rule, policy, region)
    if len(matching_rules) > 1:
        double = next(candidate for candidate in theirs if candidate.id != rule.id or ours)
        keeps = next(candidate.id for candidate in (*ours, rule, *theirs) if candidate.id != double.id)
        raise NotAdoptable(
            f"{double.id} and {keeps} on {need.key.group} are the same rule but for priority and description: delete one, "
            f"aliyun ecs RevokeSecurityGroup --RegionId {region} --SecurityGroupId {need.key.group.id} "
            f"--SecurityGroupRuleId.1 {double.id}"
        )
    marker = Marker(
        policy.home, policy.deployment, need.key.id(policy.home, policy.deployment, region), (claim,), need.ends
    )
    return Mark(theirs[0], markers.render(marker))


def _keeps_its_rank(snapshot: Snapshot, rule: Rule) -> None:
    """Raises NotAdoptable where a drop rule would come before the rule once it has our priority, and does not now."""
    if rule.priority >= PRIORITY or rule.key is None:
        return
    groups = Scene(snapshot).groups(rule.group)
    for group_rule in (group_rule for group in sorted(groups) for group_rule in snapshot.rules.get(group, ())):
        traffic = group_rule.traffic
        if group_rule.policy != "drop" or traffic is None or traffic.direction != "ingress":
            continue
        port = traffic.port or ALL  # a port list may name any
        common = ALL in (port, rule.key.port) or port.overlaps(rule.key.port)
        if common and group_rule.priority > rule.priority:
            raise NotAdoptable(
                f"{rule.id} has priority {rule.priority}, and rules of link-peer have {PRIORITY}: {group_rule.id} on {group_rule.group}, "
                f"which drops at {group_rule.priority}, would then come first: delete or narrow that one"
            )


def managed_tags(policy: Policy, marks: Iterable[Mark]) -> dict[Party, tuple[str, ...]]:
    """The keys of the tags by which a sweep finds these rules, by group."""
    return {
        mark.rule.group: policy.keys.of_group(instances=bool(mark.rule.key and mark.rule.key.by_address))
        for mark in marks
    }


def losses_text(marks: Iterable[Mark]) -> str:
    """What the rules lose, for the records."""
    losses = []
    for mark in marks:
        rule = mark.rule
        was = f"described as {rule.description!r}" if rule.description else "without a description"
        losses += [] if mark.is_ours else [f"{rule.id}, priority {rule.priority}, {was}"]
    return f"adopted: a person's rule {'; '.join(losses)}" if losses else "adopted"
