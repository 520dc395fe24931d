"""The values of a plan: the verdict on each link, what it comes to, and which claims each rule gains and loses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.denials import NO_DENIAL, Denial
from link_peer.domain.model import Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address


class _Of(msgspec.Struct, frozen=True):
    group: Party

    @property
    def account(self) -> str:
        """The account that is asked."""
        return self.group.account


class RulesOf(_Of, frozen=True):
    """The rules of a group, which were not read."""


class MembersOf(_Of, frozen=True):
    """How many instances a group has. No verdict waits for it."""


class InstancesOf(_Of, frozen=True):
    """The instances of a group, which were not read."""


Question = Address | Party | RulesOf | InstancesOf | MembersOf
"""Something to read before a verdict counts: whether an address is used in a VPC, a group's inner access, an instance
that was set aside, or the rules or instances of a group; or, for the words of a denial, a number of instances."""


Ends = tuple[Party, Party]
"""For whom a rule by address stands, as in its marker."""


class Need(msgspec.Struct, frozen=True):
    """One rule that a link needs; `ends`, where its source is an address."""

    key: RuleKey
    ends: Ends | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`needs` are the rules of the link as far as they could be worked out, also when it is denied. `consent` names the
    tags and allow entries that cover it. `reachability` is same-vpc, different-vpc or unknown. `open_questions` must be
    read before the verdict counts; until then the link is neither granted nor denied for good."""

    link: Link
    needs: tuple[Need, ...] = ()
    denial: Denial | None = None
    reachability: str = "unknown"
    consent: tuple[str, ...] = ()
    advice: str = ""
    open_questions: tuple[Question, ...] = ()


class DesiredLink(msgspec.Struct, frozen=True):
    """A link that someone wants, and the claim for it.

    `instance` and `tag` say whose tag asks. `denial` is a refusal that needs no look at the link: a peer that cannot be
    parsed, an end that is past, a peer too many. `same_group` marks a peer that is the instance itself or one of its
    own groups. `raw` is the peer as written, where it cannot be parsed. `has_pair` is false where there is no pair to
    look at: no group represents the instance, or the peer is one too many. `opens` is false for a claim that is only
    read from a rule: it keeps the rule, and never opens anything, since anyone who may write rules may write a marker.
    `in_scope`: this delivery answers for it; the others only keep rules from being removed. `passed` and `denied` are
    verdicts on the links by the instance's other groups: see `planning.claims`.
    """

    link: Link
    claim: Claim
    instance: Party | None = None
    tag: str = ""
    denial: Denial | None = None
    same_group: bool = False
    raw: str = ""
    has_pair: bool = True
    opens: bool = True
    in_scope: bool = True
    passed: tuple[Verdict, ...] = ()
    denied: tuple[Verdict, ...] = ()


class Context(msgspec.Struct, frozen=True):
    """Under which policy, where and when (epoch seconds) a plan is made.

    `actions` name the record of a link and of a removal: (`link`, `unlink`), (`repair`, `repair`)… `is_request`: a
    request that finds its link complete is `applied` again, not `unchanged`. `deleted` are instances that the platform
    says were released. `completes_tags_only`: half of a request's mutual link is removed once it is old enough (a
    sweep). `withdrawn` is why claims are taken whatever the verdict (an unlink). `hidden_asks`: a side whose account
    refuses access counts as asking, since a person's keys are refused where those of the functions may not be. `by_id`:
    only what was read by its own id counts as not shown (a short sweep, which lists nothing).
    """

    policy: Policy
    region: str
    now: float
    actions: tuple[str, str] = ("link", "unlink")
    is_request: bool = False
    deleted: frozenset[Party] = frozenset()
    completes_tags_only: bool = False
    withdrawn: Denial | None = None
    hidden_asks: bool = False
    by_id: bool = False

    def expired(self, claim: Claim) -> bool:
        """Whether the claim has ended."""
        return claim.until is not None and claim.until <= self.now


class Edit(msgspec.Struct, frozen=True):
    """The claims that one rule gains and loses. `rule` is ours as it is now, None where it is still to be written;
    `claims` are those that it will carry; `ends` the instances of an instance rule."""

    key: RuleKey
    gain: frozenset[Claim] = frozenset()
    lose: frozenset[Claim] = frozenset()
    ends: Ends | None = None
    rule: Rule | None = None
    claims: tuple[Claim, ...] = ()

    @property
    def kind(self) -> str:
        """`add`, `mark` (another description) or `remove`."""
        if self.rule is None:
            return "add"
        return "mark" if self.claims else "remove"

    @property
    def opens(self) -> bool:
        """Whether more is wanted of the rule than before: claims that it gains, or other instances that it is for."""
        before = markers.parse(self.rule.description) if self.rule else None
        return bool(self.gain) or (before is not None and bool(self.claims) and before.ends != self.ends)

    def marker(self, policy: Policy, region: str) -> Marker:
        """The marker that the rule will carry."""
        rule_id = self.key.id(policy.home, policy.deployment, region)
        return Marker(policy.home, policy.deployment, rule_id, self.claims, self.ends, self.key.is_egress)


class Unseen(msgspec.Struct, frozen=True, order=True):
    """Removals on groups of account `holder` whose only cause is that `account` does not show something. They are
    counted apart for each pair, so that no account can hold up removals in another."""

    account: str
    holder: str  # for a mutual link both accounts, so that its two rules are held or removed together


class Decision(msgspec.Struct, frozen=True):
    """What one link comes to. `outcome` is what the record will say once the changes are made: applied, unchanged,
    removed, denied or failed; `denial` gives its reason, detail and advice.

    `missing_managed_tag` are groups that hold rules of ours, or soon will, and lack the tag by which a sweep finds
    them. `by_absence`: the removal's cause is what a read did not show, a party or a tag. `unseen`: its only cause is
    that an account does not show something; which one, on whose groups. `rules` are those of the link that exist
    already.
    """

    link: Link
    action: str
    outcome: str
    denial: Denial = NO_DENIAL
    edits: tuple[Edit, ...] = ()
    missing_managed_tag: tuple[Party, ...] = ()
    by_absence: bool = False
    unseen: frozenset[Unseen] = frozenset()
    verdict: Verdict | None = None
    instance: Party | None = None
    raw: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def removals(self) -> int:
        """How many rules are removed."""
        return sum(edit.kind == "remove" for edit in self.edits)

    def refused(self, denial: Denial) -> Decision:
        """The same decision, refused: its outcome is `denied`, or `failed` for a full quota."""
        return msgspec.structs.replace(self, outcome=denial.outcome, denial=denial)


class Refusal(msgspec.Struct, frozen=True):
    """A link that could not be written. `partial` are the claims that this delivery has put on rules for its sake."""

    denial: Denial
    partial: frozenset[tuple[RuleKey, Claim]] = frozenset()


class Missing(msgspec.Struct, frozen=True):
    """What would have to be read to decide more.

    `unread` are links whose rules look unwanted, or held by others, though not everything that decides it was read.
    `doubted_accounts` have shown no instances yet, so that nothing there is treated as gone. `unconfirmed` are parties
    whose absence, or whose missing tag, is why a rule is removed or given to others: a Describe call may omit members,
    so these are read once more.
    """

    unread: frozenset[Link] = frozenset()
    questions: frozenset[Question] = frozenset()
    doubted_accounts: frozenset[str] = frozenset()
    unconfirmed: frozenset[Party] = frozenset()


NOTHING_MISSING = Missing()


def all_missing(parts: Iterable[Missing]) -> Missing:
    """What is missing for any of these."""
    missing = [part for part in parts if part != NOTHING_MISSING]
    if len(missing) < 2:
        return missing[0] if missing else NOTHING_MISSING
    return Missing(
        frozenset(link for part in missing for link in part.unread),
        frozenset(question for part in missing for question in part.questions),
        frozenset(account for part in missing for account in part.doubted_accounts),
        frozenset(party for part in missing for party in part.unconfirmed),
    )


class Plan(msgspec.Struct, frozen=True):
    """Decisions in canonical order, and what is missing to make more of them.

    `due` are the rules that would be removed only because something is not shown; `held_removals` counts those that are
    held back. `unshown` are links that are denied until the cloud shows an instance, or its address.
    """

    decisions: tuple[Decision, ...]
    missing: Missing = NOTHING_MISSING
    due: Mapping[Unseen, frozenset[RuleKey]] = {}
    held_removals: Mapping[Unseen, int] = {}
    unshown: frozenset[Link] = frozenset()
