"""The scope of events about instances: their links become what their tags say now.

An event says which instance to look at; everything else is read. Rules between home groups are settled here; a peer in
another account is handed to the queue, where cross_account looks at the pair.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Collection, Iterable, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.errors import NoAccess
from link_peer.domain.grouped import grouped
from link_peer.domain.model import TAG, Claim, Instance, Link, Party, Rule, short_hash
from link_peer.domain.policy import Pause
from link_peer.domain.request import Hint
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.engine.converge import Scope, plan_only, report_held
from link_peer.engine.read.access import BY_PAGES
from link_peer.engine.read.store import groups_of
from link_peer.engine.records import denied_record
from link_peer.engine.scopes.calls import affordable, calls_left
from link_peer.engine.scopes.closing import converge_and_look
from link_peer.engine.scopes.differing import differences, peers_at_home
from link_peer.engine.scopes.handover import AT_ONCE, LOOK_AGAIN_SECONDS, Later, post_looks, post_syncs
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import owned_links
from link_peer.planning.claims import followed, moved_links, sources_of
from link_peer.planning.decision import Context, Decision, DesiredLink, Missing, Plan
from link_peer.planning.removals import May
from link_peer.planning.verdict.single_link import may_stand
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

YOUNG_SECONDS = 300  # the cloud may not show an instance, or its address, for that long
AHEAD = 8  # groups named in tags whose rules are read before it is known whether they exist
FOREIGN = "the peer is in another account: the pair is put on the queue"
FEW_OTHERS = 20  # groups whose rules name an instance's group: of more, few are read, and none unless tags have changed
TURN_SECONDS, TURN_SPREAD = 0.5, 4
FEW_HOLDERS = 30  # groups with rules between addresses that one delivery looks at


def reconcile_instances(
    delivery: Delivery, hints: Sequence[Hint], audit: AuditWriter, guard: RemovalGuard
) -> list[Later]:
    """Settles the instances that the hints name. Returns the instances that must be looked at again, recorded as
    attempts. Raises Transient where nothing could be decided."""
    scope = InstanceScope(delivery, hints, audit)
    scope.read()
    if error := scope.store.refusal(delivery.policy.home):
        audit.write([denied_record(denials.no_access(delivery.policy.home, error.code), "link")])
        return []
    if scope.other_askers:
        scope.yield_turn(guard)
    report = converge_and_look(scope, guard)
    report_held(scope, report, guard)
    scope.hand_over()
    audit.attempts(
        [(later.reason, {"action": "link", "instance": str(later.party)}) for later in scope.waiting.values()]
    )
    if report.pending:
        return [Later(party, str(report.pending[0]), scope.started + LOOK_AGAIN_SECONDS) for party in scope.hints]
    return list(scope.waiting.values())


class InstanceScope(Scope):
    """The instances of one delivery's events. `waiting` are those that the cloud may show, or whose peer it may show,
    later. `other_askers` are other instances that ask for the same: deliveries for them may be about to open it."""

    def __init__(self, delivery: Delivery, hints: Sequence[Hint], audit: AuditWriter) -> None:
        super().__init__(open_work(delivery, hints[0].event_id, audit, BY_PAGES))
        self.hints = one_per_party(hints)
        self.shrinks = any(hint.kind != "state" or hint.state == "Deleted" for hint in hints)
        self.looks = all(hint.kind == "look" for hint in hints)
        self.waiting: dict[Party, Later] = {}
        self.former: set[Party] = set()
        self.instances: list[Instance] = []
        self.other_askers: set[Party] = set()

    @property
    def home(self) -> str:
        """The home account."""
        return self.policy.home

    @property
    def context(self) -> Context:
        """Links are recorded as `link`, removals as `unlink`."""
        deleted = frozenset(party for party, hint in self.hints.items() if hint.state == "Deleted")
        return Context(self.policy, self.delivery.region, self.started, deleted=deleted)

    def read(self) -> None:
        """The instances; beside each other their groups and their peers at home, or the members of their groups where
        they name none any more, and where something may have to be closed the groups whose rules name theirs; then the
        rules that may be concerned. Nothing here grows with the number of groups in the account."""
        fetch = self.fetch
        fetch.instances(self.hints)
        if not self.store.readable(self.home):
            return
        snapshot = self.store.snapshot()
        gone_records = [
            record for party, hint in self.hints.items() if (record := self._classify(party, hint, snapshot))
        ]
        self.audit.write(gone_records)
        at_home = peers_at_home(self.instances, self.policy)
        own_groups = self._own_groups()
        if former := self._former_groups() - own_groups:
            fetch.parties(former)
            self.former = former & self.store.snapshot().groups.keys()
        named_groups = [peer for peer in at_home if peer.is_group]
        may_be_first = self.delivery.memory.begins_after_pause(self.started) and bool(named_groups) and not self.shrinks
        naming: set[Party] = set()
        holders: list[Party] = []
        ends = self.shrinks and not at_home
        fetch.side_by_side(
            # who else asks for what they asked for; the groups are read with those that hold the rules
            lambda: self._read_neighbours() if ends else fetch.parties([*own_groups, *at_home]),
            lambda: naming.update(fetch.references(own_groups | self.former) if self.shrinks else ()),
            lambda: holders.extend(self._groups_with_instance_rules(at_home, bool(gone_records))),
            *([lambda: self._find_other_askers(set(named_groups))] if may_be_first else []),
            *([functools.partial(fetch.rules, [peer]) for peer in named_groups] if len(named_groups) <= AHEAD else []),
        )
        if ends:
            self._read_others(holders, naming)
        snapshot = self.store.snapshot()
        links = {desired.link for desired in self.wishes(snapshot, self.instances)}
        needed = self.needed_groups(snapshot, links) & snapshot.groups.keys()
        managed = self.policy.keys.managed
        marked = {
            group
            for group in (own_groups | self.former) & snapshot.groups.keys()
            if snapshot.groups[group].tags.get(managed) == "true"
            or (self.shrinks and snapshot.groups[group].may_have_rules)  # the tag may have been refused
        }
        fetch.rules(needed | marked)
        self._find_left_groups(links, needed)
        if not ends:
            self._read_others([group for group in holders if group not in needed], naming - needed)
        self._read_halves()
        self._read_moved()
        self._read_askers()

    def _find_other_askers(self, peers: Set[Party]) -> None:
        """Finds out whether others ask for what these instances ask for, as far as one page of each one's first group
        shows them."""
        for group in {Party(self.home, instance.groups[0]) for instance in self.instances if instance.groups}:
            members, _ = self.fetch.first_page(group) or ((), "")
            asking = (member.party for member in members if not peers.isdisjoint(peers_at_home([member], self.policy)))
            self.other_askers |= set(asking) - self.hints.keys()

    def yield_turn(self, guard: RemovalGuard) -> None:
        """Before a rule is opened for which others ask, too: waits for the instance's turn, and reads the rule's group
        once more. One that got the managed tag meanwhile, and no rule yet, is being written by another delivery, which
        is left the time."""
        plan, managed = plan_only(self, guard), self.policy.keys.managed
        groups = sorted({edit.key.group for decision in plan.decisions for edit in decision.edits if edit.opens})
        if not groups:
            return
        # loads what writes records, so that the rule stands soon after this look
        self.delivery.connections.log.write([])
        store = self.store
        before = {group: store.rules.get(group) for group in groups if managed not in store.groups[group].tags}
        for seconds in (turn(min(self.hints), self.other_askers), TURN_SECONDS / 2):
            self.delivery.clock.sleep(seconds)
            with contextlib.suppress(NoAccess):  # it is noted, and nothing is opened
                self.fetch.side_by_side(
                    *(functools.partial(self.fetch.refresh_rules, group) for group in groups),
                    *(functools.partial(self.fetch.refresh_groups, group.account, [group]) for group in groups),
                )
            if not any(
                managed in store.groups[group].tags and store.rules.get(group) == was for group, was in before.items()
            ):
                break

    def _read_neighbours(self) -> None:
        """A page of the members of the instances' groups, in which they are or were, without other groups of theirs:
        more are read only while a plan misses somebody who asks for what stands."""
        self.fetch.members_by_page(self._own_groups() | self.former, 1, alone=True)

    def _read_others(self, holders: Sequence[Party], naming: Set[Party]) -> None:
        """Reads some of the groups that hold rules between addresses, and those whose rules name the instances' groups;
        beside them who else asks for these."""
        fetch = self.fetch
        home_groups = {group for group in naming if group.account == self.home}
        # the members of groups that an instance may have left are read later
        few = set(holders[: max(0, min(FEW_HOLDERS, calls_left(fetch) - len(self.former)))])
        if len(home_groups) > FEW_OTHERS:
            fetch.rules(few)
            home_groups = self._most_likely(home_groups)
        fetch.side_by_side(
            lambda: fetch.rules(few | home_groups),
            lambda: fetch.parties({*few, *home_groups, *groups_of(self.store.instances.values())}),
            *([self._read_neighbours] if home_groups else []),
        )

    def _read_halves(self) -> None:
        """The rules of the instances' groups that hold the other halves of mutual links: a group has no managed tag
        where that was refused. And of any group at home that holds one of a link that may no longer stand: both go
        together."""
        snapshot = self.store.snapshot()
        links = {link for link, *_ in owned_links(snapshot, self.policy, self.delivery.region) if link.mutual}
        links = {link for link in links if not self._foreign(link)}
        ends = {end for link in links for end in (link.source, link.target)} & (self._own_groups() | self.former)
        ending = {link for link in links if may_stand(snapshot, self.policy, link, self.started).denial}
        self.fetch.parties(end for link in ending for end in link.parties)
        ends |= self.needed_groups(self.store.snapshot(), ending)
        self.fetch.rules(ends & self.store.groups.keys())

    def _read_moved(self) -> None:
        """The other instances of links whose rules have a former address of these, and the rules of the groups that are
        to have them."""
        moved = moved_links(self.store.snapshot(), self.policy, self.delivery.region)
        links = {desired.link for desired in moved if not self._foreign(desired.link)}
        self.fetch.parties({end for link in links for end in link.parties if self.hints.keys() & {*link.parties}})
        snapshot = self.store.snapshot()
        self.fetch.rules(self.needed_groups(snapshot, links) & snapshot.groups.keys())

    def _read_askers(self) -> None:
        """The instances that rules on the instances' groups admit for tags, of links by address that one of the
        instances may have joined as a target: their tags say whether they still ask."""
        standing = owned_links(self.store.snapshot(), self.policy, self.delivery.region)
        links = [link for link, _, marker in standing if link.member and TAG in marker.claims]
        reached = grouped((link.pair, link.reached) for link in links if link.is_egress)
        followed_pairs = {
            pair
            for pair, parties in reached.items()
            for instance in self.instances
            if pair[1] in instance.own_groups and instance.party not in parties
        }
        askers = (link for link in links if not link.is_egress and link.pair in followed_pairs)
        self.fetch.parties({link.asker for link in askers if not self._foreign(link)})

    def _find_left_groups(self, links: Set[Link], peers: Set[Party]) -> None:
        """Notes the groups that instances which have moved may have been in. The event does not tell: tags' rules on
        the groups of their peers name them; and where such a rule is gone already, the other half of a mutual link
        names the peer."""
        if not any(hint.kind in ("moved", "look") for hint in self.hints.values()):
            return
        fetch = self.fetch
        at_home = {link.target for link in links if link.mutual and link.target.account == self.home}
        mutual = {target for target in at_home if target.is_group}
        halves = {half for half in fetch.references(mutual) if half.account == self.home} - peers
        fetch.rules(sorted(halves)[: max(0, calls_left(fetch) // 2)])
        tagged = [
            link
            for link, rule, marker in owned_links(self.store.snapshot(), self.policy, self.delivery.region)
            if rule.group in peers | halves and any(claim.is_tag for claim in marker.claims)
        ]
        ends = {link.source for link in tagged} | {link.target for link in tagged if link.mutual}
        former_groups = {end for end in ends - mutual if end.is_group and end.account == self.home}
        few = sorted(former_groups)[: max(0, calls_left(fetch) // 2)]
        fetch.parties(few)
        self.former |= self.store.snapshot().groups.keys() & few

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """Every instance that was read counts, so that a rule which a neighbour wants is kept. Those that events name
        are answered, and those that ask for one of these by its id: their rules have its address, and are on its
        group."""
        parties = {instance.party for instance in self.instances}
        requested = followed(snapshot, self.policy, self.delivery.region, self.work.writes.taken_claims)
        standing = owned_links(snapshot, self.policy, self.delivery.region)
        admitted = {(link.asker, link.target) for link, _, marker in standing if TAG in marker.claims}

        def is_answered(desired: DesiredLink) -> bool:
            if not parties & {desired.instance, *desired.link.parties}:
                return False
            # who joins the target of a link is let out beside its rules; one that is not open yet is opened whole, by
            # its own event
            is_own = desired.instance in parties or not desired.claim.is_tag or not desired.link.is_egress
            return is_own or (desired.instance, desired.link.target) in admitted

        return [
            desired if is_answered(desired) else msgspec.structs.replace(desired, in_scope=False)
            for desired in [*self.wishes(snapshot, snapshot.instances.values()), *requested]
            if not self._foreign(desired.link) or not desired.has_pair
        ]

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Tag links at home that these instances may have asked for, and what admits them by address: for an explicit
        cause alone, while the cloud may show the instance later."""
        at_home = {link.source.account, link.target.account} == {self.home}
        if not (at_home and (claim.is_tag or link.member) and self._may_have_asked(link)):
            return May.KEEP
        if not self.waiting.keys().isdisjoint({*link.parties, link.represented}):
            return May.CLOSE
        return May.TAKE if snapshot.covers(link) else May.READ

    def _may_have_asked(self, link: Link) -> bool:
        """Whether these instances may have asked for a link, or were admitted by it."""
        if link.member and link.represented in self.hints:
            return True
        if link.member and not link.is_egress:
            return False
        asking = {link.source, link.target} if link.mutual or not link.source.is_group else {link.source}
        return bool(asking & (self._own_groups() | self.former | self.hints.keys()))

    def select(self, plan: Plan) -> list[Decision]:
        """A pair of which the cloud may show a peer, or an address, later is looked at again, and nothing is recorded
        or removed. Of what others ask for, changes only."""
        askers = {None, *(instance.party for instance in self.instances)}
        decisions = [decision for decision in plan.decisions if decision.edits or decision.instance in askers]
        decisions += self._left_to_sweep(plan)
        pairs = []
        for decision_unshown in (decision for decision in plan.decisions if decision.link in plan.unshown):
            for party in sorted(self.hints.keys() & {decision_unshown.instance, *decision_unshown.link.parties}):
                if self._until(party) > self.started:
                    self._wait(
                        party,
                        f"{decision_unshown.link.source} to {decision_unshown.link.target}: {decision_unshown.denial.detail}, yet",
                    )
                    pairs.append({decision_unshown.link.source, decision_unshown.link.target})
        return [decision for decision in decisions if {decision.link.source, decision.link.target} not in pairs]

    def _left_to_sweep(self, plan: Plan) -> list[Decision]:
        """Of links that an instance may just have stopped asking for, that it is not known here whether anybody else
        asks."""
        if not any(hint.kind == "tags" for hint in self.hints.values()):
            return []
        standing = owned_links(self.store.snapshot(), self.policy, self.delivery.region)
        rules = grouped(
            (Link(*link.pair, link.ports), rule) for link, rule, _ in standing if link in plan.missing.unread
        )
        groups = {link: next(filter(self.fetch.is_read_in_part, link.askers), None) for link in rules}
        return [
            Decision(link, "link", "unchanged", denials.read_in_part(group), rules=tuple(rules[link]))
            for link, group in groups.items()
            if group
        ]

    def hand_over(self) -> None:
        """Posts syncs of pairs with other accounts. An event does not read the other side, so that all of them may
        differ: of many, a look finds out which do."""
        pairs = self.foreign_pairs()
        if self.looks:
            differing = differences(self, pairs)
            self.audit.write(differing.denied)
            post_syncs(self, {pair: pairs[pair] for pair in differing.pairs}, FOREIGN, differing.unread_pairs)
            for problem in self.store.snapshot().failed_accounts.values():
                for party, hint in self.hints.items():
                    expires = hint.expires if hint.expires is not None else self.started + LOOK_AGAIN_SECONDS
                    self.waiting.setdefault(party, Later(party, problem, expires))
        elif len(pairs) <= AT_ONCE or self.policy.paused is Pause.ALL:
            post_syncs(self, pairs, FOREIGN)
        else:
            ends = {end for pair in pairs for end in (pair.source, pair.target)} | set(pairs.values())
            asking = [instance for instance in self.instances if ends & {instance.party, *groups_of([instance])}]
            # those that wait are looked at in any case
            again = [instance.party for instance in asking if instance.party not in self.waiting]
            expires = max((self.hints[party].time or self.started for party in again), default=0.0) + YOUNG_SECONDS
            post_looks(
                self, again, expires, f"{len(pairs)} pairs with other accounts: which of them differ is looked at"
            )

    def foreign_pairs(self) -> dict[Link, Party | None]:
        """Pairs with other accounts to look at, mutual and in the asker's direction, each with the instance whose tag
        names it: those that rules on the instances' own groups, or for the instances, stand for, and those named in
        tags. The first ones may have to be closed, the next may be new, and of the last a rule stands already."""
        snapshot = self.store.snapshot()
        pairs: dict[Link, Party | None] = {}
        wishes = self.wishes(snapshot, self.instances)
        for desired in wishes:
            if self._foreign(desired.link) and desired.has_pair:
                pairs.setdefault(Link(desired.link.source, desired.link.target), desired.instance)
        named_pairs = set(pairs)
        also = {Link(group, pair.target): pair for pair in pairs for group in sources_of(snapshot, wishes, pair)}
        standing: set[Link] = set()
        for link, _, marker in owned_links(snapshot, self.policy, self.delivery.region):
            if self._foreign(link) and any(claim.is_tag for claim in marker.claims):
                for own_pair in self._own_pairs(link):
                    pair = also.get(own_pair) or own_pair  # one sync looks at all groups of those who ask
                    pairs.setdefault(pair, None)
                    standing.add(pair)
        ranked = sorted(pairs, key=lambda pair: (pair in named_pairs, pair in standing, pair))
        return {pair: pairs[pair] for pair in ranked}

    def _own_pairs(self, link: Link) -> list[Link]:
        """The pairs to look at for a rule of this link, where it is on the instances' own groups or for the instances.
        An egress rule to an instance does not tell which one of the group asked for it: one whose tags changed may
        have."""
        if link.is_egress and not link.target.is_group:
            may_have_asked = any(hint.kind in ("tags", "look") for hint in self.hints.values())
            members = [instance.party for instance in self.instances if link.source in instance.own_groups]
            return [Link(member, link.target) for member in members if may_have_asked]
        if link.holder not in self._own_groups() | self.hints.keys():
            return []
        return [Link(link.target, link.source) if link.mutual else Link(link.source, link.target)]

    def affordable(self, missing: Missing) -> Missing:
        """Whatever the instances' own links depend on; of the addresses that others' rules depend on, as many as calls
        are left for."""
        wishing = [*self.hints, *peers_at_home(self.instances, self.policy)]
        own_ips = {self.store.instances[party].ip for party in wishing if party in self.store.instances}
        questions = affordable(self.fetch, missing).questions
        own_questions = {
            question for question in missing.questions if isinstance(question, Address) and question.ip in own_ips
        }
        return msgspec.structs.replace(missing, questions=questions | own_questions)

    def _classify(self, party: Party, hint: Hint, snapshot: Snapshot) -> Record | None:
        """Notes whether an instance is shown. Returns the record of one that an old event names and the cloud does not
        show. A look ends without a record: the instance was released before it was ever seen."""
        instance = snapshot.instances.get(party)
        if instance is not None:
            self.instances.append(instance)
        elif hint.state == "Deleted":
            return None
        elif self._until(party) > self.started:
            self._wait(party, f"{party} is not shown yet")
        elif hint.kind != "look":
            fields = {"from_account": party.account, "from": party.id, "instance": str(party)}
            return denied_record(denials.instance_not_shown(), "link", **fields)
        return None

    def _wait(self, party: Party, problem: str) -> None:
        self.waiting.setdefault(party, Later(party, problem, self._until(party)))

    def _until(self, party: Party) -> float:
        """Until when the cloud may come to show what it does not show (epoch seconds): five minutes after the event or
        the trouble that it met, or when a look expires. Clocks may differ, but an event dated tomorrow, or not at all,
        is not awaited."""
        hint = self.hints[party]
        if hint.expires is not None:
            met_trouble = hint.expires > self.started + YOUNG_SECONDS  # and is repeated for an hour
            return hint.expires - LOOK_AGAIN_SECONDS + YOUNG_SECONDS if met_trouble else hint.expires
        time = hint.time or 0.0
        return time + YOUNG_SECONDS if time < self.started + YOUNG_SECONDS else 0.0

    def _former_groups(self) -> set[Party]:
        """The groups in which this process saw the instances before; those of now are remembered for later."""
        former = {group for party in self.hints for group in self.delivery.memory.groups(party)}
        for instance in self.instances:
            self.delivery.memory.note(instance)
        return former

    def _groups_with_instance_rules(self, peers: Iterable[Party], is_gone: bool) -> list[Party]:
        """Where an instance may be gone, may have moved or may ask no more, its rules are on any of these: an address
        leads to no rule. One that starts may have another address, or be another member of the source of a link."""
        starts = any(hint.state == "Running" for hint in self.hints.values())
        if not (self.shrinks or starts or is_gone or any(not peer.is_group for peer in peers)):
            return []
        return self.fetch.tagged_groups([self.home], self.policy.keys.instances)

    def _most_likely(self, peers: Set[Party]) -> set[Party]:
        """Of many groups whose rules name the instances' groups, as many as one message's calls allow, those first that
        no tag of a neighbour names: what they hold may be unwanted. The sweep looks at the rest."""
        self.fetch.members_by_page(self._own_groups(), 1)
        named_peers = set(peers_at_home(self.store.instances.values(), self.policy))
        return set(
            sorted(peers, key=lambda group: (group in named_peers, group))[
                : max(FEW_OTHERS // 2, calls_left(self.fetch))
            ]
        )

    def _own_groups(self) -> set[Party]:
        return {Party(self.home, group) for instance in self.instances for group in instance.groups}

    def _foreign(self, link: Link) -> bool:
        """A link with another account of the policy: cross_account decides about it."""
        accounts = {link.source.account, link.target.account}
        return accounts != {self.home} and accounts <= self.policy.accounts.keys()


def turn(party: Party, contenders: Collection[Party]) -> float:
    """How long an instance that was started lets `contenders` go first that ask for the same, in seconds. One is to
    open the link and the others to find it, but which of them are handled at this moment is not known. So the first of
    all does not wait, and turns are spread exponentially towards the end: however many of the others come, the first
    one's is well before the second one's."""
    places = [short_hash(str(contender)) for contender in (party, *contenders)]
    count, before = len(places), sorted(places).index(places[0])
    return TURN_SECONDS * max(0.0, 1 - math.log(count / (before + 0.5)) / min(TURN_SPREAD, math.log(2 * count)))


def one_per_party(hints: Iterable[Hint]) -> dict[Party, Hint]:
    """One hint per party: a deletion wins, then the latest."""
    hints_by_party: dict[Party, Hint] = {}
    for hint in sorted(hints, key=lambda hint: (hint.state == "Deleted", hint.time or 0.0)):
        hints_by_party[hint.party] = hint
    return hints_by_party
