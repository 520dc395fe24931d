"""The scope of a request: one link between two parties, in one account or two, on both sides or on neither.

Nothing is remembered between deliveries. Each decides anew from what both accounts show, so a duplicate, a crash or a
lost answer ends where a clean delivery ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import UNLINKED, Denial, Waits
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer.domain.model import ALL, Claim, Link, Party, Rule, RuleKey
from link_peer.domain.request import Request
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso
from link_peer.engine.converge import PASSES, Scope, converge, plan_only, report_held
from link_peer.engine.read.access import BY_SIDE, STRICT
from link_peer.engine.read.store import groups_of
from link_peer.engine.records import Circumstances, decision_record
from link_peer.engine.scopes.calls import affordable
from link_peer.engine.scopes.closing import converge_and_look, groups_wanted, look
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Work, open_work
from link_peer.planning.actual import OwnedLink, owned_links
from link_peer.planning.authority import request_denial, unknown_account
from link_peer.planning.claims import moved_links, sources_of
from link_peer.planning.decision import Context, Decision, DesiredLink, Missing, Plan, Unseen
from link_peer.planning.removals import May
from link_peer.planning.verdict.acceptance import no_access
from link_peer.planning.writing import parts
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record


def reconcile_pair(delivery: Delivery, request: Request, queue: str, audit: AuditWriter, guard: RemovalGuard) -> None:
    """Carries out one request that came through `queue` (empty where that is not proven). Raises Transient when it must
    be done again, RedeliveryNeeded once that is recorded."""
    scope = _scope_of(delivery, request, audit)
    if denial := request_denial(delivery.policy, request, queue, scope.started) or scope.read():
        scope.record(denial.outcome, denial)
        report = look(scope, guard, groups_wanted(scope))
    else:
        report = converge_and_look(scope, guard)
        for _ in range(PASSES):
            if scope.joined_meanwhile():
                report += converge(scope, guard)
    report_held(scope, report, guard)
    if report.pending:
        raise RedeliveryNeeded(str(report.pending[0]))
    for trouble in scope.store.snapshot().failed_accounts.values():
        raise Transient(trouble)  # what could be closed on the other side is


def removals_due(delivery: Delivery, request: Request) -> Mapping[Unseen, frozenset[RuleKey]]:
    """The rules that a request would remove only because something is not shown. Reads only; none where it is denied,
    since the request itself reports why."""
    scope = _scope_of(delivery, request, delivery.audit({}))
    if scope.read():
        return {}
    return plan_only(scope, RemovalGuard(delivery.policy.limits.removals_per_run)).due


def _scope_of(delivery: Delivery, request: Request, audit: AuditWriter) -> PairScope:
    how, closes = STRICT if request.action == "link" else BY_SIDE, request.action == "unlink"
    work = open_work(delivery, request.request_id, audit, how, expires_at=request.expires_at, closes=closes)
    pair = Link(request.link.source, request.link.target)
    return PairScope(work, {pair: frozenset({pair.source})}, request)


OTHER_SOURCES = 20  # groups that may stand for the instances of a sync's `from`, beside that group
UNTAGGED = 40  # groups that an unlink of instances looks at where none has the managed tag


class PairScope(Scope):
    """Pairs of parties, each in its asker's direction: that of one request, or several that are judged as syncs of them
    would. Of the latter, `whole` are those of which all was read; each is given with the groups among which consent
    chooses, for the instances whose tags ask."""

    def __init__(self, work: Work, whole: Mapping[Link, frozenset[Party]], request: Request | None = None) -> None:
        super().__init__(work)
        self.whole = dict(whole)
        self._request = request
        self._answered = False

    @property
    def request(self) -> Request:
        """The request. Several pairs have none."""
        assert self._request is not None  # noqa: S101
        return self._request

    @property
    def link(self) -> Link:
        """The request's link."""
        return self.request.link

    @property
    def ends(self) -> set[Party]:
        """The request's two parties."""
        return {self.link.source, self.link.target}

    @property
    def action(self) -> str:
        """What is done with the pairs."""
        return self._request.action if self._request else "sync"

    @property
    def context(self) -> Context:
        """The records of a request carry its own action."""
        return Context(
            self.policy,
            self.delivery.region,
            self.started,
            (self.action, self.action),
            is_request=self.action == "link",
            withdrawn=UNLINKED if self.action == "unlink" else None,
            hidden_asks=bool(self.delivery.caller),
        )

    def pair_of(self, link: Link) -> Link | None:
        """The pair that a link is of, in either direction, if that was read."""
        return self._forward(link) or self._forward(Link(link.target, link.source))

    def _forward(self, link: Link) -> Link | None:
        """The pair that a link is of, in its direction."""
        return pair_among(self.whole, link) or self._with_outlet(link)

    def _with_outlet(self, link: Link) -> Link | None:
        """The pair of instances that has an egress rule, which links of others in the source's group to the same
        instance may share."""
        if not link.is_egress or link.target.is_group:
            return None
        snapshot = self.store.now_known()
        pairs = (pair for pair in self.whole if pair.target == link.target)
        return next((pair for pair in pairs if link.source in snapshot.groups_with(pair.source)), None)

    def read(self) -> Denial | None:
        """Reads both sides. Returns why nothing can be decided about the pair, if so. A link opens on both or on
        neither; what closes is decided for each side by itself, so that a peer which cannot be read keeps nothing
        standing on the other."""
        if self.link.source == self.link.target:
            return denials.same_party()
        if denial := unknown_account(self.policy, self.link):
            return denial
        self._read_sides()
        if self.action != "link":
            return None
        return self._id_in_use()

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """The request's own link, or for a sync what the tags of both sides' instances ask for."""
        if self.action == "link":
            claim = Claim(self.request.request_id, self.request.until)
            moved = moved_links(snapshot, self.policy, self.delivery.region)
            own_links = [DesiredLink(link, claim) for link in parts(snapshot, self.policy, self.link)]
            turned = [w if self._forward(w.link) or w.link.ports else _turned(w) for w in moved if self.pair_of(w.link)]
            return [*own_links, *turned]
        if self.action != "sync":
            return []
        # a sync answers for its `from` side; the other side's wishes are another sync's
        wishes = self._from_tags(snapshot)
        return [w if self._forward(w.link) else msgspec.structs.replace(w, in_scope=False) for w in wishes]

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """A link may only lose its own request's claim, a sync takes tags' claims, an unlink takes requests' claims.
        Where an instance asks as another group now, a sync takes the former one's, once all of its instances are
        read."""
        if not self.pair_of(link):
            return May.KEEP
        if self.action == "link":
            return May.CLOSE if claim.request == self.request.request_id else May.KEEP
        forward = bool(self._forward(link))
        if self.action == "sync":
            if not claim.is_tag or not (link.mutual or forward):
                return May.KEEP
            return May.TAKE if snapshot.covers(link) else May.READ
        if claim.is_tag or (self.link.ports and not (forward and set(link.ports) & set(self.link.ports))):
            return May.KEEP
        return May.CLOSE if self._with_outlet(link) else May.TAKE

    def affordable(self, missing: Missing) -> Missing:
        """Whatever a request misses; of several pairs, as far as calls are left for it. One that is left out counts as
        unread."""
        if self._request:
            return missing
        affordable_part = affordable(self.fetch, missing)
        for link in missing.unread - affordable_part.unread:
            if pair := self.pair_of(link):
                del self.whole[pair]
        return affordable_part

    def select(self, plan: Plan) -> list[Decision]:
        """All of them; of the first plan also that removals are held, or that nothing is decided about the pair."""
        answered, self._answered = self._answered, True
        silent = all(decision.action == "repair" for decision in plan.decisions)
        own_decisions = self._about_the_pair(plan) if not answered and (plan.held_removals or silent) else []
        return [*own_decisions, *plan.decisions]

    def _about_the_pair(self, plan: Plan) -> list[Decision]:
        limit = self.policy.limits.removals_per_run
        outcomes = [
            ("failed", denials.removals_held(unseen.account, n, limit)) for unseen, n in plan.held_removals.items()
        ]
        if not outcomes:
            snapshot = self.store.snapshot()
            hidden = no_access(snapshot, self.link)
            outcomes = [("denied", hidden)] if hidden else [("unchanged", self._nothing_to_do(plan, snapshot))]
            outcomes = [
                pair_outcome for pair_outcome in outcomes if pair_outcome[1].waits is Waits.NO
            ]  # what was not read is looked at again
        return [Decision(self.link, self.action, outcome, denial) for outcome, denial in outcomes]

    def joined_meanwhile(self) -> bool:
        """Whether an unlink left a rule of its pair, by what was read back, with a claim that it took of others: an
        instance has joined the link since it read."""
        taken_claims = {claim for _, claim in self.work.writes.taken_claims} if self.action == "unlink" else set()
        owned = owned_links(self.store.snapshot(), self.policy, self.delivery.region) if taken_claims else []
        return any(
            link.member and self.may_lose(self.store.snapshot(), rule, link, claim) is May.TAKE
            for link, rule, marker in owned
            for claim in taken_claims & {*marker.claims}
        )

    def record(self, outcome: str, denial: Denial) -> None:
        """Writes the one outcome of a request that is not planned, or finds nothing to do."""
        self.audit.write([outcome_record(self, Decision(self.link, self.action, outcome, denial))])

    def _id_in_use(self) -> Denial | None:
        """Whether another link of the same pair carries this request's id: other ports, another direction or end."""
        for link, _, marker in self._between_the_two(self.store.snapshot()):
            for claim in marker.claims:
                if claim.request == self.request.request_id and not self._is_part(link, claim):
                    return denials.id_in_use(claim.request, iso(self.request.until) if self.request.until else "")
        return None

    def _is_part(self, link: Link, claim: Claim) -> bool:
        """Whether a rule's link and claim are what this request asks for."""
        same_way = self.link.mutual or link.source == self.link.source
        ports = link.mutual if self.link.mutual else bool(link.ports) and set(link.ports) <= set(self.link.ports)
        return same_way and ports and claim.until == self.request.until

    def _read_sides(self) -> None:
        """Rules are read before the tags that want them, so that a rule whose tag came in between does not look
        unwanted."""
        fetch, accounts = self.fetch, sorted({party.account for party in self.ends})
        if not self.link.source.is_group and self.action != "link":
            # An instance may be gone or have changed its groups: its rules are wherever they were written.
            tagged = fetch.tagged_groups(accounts, self.policy.keys.instances)
            fetch.rules(tagged)
            self._read_untagged(set(accounts) - {group.account for group in tagged})
        fetch.parties_and_rules(self.ends)
        snapshot = self.store.snapshot()
        groups = [party for party in self.ends if party in snapshot.groups]
        if self.link.source.is_group:
            if self.action == "sync":
                fetch.members(groups)
                self._read_sources()
        elif self.action == "link":
            fetch.rules(self.needed_groups(snapshot, [self.link]))
        else:
            needed = self.needed_groups(snapshot, (desired.link for desired in self._from_tags(snapshot)))
            # the tag may have been refused: a rule is most likely on a group that an instance is in now
            now = groups_of(snapshot.instances.values()) & snapshot.groups.keys()
            fetch.rules(needed | {group for group in now if snapshot.groups[group].may_have_rules})

    def _read_untagged(self, accounts: set[str]) -> None:
        """For an unlink, the first groups with rules of accounts in which no group has the tag: perhaps it was
        refused."""
        if self.action == "unlink":
            groups = self.fetch.all_groups(sorted(filter(self.store.readable, accounts)))
            self.fetch.rules([group.party for group in groups if group.may_have_rules][:UNTAGGED])

    def _read_sources(self) -> None:
        """Which groups may stand for the instances that ask, and the rules of those that hold half of a mutual link, or
        will. So many other groups are looked at; what stands for more, the sweep finds."""
        snapshot = self.store.snapshot()
        sources = sources_of(snapshot, self.wishes(snapshot, snapshot.instances.values()), self.link)
        further = sorted(sources - {self.link.source})[:OTHER_SOURCES]
        self.whole = dict.fromkeys(self.whole, frozenset([self.link.source, *further]))
        needed = self.needed_groups(snapshot, [w.link for w in self._from_tags(snapshot) if self._forward(w.link)])
        standing = owned_links(snapshot, self.policy, self.delivery.region)
        needed |= {link.source for link, _, _ in standing if link.mutual and self._forward(link)}
        self.fetch.rules(needed & snapshot.groups.keys())

    def _from_tags(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What the tags of both sides' instances say of this pair."""
        wishes = self.wishes(snapshot, snapshot.instances.values())
        return [w for w in wishes if self.pair_of(w.link)]

    def _nothing_to_do(self, plan: Plan, snapshot: Snapshot) -> Denial:
        asking_instances = {str(w.instance) for w in self._from_tags(snapshot) if not self._forward(w.link)}
        if self.action == "unlink":
            return denials.nothing_to_unlink(self._claims_between(snapshot))
        return denials.nothing_to_do(sorted(plan.missing.doubted_accounts), sorted(asking_instances))

    def _claims_between(self, snapshot: Snapshot) -> list[str]:
        """What the rules of ours between the two carry, each as `<group> <port> by <claims>`."""
        return sorted(
            f"{rule.group} {link.ports[0] if link.ports else ALL} by {','.join(claim.request or 'tag' for claim in marker.claims)}"
            for link, rule, marker in self._between_the_two(snapshot)
        )

    def _between_the_two(self, snapshot: Snapshot) -> list[OwnedLink]:
        """The rules of ours between the two parties, whichever way they open."""
        owned = owned_links(snapshot, self.policy, self.delivery.region)
        return [owned_rule for owned_rule in owned if {owned_rule[0].source, owned_rule[0].target} == self.ends]


def _turned(desired: DesiredLink) -> DesiredLink:
    """The same mutual link, the other way round."""
    return msgspec.structs.replace(desired, link=Link(desired.link.target, desired.link.source))


def pair_among(sources: Mapping[Link, Set[Party]], link: Link) -> Link | None:
    """The pair that a link is of, in its direction: each is given with the groups that may stand for those who ask."""
    own_pair = Link(link.source, link.target)
    matching_pairs = (pair for pair, groups in sources.items() if pair.target == link.target and link.source in groups)
    return own_pair if own_pair in sources else next(matching_pairs, None)


def outcome_record(scope: Scope, decision: Decision) -> Record:
    """The outcome of a decision that changes nothing."""
    record = decision_record(decision, scope.delivery.region, "outcome")
    return {**record, **Circumstances(scope.fetch).effect(decision)}
