"""The ECS of `link-peer apply`: it makes the changes that were reviewed, and refuses every other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from link_peer.domain.denials import LinkDenied, not_reviewed
from link_peer.domain.errors import CloudError
from link_peer.domain.model import Rule, RuleKey
from link_peer.runtime.ports import Cloud, Ecs

from link_peer_cli.review.cloud import Reads
from link_peer_cli.review.writes import Place, Write, place_of

NOT_REVIEWED = "NotReviewed"
"""The code of a refused change of tags: for the engine, a call that the cloud refuses for good."""


class Reviewed:
    """A `Cloud` that lets through the changes in `writes` and what takes them back: the removal of a rule that was
    added through it, and the Description that a changed rule had before. Tags of `ours` may be put on the groups in
    `writes`, so that a rule is always found again. `progress` is called after each call that changed something."""

    def __init__(
        self, cloud: Cloud, writes: Iterable[Write], ours: Iterable[str], progress: Callable[[], None]
    ) -> None:
        self._cloud = cloud
        self._writes = list(writes)
        self._ours = frozenset(ours)
        self._progress = progress
        self._clients: dict[str, _ReviewedEcs] = {}
        self.calls: Counter[str] = cloud.calls

    def ecs(self, account: str) -> Ecs:
        """The ECS of an account."""
        if account not in self._clients:
            writes = [write for write in self._writes if write.account == account]
            self._clients[account] = _ReviewedEcs(self._cloud.ecs(account), writes, self._ours, self._progress)
        return cast(Ecs, self._clients[account])


class _ReviewedEcs(Reads):
    def __init__(self, real: Ecs, writes: Sequence[Write], ours: frozenset[str], progress: Callable[[], None]) -> None:
        super().__init__(real)
        self._writes = writes
        self._ours = ours
        self._progress = progress
        self._rules: dict[tuple[str, str], Rule] = {}  # by group and id, as read last
        self._added: set[tuple[str, Place]] = set()  # that were sent, whether or not an answer came
        self._tagged: set[str] = set()

    def rules(self, group: str) -> list[Rule]:
        rules = self._real.rules(group)
        self._rules |= {(group, rule.id): rule for rule in rules}
        return rules

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        for key, description in rules:
            addition = ("authorize", group, place_of(key), description)
            if addition not in {(write.action, write.group, write.place, write.description) for write in self._writes}:
                raise LinkDenied(not_reviewed(group))
        self._added |= {(group, place_of(key)) for key, _ in rules}
        return self._sent(self._real.authorize(group, rules, advanced=advanced))

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        rule = self._rules.get((group, rule_id))
        for write in self._about(group, rule):
            steps = {(write.before, write.description), (write.description, write.before)}  # there, and back
            if write.action == "modify" and rule and (rule.description, description) in steps:
                return self._sent(self._real.modify(group, rule_id, description, egress=egress))
        raise LinkDenied(not_reviewed(group))

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        for rule_id in rule_ids:
            rule = self._rules.get((group, rule_id))
            # of a rule that the plan adds, the last step or the way back
            steps = {
                write.before if write.rule else write.description for write in self._about(group, rule) if _ends(write)
            }
            if rule is None or rule.description not in steps:
                raise LinkDenied(not_reviewed(group))
        return self._sent(self._real.revoke(group, rule_ids, egress=egress))

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        if not (set(keys) <= self._ours and set(groups) <= {write.group for write in self._writes}):
            raise CloudError(NOT_REVIEWED, not_reviewed(" ".join(groups)).detail)
        self._tagged |= set(groups)
        return self._sent(self._real.tag(groups, keys))

    def untag(self, group: str, keys: Sequence[str]) -> str:
        removed_keys = {
            key for write in self._writes if (write.action, write.group) == ("untag", group) for key in write.tags
        }
        if not set(keys) <= (self._ours if group in self._tagged else removed_keys):
            raise CloudError(NOT_REVIEWED, not_reviewed(group).detail)
        return self._sent(self._real.untag(group, keys))

    def _about(self, group: str, rule: Rule | None) -> list[Write]:
        """The reviewed changes of a rule: of its id, or, where it was added here, of the rule that the plan adds."""
        if rule is None or rule.key is None:
            return []
        place = place_of(rule.key)
        ids = {rule.id, ""} if (group, place) in self._added else {rule.id}
        return [write for write in self._writes if (write.group, write.place) == (group, place) and write.rule in ids]

    def _sent(self, request: str) -> str:
        self._progress()
        return request


def _ends(write: Write) -> bool:
    """Whether the rule may be removed because of this change: it is one, or it is of a rule that the plan adds."""
    return write.action == "revoke" or not write.rule
