"""What is denied because of how it is asked for: tags, events and requests."""

from __future__ import annotations

import re

from link_peer.domain.advice import POST_AGAIN
from link_peer.domain.denial import Denial, ReasonCode
from link_peer.domain.model import Party

FORM_ADVICE = "see docs/requests.md for the schema, or let the command write the message: link-peer request --help"
_UNTIL_TAG_OFF = (
    "aliyun ecs UntagResources --RegionId {region} --ResourceType instance --ResourceId.1 {id} --TagKey.1 link-until"
)
_OTHER_PRODUCT = re.compile(r"(rm|r|lb)-[0-9a-z]{1,60}(?![^:@])")
_ALLOW_LISTS = {
    "rm": "aliyun rds ModifySecurityIps --DBInstanceId {id} --DBInstanceIPArrayName link_peer --ModifyMode Append --SecurityIps {address}",
    "r": "aliyun r-kvstore ModifySecurityIps --InstanceId {id} --SecurityIpGroupName link_peer --ModifyMode Append --SecurityIps {address}",
    "lb": 'aliyun slb AddAccessControlListEntry --AclId "<access control list of {id}>" --AclEntrys \'[{{"entry":"{address}/32"}}]\'',
}
"""The commands that open RDS, Redis and SLB, which have allow lists of their own [doc APIs of the three products]."""


def bad_tag(problem: object, written: str, address: str = "") -> Denial:
    """A peer in a `link-peer` tag that cannot be parsed. `written` is what the tag says of it, `address` the private one
    of the instance."""
    advice = "write peers as sg-…, i-… or sg-…@<account uid>, with ports as :tcp/3306+udp/53"
    if other := _OTHER_PRODUCT.match(written):
        advice = "no security group decides about it: " + _ALLOW_LISTS[other[1]].format(
            id=other[0], address=address or "ADDRESS"
        )
    return Denial(ReasonCode.BAD_TAG, str(problem), advice)


def bad_until(problem: object, instance: Party) -> Denial:
    """A `link-until` tag of an instance that cannot be parsed."""
    return Denial(
        ReasonCode.BAD_TAG,
        str(problem),
        f"write link-until as 2027-01-01T00:00:00Z, or remove the tag: {_until_tag_off(instance)}",
    )


def tag_expired(instance: Party) -> Denial:
    """The instance's `link-until` is past."""
    return Denial(
        ReasonCode.EXPIRED,
        "link-until is past",
        f"set link-until to a later instant, or remove the tag: {_until_tag_off(instance)}",
    )


def _until_tag_off(instance: Party) -> str:
    # The id is filled in here: when the claim of the tag is removed, nobody knows any more whose tag it was.
    return _UNTIL_TAG_OFF.replace("{id}", instance.id)


def bad_event(problem: object) -> Denial:
    """An event that auto_link does not handle."""
    advice = "auto_link takes ECS state changes and tag changes of its own account and region"
    return Denial(ReasonCode.BAD_EVENT, str(problem), advice)


def bad_request(problem: object) -> Denial:
    """A message that does not match the schema."""
    return Denial(ReasonCode.BAD_REQUEST, str(problem), FORM_ADVICE)


def different_region(asked: str, served: str, *, is_look: bool) -> Denial:
    """A message for another region. `asked` has the form of a region's id."""
    detail = f"the request is for {asked!r}, and this function serves {served}"
    advice = (
        "a link stays in one region. Between two, connect the VPCs with CEN, VPN Gateway or Express Connect, and admit the "
        "addresses by rules of your own"
    )
    if not is_look:
        advice += f". For a link in that region, post it there: LINK_PEER_REGION={asked} {POST_AGAIN}"
    return Denial(ReasonCode.DIFFERENT_REGION, detail, advice)


def look_expired(instant: str) -> Denial:
    """A look that met trouble until it expired."""
    return Denial(ReasonCode.EXPIRED, f"expires_at {instant} is past", "the next sweep looks at it: link-peer sweep")


def request_expired(field: str, instant: str) -> Denial:
    """`expires_at` or `until` of a request is past."""
    later = "post it again" if field == "expires_at" else "post it again with a later --until, or with none"
    return Denial(ReasonCode.EXPIRED, f"{field} {instant} is past", f"{later}: {POST_AGAIN}")
