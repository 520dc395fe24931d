"""What the checks judge: what a sweep that changes nothing has read; and what it would deny, or not touch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence, Set

import msgspec
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.planning.actual import owned_rules, renamed_rules
from link_peer.runtime.ports import Record
from link_peer.views.reach import Scene
from link_peer.views.standing import Going, Standing, standing

from link_peer_cli.audit.story import ends_of
from link_peer_cli.checks.finding import MISSING, WARNING, CheckFinding, few
from link_peer_cli.review.cloud import WhatIf


class CloudSeen(msgspec.Struct, frozen=True, dict=True):
    """What doctor has read of the cloud."""

    policy: Policy
    scene: Scene
    region: str
    now: float
    links: Sequence[Standing]  # those that stand, in whichever groups
    # read completely, with keys that belong there: what these do not show does not exist
    accounts: Set[str] = frozenset()

    @functools.cached_property
    def renamed(self) -> list[Standing]:
        """Those of this home under another deployment's name."""
        read = (self.scene.snapshot, self.policy, self.region)
        return standing(*read, self.now, renamed_rules(*read))

    @functools.cached_property
    def linked_groups(self) -> frozenset[Party]:
        """The groups that links open or name; of links between instances, the groups that those are in."""
        groups = {rule.group for link in self.links for rule in link.rules}
        for link in self.links:
            for party in (link.source, link.target):
                groups |= (
                    {party}
                    if party.is_group
                    else {g for member in self.scene.members(party) for g in member.own_groups}
                )
        return frozenset(groups)


def is_whole(swept: SweptAccounts, snapshot: Snapshot) -> bool:
    """Whether the sweep that is supposed has judged all rules of ours that were read. It leaves groups that have lost
    our tag to later runs, and what it had no time for."""
    holders = {rule.group for rule, _ in owned_rules(snapshot, swept.delivery.policy, swept.delivery.region)}
    return not (holders - swept.managed or swept.unread or swept.fetch.postponed)


def removals(swept: SweptAccounts, cloud: WhatIf) -> Going:
    """Why rules go, of those that the sweep that is supposed removes."""
    # one may be written anew for another instance
    remaining_keys = {rule.key for rules in cloud.rules().values() for rule in rules}
    return {
        (edit.rule.group, edit.rule.id): decision.denial.detail
        for decision in swept.decisions
        for edit in decision.edits
        if edit.kind == "remove" and edit.rule and edit.rule.key not in remaining_keys
    }


def denied(records: Iterable[Record]) -> Iterator[CheckFinding]:
    """One finding for each link, in the account that must act."""
    for record in records:
        if record["outcome"] in ("denied", "failed") and record.get("to"):
            where = record.get("to_account") or record.get("from_account", "")
            subject = " to ".join(map(str, ends_of(record)))
            detail = f"{record['reason']}: {record.get('detail', '')}"
            yield CheckFinding(MISSING, where, subject, detail, record.get("advice", ""))


def renamed_deployments(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each other deployment that the rules of this home name, in each account."""
    renamed = renamed_rules(view.scene.snapshot, view.policy, view.region)
    groups = grouped(((rule.group.account, marker.deployment), rule.group) for rule, marker in renamed)
    for (account, deployment), rule_groups in sorted(groups.items()):
        detail = f"{len(rule_groups)} on {few(rule_groups)}: this deployment does not close them"
        advice = f"if it is a former name of this one: link-peer close --deployment {deployment} --dry-run"
        yield CheckFinding(WARNING, account, f"rules of deployment {deployment}", detail, advice)


def damaged_markers(damaged: Iterable[Rule]) -> Iterator[CheckFinding]:
    """One finding for each such rule."""
    for rule in damaged:
        advice = f"if nobody needs rule {rule.id}, remove it; links that are still wanted are opened again"
        subject = f"marker of {rule.id} on {rule.group}"
        yield CheckFinding(WARNING, rule.group.account, subject, rule.description, advice)
