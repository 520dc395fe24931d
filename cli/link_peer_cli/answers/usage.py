"""Who uses which rule of people, and what it could become: `tighten`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from link_peer_cli.answers import CommandAnswer, means


class RuleUser(msgspec.Struct, frozen=True):
    """Who used a rule, on the ports that it used; of egress, who was reached."""

    party: Annotated[str, means("the instance that a flow log named; empty where none did")] = msgspec.field(
        name="from"
    )
    account: Annotated[str, means("its account")]
    name: Annotated[str, means("its name")]
    address: Annotated[str, means("its address, or the range of addresses of which nobody knows who had them")]
    to: Annotated[list[str], means("the instances that it reached; of egress, those that reached it")]
    ports: Annotated[list[str], means("on which ports; `tcp/32768-65535` for one that connections come from")]
    days: Annotated[int, means("on how many days (UTC)")]
    last: Annotated[str, means("when last, exact to ten minutes")]
    longest_gap: Annotated[int, means("the most days of the period in a row without a packet")]
    lines: Annotated[int, means("lines of the flow log")]
    only: Annotated[bool, means("whether no other rule admits some of it")]

    def __str__(self) -> str:
        """In one cell."""
        return f"{self.party or self.address}: {'+'.join(self.ports)}, {self.days} d, last {self.last}"


class TightenedRule(CommandAnswer, frozen=True):
    """A wide rule of people, and its use in the period."""

    account: Annotated[str, means("the account of its group")]
    group: Annotated[str, means("its group")]
    group_name: Annotated[str, means("the group's name")]
    rule_id: Annotated[str, means("its id")]
    direction: Annotated[str, means("`ingress`, or `egress` of an advanced group")]
    peer: Annotated[str, means("whom it admits: a group, a range, or a prefix list")]
    ports: Annotated[str, means("on which ports")]
    priority: Annotated[int, means("1 is the highest")]
    description: Annotated[str, means("its description")]
    use: Annotated[str, means("`used`, `unused` (every interface of the group has lines on every day) or `unknown`")]
    since: Annotated[str, means("when the period begins")]
    until: Annotated[str, means("when it ends")]
    used_by: Annotated[list[RuleUser], means("who used it, those that only it admits first")]
    flows: Annotated[int, means("the flows that it admits: a source address, an interface and a port each")]
    only: Annotated[int, means("the flows that no other rule admits, by the rules that stand now")]
    unknown: Annotated[list[str], means("what cannot be told")]
    becomes: Annotated[list[str], means("the links that would carry what no narrow rule does")]
    leftovers: Annotated[list[str], means("what no link can carry, and why")] = msgspec.field(name="left")
    in_the_way: Annotated[list[str], means("why it is not to be removed; empty where nothing would be cut off")]
    revoke: Annotated[str, means("the command by which its owner removes it; empty where something is in the way")]
    put_back: Annotated[str, means("the command that makes an equal rule again")]


class ProposedCommand(CommandAnswer, frozen=True):
    """With `--commands`: one line that somebody types."""

    account: Annotated[str, means("with keys of this account")]
    command: Annotated[str, means("the command")]
