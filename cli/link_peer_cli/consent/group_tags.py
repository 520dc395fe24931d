"""The tags of security groups, changed with keys of the account that owns the group, never with a role of link-peer;
what the log has of that, and which links end with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from link_peer.domain.errors import LinkPeerError, NoAccess
from link_peer.domain.model import Group, Marker, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.request import Cause, Hint
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.records import observed_record, tags_text
from link_peer.planning.actual import OwnedRule, link_of, link_of_rule, owned_rules
from link_peer.planning.verdict.acceptance import closed_by_group
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.ports import Ecs, Record
from link_peer.runtime.retry import Retry

from link_peer_cli.access.ecs import PersonalEcs
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.identity import AccountKeys, require_listed
from link_peer_cli.access.keys import profile_keys
from link_peer_cli.access.noted import of_tags
from link_peer_cli.ui import aliyun
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.remedies import message

PAGE = 50  # groups that one TagResources may name [doc TagResources]


class TagCall(msgspec.Struct, frozen=True):
    """One call that changed tags of groups: its name and RequestId, and the tags, with None for those that it took
    off."""

    groups: tuple[Party, ...]
    name: str
    request_id: str
    tags: Mapping[str, str | None]


class GroupTags:
    """Reads and changes tags of groups. `accounts` are those of which there are keys, by uid; `main` is the account of
    those that were asked for: of the last `profile`, else the person's own; `own_account` is that of the person's own,
    `caller` their ARN; `calls` are the calls that changed tags."""

    def __init__(self, env: Environment, profiles: Sequence[str] = ()) -> None:
        """`env` has the person's own keys (`load_own`)."""
        self._env = env
        self.own_account, self.caller = env.person_keys.account, env.person_keys.arn
        named_keys = [profile_keys(env.settings, profile) for profile in profiles] or [env.person_keys]
        for keys in named_keys:
            require_listed(keys, env.policy)
        self.main = named_keys[-1].account
        listed_keys = [keys for keys in (env.person_keys, *named_keys) if keys.account in env.policy.accounts]
        self.accounts: dict[str, AccountKeys] = {keys.account: keys for keys in listed_keys}
        self._clients: dict[str, PersonalEcs] = {}
        self.calls: list[TagCall] = []
        self._second: dict[str, AccountKeys] = {}

    def first_as(self, keys: AccountKeys) -> None:
        """Change tags of the person's own account with these keys, and with their own where those are refused: RAM may
        not tell a role's policy which tag a call is about."""
        self._second[self.own_account], self.accounts[self.own_account] = self.accounts[self.own_account], keys

    def read(self, group: Party) -> dict[str, str]:
        """The tags of a group. Raises LinkPeerError as `group` does."""
        return dict(self.group(group).tags)

    def group(self, group: Party) -> Group:
        """A group: with keys of its account, else through the reader role. Raises LinkPeerError if there is no such
        group, or it cannot be read."""
        for existing_group in self.ecs(group.account).groups([group.id]):
            return existing_group
        raise LinkPeerError(f"{group.id} does not exist in account {group.account}")

    def ecs(self, account: str) -> Ecs:
        """An account to read: with keys of it, else through the reader role. Raises LinkPeerError if there is
        neither."""
        if account not in self.accounts and account not in self._env.policy.accounts:
            raise LinkPeerError(f"there are no keys of account {account}: give a profile with some")
        env = self._env if account in self.accounts else load_environment(reading=True)
        return env.accounts("tags", Retry(env.clock, env.clock.now() + 60), self.accounts).ecs(account)

    def put(self, groups: Sequence[Party], tags: Mapping[str, str]) -> None:
        """Set tags on groups, or on instances, of one account, of which there are keys."""
        models = self._personal(groups[0].account).models
        request_tags = [models.TagResourcesRequestTag(key=key, value=value) for key, value in tags.items()]
        for start in range(0, len(groups), PAGE):
            page = groups[start : start + PAGE]
            with CHANGES.making(*(of_tags("put", tags, group) for group in page)):
                self._change(page, "TagResources", tags, tag=request_tags)

    def drop(self, groups: Sequence[Party], keys: Sequence[str]) -> None:
        """Delete tags of groups of one account, of which there are keys."""
        for start in range(0, len(groups), PAGE):
            page = groups[start : start + PAGE]
            with CHANGES.making(*(of_tags("take off", keys, group) for group in page)):
                self._change(page, "UntagResources", dict.fromkeys(keys), tag_key=list(keys))

    def commands(self, group: Party, put: Mapping[str, str], drop: Sequence[str]) -> list[str]:
        """The `aliyun` commands that make a change, for the owner of the account."""
        region = self._env.settings.region
        commands = [aliyun.set_tags(region, [group.id], put)] if put else []
        return [*commands, aliyun.untag(region, [group.id], drop)] if drop else commands

    def _change(self, groups: Sequence[Party], name: str, tags: Mapping[str, str | None], **arguments: object) -> None:
        account, ids = groups[0].account, [group.id for group in groups]
        operation = {"TagResources": "tag_resources", "UntagResources": "untag_resources"}[name]
        arguments |= {"resource_type": aliyun.resource_type(ids), "resource_id": ids}
        try:
            body = self._personal(account).ask(operation, **arguments)
        except NoAccess:
            if account not in self._second:
                raise
            self.accounts[account] = self._second.pop(account)
            del self._clients[account]
            body = self._personal(account).ask(operation, **arguments)
        self.calls.append(TagCall(tuple(groups), name, str(body.request_id or ""), tags))

    def _personal(self, account: str) -> PersonalEcs:
        if account not in self._clients:
            self._clients[account] = PersonalEcs(self._env.settings, self.accounts[account](), self._env.clock)
        return self._clients[account]


def tag_records(
    env: Environment, tags: GroupTags, command: str, before: Mapping[Party, Mapping[str, str]]
) -> list[Record]:
    """A record of each call that changed tags, for each group: what it set, and what was there `before`, as it was
    read."""
    event_id, now = f"{command}-cli-{int(env.now)}", dict(before)
    records: list[Record] = []
    for call in tags.calls:
        for group in call.groups:
            was = now.get(group, {})
            now[group] = {key: value for key, value in {**was, **call.tags}.items() if value is not None}
            cause = Cause(tags.caller, call.name, call.request_id, tuple(call.tags.items()))
            record = observed_record(Hint(event_id, group, "tags", cause=cause), now[group], env.policy.keys)
            records.append({**record, "old_tags": tags_text((key, was.get(key)) for key in call.tags)})
    return records


def record_tags(
    env: Environment, tags: GroupTags, command: str, records: Sequence[Record], *, patient: bool = True
) -> str:
    """Write these records, after the change. One attempt, unless `patient`. Returns why the log has no record of it;
    empty if it has."""
    common = {"function": command, "deployment": env.policy.deployment, "region": env.settings.region}
    retry = env.patient_retry() if patient else Retry(env.clock, env.clock.now())
    try:
        AuditWriter(env.log(), {**common, "claimed_by": tags.caller}, retry).write(records)
    except LinkPeerError as error:
        return message(error)
    return ""


def closes(
    ecs: Ecs, party: Party, tags: Mapping[str, str], policy: Policy, region: str, now: float
) -> tuple[list[OwnedRule], list[OwnedRule]]:
    """The rules of ours, each with its marker, that stand on a group now and end if it has these `tags`; and all that
    stand there.

    `ecs` is the group's account. An instance of another account may be in any group, as for the functions. Raises
    LinkPeerError if the account cannot be read.
    """
    rules = {party: tuple(ecs.rules(party.id))}
    groups = {group.party: group for group in ecs.groups([party.id])}
    owned = owned_rules(Snapshot(rules=rules), policy, region)
    sources = {marker.ends[0] for _, marker in owned if marker.ends}
    ids = sorted(source.id for source in sources if source.account == party.account)
    instances = {instance.party: instance for instance in (ecs.instances(ids) if ids else ())}
    before = Snapshot(instances, groups, rules)
    changed = {group_party: msgspec.structs.replace(group, tags=dict(tags)) for group_party, group in groups.items()}
    after = msgspec.structs.replace(before, groups=changed)
    ended_rules: list[OwnedRule] = []
    for rule, marker in owned:
        if rule.key is None:
            continue
        link = link_of(rule.key, marker)
        now_closed, then_closed = (
            closed_by_group(snapshot, policy, rule.key, link, now) for snapshot in (before, after)
        )
        if then_closed and not now_closed:
            ended_rules.append((rule, marker))
    return ended_rules, owned


def ended_text(rule: Rule, marker: Marker) -> str:
    """A rule that ends, with its link, in words."""
    link = link_of_rule(rule, marker)
    claims = " ".join(sorted(f"req:{claim.request}" if claim.request else "tag" for claim in marker.claims))
    half = ", and the other half of this mutual link" if link.mutual else ""
    return f"{rule.key and rule.key.port} from {link.source} to {link.target}: rule {rule.id} ({claims}){half}"
