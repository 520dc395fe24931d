"""Which link opens what a person's rule opens? Pure.

The rule stays where it is and becomes ours, so only a rule that link-peer could have written itself has one: ingress, accept,
one protocol and port range, from one group to the group it is on, or from one instance's address to another's.
"""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import ALL, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot

PROTOCOLS = ("tcp", "udp", "icmp", "all")
"""Those of links; a rule may also have gre, or a number."""


class NotAdoptable(LinkPeerError):
    """The rule cannot become a link. Says which fact is in the way, and what to do."""


def link_of_rule(snapshot: Snapshot, rule: Rule) -> Link:
    """The link that opens what a person's rule opens. Raises NotAdoptable where there is none.

    The rules of its group, the instances of that group and, for a rule between addresses, those of all accounts were read.
    """
    key = _key(rule)
    ports = () if key.port == ALL else (key.port,)
    if key.source.startswith("sg-"):
        name, _, account = key.source.partition("@")
        return Link(Party(account, name), rule.group, ports)
    return Link(*_instances(snapshot, rule, key), ports)


def _key(rule: Rule) -> RuleKey:
    """The rule's identity as ours. Raises NotAdoptable for what no rule of ours can be."""

    def no(fact: str, advice: str) -> NotAdoptable:
        return NotAdoptable(f"{rule.id} on {rule.group} {fact}: {advice}")

    traffic = rule.traffic
    if traffic is None:
        raise no("is for IPv6, which link-peer does not open", "leave it as it is")
    if traffic.direction == "egress":
        raise no("is an egress rule, and a link is ingress on the group that is reached", "leave it as it is")
    if rule.policy != "accept":
        raise no("drops packets, and a link only opens", "leave it as it is: it beats every link")
    if not traffic.peer:
        raise no(
            "admits a prefix list, and a link names a group or an instance",
            "replace it by rules that name their groups",
        )
    if traffic.port is None:
        raise no("names a port list or source ports, and a link names ports itself", "replace it by a rule with ports")
    if traffic.port.protocol not in PROTOCOLS:
        raise no(f"opens the protocol {traffic.port.protocol}, and a link opens TCP, UDP or ICMP", "leave it as it is")
    if rule.key is None and not traffic.peer.endswith("/32") and not traffic.peer.startswith("sg-"):
        raise no(
            f"admits {traffic.peer}, and a link names a group or an instance", "link the groups behind these addresses"
        )
    if rule.key is None or (rule.key.source.startswith("sg-") and rule.key.dest):
        raise no("limits source ports or destination addresses as no link does", "replace it by a rule without")
    return rule.key


def _instances(snapshot: Snapshot, rule: Rule, key: RuleKey) -> tuple[Party, Party]:
    """The two instances of a rule from one address to another."""
    vpc = snapshot.groups[rule.group].vpc
    source = _with_address(snapshot.instances.values(), vpc, key.source, rule)
    if not key.dest:
        port = "" if key.port == ALL else f" --port {key.port}"
        raise NotAdoptable(
            f"{rule.id} admits {source.party} ({key.source}) to every address in {rule.group}, and a link opens one instance: for "
            f"each that it needs, link-peer request link --from {source.party} --to i-…{port} --wait; then delete the rule"
        )
    members = [one for one in snapshot.instances.values() if is_in(one, rule.group)]
    target = _with_address(members, vpc, key.dest, rule)
    return source.party, target.party


def _with_address(instances: Iterable[Instance], vpc: str, cidr: str, rule: Rule) -> Instance:
    """The one instance with an address: in the group's VPC, where addresses are unique, else in any."""
    found = sorted((one for one in instances if f"{one.ip}/32" == cidr), key=lambda one: one.party)
    near = [one for one in found if one.vpc == vpc] or found
    if len(near) == 1:
        return near[0]
    names = ", ".join(str(one.party) for one in near)
    fact = f"several instances have: {names}" if near else "no instance of the policy's accounts has"
    raise NotAdoptable(
        f"{rule.id} on {rule.group} names the address {cidr}, which {fact}, and a link names one instance: leave it as it is, or "
        "link the groups"
    )


def is_in(instance: Instance, group: Party) -> bool:
    return instance.party.account == group.account and group.id in instance.groups
