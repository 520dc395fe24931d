"""The two ends of `close --between` and `reopen --between`: the groups that refuse the other end, by which entry, and
what stands between them.

An end is a group, an instance with all its groups that take tags, or an account with the groups that hold rules between
the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import ALL, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, TagKeys, is_account_uid, refusals, split
from link_peer.engine.read.fetch import Fetch
from link_peer.planning.actual import OwnedLink, owned_links
from link_peer.planning.consent import MAX_TAGS
from link_peer.planning.effect import fitting
from link_peer.planning.verdict.acceptance import barred
from link_peer.views.reach import Scene, alike, anyone_in, reach

from link_peer_cli.access.environment import Environment, require_known
from link_peer_cli.access.inputs import BY_ID, account_uid, by_id, party
from link_peer_cli.inventory.reading import View, rules_first
from link_peer_cli.review.delivery import by_cloud_name


class PairEnd(msgspec.Struct, frozen=True):
    """One end of a pair: a group or an instance of an account, or the whole account."""

    account: str
    party: Party | None = None

    def __str__(self) -> str:
        return str(self.party or self.account)

    def entry_on(self, group: Party) -> str:
        """By which entry a group refuses this end."""
        if self.party is None:
            return f"*@{self.account}"
        return self.party.id if self.party.account == group.account else str(self.party)

    def is_named_by(self, text: str, group: Party, keys: TagKeys) -> bool:
        """Whether an entry of a group's refusal names this end alone, on all ports."""
        [entry] = refusals({keys.closing[0]: text}, group.account, keys)
        return not entry.ports and entry.party == Grantee(self.account, self.party.id if self.party else "*")


Pair = tuple[PairEnd, PairEnd]
MAX_INSTANCE_NAMES = 5
"""Instances that are named of one group."""


def pair_of(env: Environment, default_account: str, names: Sequence[str] | None, *, opens: bool = False) -> Pair:
    """The two ends that are named. The names that parties have in the cloud count unless the command `opens`. Raises
    BadInput."""
    if len(names or ()) != 2:
        raise BadInput("--between", "give two groups, instances or accounts: link-peer close --between sg-app sg-db")
    uids = {*env.policy.accounts, *(entry.name for entry in env.policy.accounts.values())}

    def end(text: str) -> PairEnd:
        if is_account_uid(text) or (by_id(text) == text and text in uids):
            return PairEnd(account_uid(text, "--between"))
        text = text if opens else by_cloud_name(env, text, "--between")
        named_party = party(text, "--between", default_account, BY_ID if opens else "")
        return PairEnd(named_party.account, named_party)

    first, second = map(end, names or ())
    if first == second:
        raise BadInput("--between", f"both ends are {first}")
    require_known(env, [first.account, second.account], "--between")
    return first, second


class Between(msgspec.Struct, frozen=True):
    """What was read of a pair, and what follows from it. Pure."""

    snapshot: Snapshot
    policy: Policy
    region: str
    pair: Pair

    @property
    def sides(self) -> list[tuple[PairEnd, PairEnd]]:
        """Each end, with the other one."""
        return [self.pair, (self.pair[1], self.pair[0])]

    def holders(self, end: PairEnd) -> list[Party]:
        """The groups of an end that refuse the other one, sorted: those that take tags; of an account, those that hold
        rules between the two."""
        if end.party:
            groups = (self.snapshot.groups[group] for group in self.snapshot.groups_with(end.party))
            return sorted(group.party for group in groups if not group.managed)
        return sorted({rule.group for _, rule, _ in self.standing if rule.group.account == end.account})

    @property
    def standing(self) -> list[OwnedLink]:
        """The rules of ours between the two, each with its link."""
        owned = owned_links(self.snapshot, self.policy, self.region)
        return [owned_link for owned_link in owned if self._joins(owned_link[0])]

    def entries(self) -> dict[Party, str]:
        """By which entry each group refuses the other end."""
        return {group: peer.entry_on(group) for end, peer in self.sides for group in self.holders(end)}

    def written(self) -> dict[Party, dict[str, str]]:
        """The keys under which groups of one end refuse the other by `close --between`, each with what stays of its
        value without that: empty where nothing does. Of an account, every group counts."""
        keys, values = self.policy.keys, dict[Party, dict[str, str]]()
        for end, peer in self.sides:
            groups = self.holders(end) if end.party else self.snapshot.groups
            for group in sorted(group for group in groups if group.account == end.account):
                tags = self.snapshot.groups[group].tags
                for key in keys.closing:
                    texts = split(values.get(group, {}).get(key, tags.get(key, "")))
                    remaining = [text for text in texts if not peer.is_named_by(text, group, keys)]
                    if remaining != texts:
                        values.setdefault(group, {})[key] = ",".join(remaining)
        return values

    def free_key(self, tags: Mapping[str, str]) -> str:
        """The key under which a group with these tags can refuse one more peer; empty if there is none."""
        free = [key for key in self.policy.keys.closing if key not in tags]
        return free[0] if free and len(tags) < MAX_TAGS else ""

    def refusing(self) -> Between:
        """The same, once all of its groups refuse."""
        key = self.policy.keys.closing[0]
        entries = self.entries()
        groups = {
            party: msgspec.structs.replace(group, tags={**group.tags, f"{key}.supposed": entries[party]})
            if party in entries
            else group
            for party, group in self.snapshot.groups.items()
        }
        return msgspec.structs.replace(self, snapshot=msgspec.structs.replace(self.snapshot, groups=groups))

    def ended(self) -> list[OwnedLink]:
        """The rules of ours that these refusals close: those between the two, and others of the same groups."""
        then = self.refusing()

        def refuses(between: Between, link: Link) -> bool:
            denial = barred(between.snapshot, between.policy, link)
            return denial is not None and not denial.undecided

        owned = owned_links(self.snapshot, self.policy, self.region)
        return [
            owned_link
            for owned_link in owned
            if refuses(then, owned_link[0]) and (self._joins(owned_link[0]) or not refuses(self, owned_link[0]))
        ]

    def beside(self) -> list[str]:
        """What these refusals are about besides the two, in words: other rules that they close, and other instances of
        the groups of an instance."""
        other_links = [owned_link for owned_link in self.ended() if not self._joins(owned_link[0])]
        texts = [
            f"it closes rule {rule.id} on {rule.group} too: {link.asker} to {link.target}"
            for link, rule, _ in other_links
        ]
        for end, peer in self.sides:
            for group in self.holders(end) if end.party and not end.party.is_group else ():
                members = [member.id for member in self.snapshot.members.get(group, ()) if member != end.party]
                if members:
                    suffix = (
                        f" and {len(members) - MAX_INSTANCE_NAMES} more" if len(members) > MAX_INSTANCE_NAMES else ""
                    )
                    texts.append(
                        f"{group} refuses {peer} for its other instances, too: {', '.join(members[:MAX_INSTANCE_NAMES])}{suffix}"
                    )
        return texts

    def never_line(self) -> str:
        """The entries of the policy's `never` that cover whole accounts, and the groups that hold no rule now; empty
        for others."""
        if all(end.party for end in self.pair):
            return ""
        texts = [end.entry_on(Party("", "")) for end in self.pair]
        return "\n".join(f'- {{from: "{source}", to: "{target}"}}' for source, target in (texts, texts[::-1]))

    def _joins(self, link: Link) -> bool:
        ends = ({link.source, link.asker}, {link.target})
        return any(
            all(any(self._matches(end, party) for party in parties) for end, parties in zip(side, ends, strict=True))
            for side in self.sides
        )

    def _matches(self, end: PairEnd, party: Party) -> bool:
        if end.party is None:
            return party.account == end.account
        instance = self.snapshot.instances.get(party)
        return party == end.party or (instance is not None and end.party in instance.own_groups)


def read_pair(fetch: Fetch, policy: Policy, region: str, pair: Pair) -> Between:
    """Reads the ends, their groups with their rules, and the parties of the links there; of an account, all groups with
    rules. Raises LinkPeerError for a party that does not exist."""
    parties = [end.party for end in pair if end.party]
    fetch.parties(parties)
    snapshot = fetch.store.snapshot()
    for end_party in parties:
        if snapshot.readable(end_party.account) and not snapshot.groups_with(end_party):
            raise LinkPeerError(f"{end_party} does not exist; one of another account is named {end_party.id}@<account>")
    groups = {group for end_party in parties for group in snapshot.groups_with(end_party)}
    accounts = {end.account for end in pair if not end.party}
    further_groups = [group for group in fetch.all_groups(sorted(accounts)) if group.party not in groups]
    fetch.members(group for end_party in parties for group in snapshot.groups_with(end_party))
    fetch.rules_in_time([*sorted(groups), *rules_first(further_groups)])
    links = [link for link, *_ in owned_links(fetch.store.snapshot(), policy, region)]
    fetch.parties({link_party for link in links for link_party in link.parties})
    return Between(fetch.store.snapshot(), policy, region, pair)


def passing(view: View, pair: Pair) -> list[str]:
    """The rules, of link-peer or of people, and the InnerAccessPolicy of groups, by which packets pass or may pass
    between two parties, as far as security groups decide."""
    first, second = (end.party for end in pair)
    if first is None or second is None:
        return []
    view.around([first, second])
    view.deciding([(first, second)])
    scene = view.scene
    texts: dict[str, None] = {}
    for source, target in ((first, second), (second, first)):
        starts, ends = (
            alike(scene.members(end)) or alike([anyone_in(scene.snapshot, end)]) for end in (source, target)
        )
        rules = [rule for group in sorted(scene.groups(target)) for rule in scene.snapshot.rules.get(group, ())]
        applying = {rule for start in starts for end in ends for rule in fitting(rules, (start, end))}
        admitting = [
            (f"{rule.id} on {rule.group}", rule.traffic.port or ALL if rule.traffic else ALL)
            for rule in rules
            if rule in applying and rule.policy == "accept"
        ]
        admitting += [(f"InnerAccessPolicy of {group}", ALL) for group in _joining(scene, source, target)]
        for cause, port in admitting:
            word = reach(scene, source, target, (port,)).word
            if word != "blocked":
                verb = "lets" if word in ("open", "partly") else "may let"
                texts[f"{cause} {verb} {source} reach {target} on {port}"] = None
    return list(texts)


def _joining(scene: Scene, source: Party, target: Party) -> list[Party]:
    """The groups that have an instance of each of the two as members, and that do not keep members apart."""
    snapshot = scene.snapshot
    joining_groups = []
    for group in sorted(scene.groups(source) & scene.groups(target) & snapshot.groups.keys()):
        starts, ends = (
            {member.party for member in scene.members(end) if group in member.own_groups} for end in (source, target)
        )
        isolates = snapshot.groups[group].advanced or snapshot.inner_access.get(group) is False
        if starts and ends and len(starts | ends) > 1 and not isolates:
            joining_groups.append(group)
    return joining_groups
