"""What another policy would open and close: a sweep of each, supposed on the same cloud, and the difference."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.app.sweeps import run_sweep
from link_peer.domain.errors import BadInput
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Party, RuleKey, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.engine.scopes.sweep import Run
from link_peer.planning.sweep import next_sweep
from link_peer.runtime.ports import Record
from link_peer.views import policy_tests
from link_peer.views.reach import Scene
from link_peer.views.reachable import Reached, differing, reachable
from link_peer.views.standing import standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.changes import ReachChange
from link_peer_cli.inventory.reading import View
from link_peer_cli.review.cloud import ShownRules, WhatIf
from link_peer_cli.review.delivery import suppose
from link_peer_cli.review.edits import GroupChange, RuleEdit, gaps_of, members_of
from link_peer_cli.ui.console import number
from link_peer_cli.ui.markdown import Section, row
from link_peer_cli.ui.progress import Count


class Compared(msgspec.Struct, frozen=True):
    """What another policy would change."""

    groups: Sequence[GroupChange]  # with the rules that the new policy opens `+` and closes `-`
    reach: Sequence[ReachChange]  # what instances gain and lose by that
    records: Sequence[Record]  # of both sweeps, those of the new policy last
    problems: list[str]  # tests of the new policy that it contradicts, and why an account could not be read
    notes: list[str]  # how many rules are due to change under the present policy, too
    stranded: list[str]  # links that stand in an account which the new policy does not list
    other_groups: Sequence[Party]  # those whose rules the sweeps did not read; `view` reads them
    view: View

    def elsewhere(self, env: Environment, new: Policy, progress: Count) -> list[GroupChange]:
        """What the new policy closes besides, on the other groups, which have lost the managed tag."""
        self.view.read_others(progress)
        if not self.view.has_rules_of_ours(self.other_groups):
            return []
        snapshot, chosen_groups = self.view.scene.snapshot, set(self.other_groups)
        closing = [
            {
                ("-", edit.key)
                for decision in next_sweep(snapshot, policy, env.settings.region, env.now).decisions
                for edit in decision.edits
                if edit.kind == "remove" and edit.key.group in chosen_groups
            }
            for policy in (env.policy, new)
        ]
        return members_of(snapshot, _difference(frozenset(closing[0]), frozenset(closing[1])))


class _Supposed(msgspec.Struct, frozen=True):
    swept: SweptAccounts
    cloud: WhatIf
    edits: frozenset[tuple[str, RuleKey]]
    records: list[Record]
    gaps: dict[str, str]


def compare(env: Environment, new: Policy, progress: Count, *, tagged: bool = False) -> Compared:
    """Suppose a sweep under the environment's policy and one under `new`. The `view` of what they read is of what is
    `tagged`, or not.

    Raises BadInput if `new` names another home account, since nothing that stands would be its own.
    """
    if new.home != env.policy.home:
        raise BadInput("--policy", f"its home account is {new.home}, and that of the policy in use {env.policy.home}")
    caches: dict[str, ShownRules] = {}
    before = _suppose(env, caches, progress)
    after = _suppose(msgspec.structs.replace(env, policy=new), caches, progress)
    swept = max((after.swept, before.swept), key=lambda run: len(run.sweeps))  # which has read more
    groups = members_of(swept.snapshot, _difference(before.edits, after.edits))
    reach = changed_reach(swept, before.cloud, after.cloud)
    failing = [
        f"a test of the policy fails: {finding}" for finding in policy_tests.judge(new, env.now) if finding.failed
    ]
    unread = [f"{gap} could not be read: {reason}" for gap, reason in {**before.gaps, **after.gaps}.items()]
    count = len(before.edits & after.edits)
    due = "1 more change is" if count == 1 else f"{count} more changes are"
    view = View(swept.fetch, env.policy, tagged=tagged)
    other_groups = view.unread_groups
    notes = [f"{due} due under the present policy, too: link-peer sweep --dry-run"] if count else []
    stranded = _stranded(env, new, before, View(before.swept.fetch, env.policy, tagged=tagged))
    records = [*before.records, *after.records]
    return Compared(groups, reach, records, [*failing, *unread], notes, stranded, other_groups, view)


def _stranded(env: Environment, new: Policy, before: _Supposed, view: View) -> list[str]:
    """A sentence for each account that the new policy no longer lists, and where links stand: no sweep enters it any
    more."""
    unlisted = sorted(env.policy.accounts.keys() - new.accounts.keys())
    if not unlisted:
        return []
    view.read_others()
    snapshot = view.scene.snapshot
    snapshot = msgspec.structs.replace(snapshot, rules={**snapshot.rules, **before.cloud.rules(before=True)})
    links = standing(snapshot, env.policy, env.settings.region, env.now)
    sentences = []
    for account in unlisted:
        names = [
            f"{link.source} to {link.target} {link.ports_text}"
            for link in links
            if any(rule.group.account == account for rule in link.rules)
        ]
        if names:
            link_text = "; ".join([*names[:MOST], *([f"and {len(names) - MOST} more"] if len(names) > MOST else [])])
            sentences.append(
                f"account {account} is no longer listed, and the functions would not enter it: its rules of "
                f"{number(len(names), 'link')} would stay: {link_text}. Close them first: link-peer account remove {account} --yes"
            )
    return sentences


def _suppose(env: Environment, caches: dict[str, ShownRules], progress: Count) -> _Supposed:
    delivery, cloud, recorder = suppose(env, "plan", caches)
    run = Run(delivery, "plan", keep=lambda _instance: True, progress=progress)
    swept = run_sweep(run, recorded=False)
    edits = frozenset((edit.sign, edit.key) for change in cloud.changed_groups() for edit in change.edits)
    return _Supposed(swept, cloud, edits, recorder.records, gaps_of(swept))


def _difference(before: frozenset[tuple[str, RuleKey]], after: frozenset[tuple[str, RuleKey]]) -> list[GroupChange]:
    """What one policy adds and the other does not is opened; so is what one removes and the other keeps."""
    only_after, only_before = after - before, before - after
    edits = {RuleEdit(sign, key) for sign, key in only_after if sign in "+-"}
    edits |= {RuleEdit("-" if sign == "+" else "+", key) for sign, key in only_before if sign in "+-"}
    by_group = grouped((edit.key.group, edit) for edit in sorted(edits, key=lambda edit: (edit.key, edit.sign)))
    return [GroupChange(group, tuple(group_edits)) for group, group_edits in by_group.items()]


MOST = 10
"""Gains, and losses, that text shows."""


def changed_reach(swept: SweptAccounts, before: WhatIf, after: WhatIf) -> list[ReachChange]:
    """What instances gain and lose between the rules that two dry runs leave. The sweep has read every instance, and
    reads what else decides."""
    view = View(swept.fetch, swept.delivery.policy)

    def states() -> list[Snapshot]:
        snapshot = view.scene.snapshot
        return [
            msgspec.structs.replace(snapshot, rules={**snapshot.rules, **cloud.rules()}) for cloud in (before, after)
        ]

    view.deciding([(change.source, change.target) for _, change in differing(*states())])
    scene = view.scene
    return [_answer(scene, change) for change in reachable(*states())]


def _answer(scene: Scene, change: Reached) -> ReachChange:
    verb = "gain" if change.sign == "+" else "lose"
    verb = f"may {verb}" if not change.sure else f"{verb}s" if change.sources == 1 else verb
    ports = "all ports" if change.ports == (ALL,) else ports_text(change.ports)
    text = (
        f"{_side(scene, change.source, change.sources)} {verb} {ports} to {_side(scene, change.target, change.targets)}"
    )
    text += " (not all of them could be read)" if change.pairs is None else ""
    ends = str(change.source), str(change.target), ports_text(change.ports)
    return ReachChange(change.sign, change.sure, *ends, change.sources, change.targets, change.pairs, text)


def _side(scene: Scene, party: Party, count: int | None) -> str:
    """`12 instances of sg-app@<uid> (orders)`; an instance by itself, unless others have its address, too."""
    if not party.is_group and count in (None, 1):
        return scene.titled(party)
    instances = "instances" if count is None else number(count, "instance")
    return f"{instances} {'of' if party.is_group else 'with the address of'} {scene.titled(party)}"


def reach_lines(changes: Sequence[ReachChange]) -> list[tuple[str, str]]:
    """The largest gains and losses, each with its sign, and how many there are besides."""
    chosen: list[tuple[str, str]] = []
    for sign in "+-":
        lines = [(sign, change.text) for change in changes if change.sign == sign]
        chosen += lines[:MOST]
        if len(lines) > MOST:
            chosen.append((sign, f"and {len(lines) - MOST:,} smaller ones"))
    return chosen


def reach_section(changes: Sequence[ReachChange]) -> Section:
    """All of it in Markdown."""
    rows = [row(change.sign, change.text) for change in changes]
    return Section(
        "gains and losses of instances", rows, ("", "| | who reaches what, as the cloud is now |", "|---|---|")
    )
