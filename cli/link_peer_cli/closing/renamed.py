"""Closes what a deployment of this home left under a former name: `link-peer close --deployment <name>`, in all
accounts or on the groups that are named.

read these groups ─▶ the rules whose marker has that name, our home and the id of that very rule ─▶ ask ─▶ intent, revoke by id,
read back, outcome ─▶ look again ─▶ take that name's managed tags off the groups with nothing left

Our roles may write the managed tags of the present name only, so those of the former one are taken off with a person's
keys.
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import NoReturn

import msgspec
import typer
from link_peer.domain.denials import remark
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Claim, Link, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_instant, tag_keys
from link_peer.engine.converge import Scope, converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import MarkedRule
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan
from link_peer.planning.removals import May
from link_peer.runtime.ports import Record
from link_peer.views.reach import Scene
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import CloseAnswer, ClosedAccount
from link_peer_cli.audit.undo import undo
from link_peer_cli.closing.locks import GroupsByAccount, by_account, change_tags
from link_peer_cli.closing.run import look, look_at_halves, mutual_links, require_there
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.deployed.functions import deployments
from link_peer_cli.inventory.shown import wording
from link_peer_cli.review.delivery import closing, suppose
from link_peer_cli.review.plans import print_closed
from link_peer_cli.ui.console import console, may_ask, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.progress import counter, progress_bar
from link_peer_cli.ui.records import print_foreign, print_undo
from link_peer_cli.ui.tables import TableForm

Sweeps = Callable[[Environment], list[Record]]
"""The summaries of a day's sweeps of all deployments that write into a log."""
MAX_GROUPS = 20  # groups in one command
ALIVE_SECONDS = 30 * 60
"""Three sweeps are due in it."""


def close_deployment(
    env: Environment,
    name: str,
    tags: GroupTags,
    accounts: GroupsByAccount,
    form: TableForm,
    *,
    dry_run: bool,
    yes: bool,
) -> NoReturn:
    """Remove the rules of this home under another deployment's name, with the other halves of mutual links, say what is
    left, and exit."""
    as_json = form is TableForm.JSON
    run = _Leftovers(env, name, tags, accounts, dry_run=dry_run)
    with progress_bar(unless=as_json) as bar:
        count = counter(bar, "groups read")
        rules = run.look(lambda _uid, read_count, all_: count("groups read", read_count, all_))
    summary = f"{len(rules)} rules of deployment {name} on {len({rule.group for rule in rules})} groups"
    if rules and not (dry_run or yes):
        may_ask("closes", as_json=as_json)
        typer.confirm(f"Remove {summary}?", abort=True)
    remaining_rules = run.close(rules)
    commands = run.untag(tags, {rule.group for rule in remaining_rules})
    foreign = {} if dry_run else {group: text for group, text in commands.items() if group.account not in tags.accounts}
    changes = [*run.supposed.changes, *(CloudCall(group.account, text) for group, text in commands.items())]
    _report(
        run,
        f"found: {summary}; left: {len(remaining_rules)}",
        changes if dry_run else [],
        [] if dry_run else remaining_rules,
        foreign,
        form,
    )


class _Leftovers(Scope):
    """The rules of one former name. `problems` says by account, or group, what could not be read or closed."""

    def __init__(
        self, env: Environment, name: str, tags: GroupTags, accounts: GroupsByAccount, *, dry_run: bool
    ) -> None:
        former = msgspec.structs.replace(env, policy=msgspec.structs.replace(env.policy, deployment=name))
        peer_keys = {uid: keys for uid, keys in tags.accounts.items() if uid != env.policy.home}
        delivery, self.recorder, self.supposed = closing(
            former, "close", peer_keys, dry_run=dry_run, caller=tags.caller
        )
        event = f"close-cli-{int(env.now)}"
        super().__init__(open_work(delivery, event, delivery.audit({"event_id": event}), TOLERANT))
        self.problems: dict[str, str] = {}
        self._accounts = accounts
        self._mutual: set[Link] = set()
        self._tagged: dict[Party, list[str]] = {}

    def look(self, progress: Callable[[str, int, int], None] = lambda _uid, _read_count, _all: None) -> list[Rule]:
        """What stands now: the managed tag is no guide."""
        standing = look(self.delivery, self._accounts, progress)
        require_there(standing, self._accounts)
        self._mutual |= mutual_links(standing.values())
        halves = look_at_halves(self.delivery, self._accounts, self._mutual, standing)
        self.problems |= halves.problems
        self.problems |= {uid: account.problem for uid, account in standing.items() if account.problem}
        keys = self.policy.keys.of_group(instances=True)
        groups = [group for account in standing.values() if not account.problem for group in account.groups.values()]
        self._tagged = {group.party: due for group in groups if (due := [key for key in keys if key in group.tags])}
        marked = [*(rule for account in standing.values() for rule in account.marked), *halves.rules]
        return [rule.rule for rule in marked if rule.marker and rule.deployment == self.policy.deployment]

    def close(self, rules: Sequence[Rule]) -> list[Rule]:
        """Remove these rules. Returns those that stand afterwards."""
        self.fetch.parties(rule.group for rule in rules)
        self.fetch.rules(rule.group for rule in rules)
        report = converge(self, RemovalGuard(self.policy.limits.removals_per_run))
        self.problems |= {"rules": "; ".join(map(str, report.pending))} if report.pending else {}
        return [] if self.delivery.supposed or not rules else self.look()

    def untag(self, tags: GroupTags, full: Container[Party]) -> dict[Party, str]:
        """Take the managed tags off groups with nothing left, where there are keys. Returns the command for each
        group."""
        due = {group: keys for group, keys in sorted(self._tagged.items()) if group not in full}
        mine = [] if self.delivery.supposed else [group for group in due if group.account in tags.accounts]
        detail = f"no rule of the former name {self.policy.deployment} is left, so its managed tag is taken off"
        intents = ({"from_account": group.account, "from": group.id, "detail": detail} for group in mine)
        self.audit.write([{"record": "intent", "action": "repair", **intent} for intent in intents])
        for groups in by_account(mine).values():
            failed = change_tags(groups, lambda batch: tags.drop(batch, self.policy.keys.of_group(instances=True)))
            self.problems |= {str(group): str(error) for group, error in failed.items()}
        return {group: tags.commands(group, {}, keys)[0] for group, keys in due.items()}

    @property
    def context(self) -> Context:
        """Every claim is taken, whatever asks for the link."""
        reason = remark(f"a rule of this home under the former name {self.policy.deployment} of the deployment")
        return Context(self.policy, self.delivery.region, self.started, ("repair", "unlink"), withdrawn=reason)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:  # noqa: ARG002  # the method of a scope
        """Nothing."""
        return []

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:  # noqa: ARG002
        """Everything."""
        return May.TAKE

    def select(self, plan: Plan) -> list[Decision]:
        """The removals."""
        return [decision for decision in plan.decisions if decision.outcome == "removed"]


def _report(
    run: _Leftovers,
    summary: str,
    changes: list[CloudCall],
    remaining_rules: list[Rule],
    foreign: dict[Party, str],
    form: TableForm,
) -> NoReturn:
    """Print what was or would be removed, and what is left, and exit."""
    records, dry_run = run.recorder.outcomes, run.delivery.supposed
    standing = [f"{rule.id} on {rule.group}" for rule in remaining_rules]
    way_back = [] if dry_run else undo(records, run.delivery.policy.keys, instant.now())
    if form is TableForm.JSON:
        owners = {uid: [foreign[group] for group in groups] for uid, groups in by_account(foreign).items()}
        accounts = [ClosedAccount(uid, "", 0, None, "", advice) for uid, advice in owners.items()]
        known_remaining = None if dry_run else standing
        answer = CloseAnswer([], records, changes, accounts, {}, known_remaining, run.problems, "", {}, way_back)
        print_answer(answer)
    else:
        console().print(escape(summary))
        words = wording(run.policy, instant.now(), Scene(run.store.snapshot()) if form is TableForm.TABLE else None)
        wide = form is TableForm.WIDE
        print_closed(records, changes, standing, run.problems, words.called, dry_run=dry_run, wide=wide)
        print_foreign(foreign)
        print_undo(console(), way_back)
    raise typer.Exit(Exit.REFUSED if remaining_rules or run.problems or foreign else Exit.DONE)


def signs_by_name(env: Environment, marked: Iterable[MarkedRule], sweeps: Sweeps) -> dict[str, str]:
    """The other deployments of which these are rules, by name, with why each may be alive; empty for one that is
    not."""
    names = {rule.deployment for rule in marked if rule.marker} - {env.policy.deployment}
    return {name: "; ".join(signs_of_life(env, name, sweeps)) for name in sorted(names)}


def close_commands(marked: Iterable[MarkedRule]) -> list[str]:
    """The command for each deployment that removes its rules from the groups of these, and from no others; of many
    groups, from their accounts."""
    commands = []
    for name, groups in sorted(grouped((rule.deployment, rule.rule.group) for rule in marked).items()):
        parties = {str(group) for group in groups}
        places = parties if len(parties) <= MAX_GROUPS else {group.account for group in groups}
        commands.append(f"link-peer close {' '.join(sorted(places))} --deployment {name} --yes")
    return commands


def rule_text(marked: MarkedRule, deployment: str) -> str:
    """A rule that is left, with whose it is if it is not of this deployment."""
    text = f"{marked.rule.id} on {marked.rule.group}"
    if not marked.marker:
        return f"{text} (of nobody: its description names this home, and is not the marker of this rule)"
    return text if marked.deployment == deployment else f"{text} (of deployment {marked.deployment})"


def signs_of_life(env: Environment, name: str, sweeps_of_a_day: Sweeps) -> Iterator[str]:
    """Why the deployment may be one that is alive: its sweep was recorded in our log a moment ago, or last of all;
    functions of another prefix may be called so in their policy file. Also why that could not be told."""
    looking = env if env.reading else load_environment(reading=True)
    try:
        sweeps = sweeps_of_a_day(looking)
        last = max(sweeps, key=lambda record: record["time"], default={})
        theirs = max((record["time"] for record in sweeps if record.get("deployment") == name), default="")
        if theirs and (last.get("deployment") == name or env.now - parse_instant(theirs) < ALIVE_SECONDS):
            yield f"its sweep ran at {theirs}"
        groups = open_fetch(suppose(looking, "close")[0], "close", TOLERANT).all_groups(sorted(env.policy.accounts))
        keys = {key for group in groups for key in group.tags}
        for deployment in deployments(looking.settings, env.policy.home):
            if deployment.prefix == env.names.prefix:
                continue
            before, after = tag_keys(deployment.tag_prefix, "/", env.policy.home).managed.split("/")
            names = {key[len(before) : -len(after)] for key in keys if key.startswith(before) and key.endswith(after)}
            # where RAM refuses managed tags, nothing says what it is called
            if (
                deployment.prefix == name
                or deployment.tag_prefix == env.settings.tag_prefix
                or name in names
                or not names
            ):
                yield f"the functions {deployment.prefix}-… are in account {env.policy.home}, and may belong to it"
    except LinkPeerError as error:
        yield f"that could not be read: {error}"
