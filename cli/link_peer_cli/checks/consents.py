"""Tags that do nothing: consent that is certain to match nothing (entries of accept tags, and of the policy's `allow` list), and
keys that only look like those of link-peer. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Set

import msgspec
from link_peer.domain.model import Group, Instance, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Who, accepts, bad_accepts, iso

from link_peer_cli.checks.finding import WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen
from link_peer_cli.consent.entries import look_alikes

ALLOW = "policy allow "
"""How the text of an entry of the policy begins."""


class Dead(msgspec.Struct, frozen=True):
    """An entry that consents to nothing: the group that it is about, its text, and why. `readable`: its syntax is valid."""

    group: Party
    text: str
    why: str
    readable: bool = True


def dead(policy: Policy, snapshot: Snapshot, now: float, accounts: Set[str]) -> Iterator[Dead]:
    """Entries with invalid syntax, that have ended, or that name an account that is not in the policy or a party that does
    not exist. That is known of `accounts` only, which were read completely."""
    for _, group in sorted(snapshot.groups.items()):
        for text, problem in bad_accepts(group.tags, group.party.account, policy.keys):
            yield Dead(group.party, text, f"invalid syntax: {problem}", readable=False)
        for entry in accepts(group.tags, group.party.account, policy.keys):
            if why := _ended(entry.until, now) or _gone(policy, snapshot, entry.who, accounts):
                yield Dead(group.party, entry.text, why)
    for allow in policy.allow:
        for who in (allow.source, allow.target):
            if why := _ended(allow.until, now) or _gone(policy, snapshot, who, accounts):
                yield Dead(Party(allow.target.account, allow.target.id), f"{ALLOW}{allow.text}", why)
                break


def check(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each dead entry; one for all tags, if the policy ignores them."""
    found = list(dead(seen.policy, seen.scene.snapshot, seen.now, seen.accounts))
    if not seen.policy.accept_tags:
        key = seen.policy.keys.accept
        groups = seen.scene.snapshot.groups.values()
        tagged = sum(any(one in group.tags for one in seen.policy.keys.consenting) for group in groups)
        found = [one for one in found if one.text.startswith(ALLOW)]
        if tagged:
            detail = f"the tags {key} of {tagged} groups consent to nothing: accept_tags is false in the policy file"
            advice = "remove the tags, or write the pairs into `allow`"
            yield CheckFinding(WARNING, "", "consent by tags", detail, advice)
    for one in found:
        what = f"consent of {one.group}"
        yield CheckFinding(WARNING, one.group.account, what, f"{one.text}: {one.why}", _advice(one))


def check_keys(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each party with a key that means nothing there, such as `Link-Peer` or `link-untill`, with the nearest one
    that does."""
    snapshot = seen.scene.snapshot
    parties: list[Group | Instance] = [*snapshot.groups.values()]
    for shown in sorted([*parties, *snapshot.instances.values()], key=lambda one: (not one.party.is_group, one.party)):
        for detail, advice in look_alikes(shown, seen.policy.keys):
            yield CheckFinding(WARNING, shown.party.account, f"tag of {shown.party}", detail, advice)


def _advice(one: Dead) -> str:
    if one.text.startswith(ALLOW):
        return f"remove the entry from the policy file: {one.text.removeprefix(ALLOW)}"
    key, _, entry = one.text.partition("=")
    if not one.readable:
        return f"correct the entry {entry} of the tag {key} on {one.group}: docs/tags.md"
    return shlex.join(["link-peer", "withdraw", str(one.group), entry])


def _ended(until: int | None, now: float) -> str:
    """Why a consent is over; empty while it lasts."""
    return f"ended at {iso(until)}" if until is not None and until <= now else ""


def _gone(policy: Policy, snapshot: Snapshot, who: Who, accounts: Set[str]) -> str:
    """Why a consent matches nothing; empty if it matches something, or if that cannot be known."""
    if who.account not in policy.accounts:
        return f"account {who.account} is not in the policy"
    if who.id.startswith(SET):
        wanted = policy.sets[who.id.removeprefix(SET)].tags.items()
        groups = [one for party, one in snapshot.groups.items() if party.account == who.account]
        some = who.account not in accounts or any(wanted <= group.tags.items() for group in groups)
        return "" if some else f"no group is in {who.id}"
    party = Party(who.account, who.id)
    if who.id == "*" or who.account not in accounts or party in snapshot.groups or party in snapshot.instances:
        return ""
    if not party.is_group and (who.account not in snapshot.whole_accounts or snapshot.set_aside(party)):
        return ""
    return f"{party} does not exist"
