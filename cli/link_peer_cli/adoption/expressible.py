"""Which link opens what a person's rule opens, and how the tag of an instance asks for it? Pure.

The rule stays where it is and becomes ours, so only a rule that link-peer could have written itself has one: ingress,
accept, one protocol and port range, from one group to the group it is on, or from one instance's address to another's.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from link_peer.domain.denials import Denial, LinkDenied
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import ALL, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.claims import links_from_tags
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.verdict.single_link import address_denial
from link_peer.views.reach import Scene

from link_peer_cli.consent.entries import asking
from link_peer_cli.inventory.advice import with_consent

PROTOCOLS = ("tcp", "udp", "icmp", "all")
"""Those of links; a rule may also have gre, or a number."""


class NotAdoptable(LinkPeerError):
    """The rule cannot become a link. Says which fact is in the way, and what to do."""


def link_of_rule(snapshot: Snapshot, policy: Policy, rule: Rule) -> Link:
    """The link that opens what a person's rule opens. Raises NotAdoptable where there is none.

    The rules of its group, the instances of that group and, for a rule between addresses, those of all accounts were
    read.
    """
    key = _key(rule)
    ports = () if key.port == ALL else (key.port,)
    if key.source.startswith("sg-"):
        name, _, account = key.source.partition("@")
        return Link(Party(account, name), rule.group, ports)
    return Link(*_instances(snapshot, policy, rule, key), ports)


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
            "replace it with rules that name their groups",
        )
    if traffic.port is None:
        raise no("names a port list or source ports, which no link does", "replace it with plain ports")
    if traffic.port.protocol not in PROTOCOLS:
        raise no(f"opens the protocol {traffic.port.protocol}, and a link opens TCP, UDP or ICMP", "leave it as it is")
    if rule.key is None and not traffic.peer.endswith("/32") and not traffic.peer.startswith("sg-"):
        raise no(
            f"admits {traffic.peer}, and a link names a group or an instance", "link the groups behind these addresses"
        )
    if rule.key is None or (rule.key.source.startswith("sg-") and rule.key.dest):
        raise no(
            "limits source ports or destination addresses, which no link does", "replace it with one that does not"
        )
    return rule.key


def _instances(snapshot: Snapshot, policy: Policy, rule: Rule, key: RuleKey) -> tuple[Party, Party]:
    """The two instances of a rule from one address to another."""
    vpc = snapshot.groups[rule.group].vpc
    source = _with_address(snapshot.instances.values(), policy, vpc, key.source, rule)
    if not key.dest:
        port = "" if key.port == ALL else f" --port {key.port}"
        raise NotAdoptable(
            f"{rule.id} admits {source.party} ({key.source}) to every address in {rule.group}, and a link opens one instance: for "
            f"each that it needs, link-peer request link --from {source.party} --to i-…{port} --wait; then delete the rule"
        )
    target = _with_address(Scene(snapshot).members(rule.group), policy, vpc, key.dest, rule)
    return source.party, target.party


def _with_address(instances: Iterable[Instance], policy: Policy, vpc: str, cidr: str, rule: Rule) -> Instance:
    """The one instance with an address: in the group's VPC, where addresses are unique, else in any, if its account's
    `ranges` hold the address. Without that, an instance of another VPC proves nothing: the address may be one on
    premises."""
    matches = sorted(
        (instance for instance in instances if f"{instance.ip}/32" == cidr), key=lambda instance: instance.party
    )
    near = [instance for instance in matches if instance.vpc == vpc] or [
        instance for instance in matches if _in_ranges(instance, policy)
    ]
    if len(near) == 1:
        return near[0]
    names = ", ".join(str(instance.party) for instance in near or matches)
    if near:
        fact = f"several instances have: {names}"
    elif matches:
        uids = ", ".join(sorted({f"accounts.{instance.party.account}.ranges" for instance in matches}))
        fact = f"no instance of {vpc} has ({names} in another VPC has it, but {uids} in the policy does not hold it)"
    else:
        fact = "no instance of the policy's accounts has"
    raise NotAdoptable(
        f"{rule.id} on {rule.group} names the address {cidr}, which {fact}, and a link names one instance: leave it as it is, or "
        "link the groups"
    )


def _in_ranges(instance: Instance, policy: Policy) -> bool:
    ranges = policy.accounts[instance.party.account].ranges
    return bool(ranges) and address_denial(instance.party, instance.ip, ranges) is None


def tag_for(snapshot: Snapshot, policy: Policy, link: Link, asker: Party, now: float) -> dict[str, str]:
    """The tags to set on an instance, so that it asks for the link; none if it does already.

    Raises NotAdoptable, or LinkDenied, where its tag would not ask for this link.
    """
    instance = snapshot.instances.get(asker)
    if instance is None or link.source not in (asker, *instance.own_groups):
        raise NotAdoptable(f"{asker} is not an instance of {link.source}, from which the rule opens: name one that is")
    elsewhere = link.target.account != asker.account
    ports = f":{link.ports[0]}" if link.ports else ""
    put: dict[str, str] = {}
    if not _tag_denials(snapshot, policy, link, instance, now):
        put = asking(instance.tags, f"{link.target if elsewhere else link.target.id}{ports}", policy.keys)
        instance = msgspec.structs.replace(instance, tags={**instance.tags, **put})
    denials = _tag_denials(snapshot, policy, link, instance, now)
    if denials and denials[0]:
        raise LinkDenied(denials[0])
    if not denials:
        raise NotAdoptable(
            f"a tag of {asker} would ask for another link: {link.source} does not stand for it, or {link.target} is its own "
            "group: name another instance, or adopt the rule as a request"
        )
    return put


def _tag_denials(snapshot: Snapshot, policy: Policy, link: Link, instance: Instance, now: float) -> list[Denial | None]:
    """Whether an instance's tags ask for a link: why that is denied, or None, for each entry that does. Consent, which
    may choose another of its groups, is written with the tag."""
    wishes = links_from_tags(snapshot, instance, now, with_consent(policy, link))
    matching_wishes = (wish for wish in wishes if wish.link == link and not wish.raw and not wish.same_group)
    return [wish_denial(snapshot, policy, wish) for wish in matching_wishes]
