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
    """Whether a link may stand, and by which rules."""

    link: Link
    needs: tuple[Need, ...] = ()  # its rules, as far as they could be worked out; also of a link that is denied
    denial: Denial | None = None  # why it may not stand; None if it may
    reachability: str = "unknown"  # same-vpc, different-vpc or unknown
    consent: tuple[str, ...] = ()  # the tags and allow entries that cover it
    advice: str = ""
    # to be read first: until then the link is neither granted nor finally denied
    open_questions: tuple[Question, ...] = ()


class DesiredLink(msgspec.Struct, frozen=True):
    """A link that someone wants, and the claim for it."""

    link: Link
    claim: Claim
    instance: Party | None = None  # whose tag asks; None for a request
    tag: str = ""  # the key of that tag
    # a refusal that needs no look at the link: a peer that cannot be parsed, an end in the past, a peer too many
    denial: Denial | None = None
    same_group: bool = False  # the peer is the instance itself, or one of its own groups
    raw: str = ""  # the peer as written, where it cannot be parsed
    has_pair: bool = True  # false: no group can stand for the instance, or the peer is one too many
    # false: the claim was only read from a rule. It keeps the rule and opens nothing, since whoever may write rules may
    # write a marker
    opens: bool = True
    in_scope: bool = True  # this delivery answers for it; other wishes only keep rules from being removed
    # verdicts on the links by other groups of the instance, which were passed over (see `planning.claims`)
    passed: tuple[Verdict, ...] = ()
    denied: tuple[Verdict, ...] = ()  # the same, where every group is denied


class Context(msgspec.Struct, frozen=True):
    """Under which policy, where and when a plan is made."""

    policy: Policy
    region: str
    now: float  # epoch seconds
    actions: tuple[str, str] = ("link", "unlink")  # what records call a link, and a removal
    is_request: bool = False  # a request that finds its link complete is `applied` again, not `unchanged`
    deleted: frozenset[Party] = frozenset()  # instances that an event reports as released
    completes_tags_only: bool = False  # half of a request's mutual link is removed once it is old enough (a sweep)
    withdrawn: Denial | None = None  # why claims are removed whatever the verdict (an unlink)
    # a side whose account refuses access counts as asking: the functions may have access where a person has none
    hidden_asks: bool = False
    # only a party that was asked for by its id can count as absent (a short sweep, which lists nothing)
    by_id: bool = False

    def expired(self, claim: Claim) -> bool:
        """Whether the claim has ended."""
        return claim.until is not None and claim.until <= self.now


class Edit(msgspec.Struct, frozen=True):
    """The claims that one rule gains and loses."""

    key: RuleKey
    gain: frozenset[Claim] = frozenset()
    lose: frozenset[Claim] = frozenset()
    ends: Ends | None = None  # of a rule by address, as in Marker
    rule: Rule | None = None  # ours as it is now; None: still to be written
    claims: tuple[Claim, ...] = ()  # those that it will carry

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
    """What becomes of one link."""

    link: Link
    action: str
    outcome: str  # what the record says once the changes are made: applied, unchanged, removed, denied or failed
    denial: Denial = NO_DENIAL  # reason, detail and advice of that outcome
    edits: tuple[Edit, ...] = ()
    # groups that hold rules of ours, or soon will, and lack the tag by which a sweep finds them
    missing_managed_tag: tuple[Party, ...] = ()
    by_absence: bool = False  # the rule is removed because a read did not show something: a party or a tag
    # it is removed only because an account does not show something: which account, and on whose groups
    unseen: frozenset[Unseen] = frozenset()
    verdict: Verdict | None = None
    instance: Party | None = None
    raw: str = ""
    rules: tuple[Rule, ...] = ()  # the rules of the link that exist already

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
    """What would have to be read to decide more."""

    # links whose rules look unwanted, or held by others, though not everything that decides was read
    unread: frozenset[Link] = frozenset()
    questions: frozenset[Question] = frozenset()
    doubted_accounts: frozenset[str] = frozenset()  # they have shown no instances yet, so nothing there counts as gone
    # parties to read once more before a rule is removed because they, or their tag, are absent: a Describe call may
    # omit some
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
    """Decisions in canonical order, and what is missing to make more of them."""

    decisions: tuple[Decision, ...]
    missing: Missing = NOTHING_MISSING
    due: Mapping[Unseen, frozenset[RuleKey]] = {}  # the rules that would be removed only because something is not shown
    held_removals: Mapping[Unseen, int] = {}  # how many of these are held back
    unshown: frozenset[Link] = frozenset()  # links that are denied until the cloud shows an instance, or its address
