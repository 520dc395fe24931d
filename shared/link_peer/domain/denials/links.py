"""What is denied, removed or repaired because of the link itself and the rules that exist."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from link_peer.domain.advice import POST_AGAIN
from link_peer.domain.denial import Denial, ReasonCode

NO_ROUTE = "a rule gives no route between VPCs: connect them with CEN, VPC peering, VPN Gateway or Express Connect"
UNWANTED = Denial(ReasonCode.NONE, "no tag or request asks for it any more")
UNLINKED = Denial(ReasonCode.NONE, "removed by an unlink request")
CLAIM_EXPIRED = Denial(
    ReasonCode.EXPIRED,
    "the link has ended",
    "post a new request, with a later --until or with none: link-peer request link {link}",
)
EXPIRED_MEANWHILE = Denial(ReasonCode.EXPIRED, "the link ended while it was being written")
HUMAN_RULE = Denial(ReasonCode.HUMAN_RULE, "a person's rule already admits the same traffic")


def different_vpc(source: object, source_vpc: str, target: object, target_vpc: str, *, one_account: bool) -> Denial:
    """Two groups in different VPCs: a group rule is not possible."""
    instead = "name instances (i-…) instead of groups"
    if not one_account:
        instead = "post a request between instances (i-…), since a tag names only groups of other accounts"
    detail = f"{source} is in {source_vpc}, {target} in {target_vpc}"
    return Denial(ReasonCode.DIFFERENT_VPC, detail, f"{instead}; {NO_ROUTE}")


def address_in_target_vpc(party: object, address: str, vpc: str) -> Denial:
    """An instance link across VPCs whose source's address also belongs to something in the target's VPC."""
    detail = f"{vpc} has an instance or network interface with the address of {party}, {address}"
    return Denial(ReasonCode.ADDRESS_CONFLICT, detail, "use an address that the target's VPC does not use")


def address_of_another(party: object, other: object) -> Denial:
    """An instance link whose rule exists already, for another instance with the same address."""
    detail = f"the rule that {party} needs exists already for {other}, which has the same address"
    return Denial(ReasonCode.ADDRESS_CONFLICT, detail, "give the instances different addresses, or link groups")


def id_in_use(request_id: str, until: str = "") -> Denial:
    """A request id that another link of the same pair carries. `until` is the end of the link that was asked for."""
    detail = f"{request_id} is the id of another link between the two: other ports, direction or until"
    advice = "unlink the other first, or post it again with a new request_id, which the command makes"
    return Denial(ReasonCode.ID_IN_USE, detail, f"{advice}: {POST_AGAIN}" + (f" --until {until}" if until else ""))


def half_open(missing: object) -> Denial:
    """Half of a request's mutual link: the rule on the other side is missing."""
    detail = f"the rule on {missing} is missing, and a sweep opens nothing for a request"
    return Denial(ReasonCode.HALF_OPEN, detail, "post the request again: link-peer request link {link}")


def nothing_to_unlink(between: Sequence[str]) -> Denial:
    """Why an unlink changes nothing; `between` are the rules of ours between the two, which other claims keep."""
    detail = "no rule between the two carries a request's claim"
    if between:
        detail += f"; there are: {'; '.join(between)}"
    return Denial(ReasonCode.NONE, detail)


def nothing_to_do(silent_accounts: Sequence[str], other_side: Sequence[str]) -> Denial:
    """Why a sync changes nothing. `silent_accounts` show no instances; `other_side` are the instances whose tags ask for
    the pair from the other side."""
    detail = "no tag asks for this pair, and no rule of it carries a tag's claim"
    if silent_accounts:
        shown = ", ".join(silent_accounts)
        detail = (
            f"no tag that can be read asks for this pair, but {shown} shows no instances, so nothing is removed there"
        )
    elif other_side:
        detail = f"no tag of this side asks for the pair; the other side's does ({', '.join(other_side)})"
    return Denial(ReasonCode.NONE, detail)


def in_detail(why: Denial, requests: Sequence[str], *, kept: bool) -> Denial:
    """Why a rule loses claims, naming the requests among them, and whether other claims keep the rule."""
    detail = why.detail
    if requests:
        detail += f" (of {', '.join(sorted(requests))})"
    if kept:
        detail += "; the rule is kept, since other claims want it"
    return msgspec.structs.replace(why, detail=detail)


def repaired(priority: int, ours: int) -> Denial:
    """What a repair does: someone changed the priority of a rule of ours, or copied it."""
    if priority == ours:
        return Denial(ReasonCode.NONE, "a copy of it with another priority is removed")
    return Denial(ReasonCode.NONE, f"its priority was {priority}, and is {ours} again")


def displaced(priority: int) -> Denial:
    """Why a rule of ours with another priority is removed: a person's equal rule has the priority that ours should have."""
    detail = (
        f"its priority was {priority}, where it would win over an operator's drop, and a person's equal rule stands"
    )
    return Denial(ReasonCode.HUMAN_RULE, detail)


def tag_was_missing(group: object) -> Denial:
    """What a repair of a group does that holds rules of ours without the managed tag."""
    return Denial(ReasonCode.NONE, f"{group} had lost the tag by which the sweep finds it")


def description_full(group: object) -> Denial:
    """A rule whose description cannot hold one more claim."""
    detail = "the rule's description has no room for another claim (512 characters)"
    advice = f"unlink requests that are no longer needed; this lists them: link-peer links --party {group}"
    return Denial(ReasonCode.QUOTA, detail, advice)


def group_full(group: object, named: int, limit: int) -> Denial:
    """A group whose rules name as many groups as are allowed."""
    detail = f"the rules of {group} name {named} groups already (the limit is {limit})"
    advice = (
        f"name instances (i-…), or remove rules that are not needed; of links, this lists them: "
        f"link-peer links --party {group}"
    )
    return Denial(ReasonCode.QUOTA, detail, advice)


def removals_held(account: str, count: int, limit: int) -> Denial:
    """More removals at once than the policy allows, only because an account does not show something."""
    detail = (
        f"{count} rules would be removed only because account {account} does not show an instance or group, and at most "
        f"{limit} may be removed for that in one run: none was removed"
    )
    advice = "raise limits.removals_per_run if they may be removed; this lists them: link-peer stale"
    return Denial(ReasonCode.REMOVALS_HELD, detail, advice)
