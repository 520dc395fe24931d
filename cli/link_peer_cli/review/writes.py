"""The changes of a plan one by one: which rule or tag each is about, and what it makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Port, Rule, RuleKey
from link_peer.runtime.ports import Cloud, Ecs

Text = Annotated[str, msgspec.Meta(pattern="^[ -~]{0,512}$")]  # printable ASCII: people read it on a terminal
Uid = Annotated[str, msgspec.Meta(pattern="^[0-9]{15,20}$")]
GroupId = Annotated[str, msgspec.Meta(pattern="^sg-[0-9a-z]{1,60}$")]
Action = Literal["authorize", "modify", "revoke", "tag", "untag"]

SIGNS = {"authorize": "+", "modify": "~", "revoke": "-", "tag": "+", "untag": "-"}


class Place(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """Where a rule admits what: `source`, `dest`, `protocol` and port range as records name them. An egress rule has no
    source."""

    source: Annotated[str, msgspec.Meta(pattern="^(sg-[0-9a-z]{1,60}@[0-9]{15,20}|[0-9.]{7,15}/32)?$")]
    dest: Annotated[str, msgspec.Meta(pattern="^([0-9.]{7,15}/32)?$")]
    protocol: Literal["tcp", "udp", "icmp", "all"]
    ports: Annotated[str, msgspec.Meta(pattern="^(-1/-1|[0-9]{1,5}/[0-9]{1,5})$")]


class Write(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True, omit_defaults=True):
    """One change of one rule, or of the tags of one group.

    `rule` is the id of a rule that exists; empty for one that the plan adds. `before` is the Description that it has,
    and `description` the one that it gets; empty where there is none. A change of tags has their `tags`, and no
    `place`.
    """

    action: Action
    account: Uid
    group: GroupId
    rule: Text = ""
    place: Place | None = None
    before: Text = ""
    description: Text = ""
    tags: tuple[Text, ...] = ()

    @property
    def problem(self) -> str:
        """What is wrong with a change of a rule without a place, or of no tags; empty if it is one that a plan has."""
        of_tags = self.action in ("tag", "untag")
        if of_tags != (self.place is not None) and of_tags == bool(self.tags):
            return ""
        return f"a change to {self.action} needs {'tags, and no place' if of_tags else 'a place, and no tags'}"

    @property
    def party(self) -> Party:
        """The group that is changed."""
        return Party(self.account, self.group)

    @property
    def about(self) -> tuple[Party, str | Place | None, tuple[str, ...]]:
        """What it is that changes: an existing rule, a new one, or tags."""
        return (self.party, self.rule or self.place, self.tags)

    @property
    def sign(self) -> str:
        """`+`, `~` or `-`. A change of a rule that the plan adds is part of adding it."""
        return "+" if self.action == "modify" and not self.rule else SIGNS[self.action]

    def __str__(self) -> str:
        """`tcp/3306 from sg-app@<uid>`, or `tag link-managed…`."""
        if self.place is None:
            return f"tag {' '.join(self.tags)}"
        low, _, high = self.place.ports.partition("/")
        port = Port(self.place.protocol, int(low), int(high))
        return RuleKey(self.party, self.place.source, self.place.dest, port).traffic_text


def place_of(key: RuleKey) -> Place:
    """Where a rule is on its group."""
    return Place(key.source, key.dest, key.port.protocol, key.port.range)  # type: ignore[arg-type]  # the four protocols


class Difference(msgspec.Struct, frozen=True):
    """How what would change now differs from what was reviewed: `+` was not reviewed, `-` would not change any more,
    `~` becomes something else than was reviewed."""

    sign: str
    write: Write


def differences(reviewed: Iterable[Write], now: Iterable[Write]) -> list[Difference]:
    """Compare two plans, whatever the order of their changes. A change that both have is left out."""
    old, new = Counter(reviewed), Counter(now)
    dropped_writes, fresh = sorted((old - new).elements()), sorted((new - old).elements())
    changed_subjects = {write.about for write in dropped_writes} & {write.about for write in fresh}
    differences = [Difference("~" if write.about in changed_subjects else "+", write) for write in fresh]
    differences += [Difference("-", write) for write in dropped_writes if write.about not in changed_subjects]
    return sorted(differences, key=lambda difference: (difference.write.party, difference.sign, difference.write))


def last_of(writes: Iterable[Write]) -> list[Write]:
    """Of several changes of one rule, or of the same tags, the last one."""
    return list({write.about: write for write in writes}.values())


def undone(cloud: Cloud, writes: Iterable[Write]) -> list[Write]:
    """Read the groups, and return the changes whose result they do not show. Of several changes of one rule, the last
    one counts; of a group that does not exist any more, nothing is shown. Raises LinkPeerError if a group cannot be
    read."""
    by_account = grouped((write.account, write) for write in last_of(writes))
    return [write for account, due in by_account.items() for write in _undone(cloud.ecs(account), due)]


def _undone(ecs: Ecs, writes: Sequence[Write]) -> Iterator[Write]:
    groups = {change.party.id: change for change in ecs.groups(list(dict.fromkeys(change.group for change in writes)))}
    rules = {
        name: ecs.rules(name)
        for name in dict.fromkeys(change.group for change in writes if change.place)
        if name in groups
    }
    for write in writes:
        if write.place:
            is_done = write.group in rules and _was_made(write, rules[write.group])
        else:
            tags = groups[write.group].tags if write.group in groups else None
            is_done = tags is not None and _tagged(write, {key for key, value in tags.items() if value == "true"})
        if not is_done:
            yield write


def _tagged(write: Write, tags: set[str]) -> bool:
    return set(write.tags) <= tags if write.action == "tag" else not set(write.tags) & tags


def _was_made(write: Write, rules: Sequence[Rule]) -> bool:
    """Whether the rules are as the change makes them."""
    matching_rules = [
        rule for rule in rules if rule.key and write.rule in ("", rule.id) and place_of(rule.key) == write.place
    ]
    if write.action == "revoke":
        return not any(write.rule or rule.description == write.before for rule in matching_rules)
    return any(rule.description == write.description for rule in matching_rules)
