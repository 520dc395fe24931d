"""The rules of people that somebody removed, by whom, and which links had replaced them: for the evidence of a
period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from link_peer.domain.model import Party
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import PROPOSED
from link_peer_cli.audit.trail import Trail, trail_start
from link_peer_cli.audit.trail_events import REVOKING, Event
from link_peer_cli.audit.trail_records import rules_in
from link_peer_cli.audit.verify import changing_roles, read_events


def revoked_rules(env: Environment, outcomes: Sequence[Record], since: float, until: float) -> Iterator[Record]:
    """What a row of the evidence has of each call by which somebody removed rules that are not link-peer's. Accounts
    whose ActionTrail cannot be read are exceptions."""
    ours = {name for outcome in outcomes for rule in rules_in(outcome.get("rules", "")) for name in (rule.key, rule.id)}
    window = (max(since, trail_start(env.now)), until)
    events, _ = read_events(Trail(env), sorted(env.policy.accounts), sorted(REVOKING), window, lambda: None)
    roles = changing_roles(env).changing
    for event in events:
        is_ours = event.role in roles.get(event.account, {}) or not ours.isdisjoint((*event.keys, *event.rule_ids))
        if event.succeeded and not is_ours:
            yield _fields(event, outcomes)


def _fields(event: Event, outcomes: Iterable[Record]) -> Record:
    before = [outcome for outcome in outcomes if outcome["time"] <= iso(event.time)]
    replacing = [outcome for outcome in before if _replaces(outcome, event.parties)]
    links = {outcome["request_id"]: outcome.get("claimed_reason", "") for outcome in replacing}
    evidence = "; ".join(f"{name}{reason and ': '}{reason}" for name, reason in sorted(links.items()))
    return {
        "time": iso(event.time),
        "to_account": event.account,
        "to": " ".join(event.groups),
        "actor": f"{event.caller} from {event.address}",
        "detail": f"{event.name}: {f'replaced by {evidence}' if evidence else 'no link that tighten proposed leads there'}",
        "rules": " ".join(event.rule_ids),
        "api_requests": event.request_id,
    }


def _replaces(outcome: Record, groups: Iterable[Party]) -> bool:
    """Whether a link that `tighten` proposed was opened on one of these groups."""
    is_proposed = outcome.get("outcome") == "applied" and outcome.get("request_id", "").startswith(PROPOSED)
    return is_proposed and any(rule.key.group in groups for rule in rules_in(outcome.get("rules", "")))
