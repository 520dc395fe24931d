"""Changes one security group until it shows every edit of a decision.

A change is never trusted for its answer: an authorize that finds the rule there succeeds and adds nothing, and an
answer that got lost may belong to a change that was made. What counts is the group as it is read afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import ALREADY_GONE, LinkDenied
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Transient
from link_peer.domain.grouped import grouped
from link_peer.domain.model import PRIORITY, Claim, Marker, Party, Rule, RuleKey
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.write.tags import ecs_of
from link_peer.engine.write.work import Writes
from link_peer.planning.decision import Edit
from link_peer.planning.diff import claims_after
from link_peer.planning.verdict.holders import first_difference
from link_peer.runtime.delivery import Delivery

RULES_PER_CALL = 100
"""Permissions, or rule ids, of one call [doc AuthorizeSecurityGroup, RevokeSecurityGroup]."""

_RemovedRule = tuple[str, Edit, Marker | None]
"""The id of a rule to remove, for which edit, and its marker unless it is a copy."""

Note = Callable[[Iterable[Edit], str], object]
"""Gets the RequestId of a call, and the edits that it was made for."""


class Settler:
    """Settles groups for one delivery."""

    def __init__(self, fetch: Fetch, delivery: Delivery, writes: Writes) -> None:
        self.fetch = fetch
        self._delivery = delivery
        self._writes = writes

    def settle(
        self,
        group: Party,
        edits: Sequence[Edit],
        before_write: Callable[[Sequence[Edit]], None],
        note: Note,
        *,
        beside: Callable[[], object] = lambda: None,
        deciding_groups: Set[Party] = frozenset(),
    ) -> dict[RuleKey, Rule]:
        """Makes the edits, and returns the rules as they are then. `before_write` may raise to stop a write; `note`
        gets each call's RequestId and purpose. After an opening, the tags of the group and of the `deciding_groups` are
        read back beside its rules, since they may forbid it by now, and a sweep may have removed the managed tag.
        `beside` reads what else may be read meanwhile."""
        rules = known_rules = self._rules(group)
        kinds = {edit.kind for edit in edits}
        if "mark" in kinds or ("remove" in kinds and not self.fetch.rules_are_new(group)):
            rules = self.read(group)
        sent: set[RuleKey] = set()
        for number, attempt in enumerate(self._delivery.retry.attempts()):
            if number:
                rules = self.read_with_tags(group)
            while todo := self._unfinished(edits, rules):
                batch = _next_call([edit for edit in todo if edit.key not in sent], self.existing(rules, todo))
                if not batch:
                    is_shown = self._delivery.retry.poll(lambda: not self._unfinished(edits, self.read(group)))
                    rules = self._rules(group)
                    with attempt:
                        if not is_shown:
                            sent.clear()  # this is not lag: it was undone, or never made
                            self._raise_unshown(group, todo, known_rules, note)
                    break
                with attempt:
                    self.send(group, batch, rules, before_write, note)
                if attempt.failure:
                    note(batch, attempt.failure.request_id)
                    break
                sent |= {edit.key for edit in batch}
                rules = self.read_with_tags(group, deciding_groups, beside) if batch[0].opens else self.read(group)
        gaining = {edit.key for edit in edits if edit.gain}  # where someone else's equal rule counts as present
        return {
            key: existing_rule.rule
            for key, existing_rule in self.existing(rules, edits).items()
            if existing_rule.marker or key in gaining
        }

    def _raise_unshown(self, group: Party, edits: Sequence[Edit], known_rules: Iterable[Rule], note: Note) -> None:
        """Raises Ambiguous; LinkDenied where ECS shows the rules that were to be written as drops with our markers.
        Those that were not known before are rolled back: the Policy of an egress rule, and of a rule of an advanced
        group, is not sent."""
        delivery, keys = self._delivery, {edit.key for edit in edits if edit.gain}
        known_ids = {rule.id for rule in known_rules}
        identity = delivery.policy.deployment, delivery.region, delivery.policy.home
        drops = [rule for rule in self._rules(group) if rule.key in keys and rule.policy != "accept"]
        drops = [rule for rule in drops if markers.damaged(rule, *identity)]
        for egress, new_drops in grouped((r.is_egress, r.id) for r in drops if r.id not in known_ids).items():
            try:
                note(edits, ecs_of(self.fetch, group).revoke(group.id, new_drops, egress=egress))
            except CloudError as error:
                raise self._denied(group, error) from error
        if drops:
            self.read(group)
            raise LinkDenied(denials.written_as_drop(group, [rule.id for rule in drops if rule.id in known_ids]))
        raise Ambiguous(f"{group} does not show the change")

    def read(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they are now. Raises LinkDenied where the account refuses access."""
        try:
            return self.fetch.refresh_rules(group)
        except NoAccess as error:
            raise self._denied(group, error) from error

    def read_tags(self, groups: Iterable[Party]) -> None:
        """Reads the groups' tags again, in one call for each account. Raises LinkDenied where an account refuses
        access."""
        self.beside(*self._tag_reads(groups))

    def read_with_tags(
        self, group: Party, deciding_groups: Set[Party] = frozenset(), *beside: Callable[[], object]
    ) -> tuple[Rule, ...]:
        """The group's rules as they are now. Its tags, those of the `deciding_groups`, and whatever else is to be read
        are read at the same time. Raises as `read` does; another account that refuses access decides nothing."""
        self.beside(lambda: self.read(group), *self._tag_reads({group, *deciding_groups}, group), *beside)
        return self._rules(group)

    def _tag_reads(self, groups: Iterable[Party], holder: Party | None = None) -> list[Callable[[], None]]:
        def read(account: str, of_account: Sequence[Party]) -> None:
            try:
                self.fetch.refresh_groups(account, of_account)
            except NoAccess as error:
                if holder is None or account == holder.account:
                    raise self._denied(of_account[0], error) from error

        by_account = grouped((group.account, group) for group in sorted(groups))
        return [functools.partial(read, account, of_account) for account, of_account in by_account.items()]

    def beside(self, *calls: Callable[[], object]) -> None:
        """Makes these calls at the same time."""
        if self._delivery.supposed:  # what is written is never sent: side by side saves no time
            for call in calls:
                call()
        else:
            self.fetch.side_by_side(*calls)

    def send(
        self,
        group: Party,
        batch: Sequence[Edit],
        rules: Iterable[Rule],
        before_write: Callable[[Sequence[Edit]], None],
        note: Note,
    ) -> None:
        """Makes these edits, given the group's rules as they were just read. Raises LinkDenied or Transient."""
        try:
            before_write(batch)
            self._call(group, batch, self.existing(rules, batch), note)
        except CloudError as error:
            note(batch, error.request_id)
            if error.code not in ALREADY_GONE:
                self.read_after_refusal(group)
                raise self._denied(group, error) from error
            if len(batch) > 1:
                raise Ambiguous(f"{group}: one of its rules was removed meanwhile, and the others were not") from error

    def _call(self, group: Party, batch: Sequence[Edit], existing: Mapping[RuleKey, Existing], note: Note) -> None:
        """Sends new rules, one changed marker, or rules to remove."""
        ecs, delivery, written = ecs_of(self.fetch, group), self._delivery, self._writes
        self.fetch.changed()
        written.put |= {(edit.key, claim) for edit in batch for claim in edit.gain}
        writes: list[tuple[RuleKey, str]] = []
        removals: list[_RemovedRule] = []
        for edit in batch:
            existing_rule = existing.get(edit.key)
            if existing_rule is None:
                # If the rule disappeared meanwhile, so did its claims: an unlink may have removed them.
                marker = edit.marker(delivery.policy, delivery.region)
                marker = msgspec.structs.replace(marker, claims=tuple(sorted(claims_after(edit, ()))))
                writes.append((edit.key, markers.render(marker)))
                continue
            removals += [(rule_id, edit, None) for rule_id in existing_rule.copies]
            if existing_rule.marker is None:  # someone else's, made meanwhile
                continue
            _same_instances(edit, existing_rule.marker)
            claims = claims_after(edit, existing_rule.marker.claims)
            if not claims:
                removals.append((existing_rule.rule.id, edit, existing_rule.marker))
            elif not _reads_so(edit, existing_rule, existing_rule.marker):  # else only copies of it go
                text = _marked(edit, existing_rule.marker, claims)
                written.took(edit.key, existing_rule.marker, set(existing_rule.marker.claims) - claims)
                note(batch, ecs.modify(group.id, existing_rule.rule.id, text, egress=edit.key.is_egress))
        if writes:
            note(batch, ecs.authorize(group.id, writes, advanced=self.fetch.is_advanced(group)))
        self._revoke(group, removals, note)

    def _revoke(self, group: Party, removals: Sequence[_RemovedRule], note: Note) -> None:
        ecs = ecs_of(self.fetch, group)
        is_first = True
        for egress, part in _removal_calls(removals):
            for _, edit, marker in part:
                if marker:
                    self._writes.took(edit.key, marker, marker.claims)
            try:
                rule_ids = [rule_id for rule_id, *_ in part]
                note([edit for _, edit, _ in part], ecs.revoke(group.id, rule_ids, egress=egress))
            except Transient:
                if not is_first:  # what went by the calls before must be seen
                    self.read(group)
                raise
            is_first = False

    def read_after_refusal(self, group: Party) -> None:
        """A refused call may have been made in part. What it wrote must be seen, so that it is rolled back too."""
        self.read(group)

    def existing(self, rules: Iterable[Rule], edits: Sequence[Edit]) -> dict[RuleKey, Existing]:
        """What exists for each edit: our rule with its marker, or an equal rule of someone else's."""
        keys = {edit.key for edit in edits}
        rules_by_key: dict[RuleKey, Existing] = {}
        for rule in sorted(rules, key=lambda rule: rule.priority != PRIORITY):  # of two copies, the one at our priority
            if rule.key is None or rule.key not in keys or rule.policy != "accept":
                continue
            marker = markers.owned(
                rule, self._delivery.policy.deployment, self._delivery.region, self._delivery.policy.home
            )
            twin = rules_by_key.get(rule.key)
            if twin and twin.marker and marker:
                merged = markers.joined(twin.marker, marker)
                rules_by_key[rule.key] = msgspec.structs.replace(twin, marker=merged, copies=(*twin.copies, rule.id))
            elif twin is None or marker:
                rules_by_key[rule.key] = Existing(rule, marker, frozenset(marker.claims if marker else ()))
        return rules_by_key

    def unfinished(self, group: Party, edits: Sequence[Edit]) -> list[Edit]:
        """The edits that the group does not show as it was last read: all, where it could not be read."""
        return self._unfinished(edits, self._rules(group)) if group in self.fetch.store.rules else list(edits)

    def _unfinished(self, edits: Sequence[Edit], rules: Iterable[Rule]) -> list[Edit]:
        existing = self.existing(rules, edits)
        return [edit for edit in edits if not _is_done(edit, existing.get(edit.key))]

    def _rules(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they were last read."""
        return self.fetch.store.rules.get(group, ())

    def _denied(self, group: Party, error: CloudError) -> LinkDenied:
        """What the cloud would refuse again is the link's answer; a transient error is raised as Transient."""
        if isinstance(error, NoAccess):
            return LinkDenied(denials.no_access_to_group(group, error.code))
        return LinkDenied(denials.refused_by_ecs(group, error.code, error.message))


class Existing(msgspec.Struct, frozen=True):
    """A rule that exists."""

    rule: Rule
    marker: Marker | None  # None where the rule is not ours
    described_claims: frozenset[Claim] = frozenset()  # the claims in its own description
    copies: tuple[str, ...] = ()  # ids of copies of it that someone made, whose claims `marker` has too


def _marked(edit: Edit, marker: Marker, claims: frozenset[Claim]) -> str:
    """The description of a rule with these claims. Raises LinkDenied where they do not fit, and Ambiguous where it has
    a request of another group by now."""
    ends = marker.ends if _stands_for(edit, marker) else edit.ends
    if ends != marker.ends and any(not claim.is_tag for claim in claims - {*edit.claims}):
        raise Ambiguous(f"{edit.key.group}: a rule has become that of a request of another group")
    marker = msgspec.structs.replace(marker, claims=tuple(sorted(claims)), ends=ends)
    if edit.gain and not markers.fits(marker):
        raise LinkDenied(denials.description_full(edit.key.group))
    return markers.render(marker)


def _same_instances(edit: Edit, marker: Marker) -> None:
    """Raises Ambiguous where the rule is for other instances with the same addresses, which the plan did not see: it is
    planned anew. A denial would roll back the whole link, including what stood before and a stale read did not show."""
    planned = markers.parse(edit.rule.description) if edit.rule else None
    if (other_instance := _other_instance(edit.ends, marker)) and not (planned and planned.ends == marker.ends):
        raise Ambiguous(f"{edit.key.group}: a rule has become that of {other_instance}, which has the same address")


def _stands_for(edit: Edit, marker: Marker) -> bool:
    """Whether a rule stands for the parties that the edit names. The group that stands for an instance may differ,
    unless the edit changes it, or is for a request, which the members of that group follow."""
    planned = markers.parse(edit.rule.description) if edit.rule else None
    followed = any(not claim.is_tag for claim in edit.gain)
    if followed or (planned and planned.ends != edit.ends):
        return marker.ends == edit.ends
    return not _other_instance(edit.ends, marker)


def _other_instance(ends: tuple[Party, Party] | None, marker: Marker) -> Party | None:
    """Another instance for which a rule stands than these."""
    return first_difference(marker.ends, ends) if marker.ends and ends else None


def _next_call(edits: Sequence[Edit], existing: dict[RuleKey, Existing]) -> list[Edit]:
    """What is sent next: the change of one marker, else new rules, else all removals. The read that follows decides
    what is sent after it."""
    for edit in edits:
        marker = existing[edit.key].marker if edit.key in existing else None
        if marker and claims_after(edit, marker.claims):
            return [edit]
    new = [edit for edit in edits if edit.key not in existing]
    return [edit for edit in new if edit.key.is_egress == new[0].key.is_egress][:RULES_PER_CALL] or list(edits)


def _removal_calls(removals: Sequence[_RemovedRule]) -> Iterator[tuple[bool, Sequence[_RemovedRule]]]:
    """The calls by which rules are removed: whether it is one for egress rules, and which of them."""
    for egress in (False, True):
        of_direction = [removal for removal in removals if removal[1].key.is_egress == egress]
        for start in range(0, len(of_direction), RULES_PER_CALL):
            yield egress, of_direction[start : start + RULES_PER_CALL]


def _is_done(edit: Edit, existing: Existing | None) -> bool:
    if existing is None:
        return not edit.gain  # if someone deleted the rule meanwhile, removing a claim must not recreate it
    if existing.marker is None:
        return True  # someone else's rule counts as present, and is never touched
    return _reads_so(edit, existing, existing.marker) and not existing.copies


def _reads_so(edit: Edit, existing: Existing, marker: Marker) -> bool:
    """Whether a rule of ours has the claims, the instances and the priority that the edit gives it."""
    has_claims = claims_after(edit, marker.claims) == existing.described_claims and _stands_for(edit, marker)
    return has_claims and existing.rule.priority == PRIORITY
