"""Removes the managed tag of groups on which no rule of ours is left."""

from __future__ import annotations

from link_peer.domain import marker as markers
from link_peer.domain.errors import CloudError, Throttled, Transient
from link_peer.domain.model import Party
from link_peer.domain.policy import Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.planning.actual import actual_state, damaged_rules, owned_rules
from link_peer.planning.verdict.answers import PlanView, judge

UNTAGGED = 10  # groups in one run: three calls each, for which nothing waits


def untag_empty_groups(scope: Scope, account: str) -> list[str]:
    """Removes the tag of groups of an account where it is no longer needed, after another read, and returns the
    RequestIds. The intent is recorded first; the sweep's summary counts the rest, since no link changes.

    Another delivery may write a rule between that read and the change. It looks for the tag after writing, and here the
    rules are read after the tag is removed: one of the two sees the other's change, and the tag is set again. A group
    with a damaged marker keeps the tag, so that every sweep reports it.
    """
    snapshot, policy, region = scope.store.snapshot(), scope.policy, scope.delivery.region
    holding = {rule.group for rule, _ in owned_rules(snapshot, policy, region)}
    holding |= {rule.group for rule in damaged_rules(snapshot, policy, region)}
    tag = policy.keys.managed
    requests: list[str] = []
    # also groups that were tagged in this run, for a rule which was then refused
    account_groups = (group for party, group in snapshot.groups.items() if party.account == account)
    tagged = sorted(group.party for group in account_groups if group.tags.get(tag) == "true")
    empty = [group for group in tagged if group in snapshot.rules and group not in holding]
    opening = policy.paused is Pause.NONE
    waiting = _waiting_for_a_rule(scope, snapshot) if empty and opening else ()
    untagged_count = 0
    for group in (group for group in empty if group not in waiting):
        late = scope.delivery.out_of_time() or untagged_count >= UNTAGGED
        if policy.paused is not Pause.ALL and not late and not scope.work.tags.were_refused(group):
            untagged_count += 1
            requests += _untag(scope, group)
    return requests


def _waiting_for_a_rule(scope: Scope, snapshot: Snapshot) -> set[Party]:
    """Groups that should hold a rule and do not, since it is refused each time: their tag is kept, so that it does not
    come and go."""
    existing = {rule.key for rules in snapshot.rules.values() for rule in rules if rule.policy == "accept"}
    actual = actual_state(snapshot, scope.policy, scope.delivery.region)
    judged = judge(
        PlanView(snapshot, scope.context, actual), (desired for desired in scope.desired(snapshot) if desired.opens)
    )
    granted = (answer.verdict for answer in judged.answers if answer.verdict and not answer.denial)
    return {need.key.group for verdict in granted for need in verdict.needs if need.key not in existing}


def _untag(scope: Scope, group: Party) -> list[str]:
    """Removes the tags of one group, unless it holds a rule now; the RequestIds of what was changed."""
    try:
        return [] if _holds_rules(scope, group) else _remove(scope, group)
    except Throttled:
        return []  # the next run does
    except (Transient, CloudError) as error:
        scope.store.note_trouble(group.account, error)
        return []


def _remove(scope: Scope, group: Party) -> list[str]:
    ecs, tags = scope.fetch.ecs(group.account), scope.policy.keys.of_group(instances=True)
    if ecs is None:
        return []
    intent = {
        "record": "intent",
        "action": "repair",
        "from_account": group.account,
        "from": group.id,
        "detail": "no rule of ours is left, so the tag by which the sweep finds the group is removed",
    }
    scope.audit.write([intent])
    requests: list[str] = []
    try:
        requests.append(ecs.untag(group.id, tags))
        if _was_taken(scope, group):  # another delivery has written a rule meanwhile
            requests.append(ecs.tag([group.id], tags))
    except CloudError as error:  # no reason to say that the account refuses access
        scope.work.tags.note_refused(group, error)
        requests.append(error.request_id)
    return requests


def _was_taken(scope: Scope, group: Party) -> bool:
    try:
        return _holds_rules(scope, group)
    except (Transient, CloudError):
        return True  # a read that fails does not prove that the group is empty


def _holds_rules(scope: Scope, group: Party) -> bool:
    """Whether the group holds a rule of ours, read now."""
    policy = scope.policy
    rules = scope.fetch.refresh_rules(group)
    return any(markers.owned(rule, policy.deployment, scope.delivery.region, policy.home) for rule in rules)
