"""Links, the rules that decide about them, and what packets do: `links`, `map`, `explain`, `who`, `verify`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from link_peer_cli.answers import CommandAnswer, means

Source = Annotated[str, means("one end: the id of a group or an instance, or an address")]
Target = Annotated[str, means("the other end")]
Uid = Annotated[str, means("its account")]
Name = Annotated[str, means("its name; empty if there is none")]


class Ends(CommandAnswer, frozen=True):
    """The two ends of a link."""

    source: Source = msgspec.field(name="from")
    from_account: Uid
    from_name: Name
    target: Target = msgspec.field(name="to")
    to_account: Uid
    to_name: Name


class OwnRule(msgspec.Struct, frozen=True):
    """A rule of a link."""

    account: Annotated[str, means("the account of its group")]
    group: Annotated[str, means("its group")]
    direction: Annotated[str, means("`ingress`, or `egress` on the group of a source that lets nothing out by default")]
    rule_id: Annotated[str, means("its id")]

    def __str__(self) -> str:
        """In one cell."""
        return self.rule_id


class LinkAnswer(Ends, frozen=True):
    """A link."""

    ports: Annotated[str, means("`tcp/3306`, several with `+`, or `mutual`")]
    state: Annotated[
        str,
        means(
            "`open`, `partly` (some directions, ports or instances pass), `blocked`, `half-open`, `closing` (the next sweep, or "
            "the account's next full one, removes its rules) or `unknown`"
        ),
    ]
    state_detail: Annotated[str, means("what decides that")]
    since: Annotated[str, means("when its oldest rule was made")]
    until: Annotated[
        str, means("when it ends, or ended, at the earliest, by tags, requests or consent; empty if it is open-ended")
    ]
    claims: Annotated[list[str], means("what holds it: `tag`, or the ids of requests")]
    deployment: Annotated[
        str, means("the other deployment of this home whose name its rules have; empty if they are ours")
    ]
    asked_by: Annotated[list[str], means("who asked")]
    reasons: Annotated[list[str], means("the reasons that requests gave")]
    consent: Annotated[list[str], means("the entries that allow it")]
    consented_by: Annotated[
        list[str],
        means(
            "who wrote each of these entries, and how that is known: `proven` by ActionTrail (`explain`), `recorded` by the person's "
            "command, or `as the event says`; or `unknown`"
        ),
    ]
    instances: Annotated[int | None, means("how many instances it admits; null if that could not be read")]
    written: Annotated[str, means("how: `by reference` (its rules name a group), `by address` or `between instances`")]
    written_detail: Annotated[str, means("for a link of groups, why its rules name addresses; else empty")]
    by_address: Annotated[
        list[str],
        means("the instances that it admits by address; empty where its rules name the group, or one instance"),
    ]
    rules: Annotated[list[OwnRule], means("its rules")]
    link: Annotated[str, means("its id, as `audit --story` takes it")]
    use: Annotated[
        str | UnsetType,
        means(
            "of `links` and `who`, where the policy file has a `flowlog`: `used`, `unused` or `unknown`, in the last 30 days or those of `--unused`"
        ),
    ] = UNSET
    last_used: Annotated[
        str | UnsetType, means("when a packet was last let in, exact to ten minutes; empty if none was")
    ] = UNSET
    use_detail: Annotated[str | UnsetType, means("why it is unknown, or how long it was not used")] = UNSET
    narrow: Annotated[
        str | UnsetType, means("the ports that were used, if others of the link were not; else empty")
    ] = UNSET


class LinkArrow(Ends, frozen=True):
    """An arrow of the map: a link, as `links` has it; a rule of a person, as `who` has it; or a wish that is denied,
    which lets nothing through."""

    ports: Annotated[str, means("`tcp/3306`, several with `+`, or `mutual`; of rules as `who` has it")]
    state: Annotated[str, means("as `links` and `who` have it; `denied` of a wish")]
    claims: Annotated[list[str], means("what holds a link: `tag`, or the ids of requests")]
    written: Annotated[str, means("how a link is: `by reference`, `by address` or `between instances`")]
    deployment: Annotated[
        str, means("the other deployment of this home whose name its rules have; empty if they are ours")
    ]
    made_by: Annotated[str, means("whose rules it is: `link-peer` or `person`; empty of a wish that is denied")]
    state_detail: Annotated[str, means("what decides that; of a wish, why it is denied")]


class MapRule(Ends, frozen=True):
    """A rule that admits a source to a group, or to an instance with links, as `who` has it."""

    made_by: Annotated[str, means("`link-peer` or `person`; empty where something was not read")]
    address: str
    ports: str
    state: str
    state_detail: str
    rule_id: str
    group: str
    instances: int | None
    since: str
    description: str


class DeniedWish(Ends, frozen=True):
    """A link that tags ask for and the next sweep denies, with the reason and what to do about it. A peer that cannot
    be read is `to` as it is written."""

    ports: str
    reason: str
    detail: str
    advice: str
    asked_by: list[str]


class MapFile(msgspec.Struct, frozen=True):
    """What `map --out map.json` writes. `links` are as `link-peer links --json` has them, `rules` are all that admit
    somebody, whoever made them; `problems` say what could not be read, and `left_out` what the map leaves out."""

    created_at: str = msgspec.field(name="made")
    region: str
    accounts: dict[str, str]
    links: list[LinkAnswer]
    rules: list[MapRule]
    denied: list[DeniedWish]
    problems: list[str]
    left_out: list[str]


class RuleAnswer(msgspec.Struct, frozen=True):
    """A rule of a group, whoever made it."""

    rule_id: Annotated[str, means("its id")]
    account: Annotated[str, means("the account of its group")]
    group: Annotated[str, means("its group")]
    direction: Annotated[str, means("`ingress` or `egress`; empty if it cannot be understood")]
    policy: Annotated[str, means("`accept` or `drop`")]
    priority: Annotated[int, means("1 is the highest")]
    peer: Annotated[str, means("whom it is about: a group, a range, or a prefix list")]
    ports: Annotated[str, means("on which ports")]
    since: Annotated[str, means("when it was made")]
    description: Annotated[str, means("its description")]
    decides: Annotated[bool, means("whether it decides")]


class DecidingRule(RuleAnswer, frozen=True):
    """A rule that decides, with who made it."""

    by: Annotated[str, means("who made it: `link-peer`, or `a person`")]


class Advice(msgspec.Struct, frozen=True):
    """What to do and why."""

    reason: Annotated[str, means("why, and what to do")] = msgspec.field(name="why")
    command: Annotated[str, means("the command that does it; empty where none does")]


class Explanation(CommandAnswer, frozen=True):
    """What becomes of packets from one party to another."""

    state: Annotated[str, means("`open`, `partly`, `blocked` or `unknown`, whoever made the rules")]
    state_detail: Annotated[str, means("what decides that")]
    source: Source = msgspec.field(name="from")
    from_account: Uid
    from_name: Name
    target: Target = msgspec.field(name="to")
    to_account: Uid
    to_name: Name
    ports: Annotated[str, means("what was asked for, or what the links open; `all` for every protocol")]
    pairs: Annotated[int, means("pairs of instances")]
    passing: Annotated[int, means("those of them whose packets pass")]
    reachability: Annotated[str, means("`same-vpc`, `different-vpc` or, where a party was not read, `unknown`")]
    links: Annotated[list[LinkAnswer], means("the links between the two")]
    rules: Annotated[list[RuleAnswer], means("rules of people that apply")]
    do: Annotated[list[Advice], means("what to do")]
    not_read: Annotated[list[str], means("what could not be read")]


class AskedParties(msgspec.Struct, frozen=True):
    """The parties that were asked for."""

    source: Annotated[str, means("where to test from")] = msgspec.field(name="from")
    target: Annotated[str, means("what to reach")] = msgspec.field(name="to")


class TestedOf(msgspec.Struct, frozen=True):
    """How many instances could be tested."""

    source: Annotated[int, means("on that side")] = msgspec.field(name="from")
    target: Annotated[int, means("on the other")] = msgspec.field(name="to")


class TestedPort(Ends, frozen=True):
    """A port that was tested with a packet. The ends are the instances that were tested."""

    address: Annotated[str, means("the address that was tried")]
    requested_parties: Annotated[AskedParties, means("the parties that were asked for")] = msgspec.field(name="asked")
    members: Annotated[TestedOf, means("how many instances of each could be tested")]
    port: Annotated[str, means("the port")]
    reached: Annotated[bool | None, means("whether it was reached, null if it was not tested")]
    result: Annotated[str, means("how that is known")]
    output: Annotated[str, means("what the test printed")]
    state: Annotated[str, means("what the rules say: `open`, `partly`, `blocked` or `unknown`")]
    state_detail: Annotated[str, means("what decides that")]
    rules: Annotated[list[DecidingRule], means("the rules that decide")]
    contradiction: Annotated[bool, means("whether the test and the rules differ")]
    conclusion: Annotated[str, means("what to conclude")] = msgspec.field(name="why")


class Reacher(Ends, frozen=True):
    """A source that can reach a party, as the rules of the party's groups say. `from` is a group, or an instance with
    an address that a rule names, else that address; empty where something was not read."""

    address: Annotated[str, means("the range of addresses, or the prefix list, that the rule names")]
    ports: Annotated[str, means("`tcp/3306`, or `all`; empty for a port list, and where nothing was read")]
    state: Annotated[
        str,
        means(
            "`open`, `partly`, `blocked` or `unknown`, on the ports in question; of a link also `closing` or `half-open`, as "
            "`links` has it"
        ),
    ]
    state_detail: Annotated[str, means("what decides that")]
    by: Annotated[
        str,
        means(
            "`link-peer` or `a person`, whose rule it is; `members`, whom InnerAccessPolicy lets in without one; empty if it "
            "was not read"
        ),
    ]
    rule_id: Annotated[str, means("the rule; empty for members of a group")]
    group: Annotated[str, means("the group that has the rule")]
    instances: Annotated[int | None, means("how many instances the source has; null if that is not known")]
    since: Annotated[str, means("when the rule was made")]
    until: Annotated[
        str, means("when the link ends, or ended, at the earliest; empty if it is open-ended, and for other rules")
    ]
    claims: Annotated[list[str], means("what holds the link: `tag`, or the ids of requests")]
    asked_by: Annotated[list[str], means("who asked for it")]
    consent: Annotated[list[str], means("the entries that allow it")]
    consented_by: Annotated[list[str], means("who wrote each of these entries, as `links` has it")]
    description: Annotated[str, means("the rule's description; empty for rules of link-peer")]
    use: Annotated[str | UnsetType, means("of a link, whether it was used, as `links` has it")] = UNSET
    last_used: Annotated[str | UnsetType, means("of a link, when it was last used, as `links` has it")] = UNSET
