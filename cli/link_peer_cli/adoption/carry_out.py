"""Carries out an adoption: a rule that a person made becomes one of link-peer, and is there at every moment.

intent ─▶ consent and the managed tag ─▶ the instance's tag ─▶ everything read and judged again ─▶ the marker, by rule id
       ─▶ read back ─▶ the request ─▶ outcome

The rule is neither removed nor written a second time. ECS keeps one rule of a kind, and answers that a second
authorization is done without making anything [doc AuthorizeSecurityGroup]; link-peer, too, counts a person's equal rule
as present. Revoking it first would stop the packets. So one ModifySecurityGroupRule gives it the marker as its
description, and the priority of link-peer's rules: before that call the rule is a person's, after it link-peer's, and
packets pass throughout.

Consent and the tag that asks are there before the rule is ours, so that no sweep finds it without them. The request is
posted last, since a marker keeps its rule by itself. Whatever stops the command, running it again finishes.

People's resources are changed with the person's own keys, never with a role of link-peer.
"""  # noqa: W505

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import msgspec
from link_peer.domain import denials
from link_peer.domain.denials import Denial, LinkDenied
from link_peer.domain.errors import CloudError, LinkPeerError, NoAccess, Transient
from link_peer.domain.model import Claim, Party, Rule
from link_peer.engine.records import decision_record
from link_peer.planning.decision import Decision, Edit
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Cloud, Record
from link_peer.runtime.settings import Settings

from link_peer_cli.access.noted import of_rule, of_tags
from link_peer_cli.adoption.expressible import NotAdoptable
from link_peer_cli.adoption.judge import CHANGED, Adoption, Mark, is_ours, managed_tags
from link_peer_cli.adoption.planner import AdoptionPlan, AdoptionPlanner
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.deployed.queue import post
from link_peer_cli.ui.changes import CHANGES

NOT_SHOWN = "the cloud does not show the change yet: run it again in a moment"


class Adopting:
    """Makes the changes of one plan."""

    def __init__(
        self,
        delivery: Delivery,
        planner: AdoptionPlanner,
        cloud: Cloud,
        person_cloud: Cloud,
        tags: GroupTags,
        asking: Callable[[str], Settings],
    ) -> None:
        """`cloud` reads; `person_cloud` writes rules with the person's keys, as `tags` does tags; `asking` gives the
        settings to post to a queue with."""
        self._asking = asking
        self._delivery = delivery
        self._planner = planner
        self._cloud = cloud
        self._person_cloud = person_cloud
        self._tags = tags
        self._requests: list[str] = []
        self._written: set[Party] = set()  # whose tags were set

    def carry_out(self, plan: AdoptionPlan) -> Record:
        """Make the changes, with an intent before and an outcome after them.

        Returns the outcome, or the attempt where running it again may help. Raises Transient if the log cannot be
        written.
        """
        adoption, region = plan.adoption, self._delivery.region
        name = {"event_id" if plan.wish.asker else "request_id": plan.wish.name}
        common_fields = {**name, "claimed_reason": plan.loss}
        audit = self._delivery.audit(common_fields)
        decision = Decision(
            adoption.link,
            "link",
            "applied",
            denials.remark(plan.loss),
            edits=tuple(_edit(mark, plan.wish.claim) for mark in adoption.due),
            missing_managed_tag=tuple(party for party, _ in adoption.managed),
            verdict=adoption.verdict,
            instance=plan.wish.asker,
        )
        audit.write([decision_record(decision, region, "intent")])
        rules: list[Rule] = []
        kind = "outcome"
        try:
            rules = self._change(plan)
        except LinkDenied as refused:
            decision = decision.refused(refused.denial)
        except CloudError as error:
            self._requests.append(error.request_id)
            decision = decision.refused(_refusal(adoption.link.target, error))
        except LinkPeerError as trouble:
            kind = "attempt"
            decision = msgspec.structs.replace(decision, denial=denials.remark(str(trouble), self._withdrawal(plan)))
        calls = [*(call.request_id for call in self._tags.calls), *self._requests]
        record = decision_record(decision, region, kind, rules=rules, api_requests=calls)
        audit.write([record])
        return {**common_fields, "claimed_by": self._tags.caller, **record}

    def _change(self, plan: AdoptionPlan) -> list[Rule]:
        """Make the changes, and return the rules as they are then."""
        CHANGES.expect(_texts(plan))
        for group, edit in plan.adoption.consent:
            if not edit.still_fits(self._tags.read(group)):
                raise NotAdoptable(CHANGED)
        for party, put, drop in plan.tagging:
            self._delivery.retry(functools.partial(self._tags.put, [party], put))
            self._written.add(party)
            if drop:
                self._delivery.retry(functools.partial(self._tags.drop, [party], drop))
        adoption = self._again(plan)
        for mark in adoption.due:
            self._mark(mark)
        rules = [self._marked(mark) for mark in adoption.marks]
        self._tag_again(adoption)
        if plan.request is not None:
            home, request = self._delivery.policy.home, plan.request
            self._delivery.retry(lambda: post(self._asking(plan.queue), home, request, plan.queue))
        return rules

    def _withdrawal(self, plan: AdoptionPlan) -> str:
        """How to take the consent back that was written for what did not come about: it would admit a later request."""
        written_entries = [
            (group, text) for group, edit in plan.adoption.consent if group in self._written for text in edit.added
        ]
        commands = "; ".join(f"link-peer withdraw {group} {text}" for group, text in written_entries)
        return f"the consent was written and stays; run it again, or withdraw it: {commands}" if commands else ""

    def _again(self, plan: AdoptionPlan) -> Adoption:
        """Read and judge everything once more, right before a person's rule is changed.

        Raises NotAdoptable where something is not as it was shown, Transient where a tag does not show yet.
        """
        again = self._planner.plan(plan.rule, plan.wish)
        if again.tagging:
            raise Transient(NOT_SHOWN)
        if [mark.rule for mark in again.adoption.marks] != [mark.rule for mark in plan.adoption.marks]:
            raise NotAdoptable(CHANGED)
        return again.adoption

    def _mark(self, mark: Mark) -> None:
        """Give one rule its marker. An attempt whose answer was lost is not made again if the rule has it."""
        for attempt in self._delivery.retry.attempts():
            with attempt:
                now = self._now(mark.rule)
                if now is not None and now.description == mark.description:
                    return
                if now != mark.rule:
                    raise NotAdoptable(CHANGED)
                group = mark.rule.group
                self._requests.append(
                    self._person_cloud.ecs(group.account).modify(group.id, mark.rule.id, mark.description)
                )

    def _marked(self, mark: Mark) -> Rule:
        """The rule as it is read back. Raises Transient if it is not shown with its marker, or is not ours with it."""
        marked_rules: list[Rule] = []

        def is_marked() -> bool:
            rule = self._now(mark.rule)
            marked_rules[:] = [rule] if rule is not None and rule.description == mark.description else []
            return bool(marked_rules)

        if not (is_marked() or self._delivery.retry.poll(is_marked)):
            raise Transient(NOT_SHOWN)
        if not is_ours(marked_rules[0], self._delivery.policy, self._delivery.region):
            raise NotAdoptable(
                f"{mark.rule.id} was changed at the same moment, and its marker does not match: run it again"
            )
        return marked_rules[0]

    def _now(self, rule: Rule) -> Rule | None:
        """The rule with this id as it is now."""
        rules = self._cloud.ecs(rule.group.account).rules(rule.group.id)
        return next((candidate for candidate in rules if candidate.id == rule.id), None)

    def _tag_again(self, adoption: Adoption) -> None:
        """A sweep that found a group without rules of ours a moment ago may have removed the managed tag since."""
        for party, keys in managed_tags(self._delivery.policy, adoption.marks).items():
            groups = self._cloud.ecs(party.account).groups([party.id])
            tags = {key for group in groups for key, value in group.tags.items() if value == "true"}
            if missing := [key for key in keys if key not in tags]:
                self._delivery.retry(functools.partial(self._tags.put, [party], dict.fromkeys(missing, "true")))


def _texts(plan: AdoptionPlan) -> Iterator[str]:
    """The changes, as they are noted when they are made."""
    yield from (of_tags("put", put, party) for party, put, _ in plan.tagging if put)
    yield from (of_tags("take off", drop, party) for party, _, drop in plan.tagging if drop)
    yield from (of_rule("change", mark.rule.key) for mark in plan.adoption.due if mark.rule.key)
    if plan.request is not None:
        yield f"post the request {plan.request.request_id}"


def _edit(mark: Mark, claim: Claim) -> Edit:
    assert mark.rule.key is not None  # noqa: S101  # else there would be no mark
    return Edit(mark.rule.key, frozenset({claim}), rule=mark.rule, claims=(claim,))


def _refusal(group: Party, error: CloudError) -> Denial:
    if isinstance(error, NoAccess):
        return denials.own_keys_refused(error.code, error.message)
    return denials.refused_by_ecs(group, error.code, error.message)
