"""`link-peer close`: lock groups, and remove their rules at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import msgspec
import typer
from link_peer.domain.denials import CLOSED_BY
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Rule
from link_peer.domain.tags import iso, quoted
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.planning.actual import MarkedRule
from link_peer.planning.consent import TAG_VALUE
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import CloseAnswer, ClosedAccount
from link_peer_cli.audit.undo import undo
from link_peer_cli.checks.finding import few
from link_peer_cli.checks.runs import sweeps_of_a_day
from link_peer_cli.closing.locks import enter, pages, requested_groups, tags_of
from link_peer_cli.closing.pair_run import close_pair
from link_peer_cli.closing.renamed import close_commands, close_deployment, rule_text, signs_by_name, signs_of_life
from link_peer_cli.closing.run import ClosingRun, require_there
from link_peer_cli.consent.group_tags import record_tags, tag_records
from link_peer_cli.deployed.policy import other_policy
from link_peer_cli.inventory.shown import Wording, scene_of, wording
from link_peer_cli.review.plans import closed_links, print_closed
from link_peer_cli.ui import aliyun
from link_peer_cli.ui.console import console, may_ask, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import (
    Account,
    All,
    Between,
    Deployment,
    DryRun,
    EvenIfAlive,
    Groups,
    Json,
    Output,
    Profiles,
    Yes,
    plan_form,
)
from link_peer_cli.ui.progress import counter, progress_bar
from link_peer_cli.ui.records import print_undo
from link_peer_cli.ui.tables import TableForm, draw_table, print_list

ALIVE = "it may be alive, and open again what is removed: close what it has with its own policy file"


def close(
    groups: Groups = None,
    account: Account = "",
    all_accounts: All = False,
    between: Between = False,
    deployment: Deployment = "",
    even_if_alive: EvenIfAlive = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Output = TableForm.TABLE,
    as_json: Json = False,
) -> None:
    """Lock groups with a tag and remove link-peer's rules from them now, in all accounts at once; then say what is
    left.

    Another account is entered with its keys (`--profile`), else by its closer role; if it has none, its owner gets the
    commands. Nothing is opened there until `reopen`. With `--between`, two groups, instances or accounts refuse each
    other instead, by the tag link-refuse.
    """
    form = plan_form(output, as_json=as_json)
    as_json = form is TableForm.JSON
    env = load_environment(reading=dry_run, anywhere=not deployment)
    tags = tags_of(env, profile)
    if between:
        _require_alone(account, deployment, all_accounts=all_accounts)
        close_pair(env, tags, groups, form, dry_run=dry_run, yes=yes)
    all_accounts = all_accounts or bool(deployment and not (groups or account))
    accounts = requested_groups(env, tags.own_account, groups, account, all_accounts=all_accounts)
    if deployment:
        _require_former(env, deployment, insists=even_if_alive)
        close_deployment(env, deployment, tags, accounts, form, dry_run=dry_run, yes=yes)
    asks = not (dry_run or yes) and None in accounts.values()
    if asks:
        may_ask("closes", as_json=as_json)
    accounts_with_keys, at_home = set(tags.accounts), tags.own_account == env.policy.home
    refused = enter(env, tags, accounts)
    value = f"{CLOSED_BY}{tags.caller[: TAG_VALUE - len(CLOSED_BY) - 21]} {iso(env.now)}"
    with progress_bar(unless=as_json) as bar:
        count = counter(bar, "groups read", "groups closed")
        run = ClosingRun(env, tags, accounts, value, count, dry_run=dry_run)
        run.look(accounts if at_home else run.mine)
        require_there(run.standing, accounts)
        before = {party: group.tags for standing in run.standing.values() for party, group in standing.groups.items()}
        if asks:
            bar.stop()
            typer.confirm(_question(run), abort=True)
            bar.start()
        if dry_run:
            run.suppose()
        elif at_home:
            run.run()
        else:
            run.lock(run.mine)
    records = tag_records(env, tags, "close", before)
    if records and (problem := record_tags(env, tags, "close", records, patient=at_home)) and at_home:
        run.removal.troubles[min(tags.calls[0].groups)] = f"the audit log has no record of the locks: {problem}"
    signs = signs_by_name(env, run.unowned, sweeps_of_a_day) if at_home else {}
    named_groups = [group for chosen in accounts.values() for group in chosen or ()]
    other_groups = _other_groups(run, named_groups) if at_home and not dry_run else {}
    way_back = [] if dry_run else undo([*records, *run.removal.recorder.outcomes], env.policy.keys, env.now)
    report = _Report(env, run, value, at_home, dry_run, signs, other_groups, way_back, form)
    elsewhere = {rule.rule.group.account: None for rule in run.halves.rules if rule.rule.group.account not in accounts}
    answers = [
        report.account(uid, chosen or (), accounts_with_keys, refused.get(uid, ""))
        for uid, chosen in {**accounts, **elsewhere}.items()
    ]
    _print(report, answers, other_policy(env) if at_home else "")


def _require_alone(account: str, deployment: str, *, all_accounts: bool) -> None:
    if account or deployment or all_accounts:
        raise BadInput("--between", "give it with two groups, instances or accounts alone")


def _other_groups(run: ClosingRun, named_groups: Collection[Party]) -> dict[str, list[str]]:
    """The further groups of the instances of each of these groups which is locked now: those that are not locked may
    admit what the lock keeps off."""
    locked_groups = run.locked.intersection(named_groups)
    fetch = open_fetch(run.removal.delivery(patient=False), "close", TOLERANT)
    fetch.members(locked_groups)
    snapshot, lock_on = fetch.store.snapshot(), run.removal.delivery(patient=False).policy.keys.lock_on
    other_groups = {
        str(group): sorted(
            str(further)
            for further in {
                g for member in snapshot.members.get(group, ()) for g in snapshot.instances[member].own_groups
            }
            if further not in run.locked and further in snapshot.groups and not lock_on(snapshot.groups[further].tags)
        )
        for group in sorted(locked_groups)
    }
    return {group: further_groups for group, further_groups in other_groups.items() if further_groups}


def _question(run: ClosingRun) -> str:
    due, standings = sum(len(run.due(uid)) for uid in run.mine), [run.standing[uid] for uid in run.mine]
    unknown = [uid for uid, standing in run.standing.items() if standing.problem]
    text = f"Lock {due} groups in {len(standings)} accounts, and remove their {sum(len(standing.rules) for standing in standings)} rules?"
    return f"{text} Not read yet: {', '.join(unknown)}." if unknown else text


class _Report(msgspec.Struct, frozen=True):
    """What is said of a run."""

    env: Environment
    run: ClosingRun
    value: str  # of the locks
    at_home: bool  # the person's keys are those of home
    dry_run: bool
    signs: Mapping[str, str]  # why another deployment may be alive, by name; empty for one that is not
    other_groups: Mapping[str, list[str]]  # those of the instances of locked groups
    undo: list[str]  # the commands that take it back
    form: TableForm

    @property
    def words(self) -> Wording:
        """The wording, with the names of what the run read."""
        groups = {party: group for account in self.run.standing.values() for party, group in account.groups.items()}
        scene = scene_of([*{**self.run.removal.parties, **groups}.values()])
        return wording(self.env.policy, self.env.now, scene if self.form is TableForm.TABLE else None)

    @property
    def remaining_rules(self) -> list[MarkedRule]:
        """The rules of this home that still stand, of whichever deployment, as far as they could be read; in a dry run,
        and with the keys of another account, those that neither a run nor the next sweep removes."""
        if self.dry_run or not self.at_home:
            return self.run.unowned
        return [*(rule for account in self.run.standing.values() for rule in account.marked), *self.run.halves.rules]

    @property
    def problems(self) -> dict[str, str]:
        """What went wrong, by group, or by the deployment that may be alive."""
        troubles = {str(group): trouble for group, trouble in self.run.removal.troubles.items() if trouble}
        alive = {f"deployment {name}": f"{ALIVE} ({signs})" for name, signs in self.signs.items() if signs}
        return {**troubles, **self.run.halves.problems, **alive}

    @property
    def commands(self) -> list[CloudCall]:
        """In a dry run, the calls that would be made."""
        if not self.dry_run:
            return []
        locks = [CloudCall(uid, text) for uid in self.run.mine for text in self._lock(self.run.due(uid))]
        return [*locks, *self.run.removal.supposed.changes]

    def account(
        self, uid: str, named_groups: Iterable[Party], accounts_with_keys: Iterable[str], refused: str
    ) -> ClosedAccount:
        """What stands in one account, and the commands for it. `named_groups` are groups, `accounts_with_keys` the
        accounts of the person's keys; `refused` is why it was not entered."""
        run, standing = self.run, self.run.standing.get(uid)
        entered = "" if uid not in run.mine else "keys" if uid in accounts_with_keys else "closer"
        problem = standing.problem if standing else ""
        settled = standing and self.at_home and not (self.dry_run and entered)
        rules = [rule for rule, _ in standing.rules] if standing and settled else []
        remaining = [rule for rule in self.remaining_rules if rule.rule.group.account == uid]
        due = {group for group in run.unlocked if group.account == uid} if entered else set()
        due |= set() if entered else set(run.due(uid) if standing else named_groups)
        rules += [rule.rule for rule in remaining if self._is_of_owner(rule)]
        advice = [*self._lock(due), *self._revoke(rule for rule in dict.fromkeys(rules) if rule.group not in due)]
        advice += close_commands(rule for rule in remaining if not self._is_of_owner(rule))
        if problem:
            advice.append(f"link-peer close {uid} --yes")
        is_known = standing is not None and not problem and self.at_home and not self.dry_run
        locked = sum(group.account == uid for group in run.locked)
        reason = problem or (refused if rules or due or not standing else "")
        return ClosedAccount(uid, entered, locked, len(remaining) if is_known else None, reason, advice)

    def _is_of_owner(self, marked: MarkedRule) -> bool:
        """Whether a rule that is left is removed with keys of its account alone: a rule of ours, which the run could
        not remove, of nobody, or of a deployment that may be alive."""
        return not marked.marker or bool(self.signs.get(marked.deployment, "ours"))

    def _lock(self, groups: Iterable[Party]) -> list[str]:
        put = {self.env.policy.keys.lock: self.value}
        return pages(groups, lambda ids: aliyun.set_tags(self.env.settings.region, ids, put))

    def _revoke(self, rules: Iterable[Rule]) -> list[str]:
        ids = grouped(((rule.group, rule.is_egress), rule.id) for rule in rules)
        region = self.env.settings.region
        return [aliyun.revoke(region, group.id, rule_ids, egress=egress) for (group, egress), rule_ids in ids.items()]


def _print(report: _Report, accounts: list[ClosedAccount], warning: str) -> None:
    """Print what was or would be closed, and what stands."""
    run, remaining = report.run, [rule_text(rule, report.env.policy.deployment) for rule in report.remaining_rules]
    records, dry_run = run.removal.recorder.outcomes, report.dry_run
    problems = report.problems
    unlocked = {str(group): str(error) for group, error in run.unlocked.items()}
    if report.form is TableForm.JSON:
        locked = sorted(str(group) for group in run.locked)
        known_remaining = remaining if report.at_home or remaining else None
        print_answer(
            CloseAnswer(
                locked,
                records,
                report.commands,
                accounts,
                unlocked,
                known_remaining,
                problems,
                warning,
                dict(report.other_groups),
                report.undo,
            )
        )
    else:
        words, wide = report.words, report.form is TableForm.WIDE
        if dry_run and (due := [group for uid in run.mine for group in run.due(uid)]):
            print_list(console(), "groups to lock", [words.worded(str(group)) for group in due], wide=wide)
        troubles = {**problems, **unlocked}
        print_closed(records, report.commands, remaining, troubles, words.called, dry_run=dry_run, wide=wide)
        warn([warning] if warning else [])
        _say_accounts(accounts, unlocked, dry_run=dry_run)
        _say_empty(report)
        if not dry_run:
            _say_closed(report, accounts, len(closed_links(records)))
            print_undo(console(), report.undo)
    bad = remaining or problems or unlocked or any(account.problem or account.advice for account in accounts)
    raise typer.Exit(Exit.REFUSED if bad else Exit.DONE)


def _say_accounts(accounts: list[ClosedAccount], unlocked: Iterable[str], *, dry_run: bool) -> None:
    """Say what is left in each account, if there is more than one; and what is to be done there, each command on a line
    of its own."""
    out = console()
    if len(accounts) > 1 and not dry_run:
        rows = [
            (a.account, a.entered, a.locked, "unknown" if a.remaining_rules is None else a.remaining_rules)
            for a in accounts
        ]
        draw_table(out, "accounts", ("account", "entered by", "groups locked", "rules left"), rows)
    reopening = {group.partition("@")[2] for group in unlocked}
    for account in accounts:
        if not (account.advice or account.problem):
            continue
        heading = f"account {account.account}: "
        if account.remaining_rules is None and account.problem and account.entered:
            heading += f"it could not be read ({account.problem}), so what is left there is unknown. Run again:"
        elif not account.entered and account.problem:
            heading += f"not closed, because it could not be entered ({account.problem}). Its owner runs this command, or use --profile:"
        elif account.account in reopening:
            heading += (
                "some groups could not be locked: the next sweep may open them again, until their owner runs this:"
            )
        else:
            heading += "rules are left. This removes them; for aliyun, its owner's keys are needed:"
        out.print("\n".join(escape(text) for text in (heading, *account.advice)))


def _say_empty(report: _Report) -> None:
    """Name the whole accounts in which there is nothing to close: a person may have meant a group that has the name of
    one."""
    policy = report.env.policy
    for uid, standing in sorted(report.run.standing.items()):
        if not (standing.groups or standing.problem):
            name = f" ({policy.accounts[uid].name})" if uid in policy.accounts and policy.accounts[uid].name else ""
            console().print(escape(f"No group of account {uid}{name} has a rule of link-peer."), soft_wrap=True)


def _say_closed(report: _Report, accounts: list[ClosedAccount], removed: int) -> None:
    """Say how many groups were locked, and what is known of their rules."""
    out, locked = console(), f"groups locked: {len(report.run.locked)}"
    if not report.at_home:
        out.print(f"{locked}. The keys are not those of home: the next sweep removes the rules.")
        return
    unknown = [account.account for account in accounts if account.remaining_rules is None]
    remaining_count = (
        f"at least {len(report.remaining_rules)}, unknown in {', '.join(unknown)}"
        if unknown
        else str(len(report.remaining_rules))
    )
    out.print(f"{locked}; links closed: {removed}; rules left: {remaining_count}")
    if report.run.locked:  # a person who sees 0 alone would look for what went wrong
        out.print("The functions close locked groups, too, and may be first: link-peer audit reason=locked")
        for group, further_groups in report.other_groups.items():
            text = (
                f"The instances of {group} are also in {few(further_groups)}, which may admit what the lock keeps off."
            )
            out.print(escape(report.words.worded(text)))


def _require_former(env: Environment, name: str, *, insists: bool) -> None:
    """Raises BadInput for what is no other name, and, unless the person `insists`, LinkPeerError where a deployment of
    that name may be alive, as far as can be told: its functions would go on opening what is closed."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", name):
        raise BadInput("--deployment", f"{quoted(name)} is not a name of a deployment: a-z, 0-9 and -")
    if name == env.policy.deployment:
        raise BadInput("--deployment", f"{name} is this deployment: link-peer close --all")
    if not insists and (signs := "; ".join(signs_of_life(env, name, sweeps_of_a_day))):
        raise LinkPeerError(
            f"nothing was changed: the deployment {name} may still exist: {signs}. If it is a former name of this one after "
            "all: --even-if-alive"
        )
