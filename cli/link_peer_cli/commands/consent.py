"""`link-peer accept` and `link-peer withdraw`: whom a security group accepts, or may reach, written as its tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.tags import Accept, accepts, egress_accepts, is_group_id
from link_peer.planning.actual import OwnedRule, link_of_rule
from link_peer.planning.consent import names
from link_peer.runtime.ports import Record
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, load_own, require_known
from link_peer_cli.access.inputs import BY_ID, by_id, ending, matching, party, with_uid
from link_peer_cli.access.noted import of_tags
from link_peer_cli.answers.changes import ConsentChange, ConsentOfGroup
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.audit.undo import Owned, requests_again, undo
from link_peer_cli.consent.entries import TagEdit, adding, advised, entry, removing
from link_peer_cli.consent.group_tags import GroupTags, closes, ended_text, record_tags, tag_records
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.recorded_advice import AdviceJudge
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, may_ask, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import DryRun, Json, Until, Yes
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import print_undo

Egress = Annotated[
    bool,
    typer.Option(
        "--egress", help="Whom the group may reach, instead of who may reach it: link-egress, for advanced groups."
    ),
]
Profile = Annotated[str, typer.Option(help="A profile of the `aliyun` CLI with keys of the group's account.")]


def accept(
    what: Annotated[
        str,
        typer.Argument(metavar="GROUP|ID", help="The group that accepts: sg-…, or the id of a denied request or link."),
    ],
    who: Annotated[
        str,
        typer.Argument(help="Whom, as in the tag: sg-…, i-… or *, with @<account>, with ports as :tcp/3306+udp/53."),
    ] = "",
    until: Until = "",
    egress: Egress = False,
    profile: Profile = "",
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With an id: do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Let others reach a group, or an advanced group reach others: write a tag of its own for each entry, with your own
    keys. An equal entry stays as it is.

    With the id of a request or a link: shows its last denial for lack of consent, asks, and does what resolves it now.
    Where consent is not what is missing any more, nothing is written.
    """
    env = load_own()
    end = ending(until, "--until", env.now) if until else None
    tags = GroupTags(env, [profile] if profile else [])
    denial: Record | None = None
    if is_group_id(by_id(what).partition("@")[0]):
        if not who:
            raise BadInput(
                "who", "give the party that the group accepts: sg-…, i-… or *, optionally with @<account> and ports"
            )
        group = _group(what, tags)
        additions = [(group, [entry(with_uid(who, "who"), group.account, "who")], egress)]
    elif who:
        raise BadInput("group", f"{what} is neither the id of a group (sg-…) nor the name of one in the policy{BY_ID}")
    elif egress:
        raise BadInput("--egress", "a denial says itself at which end consent is missing: give its id alone")
    else:
        denial = _denial(what)
        additions = _advised(denial, _advice_now(denial, as_json=as_json, ends=end is not None), env)
    planned = []
    for group, entries, is_egress in additions:
        require_known(env, [new_entry.party.account for new_entry in entries], "who")
        ending_entries = [_with_end(new_entry, end, env) for new_entry in entries]
        group_now = tags.group(group)
        if is_egress and not group_now.advanced:
            key = env.policy.keys.letting_out[0]
            warn([f"{key} means nothing on {group}: it is a basic group, which lets everything out"])
        edit = adding(dict(group_now.tags), group.account, ending_entries, env.policy.keys, egress=is_egress)
        planned.append((group, edit))
    needs_confirmation = bool(denial) and not (yes or dry_run) and any(edit for _, edit in planned)
    if needs_confirmation:
        may_ask("writes", as_json=as_json)
        _show(planned, denial)
        typer.confirm("Write this?", abort=True)
    _carry_out(planned, tags, env, "accept", denial, dry_run=dry_run, as_json=as_json, is_asked=needs_confirmation)


def withdraw(
    group: Annotated[str, typer.Argument(help="The group: sg-… or a name, optionally with @<account>.")],
    who: Annotated[str, typer.Argument(help="The entry to remove: sg-app, sg-app:tcp/3306, *@<account>….")],
    every: Annotated[bool, typer.Option("--all", help="Every entry that names this party, with any ports.")] = False,
    egress: Egress = False,
    profile: Profile = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove an entry from the tags by which a group consents, with your own keys. What only this entry allowed is then
    closed.

    Shows these links, and asks first.
    """
    env = load_own()
    tags = GroupTags(env, [profile] if profile else [])
    party = _group(by_cloud_name(env, group, "group"), tags)
    withdrawn_entry = entry(with_uid(who, "who"), party.account, "who")
    if every and (withdrawn_entry.ports or withdrawn_entry.until is not None):
        raise BadInput("who", "with --all, give a party without ports")

    def chosen(candidate: Accept) -> bool:
        exact = candidate.ports == withdrawn_entry.ports and withdrawn_entry.until in (None, candidate.until)
        return candidate.party == withdrawn_entry.party and (every or exact)

    now = tags.read(party)
    edit = removing(now, party.account, chosen, env.policy.keys, egress=egress)
    if not edit:
        other_entries = _remaining_entries(env, now, party, withdrawn_entry, egress=egress)
        raise BadInput("who", f"{party.id} has no entry {who}{other_entries}")
    needs_confirmation = not (yes or dry_run)
    if needs_confirmation:
        may_ask("writes", as_json=as_json)
    ended_rules, standing_rules, problem = _ended_by(edit, party, now, tags, env)
    ended = [*sorted(ended_text(*ended_rule) for ended_rule in ended_rules), *problem]
    if not as_json:
        _show([(party, edit)], None, ended)
    if needs_confirmation:
        typer.confirm("Withdraw this?", abort=True)
    again = requests_again(_claims(ended_rules), env.now, _claims(standing_rules))
    _carry_out(
        [(party, edit)],
        tags,
        env,
        "withdraw",
        None,
        dry_run=dry_run,
        as_json=as_json,
        is_asked=True,
        withdrawn_entry=withdrawn_entry,
        ended=ended,
        again=again,
    )


def _ended_by(
    edit: TagEdit, group: Party, now: dict[str, str], tags: GroupTags, env: Environment
) -> tuple[list[OwnedRule], list[OwnedRule], list[str]]:
    """The rules that a change of a group's tags ends, all that stand there, and why they are not known: what cannot be
    read keeps nobody from withdrawing consent."""
    then = {key: value for key, value in {**now, **edit.put}.items() if key not in edit.drop}
    try:
        return *closes(tags.ecs(group.account), group, then, env.policy, env.settings.region, env.now), []
    except LinkPeerError as error:
        return [], [], [f"what it alone allowed, which cannot be determined now: {error}"]


def _claims(rules: Iterable[OwnedRule]) -> list[Owned]:
    return [(link_of_rule(rule, marker), claim) for rule, marker in rules for claim in marker.claims]


def _with_end(accept: Accept, end: int | None, env: Environment) -> Accept:
    if end is not None and accept.until is not None:
        raise BadInput("--until", "the entry has an end already")
    if accept.until is not None and accept.until <= env.now:
        raise BadInput("who", "the end of the entry is past")
    return accept if end is None else msgspec.structs.replace(accept, until=end)


def _group(text: str, tags: GroupTags) -> Party:
    """A group, in the account of the keys unless it ends with `@<account>`."""
    group = party(text, "group", tags.main)
    if not group.is_group:
        raise BadInput("group", f"{text} is an instance: consent is a tag of a group that it is in")
    return group


def _denial(name: str) -> Record:
    """The last denial of a request or link (by its id) for lack of consent. Raises LinkPeerError if there is none."""
    matching(name, "id", "[A-Za-z0-9._-]{1,48}")
    env = load_environment(reading=True)
    denied = condition({"record": "outcome", "deployment": env.policy.deployment})
    ids = " or ".join(condition({field: name}) for field in ("request_id", "link"))
    with waiting("reading the audit log"):
        denials = AuditReader(env.settings, env.clock).read(f"{denied} and ({ids})")
    # the id of a link is a hash of it; that of a request is its sender's choice, and may be the same as any other
    denials = [denial for denial in denials if denial.get("link") == name] or [
        denial for denial in denials if denial.get("request_id") == name
    ]
    denials = [denial for denial in denials if advised(denial.get("advice", ""), env.policy.home)]
    if not denials:
        raise LinkPeerError(
            f"the audit log has no denial of {name} for lack of consent: link-peer audit shows what it has"
        )
    senders = {
        (denial.get("link", ""), denial.get("queue", "")): f"{denial.get('from')} -> {denial.get('to')}"
        for denial in denials
    }
    if len(senders) > 1 and name not in {link for link, _ in senders}:
        choices = ", ".join(
            f"{link} ({ends}, through {queue or 'no queue'})" for (link, queue), ends in senders.items()
        )
        raise LinkPeerError(f"several requests had the id {name}: give the id of the link you mean: {choices}")
    return max(denials, key=lambda record: record["time"])


def _advice_now(denial: Record, *, as_json: bool, ends: bool) -> str:
    """What resolves the denial now; what it advised then, where that cannot be told, or consent is only given an end
    (`ends`). Exits if consent is there, and raises LinkPeerError if something else denies it."""
    advice = denial.get("advice", "")
    try:
        present = AdviceJudge(load_environment(reading=True)).present(denial)
    except LinkPeerError:
        return advice
    if present.denial and present.denial.lacks_consent:
        return present.denial.advice
    if ends and present.wished and not present.denial:
        return advice
    fact = present.fact if present.wished else f"no tag of {denial['instance']} asks for it"
    if present.denial or not present.wished:
        resolved = f": {present.denial.advice}" if present.denial and present.denial.advice else ""
        raise LinkPeerError(f"nothing was written. Denied {denial['time']}: {denial['detail']}. Now: {fact}{resolved}")
    if as_json:
        print_answer(ConsentChange([], denial, []))
    else:
        _show([], denial)
        console().print(escape(f"now: {fact}, so there is nothing to do"))
    raise typer.Exit(Exit.DONE)


def _advised(denial: Record, advice: str, env: Environment) -> list[tuple[Party, list[Accept], bool]]:
    if denial.get("region") != env.settings.region:
        raise LinkPeerError(f"the denial is of region {denial.get('region')}: set LINK_PEER_REGION")
    advised_entries = advised(advice, env.policy.home)
    return [(group, [entry(text, group.account, "advice")], is_egress) for group, text, is_egress in advised_entries]


def _remaining_entries(
    env: Environment, tags: dict[str, str], group: Party, withdrawn_entry: Accept, *, egress: bool
) -> str:
    """The entries by which a group (still) accepts a party, or may reach it."""
    read = egress_accepts if egress else accepts
    party = Party(withdrawn_entry.party.account, withdrawn_entry.party.id)
    matching_entries = [
        matching_entry
        for matching_entry in read(tags, group.account, env.policy.keys)
        if names(matching_entry.party, party)
    ]
    return (
        f"; it has {', '.join(matching_entry.text for matching_entry in matching_entries)}" if matching_entries else ""
    )


def _show(planned: Sequence[tuple[Party, TagEdit]], denial: Record | None, ended: Sequence[str] | None = None) -> None:
    """Print the denial, each tag that changes, and the links that end."""
    out = console()
    if denial:
        source, target = (f"{denial.get(side, '')}@{denial.get(f'{side}_account', '')}" for side in ("from", "to"))
        ports = denial.get("ports") or "mutual"
        out.print(escape(f"denied {denial['time']}: {source} -> {target}, {ports}"))
        for name in ("claimed_by", "queue", "claimed_reason", "detail"):
            if denial.get(name):
                out.print(escape(f"  {name}: {denial[name]}"))
    for group, edit in planned:
        if not edit:
            out.print(f"{group}: nothing to do, the entry is there")
            continue
        for sign, entries in (("-", edit.removed), ("+", edit.added)):
            for text in entries:
                verb = "may reach" if edit.is_egress else "accepts"
                out.print(escape(f"{sign} {group} {verb} {text}"))
    for text in ended or ():
        out.print(f"[red]closes {escape(text)}[/red]")
    if ended == []:
        out.print("closes no link: none depends on it alone")


def _carry_out(
    planned: Sequence[tuple[Party, TagEdit]],
    tags: GroupTags,
    env: Environment,
    command: str,
    denial: Record | None,
    *,
    dry_run: bool = False,
    as_json: bool = False,
    is_asked: bool = False,
    withdrawn_entry: Accept | None = None,
    ended: Sequence[str] = (),
    again: Sequence[str] = (),
) -> NoReturn:
    """Write the changes of accounts of which there are keys, print the commands for the owners of others, and exit.
    `is_asked`: the changes were shown already; `again` posts the requests that end with them. A group whose tags differ
    meanwhile is left as it is."""
    due = [(group, edit) for group, edit in planned if edit]
    foreign = {group for group, _ in due if group.account not in tags.accounts}
    mine = [] if dry_run else [change for change in due if change[0] not in foreign]
    before = _write(mine, tags)
    records = tag_records(env, tags, command, before)
    way_back = [*undo(records, env.policy.keys, env.now), *(again if records else ())]
    commands = {group: tags.commands(group, edit.put, edit.drop) for group, edit in due}
    still = [
        text
        for group, edit in planned
        if withdrawn_entry
        and not dry_run
        and (text := _remaining_entries(env, tags.read(group), group, withdrawn_entry, egress=edit.is_egress))
    ]
    if as_json:
        rows = [
            ConsentOfGroup(
                group.id,
                group.account,
                added=edit.added,
                removed=edit.removed,
                closes=list(ended),
                commands=commands.get(group, []),
                written=bool(edit) and not dry_run and group not in foreign,
            )
            for group, edit in planned
        ]
        print_answer(ConsentChange(rows, denial, way_back))
    else:
        if not is_asked:
            _show(planned, denial)
        for group in commands if dry_run else foreign:
            owner = f"not written; the owner of account {group.account} runs this, or give --profile:\n"
            text = f"{owner if group in foreign else ''}{' && '.join(commands[group])}"
            console().print(escape(text))
        if mine:
            _say_next(env, mine, denial, still)
        print_undo(console(), way_back)
    if tags.calls:  # last, and once: nobody's consent waits for the log, which few of those who give it may write
        problem = record_tags(load_environment(reading=False, anywhere=True), tags, command, records, patient=False)
        if problem and env.person_keys.account == env.policy.home:  # of other accounts, few may write it
            warn([f"the audit log has no record of this change: {problem}"])
    raise typer.Exit(Exit.REFUSED if foreign and not dry_run else Exit.DONE)


def _write(edits: Sequence[tuple[Party, TagEdit]], tags: GroupTags) -> dict[Party, dict[str, str]]:
    """Make the changes, and return the tags of each group as they were."""
    for group, edit in edits:
        CHANGES.expect(
            of_tags(verb, keys, group) for verb, keys in (("put", edit.put), ("take off", edit.drop)) if keys
        )
    before: dict[Party, dict[str, str]] = {}
    for group, edit in edits:
        before[group] = tags.read(group)
        if not edit.still_fits(before[group]):
            raise LinkPeerError(
                f"the tags of {group} were changed meanwhile, and nothing was written there: run it again"
            )
        if edit.put:
            tags.put([group], edit.put)
        if edit.drop:
            tags.drop([group], edit.drop)
    return before


def _say_next(
    env: Environment, due: Sequence[tuple[Party, TagEdit]], denial: Record | None, still: Sequence[str]
) -> None:
    """What happens now, and what does not."""
    out = console()
    home = env.policy.home
    sooner = "when the event arrives, or " if all(group.account == home for group, _ in due) else ""
    if any(edit.added for _, edit in due):
        if not env.policy.accept_tags:
            out.print("[yellow]The policy counts its allow list only: this tag opens nothing.[/yellow]")
        out.print(f"Links by tag that were denied for it are opened {sooner}by the next full sweep.")
        name = (denial or {}).get("request_id")
        fact = f"{name} was denied and is" if name else "Requests that were denied for it are"
        out.print(escape(f"{fact} not tried again: post {'the request' if name else 'them'} again."))
    else:
        now = (
            "To close it now" if env.person_keys.account == home else f"With keys of account {home}, this closes it now"
        )
        out.print(f"What only this consent allowed is closed {sooner}by the next sweep. {now}: link-peer sweep")
    for text in still:
        verb = "may still reach" if any(edit.is_egress for _, edit in due) else "still accepts"
        out.print(escape(f"The group {verb} that party{text.replace('; it has', ':')}"))
