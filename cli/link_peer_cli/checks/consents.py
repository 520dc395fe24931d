"""Tags that do nothing: consent that is certain to match nothing (entries of accept tags, and of the policy's `allow` list), and
keys that only look like those of link-peer. Pure."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Set

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import TAGS, TagKeys, Who, accepts, bad_accepts, iso, similar_keys
from link_peer.planning.consent import free_keys

from link_peer_cli.checks.finding import WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen

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
            yield CheckFinding(
                WARNING, "", "consent by tags", detail, "take the tags off, or write the pairs into `allow`"
            )
    for one in found:
        what = f"consent of {seen.title(one.group)}"
        yield CheckFinding(WARNING, one.group.account, what, f"{one.text}: {one.why}", _advice(one))


def check_keys(seen: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each party with a key that means nothing there, such as `Link-Peer` or `link-untill`, with the nearest one
    that does."""
    snapshot = seen.scene.snapshot
    for party in [*sorted(snapshot.groups), *sorted(snapshot.instances)]:
        for detail, advice in look_alikes(snapshot, seen.policy.keys, party):
            yield CheckFinding(WARNING, party.account, f"tag of {seen.title(party)}", detail, advice)


def look_alikes(snapshot: Snapshot, keys: TagKeys, party: Party) -> Iterator[tuple[str, str]]:
    """(the fact, what to do) for each key of a group or an instance that means nothing there and looks like one that does."""
    shown = snapshot.groups.get(party) or snapshot.instances.get(party)
    if shown is None:
        return
    on = "security group" if party.is_group else "instance"
    rows = {getattr(keys, tag.name): tag for tag in TAGS if tag.writer == "person"}
    for key in similar_keys(shown.tags, on, keys):
        [nearest] = difflib.get_close_matches(key.lower().partition(".")[0], rows, n=1, cutoff=0)
        meant, where = nearest, rows[nearest].on
        if nearest == keys.accept and where == on:
            meant = next(iter(free_keys(shown.tags, keys)), nearest)
        detail = f"the key {key!a} means nothing to link-peer on this {on}"
        yield (
            detail,
            f"if you meant {meant}, set that on {'an' if where == 'instance' else 'a'} {where}, and remove this tag",
        )


def _advice(one: Dead) -> str:
    if one.text.startswith(ALLOW):
        return f"take the entry out of the policy file: {one.text.removeprefix(ALLOW)}"
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
    party = Party(who.account, who.id)
    if who.id == "*" or who.account not in accounts or party in snapshot.groups or party in snapshot.instances:
        return ""
    if not party.is_group and (who.account not in snapshot.whole_accounts or snapshot.set_aside(party)):
        return ""
    return f"{party} does not exist"
