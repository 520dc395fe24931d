"""Rules whose description names this deployment, but is not their marker. No function touches them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from link_peer.domain.model import Rule

from link_peer_cli.checks.finding import WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen


def check(seen: CloudSeen, damaged: Iterable[Rule]) -> Iterator[CheckFinding]:
    """One finding for each such rule."""
    for rule in damaged:
        advice = f"if nobody needs rule {rule.id}, remove it; links that are still wanted are opened again"
        what = f"marker of {rule.id} on {seen.title(rule.group)}"
        yield CheckFinding(WARNING, rule.group.account, what, rule.description, advice)
