"""`link-peer stale`: what stands without a reason, for a person to see before the sweep takes it away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from link_peer.domain.model import Party
from link_peer.domain.tags import parse_instant
from rich.markup import escape

from link_peer_cli.io.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from link_peer.domain.model import Group, Rule
    from link_peer.domain.tags import Who
    from link_peer.engine.reader import Reader
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.inbound.policy_file import Policy
    from link_peer.planning.decision import Decision

    from link_peer_cli.io.inputs import Setting


class Stale(msgspec.Struct, frozen=True):
    """`kind` is rule, half-open or consent. `created` is when the rule was made; a tag does not tell its age."""

    kind: str
    account: str
    group: str
    what: str
    why: str
    rule_id: str = ""
    created: str = ""


def stale(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """List rules of ours whose reason is gone, half-open links, and consents that consent to nobody any more."""
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import suppose
    from link_peer_cli.io.inputs import opened
    from link_peer_cli.io.records import unread

    here = opened()
    delivery, _, _ = suppose(here, "stale")
    sweep = Sweep(delivery, "stale")
    sweep.run()
    found = [*_rules(sweep.decisions), *_consents(here.policy, sweep)]
    gaps = unread(sweep)
    if as_json:
        for item in found:
            show({**msgspec.to_builtins(item), "age_seconds": _age(here, item)})
    else:
        rows = [(s.kind, f"{s.group}@{s.account}", s.rule_id, _days(_age(here, s)), s.what, s.why) for s in found]
        print_table(console(), "stale", ("kind", "group", "rule", "age", "what", "why"), rows)
    err = console(stderr=True)
    for what, why in gaps.items():
        err.print(f"[yellow]not read: {what}: {escape(why)}[/yellow]", soft_wrap=True)
    for account in sorted(sweep.doubted):
        err.print(f"[yellow]account {account} shows no instances: nothing there is taken for gone[/yellow]")
    if gaps:
        raise typer.Exit(Exit.REFUSED)


def _rules(decisions: Iterable[Decision]) -> Iterator[Stale]:
    """Reasons that a sweep would take away, and mutual links of which one side is missing."""
    for decision in decisions:
        if decision.outcome == "removed":
            for edit in decision.edits:
                if edit.rule is not None:
                    lost = " ".join(sorted(reason.request or "tag" for reason in edit.lose))
                    yield _of("rule", edit.rule, f"by {lost}", decision.detail)
        elif decision.outcome == "applied" and decision.link.mutual and any(e.kind == "add" for e in decision.edits):
            for rule in decision.rules:
                missing = next(edit.key.group for edit in decision.edits if edit.kind == "add")
                yield _of(
                    "half-open", rule, f"{decision.link.source} and {decision.link.target}", f"{missing} has none"
                )


def _of(kind: str, rule: Rule, what: str, why: str) -> Stale:
    return Stale(kind, rule.group.account, rule.group.id, what, why, rule.id, rule.created)


def _consents(policy: Policy, sweep: Sweep) -> Iterator[Stale]:
    """Entries, of tags and of the policy's allow list, that name a group or an instance which is not there."""
    from link_peer.domain.tags import accepts, bad_accepts

    reader = sweep.reader
    groups = [group for account in sorted(policy.accounts) for group in _all_groups(sweep, account)]
    named = {entry.who for group in groups for entry in accepts(group.tags, group.party.account)}
    named |= {who for allow in policy.allow for who in (allow.source, allow.target)}
    reader.parties(_party(who) for who in named if who.id != "*" and who.account in policy.accounts)
    for group in groups:
        account, name = group.party.account, group.party.id
        for text, problem in bad_accepts(group.tags, account):
            yield Stale("consent", account, name, text, f"is not the grammar: {problem}")
        for entry in accepts(group.tags, account):
            if why := _gone(policy, reader, entry.who):
                yield Stale("consent", account, name, entry.text, why)
    for allow in policy.allow:
        for who in (allow.source, allow.target):
            if why := _gone(policy, reader, who):
                yield Stale("consent", allow.target.account, allow.target.id, f"policy allow {allow.text}", why)


def _all_groups(sweep: Sweep, account: str) -> list[Group]:
    from link_peer.domain.errors import CloudError, Transient

    ecs = sweep.reader.ecs(account)
    try:
        return ecs.all_groups() if ecs else []
    except (Transient, CloudError) as error:
        sweep.failed_reads[account] = str(error)
        return []


def _gone(policy: Policy, reader: Reader, who: Who) -> str:
    """Why nobody is consented to; empty where somebody is, or where it can't be said."""
    if who.account not in policy.accounts:
        return f"account {who.account} is not in the policy"
    if who.id == "*" or not reader.view.readable(who.account):
        return ""
    party = _party(who)
    known = party in reader.view.groups or party in reader.view.instances
    return "" if known else f"{party} is not there"


def _party(who: Who) -> Party:
    return Party(who.account, who.id)


def _age(here: Setting, item: Stale) -> int | None:
    return int(here.clock.now() - parse_instant(item.created)) if item.created else None


def _days(seconds: int | None) -> str:
    if seconds is None:
        return ""
    days, rest = divmod(seconds, 86400)
    return f"{days} d" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
