"""Reads what `explain` and `links` answer from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator

from link_peer.domain.errors import BadInput, LinkPeerError, Throttled
from link_peer.domain.marker import deployment_named
from link_peer.domain.model import Claim, Group, Instance, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import is_group_id, is_instance_id, quoted
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Fetch, MissingReader, open_fetch
from link_peer.planning.decision import Context, Plan, Question, RulesOf, Verdict
from link_peer.planning.sweep import next_sweep
from link_peer.planning.verdict.holders import evaluate
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.pace import Pace
from link_peer.views.reach import Scene

from link_peer_cli.access import remembered
from link_peer_cli.access.environment import Environment
from link_peer_cli.access.inputs import account_named
from link_peer_cli.ui.looked import looked_at, note_unread
from link_peer_cli.ui.progress import Count
from link_peer_cli.ui.remedies import message


def unseen(_kind: str, _count: int, _all: int) -> None:
    """The progress that nobody watches."""


PARTY = "sg-…, i-…, or the name of a group or an instance, optionally with @<account uid or name>"


def rules_first(groups: Iterable[Group]) -> list[Party]:
    """All of these groups, in the order in which their rules are read: first those of which the listing counts some.
    Nothing promises that count to be of this moment, so it excuses no group."""
    return [group.party for group in sorted(groups, key=lambda group: (not group.may_have_rules, group.party))]


class View:
    """What was read of the accounts of a policy. An account that cannot be read is noted in `problems`. A view of what
    is `tagged` reads the rules of groups with our managed tag, and what decides about their links, and no others: `gap`
    says so."""

    def __init__(self, fetch: Fetch, policy: Policy, *, tagged: bool = False) -> None:
        self.policy = policy
        self._fetch = fetch
        self.tagged = tagged
        self._whole = tagged
        self._scene = Scene(Snapshot())

    @property
    def scene(self) -> Scene:
        """What was read so far: the same scene, with its indexes, until more is read."""
        snapshot = self._fetch.store.snapshot()
        if self._scene.snapshot is not snapshot:
            self._scene = Scene(snapshot)
        return self._scene

    @property
    def problems(self) -> list[str]:
        """A message for each account that could not be read."""
        failed = self._fetch.store.unreadable
        return [
            f"account {account} could not be read: {message(error, account)}"
            for account, error in sorted(failed.items())
        ]

    @property
    def unread_groups(self) -> list[Party]:
        """The groups that were listed and whose rules were not read, in accounts that can be: those that show rules
        first."""
        store = self._fetch.store
        return [
            party
            for party in sorted(store.groups, key=self._order)
            if party not in store.rules and store.readable(party.account)
        ]

    @property
    def gap(self) -> str:
        """How many groups were not read, as far as groups were listed; empty if all were."""
        count = len(self.unread_groups)
        return f"the rules of {count:,} of {len(self._fetch.store.groups):,} groups were not read" if count else ""

    def read_all(self, progress: Count = unseen) -> None:
        """Reads every group with its rules, and every instance."""
        self.read_tagged(progress)
        self.read_others(progress)

    def read_tagged(self, progress: Count = unseen) -> None:
        """Reads every instance, every group, and the rules of the groups with our managed tag. Interrupted, it says
        what was not read."""
        accounts = sorted(self.policy.accounts)
        managed = self.policy.keys.managed
        listed_groups = self._fetch.all_groups(accounts)
        tagged = [group.party for group in listed_groups if group.tags.get(managed) == "true"]
        with self._noting_gap():
            self._fetch.side_by_side(lambda: self._fetch.all_instances(accounts), lambda: self._rules(tagged, progress))

    def read_others(self, progress: Count = unseen) -> None:
        """Reads the rules of all other groups that were listed, unless only what is `tagged` is asked for. The managed
        tag is no guide to rules of ours: tools that rewrite tags remove it. Nor is RuleCount, which nothing promises to
        be of this moment: it says what is read last."""
        if not self.tagged:
            with self._noting_gap():
                self._rules(self.unread_groups, progress)
            self._whole = True

    def instances(self) -> None:
        """Reads every instance, and every group without its rules: a name of several parties is none of its own."""
        accounts = sorted(self.policy.accounts)
        self._fetch.side_by_side(lambda: self._fetch.all_instances(accounts), lambda: self._fetch.all_groups(accounts))

    def has_rules_of_ours(self, groups: Iterable[Party]) -> bool:
        """Whether one of these groups holds a rule that names link-peer, as far as their rules were read."""
        rules, home = self._fetch.store.rules, self.policy.home
        return any(
            deployment_named(rule.description, home) is not None for group in groups for rule in rules.get(group, ())
        )

    def around(self, parties: Iterable[Party]) -> None:
        """Reads these parties, the members of groups, and all the groups that members are in."""
        ends = set(parties)
        self._fetch.parties(ends)
        self._fetch.members(party for party in ends if party.is_group)

    def deciding(self, links: Iterable[tuple[Party, Party]]) -> None:
        """Reads what decides about packets between these parties and is not read yet: the rules of all of their
        instances' groups, and whether members of a common group reach each other."""
        scene = self.scene
        groups: set[Party] = set()
        common: set[Party] = set()
        for source, target in links:
            ends = scene.groups(source), scene.groups(target)
            groups |= ends[0] | ends[1]
            common |= ends[0] & ends[1]
        by_party = scene.snapshot.groups
        self._rules(group for group in groups if group in by_party)
        self._fetch.questions(group for group in sorted(common) if group in by_party and not by_party[group].advanced)

    def _rules(self, groups: Iterable[Party], progress: Count = unseen) -> None:
        """Reads the rules of these groups, over as many minutes as that takes. An account of which a whole minute lets
        none through has failed."""
        ordered_groups = sorted(set(groups), key=self._order)
        unread_groups = self._fetch.rules_in_time(
            ordered_groups, progress=lambda count, total: progress("groups read", count, total)
        )
        for account in sorted({group.account for group in unread_groups}):
            self._fetch.store.note_trouble(
                account, Throttled("others use up the calls that it allows in a minute; try again later")
            )

    def _order(self, party: Party) -> tuple[bool, Party]:
        group = self._fetch.store.groups.get(party)
        return group is not None and not group.may_have_rules, party

    @contextlib.contextmanager
    def _noting_gap(self) -> Iterator[None]:
        """What a command that is stopped meanwhile says of it."""
        try:
            yield
        finally:
            note_unread(self._fetch.store.unreadable, self.gap)

    def next_sweep(self, region: str, now: float, *, reads_on: bool = True) -> Plan:
        """The plan of the next sweep, as far as rules were read, made once of what was. What a sweep would read to know
        of more is read; whether removals are too many is known once all was, which is then read, too, if the view
        `reads_on`."""
        missing = MissingReader(self._fetch)
        while True:
            snapshot = self._fetch.store.snapshot()
            memory, place = snapshot.memory(self.policy), (region, now)
            if place not in memory:
                memory[place] = next_sweep(snapshot, self.policy, *place)
            plan: Plan = memory[place]
            if missing.read(plan.missing, snapshot):
                continue
            if self._whole or not plan.due or not reads_on:
                return plan
            self.read_all()

    def answer(self, questions: Iterable[Question]) -> None:
        """Reads what evaluating a link needs besides its parties."""
        questions = list(questions)
        self._rules(question.group for question in questions if isinstance(question, RulesOf))
        self._fetch.questions(questions)

    def find(self, text: str, field: str, extra_parties: Callable[[], Collection[Party]] | None = None) -> Party:
        """The party that a person means: a name of the policy, an id, or the name of a group or an instance, in the
        account given with `@`, else in any. With `extra_parties`: also one of these that is not shown, or of a given
        account that cannot be read. Raises BadInput for `field` if there is none, or more than one."""
        name, at, where = str(self.policy.names.get(text, text)).partition("@")
        accounts = [account_named(self.policy, where, field)] if at else sorted(self.policy.accounts)
        if is_group_id(name) or is_instance_id(name):
            parties = [Party(account, name) for account in accounts]
            self._fetch.parties(parties)
            snapshot = self._fetch.store.snapshot()
            matches = [party for party in parties if party in snapshot.groups or party in snapshot.instances]
            if extra_parties and not matches:
                hidden = {*snapshot.refused_accounts, *snapshot.failed_accounts}
                matches = [party for party in parties if at and party.account in hidden] or sorted(
                    {*extra_parties()} & {*parties}
                )
        else:
            self._fetch.side_by_side(
                lambda: self._fetch.all_instances(accounts), lambda: self._fetch.all_groups(accounts)
            )
            snapshot = self._fetch.store.snapshot()
            resources: list[Group | Instance] = [*snapshot.groups.values(), *snapshot.instances.values()]
            matches = sorted(
                resource.party
                for resource in resources
                if name and resource.name == name and resource.party.account in accounts
            )
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise BadInput(field, f"{quoted(name)} is the name of {', '.join(map(str, matches))}: name one by its id")
        if self.problems:
            raise LinkPeerError(f"{field}: {quoted(text)} was not found; {'; '.join(self.problems)}")
        name_text = f"{quoted(text)} does not exist" if text else "the text is empty"
        raise BadInput(field, f"{name_text} ({PARTY}). Looked at: {looked_at()}")


def remember_parties(env: Environment, snapshot: Snapshot) -> None:
    """Remember the names and ids of what a command has read, for the shell to complete."""
    resources: list[Group | Instance] = [*snapshot.groups.values(), *snapshot.instances.values()]
    names_by_party = {str(resource.party): resource.name for resource in resources}
    remembered.remember(env.policy.home, env.settings.region, names_by_party, snapshot.whole_accounts)


class SavedView:
    """What was read before, for what asks a View of the cloud to read more: nothing more can be read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.scene = Scene(snapshot)

    def around(self, parties: Iterable[Party]) -> None:
        """As of a View."""

    def deciding(self, links: Iterable[tuple[Party, Party]]) -> None:
        """As of a View."""

    def answer(self, questions: Iterable[Question]) -> None:
        """As of a View."""


def view_of(delivery: Delivery, *, tagged: bool = False) -> View:
    """A view that leaves events their part of what an account may call in a minute, as a sweep does."""
    pace = Pace(delivery.clock, delivery.retry.deadline, delivery.throughput.calls_per_minute)
    fetch = open_fetch(delivery, delivery.function, Reading(tolerant=True, pace=pace))
    return View(fetch, delivery.policy, tagged=tagged)


def verdict_if_asked(view: View | SavedView, context: Context, link: Link) -> Verdict:
    """Whether a link would be granted if it were requested now. What the verdict turns out to depend on is read."""
    request = frozenset({Claim("cli-00000000")})  # as long as the ids that `link-peer request` makes
    questions: set[Question] = set()
    while True:
        verdict = evaluate(view.scene.snapshot, context, link, request)
        if questions.issuperset(verdict.open_questions):
            return verdict
        questions.update(verdict.open_questions)
        view.answer(verdict.open_questions)
