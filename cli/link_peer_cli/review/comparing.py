"""What another policy would open and close: a sweep of each, supposed on the same cloud, and the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from link_peer.app.sweeps import run_sweep
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.engine.scopes.everything import Sweep
from link_peer.planning import policy_tests
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.changes import ReachChange
from link_peer_cli.review.cloud import ShownRules, WhatIf
from link_peer_cli.review.delivery import SupposedSweep, suppose
from link_peer_cli.review.edits import GroupChange, RuleEdit, gaps_of, members_of
from link_peer_cli.review.reachable import changed_reach
from link_peer_cli.ui.progress import Count


class Compared(msgspec.Struct, frozen=True):
    """`groups` with the rules that the new policy opens `+` and closes `-`, what instances gain and lose by that (`reach`), and
    the records of both sweeps, those of the new policy last. `due` is how many rules are due to change under the present policy, too. `gaps` say why an account could not be read. `failing` are the new policy's tests that it contradicts."""

    groups: Sequence[GroupChange]
    reach: Sequence[ReachChange]
    records: Sequence[Record]
    due: int
    gaps: Mapping[str, str]
    failing: Sequence[str]


class _Supposed(msgspec.Struct, frozen=True):
    sweep: Sweep
    cloud: WhatIf
    edits: frozenset[tuple[str, RuleKey]]
    records: list[Record]
    gaps: dict[str, str]


def compare(env: Environment, new: Policy, progress: Count = lambda _what, _done, _all: None) -> Compared:
    """Suppose a sweep under the environment's policy and one under `new`.

    Raises BadInput if `new` names another home account, since nothing that stands would be its own.
    """
    if new.home != env.policy.home:
        raise BadInput("--policy", f"its home account is {new.home}, and that of the policy in use {env.policy.home}")
    shown: dict[str, ShownRules] = {}
    before = _suppose(env, shown, progress)
    after = _suppose(msgspec.structs.replace(env, policy=new), shown, progress)
    sweep = max((after.sweep, before.sweep), key=lambda one: len(one.policy.accounts))  # which has read more
    groups = members_of(sweep.store.snapshot(), _difference(before.edits, after.edits))
    reach = changed_reach(sweep, before.cloud, after.cloud)
    failing = [str(found) for found in policy_tests.judge(new, env.clock.now()) if found.failed]
    due = sum(1 for edit in before.edits if edit in after.edits)
    return Compared(groups, reach, [*before.records, *after.records], due, {**before.gaps, **after.gaps}, failing)


def _suppose(env: Environment, shown: dict[str, ShownRules], progress: Count) -> _Supposed:
    delivery, cloud, kept = suppose(env, "plan", shown)
    sweep = SupposedSweep(delivery, "plan", progress=progress, keep=lambda _one: True)
    run_sweep(sweep)
    edits = frozenset((edit.sign, edit.key) for change in cloud.changed_groups() for edit in change.edits)
    return _Supposed(sweep, cloud, edits, kept.records, gaps_of(sweep))


def _difference(before: frozenset[tuple[str, RuleKey]], after: frozenset[tuple[str, RuleKey]]) -> list[GroupChange]:
    """What one policy adds and the other does not is opened; so is what one removes and the other keeps."""
    only_after, only_before = after - before, before - after
    edits = {RuleEdit(sign, key) for sign, key in only_after if sign in "+-"}
    edits |= {RuleEdit("-" if sign == "+" else "+", key) for sign, key in only_before if sign in "+-"}
    by_group: dict[Party, list[RuleEdit]] = {}
    for edit in sorted(edits, key=lambda edit: (edit.key, edit.sign)):
        by_group.setdefault(edit.key.group, []).append(edit)
    return [GroupChange(group, tuple(found)) for group, found in by_group.items()]
