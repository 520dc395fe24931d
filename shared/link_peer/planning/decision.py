"""The values of a plan: what each link comes to, and which claims each of its rules gains and loses."""

from __future__ import annotations

import msgspec

from link_peer.domain.denial import NOTHING, Denial
from link_peer.domain.model import Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.planning.evaluate import Verdict


class Context(msgspec.Struct, frozen=True):
    """Under which policy, where and when (epoch seconds) a plan is made.

    `actions` name the record of a link and of a removal: (`link`, `unlink`), (`repair`, `repair`)… `is_request`: a request
    that finds its link complete is `applied` again, not `unchanged`.
    """

    policy: Policy
    region: str
    now: float
    actions: tuple[str, str] = ("link", "unlink")
    is_request: bool = False

    def expired(self, claim: Claim) -> bool:
        """Whether the claim has ended."""
        return claim.until is not None and claim.until <= self.now


class Edit(msgspec.Struct, frozen=True):
    """The claims that one rule gains and loses. `rule` is ours as it is now, None where it is still to be written;
    `claims` are those that it will carry; `ends` the instances of an instance rule."""

    key: RuleKey
    gain: frozenset[Claim] = frozenset()
    lose: frozenset[Claim] = frozenset()
    ends: tuple[Party, Party] | None = None
    rule: Rule | None = None
    claims: tuple[Claim, ...] = ()

    @property
    def kind(self) -> str:
        """`add`, `mark` (another description) or `remove`."""
        if self.rule is None:
            return "add"
        return "mark" if self.claims else "remove"

    def marker(self, policy: Policy, region: str) -> Marker:
        """The marker that the rule will carry."""
        return Marker(policy.deployment, self.key.id(policy.deployment, region), self.claims, self.ends)


class Decision(msgspec.Struct, frozen=True):
    """What one link comes to. `outcome` is what the record will say once the changes are made: applied, unchanged,
    removed, denied or failed; `why` gives its reason, detail and advice.

    `missing_managed_tag` are groups that hold rules of ours, or soon will, and lack the tag by which a sweep finds them.
    `counts_toward_cap`: the removal's only cause is that something is not shown. `removes_first`: the quota makes the
    additions wait for what is removed. `rules` are those of the link that exist already.
    """

    link: Link
    action: str
    outcome: str
    why: Denial = NOTHING
    edits: tuple[Edit, ...] = ()
    missing_managed_tag: tuple[Party, ...] = ()
    counts_toward_cap: bool = False
    removes_first: bool = False
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
        return msgspec.structs.replace(self, outcome=denial.outcome, why=denial)


class Refusal(msgspec.Struct, frozen=True):
    """A link that could not be written. `partial` are the claims that this delivery has put on rules for its sake."""

    denial: Denial
    partial: frozenset[tuple[RuleKey, Claim]] = frozenset()


class Plan(msgspec.Struct, frozen=True):
    """Decisions, and what would have to be read to make more of them.

    `unread` are links whose rules look unwanted, though not everything that could want them was read; `doubted_accounts`
    have shown no instances yet, so that nothing there is treated as gone.
    """

    decisions: list[Decision]
    unread: frozenset[Link] = frozenset()
    doubted_accounts: frozenset[str] = frozenset()

    @property
    def unconfirmed(self) -> frozenset[Party]:
        """The parties whose tags, or whose existence, a removal misses: the askers of links that are removed because
        something is not shown. A Describe call may omit members; re-read these before treating them as gone."""
        links = [decision.link for decision in self.decisions if decision.counts_toward_cap]
        askers = (
            (link.source, link.target) if link.mutual or not link.source.is_group else (link.source,) for link in links
        )
        return frozenset(party for ends in askers for party in ends)

    @property
    def removals_toward_cap(self) -> int:
        """How many rules would be removed only because something is not shown."""
        return sum(decision.removals for decision in self.decisions if decision.counts_toward_cap)
