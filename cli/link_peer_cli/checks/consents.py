"""Tags that do nothing: consent that is certain to match nothing (entries of tags, and of the policy's `allow` list),
and keys that only look like those of link-peer; and refusals that nobody can read. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Set

import msgspec
from link_peer.domain.model import Group, Instance, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Grantee, accepts, bad_accepts, egress_accepts, iso, quoted, refusals

from link_peer_cli.checks.finding import WARNING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen
from link_peer_cli.consent.entries import look_alikes
from link_peer_cli.ui import aliyun

ALLOW = "policy allow "
"""How the text of an entry of the policy begins."""


class Dead(msgspec.Struct, frozen=True):
    """An entry that consents to nothing: the group that it is about, its text, and why. `readable`: its syntax is
    valid."""

    group: Party
    text: str
    reason: str
    readable: bool = True


def dead(policy: Policy, snapshot: Snapshot, now: float, accounts: Set[str]) -> Iterator[Dead]:
    """Entries with invalid syntax, that have ended, or that name an account that is not in the policy or a party that
    does not exist. That is known of `accounts` only, which were read completely."""
    for _, group in sorted(snapshot.groups.items()):
        for text, problem in bad_accepts(group.tags, group.party.account, policy.keys):
            yield Dead(group.party, text, f"invalid syntax: {problem}", readable=False)
        own_account = group.party.account
        for entry in [
            *accepts(group.tags, own_account, policy.keys),
            *egress_accepts(group.tags, own_account, policy.keys),
        ]:
            if reason := _ended(entry.until, now) or _why_unmatched(policy, snapshot, entry.party, accounts):
                yield Dead(group.party, entry.text, reason)
    for allow in policy.allow:
        for named_party in (allow.source, allow.target):
            if reason := _ended(allow.until, now) or _why_unmatched(policy, snapshot, named_party, accounts):
                yield Dead(Party(allow.target.account, allow.target.id), f"{ALLOW}{allow.text}", reason)
                break


def check(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each dead entry; one for all tags, if the policy ignores them."""
    dead_entries = list(dead(view.policy, view.scene.snapshot, view.now, view.accounts))
    if not view.policy.accept_tags:
        key = view.policy.keys.accept
        groups = view.scene.snapshot.groups.values()
        tagged = sum(any(tag_key in group.tags for tag_key in view.policy.keys.consenting) for group in groups)
        dead_entries = [dead_entry for dead_entry in dead_entries if dead_entry.text.startswith(ALLOW)]
        if tagged:
            detail = f"the tags {key} of {tagged} groups consent to nothing: accept_tags is false in the policy file"
            advice = "remove the tags, or write the pairs into `allow`"
            yield CheckFinding(WARNING, "", "consent by tags", detail, advice)
    for dead_consent in dead_entries:
        subject = f"consent of {dead_consent.group}"
        yield CheckFinding(
            WARNING,
            dead_consent.group.account,
            subject,
            f"{dead_consent.text}: {dead_consent.reason}",
            _advice(dead_consent),
        )


def check_groups(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each basic group with consent to reach others, which means nothing there; and for each refusal
    that cannot be read, which refuses everybody."""
    keys = view.policy.keys
    for party, group in sorted(view.scene.snapshot.groups.items()):
        egress_keys = [key for key in keys.letting_out if key in group.tags]
        if egress_keys and not group.advanced:
            detail = "it means nothing there: a basic group lets everything out"
            command = aliyun.untag(view.region, [party.id], egress_keys)
            yield CheckFinding(WARNING, party.account, f"{' and '.join(egress_keys)} of {party}", detail, command)
        for entry in refusals(group.tags, party.account, keys):
            if entry.party is None:
                command = aliyun.untag(view.region, [party.id], [entry.text.partition("=")[0]])
                advice = f"write <who>[:<ports>] with ids, or take the tag off: {command}"
                detail = f"{quoted(entry.text)} cannot be read, and so it refuses everybody"
                yield CheckFinding(WARNING, party.account, f"refusal of {party}", detail, advice)


def check_keys(view: CloudSeen) -> Iterator[CheckFinding]:
    """One finding for each party with a key that means nothing there, such as `Link-Peer` or `link-untill`, with the
    nearest one that does."""
    snapshot = view.scene.snapshot
    parties: list[Group | Instance] = [*snapshot.groups.values()]
    for resource in sorted(
        [*parties, *snapshot.instances.values()], key=lambda resource: (not resource.party.is_group, resource.party)
    ):
        for detail, advice in look_alikes(resource, view.policy.keys):
            yield CheckFinding(WARNING, resource.party.account, f"tag of {resource.party}", detail, advice)


def _advice(dead_entry: Dead) -> str:
    if dead_entry.text.startswith(ALLOW):
        return f"remove the entry from the policy file: {dead_entry.text.removeprefix(ALLOW)}"
    key, _, entry = dead_entry.text.partition("=")
    egress = ["--egress"] if key.partition(".")[0].endswith("-egress") else []
    if not dead_entry.readable:
        return f"correct the entry {entry} of the tag {key} on {dead_entry.group}: docs/tags.md"
    return shlex.join(["link-peer", "withdraw", str(dead_entry.group), entry, *egress])


def _ended(until: int | None, now: float) -> str:
    """Why a consent is over; empty while it lasts."""
    return f"ended at {iso(until)}" if until is not None and until <= now else ""


def _why_unmatched(policy: Policy, snapshot: Snapshot, named_party: Grantee, accounts: Set[str]) -> str:
    """Why a consent matches nothing; empty if it matches something, or if that cannot be known."""
    if named_party.account not in policy.accounts:
        return f"account {named_party.account} is not in the policy"
    if named_party.id.startswith(SET):
        set_tags = policy.sets[named_party.id.removeprefix(SET)].tags.items()
        groups = [group for party, group in snapshot.groups.items() if party.account == named_party.account]
        may_match = named_party.account not in accounts or any(set_tags <= group.tags.items() for group in groups)
        return "" if may_match else f"no group is in {named_party.id}"
    party = Party(named_party.account, named_party.id)
    if (
        named_party.id == "*"
        or named_party.account not in accounts
        or party in snapshot.groups
        or party in snapshot.instances
    ):
        return ""
    if not party.is_group and (named_party.account not in snapshot.whole_accounts or snapshot.set_aside(party)):
        return ""
    return f"{party} does not exist"
