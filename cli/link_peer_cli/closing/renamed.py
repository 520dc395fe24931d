"""Closes what a deployment of this home left under a former name: `link-peer close --deployment <name>`.

read every group ─▶ the rules whose marker has that name, our home and the id of that very rule ─▶ ask ─▶ intent, revoke by id,
read back, outcome ─▶ look again ─▶ take that name's managed tags off the groups with nothing left

Our roles may write the managed tags of the present name only, so those of the former one are taken off with a person's keys.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NoReturn

import msgspec
import typer
from link_peer.domain.denials import remark
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Claim, Marker, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import tag_keys
from link_peer.engine.converge import Scope, converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import owned_rules
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Decision, Plan
from link_peer.planning.removals import May
from rich.markup import escape

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import ClosedAccount, Closing
from link_peer_cli.closing.locks import by_account, change_tags, tags_of
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.review.delivery import closing
from link_peer_cli.review.plans import print_changes
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.progress import Count, counter, progress_bar
from link_peer_cli.ui.records import PLANNED, print_foreign, print_records


def close_deployment(
    env: Environment, name: str, profiles: list[str] | None, *, dry_run: bool, yes: bool, as_json: bool
) -> NoReturn:
    """Remove the rules of this home under another deployment's name, say what is left, and exit."""
    tags = tags_of(env, profiles)
    run = _Leftovers(env, name, tags.caller, dry_run=dry_run)
    with progress_bar(unless=as_json) as bar:
        run.read(counter(bar, "groups read"))
    found = f"{len(run.rules)} rules of deployment {name} on {len({rule.group for rule in run.rules})} groups"
    if run.rules and not (dry_run or yes):
        if as_json or not sys.stdin.isatty():
            raise BadInput("--yes", "it would ask before it closes: give --yes, or --dry-run to see what")
        typer.confirm(f"Remove {found}?", abort=True)
    run.close()
    _report(run, _untag(env, run, tags, dry_run=dry_run), found, dry_run=dry_run, as_json=as_json)


class _Leftovers(Scope):
    """The rules of one former name, in all accounts. `rules` are those that were found, `left` those that stand afterwards;
    `problems` says by account what could not be read or closed."""

    def __init__(self, env: Environment, name: str, caller: str, *, dry_run: bool) -> None:
        former = msgspec.structs.replace(env, policy=msgspec.structs.replace(env.policy, deployment=name))
        delivery, self.kept, self.supposed = closing(former, "close", {}, dry_run=dry_run, caller=caller)
        event = f"close-cli-{int(env.clock.now())}"
        super().__init__(open_work(delivery, event, delivery.audit({"event_id": event}), TOLERANT))
        self.rules: list[Rule] = []
        self.left: list[Rule] = []
        self.problems: dict[str, str] = {}

    def read(self, progress: Count) -> None:
        """The rules of every group: the managed tag is no guide."""
        groups = self.fetch.all_groups(sorted(self.policy.accounts))
        asked = [group.party for group in groups if group.rule_count or self._tags(group.tags)]
        self.fetch.rules_in_time(sorted(asked), progress=lambda done, all_: progress("groups read", done, all_))
        self.rules = self._owned(self.store.snapshot())
        self._note(self.store.snapshot())

    def close(self) -> None:
        """Remove the rules that were read, then read again what stands."""
        if self.rules:
            report = converge(self, RemovalGuard(self.policy.limits.removals_per_run))
            self.problems |= {"rules": "; ".join(map(str, report.pending))} if report.pending else {}
        if not self.delivery.supposed:
            fetch = open_fetch(self.delivery, "close", TOLERANT)
            fetch.rules({rule.group for rule in self.rules})
            self.left = self._owned(fetch.store.snapshot())
            self._note(fetch.store.snapshot())

    def empty(self) -> dict[Party, list[str]]:
        """The managed tags of the former name on groups that were read and hold, or will hold, nothing of it."""
        groups = self.store.groups.items()
        full = {rule.group for rule in self.left}
        unread = {*self.problems} | {party.account for party, _ in groups if str(party) in self.problems}
        return {
            party: keys
            for party, group in sorted(groups)
            if (keys := self._tags(group.tags)) and party not in full and not unread & {party.account, "rules"}
        }

    @property
    def context(self) -> Context:
        """Every claim is taken, whatever asks for the link."""
        why = remark(f"a rule of this home under the former name {self.policy.deployment} of the deployment")
        return Context(self.policy, self.delivery.region, self.started, ("repair", "unlink"), withdrawn=why)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:  # noqa: ARG002  # the method of a scope
        """Nothing."""
        return []

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> May:  # noqa: ARG002
        """Everything."""
        return May.TAKE

    def select(self, plan: Plan) -> list[Decision]:
        """The removals."""
        return [decision for decision in plan.decisions if decision.outcome == "removed"]

    def _owned(self, snapshot: Snapshot) -> list[Rule]:
        return [rule for rule, _ in owned_rules(snapshot, self.policy, self.delivery.region)]

    def _tags(self, tags: Iterable[str]) -> list[str]:
        return [key for key in self.policy.keys.of_group(instances=True) if key in set(tags)]

    def _note(self, snapshot: Snapshot) -> None:
        failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
        self.problems |= {uid: str(error) for uid, error in failed.items()}


class _Untagged(msgspec.Struct, frozen=True):
    """The commands that take the tags off, and by group those that an owner must run."""

    commands: list[CloudCall]
    foreign: dict[Party, str]


def _untag(env: Environment, run: _Leftovers, tags: GroupTags, *, dry_run: bool) -> _Untagged:
    """Take the managed tags of the former name off groups with nothing left, with the keys that there are."""
    due = run.empty()
    commands = {group: tags.commands(group, {}, keys)[0] for group, keys in due.items()}
    foreign = {group: command for group, command in commands.items() if group.account not in tags.accounts}
    mine = [group for group in due if group not in foreign and not dry_run]
    for group in mine:
        detail = f"no rule of the former name {run.policy.deployment} is left, so its managed tag is taken off"
        where = {"from_account": group.account, "from": group.id}
        run.audit.write([{"record": "intent", "action": "repair", **where, "detail": detail}])
    keys = tag_keys(env.settings.tag_prefix, run.policy.deployment, env.policy.home).of_group(instances=True)
    for some in by_account(mine).values():
        failed = change_tags(some, lambda these: tags.drop(these, keys))
        run.problems |= {str(group): why for group, why in failed.items()}
    return _Untagged([CloudCall(group.account, command) for group, command in commands.items()], foreign)


def _report(run: _Leftovers, tags: _Untagged, found: str, *, dry_run: bool, as_json: bool) -> NoReturn:
    """Print what was or would be removed, and what is left, and exit."""
    records, left = run.kept.outcomes, [f"{rule.id} on {rule.group}" for rule in run.left]
    changes = [*run.supposed.changes, *tags.commands] if dry_run else []
    foreign = {} if dry_run else tags.foreign
    if as_json:
        owners: dict[str, list[str]] = {}
        for group, command in foreign.items():
            owners.setdefault(group.account, []).append(command)
        accounts = [ClosedAccount(uid, "", 0, None, "", advice) for uid, advice in owners.items()]
        print_answer(Closing([], records, changes, accounts, {}, None if dry_run else left, run.problems, ""))
    else:
        out, err = console(), console(stderr=True)
        out.print(escape(f"found: {found}"), soft_wrap=True)
        if records:
            print_records(out, "planned decisions" if dry_run else "decisions", records, PLANNED if dry_run else None)
        if dry_run:
            print_changes(out, changes)
        else:
            out.print(f"rules removed: {len(run.rules) - len(left)}; rules left: {len(left)}")
        for text in left:
            err.print(f"[red]still open: rule {escape(text)}[/red]", soft_wrap=True)
        for where, why in run.problems.items():
            err.print(f"[red]{escape(where)}: {escape(why)}[/red]", soft_wrap=True)
        print_foreign(foreign)
    raise typer.Exit(Exit.REFUSED if left or run.problems or foreign else Exit.DONE)
