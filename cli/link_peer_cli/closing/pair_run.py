"""`close --between` and `reopen --between`: the tags by which the groups of a pair refuse each other, and the rules
between them."""

from __future__ import annotations

import shlex
from typing import NoReturn

import typer
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.tags import split
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.runtime.delivery import Delivery
from link_peer.views.reach import Scene
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.noted import of_tags
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import PairClosed, Reopening
from link_peer_cli.audit.undo import undo
from link_peer_cli.closing.between import Between, Pair, pair_of, passing, read_pair
from link_peer_cli.closing.locks import OPENS_AGAIN, enter
from link_peer_cli.closing.run import Removal
from link_peer_cli.consent.group_tags import GroupTags, record_tags, tag_records
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.inventory.shown import Wording, wording
from link_peer_cli.review.delivery import closing, suppose
from link_peer_cli.review.plans import closed_links, print_changes, print_closed
from link_peer_cli.ui import aliyun
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, may_ask, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import print_undo
from link_peer_cli.ui.remedies import message
from link_peer_cli.ui.tables import TableForm, print_list


def close_pair(
    env: Environment, tags: GroupTags, names: list[str] | None, form: TableForm, *, dry_run: bool, yes: bool
) -> NoReturn:
    """Have the groups of two ends refuse each other, remove what stands between them, and say what still lets packets
    pass."""
    as_json = form is TableForm.JSON
    pair = pair_of(env, tags.own_account, names)
    if not (dry_run or yes):
        may_ask("closes", as_json=as_json)
    refused_accounts = enter(env, tags, dict.fromkeys(end.account for end in pair))
    run = _PairRun(env, tags, pair, dry_run=dry_run)
    before = run.look()
    for account, problem in refused_accounts.items():
        run.problems[account] = f"not entered ({problem}): its owner may run this command, too"
    beside, words = before.beside(), wording(env.policy, env.now, Scene(before.snapshot))
    words = words if form is TableForm.TABLE else words.by_ids
    if not (dry_run or yes):
        if beside:
            console().print(escape(words.worded("\n".join(beside))))
        groups = words.worded(", ".join(map(str, before.entries())) or "no group")
        typer.confirm(f"Have {groups} refuse the other end, and remove {len(before.ended())} rules?", abort=True)
    run.close(before)
    records = tag_records(env, tags, "close", {p: g.tags for p, g in before.snapshot.groups.items()})
    if records and (problem := record_tags(env, tags, "close", records)):
        run.problems["the audit log"] = f"it has no record of this: {problem}"
    after = before if dry_run else run.look()
    with waiting("reading what decides"):
        passing_rules = [] if dry_run else passing(view_of(suppose(load_environment(reading=True), "close")[0]), pair)
    reopening = shlex.join(["link-peer", "reopen", "--between", *map(str, pair)])
    decisions = undo(run.removal.recorder.outcomes, env.policy.keys, env.now)
    way_back = [*([reopening] if records else []), *([] if dry_run else decisions)]
    answer = PairClosed(
        {str(group): text for group, text in sorted(run.refusing.items())},
        beside,
        run.removal.recorder.outcomes,
        [*run.commands, *run.removal.supposed.changes] if dry_run else [],
        [] if dry_run else [f"{rule.id} on {rule.group}" for _, rule, _ in after.standing],
        passing_rules,
        run.problems | {str(group): trouble for group, trouble in run.removal.troubles.items() if trouble},
        before.never_line(),
        way_back,
    )
    if as_json:
        print_answer(answer)
    else:
        _say(answer, words, dry_run=dry_run, at_home=run.at_home, wide=form is TableForm.WIDE)
    raise typer.Exit(Exit.REFUSED if answer.remaining_rules or passing_rules or answer.problems else Exit.DONE)


class _PairRun:
    """One run of `close --between`. `refusing` says by which tag (`key=value`) each group refuses the other end now;
    `commands` are the calls that set those which it did not have."""

    def __init__(self, env: Environment, tags: GroupTags, pair: Pair, *, dry_run: bool) -> None:
        self._env = env
        self._tags = tags
        self._pair = pair
        self._dry_run = dry_run
        self.at_home = tags.own_account == env.policy.home
        self.removal = Removal(env, tags, lambda _label, _count, _all: None, dry_run=dry_run)
        self.refusing: dict[Party, str] = {}
        self.commands: list[CloudCall] = []
        self.problems: dict[str, str] = {}

    def look(self) -> Between:
        """What stands now."""
        between, problems = _look(self.removal.delivery(patient=True), self._pair)
        self.problems |= problems if self.at_home else {}
        return between

    def close(self, before: Between) -> None:
        """Write the entries, each under a key of its own, and remove the rules that they close."""
        entries = before.entries()
        for group, entry in sorted(entries.items()):
            try:
                self._refuse(before, group, entry)
            except LinkPeerError as error:
                self.problems[str(group)] = message(error)
        rules = [(rule, marker) for _, rule, marker in before.ended()] if self.at_home else []
        shown_tags = {group: {f"{before.policy.keys.refuse}.close": entry} for group, entry in entries.items()}
        for patient in (False, True):
            if rules:
                self.removal.remove(rules, shown_tags, patient=patient)
                remaining = set() if self._dry_run else {rule.id for _, rule, _ in self.look().ended()}
                rules = [(rule, marker) for rule, marker in rules if rule.id in remaining]

    def _refuse(self, between: Between, group: Party, entry: str) -> None:
        """Writes an entry unless it is there; under another key where somebody else took the first one meanwhile, since
        a tag is written as a whole."""
        keys, tags = between.policy.keys, between.snapshot.groups[group].tags
        for _ in keys.closing:
            if key := next((key for key in keys.closing if entry in split(tags.get(key, ""))), ""):
                self.refusing[group] = f"{key}={tags[key]}"
                return
            if not (key := between.free_key(tags)):
                break
            command = aliyun.set_tags(between.region, [group.id], {key: entry})
            if group.account not in self._tags.accounts:
                raise LinkPeerError(
                    f"it does not refuse: there are no keys of its account. Its owner runs this: {command}"
                )
            self.commands.append(CloudCall(group.account, command))
            if self._dry_run:
                return
            CHANGES.expect([of_tags("put", [key], group)])
            self._tags.put([group], {key: entry})
            tags = self._tags.read(group)
        command = aliyun.set_tags(between.region, [group.id], {f"{keys.refuse}.more": entry})
        raise LinkPeerError(
            f"it does not refuse: no key of {', '.join(keys.closing)} is free. Reopen a pair, or have its owner run this: {command}"
        )


def _look(delivery: Delivery, pair: Pair) -> tuple[Between, dict[str, str]]:
    """What stands of a pair, and why accounts could not be read."""
    with waiting("reading the groups"):
        fetch = open_fetch(delivery, delivery.function, TOLERANT)
        between = read_pair(fetch, delivery.policy, delivery.region, pair)
    return between, {uid: message(error, uid) for uid, error in fetch.store.unreadable.items()}


def _say(answer: PairClosed, words: Wording, *, dry_run: bool, at_home: bool, wide: bool) -> None:
    out = console()
    remaining, names = answer.remaining_rules if at_home else [], words.called
    print_closed(answer.decisions, answer.commands, remaining, answer.problems, names, dry_run=dry_run, wide=wide)
    for text in answer.beside:
        out.print(escape(words.worded(text)))
    for text in answer.passing:
        console(stderr=True).print(f"[red]still open: {escape(words.worded(text))}[/red]")
    if answer.never:
        out.print("Groups that hold no rule yet are not covered. These entries of never in the policy file cover all:")
        out.print(escape(answer.never))
    if dry_run:
        return
    for group, text in answer.refusing.items():
        out.print(escape(words.worded(f"{group} refuses by {text}")))
    if not at_home:
        out.print("The keys are not those of home: the next sweep removes the rules.")
    count = len(closed_links(answer.decisions))
    out.print(
        f"groups that refuse: {len(answer.refusing)}; links closed: {count}; rules left: {len(answer.remaining_rules)}"
    )
    print_undo(out, answer.undo)


def reopen_pair(
    env: Environment, tags: GroupTags, names: list[str] | None, *, dry_run: bool, as_json: bool
) -> NoReturn:
    """Take off the entries by which `close --between` had the groups of two ends refuse each other, and no other."""
    pair = pair_of(env, tags.own_account, names, opens=True)
    enter(env, tags, dict.fromkeys(end.account for end in pair))
    peer_keys = {uid: keys for uid, keys in tags.accounts.items() if uid != env.policy.home}
    delivery, *_ = closing(env, "reopen", peer_keys, caller=tags.caller, dry_run=True)
    between, problems = _look(delivery, pair)
    problems = problems if tags.own_account == env.policy.home else {}
    calls: list[CloudCall] = []
    reopened_groups: list[str] = []
    written = between.written()
    for group, values in written.items():
        texts = [
            aliyun.set_tags(between.region, [group.id], {key: value})
            if value
            else aliyun.untag(between.region, [group.id], [key])
            for key, value in values.items()
        ]
        calls += [CloudCall(group.account, text) for text in texts]
        if dry_run or group.account not in tags.accounts:
            continue
        try:
            for key, value in values.items():
                CHANGES.expect([of_tags("put" if value else "take off", [key], group)])
                tags.put([group], {key: value}) if value else tags.drop([group], [key])
            reopened_groups.append(str(group))
        except LinkPeerError as error:
            problems[str(group)] = message(error)
    tags_before = {party: group.tags for party, group in between.snapshot.groups.items()}
    records = tag_records(env, tags, "reopen", tags_before)
    way_back = undo(records, env.policy.keys, env.now)
    if records and (problem := record_tags(env, tags, "reopen", records)) and tags.own_account == env.policy.home:
        problems["the audit log"] = f"it has no record of this: {problem}"
    foreign = [call for call in calls if call.account not in tags.accounts]
    if as_json:
        print_answer(Reopening(reopened_groups, calls, foreign, {}, problems, way_back))
    else:
        if dry_run:
            words = wording(env.policy, env.now, Scene(between.snapshot))
            due = [words.worded(str(group)) for group in written]
            print_list(console(), "groups that would no longer refuse the other end", due)
        _say_reopened(calls if dry_run else foreign, reopened_groups, problems, dry_run=dry_run)
        print_undo(console(), way_back)
    raise typer.Exit(Exit.REFUSED if problems or (foreign and not dry_run) else Exit.DONE)


def _say_reopened(
    calls: list[CloudCall], reopened_groups: list[str], problems: dict[str, str], *, dry_run: bool
) -> None:
    out, err = console(), console(stderr=True)
    if calls and not dry_run:
        out.print("No keys of these accounts: their owners run this, or use --profile:")
    if calls:
        print_changes(out, calls)
    for where, problem in problems.items():
        err.print(f"[red]{escape(where)}: {escape(problem)}[/red]")
    if not dry_run:
        out.print(f"groups that no longer refuse the other end: {len(reopened_groups)}")
        if reopened_groups:
            out.print(OPENS_AGAIN)
