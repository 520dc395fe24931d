"""From plan to rules: intent, change, read back, outcome.

    intents durable ─▶ per link: managed tag ─▶ rules of the target's group ─▶ rules of the source's group
                                                 (each: change, read back, again until the cloud shows it)
                    ─▶ outcomes
A change is never believed for its answer: an authorize that finds the rule there succeeds and adds nothing, and an answer
that got lost may belong to a change that was made. What counts is the group as it is read afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.denial import DENIALS, GONE, UNKNOWN
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Transient
from link_peer.domain.model import PRIORITY, Link, Marker, Party, Reason, Rule, RuleKey
from link_peer.domain.tags import managed_tag
from link_peer.engine.reader import Reader
from link_peer.inbound.policy_file import Policy
from link_peer.planning.decision import Decision, Edit, Refusal, marker_of
from link_peer.planning.evaluate import Denial, judge
from link_peer.planning.unlink_guard import Witnesses, groups, vanished, witnesses
from link_peer.runtime.audit import Record, Scribe, decision_record
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry

READ_BACKS = 5  # reads of a group until it shows what was changed; the lag has been seen, its size is unknown

LOOK_SECONDS = 30  # consent read longer ago is read again before a rule is written: a throttled call waits a minute

OUTCOMES_A_WRITE = 200  # told as they come, so that a run that dies has told most of them

RULES_A_CALL = 100  # [doc AuthorizeSecurityGroup, RevokeSecurityGroup: at most 100 permissions, or ids]

PAUSED = Denial(
    "paused",
    "link-peer is paused: it reads and audits, and changes nothing",
    "set paused: false in the policy file, then post the request or touch the tag again",
)


class Refused(Exception):
    """The cloud refused a change for good."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.detail)
        self.denial = denial


class _Standing(msgspec.Struct, frozen=True):
    """A rule as it stands; `marker` where it is ours, `copies` the ids of further ones of ours that a hand has made."""

    rule: Rule
    marker: Marker | None
    copies: tuple[str, ...] = ()


class _Begun(msgspec.Struct, frozen=True):
    """A decision that was refused halfway: its outcome is told once what it began is taken back."""

    decision: Decision
    denial: Denial
    requests: list[str]


class Report(msgspec.Struct):
    """What became of a plan. `failed` links must be taken back; `pending` is the trouble for which the delivery must come again."""

    changed: int = 0
    removed: int = 0
    held: int = 0
    failed: dict[Link, Refusal] = {}
    pending: list[Transient] = []


class Applier:
    """Carries out the decisions of one delivery."""

    def __init__(
        self,
        reader: Reader,
        policy: Policy,
        region: str,
        scribe: Scribe,
        clock: Clock,
        retry: Retry,
        since: float,
        counted: int = 0,
        *,
        hold: bool = False,
        summary: bool = True,
    ) -> None:
        """`since` is when reading began (epoch seconds).

        `counted` are the removals for unseen things that this delivery did before, for another of its messages; `hold`: all
        of its messages together are due for more than may go, so none does. `summary`: removals that are held get a record
        of their own; a sweep tells them in its summary instead.
        """
        self._reader = reader
        self._policy = policy
        self._region = region
        self._scribe = scribe
        self._clock = clock
        self._retry = retry
        self._hold = hold
        self._summary = summary and not hold
        self.counted = counted
        self._begun: dict[Link, _Begun] = {}
        self._unmade: set[RuleKey] = set()  # rules whose change was refused, or met trouble, in this pass
        self._looked: dict[Party, float] = {}  # when a group's consent was read
        self._since = since

    def apply(self, decisions: Sequence[Decision]) -> Report:
        """Intents, changes, outcomes. Raises Transient if the audit log cannot be written; other trouble is in the report."""
        report = Report()
        decisions = self._held(decisions, report)
        if self._policy.paused:
            decisions = [_paused(decision) for decision in decisions]
        self._scribe.write([decision_record(d, self._region, "intent") for d in decisions if d.edits or d.untagged])
        decisions = sorted(decisions, key=_order)
        # all of them before anything is changed
        stood = [witnesses(self._reader.view, self._policy, self._region, decision) for decision in decisions]
        earlier, self._begun = self._begun, {}
        self._unmade = set()
        outcomes: list[Record] = []
        for decision, where in zip(decisions, stood, strict=True):
            begun = earlier.pop(decision.link, None)
            outcomes += self._carry_out(decision, report, where, list(begun.requests) if begun else [])
            if len(outcomes) >= OUTCOMES_A_WRITE:
                self._scribe.write(outcomes)
                outcomes = []
        outcomes += [self._refused(begun) for begun in earlier.values()]
        self._scribe.write(outcomes)
        return report

    def finish(self) -> None:
        """Tells of the links that were refused in the last pass, too."""
        begun, self._begun = self._begun, {}
        self._scribe.write([self._refused(one) for one in begun.values()])

    def _held(self, decisions: Sequence[Decision], report: Report) -> list[Decision]:
        """None of the removals for what is not seen any more, when they are more than the policy lets go at once."""
        due = sum(decision.removes for decision in decisions if decision.counted)
        total = self.counted + due
        if not any(d.counted for d in decisions) or (not self._hold and total <= self._policy.limits.removals_per_run):
            return list(decisions)
        report.held = due
        if self._summary:
            self._scribe.write([{"record": "summary", **held_fields(total, self._policy)}])
            self._summary = False
        return [decision for decision in decisions if not decision.counted]

    def _carry_out(self, decision: Decision, report: Report, stood: Witnesses, requests: list[str]) -> list[Record]:
        rules: dict[RuleKey, Rule] = {rule.key: rule for rule in decision.rules if rule.key}
        if decision.outcome == "removed" and not decision.edits and rules.keys() & self._unmade:
            return []  # another decision's change of the same rule was to make it: what has not gone is not told as gone
        try:
            for group, edits in _by_group(decision):
                self._in_time(edits)
                if group in decision.untagged:
                    self._tag(group, requests)
                settled = self._settle(decision, group, edits, requests)
                rules.update(settled)
                known = {edit.rule.id for edit in edits if edit.rule}
                if any(rule.id not in known for rule in settled.values()):
                    # a sweep that found the group empty a moment ago may have taken the tag off since
                    self._reader.group_again(group)
                    self._tag(group, requests)
            decision = self._still_asked(decision, stood, requests, rules)
        except Refused as refusal:
            self._unmade |= {edit.key for edit in decision.edits}
            if decision.outcome == "applied":
                begun = frozenset((edit.key, reason) for edit in decision.edits for reason in edit.gain)
                if earlier := report.failed.get(decision.link):
                    begun |= earlier.begun
                report.failed[decision.link] = Refusal(refusal.denial, begun)
                self._begun[decision.link] = _Begun(decision, refusal.denial, requests)
                return []  # the outcome is told once what was begun is taken back
            return [self._refused(_Begun(decision, refusal.denial, requests), rules.values())]
        except Transient as trouble:
            trouble.recorded = True
            report.pending.append(trouble)
            self._unmade |= {edit.key for edit in decision.edits}
            attempt = msgspec.structs.replace(decision, detail=str(trouble))
            return [decision_record(attempt, self._region, "attempt", rules=rules.values(), api_requests=requests)]
        report.changed += len(decision.edits)
        report.removed += decision.removes
        self.counted += decision.removes if decision.counted else 0
        return [decision_record(decision, self._region, "outcome", rules=rules.values(), api_requests=requests)]

    def _in_time(self, edits: Sequence[Edit]) -> None:
        now = self._clock.now()
        if now >= self._retry.deadline:
            raise Transient("the function's time is nearly over")
        if any(reason.until is not None and reason.until <= now for edit in edits for reason in edit.gain):
            raise Refused(Denial("expired", "its end came while it was being made"))

    def _refused(self, begun: _Begun, rules: Iterable[Rule] = ()) -> Record:
        denial = begun.denial
        decision = msgspec.structs.replace(
            begun.decision,
            outcome="failed" if denial.reason == "quota" else "denied",
            reason=denial.reason,
            detail=denial.detail,
            advice=denial.advice,
        )
        return decision_record(decision, self._region, "outcome", rules=rules, api_requests=begun.requests)

    def _still_consented(self, decision: Decision) -> None:
        """Raises Refused where consent has been withdrawn since it was read, long before now."""
        if decision.outcome != "applied" or decision.verdict is None:
            return
        now = self._clock.now()
        groups = {need.key.group for need in decision.verdict.needs}
        old = [group for group in sorted(groups) if now - self._looked.get(group, self._since) > LOOK_SECONDS]
        for group in old:
            self._reader.group_again(group)
            self._looked[group] = now
        denial = judge(self._reader.view, self._policy, decision.link).denial if old else None
        if denial:
            raise Refused(denial)

    # a sweep and an unlink at once

    def _still_asked(
        self, decision: Decision, stood: Witnesses, requests: list[str], rules: dict[RuleKey, Rule]
    ) -> Decision:
        """A request's reason that went from where it was read, while it was written here, goes from here too."""
        for group in sorted(groups(stood)):
            self._read(group)
        lost = vanished(self._reader.view, self._policy, self._region, stood)
        back = tuple(
            Edit(edit.key, lose=lost & edit.gain, ends=edit.ends, rule=rules[edit.key])
            for edit in decision.edits
            if lost & edit.gain and edit.key in rules
        )
        if not back:
            return decision
        undone = msgspec.structs.replace(decision, edits=back, untagged=())
        self._scribe.write([decision_record(undone, self._region, "intent")])
        for group, edits in _by_group(undone):
            settled = self._settle(undone, group, edits, requests)
            for edit in edits:
                rules.pop(edit.key)
            rules.update(settled)
        detail = "an unlink took it back meanwhile, and so is what was written"
        return msgspec.structs.replace(decision, outcome="unchanged", detail=detail)

    # one group

    def _settle(
        self, decision: Decision, group: Party, edits: Sequence[Edit], requests: list[str]
    ) -> dict[RuleKey, Rule]:
        """Changes one group until it shows every edit of a decision. Raises Refused or Transient.

        Adds start from what was read for the plan; each change of a marker, and removals, from a read right before, since
        another delivery may have given the rule a reason meanwhile, and the API has no compare-and-set.
        """
        ecs = self._ecs(group)
        rules = self._reader.view.rules.get(group, ())
        if any(edit.kind != "add" for edit in edits):
            rules = self._read(group)
        sent: set[RuleKey] = set()
        attempt = reads = 1
        while True:
            found = self._found(rules, edits)
            todo = [edit for edit in edits if not self._done(edit, found.get(edit.key))]
            if not todo:
                return {key: standing.rule for key, standing in found.items()}
            fresh = _one_call([edit for edit in todo if edit.key not in sent], found)
            try:
                if fresh:
                    self._in_time(fresh)
                    if any(edit.gain for edit in fresh):
                        self._still_consented(decision)
                    self._change(ecs, group, fresh, found, requests)
                    sent |= {edit.key for edit in fresh}
                elif reads >= READ_BACKS:
                    sent.clear()  # not lag: it was undone, or never made
                    raise Ambiguous(f"{group} does not show the change")
                else:
                    self._clock.sleep(0.2 * 2 ** (reads - 1))
                    reads += 1
            except Refused:
                self._read(group)  # a call may have been made in part: what it wrote is seen, and goes back too
                raise
            except Transient as trouble:
                requests.append(trouble.request_id)
                self._retry.pause(attempt, trouble)
                attempt, reads = attempt + 1, 1
            rules = self._read(group)

    def _ecs(self, group: Party) -> Ecs:
        ecs = self._reader.ecs(group.account)
        if ecs is None:
            raise Refused(self._no_access(group))
        return ecs

    def _read(self, group: Party) -> tuple[Rule, ...]:
        rules = self._reader.again(group)
        if not self._reader.view.readable(group.account):
            raise Refused(self._no_access(group))
        return rules

    def _found(self, rules: Iterable[Rule], edits: Sequence[Edit]) -> dict[RuleKey, _Standing]:
        """What stands for each edit: our rule with its marker, or an equal rule of somebody else's."""
        keys = {edit.key for edit in edits}
        found: dict[RuleKey, _Standing] = {}
        for rule in sorted(rules, key=lambda rule: rule.priority != PRIORITY):  # of two copies, the one at our priority
            if rule.key is None or rule.key not in keys or rule.policy != "accept":
                continue
            marker = markers.owned(rule, self._policy.deployment, self._region, self._policy.home)
            other = found.get(rule.key)
            if other is None or (other.marker is None and marker is not None):
                found[rule.key] = _Standing(rule, marker)
            elif marker is not None:
                found[rule.key] = msgspec.structs.replace(other, copies=(*other.copies, rule.id))
        return found

    def _done(self, edit: Edit, standing: _Standing | None) -> bool:
        if standing is None:
            return not edit.gain  # a rule that a hand took away meanwhile is not brought back by losing a reason
        marker = standing.marker
        if marker is None:
            return True  # somebody else's: counts as present, and is never touched
        left = _left(edit, marker)
        same = left == frozenset(marker.reasons) and edit.ends == marker.ends
        return bool(left) and same and standing.rule.priority == PRIORITY and not standing.copies

    def _change(
        self,
        ecs: Ecs,
        group: Party,
        edits: Sequence[Edit],
        found: dict[RuleKey, _Standing],
        requests: list[str],
    ) -> None:
        """New rules, a changed marker, or rules that go: what `_one_call` has picked."""
        writes: list[tuple[RuleKey, str]] = []
        gone: list[str] = []
        try:
            for edit in edits:
                standing = found.get(edit.key)
                if standing is None:
                    # of a rule that went meanwhile, the reasons it had are gone with it: an unlink, say, took them
                    marker = marker_of(edit, self._policy, self._region)
                    marker = msgspec.structs.replace(marker, reasons=tuple(sorted(edit.gain)))
                    writes.append((edit.key, markers.render(marker, self._policy.home)))
                    continue
                gone += standing.copies
                if standing.marker is None:  # somebody else's, made meanwhile
                    continue
                if not (left := _left(edit, standing.marker)):
                    gone.append(standing.rule.id)
                    continue
                marker = msgspec.structs.replace(standing.marker, reasons=tuple(sorted(left)), ends=edit.ends)
                text = markers.render(marker, self._policy.home)
                if not markers.fits(text):
                    raise Refused(Denial("quota", "the rule's description has no room for one more reason"))
                requests.append(ecs.modify(group.id, standing.rule.id, text))
            if writes:
                requests.append(ecs.authorize(group.id, writes))
            for start in range(0, len(gone), RULES_A_CALL):
                requests.append(ecs.revoke(group.id, gone[start : start + RULES_A_CALL]))
        except CloudError as error:
            requests.append(error.request_id)
            if error.code not in GONE:
                raise self._meaning(group, error) from error

    def _tag(self, group: Party, requests: list[str]) -> None:
        """The tag by which a sweep finds the group stands before the first rule does."""
        shown = self._reader.view.groups[group]
        tag = managed_tag(self._policy.deployment)
        if shown.tags.get(tag) == "true":
            return
        ecs = self._ecs(group)
        attempt = 1
        while True:
            try:
                requests.append(ecs.tag_managed(group.id, self._policy.deployment))
                break
            except Transient as trouble:
                requests.append(trouble.request_id)
                self._retry.pause(attempt, trouble)  # tagging again is harmless
                attempt += 1
            except CloudError as error:
                requests.append(error.request_id)
                raise self._meaning(group, error) from error
        self._reader.view.groups[group] = msgspec.structs.replace(shown, tags={**shown.tags, tag: "true"})

    def _meaning(self, group: Party, error: CloudError) -> Exception:
        """What the cloud would refuse again is the link's answer; trouble of the moment came as Transient (shared.sdk)."""
        if isinstance(error, NoAccess):
            return Refused(self._no_access(group, error))
        reason, detail, advice = DENIALS.get(error.code, UNKNOWN)
        return Refused(Denial(reason, f"{group}: {detail} ({error.code}: {error.message})", advice))

    def _no_access(self, group: Party, error: CloudError | None = None) -> Denial:
        error = error or self._reader.view.blocked.get(group.account)
        detail = f"{group} may not be read or changed" + (f": {error.code}" if error else "")
        return Denial("no-access", detail, "check that account's role and its ECS permissions")


def held_fields(count: int, policy: Policy) -> Record:
    """What a summary says of so many removals that are held."""
    limit = policy.limits.removals_per_run
    return {
        "outcome": "failed",
        "reason": "removals-held",
        "detail": f"{count} rules have lost their reason at once, and at most {limit} may go in one run: none was removed",
        "advice": "see what they are with `link-peer stale`; raise limits.removals_per_run if they may go",
    }


def _one_call(edits: Sequence[Edit], found: dict[RuleKey, _Standing]) -> list[Edit]:
    """What is sent after one read: the change of one marker, else new rules, else rules that go. The next change is made by
    what the next read shows."""
    for edit in edits:
        standing = found.get(edit.key)
        if standing and standing.marker and _left(edit, standing.marker):
            return [edit]
    new = [edit for edit in edits if edit.key not in found]
    return (new or list(edits))[:RULES_A_CALL]


def _left(edit: Edit, marker: Marker) -> frozenset[Reason]:
    """The reasons that the rule shall carry, as its marker stands now: one for each request."""
    asked = {reason.request for reason in edit.gain}
    kept = {reason for reason in marker.reasons if reason.request not in asked}
    return frozenset((kept - edit.lose) | edit.gain)


def _by_group(decision: Decision) -> list[tuple[Party, list[Edit]]]:
    """The target's side first: it is the one that may refuse. Groups that only lack their tag come last."""
    groups: dict[Party, list[Edit]] = {}
    for edit in decision.edits:
        groups.setdefault(edit.key.group, []).append(edit)
    for group in decision.untagged:
        groups.setdefault(group, [])
    return list(groups.items())


def _order(decision: Decision) -> int:
    """Adds before removals, unless a quota makes an add wait for what goes."""
    if decision.outcome == "removed" and not decision.edits:
        return 3  # another decision's change makes it
    if decision.removes_first:
        return 2
    return 1 if decision.outcome == "removed" else 0


def _paused(decision: Decision) -> Decision:
    if not decision.edits:
        return msgspec.structs.replace(decision, untagged=())
    return msgspec.structs.replace(
        decision,
        outcome="denied",
        reason=PAUSED.reason,
        detail=PAUSED.detail,
        advice=PAUSED.advice,
        edits=(),
        untagged=(),
    )
