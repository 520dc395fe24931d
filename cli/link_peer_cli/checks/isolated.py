"""Groups whose members do not reach each other by themselves, where a link was asked for inside one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from link_peer.domain.denial import about
from link_peer.domain.denials import isolated_group
from link_peer.domain.model import Link
from link_peer.runtime.ports import Record

from link_peer_cli.checks.finding import WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen


def check(seen: CloudSeen, records: Sequence[Record]) -> Iterator[CheckFinding]:
    """One finding for each such group, as far as its policy was read: the sweep asks where both ends of a wish are in it."""
    for party, access in sorted(seen.scene.snapshot.inner_access.items()):
        if access:
            continue
        denied = [
            record
            for record in records
            if record.get("outcome") == "denied"
            and (record.get("to"), record.get("to_account")) == (party.id, party.account)
            and (record.get("from"), record.get("from_account")) == (party.id, party.account)
        ]
        yield CheckFinding(
            WARNING,
            party.account,
            f"isolated group {seen.title(party)}",
            f"InnerAccessPolicy Drop: its members reach each other by rules only; {len(denied)} links inside it are denied",
            about(isolated_group(party, advanced=False), "link", Link(party, party), seen.region).advice,
        )
