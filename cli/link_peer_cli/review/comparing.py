"""What another policy would open and close: a sweep of each, supposed on the same cloud, and the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from link_peer.app.dispatch import run_sweep
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Listing
from link_peer.engine.scopes.everything import Sweep
from link_peer.planning import policy_tests
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.review.cloud import ShownRules
from link_peer_cli.review.delivery import suppose
from link_peer_cli.review.edits import GroupChange, RuleEdit, gaps_of, with_instances
from link_peer_cli.ui.progress import Count


class Compared(msgspec.Struct, frozen=True):
    """`groups` with the rules that the new policy opens `+` and closes `-`, and the records of both sweeps, those of the new
    policy last. `due` is how many rules are due to change under the present policy, too. `cautions` are what the difference
    does not show; `gaps` say why an account could not be read. `failing` are the new policy's tests that it contradicts."""

    groups: Sequence[GroupChange]
    records: Sequence[Record]
    due: int
    cautions: Sequence[str]
    gaps: Mapping[str, str]
    failing: Sequence[str]


class _Supposed(msgspec.Struct, frozen=True):
    delivery: Delivery
    edits: frozenset[tuple[str, RuleKey]]
    records: list[Record]
    gaps: dict[str, str]
    listings: Mapping[str, Listing]


def compare(env: Environment, new: Policy, progress: Count = lambda _what, _done, _all: None) -> Compared:
    """Suppose a sweep under the environment's policy and one under `new`.

    Raises BadInput if `new` names another home account, since nothing that stands would be its own.
    """
    if new.home != env.policy.home:
        raise BadInput("--policy", f"its home account is {new.home}, and that of the policy in use {env.policy.home}")
    shown: dict[str, ShownRules] = {}
    before = _suppose(env, shown, progress)
    after = _suppose(msgspec.structs.replace(env, policy=new), shown, progress)
    groups = with_instances(after.delivery, _difference(before.edits, after.edits), after.listings)
    failing = [str(found) for found in policy_tests.judge(new, env.clock.now()) if found.failed]
    cautions = list(_cautions(env.policy, new))
    due = sum(1 for edit in before.edits if edit in after.edits)
    return Compared(groups, [*before.records, *after.records], due, cautions, {**before.gaps, **after.gaps}, failing)


def _suppose(env: Environment, shown: dict[str, ShownRules], progress: Count) -> _Supposed:
    delivery, cloud, kept = suppose(env, "plan", shown)
    sweep = Sweep(delivery, "plan", progress=progress)
    run_sweep(sweep)
    edits = frozenset((edit.sign, edit.key) for change in cloud.changed_groups() for edit in change.edits)
    return _Supposed(delivery, edits, kept.records, gaps_of(sweep), sweep.store.snapshot().listings)


def _difference(before: frozenset[tuple[str, RuleKey]], after: frozenset[tuple[str, RuleKey]]) -> list[GroupChange]:
    """What one policy adds and the other does not is opened; so is what one removes and the other keeps."""
    only_after, only_before = after - before, before - after
    edits = {RuleEdit(sign, key) for sign, key in only_after if sign in "+-"}
    edits |= {RuleEdit("-" if sign == "+" else "+", key) for sign, key in only_before if sign in "+-"}
    by_group: dict[Party, list[RuleEdit]] = {}
    for edit in sorted(edits, key=lambda edit: (edit.key, edit.sign)):
        by_group.setdefault(edit.key.group, []).append(edit)
    return [GroupChange(group, tuple(found)) for group, found in by_group.items()]


def _cautions(old: Policy, new: Policy) -> Iterator[str]:
    if old.deployment != new.deployment:
        yield (
            f"the deployment is renamed from {old.deployment} to {new.deployment}: the rules of {old.deployment} stay, and "
            "no function looks after them"
        )
    for name in sorted(name for name, party in old.names.items() if new.names.get(name, party) != party):
        yield f"the name {name} is {new.names[name]} in it, and was {old.names[name]}: tags that give it mean another party"
    for uid in sorted(old.accounts.keys() - new.accounts.keys()):
        yield f"account {uid} is not in it: rules on its own groups stay; run `link-peer account remove {uid}` first"
