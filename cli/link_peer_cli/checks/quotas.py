"""How full the groups are. Pure; the numbers come with the groups, so nothing more is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from link_peer.domain.denials import group_full
from link_peer.domain.model import Group, Instance
from link_peer.domain.platform_limits import GROUP_RULES, GROUP_SOURCES
from link_peer.planning.room import in_doubt

from link_peer_cli.checks.finding import MISSING, OK, WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen

NEARLY_FULL = 4  # warn if a group has room for this many or fewer rules with a group as source
NEARLY_ALL = 10  # rules that a group may still have by the lower of two documents
NEARLY_ALL_RULES = 900
FULLEST = 3  # groups that are named where nothing is wrong


def check(view: CloudSeen, account: str = "") -> Iterator[CheckFinding]:
    """A finding for each group or instance that is full, or nearly, and one that names the fullest groups. With
    `account`, only of that account."""
    snapshot = view.scene.snapshot
    groups = [group for party, group in sorted(snapshot.groups.items()) if account in ("", party.account)]
    instances = [instance for party, instance in sorted(snapshot.instances.items()) if account in ("", party.account)]
    yield from _sources(view, groups)
    yield from _rules(view, instances)
    if fullest := list(_fullest(view, groups)):
        yield CheckFinding(OK, account, "quota: the fullest groups", ", ".join(fullest))


def _sources(view: CloudSeen, groups: Iterable[Group]) -> Iterator[CheckFinding]:
    """Groups with many rules, and with many rules that name a group. What only one document refuses is a warning."""
    most_sources = GROUP_SOURCES.high
    for group in groups:
        rules = view.scene.snapshot.rules.get(group.party, ())
        sources = {rule.key.source for rule in rules if rule.key and rule.key.source.startswith("sg-")}
        doubts = in_doubt(_count(view, group), group.group_rules, (NEARLY_ALL, NEARLY_FULL + 1))
        full = group_full(group.party, len(sources), most_sources) if len(sources) >= most_sources else None
        subject = (group.party.account, f"quota of {group.party}")
        if full:
            yield CheckFinding(MISSING, *subject, full.detail, full.advice)
        elif doubts:
            yield CheckFinding(WARNING, *subject, "; ".join(doubts))


def _rules(view: CloudSeen, instances: Iterable[Instance]) -> Iterator[CheckFinding]:
    for instance in instances:
        counts = {group.party.id: _count(view, group) for group in view.scene.snapshot.groups_of(instance)}
        count = sum(counts.values())
        if count > NEARLY_ALL_RULES:
            state = MISSING if count >= GROUP_RULES.high else WARNING
            rule_counts = ", ".join(f"{group_id} {rule_count}" for group_id, rule_count in counts.items())
            detail = f"{count} of {GROUP_RULES.high} rules in its groups: {rule_counts}"
            advice = "remove rules of these groups, or take the instance out of one"
            yield CheckFinding(state, instance.party.account, f"quota of {instance.party}", detail, advice)


def _count(view: CloudSeen, group: Group) -> int:
    """The rules that a group has, as they were read, or at least as many as it shows: nothing documents that RuleCount
    counts those of both directions, nor that every answer has it."""
    return max(group.rule_count, len(view.scene.snapshot.rules.get(group.party, ())))


def _fullest(view: CloudSeen, groups: Sequence[Group]) -> Iterator[str]:
    """The groups with the most rules that name a group, and the one with the most rules."""
    by_sources = sorted(groups, key=lambda group: (-group.group_rules, group.party))
    for group in by_sources[:FULLEST]:
        if group.group_rules:
            yield f"{group.party} {group.group_rules} of {GROUP_SOURCES.high} with a group as source"
    count, most = max(((_count(view, group), group.party) for group in groups), default=(0, None))
    if count:
        yield f"{most} {count} of {GROUP_RULES.high} rules"
